//! `/admin/users`: who has an account, and what an Admin may change about it.

use accounts::{Changed, Counts, Cursor, FactorGlance, Lock, PeopleError, Permission, Person};
use askama::Template;
use axum::extract::Path;
use axum::response::Response;
use base::Micros;

use super::{address, done, param, way_back};
use crate::error::AppError;
use crate::guard::{Ctx, Member};
use crate::http::input::Input;
use crate::view::{Kind, Page, Viewer, filters, format};

const PATH: &str = "/admin/users";

#[derive(Template)]
#[template(path = "admin/users.html")]
struct UsersPage {
    page: Page,
    counts: Counts,
    people: Vec<Line>,
    /// What is searched for.
    q: String,
    /// The page as it is, for the way back from an action.
    here: String,
    previous: Option<String>,
    next: Option<String>,
}

/// A person with what the viewer may do to them.
struct Line {
    person: Person,
    initials: String,
    is_self: bool,
    lock: Option<Lock>,
    /// Until when wrong second factors lock the account.
    factor_lock: Option<Micros>,
    /// The second factors in words; empty without one.
    factors: String,
    /// Roles may be given and taken.
    roles: bool,
    /// The account may be deactivated and reactivated.
    manage: bool,
    /// There are second factors, and the viewer may take them away (SEC-60).
    reset_factors: bool,
}

/// `GET /admin/users`
pub async fn page(ctx: Ctx, member: Member) -> Result<Response, AppError> {
    let q = param(&ctx, "q").unwrap_or_default();
    let [after, before] = ["after", "before"].map(|name| param(&ctx, name));
    let cursor = match (after, before) {
        (Some(after), _) => Cursor::After(after),
        (None, Some(before)) => Cursor::Before(before),
        (None, None) => Cursor::Start,
    };
    let people = ctx.app.accounts.people(&q, &cursor).await?;
    let place = match &cursor {
        Cursor::Start => ("", ""),
        Cursor::After(after) => ("after", after.as_str()),
        Cursor::Before(before) => ("before", before.as_str()),
    };
    let at = |name, value: Option<String>| value.map(|value| address(PATH, &[("q", &q), (name, &value)]));
    Ok(ctx.html(&UsersPage {
        page: ctx.page("Users"),
        counts: ctx.app.accounts.people_counts().await?,
        here: address(PATH, &[("q", &q), place]),
        previous: at("before", people.previous),
        next: at("after", people.next),
        people: people.rows.into_iter().map(|person| line(&ctx, &member, person)).collect(),
        q,
    }))
}

fn line(ctx: &Ctx, member: &Member, person: Person) -> Line {
    let display_name = person.user.full_name();
    let viewer = Viewer {
        id: String::new(),
        username: person.user.username.clone(),
        display_name,
        email: String::new(),
        admin: Default::default(),
        enrol_by: None,
    };
    Line {
        initials: viewer.initials(),
        is_self: person.user.id == member.user_id,
        lock: person.lock(ctx.app.clock.now()),
        factor_lock: person.factor_lock(ctx.app.clock.now()),
        factors: factor_words(person.factors),
        reset_factors: ctx.may(Permission::UsersResetFactors)
            && !person.factors.is_empty()
            && person.user.id != member.user_id,
        roles: ctx.may(Permission::RolesManage),
        manage: ctx.may(Permission::UsersManage),
        person,
    }
}

/// For example "App, 2 passkeys".
fn factor_words(factors: FactorGlance) -> String {
    let mut words = Vec::new();
    if factors.totp {
        words.push("App".to_owned());
    }
    if factors.passkeys > 0 {
        words.push(format::counted(factors.passkeys, "passkey", "passkeys"));
    }
    if factors.email_codes {
        words.push("E-mail codes".to_owned());
    }
    words.join(", ")
}

/// `POST /admin/users/{id}/promote`
pub async fn promote(
    ctx: Ctx,
    member: Member,
    Path(id): Path<String>,
    input: Input,
) -> Result<Response, AppError> {
    let act = read(&ctx, input)?;
    let changed = ctx.app.accounts.promote(&*member, &id).await;
    act.answer(&ctx, changed, "is an Admin now.", "was an Admin already.")
}

