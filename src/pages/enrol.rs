//! `/login/2fa/enrol`: setting up the second factor that an account must have, in the middle of its
//! sign-in (SEC-3, SEC-35). Nothing else is open until then.

use accounts::passkeys::PasskeyUser;
use accounts::{ChangeOrRefused, ChangeRefused, Enrolled, FactorRefused, Outcome, PendingTotp};
use askama::Template;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use serde_json::json;

use crate::error::AppError;
use crate::guard::{Challenged, Ctx};
use crate::http::answer::{self, see_other, see_other_with, with_wait};
use crate::http::csrf;
use crate::http::input::Input;
use crate::joining;
use crate::pages::settings::passkeys::kind_of;
use crate::pages::settings::second_factor::secret;
use crate::pages::{backup_codes, second_factor, sign_in};
use crate::view::qr::Qr;
use crate::view::{Field, Flash, Kind, Page, filters};

pub const PATH: &str = "/login/2fa/enrol";

#[derive(Template)]
#[template(path = "enrol.html")]
struct EnrolPage {
    page: Page,
    who: String,
    /// An authenticator app that waits for its first code.
    app: Option<Waiting>,
    code: Field,
    error: Option<String>,
    passkeys_work: bool,
    expires_at: i64,
}

struct Waiting {
    pending: PendingTotp,
    qr: Option<Qr>,
}

/// What an app calls the account: its address, or its name.
fn account(challenged: &Challenged) -> &str {
    let user = &challenged.user;
    if user.email.is_empty() { &user.username } else { &user.email }
}

/// `GET /login/2fa/enrol`
pub async fn page(ctx: Ctx, challenged: Challenged) -> Result<Response, AppError> {
    if !challenged.enrol {
        return Ok(see_other(second_factor::PATH));
    }
    show(&ctx, &challenged, StatusCode::OK, None, None).await
}

async fn show(
    ctx: &Ctx,
    challenged: &Challenged,
    status: StatusCode,
    on_code: Option<String>,
    error: Option<String>,
) -> Result<Response, AppError> {
    let pending =
        ctx.app.accounts.pending_totp(&challenged.user.id, &challenged.id, account(challenged)).await?;
    let mut code = Field::text("code", "Six digits from the app")
        .autocomplete("one-time-code")
        .hint("The key becomes active only after a right code.")
        .error(on_code)
        .max(10)
        .required()
        .tall();
    code.inputmode = "numeric";
    // Not before: the QR code above it comes first.
    if code.error.is_some() {
        code = code.autofocus();
    }
    let page = EnrolPage {
        page: ctx.page("Set up a second factor"),
        who: account(challenged).to_owned(),
        app: pending.map(|pending| Waiting { qr: Qr::new(&pending.uri), pending }),
        code,
        error,
        passkeys_work: ctx.app.accounts.passkeys_available(),
        expires_at: challenged.expires_at,
    };
    let mut response = ctx.html_as(status, &page);
    no_store(&mut response);
    Ok(response)
}

/// SEC-45: a secret is in it.
fn no_store(response: &mut Response) {
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
}

/// `POST /login/2fa/enrol`: `action` is `generate`, `confirm` with `code`, or `passkey` with what the
/// browser made.
pub async fn submit(ctx: Ctx, challenged: Challenged, mut input: Input) -> Result<Response, AppError> {
    let as_json = ctx.json || input.is_json();
    let action = input.text("action");
    let code = input.optional("code").or(input.optional("otp_code"));
    let (name, kind) = (input.text("name"), input.text("kind"));
    let (ceremony, credential) = (input.optional("ceremony"), input.value("credential"));
    input.done()?;
    kind_of(&kind)?;
    if !challenged.enrol {
        return if as_json {
            Err(AppError::Refused("This account has a second factor: use it.".into()))
        } else {
            Ok(see_other(second_factor::PATH))
        };
    }
    let accounts = &ctx.app.accounts;
    let done = match (action.as_str(), code, ceremony, credential) {
        ("generate", ..) => return generate(&ctx, &challenged, as_json).await,
        ("confirm", Some(code), ..) => accounts.enrol_totp(&challenged.token, &code, &ctx.client).await,
        ("confirm", None, ..) => Err(ChangeRefused::WrongCode.into()),
        ("passkey", _, Some(ceremony), Some(credential)) => {
            accounts.enrol_passkey(&challenged.token, &ceremony, &name, &credential, &ctx.client).await
        }
        _ => return Err(AppError::field("action", "This must be generate, confirm or passkey.")),
    };
    match done {
        Ok(enrolled) => finish(&ctx, &challenged, enrolled, as_json).await,
        Err(refused) => refuse(&ctx, &challenged, refused, as_json).await,
    }
}

