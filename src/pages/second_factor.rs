//! `/login/2fa`: the second step of a sign-in, in a challenge (SEC-33 to SEC-39). The factor that
//! serves best is offered first, with the way to the others.

use accounts::passkeys::CheckPurpose;
use accounts::{
    ChallengeToken, CodeSent, Entered, FactorRefused, NewChallenge, Outcome, Proof, SecondFactor,
};
use askama::Template;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::json;

use crate::error::{AppError, wait_words};
use crate::guard::{Challenged, Ctx};
use crate::http::answer::{self, see_other, see_other_with, with_wait};
use crate::http::cookies::{self, Cookie};
use crate::http::input::Input;
use crate::pages::sign_in;
use crate::view::format::masked;
use crate::view::{Field, Flash, Kind, Page, filters};

pub const PATH: &str = "/login/2fa";

#[derive(Template)]
#[template(path = "second_factor.html")]
struct SecondFactorPage {
    page: Page,
    /// The name of the factor that this page takes.
    method: &'static str,
    code: Field,
    /// Whose sign-in it is.
    who: String,
    /// Where codes by e-mail go, most of it hidden.
    masked: String,
    /// A code is on its way to that address.
    sent: Option<CodeSent>,
    /// Ways beside this one.
    ways: Vec<SecondFactor>,
    expires_at: i64,
    /// What went wrong beside the code.
    error: Option<String>,
    passkeys_work: bool,
}

/// The answer to a right first factor where a second one is needed: a page goes on to it, a program
/// is told which. With a `code` it is answered at once.
pub async fn challenged(
    ctx: &Ctx,
    challenge: NewChallenge,
    as_json: bool,
    code: Option<&str>,
) -> Result<Response, AppError> {
    let token = challenge.token.clone();
    let mut response = if challenge.enrol {
        if as_json { answer::error(ctx, &AppError::EnrolmentRequired) } else { see_other(super::enrol::PATH) }
    } else if let Some(code) = code {
        match ctx.app.accounts.answer_challenge(&token, Proof::Code(code), &ctx.client).await {
            Ok(entered) => return passed(ctx, entered, as_json).await,
            Err(refused) if as_json => answer::error(ctx, &refused.into()),
            Err(_) => {
                let flash = "The code was not right, or it was used before. Enter another one.";
                see_other_with(ctx, PATH, Flash::new(Kind::Bad, flash))
            }
        }
    } else if as_json {
        answer::error(ctx, &AppError::SecondFactorRequired(challenge.methods))
    } else {
        see_other(PATH)
    };
    set_challenge(ctx, &token, challenge.expires_at, &mut response);
    Ok(response)
}

fn set_challenge(ctx: &Ctx, token: &ChallengeToken, expires_at: i64, response: &mut Response) {
    let age = (expires_at - ctx.app.clock.now()) / base::SECOND;
    let cookie = Cookie::Challenge.set(token.as_str(), Some(age), ctx.app.https());
    cookies::add(response.headers_mut(), cookie);
}

/// The challenge is passed.
async fn passed(ctx: &Ctx, entered: Entered, as_json: bool) -> Result<Response, AppError> {
    let session = match entered.outcome {
        Outcome::Session(session) => session,
        // A mailed code is not enough for this account, and nothing else is set up.
        Outcome::Challenge(next) => return Box::pin(challenged(ctx, next, as_json, None)).await,
    };
    if as_json {
        return sign_in::enter(ctx, &session, true, entered.onward).await;
    }
    let path = sign_in::go_on(ctx, &session, entered.onward).await?;
    let mut response = match entered.backup_codes_left {
        Some(left) => see_other_with(ctx, &path, backup_flash(left)),
        None => see_other(&path),
    };
    sign_in::set_cookies(ctx, &session, &mut response);
    Ok(response)
}

fn backup_flash(left: i64) -> Flash {
    match left {
        0 => Flash::new(
            Kind::Warn,
            "That was your last backup code. Make a new set in the settings, under Security.",
        ),
        1..=3 => Flash::new(
            Kind::Warn,
            format!("Backup codes left: {left}. Make a new set in the settings, under Security."),
        ),
        _ => Flash::new(Kind::Ok, format!("You are signed in. Backup codes left: {left}.")),
    }
}

/// `GET /login/2fa`: the best factor that the account has.
pub async fn page(ctx: Ctx, challenged: Challenged) -> Result<Response, AppError> {
    show(&ctx, &challenged, None, StatusCode::OK, None).await
}

