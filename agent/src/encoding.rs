//! How values are written in the store: one byte for the version of the format, then bincode. The only place that
//! knows bincode, which is unmaintained and pinned: another encoding would be another version here.

use std::io::Read;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Format of everything this version writes.
pub(crate) const VERSION: u8 = 4;
/// Bytes that decoding may ask for: a damaged length must not exhaust the memory.
const VALUE_BYTES_MAX: usize = 256 * 1_024 * 1_024;

/// How hard values are compressed: the fastest that zstd has by default.
const ZSTD_LEVEL: i32 = 1;

/// Why a value cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EncodingError {
    /// The value has a shape that the format does not carry.
    #[error("value cannot be encoded")]
    Encode(#[source] bincode::error::EncodeError),
    /// The bytes are no frame of zstd.
    #[error("value cannot be compressed or decompressed: the store is damaged")]
    Compress(#[source] std::io::Error),
    /// The bytes are not such a value.
    #[error("value cannot be decoded: the store is damaged")]
    Decode(#[source] bincode::error::DecodeError),
    /// The bytes go on behind the value.
    #[error("value has {0} bytes too many: the store is damaged")]
    Trailing(usize),
    /// The bytes are in the format of another version of the agent.
    #[error("value is in format {found}, this agent reads format {VERSION}")]
    Version {
        /// First byte, or 0 where there is none.
        found: u8,
    },
}

fn configuration() -> impl bincode::config::Config {
    bincode::config::standard().with_limit::<VALUE_BYTES_MAX>()
}

/// `value` as bytes.
///
/// # Errors
/// [`EncodingError::Encode`] for a value without a fixed shape (flattened fields, maps of unknown length).
pub(crate) fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, EncodingError> {
    let mut bytes = vec![VERSION];
    bincode::serde::encode_into_std_write(value, &mut bytes, configuration())
        .map_err(EncodingError::Encode)?;
    Ok(bytes)
}

/// Encodes and compresses values in which much repeats itself, and keeps the memory that this takes for the next one.
#[derive(Default)]
pub(crate) struct Packer {
    /// `None` before the first value.
    compressor: Option<zstd::bulk::Compressor<'static>>,
    plain: Vec<u8>,
    packed: Vec<u8>,
}

impl Packer {
    /// `value` as bytes, compressed.
    ///
    /// # Errors
    /// As [`encode`].
    pub(crate) fn pack<T: Serialize>(&mut self, value: &T) -> Result<Vec<u8>, EncodingError> {
        let Self { compressor, plain, packed } = self;
        let compressor = match compressor {
            Some(compressor) => compressor,
            None => {
                compressor.insert(zstd::bulk::Compressor::new(ZSTD_LEVEL).map_err(EncodingError::Compress)?)
            }
        };
        plain.clear();
        bincode::serde::encode_into_std_write(value, plain, configuration())
            .map_err(EncodingError::Encode)?;
        packed.clear();
        packed.reserve(zstd::zstd_safe::compress_bound(plain.len()));
        compressor.compress_to_buffer(plain.as_slice(), packed).map_err(EncodingError::Compress)?;
        Ok([&[VERSION], packed.as_slice()].concat())
    }
}

impl std::fmt::Debug for Packer {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Packer(..)")
    }
}

/// The value that [`Packer::pack`] made `bytes` of.
///
/// # Errors
/// As [`decode`], and for bytes that are not compressed or too many.
pub(crate) fn unpack<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, EncodingError> {
    unpack_as(VERSION, bytes)
}

/// As [`unpack`], of bytes that another version wrote.
///
/// # Errors
/// As [`unpack`].
pub(crate) fn unpack_as<T: DeserializeOwned>(version: u8, bytes: &[u8]) -> Result<T, EncodingError> {
    let (found, packed) = bytes.split_first().unwrap_or((&0, &[]));
    if *found != version {
        return Err(EncodingError::Version { found: *found });
    }
    let mut plain = vec![version];
    let decoder = zstd::Decoder::new(packed).map_err(EncodingError::Compress)?;
    let bytes_max = u64::try_from(VALUE_BYTES_MAX).unwrap_or(u64::MAX);
    decoder.take(bytes_max).read_to_end(&mut plain).map_err(EncodingError::Compress)?;
    decode_as(version, &plain)
}

/// The value that [`encode`] made `bytes` of.
///
/// # Errors
/// Any of [`EncodingError`] but `Encode`.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, EncodingError> {
    decode_as(VERSION, bytes)
}

