//! The form of a provider: `/admin/settings/providers/new?preset=…` and `/admin/settings/providers/{name}`.

use accounts::StoredProvider;
use askama::Template;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::Response;
use providers::Preset;
use serde_json::json;

use super::{refusal, words};
use crate::error::{AppError, FieldErrors};
use crate::guard::{Ctx, Member};
use crate::http::answer;
use crate::http::input::Input;
use crate::pages::admin::param;
use crate::sign_in_providers::{LABEL_MAX, Setup, of_stored, redirect_uri};
use crate::view::{Field, Page, filters};

/// The fields that every form shows; an error of another one is told above the form.
const EVERYWHERE: [&str; 9] = [
    "label",
    "client_id",
    "client_secret",
    "allowed_domains",
    "second_factor",
    "role_claim",
    "roles",
    "scopes",
    "trusted_email",
];

/// A provider as it is typed or as it is kept, without its secret.
pub(super) struct Typed {
    pub name: String,
    pub setup: Setup,
    pub errors: FieldErrors,
}

impl Typed {
    /// What was sent, but for name and secret. A preset that is not sent is `preset`.
    pub fn read(input: &mut Input, name: String, preset: Option<Preset>) -> Self {
        let mut errors = FieldErrors::new();
        let sent = input.text("preset");
        let preset = match (Preset::parse(&sent), preset) {
            (Some(preset), _) => preset,
            (None, Some(preset)) if sent.is_empty() => preset,
            _ => {
                errors.insert("preset".into(), "Say google, gitlab, github, microsoft or oidc.".to_owned());
                Preset::Oidc
            }
        };
        let lines = |c| c == '\n';
        let marks = |c: char| c == ',' || c.is_whitespace();
        let setup = Setup {
            preset,
            label: input.text("label"),
            client_id: input.text("client_id"),
            base_url: input.text("base_url"),
            tenant: input.text("tenant"),
            issuer: input.text("issuer"),
            scopes: input.list("scopes", marks),
            sign_up: input.flag("sign_up"),
            allowed_domains: input.list("allowed_domains", marks),
            trusted_email: input.flag("trusted_email"),
            stands: match input.text("second_factor").as_str() {
                "stands" => true,
                "" | "ask" => false,
                _ => {
                    errors.insert("second_factor".into(), "Say ask or stands.".to_owned());
                    false
                }
            },
            acr: input.list("second_factor_acr", marks),
            amr: input.list("second_factor_amr", marks),
            role_claim: input.text("role_claim"),
            // A value may hold commas and blanks.
            roles: input.list("roles", lines),
            logout: input.flag("logout"),
        };
        Self { name, setup, errors }
    }

    /// Notes what is wrong with a field, where nothing is noted yet.
    pub fn wrong(&mut self, field: &'static str, words: impl Into<String>) {
        self.errors.entry(field.into()).or_insert_with(|| words.into());
    }
}

#[derive(Template)]
#[template(path = "admin/provider.html")]
struct ProviderPage {
    page: Page,
    title: String,
    preset: &'static str,
    preset_words: &'static str,
    /// It is there already; its name stays.
    editing: bool,
    name: String,
    action: String,
    redirect_uri: String,
    /// What is wrong with the one that is kept.
    broken: Option<String>,
    failed: bool,
    /// Errors of fields that stand nowhere on the page.
    elsewhere: Vec<String>,
    /// Name, label, where it is, client.
    identity: Vec<Field>,
    sign_up: bool,
    domains: Field,
    trusted_email: bool,
    stands: bool,
    factor_error: Option<String>,
    /// What few need.
    rare: Vec<Field>,
    rare_open: bool,
    /// It can be signed out of.
    can_logout: bool,
    logout: bool,
}

/// `GET /admin/settings/providers/new`
pub async fn new_page(ctx: Ctx, member: Member) -> Result<Response, AppError> {
    if let Some(refused) = refusal(&ctx, ctx.json, &member) {
        return refused;
    }
    let Some(preset) = param(&ctx, "preset").and_then(|name| Preset::parse(&name)) else {
        return Ok(answer::see_other("/admin/settings#add-provider"));
    };
    let name = free_name(&ctx, preset).await?;
    let setup = Setup { preset, ..Setup::default() };
    let typed = Typed { name, setup, errors: FieldErrors::new() };
    Ok(render(&ctx, StatusCode::OK, &typed, false, None))
}

/// A name for a new one that nobody has.
async fn free_name(ctx: &Ctx, preset: Preset) -> Result<String, AppError> {
    let base = if preset == Preset::Oidc { "sso" } else { preset.as_str() };
    let stored = ctx.app.accounts.stored_providers().await?;
    let taken = |name: &str| is_configured(ctx, name) || stored.iter().any(|stored| stored.name == name);
    let names = (1..100).map(|n| if n == 1 { base.to_owned() } else { format!("{base}-{n}") });
    Ok(names.into_iter().find(|name| !taken(name)).unwrap_or_default())
}

