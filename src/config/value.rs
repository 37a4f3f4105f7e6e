//! The types that a value of the configuration can have, and how each is read.
//!
//! A variable is text, and the type of its key says what the text means: a password `0123456` or
//! `true` stays that text. In `anteroom.toml` the types are TOML's own.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use ipnet::IpNet;
use url::Url;

/// A value before its type is known.
#[derive(Clone, Debug)]
pub enum Raw {
    /// From a variable or a flag.
    Text(String),
    /// From `anteroom.toml`.
    Toml(toml_edit::Value),
}

impl Raw {
    /// The value as an error shows it, on one line.
    pub fn show(&self) -> String {
        use toml_edit::Value as Toml;
        match self {
            Self::Text(text) => quoted(text),
            Self::Toml(Toml::String(text)) => quoted(text.value()),
            Self::Toml(Toml::Integer(number)) => number.value().to_string(),
            Self::Toml(Toml::Float(number)) => number.value().to_string(),
            Self::Toml(Toml::Boolean(truth)) => truth.value().to_string(),
            Self::Toml(Toml::Datetime(_)) => "a time".to_owned(),
            Self::Toml(Toml::Array(_)) => "[…]".to_owned(),
            Self::Toml(Toml::InlineTable(_)) => "{…}".to_owned(),
        }
    }
}

/// A value that does not fit its key. Without words of its own the error says what was expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong(pub Option<String>);

impl Wrong {
    pub fn plain() -> Self {
        Self(None)
    }

    pub fn because(words: impl Into<String>) -> Self {
        Self(Some(words.into()))
    }
}

/// A type of the configuration.
pub trait Value: Sized {
    /// What a value looks like, as in "expected a whole number".
    const EXPECTED: &'static str;
    const SECRET: bool = false;
    const TEXT: bool = false;

    fn from_text(text: &str) -> Result<Self, Wrong>;

    /// Most types are strings in TOML too.
    fn from_toml(value: &toml_edit::Value) -> Result<Self, Wrong> {
        value.as_str().ok_or_else(Wrong::plain).and_then(Self::from_text)
    }

    fn read(raw: &Raw) -> Result<Self, Wrong> {
        match raw {
            Raw::Text(text) => Self::from_text(text),
            Raw::Toml(value) => Self::from_toml(value),
        }
    }

    /// As TOML; `None` where nothing is set.
    fn show(&self) -> Option<String>;
}

/// A TOML basic string. JSON's escapes are TOML's too, but for DEL.
pub fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string().replace('\u{7f}', "\\u007f")
}

impl Value for String {
    const EXPECTED: &'static str = "text";
    const TEXT: bool = true;

    fn from_text(text: &str) -> Result<Self, Wrong> {
        Ok(text.to_owned())
    }

    fn show(&self) -> Option<String> {
        Some(quoted(self))
    }
}

/// Text that is shown as `***` only. Its `Debug` masks it too.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The secret itself, for the place that uses it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "(none)" } else { "***" })
    }
}

impl Value for Secret {
    const EXPECTED: &'static str = "text";
    const SECRET: bool = true;
    const TEXT: bool = true;

    fn from_text(text: &str) -> Result<Self, Wrong> {
        Ok(Self(text.to_owned()))
    }

    fn show(&self) -> Option<String> {
        (!self.is_empty()).then(|| quoted("***"))
    }
}

impl Value for bool {
    const EXPECTED: &'static str = "true or false";

    fn from_text(text: &str) -> Result<Self, Wrong> {
        match text.trim().to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => Ok(true),
            "false" | "0" | "no" | "off" => Ok(false),
            _ => Err(Wrong::plain()),
        }
    }

    fn from_toml(value: &toml_edit::Value) -> Result<Self, Wrong> {
        value.as_bool().ok_or_else(Wrong::plain)
    }

    fn show(&self) -> Option<String> {
        Some(self.to_string())
    }
}

macro_rules! whole_numbers {
    ($($type:ty: $expected:literal),*) => {
        $( impl Value for $type {
            const EXPECTED: &'static str = $expected;

            fn from_text(text: &str) -> Result<Self, Wrong> {
                text.trim().parse().map_err(|_| Wrong::plain())
            }

            fn from_toml(value: &toml_edit::Value) -> Result<Self, Wrong> {
                value.as_integer().and_then(|n| n.try_into().ok()).ok_or_else(Wrong::plain)
            }

            fn show(&self) -> Option<String> {
                Some(self.to_string())
            }
        } )*
    };
}

whole_numbers!(
    u16: "a whole number from 0 to 65535",
    u32: "a whole number",
    usize: "a whole number"
);

