//! How people join: what the sign-up page, the set-up link and the command line share.
//!
//! An account, its role, its Welcome Chat and its mails are one transaction: all of it or nothing.

use accounts::{
    ArriveError, Arrived, Busy, CheckError, Checked, Client, Created, FirstFactor, Limit, NewAccount, Onward,
    Pending, Prepared, ProviderRules, Purpose, SetUpError, SignUpError, ThrottleError, User, Vouched,
};
use base::{DbError, Tx};
use chat::chats::Welcome;
use serde_json::{Value, json};

use crate::app::App;
use crate::error::{AppError, FieldErrors};

/// What came of a sign-up.
pub enum Joined {
    /// The account is there; the factor is the password just chosen.
    Member(Box<Created>),
    /// A mail tells how it goes on, whether or not the address was known (SEC-11).
    CheckMail,
}

/// A person as JSON shows them to themselves.
pub fn user_json(user: &User) -> Value {
    json!({
        "id": user.id,
        "username": user.username,
        "email": user.email,
        "first_name": user.first_name,
        "last_name": user.last_name,
    })
}

/// The sign-up of page and JSON.
///
/// # Errors
/// 422 by field, 409 for a taken username or e-mail or where sign-up is closed, 429, 503.
pub async fn sign_up(app: &App, new: &NewAccount, client: &Client) -> Result<Joined, AppError> {
    let settings = app.accounts.settings();
    if !settings.sign_up.is_open() {
        return Err(AppError::Refused("Sign-up is closed here. Ask an Admin for an account.".into()));
    }
    // Past the limit nothing is worked out for anybody; only a form without errors counts.
    app.accounts.check_limit(Limit::SignUpIp, &client.key()).await.map_err(limited)?;
    let checked = app.accounts.check_sign_up(new.clone()).await.map_err(unfit)?;
    app.accounts.throttle(Limit::SignUpIp, &client.key()).await.map_err(limited)?;
    let prepared = prepare(app, checked).await?;
    if settings.sign_up.verification_required {
        return pending(app, &prepared, client).await;
    }
    let mut tx = app.db.begin().await?;
    let created = app
        .accounts
        .insert_account(&mut tx, &prepared, accounts::ROLE_USER, false, None)
        .await
        .map_err(refused)?;
    welcome(app, &mut tx, &created.user).await?;
    tx.commit().await?;
    app.outbox.notify_one();
    Ok(Joined::Member(Box::new(created)))
}

/// A sign-up that counts only once its mail was opened.
async fn pending(app: &App, prepared: &Prepared, client: &Client) -> Result<Joined, AppError> {
    let site = app.site();
    let mut tx = app.db.begin().await?;
    let may_mail = may_mail(app, &mut tx, prepared.email.as_str(), client).await?;
    let pending = app.accounts.insert_pending(&mut tx, prepared, may_mail).await.map_err(refused)?;
    if may_mail {
        let mail = match &pending {
            Pending::Created { user, verify_token } => {
                let link = app.link(&format!("/verify-email/{verify_token}"));
                app.mailer.verify_email(&site.name, &user.email, &user.first_name, &link)
            }
            Pending::EmailTaken { owner } => app.mailer.already_registered(
                &site.name,
                &owner.email,
                &owner.first_name,
                &app.link("/login"),
            ),
        };
        app.accounts.queue_mail(&mut tx, &mail).await?;
    }
    tx.commit().await?;
    app.outbox.notify_one();
    Ok(Joined::CheckMail)
}

/// Somebody comes from an identity provider: whose account it is, or a new one with all that everybody
/// finds on their first day.
///
/// # Errors
/// [`ArriveError`], in words for the page.
pub async fn arrive(
    app: &App,
    vouched: &Vouched,
    rules: &ProviderRules,
    onward: &Onward,
    client: &Client,
) -> Result<Arrived, ArriveError> {
    let mut tx = app.db.begin().await?;
    let arrived = app.accounts.arrive(&mut tx, vouched, rules, onward, client).await?;
    match &arrived {
        Arrived::Created { user, .. } => welcome(app, &mut tx, user).await?,
        Arrived::CheckMail { mail: Some((user, token)), .. } => {
            let link = app.link(&format!("/verify-email/{token}"));
            let mail = app.mailer.verify_email(&app.site().name, &user.email, &user.first_name, &link);
            app.accounts.queue_mail(&mut tx, &mail).await?;
        }
        Arrived::CheckMail { mail: None, .. } | Arrived::Known { .. } | Arrived::Prove { .. } => {}
    }
    tx.commit().await?;
    app.accounts.after_arrival(&arrived);
    Ok(arrived)
}

/// Sends the link to confirm an address again, once an hour at most.
pub async fn mail_verification(app: &App, user: &User, client: &Client) -> Result<(), AppError> {
    let mut tx = app.db.begin().await?;
    if may_mail(app, &mut tx, &user.email, client).await? {
        let token = app.accounts.renew_verification(&mut tx, user).await?;
        let link = app.link(&format!("/verify-email/{token}"));
        let mail = app.mailer.verify_email(&app.site().name, &user.email, &user.first_name, &link);
        app.accounts.queue_mail(&mut tx, &mail).await?;
    }
    tx.commit().await?;
    app.outbox.notify_one();
    Ok(())
}

