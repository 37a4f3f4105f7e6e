//! Step-up on pages: a small form between what was asked and its doing. What was typed waits in it,
//! sealed, and goes on by itself after the proof (SEC-58).

use std::sync::Arc;

use accounts::{
    CodeSent, FactorRefused, FinishedTrip, Onward, Principal, Proof, SecondFactor, SessionToken, StepUpProof,
    StepUpWays, TripPurpose, Vouched,
};
use askama::Template;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{AppError, internal, wait_words};
use crate::guard::{Ctx, session_cookie};
use crate::http::answer::{self, with_wait};
use crate::http::cookies;
use crate::http::input::Input;
use crate::pages::provider::set_out;
use crate::pages::sign_in::safe_next;
use crate::sign_in_providers::Provider;
use crate::view::{Field, Page, filters};

/// What the seal is for.
const PURPOSE: &str = "step-up";
/// How long a form waits, in microseconds.
const WAITS: i64 = 30 * base::MINUTE;

/// What was asked, on its way through the form.
#[derive(Serialize, Deserialize)]
struct Carried {
    /// Nobody else's form is taken, nor one for another address.
    session_id: String,
    path: String,
    at: i64,
    fields: Value,
}

#[derive(Template)]
#[template(path = "step_up.html")]
struct StepUpPage {
    page: Page,
    /// The address that was asked; the form goes there.
    action: String,
    /// A page to go back to.
    back: &'static str,
    carry: String,
    password: Option<Field>,
    code: Option<Field>,
    passkey: bool,
    /// Its button has the focus.
    passkey_first: bool,
    /// Providers to sign in with anew.
    providers: Vec<Again>,
    /// The first of them has the focus.
    provider_first: bool,
    email: bool,
    /// A code is on its way.
    sent: bool,
    /// And this is the answer to having it sent.
    told: bool,
    error: Option<String>,
}

/// A provider that can prove a fresh sign-in.
struct Again {
    name: String,
    label: String,
    icon: &'static str,
}

#[derive(Template)]
#[template(path = "step_up_confirmed.html")]
struct ConfirmedPage {
    page: Page,
    /// The provider's.
    label: String,
    /// The address that was asked.
    action: String,
    back: &'static str,
    carry: String,
}

/// Lets a request through whose sender proved who they are within ten minutes, or does so now. Gives
/// what was asked, and the session's new token.
///
/// # Errors
/// The answer that asks for the proof.
pub async fn pass(
    ctx: &Ctx,
    principal: &Principal,
    token: &SessionToken,
    mut input: Input,
) -> Result<(Input, Option<SessionToken>), Box<Response>> {
    let as_json = ctx.json || input.is_json();
    let fresh = principal.stepped_up(ctx.app.clock.now());
    let Some(carry) = input.optional("step_up_carry") else {
        return match (fresh, as_json) {
            (true, _) => Ok((input, None)),
            (false, true) => Err(Box::new(answer::error(ctx, &AppError::StepUpRequired))),
            (false, false) => Err(Box::new(ask(ctx, principal, &input).await)),
        };
    };
    let Some(asked) = unseal(ctx, principal, &ctx.path, &carry) else {
        return Err(Box::new(answer::error(ctx, &AppError::Csrf)));
    };
    if fresh {
        return Ok((asked, None));
    }
    let form = Form { ctx, principal, path: ctx.path.clone(), carry };
    if let Some(name) = input.optional("step_up_provider") {
        return Err(Box::new(form.go_to(&name).await));
    }
    if input.optional("step_up_send").is_some() {
        let answer = match ctx.app.accounts.send_step_up_code(principal, &ctx.client).await {
            Ok(CodeSent { .. }) => form.show(true, None, false).await,
            Err(refused) => form.refused(refused).await,
        };
        return Err(Box::new(answer));
    }
    let (password, code) = (input.optional("step_up_password"), input.optional("step_up_code"));
    let (ceremony, credential) = (input.optional("ceremony"), input.value("credential"));
    let proof = match (&password, &code, &ceremony, &credential) {
        (Some(password), ..) => StepUpProof::Password(password),
        (_, Some(code), ..) => StepUpProof::Factor(Proof::Code(code)),
        (.., Some(ceremony), Some(credential)) => {
            StepUpProof::Factor(Proof::Passkey { ceremony, credential })
        }
        _ => return Err(Box::new(form.show(false, Some("Enter it here.".to_owned()), true).await)),
    };
    match ctx.app.accounts.step_up(principal, token, proof, &ctx.client).await {
        Ok(renewed) => Ok((asked, Some(renewed))),
        Err(refused) => Err(Box::new(form.refused(refused).await)),
    }
}

