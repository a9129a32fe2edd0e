//! Values that go into a statement.

use bytes::BytesMut;
use postgres::types::{IsNull, ToSql, Type, to_sql_checked};
use rusqlite::types::{ToSqlOutput, ValueRef};

/// A value of one of the types that both databases have.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Value<'a> {
    Int(Option<i64>),
    Real(f64),
    Text(&'a str),
    Bytes(&'a [u8]),
}

/// What can go into a statement.
pub(crate) trait ToValue {
    fn value(&self) -> Value<'_>;
}

macro_rules! to_value {
    ($($type:ty: $this:ident => $value:expr),* $(,)?) => {
        $(impl ToValue for $type {
            fn value(&self) -> Value<'_> {
                let $this = self;
                $value
            }
        })*
    };
}

to_value! {
    i64: this => Value::Int(Some(*this)),
    u32: this => Value::Int(Some(i64::from(*this))),
    bool: this => Value::Int(Some(i64::from(*this))),
    Option<i64>: this => Value::Int(*this),
    Option<bool>: this => Value::Int(this.map(i64::from)),
    f64: this => Value::Real(*this),
    str: this => Value::Text(this),
    String: this => Value::Text(this),
    Vec<u8>: this => Value::Bytes(this),
}

impl<T: ToValue + ?Sized> ToValue for &T {
    fn value(&self) -> Value<'_> {
        (**self).value()
    }
}

impl ToValue for Value<'_> {
    fn value(&self) -> Value<'_> {
        *self
    }
}

/// All values of a statement, in order.
pub(crate) trait Params {
    fn with<T>(self, run: impl FnOnce(&[Value<'_>]) -> T) -> T;
}

impl<V: ToValue, const N: usize> Params for [V; N] {
    fn with<T>(self, run: impl FnOnce(&[Value<'_>]) -> T) -> T {
        run(&self.each_ref().map(ToValue::value))
    }
}

impl Params for &[Value<'_>] {
    fn with<T>(self, run: impl FnOnce(&[Value<'_>]) -> T) -> T {
        run(self)
    }
}

impl Params for () {
    fn with<T>(self, run: impl FnOnce(&[Value<'_>]) -> T) -> T {
        run(&[])
    }
}

impl rusqlite::ToSql for Value<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match *self {
            Self::Int(None) => ValueRef::Null,
            Self::Int(Some(number)) => ValueRef::Integer(number),
            Self::Real(number) => ValueRef::Real(number),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
            Self::Bytes(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

impl Value<'_> {
    /// The type that PostgreSQL is told, so that it has nothing to guess.
    pub(super) fn postgres_type(&self) -> Type {
        match self {
            Self::Int(_) => Type::INT8,
            Self::Real(_) => Type::FLOAT8,
            Self::Text(_) => Type::TEXT,
            Self::Bytes(_) => Type::BYTEA,
        }
    }
}

impl ToSql for Value<'_> {
    fn to_sql(
        &self,
        sql_type: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match self {
            Self::Int(number) => number.to_sql(sql_type, out),
            Self::Real(number) => number.to_sql(sql_type, out),
            // The one character that PostgreSQL's texts cannot hold.
            Self::Text(text) if text.contains('\0') => text.replace('\0', "\u{fffd}").to_sql(sql_type, out),
            Self::Text(text) => text.to_sql(sql_type, out),
            Self::Bytes(bytes) => bytes.to_sql(sql_type, out),
        }
    }

    fn accepts(sql_type: &Type) -> bool {
        [Type::INT8, Type::FLOAT8, Type::TEXT, Type::BYTEA].contains(sql_type)
    }

    to_sql_checked!();
}
