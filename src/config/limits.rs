//! `[limits]`: how often is too often, and how much at once too much.

use accounts::Limit;

use super::section::section;

section! {
    /// How often one may try, and how much at once. The windows are fixed; the numbers may be changed.
    Limits in "limits" {
        /// Failed sign-ins in 5 minutes for one account from one address (SEC-27).
        sign_in_account_ip: u32 = 5,
        /// Sign-in posts a minute from one address (SEC-27).
        sign_in_ip: u32 = 30,
        /// Sign-ups an hour from one address (SEC-101).
        sign_up_ip: u32 = 5,
        /// Mails an hour to one address, for confirming it, asked for from one network (SEC-101).
        verify_mail: u32 = 1,
        /// The same from all networks together: a stranger who types an address does not use up
        /// its owner's mail.
        verify_mail_total: u32 = 5,
        /// Mails an hour to one address, for a new password (SEC-66).
        reset_mail: u32 = 3,
        /// Requests a minute for a new password from one address (SEC-66).
        reset_ip: u32 = 20,
        /// Codes by e-mail a minute to one account (SEC-49).
        email_code_minute: u32 = 1,
        /// The same an hour.
        email_code_hour: u32 = 5,
        /// The same a day.
        email_code_day: u32 = 20,
        /// Mails an hour to one account about wrong second factors (SEC-32).
        factor_mail: u32 = 1,
        /// Sign-ins with a passkey that pages prepare, a minute from one address.
        passkey_ip: u32 = 60,
        /// Sign-ins at providers that begin, a minute from one address (SEC-68).
        trip_ip: u32 = 60,
        /// The same that carry a prompt, which waits meanwhile.
        trip_prompt_ip: u32 = 10,
        /// Mails an hour to one address that link a provider's account (SEC-71).
        link_mail: u32 = 3,
        /// Answers that are being written for one person at once.
        generations_per_user: u32 = 8,
        /// Open event streams of one person: tabs that follow an answer.
        streams_per_user: u32 = 64,
    }
}

impl Limits {
    /// Every limit of how often, with the number in force.
    pub fn all(&self) -> [(Limit, u32); 15] {
        [
            (Limit::SignInAccountIp, self.sign_in_account_ip),
            (Limit::SignInIp, self.sign_in_ip),
            (Limit::SignUpIp, self.sign_up_ip),
            (Limit::VerifyMail, self.verify_mail),
            (Limit::VerifyMailTotal, self.verify_mail_total),
            (Limit::ResetMail, self.reset_mail),
            (Limit::ResetIp, self.reset_ip),
            (Limit::EmailCodeMinute, self.email_code_minute),
            (Limit::EmailCodeHour, self.email_code_hour),
            (Limit::EmailCodeDay, self.email_code_day),
            (Limit::FactorMail, self.factor_mail),
            (Limit::PasskeyIp, self.passkey_ip),
            (Limit::TripIp, self.trip_ip),
            (Limit::TripPromptIp, self.trip_prompt_ip),
            (Limit::LinkMail, self.link_mail),
        ]
    }

    pub(super) fn check(&self, wrong: &mut super::Problems) {
        let at_once = [
            ("generations_per_user", self.generations_per_user),
            ("streams_per_user", self.streams_per_user),
        ];
        for (key, number) in
            self.all().map(|(limit, number)| (limit.key(), number)).into_iter().chain(at_once)
        {
            if !(1..=1_000_000).contains(&number) {
                wrong.add(&format!("limits.{key}"), "a whole number from 1 to 1000000");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::section::Section as _;

    #[test]
    fn every_limit_has_its_key_and_default_here() {
        let limits = Limits::default();
        let expected: Vec<(&str, i64)> =
            Limit::ALL.iter().map(|limit| (limit.key(), limit.default_rate().count)).collect();
        let here: Vec<(&str, i64)> =
            limits.all().iter().map(|(limit, number)| (limit.key(), i64::from(*number))).collect();
        assert_eq!(here, expected);
        let keys: Vec<&str> = limits.keys().iter().map(|key| key.name).collect();
        let all = expected.iter().map(|(key, _)| *key).chain(["generations_per_user", "streams_per_user"]);
        assert_eq!(keys, all.collect::<Vec<_>>());
    }
}
