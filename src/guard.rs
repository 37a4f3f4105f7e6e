//! The one authorise function: every request passes it, whatever its route or credential (SEC-90).
//!
//! It finds out who asks, judges where an unsafe request comes from (SEC-83), reads its body once,
//! and holds the route's guard against the person. A handler gets a [`Ctx`], and a [`Member`] only
//! where the guard has let one in.

mod rule;

use std::sync::Arc;
use std::time::Duration;

use accounts::{
    Challenge, ChallengeToken, Client, DeviceToken, LinkToken, Permission, Principal, SessionToken, TripToken,
};
use axum::body::{self, to_bytes};
use axum::extract::{FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::Response;

use rule::FIELDS;
pub use rule::{Body, Guard, Rule, Session};

use crate::app::App;
use crate::error::AppError;
use crate::http::answer::{self, Shown};
use crate::http::cookies::{self, Cookie};
use crate::http::csrf::{self, Source};
use crate::http::input::{Input, wants_json};
use crate::http::log::Seen;
use crate::pages;
use crate::view::{Flash, Kind, Theme};

/// What a handler knows of its request. `Debug` shows which one it is and no secret.
#[derive(Clone)]
pub struct Ctx {
    pub app: App,
    pub principal: Option<Arc<Principal>>,
    pub client: Client,
    pub request_id: Arc<str>,
    /// Whether the answer is JSON.
    pub json: bool,
    pub path: String,
    pub query: Option<String>,
    pub theme: Option<Theme>,
    pub flash: Vec<Flash>,
    /// The session's token, for what gives it a new one.
    pub session_token: Option<SessionToken>,
    /// The challenge that the request's cookie names, good or not.
    pub challenge_cookie: Option<ChallengeToken>,
    /// The good challenge of a [`Guard::Challenge`] route, and its token.
    pub challenge: Option<(ChallengeToken, Arc<Challenge>)>,
    /// Of a trip to a provider that this browser began.
    pub trip_cookie: Option<TripToken>,
    /// Of an identity that waits to be linked.
    pub link_cookie: Option<LinkToken>,
    /// Secret behind the form tokens of a person who is not signed in.
    visitor: String,
    new_visitor: bool,
}

impl std::fmt::Debug for Ctx {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ctx")
            .field("path", &self.path)
            .field("request_id", &self.request_id)
            .finish_non_exhaustive()
    }
}

impl Ctx {
    /// The form token for this person (SEC-83).
    pub fn csrf(&self) -> String {
        csrf::token(&self.app.random, self.csrf_secret())
    }

    fn csrf_secret(&self) -> &str {
        self.principal.as_ref().map_or(&self.visitor, |principal| &principal.session.csrf_secret)
    }

    /// The signed-in person may do this.
    pub fn may(&self, permission: Permission) -> bool {
        self.principal.as_ref().is_some_and(|principal| principal.may(permission))
    }

    /// For answers to a person who was not signed in: the cookie that binds their forms.
    pub fn visitor_cookie(&self) -> Option<HeaderValue> {
        self.new_visitor.then(|| Cookie::Visitor.set(&self.visitor, None, self.app.https())).flatten()
    }

    /// What the ceremonies of a sign-in are bound to: the visitor, or the session that is to be replaced.
    pub fn visitor_id(&self) -> String {
        base::random::token_hash(self.csrf_secret())
    }

    fn error(&self, error: AppError) -> Response {
        answer::error(self, &error)
    }
}

/// The challenge of a route that answers to one.
#[derive(Clone, Debug)]
pub struct Challenged {
    pub token: ChallengeToken,
    pub challenge: Arc<Challenge>,
}

