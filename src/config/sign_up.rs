//! `[sign_up]`: who may come in, until an Admin decides.

use super::Profile;
use super::section::section;
use super::value::words;

words! {
    /// Whether people may make their own accounts.
    SignUpMode, "open or closed" {
        /// Anybody, or anybody of the allowed domains.
        Open = "open",
        /// Only by the Admin.
        Closed = "closed",
    }
}

section! {
    /// Who may make an account. These are the values at the first start; from then on they are
    /// what an Admin saved on the settings page.
    SignUp in "sign_up" {
        /// `open` or `closed`.
        mode: SignUpMode = SignUpMode::Open,
        /// Domains that the e-mail address must be of; empty is any.
        allowed_domains: Vec<String> = Vec::new(),
        /// Whether an account works only once its e-mail address is confirmed. Not set, it is
        /// required in production and not elsewhere; production takes no `false` (SEC-11).
        verification_required: Option<bool> = None,
    }
}

impl SignUp {
    /// The domains in the form that addresses are compared with: lower case, A-labels.
    pub(super) fn make_canonical(&mut self) {
        if let Ok(domains) = accounts::SignUp::parse_domains(&self.allowed_domains.join(",")) {
            self.allowed_domains = domains;
        }
    }

    pub(super) fn check(&self, profile: Profile, wrong: &mut super::Problems) {
        if self.allowed_domains.iter().any(|domain| accounts::SignUp::parse_domains(domain).is_err()) {
            wrong.add("sign_up.allowed_domains", "a list of domains such as example.org");
        }
        if profile == Profile::Production && self.verification_required == Some(false) {
            wrong.say("sign_up.verification_required", "production always requires it; remove this line");
        }
    }
}
