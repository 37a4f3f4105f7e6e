//! `[sessions]`: how long a sign-in lasts.

use base::{HOUR, Micros};

use super::section::section;

section! {
    /// How long a sign-in lasts (SEC-79).
    Sessions in "sessions" {
        /// Hours without a request after which a session ends.
        idle_hours: u32 = 12,
        /// Hours after which a session ends in any case.
        absolute_hours: u32 = 14 * 24,
        /// At most 1 hour idle and 24 hours in all, whatever the other two say.
        strict: bool = false,
    }
}

impl Sessions {
    pub(super) fn check(&self, wrong: &mut super::Problems) {
        if !(1..=8760).contains(&self.absolute_hours) {
            wrong.add("sessions.absolute_hours", "a whole number from 1 to 8760");
        }
        if self.idle_hours == 0 || self.idle_hours > self.absolute_hours {
            wrong.add("sessions.idle_hours", "a whole number from 1 to sessions.absolute_hours");
        }
    }

    /// Longest time between two requests, microseconds.
    pub fn idle(&self) -> Micros {
        let most = if self.strict { 1 } else { u32::MAX };
        Micros::from(self.idle_hours.min(most)) * HOUR
    }

    /// Longest life of a session, microseconds.
    pub fn absolute(&self) -> Micros {
        let most = if self.strict { 24 } else { u32::MAX };
        Micros::from(self.absolute_hours.min(most)) * HOUR
    }
}
