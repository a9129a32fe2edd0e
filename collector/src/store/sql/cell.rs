//! Values that come out of a row.

use postgres::types::{FromSql, Type};

use super::Result;

/// A row of an answer.
pub(crate) enum Row<'a> {
    Sqlite(&'a rusqlite::Row<'a>),
    Postgres(&'a postgres::Row),
}

impl Row<'_> {
    /// The value of a column, counted from 0.
    ///
    /// # Errors
    /// A value of another type.
    pub(crate) fn get<T: Cell>(&self, column: usize) -> Result<T> {
        Ok(match self {
            Self::Sqlite(row) => row.get(column)?,
            Self::Postgres(row) => T::of_postgres(row, column)?,
        })
    }
}

/// What a column can hold.
pub(crate) trait Cell: rusqlite::types::FromSql {
    fn of_postgres(row: &postgres::Row, column: usize) -> std::result::Result<Self, postgres::Error>;
}

/// A whole number of any size; a truth value, too, which is what conditions give.
struct Number(i64);

impl FromSql<'_> for Number {
    fn from_sql(
        sql_type: &Type,
        raw: &[u8],
    ) -> std::result::Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(match *sql_type {
            Type::INT8 => i64::from_sql(sql_type, raw)?,
            Type::INT4 => i32::from_sql(sql_type, raw)?.into(),
            _ => bool::from_sql(sql_type, raw)?.into(),
        }))
    }

    fn accepts(sql_type: &Type) -> bool {
        [Type::INT8, Type::INT4, Type::BOOL].contains(sql_type)
    }
}

macro_rules! cell {
    ($($type:ty: $raw:ty => $read:expr),* $(,)?) => {
        $(impl Cell for $type {
            fn of_postgres(row: &postgres::Row, column: usize) -> std::result::Result<Self, postgres::Error> {
                row.try_get::<_, $raw>(column).map($read)
            }
        }
        impl Cell for Option<$type> {
            fn of_postgres(row: &postgres::Row, column: usize) -> std::result::Result<Self, postgres::Error> {
                Ok(row.try_get::<_, Option<$raw>>(column)?.map($read))
            }
        })*
    };
}

cell! {
    i64: Number => |number| number.0,
    bool: Number => |number| number.0 != 0,
    f64: f64 => |number| number,
    String: String => |text| text,
    Vec<u8>: Vec<u8> => |bytes| bytes,
}
