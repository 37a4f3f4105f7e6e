//! The style sheet, symbols and scripts, embedded in the binary.
//!
//! Each one stands under a name that carries a hash of its content, so that a browser may keep it
//! for good and never sees an old one after an upgrade. All are compressed once, at first use.

use std::io::Write as _;
use std::sync::LazyLock;

use axum::extract::Path;
use axum::response::{IntoResponse as _, Redirect, Response};
use flate2::{Compression, write::GzEncoder};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use sha2::{Digest as _, Sha256};

/// Name and content of every asset. The style sheet is one file for the browser and seven for us.
const SOURCES: &[(&str, &str)] = &[
    (
        "anteroom.css",
        concat!(
            include_str!("../assets/css/base.css"),
            include_str!("../assets/css/layout.css"),
            include_str!("../assets/css/controls.css"),
            include_str!("../assets/css/data.css"),
            include_str!("../assets/css/chat.css"),
            include_str!("../assets/css/pages.css"),
            include_str!("../assets/css/utilities.css"),
        ),
    ),
    ("app.js", include_str!("../assets/js/app.js")),
    ("chat.js", include_str!("../assets/js/chat.js")),
    ("passkey.js", include_str!("../assets/js/passkey.js")),
    ("favicon.svg", include_str!("../assets/favicon.svg")),
    ("icons.svg", include_str!("../assets/icons.svg")),
];

static ASSETS: LazyLock<Vec<Asset>> =
    LazyLock::new(|| SOURCES.iter().map(|(name, body)| Asset::new(name, body)).collect());

struct Asset {
    name: &'static str,
    /// `/assets/{stem}-{hash8}.{ext}`
    url: String,
    content_type: &'static str,
    plain: &'static [u8],
    /// `None` where compressing failed or did not pay.
    gzip: Option<bytes::Bytes>,
}

impl Asset {
    fn new(name: &'static str, body: &'static str) -> Self {
        let (stem, extension) = name.rsplit_once('.').unwrap_or((name, "txt"));
        let hash = hash8(body.as_bytes());
        Self {
            name,
            url: format!("/assets/{stem}-{hash}.{extension}"),
            content_type: content_type(extension),
            plain: body.as_bytes(),
            gzip: gzip(body.as_bytes()).filter(|zipped| zipped.len() < body.len()).map(bytes::Bytes::from),
        }
    }

    fn response(&self, accepts_gzip: bool) -> Response {
        let fixed: [(HeaderName, &'static str); 4] = [
            (header::CONTENT_TYPE, self.content_type),
            (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
            (header::VARY, "accept-encoding"),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        ];
        match &self.gzip {
            Some(zipped) if accepts_gzip => {
                (fixed, [(header::CONTENT_ENCODING, "gzip")], zipped.clone()).into_response()
            }
            _ => (fixed, self.plain).into_response(),
        }
    }
}

/// The address of an asset for a template: `url("app.js")` is `/assets/app-1a2b3c4d.js`.
///
/// A name that is not embedded gives an address that answers 404; a test renders every layout, so
/// it would not go unseen.
pub fn url(name: &str) -> &'static str {
    ASSETS.iter().find(|asset| asset.name == name).map_or("/assets/missing", |asset| asset.url.as_str())
}

/// `GET /assets/{file}`
pub async fn serve(Path(file): Path<String>, headers: HeaderMap) -> Response {
    let found = ASSETS.iter().find(|asset| asset.url.strip_prefix("/assets/") == Some(file.as_str()));
    match found {
        Some(asset) => asset.response(accepts_gzip(&headers)),
        None => {
            let mut missing = StatusCode::NOT_FOUND.into_response();
            let no_store = HeaderValue::from_static("no-store");
            missing.headers_mut().insert(header::CACHE_CONTROL, no_store);
            missing
        }
    }
}

/// `GET /favicon.ico`, which browsers ask for where a page names no icon (JSON, text).
pub async fn favicon() -> Redirect {
    Redirect::temporary(url("favicon.svg"))
}

/// RFC 9110, 12.5.3: a listed coding counts unless its weight is zero.
fn accepts_gzip(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::ACCEPT_ENCODING)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|item| {
            let mut parts = item.split(';').map(str::trim);
            let named = parts.next().is_some_and(|coding| coding.eq_ignore_ascii_case("gzip"));
            let refused = parts.any(|weight| {
                weight.strip_prefix("q=").and_then(|q| q.parse::<f32>().ok()).is_some_and(|q| q <= 0.0)
            });
            named && !refused
        })
}

