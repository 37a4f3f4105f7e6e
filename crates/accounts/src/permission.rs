//! What a person may do: the permissions of the product and sets of them.

use std::fmt;
use std::str::FromStr;

macro_rules! permissions {
    ($($variant:ident $name:literal $words:literal,)*) => {
        /// One permission. Roles carry them; routes ask for them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Permission { $(#[doc = $words] $variant,)* }

        impl Permission {
            /// Every permission, in the order of the role form.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name as stored and shown, for example `users.manage`.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// What it allows, in words.
            pub fn words(self) -> &'static str {
                match self { $(Self::$variant => $words,)* }
            }
        }
    };
}

permissions! {
    ChatUse "chat.use" "Chat with models",
    ApiKeysUse "api_keys.use" "Make and use personal API keys",
    UsersRead "users.read" "See the list of people",
    UsersManage "users.manage" "Promote, demote, deactivate and reactivate people",
    UsersResetFactors "users.reset_factors" "Reset other people's second factors",
    RolesManage "roles.manage" "Make and change roles",
    InvitesManage "invites.manage" "Invite people",
    ModelsManage "models.manage" "Connect and change models",
    StatsRead "stats.read" "See usage statistics",
    BudgetsManage "budgets.manage" "Set budgets",
    AuditRead "audit.read" "Read the audit log",
    ErrorsRead "errors.read" "Read the error list",
    SettingsManage "settings.manage" "Change settings",
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The text is the name of no permission.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no permission named \"{0}\"")]
pub struct UnknownPermission(pub String);

impl FromStr for Permission {
    type Err = UnknownPermission;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.iter().copied().find(|p| p.name() == text).ok_or_else(|| UnknownPermission(text.to_owned()))
    }
}

/// A set of permissions.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Permissions(u32);

impl Permissions {
    pub const NONE: Self = Self(0);

    /// Every permission there is.
    pub fn all() -> Self {
        Permission::ALL.iter().copied().collect()
    }

    pub fn insert(&mut self, permission: Permission) {
        self.0 |= 1 << permission as u32;
    }

    pub fn contains(self, permission: Permission) -> bool {
        self.0 & (1 << permission as u32) != 0
    }

    /// Whether every permission of `other` is in this set too.
    pub fn covers(self, other: Self) -> bool {
        other.0 & !self.0 == 0
    }

    /// Whether it goes beyond chatting and API keys: such people need more than a code by e-mail (SEC-47).
    pub fn is_privileged(self) -> bool {
        self.iter().any(|p| !matches!(p, Permission::ChatUse | Permission::ApiKeysUse))
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub fn iter(self) -> impl Iterator<Item = Permission> {
        Permission::ALL.iter().copied().filter(move |p| self.contains(*p))
    }

    /// Reads a comma-separated list as the database gives it. Names that this version does not
    /// know grant nothing.
    pub(crate) fn from_list(list: Option<&str>) -> Self {
        list.unwrap_or_default().split(',').filter_map(|name| name.parse::<Permission>().ok()).collect()
    }
}

impl FromIterator<Permission> for Permissions {
    fn from_iter<I: IntoIterator<Item = Permission>>(items: I) -> Self {
        let mut set = Self::NONE;
        items.into_iter().for_each(|permission| set.insert(permission));
        set
    }
}

impl fmt::Debug for Permissions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(Permission::name)).finish()
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test panics to fail")]
mod tests {
    use super::*;

    #[test]
    fn names_read_back_and_sets_hold_what_was_put_in() {
        assert_eq!(Permission::ALL.len(), 13);
        for permission in Permission::ALL {
            assert_eq!(permission.to_string().parse::<Permission>().unwrap(), *permission);
        }
        assert!("users.delete".parse::<Permission>().is_err());
        let set = Permissions::from_list(Some("chat.use,from.the.future,stats.read"));
        assert_eq!(set.iter().collect::<Vec<_>>(), [Permission::ChatUse, Permission::StatsRead]);
        assert!(Permissions::all().covers(set) && !set.covers(Permissions::all()));
        assert!(set.covers(Permissions::NONE) && Permissions::from_list(None).is_empty());
    }
}