/// As [`decode`], of bytes that another version wrote.
///
/// # Errors
/// As [`decode`].
pub(crate) fn decode_as<T: DeserializeOwned>(version: u8, bytes: &[u8]) -> Result<T, EncodingError> {
    let value = match bytes.split_first() {
        Some((first, value)) if *first == version => value,
        first => return Err(EncodingError::Version { found: first.map_or(0, |(first, _)| *first) }),
    };
    let (decoded, used) =
        bincode::serde::decode_from_slice(value, configuration()).map_err(EncodingError::Decode)?;
    match value.len() - used {
        0 => Ok(decoded),
        trailing => Err(EncodingError::Trailing(trailing)),
    }
}

#[cfg(test)]
mod tests {
    use blocksift_detector::Report;
    use proptest::prelude::*;
    use serde::Deserialize;

    use super::*;
    use crate::otlp::tests::report;

    /// Every shape that stored values have.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Value {
        number: u64,
        signed: i64,
        float: f32,
        text: String,
        bytes: Vec<u8>,
        pairs: Vec<(u32, Option<bool>)>,
    }

    fn value() -> impl Strategy<Value = Value> {
        let pairs = proptest::collection::vec((any::<u32>(), any::<Option<bool>>()), 0..8);
        (any::<u64>(), any::<i64>(), -1.0..1.0_f32, ".*", any::<Vec<u8>>(), pairs).prop_map(
            |(number, signed, float, text, bytes, pairs)| Value { number, signed, float, text, bytes, pairs },
        )
    }

    proptest! {
        #[test]
        fn decoding_gives_what_was_encoded(value in value()) {
            let bytes = encode(&value).unwrap();
            prop_assert_eq!(decode::<Value>(&bytes).unwrap(), value);
        }

        #[test]
        fn a_cut_or_extended_value_is_refused(value in value(), cut in any::<prop::sample::Index>()) {
            let mut bytes = encode(&value).unwrap();
            prop_assert!(decode::<Value>(&bytes[..cut.index(bytes.len())]).is_err());
            bytes.push(0);
            prop_assert!(matches!(decode::<Value>(&bytes), Err(EncodingError::Trailing(1))));
        }

        #[test]
        fn unpacking_gives_what_was_packed(value in value(), cut in any::<prop::sample::Index>()) {
            let bytes = Packer::default().pack(&value).unwrap();
            prop_assert_eq!(unpack::<Value>(&bytes).unwrap(), value);
            prop_assert!(unpack::<Value>(&bytes[..cut.index(bytes.len())]).is_err());
        }

        #[test]
        fn no_bytes_make_decoding_panic(mut bytes in any::<Vec<u8>>()) {
            drop(decode::<Value>(&bytes));
            bytes.insert(0, VERSION);
            drop(decode::<Value>(&bytes));
            drop(decode::<Report>(&bytes));
            drop(unpack::<Value>(&bytes));
        }
    }

    #[test]
    fn a_report_keeps_all_that_leaves_the_node() {
        assert_eq!(decode::<Report>(&encode(&report()).unwrap()).unwrap(), report());
    }

    #[test]
    fn another_version_is_told_apart_from_damage() {
        let error = decode::<u64>(&[1, 1]).unwrap_err();
        assert_eq!(error.to_string(), "value is in format 1, this agent reads format 4");
        assert!(matches!(decode::<u64>(&[]), Err(EncodingError::Version { found: 0 })));
    }
}