pub(super) fn is_configured(ctx: &Ctx, name: &str) -> bool {
    ctx.app.providers.configured().iter().any(|provider| provider.name() == name)
}

/// The one that an Admin set up.
pub(super) async fn stored(ctx: &Ctx, name: &str) -> Result<Option<StoredProvider>, AppError> {
    Ok(ctx.app.accounts.stored_providers().await?.into_iter().find(|stored| stored.name == name))
}

/// `GET /admin/settings/providers/{name}`, as a page or as JSON. The secret is in neither.
pub async fn page(ctx: Ctx, member: Member, Path(name): Path<String>) -> Result<Response, AppError> {
    if let Some(refused) = refusal(&ctx, ctx.json, &member) {
        return refused;
    }
    let stored = stored(&ctx, &name).await?.ok_or(AppError::NotFound)?;
    let setup = Setup::read(&stored.settings);
    let broken = of_stored(&stored).err().map(|unusable| unusable.to_string());
    if ctx.json {
        let body = json!({
            "name": stored.name, "enabled": stored.enabled, "redirect_uri": redirect_uri(&ctx.app, &name),
            "settings": setup, "problem": broken,
        });
        return Ok(answer::json(StatusCode::OK, &body));
    }
    // Of one that cannot be read not even the preset is known.
    let chosen = param(&ctx, "preset").and_then(|name| Preset::parse(&name)).unwrap_or_default();
    let setup = setup.unwrap_or_else(|| Setup { preset: chosen, ..Setup::default() });
    let typed = Typed { name, setup, errors: FieldErrors::new() };
    Ok(render(&ctx, StatusCode::OK, &typed, true, broken))
}

pub(super) fn render(
    ctx: &Ctx,
    status: StatusCode,
    typed: &Typed,
    editing: bool,
    broken: Option<String>,
) -> Response {
    let Typed { name, setup, errors } = typed;
    let preset = setup.preset;
    let identity = identity(typed, editing);
    let rare = rare(typed);
    let shown = |field: &str| {
        EVERYWHERE.contains(&field)
            || identity.iter().chain(&rare).any(|one| one.name == field)
            || (field == "name" && !editing)
    };
    let elsewhere = errors.iter().filter(|(field, _)| !shown(field));
    let title = match editing {
        true => if setup.label.trim().is_empty() { name } else { setup.label.trim() }.to_owned(),
        false => format!("Add {}", words(preset)),
    };
    let action = if editing { format!("/{name}") } else { String::new() };
    ctx.html_as(
        status,
        &ProviderPage {
            page: ctx.page(title.as_str()),
            title,
            preset: preset.as_str(),
            preset_words: words(preset),
            editing,
            name: name.clone(),
            action: format!("/admin/settings/providers{action}"),
            redirect_uri: redirect_uri(&ctx.app, name),
            broken,
            failed: !errors.is_empty(),
            elsewhere: elsewhere.map(|(field, words)| format!("{field}: {words}")).collect(),
            sign_up: setup.sign_up,
            domains: Field::area("allowed_domains", "Only addresses of these domains")
                .value(setup.allowed_domains.join("\n"))
                .error(errors.get("allowed_domains"))
                .hint("One a line, such as example.org. Empty allows what the sign-up allows.")
                .placeholder("example.org"),
            trusted_email: setup.trusted_email,
            stands: setup.stands,
            factor_error: errors.get("second_factor").cloned(),
            rare_open: rare.iter().any(|field| field.error.is_some() || !field.value.is_empty())
                || setup.logout,
            identity,
            rare,
            can_logout: !matches!(preset, Preset::GitHub | Preset::Google),
            logout: setup.logout,
        },
    )
}

