//! Identity providers, as Admins see them: the section of `/admin/settings`, a form for each
//! (`/admin/settings/providers/…`), and "Test sign-in".

mod change;
mod form;
mod trial;

use std::collections::HashMap;

use accounts::{Permissions, Principal};
use axum::response::Response;
use providers::Preset;

pub use self::change::{add, disable, enable, remove, save};
pub use self::form::{new_page, page};
pub use self::trial::{test, tried};
use super::done;
use crate::error::AppError;
use crate::guard::Ctx;
use crate::sign_in_providers::{Provider, Setup, of_stored, redirect_uri};

/// Where every action leads back to.
const PATH: &str = "/admin/settings#providers";
/// Who lets people in under any account decides about every permission (SEC-92).
const EVERYTHING: &str = "Only somebody with every permission may set up providers, for a provider decides who signs in \
    as whom.";

/// What the settings page shows of providers.
pub struct Section {
    pub lines: Vec<Line>,
    pub presets: Vec<PresetLine>,
    /// The viewer may change them.
    pub may: bool,
}

/// A provider in the list.
pub struct Line {
    pub name: String,
    pub label: String,
    pub icon: &'static str,
    pub preset: &'static str,
    pub configured: bool,
    pub enabled: bool,
    /// `ok`, `warn`, `bad`, or empty for off.
    pub class: &'static str,
    pub state: &'static str,
    /// What is wrong with it and what to do.
    pub advice: Option<String>,
    /// People who have linked it.
    pub linked: i64,
    pub redirect_uri: String,
    /// It can be tried.
    pub testable: bool,
}

/// A preset to add a provider of.
pub struct PresetLine {
    pub name: &'static str,
    pub words: &'static str,
    pub icon: &'static str,
}

/// What a preset is called.
fn words(preset: Preset) -> &'static str {
    match preset {
        Preset::Google => "Google",
        Preset::GitLab => "GitLab",
        Preset::GitHub => "GitHub",
        Preset::Microsoft => "Microsoft",
        Preset::Oidc => "OpenID Connect",
    }
}

fn icon(preset: Preset) -> &'static str {
    match preset {
        Preset::Oidc => "link",
        preset => preset.as_str(),
    }
}

/// Whether this person may set up providers (SEC-92).
fn may(principal: &Principal) -> bool {
    principal.permissions.covers(Permissions::all())
}

/// The answer to somebody who may not: a page says why, a program gets 403.
fn refusal(ctx: &Ctx, as_json: bool, principal: &Principal) -> Option<Result<Response, AppError>> {
    if may(principal) {
        return None;
    }
    let error = if as_json { AppError::Forbidden } else { AppError::Refused(EVERYTHING.to_owned()) };
    Some(done(ctx, as_json, PATH, Err(error)))
}

/// All of them. What is wrong with one is told at its line.
pub(super) async fn section(ctx: &Ctx) -> Result<Section, AppError> {
    let app = &ctx.app;
    let linked: HashMap<String, i64> = app.accounts.count_linked().await?.into_iter().collect();
    let count = |name: &str| linked.get(name).copied().unwrap_or(0);
    let configured = app.providers.configured();
    let mut lines: Vec<Line> = configured
        .iter()
        .map(|provider| Line {
            enabled: true,
            class: "ok",
            state: "Enabled",
            testable: true,
            ..line(ctx, provider.name(), provider, count(provider.name()))
        })
        .collect();
    for stored in app.accounts.stored_providers().await? {
        let name = stored.name.as_str();
        let shadowed = configured.iter().any(|provider| provider.name() == name);
        let built = of_stored(&stored);
        let mut line = match &built {
            Ok(provider) => line(ctx, name, provider, count(name)),
            // As much as can be read.
            Err(_) => {
                let setup = Setup::read(&stored.settings);
                let preset = setup.as_ref().map_or(Preset::Oidc, |setup| setup.preset);
                let label = setup.map(|setup| setup.label).filter(|label| !label.trim().is_empty());
                Line {
                    label: label.unwrap_or_else(|| name.to_owned()),
                    ..blank(ctx, name, preset, count(name))
                }
            }
        };
        (line.class, line.state, line.advice) = match (&built, shadowed, stored.enabled) {
            (_, true, _) => (
                "warn",
                "Not in use",
                Some("The configuration has a provider of this name, and that one counts.".to_owned()),
            ),
            (Err(unusable), ..) => ("bad", "Cannot be used", Some(unusable.to_string())),
            (Ok(_), _, true) => ("ok", "Enabled", None),
            (Ok(_), _, false) => ("", "Disabled", None),
        };
        line.enabled = stored.enabled;
        line.testable = built.is_ok() && !shadowed;
        lines.push(line);
    }
    let presets = Preset::ALL.map(|preset| PresetLine {
        name: preset.as_str(),
        words: words(preset),
        icon: icon(preset),
    });
    let may = ctx.principal.as_deref().is_some_and(may);
    Ok(Section { lines, presets: presets.into(), may })
}

fn line(ctx: &Ctx, name: &str, provider: &Provider, linked: i64) -> Line {
    Line {
        label: provider.label().to_owned(),
        configured: provider.configured,
        ..blank(ctx, name, provider.settings.preset, linked)
    }
}

fn blank(ctx: &Ctx, name: &str, preset: Preset, linked: i64) -> Line {
    Line {
        name: name.to_owned(),
        label: name.to_owned(),
        icon: icon(preset),
        preset: words(preset),
        configured: false,
        enabled: false,
        class: "",
        state: "",
        advice: None,
        linked,
        redirect_uri: redirect_uri(&ctx.app, name),
        testable: false,
    }
}
