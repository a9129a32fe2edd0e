//! A request body: which format and content coding the headers name, and unpacking with a limit that is checked
//! while unpacking, so that a small body cannot grow without bound.

use std::borrow::Cow;
use std::io::Read;

use axum::http::HeaderMap;
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use flate2::read::MultiGzDecoder;

use super::reply::Refusal;

/// Bytes of a body, before and after unpacking; beyond it the request is refused with 413.
pub(crate) const BODY_BYTES_MAX: usize = 20 * 1024 * 1024;

/// Largest zstd window, as a power of two: 8 MiB, what every decoder has to support by RFC 8878.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

/// Encoding of an OTLP message; the reply uses the request's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// `application/x-protobuf`
    Protobuf,
    /// `application/json`
    Json,
}

impl Format {
    /// What `Content-Type` names; parameters such as a charset do not matter.
    ///
    /// # Errors
    /// [`Refusal::ContentType`] for any other type, and for none.
    pub(crate) fn of(headers: &HeaderMap) -> Result<Self, Refusal> {
        let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let essence = value.split(';').next().unwrap_or_default().trim();
        if essence.eq_ignore_ascii_case(Self::Protobuf.content_type()) {
            Ok(Self::Protobuf)
        } else if essence.eq_ignore_ascii_case(Self::Json.content_type()) {
            Ok(Self::Json)
        } else {
            Err(Refusal::ContentType)
        }
    }

    /// Its `Content-Type`.
    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::Protobuf => "application/x-protobuf",
            Self::Json => "application/json",
        }
    }
}

/// Content coding of a body; one at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coding {
    /// As it is.
    Identity,
    /// RFC 1952, several members allowed.
    Gzip,
    /// RFC 8878, several frames allowed.
    Zstd,
}

impl Coding {
    /// What `Content-Encoding` names.
    ///
    /// # Errors
    /// [`Refusal::ContentEncoding`] for another coding, and for several ones.
    pub(crate) fn of(headers: &HeaderMap) -> Result<Self, Refusal> {
        let mut values = headers.get_all(CONTENT_ENCODING).iter();
        let first = values.next().map(|value| value.to_str().unwrap_or("?").trim().to_ascii_lowercase());
        match (first.as_deref(), values.next()) {
            (None | Some("" | "identity"), None) => Ok(Self::Identity),
            (Some("gzip"), None) => Ok(Self::Gzip),
            (Some("zstd"), None) => Ok(Self::Zstd),
            _ => Err(Refusal::ContentEncoding),
        }
    }

    /// Unpacks a body.
    ///
    /// # Errors
    /// [`Refusal::TooLarge`] as soon as more than [`BODY_BYTES_MAX`] bytes come out, [`Refusal::Unpack`] if the
    /// body is not of this coding or is cut off.
    pub(crate) fn unpack(self, packed: &[u8]) -> Result<Cow<'_, [u8]>, Refusal> {
        match self {
            Self::Identity if packed.len() > BODY_BYTES_MAX => Err(Refusal::TooLarge),
            Self::Identity => Ok(Cow::Borrowed(packed)),
            Self::Gzip => bounded(MultiGzDecoder::new(packed)),
            Self::Zstd => {
                let mut decoder = zstd::Decoder::new(packed).map_err(|_| Refusal::Unpack)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG_MAX).map_err(|_| Refusal::Unpack)?;
                bounded(decoder)
            }
        }
    }
}

fn bounded<'a>(source: impl Read) -> Result<Cow<'a, [u8]>, Refusal> {
    let mut body = Vec::new();
    let limit = u64::try_from(BODY_BYTES_MAX).unwrap_or(u64::MAX);
    source.take(limit + 1).read_to_end(&mut body).map_err(|_| Refusal::Unpack)?;
    if body.len() > BODY_BYTES_MAX { Err(Refusal::TooLarge) } else { Ok(Cow::Owned(body)) }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn headers(name: &axum::http::HeaderName, values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(name.clone(), value.parse().unwrap());
        }
        headers
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packer.write_all(bytes).unwrap();
        packer.finish().unwrap()
    }

    #[test]
    fn content_type_may_have_parameters_and_any_case() {
        let of = |value: &str| Format::of(&headers(&CONTENT_TYPE, &[value]));
        assert_eq!(of("Application/JSON; charset=utf-8").unwrap(), Format::Json);
        assert_eq!(of("application/x-protobuf").unwrap(), Format::Protobuf);
        assert!(matches!(of("text/plain"), Err(Refusal::ContentType)));
        assert!(matches!(Format::of(&HeaderMap::new()), Err(Refusal::ContentType)));
    }

    #[test]
    fn one_known_coding_is_accepted() {
        let of = |values: &[&str]| Coding::of(&headers(&CONTENT_ENCODING, values));
        assert_eq!(of(&[]).unwrap(), Coding::Identity);
        assert_eq!(of(&["GZIP"]).unwrap(), Coding::Gzip);
        assert_eq!(of(&["zstd"]).unwrap(), Coding::Zstd);
        for refused in [&["br"][..], &["gzip, zstd"], &["gzip", "gzip"]] {
            assert!(matches!(of(refused), Err(Refusal::ContentEncoding)), "{refused:?}");
        }
    }

    #[test]
    fn every_coding_gives_the_body_back() {
        let body = b"body of a request".as_slice();
        let zstd = zstd::encode_all(body, 3).unwrap();
        for (coding, packed) in
            [(Coding::Identity, body.to_vec()), (Coding::Gzip, gzip(body)), (Coding::Zstd, zstd)]
        {
            assert_eq!(coding.unpack(&packed).unwrap(), body, "{coding:?}");
        }
    }

    #[test]
    fn a_bomb_stops_at_the_limit_and_the_limit_itself_passes() {
        let full = vec![0_u8; BODY_BYTES_MAX];
        let bomb = vec![0_u8; 10 * BODY_BYTES_MAX];
        assert_eq!(Coding::Gzip.unpack(&gzip(&full)).unwrap().len(), BODY_BYTES_MAX);
        assert!(matches!(Coding::Gzip.unpack(&gzip(&bomb)), Err(Refusal::TooLarge)));
        let zstd = zstd::encode_all(bomb.as_slice(), 3).unwrap();
        assert!(zstd.len() < 100_000);
        assert!(matches!(Coding::Zstd.unpack(&zstd), Err(Refusal::TooLarge)));
    }

    #[test]
    fn cut_off_and_foreign_bytes_are_refused() {
        let zstd = zstd::encode_all([7_u8; 1000].as_slice(), 3).unwrap();
        assert!(matches!(Coding::Zstd.unpack(&zstd[..zstd.len() - 3]), Err(Refusal::Unpack)));
        let gzip = gzip(&[7_u8; 1000]);
        assert!(matches!(Coding::Gzip.unpack(&gzip[..gzip.len() - 3]), Err(Refusal::Unpack)));
        assert!(matches!(Coding::Gzip.unpack(b"plain"), Err(Refusal::Unpack)));
        assert!(matches!(Coding::Zstd.unpack(b"plain"), Err(Refusal::Unpack)));
    }
}
