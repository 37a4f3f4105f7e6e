//! `/settings/passkeys`: the list, adding, renaming, removing (SEC-53 to SEC-56).

use accounts::{ChangeRefused, FactorAdded, PasskeyError, PasskeyKind, PasskeyRow, PasskeyUser};
use askama::Template;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::json;

use super::{refusal, show_codes};
use crate::error::AppError;
use crate::guard::{Ctx, Member};
use crate::http::answer::{self, see_other_with};
use crate::http::input::Input;
use crate::pages::done;
use crate::view::{Field, Flash, Kind, Page, filters};

const PATH: &str = "/settings/passkeys";

#[derive(Template)]
#[template(path = "settings_passkeys.html")]
struct PasskeysPage {
    page: Page,
    keys: Vec<PasskeyRow>,
    /// A site at an IP address has none (SEC-53).
    available: bool,
}

/// `GET /settings/passkeys`, as a page or as JSON.
pub async fn page(ctx: Ctx, member: Member) -> Result<Response, AppError> {
    let keys = ctx.app.accounts.list_passkeys(&member.user_id).await?;
    if ctx.json {
        return Ok(answer::json(StatusCode::OK, &json!({ "passkeys": keys })));
    }
    let available = ctx.app.accounts.passkeys_available();
    Ok(ctx.html(&PasskeysPage { page: ctx.page("Passkeys"), keys, available }))
}

#[derive(Template)]
#[template(path = "settings_passkey_new.html")]
struct NewPasskeyPage {
    page: Page,
    name: Field,
    /// As the form sends it.
    kind: &'static str,
    touch_only: bool,
    error: Option<String>,
}

/// The kind that a form or a program names.
pub fn kind_of(word: &str) -> Result<PasskeyKind, AppError> {
    match word {
        "" | "passkey" => Ok(PasskeyKind::Passkey),
        "security-key" => Ok(PasskeyKind::SecurityKey),
        _ => Err(AppError::field("kind", "Say passkey or security-key.")),
    }
}

fn form(ctx: &Ctx, kind: PasskeyKind, name: &str, refused: Option<&AppError>) -> Response {
    let (word, example) = match kind {
        PasskeyKind::Passkey => ("passkey", "Work laptop, fingerprint"),
        PasskeyKind::SecurityKey => ("security-key", "Key on my key ring"),
    };
    let on_name = refused.and_then(|error| error.fields()?.get("name").cloned());
    let error = refused.filter(|_| on_name.is_none()).map(crate::pages::words);
    let name = Field::text("name", "Name")
        .value(name)
        .placeholder(example)
        .hint("So that you know it again when you have several.")
        .autocomplete("off")
        .error(on_name)
        .max(60);
    let touch_only = kind == PasskeyKind::SecurityKey;
    let title = if touch_only { "Add a security key" } else { "Add a passkey" };
    ctx.html_as(
        refused.map_or(StatusCode::OK, |error| error.problem().status),
        &NewPasskeyPage { page: ctx.page(title), name, kind: word, touch_only, error },
    )
}

/// `POST /settings/passkeys/new`: the page on which one is made. A POST, because it comes after a
/// step-up, so that the browser's question is the last one.
pub async fn new(ctx: Ctx, mut input: Input) -> Result<Response, AppError> {
    let kind = kind_of(&input.text("kind"))?;
    input.done()?;
    if !ctx.app.accounts.passkeys_available() {
        let words = PasskeyError::Unavailable.to_string();
        return Ok(see_other_with(&ctx, PATH, Flash::new(Kind::Bad, words)));
    }
    Ok(form(&ctx, kind, "", None))
}

/// `POST /settings/passkeys/options`: what the page hands to the browser, with the ceremony's id.
pub async fn options(ctx: Ctx, member: Member, mut input: Input) -> Result<Response, AppError> {
    let kind = kind_of(&input.text("kind"))?;
    // The form's other field comes along.
    input.discard("name");
    input.done()?;
    let name = member.full_name();
    let user = PasskeyUser { id: &member.user_id, username: &member.username, display_name: &name };
    let options = ctx.app.accounts.begin_passkey(&member.session.id, user, kind).await;
    Ok(answer::json(StatusCode::OK, &options.map_err(ChangeRefused::from).map_err(refusal)?))
}

/// `POST /settings/passkeys`, as a form or as JSON: keeps what the browser made. Without it, as after
/// a step-up in between, the page is shown again.
pub async fn add(ctx: Ctx, member: Member, mut input: Input) -> Result<Response, AppError> {
    let as_json = ctx.json || input.is_json();
    let (kind, name) = (kind_of(&input.text("kind"))?, input.text("name"));
    let (ceremony, credential) = (input.optional("ceremony"), input.value("credential"));
    input.done()?;
    let (Some(ceremony), Some(credential)) = (ceremony, credential) else {
        return if as_json {
            Err(AppError::field("credential", "Ask for options, and send what the browser made of them."))
        } else {
            Ok(form(&ctx, kind, &name, None))
        };
    };
    let added = ctx.app.accounts.add_passkey(&member, &ceremony, &name, &credential, &ctx.client).await;
    match added {
        Ok(FactorAdded { backup_codes: Some(codes), .. }) => {
            Ok(show_codes(&ctx, &member, as_json, codes, added_words(kind), PATH))
        }
        Ok(_) => done(&ctx, as_json, PATH, Ok((Kind::Ok, added_words(kind).to_owned()))),
        Err(refused) if as_json => Err(refusal(refused)),
        Err(refused) => Ok(form(&ctx, kind, &name, Some(&refusal(refused)))),
    }
}

fn added_words(kind: PasskeyKind) -> &'static str {
    match kind {
        PasskeyKind::Passkey => "The passkey is added. You are signed out everywhere else.",
        PasskeyKind::SecurityKey => "The security key is added. You are signed out everywhere else.",
    }
}

/// `POST /settings/passkeys/{id}/rename`
pub async fn rename(
    ctx: Ctx,
    member: Member,
    Path(id): Path<String>,
    mut input: Input,
) -> Result<Response, AppError> {
    let as_json = ctx.json || input.is_json();
    let name = input.text("name");
    input.done()?;
    let result = match ctx.app.accounts.rename_passkey(&member.user_id, &id, &name).await {
        Ok(true) => Ok((Kind::Ok, "It has its new name.".to_owned())),
        Ok(false) => Err(gone(as_json)),
        Err(error) => Err(refusal(error.into())),
    };
    done(&ctx, as_json, PATH, result)
}

/// `POST /settings/passkeys/{id}/remove`
pub async fn remove(
    ctx: Ctx,
    member: Member,
    Path(id): Path<String>,
    input: Input,
) -> Result<Response, AppError> {
    let as_json = ctx.json || input.is_json();
    input.done()?;
    let result = match ctx.app.accounts.drop_passkey(&member, &id, &ctx.client).await {
        Ok(true) => Ok((Kind::Ok, "It is removed. You are signed out everywhere else.".to_owned())),
        Ok(false) => Err(gone(as_json)),
        Err(refused) => Err(refusal(refused)),
    };
    done(&ctx, as_json, PATH, result)
}

fn gone(as_json: bool) -> AppError {
    if as_json { AppError::NotFound } else { AppError::Refused("It had been removed already.".to_owned()) }
}
