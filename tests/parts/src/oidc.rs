//! An OpenID provider (OpenID Connect Core and Discovery 1.0, RFC 7636, RFC 9207) that signs a settable person in
//! without asking, and lies where a test tells it to. Several may stand side by side.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use parking_lot::Mutex;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::http::escape;
use crate::oidc_token::{Keys, Making};

/// The client that it knows.
pub const CLIENT_ID: &str = "anteroom";
/// That client's secret.
pub const CLIENT_SECRET: &str = "stub secret: + and & are 100 % legal";

/// An address of the provider that can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    Discovery,
    Jwks,
    Token,
    UserInfo,
}

/// How it lies or fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// The token names another issuer.
    WrongIssuer,
    /// Discovery does.
    ForeignDiscovery,
    WrongAudience,
    /// Two audiences, and no `azp`.
    TwoAudiences,
    /// Two audiences, and `azp` names our client, which is allowed.
    TwoAudiencesWithAzp,
    WrongAzp,
    AlgNone,
    /// HS256 with the client secret as the key.
    Hs256,
    /// HS256 with the published key as the key.
    Hs256PublicKey,
    Expired,
    FutureIat,
    /// `nbf` is to come.
    FutureNbf,
    WrongNonce,
    NoNonce,
    /// The token's key id is one that is never published.
    UnknownKid,
    BadSignature,
    WrongAtHash,
    /// A number that the ID token must have comes as text.
    GarbageClaims,
    /// An access token, and no ID token.
    NoIdToken,
    /// The ID token has `sub` only, UserInfo the rest.
    ThinToken,
    NoAuthTime,
    /// UserInfo is about someone else.
    WrongSub,
    /// The redirect lacks `iss`, although it is advertised.
    NoIss,
    WrongIss,
    /// `iss` is not advertised; it is sent all the same, unless [`Fault::NoIss`].
    IssNotAdvertised,
    /// The person says no.
    AccessDenied,
    InvalidClient,
    /// Client secrets are taken in the form only.
    PostOnly,
    /// Discovery names a token endpoint in a private network.
    PrivateToken,
    /// Never answers.
    Silent(Part),
    /// HTTP 500.
    Error(Part),
    /// 200, and no JSON.
    Garbage(Part),
    /// Over one MiB.
    Huge(Part),
    /// To the right answer.
    Redirect(Part),
}

/// A provider on loopback; it ends with the value.
pub struct OidcStub {
    issuer: String,
    inner: Arc<Inner>,
    serving: JoinHandle<()>,
}

struct Inner {
    issuer: String,
    gitlab: bool,
    state: Mutex<Stub>,
}

struct Stub {
    keys: Keys,
    person: Map<String, Value>,
    faults: BTreeSet<Fault>,
    now: Option<i64>,
    issued: u64,
    codes: BTreeMap<String, Grant>,
    access_tokens: BTreeMap<String, Map<String, Value>>,
    asked: Option<BTreeMap<String, String>>,
    calls: BTreeMap<String, usize>,
    signed_out: Option<BTreeMap<String, String>>,
    handed_out: Vec<String>,
}

/// What a code stands for.
struct Grant {
    nonce: Option<String>,
    challenge: String,
    redirect_uri: String,
    person: Map<String, Value>,
}

impl OidcStub {
    /// Starts one, with the person Ada.
    ///
    /// # Panics
    /// Where loopback has no port free.
    pub async fn start() -> Self {
        Self::shaped(false).await
    }

    /// Starts one with the addresses, metadata and claims that GitLab documents ("GitLab as OpenID Connect identity
    /// provider"): below `/oauth`, without RFC 9207 and without a sign-out, and the person Ada as a GitLab user. Its
    /// keys are of ES256 all the same.
    ///
    /// # Panics
    /// Where loopback has no port free.
    pub async fn gitlab() -> Self {
        let stub = Self::shaped(true).await;
        let profile = format!("{}/ada", stub.issuer);
        stub.person(json!({
            "sub": "4711", "sub_legacy": "5bd1e7c0", "name": "Ada Lovelace", "nickname": "ada", "preferred_username": "ada",
            "email": "ada@example.com", "email_verified": true, "website": "", "profile": profile,
            "picture": "https://www.gravatar.com/avatar/0?s=80&d=identicon", "groups": ["staff", "staff/engines"],
            "groups_direct": ["staff/engines"], "https://gitlab.org/claims/groups/owner": ["staff/engines"],
        }));
        stub
    }