/// The form, for what was just asked.
async fn ask(ctx: &Ctx, principal: &Principal, asked: &Input) -> Response {
    let carried = Carried {
        session_id: principal.session.id.clone(),
        path: ctx.path.clone(),
        at: ctx.app.clock.now(),
        fields: asked.packed(),
    };
    let sealed = serde_json::to_vec(&carried)
        .map_err(internal)
        .and_then(|plain| ctx.app.ring.seal(&ctx.app.random, PURPOSE, &plain).map_err(internal));
    match sealed {
        Ok(carry) => Form { ctx, principal, path: ctx.path.clone(), carry }.show(false, None, false).await,
        Err(error) => answer::error(ctx, &error),
    }
}

fn unseal(ctx: &Ctx, principal: &Principal, path: &str, carry: &str) -> Option<Input> {
    let plain = ctx.app.ring.open(PURPOSE, carry).ok()?;
    let carried: Carried = serde_json::from_slice(&plain).ok()?;
    let is_ours = carried.session_id == principal.session.id && carried.path == path;
    let waited = ctx.app.clock.now() - carried.at;
    if !is_ours || !(0..WAITS).contains(&waited) {
        return None;
    }
    Input::unpacked(carried.fields)
}

struct Form<'a> {
    ctx: &'a Ctx,
    principal: &'a Principal,
    /// The address that was asked; the form goes there.
    path: String,
    carry: String,
}

impl Form<'_> {
    /// A page to go back to.
    fn back(&self) -> &'static str {
        if self.path.starts_with("/admin") { "/admin" } else { "/settings" }
    }

    /// Off to sign in anew at the provider of this name.
    async fn go_to(self, name: &str) -> Response {
        let Self { ctx, principal, .. } = self;
        let ways = match ctx.app.accounts.step_up_ways(&principal.user_id).await {
            Ok(ways) => ways,
            Err(error) => return answer::error(ctx, &error.into()),
        };
        let Some(provider) = can_prove(ctx, &ways).into_iter().find(|provider| provider.name() == name)
        else {
            let words = "That provider cannot confirm that it is you. Use another way.".to_owned();
            return self.show(false, Some(words), false).await;
        };
        let onward = Onward { next: Some(self.path), carry: Some(self.carry) };
        match set_out(ctx, &provider, TripPurpose::StepUp, &onward).await {
            Ok(trip) => trip.page(ctx, &provider),
            Err(answer) => *answer,
        }
    }

    async fn refused(&self, refused: FactorRefused) -> Response {
        let text = match &refused {
            FactorRefused::Wrong(_) => "That was not right, or it was used before. Try again.".to_owned(),
            FactorRefused::Refused(accounts::Refused::Invalid { .. }) => {
                "The password is not right. Try again.".to_owned()
            }
            FactorRefused::NotOffered(why) => (*why).to_owned(),
            FactorRefused::Limited { limit, .. } => limit.message().to_owned(),
            _ => String::new(),
        };
        let error = AppError::from(refused);
        let text = match &error {
            AppError::RateLimited(seconds) if text.is_empty() => {
                format!("Too many tries. Wait {}.", wait_words(*seconds))
            }
            // The session ended meanwhile, or something broke: no form helps.
            _ if text.is_empty() => return answer::error(self.ctx, &error),
            _ => text,
        };
        let sent = matches!(error, AppError::SecondFactorInvalid(_));
        let at_field = !matches!(error, AppError::Refused(_));
        with_wait(self.show(sent, Some(text), at_field).await, &error)
    }

    /// The form. What went wrong stands at its field, if it is about what was entered there.
    async fn show(&self, sent: bool, error: Option<String>, at_field: bool) -> Response {
        let Self { ctx, principal, path, carry } = self;
        let ways = match ctx.app.accounts.step_up_ways(&principal.user_id).await {
            Ok(ways) => ways,
            Err(error) => return answer::error(ctx, &error.into()),
        };
        let has = |method| ways.methods.contains(&method);
        let (email, passkey) = (has(SecondFactor::Email), has(SecondFactor::Passkey));
        // Until somebody chose the code.
        let passkey_first = passkey && !sent && error.is_none();
        let providers: Vec<Again> = can_prove(ctx, &ways)
            .into_iter()
            .map(|provider| Again {
                name: provider.name().to_owned(),
                label: provider.label().to_owned(),
                icon: provider.icon(),
            })
            .collect();
        let provider_first = !providers.is_empty() && !sent && error.is_none();
        let code = (!ways.password && (!passkey || ways.methods.len() > 1)).then(|| {
            let field = code_field(&ways, sent);
            if passkey_first || provider_first { field } else { field.autofocus() }
        });
        let password = ways.password.then(|| {
            Field::password("step_up_password", "Password", "current-password").required().tall().autofocus()
        });
        let (mut password, mut code) = (password, code);
        if let Some(text) = error.as_ref().filter(|_| at_field) {
            password = password.map(|field| field.error(Some(text.clone())));
            code = code.map(|field| field.error(Some(text.clone())));
        }
        let told = sent && email && error.is_none();
        let error = error.filter(|_| !at_field || (password.is_none() && code.is_none()));
        let status = AppError::StepUpRequired.problem().status;
        ctx.html_as(
            status,
            &StepUpPage {
                page: ctx.page("Confirm that it is you"),
                action: path.clone(),
                back: self.back(),
                carry: carry.clone(),
                password,
                code,
                passkey,
                passkey_first,
                providers,
                provider_first,
                email,
                sent,
                told,
                error,
            },
        )
    }
}

