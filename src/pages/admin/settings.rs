//! `/admin/settings`: what an Admin sets while the server runs, by section.

use accounts::{General, SignUp, SignUpMode};
use askama::Template;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::json;

use crate::app::App;
use crate::error::{AppError, FieldErrors};
use crate::guard::{Ctx, Member};
use crate::http::answer;
use crate::http::input::Input;
use crate::view::{Field, Flash, Kind, Page, filters};

const PATH: &str = "/admin/settings";
/// Longest name of the site, in characters.
const SITE_NAME: u32 = 60;

#[derive(Template)]
#[template(path = "admin/settings.html")]
struct SettingsPage {
    page: Page,
    open: bool,
    domains: Field,
    verification: bool,
    /// The configuration requires verification, whatever is saved here.
    forced: bool,
    /// Mails are sent, not only written to files.
    mail: bool,
    mode_error: Option<String>,
    site_name: Field,
    default_model: Option<String>,
}

/// The sign-up form as it stands or as it was typed.
struct TypedSignUp {
    open: bool,
    domains: String,
    verification: bool,
}

impl From<&SignUp> for TypedSignUp {
    fn from(saved: &SignUp) -> Self {
        Self {
            open: saved.is_open(),
            domains: saved.allowed_domains.join("\n"),
            verification: saved.verification_required,
        }
    }
}

/// `GET /admin/settings`
pub async fn page(ctx: Ctx) -> Response {
    let saved = TypedSignUp::from(&ctx.app.accounts.settings().sign_up);
    let name = ctx.app.site().name.clone();
    render(&ctx, StatusCode::OK, &saved, &name, &FieldErrors::new())
}

fn render(
    ctx: &Ctx,
    status: StatusCode,
    sign_up: &TypedSignUp,
    site_name: &str,
    errors: &FieldErrors,
) -> Response {
    let error = |name: &str| errors.get(name).cloned();
    ctx.html_as(
        status,
        &SettingsPage {
            page: ctx.page("Settings"),
            open: sign_up.open,
            domains: Field::area("allowed_domains", "Allowed e-mail domains")
                .value(&sign_up.domains)
                .error(error("allowed_domains"))
                .hint("One a line, such as example.org; a sub-domain counts as another one. Empty allows every address.")
                .placeholder("example.org"),
            verification: sign_up.verification,
            forced: ctx.app.config.is_production(),
            mail: !ctx.app.config.mail.server.is_empty(),
            mode_error: error("mode"),
            site_name: Field::text("site_name", "Name of this site")
                .value(site_name)
                .error(error("site_name"))
                .hint(format!("Stands on every page and in mails. Empty: {}.", ctx.app.config.server.site_name))
                .autocomplete("off")
                .max(SITE_NAME),
            default_model: ctx.app.models.default_name(&ctx.app),
        },
    )
}

/// `POST /admin/settings/sign-up`
pub async fn save_sign_up(ctx: Ctx, member: Member, mut input: Input) -> Result<Response, AppError> {
    let as_json = ctx.json || input.is_json();
    let mode = input.text("mode");
    let domains = input.text("allowed_domains");
    let verification = input.flag("verification_required");
    let mut errors = input.finish().err().unwrap_or_default();
    let mode = match mode.as_str() {
        "open" => SignUpMode::Open,
        "closed" => SignUpMode::Closed,
        _ => {
            errors.entry("mode".into()).or_insert_with(|| "Choose open or closed.".to_owned());
            SignUpMode::Closed
        }
    };
    let allowed_domains = SignUp::parse_domains(&domains).unwrap_or_else(|error| {
        errors.entry("allowed_domains".into()).or_insert(error);
        Vec::new()
    });
    if !errors.is_empty() {
        if as_json {
            return Err(AppError::Validation(errors));
        }
        let typed = TypedSignUp { open: mode == SignUpMode::Open, domains, verification };
        let name = ctx.app.site().name.clone();
        return Ok(render(&ctx, StatusCode::UNPROCESSABLE_ENTITY, &typed, &name, &errors));
    }
    let section = SignUp { mode, allowed_domains, verification_required: verification };
    ctx.app.accounts.save_sign_up(&member.user_id, &section).await?;
    ctx.app.refresh_site();
    let message = match (section.mode, section.allowed_domains.is_empty()) {
        (SignUpMode::Closed, _) => "Saved. Sign-up is closed: only Admins make accounts.",
        (SignUpMode::Open, true) => "Saved. Sign-up is open to everybody.",
        (SignUpMode::Open, false) => "Saved. Sign-up is open to the domains that you named.",
    };
    Ok(saved(&ctx, as_json, "sign-up", message))
}

/// `POST /admin/settings/general`
pub async fn save_general(ctx: Ctx, member: Member, mut input: Input) -> Result<Response, AppError> {
    let as_json = ctx.json || input.is_json();
    let typed = input.text("site_name");
    let mut errors = input.finish().err().unwrap_or_default();
    let name = typed.trim();
    if name.chars().any(char::is_control)
        || !u32::try_from(name.chars().count()).is_ok_and(|n| n <= SITE_NAME)
    {
        errors.insert("site_name".into(), format!("A name has up to {SITE_NAME} characters on one line."));
    }
    if !errors.is_empty() {
        if as_json {
            return Err(AppError::Validation(errors));
        }
        let sign_up = TypedSignUp::from(&ctx.app.accounts.settings().sign_up);
        return Ok(render(&ctx, StatusCode::UNPROCESSABLE_ENTITY, &sign_up, &typed, &errors));
    }
    let section = General { site_name: name.to_owned(), ..general(&ctx.app) };
    ctx.app.accounts.save_general(&member.user_id, &follow_config(&ctx.app, section)).await?;
    ctx.app.refresh_site();
    let message = format!("Saved. This site is called {}.", ctx.app.site().name);
    Ok(saved(&ctx, as_json, "site", &message))
}

/// The general section as saved, for a change of one part of it.
pub(super) fn general(app: &App) -> General {
    follow_config(app, app.accounts.settings().general.clone())
}

/// The configured name is not written down, so that a change of the configuration still counts.
fn follow_config(app: &App, mut section: General) -> General {
    if section.site_name == app.config.server.site_name {
        section.site_name.clear();
    }
    section
}

fn saved(ctx: &Ctx, as_json: bool, section: &str, message: &str) -> Response {
    match as_json {
        true => answer::json(StatusCode::OK, &json!({ "message": message })),
        false => answer::see_other_with(ctx, &format!("{PATH}#{section}"), Flash::new(Kind::Ok, message)),
    }
}
