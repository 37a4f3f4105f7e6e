//! Step-up for programs and scripts (SEC-57): by password, code or passkey.

use accounts::passkeys::CheckPurpose;
use accounts::{Proof, StepUpProof};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::json;

use crate::error::AppError;
use crate::guard::{Ctx, Member, session_cookie};
use crate::http::answer;
use crate::http::cookies;
use crate::http::input::Input;

/// `POST /api/v1/step-up`: `{"password"}` or `{"code"}`. The session gets a new token and ten minutes.
pub async fn submit(ctx: Ctx, member: Member, mut input: Input) -> Result<Response, AppError> {
    let (password, code) = (input.optional("password"), input.optional("code"));
    input.done()?;
    let proof = match (&password, &code) {
        (Some(password), None) => StepUpProof::Password(password),
        (None, Some(code)) => StepUpProof::Factor(Proof::Code(code)),
        _ => return Err(AppError::field("code", "Send either a password or a code.")),
    };
    renew(&ctx, &member, proof).await
}

/// `POST /api/v1/step-up/email`: mails a code, where that is a way of this account's.
pub async fn send_code(ctx: Ctx, member: Member, input: Input) -> Result<Response, AppError> {
    input.done()?;
    let sent = ctx.app.accounts.send_step_up_code(&member, &ctx.client).await?;
    Ok(answer::json(
        StatusCode::ACCEPTED,
        &json!({ "message": "A code is on its way.", "resend_after": sent.resend_after_secs }),
    ))
}

/// `POST /api/v1/step-up/passkey/options`: what the page hands to the browser.
pub async fn passkey_options(ctx: Ctx, member: Member, mut input: Input) -> Result<Response, AppError> {
    // The form sends all it has.
    input.discard("step_up_carry");
    input.done()?;
    let options = ctx
        .app
        .accounts
        .begin_passkey_check(&member.session.id, &member.user_id, CheckPurpose::StepUp)
        .await?;
    Ok(answer::json(StatusCode::OK, &options))
}

/// `POST /api/v1/step-up/passkey`: what the browser made of them.
pub async fn passkey(ctx: Ctx, member: Member, mut input: Input) -> Result<Response, AppError> {
    let (ceremony, credential) = (input.text("ceremony"), input.value("credential"));
    input.done()?;
    let credential = credential.ok_or_else(|| AppError::field("credential", "This is needed."))?;
    renew(&ctx, &member, StepUpProof::Factor(Proof::Passkey { ceremony: &ceremony, credential: &credential }))
        .await
}

async fn renew(ctx: &Ctx, member: &Member, proof: StepUpProof<'_>) -> Result<Response, AppError> {
    let token = ctx.session_token.as_ref().ok_or(AppError::Unauthenticated)?;
    let renewed = ctx.app.accounts.step_up(member, token, proof, &ctx.client).await?;
    let mut response = answer::json(
        StatusCode::OK,
        &json!({ "message": "You have proved who you are.", "csrf_token": ctx.csrf() }),
    );
    cookies::add(response.headers_mut(), session_cookie(&ctx.app, &renewed, member.session.expires_at));
    Ok(response)
}
