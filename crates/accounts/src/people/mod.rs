//! People as the Admin sees them: the list, and what can be changed about an account.

mod change;
mod list;

pub use change::{Actor, Changed, PeopleError};
pub use list::{Counts, Cursor, PAGE, People, Person};
