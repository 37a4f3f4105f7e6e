//! What every other crate stands on: the database, the clock, ids, randomness and sealed secrets.

pub mod clock;
pub mod db;
pub mod random;
pub mod seal;

pub use clock::{Clock, DAY, HOUR, MINUTE, Micros, SECOND};
pub use db::{Arg, Db, DbError, FromRow, Row, Sql, Tx};
pub use random::Random;
pub use seal::{KeyRing, Sealed};
