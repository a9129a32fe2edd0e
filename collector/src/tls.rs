//! TLS: certificate, key and the authorities of client certificates, read again when their files change.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use serde::Deserialize;
use thiserror::Error;
use tokio_rustls::TlsAcceptor;
use tracing::{error, info};

/// Time between two looks at the files.
const RELOAD_INTERVAL: Duration = Duration::from_secs(10);

/// `[tls]`: PEM files.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Files {
    /// The certificate, then those that lead to its authority.
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    /// Authorities of client certificates; without them none is asked for.
    pub(crate) client_ca: Option<PathBuf>,
}

/// The files cannot be used.
#[derive(Debug, Error)]
pub(crate) enum TlsError {
    #[error("`{path}` cannot be read as PEM; is it there, readable by this user, and does it hold {what}?")]
    Read { path: PathBuf, what: &'static str, source: rustls::pki_types::pem::Error },
    #[error("certificate `{certificate}` and key `{key}` cannot be used together")]
    Pair { certificate: PathBuf, key: PathBuf, source: rustls::Error },
    #[error("no client certificate can be verified with `{path}`")]
    Authorities { path: PathBuf, source: rustls::server::VerifierBuilderError },
    #[error("`{path}` holds no usable certificate of an authority")]
    NoAuthority { path: PathBuf },
    #[error("TLS cannot be set up")]
    Client(#[from] rustls::Error),
}

/// What connections are encrypted with.
#[derive(Clone)]
pub(crate) struct Tls {
    files: Files,
    config: Arc<RwLock<Arc<ServerConfig>>>,
    /// When the files had last changed.
    seen: Arc<Mutex<Vec<Option<SystemTime>>>>,
}

impl Tls {
    /// Reads the files, and again whenever one of them has changed, for as long as the runtime lives.
    ///
    /// # Errors
    /// [`TlsError`] now; later ones are logged and the old files stay in use.
    pub(crate) fn watch(files: Files) -> Result<Self, TlsError> {
        let seen = Arc::new(Mutex::new(stamps(&files)));
        let config = Arc::new(RwLock::new(load(&files)?));
        let tls = Self { files, config, seen };
        let watching = tls.clone();
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(RELOAD_INTERVAL).await;
                watching.look();
            }
        });
        Ok(tls)
    }

    /// Reads the files again if one of them has changed since the last look.
    pub(crate) fn look(&self) {
        let now = stamps(&self.files);
        {
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            if *seen == now {
                return;
            }
            *seen = now;
        }
        match load(&self.files) {
            Ok(new) => {
                *self.config.write().unwrap_or_else(PoisonError::into_inner) = new;
                info!("changed certificates are in use");
            }
            Err(error) => {
                let error = format!("{:#}", anyhow::Error::new(error));
                error!(error, "changed certificates cannot be used; the old ones stay");
            }
        }
    }

    /// For the next connection.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

fn stamps(files: &Files) -> Vec<Option<SystemTime>> {
    let stamp = |path: &Path| -> io::Result<SystemTime> { fs::metadata(path)?.modified() };
    let paths = [Some(&files.certificate), Some(&files.key), files.client_ca.as_ref()];
    paths.into_iter().flatten().map(|path| stamp(path).ok()).collect()
}

/// Reads and checks the files.
///
/// # Errors
/// [`TlsError`].
pub(crate) fn load(files: &Files) -> Result<Arc<ServerConfig>, TlsError> {
    let certificates = certificates(&files.certificate)?;
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|source| TlsError::Read {
        path: files.key.clone(),
        what: "a private key",
        source,
    })?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let pair =
        |source| TlsError::Pair { certificate: files.certificate.clone(), key: files.key.clone(), source };
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(pair)?;
    let builder = match &files.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let roots = Arc::new(authorities(path)?);
            // People come without one.
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider)
                .allow_unauthenticated()
                .build()
                .map_err(|source| TlsError::Authorities { path: path.clone(), source })?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder.with_single_cert(certificates, key).map_err(pair)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// TLS to a server whose certificate is of an authority in a PEM file, or else of one that the host trusts.
///
/// # Errors
/// [`TlsError`].
pub(crate) fn client(path: Option<&Path>) -> Result<ClientConfig, TlsError> {
    let roots = match path {
        Some(path) => authorities(path)?,
        None => {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            roots
        }
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(versions.with_root_certificates(roots).with_no_client_auth())
}

/// The authorities in a PEM file.
///
/// # Errors
/// [`TlsError::Read`] or [`TlsError::NoAuthority`].
fn authorities(path: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(certificates(path)?);
    if added == 0 { Err(TlsError::NoAuthority { path: path.to_owned() }) } else { Ok(roots) }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = |source| TlsError::Read { path: path.to_owned(), what: "certificates", source };
    let found: Vec<_> =
        CertificateDer::pem_file_iter(path).map_err(read)?.collect::<Result<_, _>>().map_err(read)?;
    if found.is_empty() {
        return Err(read(rustls::pki_types::pem::Error::NoItemsFound));
    }
    Ok(found)
}
