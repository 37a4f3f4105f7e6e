//! People as the Admin sees them: the list, and what can be changed about an account or a role.

mod change;
mod factors;
mod list;
mod roles;

pub(crate) use change::is_last_admin;
pub use change::{Actor, Changed, PeopleError};
pub use list::{Counts, Cursor, FactorGlance, PAGE, People, Person};
pub use roles::{RoleChanged, RoleRow};