async fn generate(ctx: &Ctx, challenged: &Challenged, as_json: bool) -> Result<Response, AppError> {
    let pending =
        ctx.app.accounts.begin_totp(&challenged.user.id, &challenged.id, account(challenged)).await?;
    if !as_json {
        return Ok(see_other(PATH));
    }
    let mut response = secret(&pending);
    no_store(&mut response);
    Ok(response)
}

/// `POST /login/2fa/enrol/passkey/options`
pub async fn passkey_options(
    ctx: Ctx,
    challenged: Challenged,
    mut input: Input,
) -> Result<Response, AppError> {
    let kind = kind_of(&input.text("kind"))?;
    input.discard("action");
    input.discard("name");
    input.done()?;
    if !challenged.enrol {
        return Err(AppError::Refused("This account has a second factor: use it.".into()));
    }
    let name = challenged.user.full_name();
    let user = PasskeyUser::new(&challenged.user, &name);
    let options = ctx.app.accounts.begin_passkey(&challenged.id, user, kind).await?;
    Ok(answer::json(StatusCode::OK, &options))
}

async fn finish(
    ctx: &Ctx,
    challenged: &Challenged,
    enrolled: Enrolled,
    as_json: bool,
) -> Result<Response, AppError> {
    let Outcome::Session(session) = enrolled.entered.outcome else { return Err(AppError::Internal) };
    let path = sign_in::go_on(ctx, &session, enrolled.entered.onward).await?;
    let mut response = match (enrolled.backup_codes, as_json) {
        (codes, true) => answer::json(
            StatusCode::OK,
            &json!({
                "message": "You are signed in, and the second factor is set up.",
                "user": joining::user_json(&session.user),
                "csrf_token": csrf::token(&ctx.app.random, &session.csrf_secret),
                "backup_codes": codes.unwrap_or_default(),
            }),
        ),
        (Some(codes), false) => {
            backup_codes::shown_once(ctx, "The second factor is set up.", account(challenged), codes, &path)
        }
        (None, false) => see_other_with(
            ctx,
            &path,
            Flash::new(Kind::Ok, "The second factor is set up. You are signed in."),
        ),
    };
    no_store(&mut response);
    sign_in::set_cookies(ctx, &session, &mut response);
    Ok(response)
}

async fn refuse(
    ctx: &Ctx,
    challenged: &Challenged,
    refused: ChangeOrRefused,
    as_json: bool,
) -> Result<Response, AppError> {
    let refused = match refused {
        ChangeOrRefused::Change(ChangeRefused::Db(error)) => return Err(error.into()),
        ChangeOrRefused::Change(change) if as_json => {
            return Err(match change {
                ChangeRefused::WrongCode => AppError::field("code", change.to_string()),
                change => AppError::Refused(change.to_string()),
            });
        }
        ChangeOrRefused::Change(change @ ChangeRefused::WrongCode) => {
            return show(ctx, challenged, StatusCode::UNPROCESSABLE_ENTITY, Some(change.to_string()), None)
                .await;
        }
        ChangeOrRefused::Change(change) => {
            return show(ctx, challenged, StatusCode::CONFLICT, None, Some(change.to_string())).await;
        }
        ChangeOrRefused::Refused(refused) => refused,
    };
    if matches!(refused, FactorRefused::Gone) && !as_json {
        let flash = "This sign-in took too long or had too many tries. Start again.";
        return Ok(see_other_with(ctx, "/login", Flash::new(Kind::Bad, flash)));
    }
    let error = AppError::from(refused);
    if as_json {
        return Err(error);
    }
    let problem = error.problem();
    Ok(with_wait(show(ctx, challenged, problem.status, None, Some(problem.detail)).await?, &error))
}
