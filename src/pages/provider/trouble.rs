//! Trips that come to nothing, in plain words and with another way in; the cause is for the Admins.

use accounts::{ArriveError, ErrorReport, Onward, TripPurpose};
use askama::Template;
use axum::http::StatusCode;
use axum::response::Response;
use providers::ProviderError;

use crate::error::AppError;
use crate::guard::Ctx;
use crate::http::answer;
use crate::pages::sign_in;
use crate::sign_in_providers::Provider;
use crate::view::{Page, filters};

/// What happened and what to do, for the person who met it.
pub struct Trouble {
    pub status: StatusCode,
    pub title: String,
    pub what: String,
    /// Trying once more may help.
    pub again: bool,
    /// For an Admin who tries the provider; nobody else is told (SEC-88).
    pub cause: Option<String>,
}

#[derive(Template)]
#[template(path = "provider/trouble.html")]
struct TroublePage {
    page: Page,
    title: String,
    what: String,
    again: Option<(String, String)>,
    back: (String, &'static str),
    cause: Option<String>,
    request_id: String,
}

impl Trouble {
    /// Of a provider.
    pub fn of(provider: &Provider, error: &ProviderError) -> Self {
        let label = provider.label();
        let (status, title, what, again) = match error {
            ProviderError::Down { .. } => (
                StatusCode::BAD_GATEWAY,
                format!("{label} does not answer"),
                format!("{label} cannot be reached from here now, or has an error of its own. Nothing was changed."),
                true,
            ),
            ProviderError::Denied { .. } => (
                StatusCode::FORBIDDEN,
                format!("{label} did not let you through"),
                "You did not agree there, or your account there may not be used here. Nothing was changed.".to_owned(),
                true,
            ),
            ProviderError::Client { .. } => (
                StatusCode::BAD_GATEWAY,
                format!("{label} does not know this site"),
                format!(
                    "The sign-in with {label} is not set up right. Trying again does not help: tell an Admin, who \
                     finds the cause in the error list."
                ),
                false,
            ),
            ProviderError::NotVerified { .. } => (
                StatusCode::BAD_GATEWAY,
                format!("What {label} sent does not hold"),
                "It could not be verified that it is you, so nobody was let in. Try once more; if it stays, tell an \
                 Admin, who finds the cause in the error list."
                    .to_owned(),
                true,
            ),
            ProviderError::Clock { .. } => (
                StatusCode::BAD_GATEWAY,
                "A clock is wrong".to_owned(),
                format!(
                    "The clock of this server and that of {label} are too far apart. Tell an Admin, who has to set \
                     this server's."
                ),
                false,
            ),
        };
        Self { status, title, what, again, cause: None }
    }

    /// With what the Admins' error list says, for a trip that is a test.
    pub fn because(mut self, purpose: TripPurpose, cause: &str) -> Self {
        self.cause = (purpose == TripPurpose::Test).then(|| cause.to_owned());
        self
    }

    /// Of an account here.
    pub fn refused(error: &ArriveError) -> Self {
        let title = match error {
            ArriveError::NoEmail { .. } => "Your e-mail address is missing",
            ArriveError::Closed | ArriveError::ProviderClosed { .. } => "There is no account for you here",
            ArriveError::Domain { .. } => "Your address may not sign up here",
            _ => "You cannot sign in",
        };
        Self {
            status: StatusCode::FORBIDDEN,
            title: title.to_owned(),
            what: error.to_string(),
            again: matches!(error, ArriveError::NoEmail { .. }),
            cause: None,
        }
    }

    /// The page, with the way back to where the trip began.
    pub fn show(self, ctx: &Ctx, provider: &Provider, purpose: TripPurpose, onward: &Onward) -> Response {
        if ctx.json {
            let cause = self.cause.map(|cause| format!(" ({cause})")).unwrap_or_default();
            let words = format!("{}. {}{cause}", self.title, self.what);
            return answer::error(ctx, &AppError::SignInFailed(self.status, words));
        }
        if purpose == TripPurpose::SignIn && onward.carry.is_some() {
            return sign_in::another_way(ctx, self.status, self.title, self.what, onward);
        }
        let next = onward.next.as_deref().unwrap_or("/");
        let again = match purpose {
            TripPurpose::SignIn if self.again => {
                Some((super::address(provider, Some(next)), format!("Try {} again", provider.label())))
            }
            _ => None,
        };
        let back = match purpose {
            TripPurpose::SignIn => (sign_in::address(next), "Sign in another way"),
            TripPurpose::Link => ("/settings/connections".to_owned(), "Back to the connections"),
            // The form that waited is answered by another proof.
            TripPurpose::StepUp => ("/settings".to_owned(), "Back to the settings"),
            TripPurpose::Test => ("/admin/settings#providers".to_owned(), "Back to the settings"),
        };
        page(ctx, self, again, back)
    }
}

/// A trip that is unknown here: another browser's, used up, or too old.
pub fn lost(ctx: &Ctx, provider: &Provider) -> Response {
    if ctx.json {
        let words = "This sign-in was not begun here, was used already or took too long. Begin it again.";
        return answer::error(ctx, &AppError::BadRequest(words.to_owned()));
    }
    let signed_in = ctx.principal.is_some();
    let again = (!signed_in)
        .then(|| (format!("/login/{}", provider.name()), format!("Sign in with {} again", provider.label())));
    let back = match signed_in {
        true => ("/chat".to_owned(), "To the chats"),
        false => ("/login".to_owned(), "Sign in another way"),
    };
    let trouble = Trouble {
        status: StatusCode::BAD_REQUEST,
        title: "This sign-in does not go on".to_owned(),
        what:
            "It was begun in another browser or window, was used already, or took longer than ten minutes. Nothing was \
               changed."
                .to_owned(),
        again: false,
        cause: None,
    };
    page(ctx, trouble, again, back)
}

fn page(
    ctx: &Ctx,
    trouble: Trouble,
    again: Option<(String, String)>,
    back: (String, &'static str),
) -> Response {
    let Trouble { status, title, what, cause, .. } = trouble;
    ctx.html_as(
        status,
        &TroublePage {
            page: ctx.page(&title),
            title,
            what,
            again,
            back,
            cause,
            request_id: ctx.request_id.to_string(),
        },
    )
}

/// Puts it into the Admins' error list.
pub async fn record(ctx: &Ctx, provider: &Provider, title: &str, cause: &str) {
    tracing::warn!(provider.name = provider.name(), error.cause = cause, "a sign-in at a provider failed");
    let report = ErrorReport {
        kind: "sign-in provider".to_owned(),
        title: title.to_owned(),
        cause: cause.to_owned(),
        subject: Some(provider.name().to_owned()),
        request_id: Some(ctx.request_id.to_string()),
        user_id: ctx.principal.as_ref().map(|principal| principal.user_id.clone()),
    };
    if let Err(error) = accounts::errors::record(&ctx.app.db, ctx.app.clock.now(), &report).await {
        tracing::warn!(error.cause = %error, "the error was not recorded");
    }
}
