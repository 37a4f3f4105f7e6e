//! `GET/POST /setup?token=…`: the first Admin (SEC-4).

use accounts::{NewAccount, Purpose};
use askama::Template;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;

use crate::error::{AppError, FieldErrors};
use crate::guard::Ctx;
use crate::http::answer::with_wait;
use crate::http::input::Input;
use crate::joining;
use crate::pages::{second_factor, sign_in, sign_up};
use crate::view::{Field, Page, filters};

#[derive(Template)]
#[template(path = "setup.html")]
struct SetupPage {
    page: Page,
    usable: bool,
    token: String,
    fields: Vec<Field>,
    error: Option<String>,
}

/// `GET /setup?token=…` only shows; it uses nothing up (SEC-64).
pub async fn page(ctx: Ctx) -> Result<Response, AppError> {
    let query = ctx.query.clone().unwrap_or_default();
    let token = url::form_urlencoded::parse(query.as_bytes())
        .find_map(|(name, value)| (name == "token").then(|| value.into_owned()))
        .unwrap_or_default();
    let accounts = &ctx.app.accounts;
    // The command line may have made an Admin since the link was printed.
    let usable =
        accounts.peek_token(Purpose::SetUp, &token).await?.is_some() && accounts.setup_needed().await?;
    Ok(show(&ctx, StatusCode::OK, usable, token, &NewAccount::default(), &FieldErrors::new(), None))
}

fn show(
    ctx: &Ctx,
    status: StatusCode,
    usable: bool,
    token: String,
    typed: &NewAccount,
    errors: &FieldErrors,
    error: Option<String>,
) -> Response {
    let status = if usable { status } else { StatusCode::NOT_FOUND };
    let fields = sign_up::fields(typed, errors, crate::options::min_chars(&ctx.app.config));
    let page = SetupPage { page: ctx.page("Set up"), usable, token, fields, error };
    let mut response = ctx.html_as(status, &page);
    // The address holds the token (SEC-64). The page itself then says `strict-origin`, which tells no path either:
    // under `no-referrer` a browser sends the form with `Origin: null`, which is refused (SEC-83).
    response.headers_mut().insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

/// `POST /setup` makes the first Admin and signs in.
pub async fn submit(ctx: Ctx, mut input: Input) -> Result<Response, AppError> {
    let token = input.text("token");
    let as_json = ctx.json || input.is_json();
    let typed = sign_up::read(&mut input);
    let done = match input.finish() {
        Err(errors) => Err(AppError::Validation(errors)),
        Ok(()) => joining::set_up(&ctx.app, &typed, &token).await,
    };
    match done {
        Ok(factor) => match ctx.app.accounts.complete_login(factor, &ctx.client).await {
            Ok(accounts::Outcome::Session(session)) => {
                Ok(sign_in::signed_in(&ctx, &session, as_json, "/admin"))
            }
            Ok(accounts::Outcome::Challenge(challenge)) => {
                second_factor::challenged(&ctx, challenge, as_json, None).await
            }
            Err(_) => Ok(crate::http::answer::see_other("/login")),
        },
        Err(error) if as_json => Err(error),
        Err(AppError::NotFound) => {
            Ok(show(&ctx, StatusCode::NOT_FOUND, false, token, &typed, &FieldErrors::new(), None))
        }
        Err(error) => {
            let problem = error.problem();
            let none = FieldErrors::new();
            let text = error.fields().is_none().then(|| format!("{}. {}", problem.title, problem.detail));
            let shown =
                show(&ctx, problem.status, true, token, &typed, error.fields().unwrap_or(&none), text);
            Ok(with_wait(shown, &error))
        }
    }
}
