//! One's own pages. `GET /settings` is the first.

pub mod sessions;

use askama::Template;
use axum::response::Response;

use crate::guard::{Ctx, Member};
use crate::view::{Page, filters};

#[derive(Template)]
#[template(path = "settings.html")]
struct SettingsPage {
    page: Page,
    name: String,
    username: String,
    email: String,
    verified: bool,
    roles: Vec<String>,
    signed_in_at: i64,
    expires_at: i64,
}

/// `GET /settings`
pub async fn page(ctx: Ctx, member: Member) -> Response {
    ctx.html(&SettingsPage {
        page: ctx.page("Profile"),
        name: member.full_name(),
        username: member.username.clone(),
        email: member.email.clone(),
        verified: member.verified,
        roles: member.roles.iter().map(|(_, name)| name.clone()).collect(),
        signed_in_at: member.session.created_at,
        expires_at: member.session.expires_at,
    })
}
