//! What people are told by mail about their account (SEC-32, SEC-96): the words for each
//! [`Notice`], in one form for all. First what happened, when and where; then the one thing to
//! open; then what to do if it was somebody else.
//!
//! Names, reasons and what a browser calls itself are other people's texts: they stand in quotes,
//! cut, and in a form that no mail program makes a link of.

use accounts::{Circumstances, Client, Mail, Notice, Notices, User};
use askama::Template;
use base::Micros;
use time::OffsetDateTime;

use super::templates::{greeting, one_line, rendered};
use super::wrap::wrapped;
use crate::config::Config;
use crate::view::device;

/// Makes the mails about accounts. Every link is built from the configured public URL (SEC-64).
#[derive(Clone, Debug)]
pub struct AccountMails {
    origin: String,
}

#[derive(Template)]
#[template(path = "mail/notice.txt")]
struct NoticeText<'a> {
    letter: &'a Letter,
}

impl NoticeText<'_> {
    fn wrapped(&self, text: &str, lead: &str) -> String {
        wrapped(text, lead)
    }
}

#[derive(Template)]
#[template(path = "mail/notice.html")]
struct NoticeHtml<'a> {
    site: &'a str,
    subject: &'a str,
    letter: &'a Letter,
}

/// One mail, ready for both templates.
struct Letter {
    greeting: String,
    said: Words,
    when: String,
    /// The device and the address that it came from; or who acted instead.
    place: String,
    link: Option<(&'static str, String)>,
    steps: Vec<Step>,
}

/// The words of one kind of notice.
struct Words {
    subject: String,
    /// What happened, one paragraph each.
    what: Vec<String>,
    code: Option<String>,
    /// The one button: its label and its path.
    button: Option<(&'static str, String)>,
    /// Below the button.
    after: Option<String>,
    /// What it means if it was somebody else.
    otherwise: &'static str,
    /// What to do then.
    advice: Advice,
}

#[derive(Clone, Copy)]
enum Advice {
    /// Somebody else may be in the account, or know the password.
    Secure,
    /// Somebody else has changed the address: the link first, then as ever.
    TakeBack,
    /// Nothing happened that needs undoing.
    Nothing,
}

/// Something to do, with the address where it is done.
struct Step {
    words: String,
    link: Option<String>,
}

impl Step {
    /// The words as a link's text.
    fn label(&self) -> &str {
        self.words.trim_end_matches(':')
    }
}

impl AccountMails {
    pub fn new(config: &Config) -> Self {
        Self { origin: config.public_origin() }
    }

    fn link(&self, path: &str) -> String {
        format!("{}{path}", self.origin)
    }

    fn steps(&self, advice: Advice, site: &str) -> Vec<Step> {
        let step = |words: &str, path: Option<&str>| Step {
            words: words.to_owned(),
            link: path.map(|path| self.link(path)),
        };
        let tell = step(&format!("Tell an Admin of {site}."), None);
        let password = step("Set a new password; that signs everybody out:", Some("/forgot"));
        let sessions = step("See where your account is signed in:", Some("/settings/sessions"));
        match advice {
            Advice::Secure => vec![password, sessions, tell],
            Advice::TakeBack => {
                vec![step("Take your address back with the link above.", None), password, tell]
            }
            Advice::Nothing => Vec::new(),
        }
    }
}

impl Notices for AccountMails {
    fn mail(&self, site: &str, to: &str, user: &User, notice: &Notice, about: &Circumstances) -> Mail {
        let site = one_line(site);
        let said = words(&site, user, notice);
        let letter = Letter {
            greeting: greeting(&user.first_name),
            when: moment(about.at),
            place: about.client.as_ref().map_or_else(|| without_client(&site, notice), place),
            link: said.button.as_ref().map(|(label, path)| (*label, self.link(path))),
            steps: self.steps(said.advice, &site),
            said,
        };
        let subject = letter.said.subject.clone();
        Mail {
            kind: notice.kind().to_owned(),
            recipient: to.to_owned(),
            text: rendered(&NoticeText { letter: &letter }),
            html: rendered(&NoticeHtml { site: &site, subject: &subject, letter: &letter }),
            subject,
        }
    }
}

impl Words {
    fn new(subject: String, what: &str) -> Self {
        Self {
            subject,
            what: vec![what.to_owned()],
            code: None,
            button: None,
            after: None,
            otherwise: "It was not you? Then somebody else may be in your account. Do this now:",
            advice: Advice::Secure,
        }
    }

    fn and(mut self, more: impl Into<String>) -> Self {
        self.what.push(more.into());
        self
    }

    fn button(self, label: &'static str, path: impl Into<String>) -> Self {
        Self { button: Some((label, path.into())), ..self }
    }

    fn after(self, words: &str) -> Self {
        Self { after: Some(words.to_owned()), ..self }
    }

