//! GitHub as its documents describe it, in the shape of an Enterprise server: sign-in under `/login/oauth`, the API
//! under `/api/v3`. Errors of the token endpoint come with the status 200, as theirs do.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parking_lot::Mutex;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::http::escape;
use crate::oidc::{CLIENT_ID, CLIENT_SECRET, parse_form, redirect};

/// How it fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// The person says no.
    AccessDenied,
    /// `incorrect_client_credentials`.
    WrongClient,
    /// `redirect_uri_mismatch`.
    WrongRedirect,
    /// `/user/emails` is refused: the scope was taken away.
    NoEmails,
    /// The API answers 500.
    Down,
}

/// A GitHub on loopback; it ends with the value. It knows the client of the OpenID stub.
pub struct GitHubStub {
    base_url: String,
    inner: Arc<Mutex<Stub>>,
    serving: JoinHandle<()>,
}

#[derive(Default)]
struct Stub {
    user: Value,
    emails: Value,
    faults: BTreeSet<Fault>,
    issued: u64,
    /// Code to challenge and redirect address.
    codes: BTreeMap<String, (String, String)>,
    tokens: BTreeSet<String>,
    asked: Option<BTreeMap<String, String>>,
}

impl GitHubStub {
    /// Starts one, with the person `ada` and her verified primary address.
    ///
    /// # Panics
    /// Where loopback has no port free.
    pub async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let base_url = format!("http://{}", listener.local_addr().expect("an address"));
        let inner = Arc::<Mutex<Stub>>::default();
        let app = Router::new()
            .route("/login/oauth/authorize", get(authorize))
            .route("/login/oauth/access_token", post(token))
            .route("/api/v3/user", get(user))
            .route("/api/v3/user/emails", get(emails))
            .with_state(inner.clone());
        let serving = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, app).await {
                eprintln!("GitHub stub: {error}");
            }
        });
        let stub = Self { base_url, inner, serving };
        stub.person(
            json!({"login": "ada", "id": 583_231, "type": "User", "name": "Ada Lovelace", "email": "public@example.com"}),
            json!([
                {"email": "old@example.com", "primary": false, "verified": true, "visibility": null},
                {"email": "ada@example.com", "primary": true, "verified": true, "visibility": "private"},
            ]),
        );
        stub
    }

    /// `http://127.0.0.1:port`.
    #[must_use]
    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    /// Who signs in from now on: what `/user` and `/user/emails` answer.
    pub fn person(&self, user: Value, emails: Value) {
        let mut stub = self.inner.lock();
        (stub.user, stub.emails) = (user, emails);
    }

    /// Fails so from now on.
    pub fn fault(&self, fault: Fault) {
        self.inner.lock().faults.insert(fault);
    }

    /// Works again.
    pub fn heal(&self) {
        self.inner.lock().faults.clear();
    }

    /// What the last browser asked for.
    #[must_use]
    pub fn asked(&self) -> Option<BTreeMap<String, String>> {
        self.inner.lock().asked.clone()
    }
}

impl Drop for GitHubStub {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

type Shared = State<Arc<Mutex<Stub>>>;

async fn authorize(State(inner): Shared, Query(asked): Query<BTreeMap<String, String>>) -> Response {
    let value = |name: &str| asked.get(name).map(String::as_str).unwrap_or_default();
    let mut stub = inner.lock();
    stub.asked = Some(asked.clone());
    if value("client_id") != CLIENT_ID || value("code_challenge_method") != "S256" {
        return StatusCode::NOT_FOUND.into_response();
    }
    let (back, state) = (value("redirect_uri"), escape(value("state")));
    if stub.faults.contains(&Fault::AccessDenied) {
        return redirect(&format!("{back}?error=access_denied&error_description=no&state={state}"));
    }
    let code = format!("{:020}", stub.issued);
    stub.issued += 1;
    stub.codes.insert(code.clone(), (value("code_challenge").to_owned(), back.to_owned()));
    redirect(&format!("{back}?code={code}&state={state}"))
}

async fn token(State(inner): Shared, headers: HeaderMap, body: Bytes) -> Response {
    let form = parse_form(&body);
    let value = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
    let error = |code: &str| axum::Json(json!({"error": code, "error_description": "The stub refuses."}));
    if headers.get(header::ACCEPT).is_none_or(|accept| accept != "application/json") {
        return "access_token=form&token_type=bearer".into_response();
    }
    let mut stub = inner.lock();
    let known = value("client_id") == CLIENT_ID && value("client_secret") == CLIENT_SECRET;
    if !known || stub.faults.contains(&Fault::WrongClient) {
        return error("incorrect_client_credentials").into_response();
    }
    if stub.faults.contains(&Fault::WrongRedirect) {
        return error("redirect_uri_mismatch").into_response();
    }
    let computed = URL_SAFE_NO_PAD.encode(Sha256::digest(value("code_verifier").as_bytes()));
    let granted = stub.codes.remove(value("code"));
    if granted != Some((computed, value("redirect_uri").to_owned())) {
        return error("bad_verification_code").into_response();
    }
    let token = format!("gho_{:036}", stub.issued);
    stub.issued += 1;
    stub.tokens.insert(token.clone());
    axum::Json(json!({"access_token": token, "scope": "read:user,user:email", "token_type": "bearer"}))
        .into_response()
}

async fn user(State(inner): Shared, headers: HeaderMap) -> Response {
    let stub = inner.lock();
    refusal(&stub, &headers).unwrap_or_else(|| axum::Json(stub.user.clone()).into_response())
}

async fn emails(State(inner): Shared, headers: HeaderMap) -> Response {
    let stub = inner.lock();
    if stub.faults.contains(&Fault::NoEmails) {
        return StatusCode::NOT_FOUND.into_response();
    }
    refusal(&stub, &headers).unwrap_or_else(|| axum::Json(stub.emails.clone()).into_response())
}

fn refusal(stub: &Stub, headers: &HeaderMap) -> Option<Response> {
    if stub.faults.contains(&Fault::Down) {
        return Some(StatusCode::INTERNAL_SERVER_ERROR.into_response());
    }
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let known =
        bearer.and_then(|value| value.strip_prefix("Bearer ")).is_some_and(|t| stub.tokens.contains(t));
    (!known).then(|| StatusCode::UNAUTHORIZED.into_response())
}
