//! A provider that is odd in ways the stub does not know: where it sends browsers, and what it says back (SEC-97, SEC-98).

use serde_json::json;

use crate::harness::{TestApp, Wishes};
use crate::page::text;
use crate::providers_harness::{begin, idp, is_in};

/// A provider of a test's own: its metadata, and a token endpoint that says back what it was sent.
async fn odd(change: &[(&str, &str)]) -> (TestApp, tokio::task::JoinHandle<()>) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let issuer = format!("http://{}", listener.local_addr().unwrap());
    let mut metadata = json!({
        "issuer": issuer, "authorization_endpoint": format!("{issuer}/authorize"),
        "token_endpoint": format!("{issuer}/token"), "jwks_uri": format!("{issuer}/keys"),
        "response_types_supported": ["code"], "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
    });
    for (name, value) in change {
        metadata[*name] = json!(value);
    }
    let serving = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let metadata = metadata.clone();
            tokio::spawn(async move {
                let mut got = Vec::new();
                let mut piece = [0; 4096];
                // The head, and the body that it announces.
                let whole = |got: &[u8]| {
                    let text = String::from_utf8_lossy(got).to_ascii_lowercase();
                    let (head, body) = text.split_once("\r\n\r\n")?;
                    let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next());
                    (body.len() >= length.map_or(0, |n| n.trim().parse().unwrap())).then_some(())
                };
                while whole(&got).is_none() {
                    let read = stream.read(&mut piece).await.unwrap_or(0);
                    if read == 0 {
                        return;
                    }
                    got.extend_from_slice(&piece[..read]);
                }
                let text = String::from_utf8_lossy(&got);
                let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
                let (status, answer) = match text.starts_with("POST") {
                    true => {
                        ("400 Bad Request", json!({ "error": "invalid_grant", "error_description": body }))
                    }
                    false => ("200 OK", metadata),
                };
                let answer = answer.to_string();
                let reply = format!(
                    "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{answer}",
                    answer.len()
                );
                let _ = stream.write_all(reply.as_bytes()).await;
            });
        }
    });
    let idp = idp().await;
    let app = Wishes::unlimited()
        .openid("odd", "Odd", &idp)
        .set("ANTEROOM_PROVIDERS__ODD__ISSUER", &issuer)
        .start()
        .await;
    app.app.setup_done();
    (app, serving)
}

/// SEC-98: a browser is sent to no address of a provider's that is not https, but for the one that was configured.
#[tokio::test]
async fn sec_98_a_browser_is_sent_by_https_only() {
    for wrong in ["http://other.example/authorize", "javascript:alert(1)", "http://192.0.2.1/authorize"] {
        for field in ["authorization_endpoint", "end_session_endpoint"] {
            let (app, serving) = odd(&[(field, wrong)]).await;
            let reply = app.anon().get("/login/odd").await;
            assert_eq!((reply.status.as_u16(), reply.location()), (502, None), "{field} {wrong}: {reply:?}");
            serving.abort();
        }
    }
    let (app, serving) = odd(&[("authorization_endpoint", "https://other.example/authorize")]).await;
    let url = begin(&app.anon(), "/login/odd").await;
    assert_eq!(url.host_str(), Some("other.example"));
    serving.abort();
}

/// SEC-97: what a provider says back of our own request is not in the error list: neither the code nor the verifier.
#[tokio::test]
async fn sec_97_an_echo_of_the_request_is_not_told() {
    let (app, serving) = odd(&[]).await;
    let client = app.anon();
    let url = begin(&client, "/login/odd").await;
    let state = url.query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned();
    let reply = client.get(&format!("/login/odd/authorized?state={state}&code=a-secret-code")).await;
    assert_eq!((reply.status.as_u16(), is_in(&client)), (502, false), "{reply:?}");
    let admin = app.admin().await;
    let causes = text(&admin.get("/admin/errors").await.body);
    assert!(causes.contains("invalid_grant") && causes.contains("code=***"), "{causes}");
    assert!(!causes.contains("a-secret-code"), "{causes}");
    serving.abort();
}