    async fn shaped(gitlab: bool) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let issuer = format!("http://{}", listener.local_addr().expect("an address"));
        let inner = Arc::new(Inner {
            issuer: issuer.clone(),
            gitlab,
            state: Mutex::new(Stub {
                keys: Keys::new(&issuer),
                person: Map::new(),
                faults: BTreeSet::new(),
                now: None,
                issued: 0,
                codes: BTreeMap::new(),
                access_tokens: BTreeMap::new(),
                asked: None,
                calls: BTreeMap::new(),
                signed_out: None,
                handed_out: Vec::new(),
            }),
        });
        let app = Router::new()
            .route("/.well-known/openid-configuration", get(discovery))
            .route("/jwks", get(jwks))
            .route("/authorize", get(authorize))
            .route("/token", axum::routing::post(token))
            .route("/userinfo", get(user_info))
            .route("/end-session", get(end_session))
            .route("/oauth/authorize", get(authorize))
            .route("/oauth/token", axum::routing::post(token))
            .route("/oauth/userinfo", get(user_info))
            .route("/oauth/discovery/keys", get(jwks))
            .with_state(inner.clone());
        let serving = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, app).await {
                eprintln!("OpenID stub: {error}");
            }
        });
        let stub = Self { issuer, inner, serving };
        stub.person(json!({
            "sub": "ada-1", "email": "ada@example.com", "email_verified": true, "given_name": "Ada",
            "family_name": "Lovelace", "preferred_username": "ada",
        }));
        stub
    }

    /// `http://127.0.0.1:port`.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Who signs in from now on: claims with `sub`. Any may be among them: `groups`, `acr`, `amr`, `auth_time`, an
    /// `email_verified` of any kind.
    ///
    /// # Panics
    /// Where it is no object.
    pub fn person(&self, claims: Value) {
        let Value::Object(claims) = claims else { panic!("a person is an object of claims") };
        self.inner.state.lock().person = claims;
    }

    /// Lies so from now on, beside what it does already.
    pub fn fault(&self, fault: Fault) {
        self.inner.state.lock().faults.insert(fault);
    }

    /// Is honest again.
    pub fn heal(&self) {
        self.inner.state.lock().faults.clear();
    }

    /// Signs with a new key, and publishes only that.
    pub fn rotate_key(&self) {
        self.inner.state.lock().keys.rotate();
    }

    /// Its clock stands there from now on, Unix seconds; without, it is the machine's.
    pub fn set_time(&self, seconds: i64) {
        self.inner.state.lock().now = Some(seconds);
    }

    /// What the last browser asked for at the authorization endpoint.
    #[must_use]
    pub fn asked(&self) -> Option<BTreeMap<String, String>> {
        self.inner.state.lock().asked.clone()
    }

    /// What the last browser asked for at the end-session endpoint.
    #[must_use]
    pub fn signed_out(&self) -> Option<BTreeMap<String, String>> {
        self.inner.state.lock().signed_out.clone()
    }

    /// Every code, access token and ID token that it has handed out.
    #[must_use]
    pub fn handed_out(&self) -> Vec<String> {
        self.inner.state.lock().handed_out.clone()
    }

    /// How often it was called there.
    #[must_use]
    pub fn calls(&self, part: Part) -> usize {
        self.inner.state.lock().calls.get(&format!("{part:?}")).copied().unwrap_or(0)
    }
}

impl Drop for OidcStub {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

type Shared = State<Arc<Inner>>;
type Asked = Query<BTreeMap<String, String>>;

impl Inner {
    fn has(&self, fault: Fault) -> bool {
        self.state.lock().faults.contains(&fault)
    }