/// Name, label, where it is, and the client.
fn identity(Typed { name, setup, errors }: &Typed, editing: bool) -> Vec<Field> {
    let error = |field: &str| errors.get(field);
    let mut fields = Vec::new();
    if !editing {
        fields.push(
            Field::text("name", "Name in addresses")
                .value(name)
                .error(error("name"))
                .hint("Of a-z, 0-9 and the hyphen. It cannot be changed later, since the provider has to know the address.")
                .autocomplete("off")
                .max(32)
                .required(),
        );
    }
    let label = match setup.preset {
        Preset::Oidc => "Such as Company account. Empty takes the name.".to_owned(),
        preset => format!("Empty: {}.", words(preset)),
    };
    fields.push(
        Field::text("label", "What its button says")
            .value(&setup.label)
            .error(error("label"))
            .hint(label)
            .autocomplete("off")
            .max(u32::try_from(LABEL_MAX).unwrap_or(u32::MAX)),
    );
    match setup.preset {
        Preset::Oidc => fields.push(
            Field::url("issuer", "Issuer")
                .value(&setup.issuer)
                .error(error("issuer"))
                .hint("It has its description at /.well-known/openid-configuration below this address.")
                .placeholder("https://id.example.org/realms/staff")
                .required(),
        ),
        Preset::GitLab => fields.push(
            Field::url("base_url", "Address of your GitLab server")
                .value(&setup.base_url)
                .error(error("base_url"))
                .hint("Empty for gitlab.com.")
                .placeholder("https://gitlab.example.org"),
        ),
        Preset::Microsoft => fields.push(
            Field::text("tenant", "Tenant")
                .value(&setup.tenant)
                .error(error("tenant"))
                .hint("“Directory (tenant) ID” or a domain of yours. organizations lets in every company’s accounts.")
                .autocomplete("off")
                .placeholder("00000000-0000-0000-0000-000000000000")
                .required(),
        ),
        Preset::GitHub => fields.push(
            Field::url("base_url", "Address of your GitHub Enterprise Server")
                .value(&setup.base_url)
                .error(error("base_url"))
                .hint("Empty for github.com.")
                .placeholder("https://github.example.org"),
        ),
        Preset::Google => {}
    }
    fields.push(
        Field::text("client_id", "Client id")
            .value(&setup.client_id)
            .error(error("client_id"))
            .autocomplete("off")
            .required(),
    );
    let secret = Field::password("client_secret", "Client secret", "off").error(error("client_secret"));
    fields.push(match (editing, errors.is_empty()) {
        (true, true) => secret.hint("Empty keeps the one that is there."),
        (true, false) => {
            secret.hint("A new one has to be typed again: it is never sent back to this page. Empty keeps the one that is there.")
        }
        (false, true) => secret.hint("It is stored sealed, and never shown again.").required(),
        (false, false) => secret.hint("Type it again: it is never sent back to this page.").required(),
    });
    fields
}

/// What few need.
fn rare(Typed { setup, errors, .. }: &Typed) -> Vec<Field> {
    let error = |field: &str| errors.get(field);
    let mut fields = Vec::new();
    if setup.preset == Preset::Microsoft {
        fields.push(
            Field::url("base_url", "Sign-in address of a national cloud")
                .value(&setup.base_url)
                .error(error("base_url"))
                .hint("Empty for the usual one.")
                .placeholder("https://login.microsoftonline.us"),
        );
    }
    // GitHub says neither.
    if setup.preset != Preset::GitHub {
        fields.push(
            Field::area("second_factor_acr", "Stands for the second factor only with these classes (acr)")
                .value(setup.acr.join("\n"))
                .error(error("second_factor_acr"))
                .hint("One a line."),
        );
        fields.push(
            Field::area("second_factor_amr", "… or with these methods (amr)")
                .value(setup.amr.join("\n"))
                .error(error("second_factor_amr"))
                .hint("One a line, such as mfa or hwk."),
        );
    }
    fields.push(
        Field::text("role_claim", "Claim that decides about roles")
            .value(&setup.role_claim)
            .error(error("role_claim"))
            .hint("Its name, a dotted path such as realm_access.roles, or a JSON pointer. “Test sign-in” shows all claims.")
            .placeholder("groups")
            .autocomplete("off"),
    );
    fields.push(
        Field::area("roles", "Which value gives which role")
            .value(setup.roles.join("\n"))
            .error(error("roles"))
            .hint("One pair a line: value=Role. The roles named here follow the claim at each sign-in, also away; others stay.")
            .placeholder("staff=User"),
    );
    fields.push(
        Field::text("scopes", "Further scopes")
            .value(setup.scopes.join(" "))
            .error(error("scopes"))
            .hint("Beside those that are asked for anyway, separated by blanks.")
            .autocomplete("off"),
    );
    fields
}

/// Back to the list, for a provider that is gone.
pub(super) fn gone(as_json: bool) -> AppError {
    match as_json {
        true => AppError::NotFound,
        false => AppError::Refused("This provider is gone. Nothing was changed.".to_owned()),
    }
}

/// The answer to a form that needs another look.
pub(super) fn again(ctx: &Ctx, as_json: bool, typed: Typed, editing: bool) -> Result<Response, AppError> {
    match as_json {
        true => Err(AppError::Validation(typed.errors)),
        false => Ok(render(ctx, StatusCode::UNPROCESSABLE_ENTITY, &typed, editing, None)),
    }
}
