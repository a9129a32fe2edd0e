//! OTLP's `AnyValue` as plain types, and as whatever serde can read.

use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use serde::Deserializer;
use serde::de::value::{Error, MapDeserializer, SeqDeserializer};
use serde::de::{Error as _, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;

/// The text of a string value.
pub(super) fn text(value: Option<&AnyValue>) -> Option<&str> {
    match value?.value.as_ref()? {
        Any::StringValue(text) => Some(text),
        _ => None,
    }
}

/// The values of a list.
pub(super) fn list(value: Option<&AnyValue>) -> Option<&[AnyValue]> {
    match value?.value.as_ref()? {
        Any::ArrayValue(list) => Some(&list.values),
        _ => None,
    }
}

/// The fields of a value that has some.
pub(super) fn fields(value: Option<&AnyValue>) -> Option<&[KeyValue]> {
    match value?.value.as_ref()? {
        Any::KvlistValue(list) => Some(&list.values),
        _ => None,
    }
}

/// Reads a value of any type out of a value; no value is as good as JSON's null, and so are bytes, which no report has.
/// The decoders bound the depth to about 100.
pub(super) struct Reader(pub(super) Option<AnyValue>);

/// Names and values, as a structure or map.
pub(super) fn reader_of_fields<'de>(
    fields: impl Iterator<Item = (String, Reader)>,
) -> impl Deserializer<'de, Error = Error> {
    MapDeserializer::new(fields)
}

impl<'de> Deserializer<'de> for Reader {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0.and_then(|value| value.value) {
            Some(Any::StringValue(text)) => visitor.visit_string(text),
            Some(Any::BoolValue(flag)) => visitor.visit_bool(flag),
            Some(Any::IntValue(number)) => visitor.visit_i64(number),
            Some(Any::DoubleValue(number)) if number.is_finite() => visitor.visit_f64(number),
            Some(Any::DoubleValue(_)) => Err(Error::custom("a number is not finite")),
            Some(Any::ArrayValue(list)) => {
                let values = list.values.into_iter().map(|value| Self(Some(value)));
                visitor.visit_seq(SeqDeserializer::new(values))
            }
            Some(Any::KvlistValue(list)) => {
                let fields = list.values.into_iter().map(|field| (field.key, Self(field.value)));
                visitor.visit_map(MapDeserializer::new(fields))
            }
            Some(Any::BytesValue(_) | Any::StringValueStrindex(_)) | None => visitor.visit_unit(),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0.as_ref().and_then(|value| value.value.as_ref()) {
            Some(Any::BytesValue(_) | Any::StringValueStrindex(_)) | None => visitor.visit_none(),
            Some(_) => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct enum identifier ignored_any
    }
}

impl IntoDeserializer<'_, Error> for Reader {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}
