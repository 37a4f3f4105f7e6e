//! "Test sign-in": the whole way to a provider and back, and what would come of it. Nothing is changed.

use accounts::identities::Way;
use accounts::{Decision, Onward, Preview, Principal, Stands, TripPurpose, Vouched};
use askama::Template;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::change::unknown_roles;
use super::form::gone;
use super::{PATH, refusal};
use crate::error::AppError;
use crate::guard::{Ctx, Member};
use crate::http::answer;
use crate::http::input::Input;
use crate::pages::admin::done;
use crate::pages::provider::set_out;
use crate::sign_in_providers::Provider;
use crate::view::{Page, filters};

/// Characters of a claim that are shown at once.
const SHOWN: usize = 120;
/// Claims that are proofs of this one sign-in, and say nothing about the person.
const PROOFS: [&str; 4] = ["nonce", "at_hash", "c_hash", "s_hash"];

#[derive(Template)]
#[template(path = "admin/provider_trial.html")]
struct TrialPage {
    page: Page,
    label: String,
    name: String,
    /// Somebody would get in.
    lets_in: bool,
    title: String,
    outcome: String,
    facts: Vec<(&'static str, String)>,
    verdicts: Vec<(&'static str, String)>,
    claims: Vec<Claim>,
}

/// A claim, as JSON text.
struct Claim {
    name: String,
    value: String,
    /// All of it, where `value` is cut.
    whole: Option<String>,
}

/// `POST /admin/settings/providers/{name}/test`: off to the provider. Also to one that is disabled.
pub async fn test(
    ctx: Ctx,
    member: Member,
    Path(name): Path<String>,
    input: Input,
) -> Result<Response, AppError> {
    let as_json = ctx.json || input.is_json();
    input.done()?;
    if let Some(refused) = refusal(&ctx, as_json, &member) {
        return refused;
    }
    let Some(provider) = ctx.app.providers.known(&name) else {
        return done(&ctx, as_json, PATH, Err(gone(as_json)));
    };
    Ok(match set_out(&ctx, &provider, TripPurpose::Test, &Onward::default()).await {
        Ok(trip) if as_json => trip.told(),
        Ok(trip) => trip.page(&ctx, &provider),
        Err(answer) => *answer,
    })
}

/// Back from the provider, in the session that set out.
pub async fn tried(
    ctx: &Ctx,
    principal: &Principal,
    provider: &Provider,
    vouched: &Vouched,
) -> Result<Response, AppError> {
    // They may have lost a permission on the way.
    if let Some(refused) = refusal(ctx, ctx.json, principal) {
        return refused;
    }
    let preview = ctx.app.accounts.preview_arrival(vouched, &provider.rules, &ctx.client).await?;
    let unknown = unknown_roles(ctx, provider).await?;
    let claims = claims(&vouched.claims);
    let (lets_in, title, outcome) = outcome(provider, &preview);
    if ctx.json {
        let body = json!({
            "provider": provider.name(),
            "lets_in": lets_in,
            "decision": decision(&preview.decision),
            "words": outcome,
            "username": preview.username,
            "roles": preview.roles.as_ref().map(|roles| json!({ "mapped": roles.mapped, "granted": roles.granted })),
            "unknown_roles": unknown,
            "stands_for_second_factor": preview.stands,
            "issuer": vouched.issuer,
            "subject": vouched.subject,
            "email": vouched.email,
            "email_verified": vouched.email_verified,
            "acr": vouched.acr,
            "amr": vouched.amr,
            "auth_time": vouched.auth_time,
            "claims": claims.iter().cloned().collect::<serde_json::Map<_, _>>(),
        });
        return Ok(answer::json(StatusCode::OK, &body));
    }
    let page = TrialPage {
        page: ctx.page(format!("Test of {}", provider.label())),
        label: provider.label().to_owned(),
        name: provider.name().to_owned(),
        lets_in,
        title,
        outcome,
        facts: facts(vouched),
        verdicts: verdicts(provider, &preview, vouched, &unknown),
        claims: claims.into_iter().map(|(name, value)| claim(name, &value)).collect(),
    };
    Ok(ctx.html(&page))
}

/// The decision as one word for programs.
fn decision(decision: &Decision) -> &'static str {
    match decision {
        Decision::Known(Way::Identity) => "known",
        Decision::Known(Way::Address) => "known_by_address",
        Decision::Known(Way::Claimed) => "claimed",
        Decision::Created => "created",
        Decision::CheckMail => "check_mail",
        Decision::Prove => "prove",
        Decision::Refused(_) => "refused",
    }
}

/// Whether somebody would get in, and what would happen, in a title and a sentence.
fn outcome(provider: &Provider, preview: &Preview) -> (bool, String, String) {
    let label = provider.label();
    let who = preview.username.as_deref().unwrap_or("the account");
    let (lets_in, title, words) = match &preview.decision {
        Decision::Known(Way::Identity) => (
            true,
            format!("{who} would sign in"),
            format!("This identity at {label} is linked with the account {who}."),
        ),
        Decision::Known(Way::Address) => (
            true,
            format!("{who} would sign in, and be linked"),
            format!(
                "{who} has confirmed this address here, {label} says that it is confirmed there, and its word is trusted. \
                 The identity would be linked with the account once the sign-in is through."
            ),
        ),
        Decision::Known(Way::Claimed) => (
            true,
            format!("{who} would be taken over"),
            format!(
                "Nobody ever confirmed the address of the account {who}, and {label} says whose it is. Its password, \
                 sessions, second factors and links would be deleted, and the identity linked with it."
            ),
        ),
        Decision::Created => (
            true,
            format!("A new account {who} would be made"),
            format!("With the role User, without a password, linked with this identity at {label}."),
        ),
        Decision::CheckMail => (
            false,
            "The address would have to be confirmed first".to_owned(),
            match &preview.username {
                Some(name) => format!("A mail with a link would go out for the account {name}."),
                None => "A mail with a link went out a little while ago.".to_owned(),
            },
        ),
        Decision::Prove => (
            false,
            "The person would have to prove an account first".to_owned(),
            format!(
                "An account here has this address. By its password and second factor, or by a mailed link, the person \
                 proves that it is theirs; then it is linked, and from then on {label} is enough."
            ),
        ),
        Decision::Refused(error) => (false, "Nobody would get in".to_owned(), error.to_string()),
    };
    (lets_in, title, words)
}

/// What the provider says, verified.
fn facts(vouched: &Vouched) -> Vec<(&'static str, String)> {
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "not told".to_owned());
    let at = vouched.auth_time.and_then(|at| OffsetDateTime::from_unix_timestamp(at).ok());
    let amr = (!vouched.amr.is_empty()).then(|| vouched.amr.join(", "));
    vec![
        ("Issuer", vouched.issuer.clone()),
        ("Subject", vouched.subject.clone()),
        ("E-mail", or_none(vouched.email.clone())),
        ("E-mail confirmed there", if vouched.email_verified { "yes" } else { "no, or not said" }.to_owned()),
        ("Name", or_none(Some(full_name(vouched)).filter(|name| !name.is_empty()))),
        ("Class of the sign-in (acr)", or_none(vouched.acr.clone())),
        ("Methods of the sign-in (amr)", or_none(amr)),
        ("Signed in there at", or_none(at.and_then(|at| at.format(&Rfc3339).ok()))),
    ]
}