/// `GET /login/2fa/totp`, and the like for the other factors.
pub async fn page_totp(ctx: Ctx, challenged: Challenged) -> Result<Response, AppError> {
    show(&ctx, &challenged, Some(SecondFactor::Totp), StatusCode::OK, None).await
}

pub async fn page_email(ctx: Ctx, challenged: Challenged) -> Result<Response, AppError> {
    show(&ctx, &challenged, Some(SecondFactor::Email), StatusCode::OK, None).await
}

pub async fn page_backup_code(ctx: Ctx, challenged: Challenged) -> Result<Response, AppError> {
    show(&ctx, &challenged, Some(SecondFactor::BackupCode), StatusCode::OK, None).await
}

pub async fn page_passkey(ctx: Ctx, challenged: Challenged) -> Result<Response, AppError> {
    show(&ctx, &challenged, Some(SecondFactor::Passkey), StatusCode::OK, None).await
}

/// `POST /login/2fa`: a code or a passkey's answer. `method` says which page it comes from; what is
/// tried follows from the shape of the code (SEC-39).
pub async fn submit(ctx: Ctx, challenged: Challenged, mut input: Input) -> Result<Response, AppError> {
    let as_json = ctx.json || input.is_json();
    let (method, code) = (input.text("method"), input.optional("code"));
    let (ceremony, credential) = (input.optional("ceremony"), input.value("credential"));
    input.discard("next");
    let mut errors = input.finish().err().unwrap_or_default();
    let from_page = match method.as_str() {
        "" => None,
        name => match by_name(name) {
            Some(method) => Some(method),
            None => {
                let words = "This must be totp, email, backup-code or passkey.".to_owned();
                errors.insert("method".into(), words);
                None
            }
        },
    };
    let proof = match (&code, &ceremony, &credential) {
        (Some(code), None, None) => Some(Proof::Code(code)),
        (None, Some(ceremony), Some(credential)) => Some(Proof::Passkey { ceremony, credential }),
        _ => {
            errors.entry("code".into()).or_insert_with(|| "Enter the code.".to_owned());
            None
        }
    };
    if challenged.enrol {
        return if as_json { Err(AppError::EnrolmentRequired) } else { Ok(see_other(super::enrol::PATH)) };
    }
    let refused = match proof {
        Some(proof) if errors.is_empty() => {
            match ctx.app.accounts.answer_challenge(&challenged.token, proof, &ctx.client).await {
                Ok(entered) => return passed(&ctx, entered, as_json).await,
                Err(refused) => refused,
            }
        }
        _ => {
            let text = errors.values().next().cloned().unwrap_or_default();
            if as_json {
                return Err(AppError::Validation(errors));
            }
            return show(&ctx, &challenged, from_page, StatusCode::UNPROCESSABLE_ENTITY, Some(text)).await;
        }
    };
    refuse(&ctx, &challenged, from_page, refused, as_json).await
}

/// `POST /login/2fa/email`: mails a code.
pub async fn send_code(ctx: Ctx, challenged: Challenged, input: Input) -> Result<Response, AppError> {
    let as_json = ctx.json || input.is_json();
    input.done()?;
    if challenged.enrol {
        return if as_json { Err(AppError::EnrolmentRequired) } else { Ok(see_other(super::enrol::PATH)) };
    }
    match ctx.app.accounts.send_challenge_code(&challenged.token, &ctx.client).await {
        Ok(sent) if as_json => Ok(answer::json(
            StatusCode::ACCEPTED,
            &json!({ "message": "A code is on its way.", "resend_after": sent.resend_after_secs }),
        )),
        Ok(_) => Ok(see_other("/login/2fa/email")),
        Err(refused) => refuse(&ctx, &challenged, Some(SecondFactor::Email), refused, as_json).await,
    }
}

/// `POST /login/2fa/passkey/options`: what the page hands to the browser.
pub async fn passkey_options(
    ctx: Ctx,
    challenged: Challenged,
    mut input: Input,
) -> Result<Response, AppError> {
    // The form sends all it has.
    input.discard("method");
    input.done()?;
    if challenged.enrol {
        return Err(AppError::EnrolmentRequired);
    }
    let options = ctx
        .app
        .accounts
        .begin_passkey_check(&challenged.id, &challenged.user.id, CheckPurpose::SecondFactor)
        .await?;
    Ok(answer::json(StatusCode::OK, &options))
}

/// `POST /login/2fa/cancel`: back to the sign-in, as someone else perhaps.
pub async fn cancel(ctx: Ctx, challenged: Challenged, input: Input) -> Result<Response, AppError> {
    let as_json = ctx.json || input.is_json();
    input.done()?;
    ctx.app.accounts.cancel_challenge(&challenged.token).await?;
    let mut response = if as_json {
        answer::json(StatusCode::OK, &json!({ "message": "The sign-in is cancelled." }))
    } else {
        see_other("/login")
    };
    cookies::add(response.headers_mut(), Cookie::Challenge.clear(ctx.app.https()));
    Ok(response)
}

