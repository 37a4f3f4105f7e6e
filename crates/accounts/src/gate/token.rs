//! Secrets of cookies, each of a type of its own: what takes one takes no other (SEC-34).

use std::fmt;

use base::random::token_hash;

macro_rules! tokens {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq)]
        pub struct $name(String);

        impl $name {
            /// Reads a cookie's value. `None` where it cannot be a token of ours.
            pub fn from_cookie(value: &str) -> Option<Self> {
                let shaped = value.len() == 43
                    && value.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
                shaped.then(|| Self(value.to_owned()))
            }

            /// The value for the cookie.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            pub(crate) fn new(token: String) -> Self {
                Self(token)
            }

            pub(crate) fn hash(&self) -> String {
                token_hash(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(…)"))
            }
        }
    )*};
}

tokens! {
    /// The secret of a session (SEC-77).
    SessionToken;
    /// The secret of a challenge, which opens nothing but the second factor (SEC-33).
    ChallengeToken;
    /// The mark of a browser (SEC-32). It opens nothing.
    DeviceToken;
    /// Binds a trip to a provider to the browser that began it (SEC-68). It opens nothing.
    TripToken;
    /// The secret of an identity that waits to be linked (SEC-71). It opens nothing.
    LinkToken;
}
