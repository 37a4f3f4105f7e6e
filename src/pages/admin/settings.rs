//! `/admin/settings`: what an Admin sets while the server runs, by section.

use accounts::{General, SecondFactorRules, SignUp, SignUpMode};
use askama::Template;
use axum::http::StatusCode;
use axum::response::Response;
use base::{DAY, Micros};
use serde_json::json;

use super::{days, providers};
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
    required_of_everyone: bool,
    required_error: Option<String>,
    grace_days: Field,
    email_codes: bool,
    default_model: Option<String>,
    providers: providers::Section,
}

/// The forms as they stand, or one of them as it was typed.
struct Typed {
    sign_up: TypedSignUp,
    site_name: String,
    second_factor: TypedSecondFactor,
}

impl Typed {
    /// What is saved.
    fn saved(ctx: &Ctx) -> Self {
        let settings = ctx.app.accounts.settings();
        let rules = &settings.second_factor;
        Self {
            sign_up: TypedSignUp::from(&settings.sign_up),
            site_name: ctx.app.site().name.clone(),
            second_factor: TypedSecondFactor {
                required_of_everyone: rules.required_of_everyone,
                grace_days: rules.grace_days.to_string(),
                email_codes: rules.email_codes,
            },
        }
    }
}

/// The form about second factors.
struct TypedSecondFactor {
    required_of_everyone: bool,
    grace_days: String,
    email_codes: bool,
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
pub async fn page(ctx: Ctx) -> Result<Response, AppError> {
    render(&ctx, StatusCode::OK, &Typed::saved(&ctx), &FieldErrors::new()).await
}

async fn render(
    ctx: &Ctx,
    status: StatusCode,
    typed: &Typed,
    errors: &FieldErrors,
) -> Result<Response, AppError> {
    let Typed { sign_up, site_name, second_factor } = typed;
    let error = |name: &str| errors.get(name).cloned();
    Ok(ctx.html_as(
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
                .value(site_name.as_str())
                .error(error("site_name"))
                .hint(format!("Stands on every page and in mails. Empty: {}.", ctx.app.config.server.site_name))
                .autocomplete("off")
                .max(SITE_NAME),
            required_of_everyone: second_factor.required_of_everyone,
            required_error: error("required_of_everyone"),
            grace_days: Field::number("grace_days", "Days of grace")
                .value(&second_factor.grace_days)
                .error(error("grace_days"))
                .hint("From 0 to 90, counted from the sign-up, or from switching this on where that was later.")
                .required(),
            email_codes: second_factor.email_codes,
            default_model: ctx.app.models.default_name(&ctx.app),
            providers: providers::section(ctx).await?,
        },
    ))
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
        let sign_up = TypedSignUp { open: mode == SignUpMode::Open, domains, verification };
        let typed = Typed { sign_up, ..Typed::saved(&ctx) };
        return render(&ctx, StatusCode::UNPROCESSABLE_ENTITY, &typed, &errors).await;
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
        let typed = Typed { site_name: typed, ..Typed::saved(&ctx) };
        return render(&ctx, StatusCode::UNPROCESSABLE_ENTITY, &typed, &errors).await;
    }
    let section = General { site_name: name.to_owned(), ..general(&ctx.app) };
    ctx.app.accounts.save_general(&member.user_id, &follow_config(&ctx.app, section)).await?;
    ctx.app.refresh_site();
    let message = format!("Saved. This site is called {}.", ctx.app.site().name);
    Ok(saved(&ctx, as_json, "site", &message))
}

/// `POST /admin/settings/second-factor` (SEC-3, SEC-47)
pub async fn save_second_factor(ctx: Ctx, member: Member, mut input: Input) -> Result<Response, AppError> {
    let as_json = ctx.json || input.is_json();
    let required_of_everyone = input.flag("required_of_everyone");
    let typed_days = input.id("grace_days");
    let email_codes = input.flag("email_codes");
    let mut errors = input.finish().err().unwrap_or_default();
    let grace_days = days(&typed_days).unwrap_or_else(|| {
        errors.entry("grace_days".into()).or_insert_with(|| accounts::PeopleError::Grace.to_string());
        0
    });
    let saved_rules = ctx.app.accounts.settings().second_factor.clone();
    let since =
        if saved_rules.required_of_everyone { saved_rules.required_since } else { ctx.app.clock.now() };
    if errors.is_empty() && required_of_everyone && shuts_out(&ctx, &member, since + grace_days * DAY).await?
    {
        errors.insert("required_of_everyone".into(), accounts::PeopleError::OwnFactorFirst.to_string());
    }
    if !errors.is_empty() {
        if as_json {
            return Err(AppError::Validation(errors));
        }
        let second_factor = TypedSecondFactor { required_of_everyone, grace_days: typed_days, email_codes };
        let typed = Typed { second_factor, ..Typed::saved(&ctx) };
        return render(&ctx, StatusCode::UNPROCESSABLE_ENTITY, &typed, &errors).await;
    }
    let section = SecondFactorRules { required_of_everyone, grace_days, email_codes, ..saved_rules };
    ctx.app.accounts.save_second_factor(&member.user_id, &section).await?;
    let required = match (required_of_everyone, grace_days) {
        (false, _) => "Second factors are required where a role says so",
        (true, 0) => "Everybody needs a second factor from now on",
        (true, _) => "Everybody needs a second factor after the days of grace",
    };
    let codes = if email_codes { "codes by e-mail are allowed" } else { "codes by e-mail are off" };
    Ok(saved(&ctx, as_json, "second-factors", &format!("Saved. {required}; {codes}.")))
}

/// Whether the requirement would end the Admin's own session at once. Codes by e-mail are no way out:
/// they never satisfy a requirement of who may change settings (SEC-47).
async fn shuts_out(ctx: &Ctx, member: &Member, due: Micros) -> Result<bool, AppError> {
    Ok(due <= ctx.app.clock.now() && !ctx.app.accounts.has_strong_factor(&member.user_id).await?)
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