fn full_name(vouched: &Vouched) -> String {
    format!("{} {}", vouched.first_name, vouched.last_name).trim().to_owned()
}

/// What would come of it beside the account.
fn verdicts(
    provider: &Provider,
    preview: &Preview,
    vouched: &Vouched,
    unknown: &[String],
) -> Vec<(&'static str, String)> {
    let username = preview.username.clone().unwrap_or_else(|| "none".to_owned());
    let factor = match (preview.stands, &provider.rules.second_factor) {
        (true, _) => "This sign-in stands for it.".to_owned(),
        (false, Stands::If { .. }) => format!(
            "Asked for: neither the class ({}) nor a method ({}) is one that you named.",
            vouched.acr.as_deref().unwrap_or("none"),
            if vouched.amr.is_empty() { "none".to_owned() } else { vouched.amr.join(", ") },
        ),
        (false, _) => "Asked for as after a password.".to_owned(),
    };
    let mut verdicts = vec![("Username", username), ("Second factor", factor)];
    let claim = provider.rules.role_claim.as_deref();
    match (&preview.roles, claim) {
        (Some(roles), _) => {
            let taken: Vec<&str> = roles
                .mapped
                .iter()
                .filter(|role| !roles.granted.contains(role))
                .map(String::as_str)
                .collect();
            verdicts.push(("Roles that would be given", listed(&roles.granted.join(", "))));
            verdicts.push(("Roles that would be taken", listed(&taken.join(", "))));
        }
        (None, Some(claim)) => {
            verdicts
                .push(("Roles", format!("Stay as they are: there is no claim {claim} that says something.")));
        }
        (None, None) => verdicts.push(("Roles", "Stay as they are: no claim decides about them.".to_owned())),
    }
    if !unknown.is_empty() {
        verdicts.push(("Roles that do not exist here", unknown.join(", ")));
    }
    verdicts
}

fn listed(text: &str) -> String {
    if text.is_empty() { "none".to_owned() } else { text.to_owned() }
}

/// All claims about the person.
fn claims(claims: &Value) -> Vec<(String, Value)> {
    let Value::Object(claims) = claims else { return Vec::new() };
    let about = claims.iter().filter(|(name, _)| !PROOFS.contains(&name.as_str()));
    about.map(|(name, value)| (name.clone(), value.clone())).collect()
}

fn claim(name: String, value: &Value) -> Claim {
    let whole = value.to_string();
    match whole.char_indices().nth(SHOWN) {
        Some((at, _)) => Claim { name, value: format!("{}…", &whole[..at]), whole: Some(whole) },
        None => Claim { name, value: whole, whole: None },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_claims_are_cut_and_proofs_left_out() {
        let long = "é".repeat(200);
        let all = claims(
            &json!({ "sub": "1", "nonce": "n", "at_hash": "h", "email_verified": "true", "long": long }),
        );
        let shown: Vec<Claim> = all.into_iter().map(|(name, value)| claim(name, &value)).collect();
        let find = |name: &str| shown.iter().find(|claim| claim.name == name);
        assert!(find("nonce").is_none() && find("at_hash").is_none());
        // A text and a boolean look different.
        assert!(
            find("email_verified").is_some_and(|claim| claim.value == "\"true\"" && claim.whole.is_none())
        );
        assert!(find("long").is_some_and(|claim| claim.value.chars().count() == SHOWN + 1
            && claim.whole.as_deref() == Some(&format!("\"{long}\""))));
    }
}
