//! JSON: what programs ask. The starred pages answer JSON at their own addresses.

pub mod health;
pub mod step_up;

use accounts::PeopleError;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::json;

use crate::error::AppError;
use crate::guard::{Ctx, Member};
use crate::http::answer;
use crate::http::input::Input;

/// `GET /api/v1/csrf`: the token for `X-CSRFToken`, and for people who are signed out the cookie
/// that it is bound to.
pub async fn csrf(ctx: Ctx) -> Response {
    let mut response = answer::json(StatusCode::OK, &json!({ "csrf_token": ctx.csrf() }));
    crate::http::cookies::add(response.headers_mut(), ctx.visitor_cookie());
    response
}

/// `GET /api/v1/me`: who I am and what I may do.
pub async fn me(member: Member) -> Response {
    let roles: Vec<_> = member.roles.iter().map(|(id, name)| json!({ "id": id, "name": name })).collect();
    let permissions: Vec<String> = member.permissions.iter().map(|p| p.to_string()).collect();
    answer::json(
        StatusCode::OK,
        &json!({
            "id": member.user_id,
            "username": member.username,
            "email": member.email,
            "email_verified": member.verified,
            "first_name": member.first_name,
            "last_name": member.last_name,
            "roles": roles,
            "permissions": permissions,
            "session": { "id": member.session.id, "expires_at": member.session.expires_at },
        }),
    )
}

/// `POST /assign_role_to_user`: adds a role; again is no error.
pub async fn assign_role(ctx: Ctx, member: Member, mut input: Input) -> Result<Response, AppError> {
    let user = input.id("user_id");
    let role = input.id("role_id");
    let mut errors = input.finish().err().unwrap_or_default();
    for (name, value) in [("user_id", &user), ("role_id", &role)] {
        if value.is_empty() {
            errors.entry(name.into()).or_insert_with(|| "This is needed.".to_owned());
        }
    }
    if !errors.is_empty() {
        return Err(AppError::Validation(errors));
    }
    match ctx.app.accounts.assign_role(&*member, &user, &role).await {
        Ok(_) => Ok(answer::json(StatusCode::OK, &json!({ "message": "The role is assigned." }))),
        Err(PeopleError::NoRole) => Err(AppError::field("role_id", "There is no role with this id or name.")),
        Err(PeopleError::NotFound) => {
            Err(AppError::field("user_id", "There is no user with this id or username."))
        }
        Err(error) => Err(error.into()),
    }
}