async fn refuse(
    ctx: &Ctx,
    challenged: &Challenged,
    method: Option<SecondFactor>,
    refused: FactorRefused,
    as_json: bool,
) -> Result<Response, AppError> {
    let over = match &refused {
        FactorRefused::Gone => true,
        FactorRefused::Wrong(left) => left.tries == 0,
        _ => false,
    };
    let text = match &refused {
        FactorRefused::Limited { limit, .. } => Some(limit.message().to_owned()),
        _ => None,
    };
    let error = AppError::from(refused);
    let mut response = if as_json {
        answer::error(ctx, &error)
    } else if over {
        let flash = "This sign-in took too long or had too many tries. Start again.";
        see_other_with(ctx, "/login", Flash::new(Kind::Bad, flash))
    } else {
        let problem = error.problem();
        let text = match &error {
            AppError::RateLimited(seconds) => text.unwrap_or_else(|| {
                format!("Too many wrong codes. Wait {}, then try again.", wait_words(*seconds))
            }),
            _ => problem.detail,
        };
        show(ctx, challenged, method, problem.status, Some(text)).await?
    };
    if over {
        cookies::add(response.headers_mut(), Cookie::Challenge.clear(ctx.app.https()));
    }
    Ok(with_wait(response, &error))
}

async fn show(
    ctx: &Ctx,
    challenged: &Challenged,
    method: Option<SecondFactor>,
    status: StatusCode,
    error: Option<String>,
) -> Result<Response, AppError> {
    if challenged.enrol {
        return Ok(see_other(super::enrol::PATH));
    }
    let standing = ctx.app.accounts.standing(&challenged.user.id).await?.ok_or(AppError::Unauthenticated)?;
    let mut ways = standing.methods();
    let passkeys_work = ctx.app.accounts.passkeys_available();
    let best = match ways.first() {
        // Where passkeys cannot work, something else comes first.
        Some(SecondFactor::Passkey) if !passkeys_work && ways.len() > 1 => ways.get(1),
        best => best,
    };
    let Some(best) = best.copied() else {
        // The last factor was taken away meanwhile: the sign-in starts again.
        let flash = "Your account has no second factor any more. Sign in again.";
        return Ok(see_other_with(ctx, "/login", Flash::new(Kind::Warn, flash)));
    };
    let method = match method {
        Some(method) if ways.contains(&method) => method,
        Some(_) if status == StatusCode::OK => return Ok(see_other(PATH)),
        _ => best,
    };
    ways.retain(|way| *way != method && (passkeys_work || *way != SecondFactor::Passkey));
    let sent = match method {
        SecondFactor::Email => ctx.app.accounts.code_sent(&challenged.id).await?,
        _ => None,
    };
    let (on_code, beside) = if method == SecondFactor::Passkey { (None, error) } else { (error, None) };
    let user = &challenged.user;
    Ok(ctx.html_as(
        status,
        &SecondFactorPage {
            page: ctx.page("Second factor"),
            method: method.name(),
            code: code_field(method).error(on_code),
            // Who knows no more than the password learns no address here.
            who: if user.email.is_empty() { user.username.clone() } else { masked(&user.email) },
            masked: masked(&user.email),
            sent,
            ways,
            expires_at: challenged.expires_at,
            error: beside,
            passkeys_work,
        },
    ))
}

fn code_field(method: SecondFactor) -> Field {
    let mut field = match method {
        SecondFactor::BackupCode => {
            Field::text("code", "Backup code").placeholder("XXXX-XXXX-XXXX-XXXX").autocomplete("off").max(40)
        }
        _ => Field::text("code", "Code").autocomplete("one-time-code").max(40),
    };
    if method != SecondFactor::BackupCode {
        field.inputmode = "numeric";
    }
    field.required().tall().autofocus()
}

fn by_name(name: &str) -> Option<SecondFactor> {
    [SecondFactor::Totp, SecondFactor::Email, SecondFactor::BackupCode, SecondFactor::Passkey]
        .into_iter()
        .find(|method| method.name() == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_by_its_first_letter_and_domain() {
        assert_eq!(masked("mara@lindqvist.example"), "m•••@lindqvist.example");
        assert_eq!(masked("m@x.example"), "m•••@x.example");
        assert_eq!(masked(""), "");
    }
}