/// One mail an hour to an address, for each network that asks, and a few in all (SEC-101).
async fn may_mail(app: &App, tx: &mut Tx, address: &str, client: &Client) -> Result<bool, AppError> {
    let from = format!("{address} from {}", client.key());
    for (limit, subject) in [(Limit::VerifyMail, &*from), (Limit::VerifyMailTotal, address)] {
        match app.accounts.throttle_in(tx, limit, subject).await {
            Ok(()) => {}
            Err(ThrottleError::Limited(_)) => return Ok(false),
            Err(ThrottleError::Db(error)) => return Err(error.into()),
        }
    }
    Ok(true)
}

/// Uses a verification link up: a sign-up is a full account from then on, with its Welcome Chat.
/// `false` for a link that does not work (any more).
pub async fn verify_email(app: &App, token: &str) -> Result<bool, AppError> {
    let mut tx = app.db.begin().await?;
    let Some(confirmed) = app.accounts.verify_email(&mut tx, token).await? else { return Ok(false) };
    if confirmed.was_pending {
        welcome(app, &mut tx, &confirmed.user).await?;
    }
    tx.commit().await?;
    app.outbox.notify_one();
    Ok(true)
}

/// The first Admin, by the set-up link (SEC-4).
///
/// # Errors
/// 404 for a link that does not work, else as [`sign_up`].
pub async fn set_up(app: &App, new: &NewAccount, token: &str) -> Result<FirstFactor, AppError> {
    if app.accounts.peek_token(Purpose::SetUp, token).await?.is_none() {
        return Err(AppError::NotFound);
    }
    let checked = app.accounts.check_new(new.clone()).await.map_err(unfit)?;
    let prepared = prepare(app, checked).await?;
    let mut tx = app.db.begin().await?;
    let created = match app.accounts.set_up(&mut tx, token, &prepared).await {
        Ok(created) => created,
        Err(SetUpError::BadToken | SetUpError::Done) => return Err(AppError::NotFound),
        Err(SetUpError::SignUp(error)) => return Err(refused(error)),
        Err(SetUpError::Db(error)) => return Err(error.into()),
    };
    welcome(app, &mut tx, &created.user).await?;
    tx.commit().await?;
    app.setup_done();
    app.outbox.notify_one();
    Ok(created.first_factor)
}

/// An account made by an operator (command line): its e-mail counts as verified, no mail is sent,
/// and it may go without a last name.
pub async fn create(app: &App, new: &NewAccount, role: &str) -> Result<User, AppError> {
    let nameless = new.last_name.is_empty();
    let mut new = new.clone();
    if nameless {
        new.last_name.push('-');
    }
    let mut checked = app.accounts.check_new(new).await.map_err(unfit)?;
    if nameless {
        checked.last_name.clear();
    }
    let prepared = prepare(app, checked).await?;
    let mut tx = app.db.begin().await?;
    let created = app.accounts.insert_account(&mut tx, &prepared, role, true, None).await.map_err(refused)?;
    first_chat(app, &mut tx, &created.user).await?;
    tx.commit().await?;
    Ok(created.user)
}

async fn prepare(app: &App, checked: Checked) -> Result<Prepared, AppError> {
    app.accounts.prepare_new(checked).await.map_err(|_| busy())
}

/// What everybody finds on their first day.
async fn welcome(app: &App, tx: &mut Tx, user: &User) -> Result<(), DbError> {
    first_chat(app, tx, user).await?;
    let mail = app.mailer.welcome(&app.site().name, &user.email, &user.first_name, &app.link("/chat"));
    app.accounts.queue_mail(tx, &mail).await?;
    Ok(())
}

async fn first_chat(app: &App, tx: &mut Tx, user: &User) -> Result<(), DbError> {
    let (site, model) = (app.site(), app.models.default_name(app));
    let welcome = Welcome {
        user_id: &user.id,
        first_name: &user.first_name,
        site: &site.name,
        model: model.as_deref(),
    };
    chat::chats::welcome(tx, &app.random, app.clock.now(), &welcome).await?;
    Ok(())
}

fn limited(error: ThrottleError) -> AppError {
    match error {
        ThrottleError::Limited(limited) => AppError::RateLimited(limited.retry_after_secs.unsigned_abs()),
        ThrottleError::Db(error) => error.into(),
    }
}

fn unfit(error: CheckError) -> AppError {
    match error {
        CheckError::Fields(errors) => AppError::Validation(by_field(errors)),
        CheckError::Busy(_) => busy(),
    }
}

fn busy() -> AppError {
    AppError::Busy(Busy::RETRY_AFTER_SECS.unsigned_abs())
}

fn by_field(errors: accounts::FieldErrors) -> FieldErrors {
    errors.0.into_iter().map(|(field, words)| (field.into(), words)).collect()
}

fn refused(error: SignUpError) -> AppError {
    match error {
        SignUpError::Taken(errors) => AppError::Conflict(by_field(errors)),
        SignUpError::NoRole(name) => AppError::field("role", format!("There is no role \"{name}\".")),
        SignUpError::Db(error) => error.into(),
    }
}