/// The person's providers that can show a sign-in to be fresh.
fn can_prove(ctx: &Ctx, ways: &StepUpWays) -> Vec<Arc<Provider>> {
    let live = ctx.app.providers.live();
    live.iter()
        .filter(|provider| provider.settings.preset.can_sign_in_anew())
        .filter(|provider| ways.providers.iter().any(|name| name == provider.name()))
        .cloned()
        .collect()
}

fn code_field(ways: &StepUpWays, sent: bool) -> Field {
    let has = |method| ways.methods.contains(&method);
    let hint = match (has(SecondFactor::Totp), has(SecondFactor::BackupCode)) {
        (true, true) => "The six digits of your authenticator app, or a backup code.",
        (true, false) => "The six digits of your authenticator app.",
        (false, true) if sent => "The eight digits of the mail, or a backup code.",
        (false, true) => "A backup code.",
        (false, false) => "The eight digits of the mail.",
    };
    Field::text("step_up_code", "Code").autocomplete("one-time-code").hint(hint).max(40).required().tall()
}

/// Back from a fresh sign-in at a provider (SEC-57): the session is renewed, and what was asked goes on
/// by a form, as the guard takes it from nowhere else.
pub async fn came_back(
    ctx: &Ctx,
    principal: &Principal,
    provider: &Provider,
    trip: &FinishedTrip,
    vouched: &Vouched,
) -> Result<Response, AppError> {
    let (Some(token), Some(form)) = (&ctx.session_token, waiting(ctx, principal, &trip.onward)) else {
        return Err(AppError::Csrf);
    };
    match ctx.app.accounts.step_up_by_provider(principal, token, trip, vouched).await {
        Ok(renewed) => {
            let page = ConfirmedPage {
                page: ctx.page("That is confirmed"),
                label: provider.label().to_owned(),
                back: form.back(),
                action: form.path,
                carry: form.carry,
            };
            let mut response = ctx.html(&page);
            let cookie = session_cookie(&ctx.app, &renewed, principal.session.expires_at);
            cookies::add(response.headers_mut(), cookie);
            Ok(response)
        }
        Err(refused) => Ok(form.refused(refused).await),
    }
}

/// The form once more after a trip to a provider that came to nothing, with what happened; `None` where
/// none waits (any more).
pub async fn another_way(ctx: &Ctx, onward: &Onward, words: String) -> Option<Response> {
    let form = waiting(ctx, ctx.principal.as_deref()?, onward)?;
    Some(form.show(false, Some(words), false).await)
}

/// The form that waits with a trip, while its seal is good.
fn waiting<'a>(ctx: &'a Ctx, principal: &'a Principal, onward: &Onward) -> Option<Form<'a>> {
    let path = onward.next.clone().filter(|path| safe_next(path))?;
    let carry = onward.carry.clone()?;
    unseal(ctx, principal, &path, &carry)?;
    Some(Form { ctx, principal, path, carry })
}
