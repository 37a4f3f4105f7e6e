//! `GET/POST /signup`.

use accounts::NewAccount;
use askama::Template;
use axum::http::StatusCode;
use axum::response::Response;

use crate::error::{AppError, FieldErrors};
use crate::guard::Ctx;
use crate::http::answer::{json, see_other_with, with_wait};
use crate::http::input::Input;
use crate::joining::{self, Joined};
use crate::pages::provider::{self, ProviderButton};
use crate::pages::{second_factor, sign_in};
use crate::view::{Field, Flash, Kind, Page, filters};

#[derive(Template)]
#[template(path = "sign_up.html")]
struct SignUpPage {
    page: Page,
    fields: Vec<Field>,
    error: Option<String>,
    /// After a sign-up that waits for its mail.
    sent_to: Option<String>,
    closed: bool,
    providers: Vec<ProviderButton>,
}

/// The fields of a new account, with what was typed (never the password) and what is wrong.
pub fn fields(typed: &NewAccount, errors: &FieldErrors, password_min: usize) -> Vec<Field> {
    let error = |name: &str| errors.get(name).cloned();
    vec![
        Field::text("first_name", "First name")
            .autocomplete("given-name")
            .value(&typed.first_name)
            .error(error("first_name"))
            .max(80)
            .required()
            .tall()
            .autofocus(),
        Field::text("last_name", "Last name")
            .autocomplete("family-name")
            .value(&typed.last_name)
            .error(error("last_name"))
            .max(80)
            .required()
            .tall(),
        Field::text("username", "Username")
            .autocomplete("username")
            .value(&typed.username)
            .error(error("username"))
            .hint("3 to 32 letters a–z, digits, dots, dashes or underscores")
            .required()
            .tall(),
        Field::email("email", "E-mail").value(&typed.email).error(error("email")).required().tall(),
        Field::password("password", "Password", "new-password")
            .error(error("password"))
            .hint(format!("At least {password_min} characters. A few unrelated words do well."))
            .required()
            .tall(),
    ]
}

/// Takes the five fields of a new account from a form or from JSON (SEC-10: and no other).
pub fn read(input: &mut Input) -> NewAccount {
    NewAccount {
        first_name: input.text("first_name"),
        last_name: input.text("last_name"),
        username: input.text("username"),
        email: input.text("email"),
        password: input.text("password"),
    }
}

/// `GET /signup`
pub async fn page(ctx: Ctx) -> Response {
    form(&ctx, StatusCode::OK, &NewAccount::default(), &FieldErrors::new(), None)
}

fn form(
    ctx: &Ctx,
    status: StatusCode,
    typed: &NewAccount,
    errors: &FieldErrors,
    error: Option<String>,
) -> Response {
    ctx.html_as(
        status,
        &SignUpPage {
            page: ctx.page("Sign up"),
            fields: fields(typed, errors, crate::options::min_chars(&ctx.app.config)),
            error,
            sent_to: None,
            closed: !ctx.app.accounts.settings().sign_up.is_open(),
            providers: provider::buttons(ctx, None, true),
        },
    )
}

/// The page of a sign-up that goes on by a mail.
pub fn check_mail(ctx: &Ctx, status: StatusCode, email: &str) -> Response {
    ctx.html_as(
        status,
        &SignUpPage {
            page: ctx.page("Check your mail"),
            fields: Vec::new(),
            error: None,
            sent_to: Some(email.to_owned()),
            closed: false,
            providers: Vec::new(),
        },
    )
}

/// `POST /signup`, as a form or as JSON.
pub async fn submit(ctx: Ctx, mut input: Input) -> Result<Response, AppError> {
    let as_json = ctx.json || input.is_json();
    let typed = read(&mut input);
    // The page leads on to the chats by itself.
    input.discard("next");
    let done = match input.finish() {
        Err(errors) => Err(AppError::Validation(errors)),
        Ok(()) => joining::sign_up(&ctx.app, &typed, &ctx.client).await,
    };
    match done {
        Ok(Joined::Member(created)) if as_json => Ok(json(
            StatusCode::CREATED,
            &serde_json::json!({
                "message": "The account is made. Sign in with it.",
                "user": joining::user_json(&created.user),
            }),
        )),
        // The page goes through the same gate as every sign-in (SEC-38).
        Ok(Joined::Member(created)) => {
            match ctx.app.accounts.complete_login(created.first_factor, &ctx.client).await {
                Ok(accounts::Outcome::Session(session)) => {
                    Ok(sign_in::signed_in(&ctx, &session, false, "/chat"))
                }
                Ok(accounts::Outcome::Challenge(challenge)) => {
                    second_factor::challenged(&ctx, challenge, false, None).await
                }
                Err(_) => Ok(see_other_with(
                    &ctx,
                    "/login",
                    Flash::new(Kind::Ok, "The account is made. Sign in with it."),
                )),
            }
        }
        Ok(Joined::CheckMail) if as_json => Ok(json(
            StatusCode::CREATED,
            &serde_json::json!({ "message": "Check your mail: a link in it finishes the sign-up." }),
        )),
        Ok(Joined::CheckMail) => Ok(check_mail(&ctx, StatusCode::CREATED, typed.email.trim())),
        Err(error) if as_json => Err(error),
        Err(error) => {
            let problem = error.problem();
            let none = FieldErrors::new();
            let text = match error.fields() {
                // A field of the form says it itself; anything else is said above it.
                Some(fields) if fields.keys().all(|name| FIELDS.contains(&&**name)) => None,
                Some(fields) => fields.values().next().cloned(),
                None => Some(format!("{}. {}", problem.title, problem.detail)),
            };
            let shown = form(&ctx, problem.status, &typed, error.fields().unwrap_or(&none), text);
            Ok(with_wait(shown, &error))
        }
    }
}

/// Names of the form's fields.
const FIELDS: [&str; 5] = ["first_name", "last_name", "username", "email", "password"];
