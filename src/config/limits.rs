//! `[limits]`: how often is too often.

use super::section::section;

section! {
    /// How often one may try. The windows are fixed; the numbers may be changed.
    Limits in "limits" {
        /// Failed sign-ins in 5 minutes for one account from one address (SEC-27).
        sign_in_account_ip: u32 = 5,
        /// Sign-in posts a minute from one address (SEC-27).
        sign_in_ip: u32 = 30,
        /// Failed sign-ins in a row after which an account waits (SEC-28).
        account_failures: u32 = 10,
        /// Failed sign-ins in a row after which only recovery helps (SEC-28).
        account_failures_final: u32 = 100,
        /// Sign-ups an hour from one address (SEC-101).
        sign_up_ip: u32 = 5,
        /// Mails an hour to one address, for confirming it (SEC-101).
        sign_up_mail: u32 = 1,
        /// Live answers of one person at once.
        generations_per_user: u32 = 8,
        /// Open event streams of one person at once.
        streams_per_user: u32 = 64,
    }
}

impl Limits {
    pub(super) fn check(&self, wrong: &mut super::Problems) {
        let all = [
            ("limits.sign_in_account_ip", self.sign_in_account_ip),
            ("limits.sign_in_ip", self.sign_in_ip),
            ("limits.account_failures", self.account_failures),
            ("limits.account_failures_final", self.account_failures_final),
            ("limits.sign_up_ip", self.sign_up_ip),
            ("limits.sign_up_mail", self.sign_up_mail),
            ("limits.generations_per_user", self.generations_per_user),
            ("limits.streams_per_user", self.streams_per_user),
        ];
        for (key, number) in all {
            if !(1..=1_000_000).contains(&number) {
                wrong.add(key, "a whole number from 1 to 1000000");
            }
        }
        if self.account_failures_final < self.account_failures {
            wrong.add("limits.account_failures_final", "a whole number from limits.account_failures on");
        }
    }
}
