//! Tests of TLS and tokens against a server in the same process, with certificates made on the spot.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::RootCertStore;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufStream};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::config::{Tls, Token};
use crate::otlp::tests::report;

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Authority {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A certificate for loopback and its key, as PEM.
fn certificate(authority: &Authority) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    (params.signed_by(&key, authority).unwrap().pem(), key.serialize_pem())
}

/// A receiver that takes everything from clients whose certificate `clients` has signed, and answers 401 to any token
/// but `token`.
async fn serve(server: &Authority, clients: Option<&Authority>, token: &'static str) -> SocketAddr {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(authority.der().clone()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        }
    };
    let (certificate, key) = certificate(server);
    let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(builder.with_single_cert(chain, key).unwrap()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let Ok(stream) = acceptor.accept(stream).await else { continue };
            let mut stream = BufStream::new(stream);
            while let Some(authorization) = read_request(&mut stream).await {
                let status = if authorization == token { "200 OK" } else { "401 Unauthorized" };
                let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
                if stream.write_all(answer.as_bytes()).await.is_err() || stream.flush().await.is_err() {
                    break;
                }
            }
        }
    });
    address
}

/// The `Authorization` of a request.
async fn read_request(stream: &mut (impl AsyncBufReadExt + Unpin)) -> Option<String> {
    let (mut authorization, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        if line == "\r\n" {
            break;
        }
        let (name, value) = line.trim_end().split_once(": ").unwrap_or_default();
        match name.to_ascii_lowercase().as_str() {
            "authorization" => authorization = value.to_owned(),
            "content-length" => length = value.parse().unwrap(),
            _ => {}
        }
    }
    stream.read_exact(&mut vec![0; length]).await.ok()?;
    Some(authorization)
}

/// Files of an agent, and how it ships with them.
struct Scene {
    folder: TempDir,
    otlp: Otlp,
}

impl Scene {
    fn new(address: SocketAddr) -> Self {
        let otlp = Otlp {
            endpoint: format!("https://{address}"),
            compression: Compression::None,
            timeout: Duration::from_secs(10),
            tls: Tls::default(),
            token: None,
        };
        Self { folder: TempDir::new().unwrap(), otlp }
    }

    /// Replaces a file whole, as deployment tools do.
    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        let new = self.folder.path().join("new");
        std::fs::write(&new, text).unwrap();
        std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::rename(&new, &path).unwrap();
        path
    }

    fn trust(&mut self, authority: &Authority) {
        self.otlp.tls.ca = Some(self.write("ca.pem", &authority.pem()));
    }

    fn show(&mut self, (certificate, key): (String, String)) {
        self.otlp.tls.client = Some((self.write("client.pem", &certificate), self.write("client.key", &key)));
    }

    fn post(&self) -> Result<Post, SecretError> {
        Post::new(&self.otlp, Sender { node: "dn1".to_owned(), model: "m".to_owned(), addresses: Vec::new() })
    }
}

/// Why a report was not taken; empty if it was.
async fn send(post: &mut Post) -> String {
    match post.reports(&[report()]).await {
        Outcome::Taken { .. } => String::new(),
        Outcome::TryAgain { reason, .. } => reason,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_receiver_is_trusted_if_the_given_authority_signed_for_it() {
    let (ours, foreign) = (authority(), authority());
    let mut scene = Scene::new(serve(&ours, None, "").await);
    scene.trust(&ours);
    assert_eq!(send(&mut scene.post().unwrap()).await, "");
    scene.trust(&foreign);
    let mut post = scene.post().unwrap();
    assert!(send(&mut post).await.contains("invalid peer certificate"));
    // The right one is put in place: no restart is needed.
    scene.trust(&ours);
    assert_eq!(send(&mut post).await, "");
}

#[tokio::test]
async fn a_client_shows_its_certificate_and_a_renewed_one_is_used_without_a_restart() {
    let (ours, foreign) = (authority(), authority());
    let mut scene = Scene::new(serve(&ours, Some(&ours), "").await);
    scene.trust(&ours);
    assert_ne!(send(&mut scene.post().unwrap()).await, "", "without a certificate");
    scene.show(certificate(&foreign));
    let mut post = scene.post().unwrap();
    assert_ne!(send(&mut post).await, "", "with one of another authority");
    scene.show(certificate(&ours));
    assert_eq!(send(&mut post).await, "");
    // A bad one in its place is not used; nor is half of a new pair.
    scene.write("client.pem", "gone wrong");
    assert_eq!(send(&mut post).await, "");
    let (renewed, key) = certificate(&ours);
    scene.write("client.pem", &renewed);
    assert_eq!(send(&mut post).await, "");
    scene.write("client.key", &key);
    assert_eq!(send(&mut post).await, "");
}

#[tokio::test]
async fn a_token_is_sent_read_again_and_never_shown() {
    let ours = authority();
    let mut scene = Scene::new(serve(&ours, None, "Bearer s3cr3t").await);
    scene.trust(&ours);
    scene.otlp.token = Some(Token::File(scene.write("token", "0ld\n")));
    let mut post = scene.post().unwrap();
    assert!(send(&mut post).await.starts_with("401"));
    scene.write("token", " s3cr3t\n");
    assert_eq!(send(&mut post).await, "");
    scene.write("token", "two words");
    assert_eq!(send(&mut post).await, "", "the old one stays in use");
    assert!(!format!("{post:?} {:?}", scene.otlp).contains("s3cr3t"));
}

#[test]
fn secrets_that_cannot_be_used_are_named() {
    let mut scene = Scene::new("127.0.0.1:1".parse().unwrap());
    let told = |scene: &Scene| chain(&scene.post().unwrap_err());
    scene.otlp.tls.ca = Some("/absent/ca.pem".into());
    assert!(told(&scene).contains("/absent/ca.pem"));
    scene.otlp.tls.ca = Some(scene.write("ca.pem", "-----BEGIN NONSENSE-----"));
    assert!(told(&scene).contains("ca.pem` is not a PEM file with a certificate"));
    let ours = authority();
    scene.trust(&ours);
    let ((one, _), (_, other)) = (certificate(&ours), certificate(&ours));
    scene.show((one, other));
    assert!(told(&scene).contains("client.pem"), "a key of another certificate");
    scene.otlp.tls.client = None;
    scene.otlp.token = Some(Token::Variable("BLOCKSIFT_TEST_NO_SUCH_TOKEN".to_owned()));
    assert!(told(&scene).contains("BLOCKSIFT_TEST_NO_SUCH_TOKEN"));
    scene.otlp.token = Some(Token::File(scene.write("token", "\u{1}")));
    assert!(told(&scene).contains("token"));
}