    /// Counts the call, and fails instead of answering where that was asked for.
    async fn enter(&self, part: Part) -> Option<Response> {
        *self.state.lock().calls.entry(format!("{part:?}")).or_default() += 1;
        if self.has(Fault::Silent(part)) {
            std::future::pending::<()>().await;
        }
        let json = [(header::CONTENT_TYPE, "application/json")];
        if self.has(Fault::Error(part)) {
            Some((StatusCode::INTERNAL_SERVER_ERROR, "out of order").into_response())
        } else if self.has(Fault::Garbage(part)) {
            Some((json, "<html>Sign in to the wireless network</html>").into_response())
        } else if self.has(Fault::Huge(part)) {
            Some((json, format!("{{\"x\":\"{}\"}}", "x".repeat(1 << 20))).into_response())
        } else if self.has(Fault::Redirect(part)) {
            Some(redirect(&format!("{}/elsewhere", self.issuer)))
        } else {
            None
        }
    }
}

/// The machine's clock, unless a test has set one.
#[expect(clippy::disallowed_methods, reason = "another machine has a clock of its own")]
fn now(stub: &Stub) -> i64 {
    stub.now.unwrap_or_else(|| {
        let passed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        i64::try_from(passed.as_secs()).unwrap_or(0)
    })
}

async fn discovery(State(inner): Shared) -> Response {
    if let Some(failure) = inner.enter(Part::Discovery).await {
        return failure;
    }
    let issuer = &inner.issuer;
    let told = if inner.has(Fault::ForeignDiscovery) { "https://other.example" } else { issuer };
    let token = if inner.has(Fault::PrivateToken) {
        "https://10.0.0.1/token".to_owned()
    } else {
        format!("{issuer}/token")
    };
    let methods = if inner.has(Fault::PostOnly) {
        json!(["client_secret_post"])
    } else {
        json!(["client_secret_basic", "client_secret_post"])
    };
    if inner.gitlab {
        return axum::Json(gitlab_metadata(issuer)).into_response();
    }
    axum::Json(json!({
        "issuer": told,
        "authorization_endpoint": format!("{issuer}/authorize"),
        "token_endpoint": token,
        "userinfo_endpoint": format!("{issuer}/userinfo"),
        "jwks_uri": format!("{issuer}/jwks"),
        "end_session_endpoint": format!("{issuer}/end-session"),
        "response_types_supported": ["code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
        "scopes_supported": ["openid", "email", "profile"],
        "token_endpoint_auth_methods_supported": methods,
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": !inner.has(Fault::IssNotAdvertised),
    }))
    .into_response()
}

fn gitlab_metadata(issuer: &str) -> Value {
    json!({
        "issuer": issuer,
        "authorization_endpoint": format!("{issuer}/oauth/authorize"),
        "token_endpoint": format!("{issuer}/oauth/token"),
        "revocation_endpoint": format!("{issuer}/oauth/revoke"),
        "introspection_endpoint": format!("{issuer}/oauth/introspect"),
        "userinfo_endpoint": format!("{issuer}/oauth/userinfo"),
        "jwks_uri": format!("{issuer}/oauth/discovery/keys"),
        "scopes_supported": ["api", "read_user", "openid", "profile", "email"],
        "response_types_supported": ["code"],
        "response_modes_supported": ["query", "fragment", "form_post"],
        "grant_types_supported": ["authorization_code", "password", "client_credentials", "refresh_token"],
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
        "claim_types_supported": ["normal"],
        "claims_supported": [
            "iss", "sub", "aud", "exp", "iat", "sub_legacy", "name", "nickname", "preferred_username", "email",
            "email_verified", "website", "profile", "picture", "groups", "groups_direct",
            "https://gitlab.org/claims/groups/owner",
        ],
        "code_challenge_methods_supported": ["plain", "S256"],
    })
}

async fn jwks(State(inner): Shared) -> Response {
    match inner.enter(Part::Jwks).await {
        Some(failure) => failure,
        None => axum::Json(inner.state.lock().keys.public()).into_response(),
    }
}

async fn authorize(State(inner): Shared, Query(asked): Asked) -> Response {
    let value = |name: &str| asked.get(name).map(String::as_str).unwrap_or_default();
    let sound = value("client_id") == CLIENT_ID
        && value("response_type") == "code"
        && value("code_challenge_method") == "S256"
        && !value("code_challenge").is_empty()
        && value("redirect_uri").starts_with("http")
        && value("scope").split(' ').any(|scope| scope == "openid");
    let mut stub = inner.state.lock();
    stub.asked = Some(asked.clone());
    if !sound {
        return (StatusCode::BAD_REQUEST, "invalid_request").into_response();
    }
    let has = |fault| stub.faults.contains(&fault);
    let mut back = if has(Fault::AccessDenied) {
        format!("{}?error=access_denied", value("redirect_uri"))
    } else {
        format!("{}?code=code-{}", value("redirect_uri"), stub.issued)
    };
    back.push_str(&format!("&state={}", escape(value("state"))));
    if has(Fault::WrongIss) {
        back.push_str(&format!("&iss={}", escape("https://other.example")));
    } else if !has(Fault::NoIss) && !inner.gitlab {
        back.push_str(&format!("&iss={}", escape(&inner.issuer)));
    }
    let mut person = stub.person.clone();
    let at = now(&stub);
    person.entry("auth_time").or_insert(json!(at));
    let grant = Grant {
        nonce: asked.get("nonce").cloned(),
        challenge: value("code_challenge").to_owned(),
        redirect_uri: value("redirect_uri").to_owned(),
        person,
    };
    let code = format!("code-{}", stub.issued);
    stub.issued += 1;
    stub.handed_out.push(code.clone());
    stub.codes.insert(code, grant);
    redirect(&back)
}

async fn token(State(inner): Shared, headers: HeaderMap, body: Bytes) -> Response {
    if let Some(failure) = inner.enter(Part::Token).await {
        return failure;
    }
    let form = parse_form(&body);
    let value = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
    let mut stub = inner.state.lock();
    let post_only = stub.faults.contains(&Fault::PostOnly);
    let client = match basic(&headers) {
        Some(client) if !post_only => client,
        _ => (value("client_id").to_owned(), value("client_secret").to_owned()),
    };
    if client != (CLIENT_ID.to_owned(), CLIENT_SECRET.to_owned())
        || stub.faults.contains(&Fault::InvalidClient)
    {
        return refuse(StatusCode::UNAUTHORIZED, "invalid_client");
    }
    // Gone with the first try, whatever comes of it.
    let Some(grant) = stub.codes.remove(value("code")) else {
        return refuse(StatusCode::BAD_REQUEST, "invalid_grant");
    };
    let computed = URL_SAFE_NO_PAD.encode(Sha256::digest(value("code_verifier").as_bytes()));
    if value("grant_type") != "authorization_code"
        || grant.redirect_uri != value("redirect_uri")
        || grant.challenge != computed
    {
        return refuse(StatusCode::BAD_REQUEST, "invalid_grant");
    }
    let access_token = format!("access-{}", stub.issued);
    stub.issued += 1;
    stub.access_tokens.insert(access_token.clone(), grant.person.clone());
    let making = Making {
        issuer: &inner.issuer,
        client: (CLIENT_ID, CLIENT_SECRET),
        nonce: grant.nonce.as_deref(),
        access_token: &access_token,
        now: now(&stub),
        faults: &stub.faults,
    };
    let id_token = making.token(&stub.keys, grant.person);
    stub.handed_out.extend([access_token.clone(), id_token.clone()]);
    let mut answer = json!({"access_token": access_token, "token_type": "Bearer", "expires_in": 3600});
    if !stub.faults.contains(&Fault::NoIdToken) {
        answer["id_token"] = id_token.into();
    }
    axum::Json(answer).into_response()
}

async fn user_info(State(inner): Shared, headers: HeaderMap) -> Response {
    if let Some(failure) = inner.enter(Part::UserInfo).await {
        return failure;
    }
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = bearer.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
    let stub = inner.state.lock();
    let Some(person) = stub.access_tokens.get(token) else {
        return refuse(StatusCode::UNAUTHORIZED, "invalid_token");
    };
    let mut claims = person.clone();
    if stub.faults.contains(&Fault::WrongSub) {
        claims.insert("sub".to_owned(), json!("someone-else"));
    }
    axum::Json(claims).into_response()
}

async fn end_session(State(inner): Shared, Query(asked): Asked) -> Response {
    inner.state.lock().signed_out = Some(asked.clone());
    match asked.get("post_logout_redirect_uri") {
        Some(back) if asked.get("client_id").is_some_and(|id| id == CLIENT_ID) => redirect(back),
        _ => "You are signed out.".into_response(),
    }
}

pub(crate) fn redirect(to: &str) -> Response {
    (StatusCode::SEE_OTHER, [(header::LOCATION, to.to_owned())]).into_response()
}

fn refuse(status: StatusCode, error: &str) -> Response {
    (status, axum::Json(json!({"error": error, "error_description": "The stub refuses."}))).into_response()
}

/// RFC 6749, 2.3.1.
fn basic(headers: &HeaderMap) -> Option<(String, String)> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Basic ")?;
    let text = String::from_utf8(STANDARD.decode(value).ok()?).ok()?;
    let (id, secret) = text.split_once(':')?;
    Some((unescape(id), unescape(secret)))
}

pub(crate) fn parse_form(body: &[u8]) -> BTreeMap<String, String> {
    let body = String::from_utf8_lossy(body);
    body.split('&').filter_map(|pair| pair.split_once('=')).map(|(k, v)| (unescape(k), unescape(v))).collect()
}

/// Undoes application/x-www-form-urlencoded.
fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        let hex = tail.get(..2).and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        rest = match (byte, hex) {
            (b'%', Some(value)) => {
                bytes.push(value);
                &tail[2..]
            }
            (b'+', _) => {
                bytes.push(b' ');
                tail
            }
            _ => {
                bytes.push(byte);
                tail
            }
        };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