impl std::ops::Deref for Challenged {
    type Target = Challenge;
    fn deref(&self) -> &Challenge {
        &self.challenge
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Challenged {
    type Rejection = AppError;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, AppError> {
        let ctx = parts.extensions.get::<Ctx>().ok_or(AppError::Internal)?;
        let (token, challenge) = ctx.challenge.clone().ok_or(AppError::Unauthenticated)?;
        Ok(Self { token, challenge })
    }
}

/// The signed-in person of a guarded route.
#[derive(Clone, Debug)]
pub struct Member(pub Arc<Principal>);

impl std::ops::Deref for Member {
    type Target = Principal;
    fn deref(&self) -> &Principal {
        &self.0
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Ctx {
    type Rejection = AppError;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, AppError> {
        parts.extensions.get::<Self>().cloned().ok_or(AppError::Internal)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Member {
    type Rejection = AppError;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, AppError> {
        let ctx = parts.extensions.get::<Ctx>().ok_or(AppError::Internal)?;
        ctx.principal.clone().map(Self).ok_or(AppError::Unauthenticated)
    }
}

/// Lets a request through to its handler, or answers it.
pub async fn authorise(app: App, rule: Rule, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let seen = parts.extensions.get::<Arc<Seen>>().cloned().unwrap_or_default();
    // Set once: nobody did before.
    let _ = seen.route.set(rule.route);
    let (mut ctx, dead_session) = match context(&app, &parts, &seen, rule).await {
        Ok(found) => found,
        Err(answer) => return *answer,
    };
    if let Some(principal) = &ctx.principal {
        let _ = seen.user_id.set(principal.user_id.clone());
    }
    if !is_text(&ctx.path) {
        return ctx.error(AppError::NotFound);
    }
    if ctx.query.as_deref().is_some_and(|query| decoded(query).any(|text| text.contains('\0'))) {
        return ctx
            .error(AppError::BadRequest("The address contains a character that cannot be used.".into()));
    }
    let mut renewed = None;
    let mut response = match check(&ctx, rule, dead_session.as_ref(), &mut parts, body).await {
        Ok((body, token)) => {
            if let (Some(token), Some(principal)) = (&token, &ctx.principal) {
                let mut principal = Principal::clone(principal);
                principal.session.step_up_at = app.clock.now();
                ctx.principal = Some(Arc::new(principal));
                ctx.session_token = Some(token.clone());
            }
            renewed = token;
            if let (Session::Used, Some(principal)) = (rule.session, &ctx.principal) {
                app.accounts.touch(principal);
            }
            parts.extensions.insert(ctx.clone());
            let response = next.run(Request::from_parts(parts, body)).await;
            // Errors of the handler are told here, where it is known who asked and how.
            match response.extensions().get::<AppError>() {
                Some(error) if response.extensions().get::<Shown>().is_none() => ctx.error(error.clone()),
                _ => response,
            }
        }
        Err(answer) => *answer,
    };
    // What a page asks by itself may have set out before a step-up gave the browser another token.
    let asked = rule.session != Session::Unasked;
    if asked && dead_session.is_some() && ctx.principal.is_none() && !sets_session(&response, &app) {
        cookies::add(response.headers_mut(), Cookie::Session.clear(app.https()));
    }
    // A step-up gave the session a new token (SEC-78), unless the handler went on to the next.
    if let (Some(token), Some(principal), false) = (&renewed, &ctx.principal, sets_session(&response, &app)) {
        cookies::add(response.headers_mut(), session_cookie(&app, token, principal.session.expires_at));
    }
    if rule.guard == Guard::Challenge && ctx.challenge.is_none() {
        cookies::add(response.headers_mut(), Cookie::Challenge.clear(app.https()));
    }
    response
}

/// The cookie of a session that ends at `expires_at`.
pub fn session_cookie(app: &App, token: &SessionToken, expires_at: i64) -> Option<HeaderValue> {
    let age = (expires_at - app.clock.now()) / base::SECOND;
    Cookie::Session.set(token.as_str(), Some(age), app.https())
}

fn sets_session(response: &Response, app: &App) -> bool {
    let name = Cookie::Session.name(app.https());
    response.headers().get_all(header::SET_COOKIE).iter().any(|value| {
        value.to_str().is_ok_and(|text| text.strip_prefix(&name).is_some_and(|rest| rest.starts_with('=')))
    })
}

/// Who asks, and the token of a session that is over, if the cookie holds one.
async fn context(
    app: &App,
    parts: &Parts,
    seen: &Seen,
    rule: Rule,
) -> Result<(Ctx, Option<SessionToken>), Box<Response>> {
    let headers = &parts.headers;
    let https = app.https();
    let looks = rule.session != Session::Ignored;
    let token = Cookie::Session.read(headers, https).filter(|_| looks).and_then(SessionToken::from_cookie);
    let found = match &token {
        Some(token) => app.accounts.principal(token).await,
        None => Ok(None),
    };
    let (principal, mut failure) = match found {
        Ok(principal) => (principal.map(Arc::new), None),
        Err(error) => (None, Some(AppError::from(error))),
    };
    let challenge_cookie =
        Cookie::Challenge.read(headers, https).filter(|_| looks).and_then(ChallengeToken::from_cookie);
    let mut challenge = None;
    if let (Guard::Challenge, Some(token)) = (rule.guard, &challenge_cookie) {
        match app.accounts.challenge(token).await {
            Ok(found) => challenge = found.map(|found| (token.clone(), Arc::new(found))),
            Err(error) => failure = Some(error.into()),
        }
    }
    let (dead, token) = if principal.is_some() { (None, token) } else { (token, None) };
    let visitor = Cookie::Visitor.read(headers, https).filter(|value| value.len() == 43);
    let ctx = Ctx {
        client: seen
            .client
            .clone()
            .with_device(Cookie::Device.read(headers, https).and_then(DeviceToken::from_cookie)),
        session_token: token,
        challenge_cookie,
        challenge,
        trip_cookie: Cookie::Trip.read(headers, https).and_then(TripToken::from_cookie),
        link_cookie: Cookie::Link.read(headers, https).and_then(LinkToken::from_cookie),
        request_id: seen.id.clone(),
        json: wants_json(headers),
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().map(str::to_owned),
        theme: cookies::plain(headers, "theme").and_then(Theme::from_cookie),
        flash: answer::read_flash(app, headers),
        new_visitor: looks && visitor.is_none() && principal.is_none(),
        visitor: match (visitor, &principal) {
            (Some(visitor), _) => visitor.to_owned(),
            (None, None) => app.random.token(),
            (None, Some(_)) => String::new(),
        },
        principal,
        app: app.clone(),
    };
    match failure {
        None => Ok((ctx, dead)),
        Some(error) => Err(Box::new(ctx.error(error))),
    }
}

/// All checks in order. Gives the body that the handler gets.
async fn check(
    ctx: &Ctx,
    rule: Rule,
    dead_session: Option<&SessionToken>,
    parts: &mut Parts,
    body: body::Body,
) -> Result<(body::Body, Option<SessionToken>), Box<Response>> {
    let refuse = |error: AppError| Err(Box::new(ctx.error(error)));
    if matches!(parts.method, Method::GET | Method::HEAD | Method::OPTIONS) {
        return match admit(ctx, rule.guard) {
            Ok(()) => Ok((body, None)),
            Err(answer) => Err(Box::new(answer)),
        };
    }
    // SEC-83: an unsafe request. First where it comes from, whatever its token.
    let source = csrf::source(&parts.headers, &ctx.app.config);
    if source == Source::Foreign {
        return refuse(AppError::Csrf);
    }
    let patience = Duration::from_secs(u64::from(ctx.app.config.server.read_timeout_seconds));
    let bytes = match tokio::time::timeout(patience, to_bytes(body, rule.longest(&ctx.app))).await {
        Ok(Ok(bytes)) => bytes,
        Ok(Err(_)) => return refuse(AppError::TooLarge),
        Err(_) => return refuse(AppError::TooSlow),
    };
    let mut input = match Input::parse(&parts.headers, &bytes) {
        Ok(input) => input,
        Err(error) => return refuse(error),
    };
    if rule.step_up && bytes.len() > rule.body.longest(&ctx.app) && input.length("step_up_carry") == 0 {
        return refuse(AppError::TooLarge);
    }
    if rule.body == Body::Carried && bytes.len() - input.length("carry").min(bytes.len()) > FIELDS {
        return refuse(AppError::TooLarge);
    }
    let field = input.optional("csrf_token");
    if ctx.principal.is_none() && needs_session(rule.guard) {
        if rule.body == Body::Prompt && !ctx.json && source == Source::Own {
            return Err(Box::new(pages::sign_in::with_prompt(ctx, input, dead_session).await));
        }
        // Nothing to come back to: this address takes no GET.
        return Err(Box::new(unauthenticated(ctx, None)));
    }
    if let (Guard::SignedOut, Source::Own, false, Some(principal)) =
        (rule.guard, source, ctx.json, &ctx.principal)
    {
        return Err(Box::new(pages::carried::signed_in_already(ctx, &principal.user_id, input).await));
    }
    if !exempt(ctx, rule, source, &input) {
        let header = parts.headers.get("x-csrftoken").and_then(|value| value.to_str().ok());
        let token = header.or(field.as_deref()).unwrap_or("");
        if !csrf::valid(ctx.csrf_secret(), token) {
            // A page of the session before, in a browser without scripts; ours keep the prompt themselves.
            let navigates = parts.headers.get("sec-fetch-mode").is_some_and(|mode| mode == "navigate");
            if let (Body::Prompt, Source::Own, true, Some(principal)) =
                (rule.body, source, navigates, &ctx.principal)
                && admit(ctx, rule.guard).is_ok()
                && let Some(answer) = pages::carried::out_of_date(ctx, &principal.user_id, input).await
            {
                return Err(Box::new(answer));
            }
            return refuse(AppError::Csrf);
        }
    }
    if let Err(answer) = admit(ctx, rule.guard) {
        return Err(Box::new(answer));
    }
    let mut renewed = None;
    if let (true, Some(principal), Some(token)) = (rule.step_up, &ctx.principal, &ctx.session_token) {
        (input, renewed) = pages::step_up::pass(ctx, principal, token, input).await?;
    }
    parts.extensions.insert(input);
    Ok((body::Body::empty(), renewed))
}

/// Whether the request needs no token. Without a session there is nothing that a foreign page could
/// use, and it cannot send JSON unasked.
fn exempt(ctx: &Ctx, rule: Rule, source: Source, input: &Input) -> bool {
    let leaves = rule.route == pages::sign_out::PATH && matches!(source, Source::Own | Source::Unsaid);
    ctx.principal.is_none() && (input.is_json() || leaves)
}

fn needs_session(guard: Guard) -> bool {
    matches!(guard, Guard::Member | Guard::May(_))
}

#[expect(clippy::result_large_err, reason = "the error is the answer itself")]
fn admit(ctx: &Ctx, guard: Guard) -> Result<(), Response> {
    match (guard, &ctx.principal) {
        (Guard::Public, _) | (Guard::SignedOut, None) | (Guard::Member, Some(_)) => Ok(()),
        (Guard::Challenge, _) if ctx.challenge.is_some() => Ok(()),
        (Guard::Challenge, Some(_)) if !ctx.json => Err(answer::see_other("/chat")),
        (Guard::Challenge, _) => Err(no_challenge(ctx)),
        (Guard::SignedOut, Some(_)) if ctx.json => Ok(()),
        (Guard::SignedOut, Some(_)) => Err(answer::see_other("/chat")),
        (Guard::May(permission), Some(principal)) if principal.may(permission) => Ok(()),
        (Guard::May(_), Some(_)) => Err(forbidden(ctx)),
        (Guard::Member | Guard::May(_), None) => Err(unauthenticated(ctx, Some(&ctx.path))),
    }
}

/// There is no challenge, or it is over: the sign-in starts again.
fn no_challenge(ctx: &Ctx) -> Response {
    if ctx.json {
        return ctx.error(AppError::Unauthenticated);
    }
    let flash = "This sign-in took too long or had too many tries. Start again.";
    answer::see_other_with(ctx, "/login", Flash::new(Kind::Warn, flash))
}

/// JSON is told; a page leads to the sign-in, and from there back to `path`.
fn unauthenticated(ctx: &Ctx, path: Option<&str>) -> Response {
    if ctx.json {
        return ctx.error(AppError::Unauthenticated);
    }
    let next = match (path, &ctx.query) {
        (None, _) => "/".to_owned(),
        (Some(path), Some(query)) => format!("{path}?{query}"),
        (Some(path), None) => path.to_owned(),
    };
    answer::see_other(&pages::sign_in::address(&next))
}

/// Whether a path is text without control characters once its percent signs are resolved: no id
/// or token is anything else, and PostgreSQL takes no NUL.
fn is_text(path: &str) -> bool {
    !decoded(path).any(|text| text.contains(|c: char| c.is_control() || c == '\u{fffd}'))
}

/// The parts of an address with their percent signs resolved; what is no UTF-8 becomes U+FFFD.
fn decoded(text: &str) -> impl Iterator<Item = std::borrow::Cow<'_, str>> {
    url::form_urlencoded::parse(text.as_bytes()).flat_map(|(name, value)| [name, value])
}

/// JSON is told; a page says so in a flash on /chat.
fn forbidden(ctx: &Ctx) -> Response {
    if ctx.json || ctx.path.starts_with("/chat") || ctx.path == "/" {
        return ctx.error(AppError::Forbidden);
    }
    answer::see_other_with(
        ctx,
        "/chat",
        Flash::new(Kind::Bad, "You may not open that page. Ask an Admin if you need it."),
    )
}

/// Tells an error outside the table of routes, to whoever asks.
pub async fn tell(app: &App, request: Request, error: AppError) -> Response {
    let (parts, _) = request.into_parts();
    let seen = parts.extensions.get::<Arc<Seen>>().cloned().unwrap_or_default();
    let rule =
        Rule { route: "", guard: Guard::Public, body: Body::Fields, session: Session::Used, step_up: false };
    match context(app, &parts, &seen, rule).await {
        Ok((ctx, _)) => ctx.error(error),
        Err(answer) => *answer,
    }
}