impl<T: Value> Value for Option<T> {
    const EXPECTED: &'static str = T::EXPECTED;
    const SECRET: bool = T::SECRET;
    const TEXT: bool = T::TEXT;

    fn from_text(text: &str) -> Result<Self, Wrong> {
        T::from_text(text).map(Some)
    }

    fn from_toml(value: &toml_edit::Value) -> Result<Self, Wrong> {
        T::from_toml(value).map(Some)
    }

    fn show(&self) -> Option<String> {
        self.as_ref().and_then(T::show)
    }
}

/// A list: an array in TOML; in a variable its items stand apart by commas.
macro_rules! lists {
    ($($type:ty: $expected:literal),*) => {
        $( impl Value for Vec<$type> {
            const EXPECTED: &'static str = $expected;
            const SECRET: bool = <$type as Value>::SECRET;
            const TEXT: bool = true;

            fn from_text(text: &str) -> Result<Self, Wrong> {
                text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(<$type>::from_text).collect()
            }

            fn from_toml(value: &toml_edit::Value) -> Result<Self, Wrong> {
                value.as_array().ok_or_else(Wrong::plain)?.iter().map(<$type>::from_toml).collect()
            }

            fn show(&self) -> Option<String> {
                let items: Vec<String> = self.iter().filter_map(Value::show).collect();
                Some(format!("[{}]", items.join(", ")))
            }
        } )*
    };
}

lists!(
    String: "a list of words",
    Secret: "a list of texts",
    IpNet: "a list of networks such as 10.0.0.0/8",
    WebOrigin: "a list of origins such as https://app.example.org"
);

impl Value for PathBuf {
    const EXPECTED: &'static str = "a path";

    fn from_text(text: &str) -> Result<Self, Wrong> {
        if text.is_empty() { Err(Wrong::plain()) } else { Ok(Self::from(text)) }
    }

    fn show(&self) -> Option<String> {
        Some(quoted(&self.display().to_string()))
    }
}

impl Value for SocketAddr {
    const EXPECTED: &'static str = "an address and a port such as 127.0.0.1:5000";

    fn from_text(text: &str) -> Result<Self, Wrong> {
        let text = text.trim().replace("localhost:", "127.0.0.1:");
        text.parse().map_err(|_| Wrong::plain())
    }

    fn show(&self) -> Option<String> {
        Some(quoted(&self.to_string()))
    }
}

impl Value for IpNet {
    const EXPECTED: &'static str = "a network such as 10.0.0.0/8";

    /// A single address is the network of only itself.
    fn from_text(text: &str) -> Result<Self, Wrong> {
        text.parse().or_else(|_| text.parse::<IpAddr>().map(Self::from)).map_err(|_| Wrong::plain())
    }

    fn show(&self) -> Option<String> {
        Some(quoted(&self.to_string()))
    }
}

/// Scheme, host and port of a web page, exactly as a browser sends it (RFC 6454).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebOrigin(String);

impl WebOrigin {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Value for WebOrigin {
    const EXPECTED: &'static str = "an origin such as https://app.example.org";

    /// SEC-85: neither `*` nor `null`, nor anything after the port.
    fn from_text(text: &str) -> Result<Self, Wrong> {
        let url = Url::parse(text).map_err(|_| Wrong::plain())?;
        let origin = url.origin().ascii_serialization();
        let web = matches!(url.scheme(), "http" | "https");
        let exact = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
        let nobody = url.username().is_empty() && url.password().is_none();
        if web && exact && nobody { Ok(Self(origin)) } else { Err(Wrong::plain()) }
    }

    fn show(&self) -> Option<String> {
        Some(quoted(&self.0))
    }
}

/// Declares an enum whose variants are words of the configuration.
macro_rules! words {
    (
        $(#[$meta:meta])*
        $name:ident, $expected:literal { $( $(#[doc = $doc:literal])+ $variant:ident = $word:literal, )+ }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $( $(#[doc = $doc])+ $variant, )+ }

        impl $name {
            /// The word for it.
            pub fn word(self) -> &'static str {
                match self { $( Self::$variant => $word, )+ }
            }
        }

        impl $crate::config::value::Value for $name {
            const EXPECTED: &'static str = $expected;

            fn from_text(text: &str) -> Result<Self, $crate::config::value::Wrong> {
                match text.trim().to_ascii_lowercase().as_str() {
                    $( $word => Ok(Self::$variant), )+
                    _ => Err($crate::config::value::Wrong::plain()),
                }
            }

            fn show(&self) -> Option<String> {
                Some($crate::config::value::quoted(self.word()))
            }
        }
    };
}

pub(super) use words;
