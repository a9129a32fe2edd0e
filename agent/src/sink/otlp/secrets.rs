//! Certificates, keys and the token: read from files, used without being shown, and read again when a file changes.
//! Files that cannot be used in the place of ones that could are told once, and the old ones stay in use.

use std::fmt;
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use reqwest::Client;
use reqwest::header::HeaderValue;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use tracing::{info, warn};

use crate::config::{Otlp, Tls, Token};
use crate::ship::chain;

/// Bytes of a certificate, key or token file that are read; larger ones are something else.
const FILE_BYTES_MAX: u64 = 4 * 1_024 * 1_024;

/// Why certificates, keys or token cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SecretError {
    /// A file cannot be read.
    #[error("`{path}` cannot be read; check the path and its permissions")]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
    /// A file has no certificate or key in it.
    #[error("`{path}` is not a PEM file with a {wanted}")]
    Pem {
        /// Which.
        path: PathBuf,
        /// What should be in it.
        wanted: &'static str,
        /// Cause.
        source: pem::Error,
    },
    /// A certificate that TLS has no use for, or that does not belong to the key.
    #[error("`{path}` cannot be used for TLS")]
    Unusable {
        /// Which.
        path: PathBuf,
        /// Cause.
        source: rustls::Error,
    },
    /// The host trusts nobody.
    #[error(
        "this host has no certificate authorities that it trusts; set tls_ca, or install ca-certificates"
    )]
    NoAuthorities,
    /// No token where one should be.
    #[error("there is no token in {0}; it must be one word of visible ASCII characters")]
    NoToken(String),
    /// TLS or HTTP cannot be set up at all.
    #[error("TLS cannot be set up")]
    Tls(#[from] rustls::Error),
    /// The same, of HTTP.
    #[error("HTTP client cannot be set up")]
    Client(#[from] reqwest::Error),
}

/// What must not be shown.
#[derive(Clone)]
struct Secret(HeaderValue);

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Secret(..)")
    }
}

/// What tells that a file is another one by now: its inode, its size and the time of its last change.
type Stamp = Option<(u64, u64, i64, i64)>;

/// The secrets in use, and what they were read from.
#[derive(Debug)]
pub(super) struct Secrets {
    otlp: Otlp,
    stamps: Vec<Stamp>,
    authorization: Option<Secret>,
}

impl Secrets {
    /// Reads everything, and makes a client that uses it.
    ///
    /// # Errors
    /// When something cannot be used.
    pub(super) fn load(otlp: &Otlp) -> Result<(Self, Client), SecretError> {
        let stamps = stamps(otlp);
        let authorization = otlp.token.as_ref().map(authorization).transpose()?;
        let client = client(otlp)?;
        Ok((Self { otlp: otlp.clone(), stamps, authorization }, client))
    }

    /// A new client if a file has changed since it was read and the new ones can be used.
    pub(super) fn reload(&mut self) -> Option<Client> {
        let stamps = stamps(&self.otlp);
        if stamps == self.stamps {
            return None;
        }
        match Self::load(&self.otlp) {
            Ok((new, client)) => {
                info!("certificates and token were read again");
                *self = new;
                Some(client)
            }
            Err(error) => {
                self.stamps = stamps;
                warn!(
                    error = chain(&error),
                    "new certificates or token cannot be used; the old ones stay in use"
                );
                None
            }
        }
    }

    /// The header's value, if there is a token.
    pub(super) fn authorization(&self) -> Option<HeaderValue> {
        self.authorization.as_ref().map(|secret| secret.0.clone())
    }
}

fn stamps(otlp: &Otlp) -> Vec<Stamp> {
    let client = otlp.tls.client.iter().flat_map(|(certificate, key)| [certificate, key]);
    let token = match &otlp.token {
        Some(Token::File(path)) => Some(path),
        _ => None,
    };
    let files = otlp.tls.ca.iter().chain(client).chain(token);
    files
        .map(|path| {
            let metadata = fs::metadata(path).ok()?;
            Some((metadata.ino(), metadata.len(), metadata.mtime(), metadata.mtime_nsec()))
        })
        .collect()
}