/// `POST /admin/users/{id}/demote`
pub async fn demote(
    ctx: Ctx,
    member: Member,
    Path(id): Path<String>,
    input: Input,
) -> Result<Response, AppError> {
    let mut act = read(&ctx, input)?;
    let changed = ctx.app.accounts.demote(&*member, &id).await;
    if changed.as_ref().is_ok_and(|changed| changed.user.id == member.user_id) {
        // These pages are closed to one who has just stepped down.
        act.back = "/chat".to_owned();
    }
    act.answer(&ctx, changed, "is no Admin any more.", "was no Admin.")
}

/// `POST /admin/users/{id}/deactivate`
pub async fn deactivate(
    ctx: Ctx,
    member: Member,
    Path(id): Path<String>,
    input: Input,
) -> Result<Response, AppError> {
    let act = read(&ctx, input)?;
    let changed = ctx.app.accounts.deactivate(&*member, &id).await;
    act.answer(&ctx, changed, "is deactivated and signed out everywhere.", "was deactivated already.")
}

/// `POST /admin/users/{id}/reactivate`
pub async fn reactivate(
    ctx: Ctx,
    member: Member,
    Path(id): Path<String>,
    input: Input,
) -> Result<Response, AppError> {
    let act = read(&ctx, input)?;
    let changed = ctx.app.accounts.reactivate(&*member, &id).await;
    act.answer(&ctx, changed, "may sign in again.", "was active already.")
}

/// `POST /admin/users/{id}/unlock` (SEC-28)
pub async fn unlock(
    ctx: Ctx,
    member: Member,
    Path(id): Path<String>,
    input: Input,
) -> Result<Response, AppError> {
    let act = read(&ctx, input)?;
    let changed = ctx.app.accounts.unlock(&*member, &id).await;
    act.answer(&ctx, changed, "may sign in again.", "was not locked.")
}

/// `POST /admin/users/{id}/reset-factors` (SEC-60)
pub async fn reset_factors(
    ctx: Ctx,
    member: Member,
    Path(id): Path<String>,
    mut input: Input,
) -> Result<Response, AppError> {
    let reason = input.text("reason");
    let act = read(&ctx, input)?;
    let changed = ctx.app.accounts.reset_factors(&*member, &id, &reason).await;
    act.answer(
        &ctx,
        changed,
        "has no second factor any more, is signed out everywhere and is told by mail.",
        "had no second factor.",
    )
}

/// `POST /admin/users/{id}/send-reset` (SEC-23)
pub async fn send_reset(
    ctx: Ctx,
    member: Member,
    Path(id): Path<String>,
    input: Input,
) -> Result<Response, AppError> {
    let act = read(&ctx, input)?;
    let changed = ctx.app.accounts.send_person_reset_link(&*member, &id).await;
    act.answer(
        &ctx,
        changed,
        "gets a mail with a link that sets a new password.",
        "is deactivated or not confirmed yet, so no link was sent.",
    )
}

/// `POST /admin/users/{id}/sign-out` (SEC-81)
pub async fn sign_out(
    ctx: Ctx,
    member: Member,
    Path(id): Path<String>,
    input: Input,
) -> Result<Response, AppError> {
    let act = read(&ctx, input)?;
    let changed = ctx.app.accounts.sign_out(&*member, &id).await;
    act.answer(&ctx, changed, "is signed out everywhere.", "was not signed in.")
}

/// How an action is answered.
struct Act {
    as_json: bool,
    back: String,
}

fn read(ctx: &Ctx, mut input: Input) -> Result<Act, AppError> {
    let act = Act { as_json: ctx.json || input.is_json(), back: way_back(PATH, input.optional("back")) };
    input.done()?;
    Ok(act)
}

impl Act {
    fn answer(
        self,
        ctx: &Ctx,
        changed: Result<Changed, PeopleError>,
        now: &str,
        already: &str,
    ) -> Result<Response, AppError> {
        let result = match changed {
            Ok(Changed { user, changed: true }) => Ok((Kind::Ok, format!("{} {now}", user.username))),
            Ok(Changed { user, changed: false }) => Ok((Kind::Ok, format!("{} {already}", user.username))),
            // A page says why; a program gets 403.
            Err(error @ (PeopleError::MoreThanYou | PeopleError::NotAllowed)) if !self.as_json => {
                Err(AppError::Refused(error.to_string()))
            }
            Err(PeopleError::NotFound) if !self.as_json => {
                Err(AppError::Refused("This account is gone. Nothing was changed.".to_owned()))
            }
            Err(error) => Err(error.into()),
        };
        done(ctx, self.as_json, &self.back, result)
    }
}
