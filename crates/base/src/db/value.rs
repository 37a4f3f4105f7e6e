//! Values in and out: the arguments of a statement and the columns of a row.

use sqlx::Row as _;

use super::DbError;

/// One argument of a statement. NULLs keep their type, as PostgreSQL wants it.
#[derive(Clone, Copy, Debug)]
pub enum Arg<'a> {
    Text(Option<&'a str>),
    Int(Option<i64>),
    Bool(Option<bool>),
    Float(Option<f64>),
}

macro_rules! arg_from {
    ($($type:ty => |$value:ident| $made:expr;)*) => {$(
        impl<'a> From<$type> for Arg<'a> {
            fn from($value: $type) -> Self { $made }
        }
    )*};
}
arg_from! {
    &'a str => |v| Arg::Text(Some(v));
    &'a String => |v| Arg::Text(Some(v));
    Option<&'a str> => |v| Arg::Text(v);
    Option<&'a String> => |v| Arg::Text(v.map(String::as_str));
    &'a Option<String> => |v| Arg::Text(v.as_deref());
    i64 => |v| Arg::Int(Some(v));
    Option<i64> => |v| Arg::Int(v);
    bool => |v| Arg::Bool(Some(v));
    Option<bool> => |v| Arg::Bool(v);
    f64 => |v| Arg::Float(Some(v));
    Option<f64> => |v| Arg::Float(v);
}

impl rusqlite::ToSql for Arg<'_> {
    fn to_sql(&self) -> rusqlite::Result<rusqlite::types::ToSqlOutput<'_>> {
        use rusqlite::types::{ToSqlOutput, ValueRef};
        Ok(ToSqlOutput::Borrowed(match self {
            Arg::Text(Some(text)) => ValueRef::Text(text.as_bytes()),
            Arg::Int(Some(int)) => ValueRef::Integer(*int),
            Arg::Bool(Some(bool)) => ValueRef::Integer(i64::from(*bool)),
            Arg::Float(Some(float)) => ValueRef::Real(*float),
            Arg::Text(None) | Arg::Int(None) | Arg::Bool(None) | Arg::Float(None) => ValueRef::Null,
        }))
    }
}

/// A row as the driver holds it.
pub enum Row<'a> {
    Sqlite(&'a rusqlite::Row<'a>),
    Postgres(&'a sqlx::postgres::PgRow),
}

impl Row<'_> {
    /// The value of the named column.
    pub fn get<T: Column>(&self, column: &str) -> Result<T, DbError> {
        match self {
            Row::Sqlite(row) => T::sqlite(row, column),
            Row::Postgres(row) => T::postgres(row, column),
        }
    }

    /// The value of the column at `index`, counted from 0.
    pub fn at<T: Column>(&self, index: usize) -> Result<T, DbError> {
        match self {
            Row::Sqlite(row) => T::sqlite(row, index),
            Row::Postgres(row) => T::postgres(row, index),
        }
    }
}

/// A type that a column can hold.
pub trait Column: Sized {
    fn sqlite<I: rusqlite::RowIndex + std::fmt::Display + Clone>(
        row: &rusqlite::Row<'_>,
        at: I,
    ) -> Result<Self, DbError>;
    fn postgres<I: sqlx::ColumnIndex<sqlx::postgres::PgRow> + std::fmt::Display + Clone>(
        row: &sqlx::postgres::PgRow,
        at: I,
    ) -> Result<Self, DbError>;
}

macro_rules! column {
    ($($type:ty),*) => {$(
        impl Column for $type {
            fn sqlite<I: rusqlite::RowIndex + std::fmt::Display + Clone>(
                row: &rusqlite::Row<'_>, at: I,
            ) -> Result<Self, DbError> {
                row.get(at.clone()).map_err(|error| DbError::corrupt(&at.to_string(), error))
            }
            fn postgres<I: sqlx::ColumnIndex<sqlx::postgres::PgRow> + std::fmt::Display + Clone>(
                row: &sqlx::postgres::PgRow, at: I,
            ) -> Result<Self, DbError> {
                row.try_get(at.clone()).map_err(|error| DbError::corrupt(&at.to_string(), error))
            }
        }
    )*};
}
column!(String, Option<String>, i64, Option<i64>, bool, Option<bool>, f64, Option<f64>);

/// A type read from a whole row.
pub trait FromRow: Sized {
    fn from_row(row: &Row<'_>) -> Result<Self, DbError>;
}

macro_rules! from_first {
    ($($type:ty),*) => {$(
        impl FromRow for $type {
            fn from_row(row: &Row<'_>) -> Result<Self, DbError> { row.at(0) }
        }
    )*};
}
from_first!(String, Option<String>, i64, Option<i64>, bool, f64);

macro_rules! from_tuple {
    ($($name:ident $index:tt),*) => {
        impl<$($name: Column),*> FromRow for ($($name,)*) {
            fn from_row(row: &Row<'_>) -> Result<Self, DbError> { Ok(($(row.at::<$name>($index)?,)*)) }
        }
    };
}
from_tuple!(A 0, B 1);
from_tuple!(A 0, B 1, C 2);
from_tuple!(A 0, B 1, C 2, D 3);
from_tuple!(A 0, B 1, C 2, D 3, E 4);
from_tuple!(A 0, B 1, C 2, D 3, E 4, F 5);