fn content_type(extension: &str) -> &'static str {
    match extension {
        "css" => "text/css; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "svg" => "image/svg+xml; charset=utf-8",
        _ => "text/plain; charset=utf-8",
    }
}

fn hash8(body: &[u8]) -> String {
    let digest = Sha256::digest(body);
    digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}

fn gzip(body: &[u8]) -> Option<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(body).ok()?;
    encoder.finish().ok()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test panics to fail")]
mod tests {
    use std::io::Read as _;

    use super::*;

    fn headers(accept: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(header::ACCEPT_ENCODING, HeaderValue::from_static(accept))])
    }

    async fn get(file: &str, accept: &'static str) -> (StatusCode, HeaderMap, Vec<u8>) {
        let response = serve(Path(file.to_owned()), headers(accept)).await;
        let (parts, body) = response.into_parts();
        let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        (parts.status, parts.headers, body.to_vec())
    }

    #[test]
    fn the_address_follows_the_content() {
        assert_ne!(hash8(b"a"), hash8(b"b"));
        assert_eq!(hash8(b"a"), hash8(b"a"));
        let address = url("app.js");
        assert!(address.starts_with("/assets/app-") && address.ends_with(".js"));
        assert_eq!(address.len(), "/assets/app-12345678.js".len());
    }

    #[tokio::test]
    async fn every_asset_is_served_compressed_and_plain_and_kept_for_good() {
        for asset in ASSETS.iter() {
            let file = asset.url.strip_prefix("/assets/").unwrap();
            let (status, plain_headers, plain) = get(file, "identity").await;
            assert_eq!(status, StatusCode::OK);
            assert!(plain_headers.get(header::CONTENT_ENCODING).is_none());
            assert_eq!(plain_headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
            assert_eq!(plain_headers[header::CACHE_CONTROL], "public, max-age=31536000, immutable");

            let (_, headers, body) = get(file, "br, gzip").await;
            if headers.contains_key(header::CONTENT_ENCODING) {
                let mut unzipped = Vec::new();
                flate2::read::GzDecoder::new(body.as_slice()).read_to_end(&mut unzipped).unwrap();
                assert_eq!(unzipped, plain);
                assert!(body.len() < plain.len());
            } else {
                assert_eq!(body, plain);
            }
        }
    }

    #[tokio::test]
    async fn an_unknown_or_outdated_name_is_missing() {
        for file in ["app.js", "app-00000000.js", "../Cargo.toml", ""] {
            let (status, headers, _) = get(file, "gzip").await;
            assert_eq!(status, StatusCode::NOT_FOUND, "{file}");
            assert_eq!(headers[header::CACHE_CONTROL], "no-store");
        }
    }

    #[test]
    fn gzip_only_where_it_is_accepted() {
        assert!(accepts_gzip(&headers("gzip, deflate, br")));
        assert!(accepts_gzip(&headers("br;q=1.0, GZIP;q=0.5")));
        assert!(!accepts_gzip(&headers("gzip;q=0")));
        assert!(!accepts_gzip(&headers("br")));
        assert!(!accepts_gzip(&HeaderMap::new()));
    }

    /// The page itself has 60 KB in all with these; leave it at least half.
    #[test]
    fn the_first_visit_is_small() {
        let total: usize =
            ASSETS.iter().map(|asset| asset.gzip.as_ref().map_or(asset.plain.len(), bytes::Bytes::len)).sum();
        assert!(total < 30_000, "{total} bytes compressed");
    }

    /// SEC-86: nothing in an asset would need more than `'self'`.
    #[test]
    fn sec_86_assets_ask_nobody_else() {
        for (name, body) in SOURCES {
            assert!(!body.contains("@import"), "{name}");
            assert!(!body.contains("eval("), "{name}");
            let outside = body.replace("http://www.w3.org/2000/svg", "");
            assert!(!outside.contains("http://") && !outside.contains("https://"), "{name}");
        }
    }
}