    fn otherwise(self, otherwise: &'static str, advice: Advice) -> Self {
        Self { otherwise, advice, ..self }
    }
}

const SOMEBODY_KNOWS: &str = "It was not you? Then somebody else may know your password. Do this now:";
const SIGNED_OUT: &str = "Every other device was signed out.";

fn words(site: &str, user: &User, notice: &Notice) -> Words {
    match notice {
        Notice::NewDevice | Notice::SignedInAfterFailures { .. } => signed_in(site, notice),
        Notice::SecondFactorFailed | Notice::SecondFactorLocked { .. } => failed(site, notice),
        Notice::PasswordChanged | Notice::PasswordReset | Notice::ResetLink { .. } => password(site, notice),
        Notice::ConfirmNewEmail { .. } | Notice::EmailChanged { .. } | Notice::EmailReverted => {
            address(site, user, notice)
        }
        Notice::IdentityLinked { .. } | Notice::IdentityUnlinked { .. } | Notice::LinkIdentity { .. } => {
            identity(site, notice)
        }
        Notice::EmailCode { code, for_step_up } => code_mail(site, code, *for_step_up),
        _ => factor(site, notice),
    }
}

fn signed_in(site: &str, notice: &Notice) -> Words {
    let words = match notice {
        Notice::SignedInAfterFailures { failures } => Words::new(
            format!("Sign-in to {site} after {}", tries(*failures)),
            &format!(
                "Somebody signed in to your account at {site}. Before that, {} failed.",
                tries(*failures)
            ),
        ),
        _ => Words::new(
            format!("New sign-in to {site}"),
            &format!(
                "Somebody signed in to your account at {site} from a browser or app that it was not used with before."
            ),
        ),
    };
    words
        .and("If that was you, there is nothing to do.")
        .button("See where you are signed in", "/settings/sessions")
}

fn failed(site: &str, notice: &Notice) -> Words {
    let words = match notice {
        Notice::SecondFactorLocked { until } => Words::new(
            format!("Your account at {site} is locked for a while"),
            "Somebody passed the first step of signing in to your account, or is signed in, and then gave a wrong \
             code or passkey too many times in a row.",
        )
        .and(format!("Nobody gets past the second step before {}, you neither. Then it works as ever.", moment(*until))),
        _ => Words::new(
            format!("A sign-in to {site} stopped at the second step"),
            "Somebody passed the first step of signing in to your account, the password in most cases, and then gave a \
             wrong code or passkey. That try did not get in.",
        )
        .and("If you mistyped, there is nothing to do."),
    };
    words
        .button("See where you are signed in", "/settings/sessions")
        .otherwise(SOMEBODY_KNOWS, Advice::Secure)
}

fn password(site: &str, notice: &Notice) -> Words {
    match notice {
        Notice::PasswordReset => Words::new(
            format!("Your password at {site} was reset"),
            &format!("A new password for your account at {site} was set with a link that was made for it."),
        )
        .and("Every device was signed out. Second factors stay as they were.")
        .button("Sign in", "/login"),
        Notice::ResetLink { token, by_admin } => Words::new(
            format!("Set a new password for {site}"),
            &match by_admin {
                true => format!("An Admin of {site} sends you this link. With it you set a new password for your account."),
                false => format!("Somebody asked for a link to set a new password for your account at {site}. Here it is."),
            },
        )
        .button("Set a new password", format!("/reset/{token}"))
        .after(
            "The link works once, within 30 minutes. It signs every device out, and it does not sign in: that is done \
             with the new password afterwards.",
        )
        .otherwise(
            "You did not ask for it? Then leave the link alone: without it your password stays as it is, and \
             nobody got in.",
            Advice::Nothing,
        ),
        _ => Words::new(
            format!("Your password at {site} was changed"),
            &format!("The password of your account at {site} was changed in its settings."),
        )
        .and(SIGNED_OUT)
        .button("See where you are signed in", "/settings/sessions"),
    }
}

fn address(site: &str, user: &User, notice: &Notice) -> Words {
    match notice {
        Notice::ConfirmNewEmail { token } => Words::new(
            format!("Confirm your new address for {site}"),
            &format!("The account {} at {site} is to have this address. Confirm that it is yours.", quoted(&user.username, 40)),
        )
        .button("Confirm this address", format!("/confirm-email/{token}"))
        .after("The link works once, within 24 hours.")
        .otherwise(
            "You did not ask for it? Then leave the link alone: without it nothing changes.",
            Advice::Nothing,
        ),
        Notice::EmailChanged { new_email, revert_token } => {
            let words = Words::new(
                format!("Your e-mail address at {site} was changed"),
                &format!("Your account at {site} has another address now: {}. Mails no longer come to this one.", hinted(new_email)),
            );
            match revert_token {
                Some(token) => words
                    .button("Take this change back", format!("/revert-email/{token}"))
                    .after(
                        "The link works for 7 days. It gives the account this address again, signs every device out, \
                         takes away second factors and passkeys that were set up since, and sends a link to set a new \
                         password. If you changed the address, leave it alone.",
                    )
                    .otherwise("It was not you? Then somebody else may be in your account. Do this now:", Advice::TakeBack),
                None => words.otherwise(
                    "It was not you? Then tell whoever runs the site: this address was never confirmed, so nothing \
                     can be taken back from here.",
                    Advice::Nothing,
                ),
            }
        }
        _ => Words::new(
            format!("Your e-mail address at {site} is back"),
            &format!("The change of your address at {site} was taken back: mails come here again, every device was signed out, and second factors and passkeys that were set up since are gone."),
        )
        .and("A second mail brings a link to set a new password. Use it: whoever changed the address may know the old one. Then look at your second factors, too.")
        .button("Look at your second factors", "/settings/2fa"),
    }
}

fn identity(site: &str, notice: &Notice) -> Words {
    const CONNECTIONS: &str = "/settings/connections";
    let look = "Look at your linked accounts";
    let named =
        |provider: &str, shown_as: &str| format!("{} at {}", quoted(shown_as, 60), quoted(provider, 40));
    match notice {
        Notice::LinkIdentity { token, provider, shown_as } => Words::new(
            format!("Link another way to sign in to {site}"),
            &format!(
                "Somebody signed in as {} and wants to sign in to your account at {site} that way. If that was you, \
                 open this link in the same browser.",
                named(provider, shown_as)
            ),
        )
        .button("Link it with my account", format!("/login/link/{token}"))
        .after("The link works once, within 30 minutes, and only in the browser that asked for it.")
        .otherwise(
            "It was not you? Then leave the link alone: without it nothing is linked, and nobody got in.",
            Advice::Nothing,
        ),
        Notice::IdentityUnlinked { provider, shown_as } => Words::new(
            format!("A way to sign in to {site} was unlinked"),
            &format!("{} no longer signs in to your account at {site}.", named(provider, shown_as)),
        )
        .and(SIGNED_OUT)
        .button(look, CONNECTIONS),
        Notice::IdentityLinked { provider, shown_as } => Words::new(
            format!("Another way to sign in to {site}"),
            &format!("{} can sign in to your account at {site} from now on.", named(provider, shown_as)),
        )
        .button(look, CONNECTIONS),
        // The others have their own words.
        _ => Words::new(format!("Something changed at {site}"), "Your account was changed."),
    }
}

fn code_mail(site: &str, code: &str, for_step_up: bool) -> Words {
    let words = match for_step_up {
        true => Words::new(
            format!("Your confirmation code for {site}"),
            "Type this code to show that it is you, where you are asked for it:",
        ),
        false => Words::new(format!("Your sign-in code for {site}"), "Type this code to finish signing in:"),
    };
    let words = Words { code: Some(one_line(code)), ..words };
    words
        .after(
            "It works once, within 5 minutes, and only where you asked for it. Give it to nobody: nobody who works for the \
             site asks for it.",
        )
        .otherwise(
            match for_step_up {
                true => "You did not ask for it? Then somebody else may be signed in to your account. Do this now:",
                false => SOMEBODY_KNOWS,
            },
            Advice::Secure,
        )
}

fn factor(site: &str, notice: &Notice) -> Words {
    const SETTINGS: &str = "/settings/2fa";
    const CODES: &str = "/settings/2fa/backup-codes";
    const PASSKEYS: &str = "/settings/passkeys";
    let look = "Look at your second factors";
    match notice {
        Notice::TotpOn => Words::new(
            format!("Authenticator app on for {site}"),
            &format!("Signing in to your account at {site} now asks for a code of an authenticator app."),
        )
        .and(SIGNED_OUT)
        .button(look, SETTINGS),
        Notice::TotpReplaced => Words::new(
            format!("New authenticator app for {site}"),
            "Another authenticator app takes the place of the one before, whose codes no longer work.",
        )
        .and(SIGNED_OUT)
        .button(look, SETTINGS),
        Notice::TotpOff => Words::new(
            format!("Authenticator app off for {site}"),
            &format!("Signing in to your account at {site} no longer takes codes of an authenticator app."),
        )
        .and(SIGNED_OUT)
        .button(look, SETTINGS),
        Notice::BackupCodesMade => Words::new(
            format!("New backup codes for {site}"),
            &format!("New backup codes were made for your account at {site}. Those before no longer work."),
        )
        .button("Look at your backup codes", CODES),
        Notice::BackupCodeUsed { left } => Words::new(
            format!("A backup code for {site} was used"),
            &format!("One of the backup codes of your account at {site} was used. {}", codes_left(*left)),
        )
        .button(if *left <= 3 { "Make new backup codes" } else { "Look at your backup codes" }, CODES),
        Notice::EmailCodesOn => Words::new(
            format!("Codes by e-mail on for {site}"),
            &format!("Signing in to your account at {site} now takes codes that are sent to this address. An authenticator app or a passkey is safer."),
        )
        .and(SIGNED_OUT)
        .button(look, SETTINGS),
        Notice::EmailCodesOff => Words::new(
            format!("Codes by e-mail off for {site}"),
            &format!("Signing in to your account at {site} no longer takes codes by e-mail."),
        )
        .and(SIGNED_OUT)
        .button(look, SETTINGS),
        Notice::PasskeyAdded { name } => Words::new(
            format!("Passkey added to your account at {site}"),
            &format!("The passkey {} can sign in to your account at {site} from now on.", quoted(name, 60)),
        )
        .and(SIGNED_OUT)
        .button("Look at your passkeys", PASSKEYS),
        Notice::PasskeyRemoved { name } => Words::new(
            format!("Passkey removed from your account at {site}"),
            &format!("The passkey {} no longer signs in to your account at {site}.", quoted(name, 60)),
        )
        .and(SIGNED_OUT)
        .button("Look at your passkeys", PASSKEYS),
        Notice::FactorsReset { by, reason } => factors_reset(site, by.as_deref(), reason),
        // The others have their own words above.
        _ => Words::new(format!("Something changed at {site}"), "Your account was changed."),
    }
}

fn factors_reset(site: &str, by: Option<&str>, reason: &str) -> Words {
    let who = match by {
        Some(username) => format!("The Admin {}", quoted(username, 40)),
        None => "The operator".to_owned(),
    };
    let words = Words::new(
        format!("Your second factors at {site} were removed"),
        &format!(
            "{who} removed every second factor of your account at {site}: authenticator app, passkeys, backup codes. Every device was signed out."
        ),
    );
    let words = if reason.trim().is_empty() {
        words
    } else {
        words.and(format!("The reason given: {}", quoted(reason, 300)))
    };
    words.button("Set up a second factor", "/settings/2fa").otherwise(
        "You did not ask for it? Then somebody may be pretending to be you. Do this now:",
        Advice::Secure,
    )
}

fn tries(failures: i64) -> String {
    if failures == 1 { "1 try".to_owned() } else { format!("{failures} tries") }
}

fn codes_left(left: i64) -> String {
    match left {
        ..=0 => "None is left: make new ones before you need one.".to_owned(),
        1 => "1 is left: make new ones before you need one.".to_owned(),
        2 | 3 => format!("{left} are left: make new ones before you need one."),
        _ => format!("{left} are left."),
    }
}

/// Where something was done that names no browser: by an Admin, whose address is not the person's to
/// know, or by the operator.
fn without_client(site: &str, notice: &Notice) -> String {
    match notice {
        Notice::FactorsReset { by: Some(_), .. } | Notice::ResetLink { by_admin: true, .. } => {
            format!("the administration of {site}")
        }
        _ => "the server's command line".to_owned(),
    }
}

/// "Firefox on Linux, IP address 203.0.113.9".
fn place(client: &Client) -> String {
    let device = device::name(&client.user_agent);
    // A program that calls itself like a host would stand there as a link.
    match client.user_agent.is_empty() || device.contains('.') {
        true => format!("IP address {}", client.ip),
        false => format!("{device}, IP address {}", client.ip),
    }
}

/// "20 November 2026, 14:05 UTC".
fn moment(at: Micros) -> String {
    let at = OffsetDateTime::from_unix_timestamp(at / base::SECOND).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    format!("{} {} {}, {:02}:{:02} UTC", at.day(), at.month(), at.year(), at.hour(), at.minute())
}

/// Somebody else's text: one line of at most `max` characters in quotes, with nothing in it that a
/// mail program would turn into a link.
fn quoted(text: &str, max: usize) -> String {
    let text = one_line(text.trim());
    let is_long = text.chars().count() > max;
    let mut out = String::from("“");
    for c in text.chars().take(max) {
        match c {
            '“' | '”' | '"' => out.push('\''),
            '<' | '>' => out.push(' '),
            // Characters that turn the direction of the text.
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {}
            '.' | ':' | '/' | '@' => {
                out.push(c);
                out.push(' ');
            }
            c => out.push(c),
        }
    }
    let mut out = out.trim_end().to_owned();
    out.push_str(if is_long { "…”" } else { "”" });
    out
}

/// Enough of an address to know one's own by: "b… at example. net".
fn hinted(email: &str) -> String {
    let (local, domain) = email.rsplit_once('@').unwrap_or((email, ""));
    let first: String = local.chars().take(1).collect();
    format!("{first}… at {}", quoted(domain, 80))
}

#[cfg(test)]
#[path = "notices_tests.rs"]
mod tests;
