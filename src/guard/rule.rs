//! What the table of routes says of each: who may call it, and what its requests are like.

use accounts::Permission;

use crate::app::App;

/// Who may call a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guard {
    /// Everybody.
    Public,
    /// Pages send a signed-in person on to /chat; JSON may pass.
    SignedOut,
    /// A session.
    Member,
    /// A session whose roles hold the permission.
    May(Permission),
    /// A challenge: the first factor was right, the second is still to come (SEC-35). It opens no
    /// other route, and nothing else opens these.
    Challenge,
}

impl Guard {
    /// As the published matrix writes it.
    pub fn words(self) -> String {
        match self {
            Self::Public => "public".to_owned(),
            Self::SignedOut => "signed out".to_owned(),
            Self::Member => "session".to_owned(),
            Self::May(permission) => format!("`{permission}`"),
            Self::Challenge => "challenge".to_owned(),
        }
    }
}

/// What the body of a route's requests may hold, and so how long it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// Fields, 16 KiB in all (SEC-88).
    Fields,
    /// A prompt beside them. Sent after the session ended, it is carried through the sign-in.
    Prompt,
    /// Such a prompt, sealed, in the field `carry` of the form; beside it 16 KiB as ever.
    Carried,
}

/// Longest body of fields, in bytes.
pub(super) const FIELDS: usize = 16 * 1024;

impl Body {
    /// Longest body in bytes. A character of a prompt takes up to 12 in a form (four bytes, each
    /// as %XX) and 11 where it is sealed; a prompt a little too long still comes through, to be
    /// told so with what was typed kept.
    pub(super) fn longest(self, app: &App) -> usize {
        match self {
            Self::Fields => FIELDS,
            Self::Prompt | Self::Carried => FIELDS + 16 * app.config.models.max_prompt_chars,
        }
    }
}

/// What a request means to the session of who sends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Session {
    /// Its person did something.
    Used,
    /// A page asks by itself: no sign of a person, so an idle session still runs out (SEC-79).
    Unasked,
    /// Everybody gets the same answer, so nobody looks who asks. Such answers may be cached.
    Ignored,
}

/// A route's guard and what its requests are like.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    pub route: &'static str,
    pub guard: Guard,
    pub body: Body,
    pub session: Session,
    /// Needs a proof of who one is that is not older than ten minutes (SEC-58).
    pub step_up: bool,
}

impl Rule {
    /// Longest body in bytes. A form that comes back through a step-up is sealed, which makes it
    /// half as long again, with the proof beside it.
    pub(super) fn longest(&self, app: &App) -> usize {
        let plain = self.body.longest(app);
        if self.step_up { 2 * plain } else { plain }
    }
}
