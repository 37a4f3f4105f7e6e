//! `GET /admin/errors`: failures, grouped by what caused them.

use std::collections::HashMap;

use accounts::ErrorGroup;
use accounts::errors::PAGE;
use askama::Template;
use axum::response::Response;

use super::{address, param};
use crate::error::AppError;
use crate::guard::Ctx;
use crate::view::{Page, filters};

const PATH: &str = "/admin/errors";

#[derive(Template)]
#[template(path = "admin/errors.html")]
struct ErrorsPage {
    page: Page,
    groups: Vec<Line>,
    first: Option<String>,
    next: Option<String>,
}

/// A group with the person who met it last.
struct Line {
    group: ErrorGroup,
    user: Option<accounts::User>,
}

/// `GET /admin/errors`
pub async fn page(ctx: Ctx) -> Result<Response, AppError> {
    let after = param(&ctx, "after").and_then(|cursor| {
        let (at, fingerprint) = cursor.split_once('.')?;
        Some((at.parse().ok()?, fingerprint.to_owned()))
    });
    let groups = accounts::errors::list(
        &ctx.app.db,
        after.as_ref().map(|(at, fingerprint)| (*at, fingerprint.as_str())),
    )
    .await?;
    let more = i64::try_from(groups.len()).is_ok_and(|rows| rows >= PAGE);
    let next = groups
        .last()
        .filter(|_| more)
        .map(|group| address(PATH, &[("after", &format!("{}.{}", group.last_seen_at, group.fingerprint))]));
    let ids: Vec<&str> = groups.iter().filter_map(|group| group.user_id.as_deref()).collect();
    let names: HashMap<String, accounts::User> = ctx.app.accounts.people_by_id(&ids).await?;
    let groups = groups
        .into_iter()
        .map(|group| Line { user: group.user_id.as_ref().and_then(|id| names.get(id).cloned()), group })
        .collect();
    Ok(ctx.html(&ErrorsPage {
        page: ctx.page("Errors"),
        groups,
        first: after.is_some().then(|| PATH.to_owned()),
        next,
    }))
}
