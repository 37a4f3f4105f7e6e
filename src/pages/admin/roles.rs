//! `/admin/roles`: the roles, and which of them require a second factor (SEC-3).

use std::borrow::Cow;

use accounts::{PeopleError, Permission, RoleRow};
use askama::Template;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::Response;

use super::{days, done};
use crate::error::{AppError, FieldErrors};
use crate::guard::{Ctx, Member};
use crate::http::input::Input;
use crate::view::{Kind, Page, filters};

const PATH: &str = "/admin/roles";

#[derive(Template)]
#[template(path = "admin/roles.html")]
struct RolesPage {
    page: Page,
    roles: Vec<Line>,
}

/// A role with the form as it stands or as it was typed.
struct Line {
    role: RoleRow,
    required: bool,
    grace_days: String,
    error: Option<String>,
    /// The viewer holds all that the role grants (SEC-92).
    may: bool,
}

impl Line {
    /// What the role allows, by the names of its permissions.
    fn permissions(&self) -> String {
        if self.role.permissions == accounts::Permissions::all() {
            return "everything".to_owned();
        }
        let names: Vec<&str> = self.role.permissions.iter().map(Permission::name).collect();
        if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
    }
}

/// What was typed for one role, and what is wrong with it.
struct Typed {
    id: String,
    required: bool,
    grace_days: String,
    error: String,
}

/// `GET /admin/roles`
pub async fn page(ctx: Ctx, member: Member) -> Result<Response, AppError> {
    render(&ctx, &member, StatusCode::OK, None).await
}

async fn render(
    ctx: &Ctx,
    member: &Member,
    status: StatusCode,
    typed: Option<Typed>,
) -> Result<Response, AppError> {
    let mut roles: Vec<Line> =
        ctx.app.accounts.roles().await?.into_iter().map(|role| line(member, role)).collect();
    if let Some(typed) = typed
        && let Some(line) = roles.iter_mut().find(|line| line.role.id == typed.id)
    {
        line.required = typed.required;
        line.grace_days = typed.grace_days;
        line.error = Some(typed.error);
    }
    Ok(ctx.html_as(status, &RolesPage { page: ctx.page("Roles"), roles }))
}

fn line(member: &Member, role: RoleRow) -> Line {
    Line {
        required: role.second_factor_required,
        grace_days: role.grace_days.to_string(),
        error: None,
        may: member.permissions.covers(role.permissions),
        role,
    }
}

/// `POST /admin/roles/{id}/second-factor`
pub async fn set_second_factor(
    ctx: Ctx,
    member: Member,
    Path(id): Path<String>,
    mut input: Input,
) -> Result<Response, AppError> {
    let as_json = ctx.json || input.is_json();
    let required = input.flag("second_factor");
    let typed = input.id("grace_days");
    let mut errors = input.finish().err().unwrap_or_default();
    let grace_days = days(&typed).unwrap_or_else(|| {
        errors.entry(Cow::Borrowed("grace_days")).or_insert_with(|| PeopleError::Grace.to_string());
        0
    });
    let set = match errors.is_empty() {
        true => ctx.app.accounts.set_role_second_factor(&*member, &id, required, grace_days).await,
        false => {
            return refuse(&ctx, &member, as_json, id, (required, typed), AppError::Validation(errors)).await;
        }
    };
    let role = match set {
        Ok(role) => role,
        Err(PeopleError::NoRole) => {
            let gone = match as_json {
                true => AppError::NotFound,
                false => AppError::Refused("This role is gone. Nothing was changed.".to_owned()),
            };
            return done(&ctx, as_json, PATH, Err(gone));
        }
        // A page says why; a program gets 403.
        Err(error @ (PeopleError::MoreThanYou | PeopleError::NotAllowed)) if !as_json => {
            return done(&ctx, as_json, PATH, Err(AppError::Refused(error.to_string())));
        }
        Err(PeopleError::Db(error)) => return Err(error.into()),
        Err(error) => return refuse(&ctx, &member, as_json, id, (required, typed), error.into()).await,
    };
    let words = match (role.changed, required, grace_days) {
        (false, ..) => format!("{} stays as it was.", role.name),
        (true, false, _) => format!("{} does not require a second factor any more.", role.name),
        (true, true, 0) => format!("{} requires a second factor from now on.", role.name),
        (true, true, 1) => format!("{} requires a second factor, with a day to set one up.", role.name),
        (true, true, days) => {
            format!("{} requires a second factor, with {days} days to set one up.", role.name)
        }
    };
    done(&ctx, as_json, PATH, Ok((Kind::Ok, words)))
}

/// The error at its role, with what was typed.
async fn refuse(
    ctx: &Ctx,
    member: &Member,
    as_json: bool,
    id: String,
    (required, grace_days): (bool, String),
    error: AppError,
) -> Result<Response, AppError> {
    if as_json {
        return Err(error);
    }
    let problem = error.problem();
    let words = |fields: &FieldErrors| fields.values().cloned().collect::<Vec<_>>().join(" ");
    let error = error.fields().map_or(problem.detail, words);
    render(ctx, member, problem.status, Some(Typed { id, required, grace_days, error })).await
}