fn client(otlp: &Otlp) -> Result<Client, SecretError> {
    let builder = Client::builder()
        // The reports hold log lines: they go to the configured address and nowhere else.
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        // From connecting to the last byte of the answer: a receiver that sends a byte now and then gains nothing.
        .timeout(otlp.timeout)
        .user_agent(concat!("blocksift-agent/", env!("CARGO_PKG_VERSION")));
    let builder = if otlp.endpoint.starts_with("https:") {
        builder.tls_backend_preconfigured(tls(&otlp.tls)?)
    } else {
        // Nothing is encrypted; this only keeps the client from looking for the host's authorities.
        builder.tls_backend_preconfigured(tls_with(RootCertStore::empty(), None)?)
    };
    Ok(builder.build()?)
}

fn tls(tls: &Tls) -> Result<ClientConfig, SecretError> {
    let roots = match &tls.ca {
        Some(path) => authorities(path)?,
        None => host_authorities()?,
    };
    tls_with(roots, tls.client.as_ref())
}

fn tls_with(roots: RootCertStore, client: Option<&(PathBuf, PathBuf)>) -> Result<ClientConfig, SecretError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots);
    let Some((certificate, key)) = client else { return Ok(builder.with_no_client_auth()) };
    let wrong = |path: &Path, wanted| {
        let path = path.to_owned();
        move |source| SecretError::Pem { path, wanted, source }
    };
    let chain = certificates(certificate)?;
    warn_if_readable_by_all(key);
    let private = PrivateKeyDer::from_pem_slice(&read(key)?).map_err(wrong(key, "private key"))?;
    builder
        .with_client_auth_cert(chain, private)
        .map_err(|source| SecretError::Unusable { path: certificate.clone(), source })
}

fn authorities(path: &Path) -> Result<RootCertStore, SecretError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|source| SecretError::Unusable { path: path.to_owned(), source })?;
    }
    Ok(roots)
}

/// The certificates in a PEM file, at least one.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, SecretError> {
    let wrong = |source| SecretError::Pem { path: path.to_owned(), wanted: "certificate", source };
    let bytes = read(path)?;
    let certificates: Vec<_> =
        CertificateDer::pem_slice_iter(&bytes).collect::<Result<_, _>>().map_err(wrong)?;
    if certificates.is_empty() {
        return Err(wrong(pem::Error::NoItemsFound));
    }
    Ok(certificates)
}

fn host_authorities() -> Result<RootCertStore, SecretError> {
    let mut roots = RootCertStore::empty();
    // Some of a host's authorities are always of a kind that is not understood.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() { Err(SecretError::NoAuthorities) } else { Ok(roots) }
}

fn authorization(token: &Token) -> Result<Secret, SecretError> {
    let (text, place) = match token {
        Token::File(path) => {
            warn_if_readable_by_all(path);
            (String::from_utf8(read(path)?).unwrap_or_default(), format!("`{}`", path.display()))
        }
        Token::Variable(name) => (std::env::var(name).unwrap_or_default(), format!("the variable `{name}`")),
    };
    let text = text.trim();
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(SecretError::NoToken(place));
    }
    let mut value =
        HeaderValue::try_from(format!("Bearer {text}")).map_err(|_| SecretError::NoToken(place))?;
    value.set_sensitive(true);
    Ok(Secret(value))
}

fn warn_if_readable_by_all(path: &Path) {
    if fs::metadata(path).is_ok_and(|metadata| metadata.mode() & 0o004 != 0) {
        warn!(path = %path.display(), "every user of this host can read a secret; take that away with chmod o-r");
    }
}

fn read(path: &Path) -> Result<Vec<u8>, SecretError> {
    let unreadable = |source| SecretError::Unreadable { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    let file = fs::File::open(path).map_err(unreadable)?;
    file.take(FILE_BYTES_MAX).read_to_end(&mut bytes).map_err(unreadable)?;
    Ok(bytes)
}
