//! What a section of the configuration is, and the macro that writes one down once: the struct, its
//! defaults, its keys with their documentation, and how a key is read and shown.

use super::value::{Raw, Wrong};

/// One key of a section.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Its name within the section.
    pub name: &'static str,
    /// Its documentation, a line an item.
    pub about: &'static [&'static str],
    /// What a value looks like, as an error says it.
    pub expected: &'static str,
    /// Never shown, neither by `anteroom config` nor in an error.
    pub secret: bool,
    /// Takes the text of a variable as it is, so an empty one means something.
    pub text: bool,
}

/// A section of the configuration.
pub trait Section {
    /// The name of its table in `anteroom.toml`.
    fn name(&self) -> &'static str;
    /// Its documentation, a line an item.
    fn about(&self) -> &'static [&'static str];
    fn keys(&self) -> &'static [Key];
    /// Sets the key `key`, which is one of [`Section::keys`].
    fn set(&mut self, key: &str, raw: &Raw) -> Result<(), Wrong>;
    /// The value of the key `key` as TOML, secrets masked; `None` where it is not set.
    fn show(&self, key: &str) -> Option<String>;
}

/// Declares a section: `section! { /// About it. Mail in "mail" { /// About the key. port: u16 = 0, } }`.
macro_rules! section {
    (
        $(#[doc = $about:literal])+
        $section:ident in $path:literal {
            $( $(#[doc = $doc:literal])+ $field:ident: $type:ty = $default:expr, )*
        }
    ) => {
        $(#[doc = $about])+
        #[derive(Clone, Debug)]
        pub struct $section {
            $( $(#[doc = $doc])+ pub $field: $type, )*
        }

        impl Default for $section {
            fn default() -> Self {
                Self { $( $field: $default, )* }
            }
        }

        impl $crate::config::section::Section for $section {
            fn name(&self) -> &'static str {
                $path
            }

            fn about(&self) -> &'static [&'static str] {
                &[$($about),+]
            }

            fn keys(&self) -> &'static [$crate::config::section::Key] {
                use $crate::config::value::Value;
                const KEYS: &[$crate::config::section::Key] = &[
                    $( $crate::config::section::Key {
                        name: stringify!($field),
                        about: &[$($doc),+],
                        expected: <$type as Value>::EXPECTED,
                        secret: <$type as Value>::SECRET,
                        text: <$type as Value>::TEXT,
                    }, )*
                ];
                KEYS
            }

            fn set(
                &mut self,
                key: &str,
                raw: &$crate::config::value::Raw,
            ) -> Result<(), $crate::config::value::Wrong> {
                use $crate::config::value::Value;
                $( if key == stringify!($field) {
                    self.$field = <$type as Value>::read(raw)?;
                    return Ok(());
                } )*
                Err($crate::config::value::Wrong::plain())
            }

            fn show(&self, key: &str) -> Option<String> {
                use $crate::config::value::Value;
                $( if key == stringify!($field) {
                    return self.$field.show();
                } )*
                None
            }
        }
    };
}

pub(super) use section;
