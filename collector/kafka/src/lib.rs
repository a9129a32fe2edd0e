//! Kafka as the collector needs it: [`Writer`] puts messages into a topic and says when every replica has them, [`Reader`]
//! gets messages as a member of a group and moves the group's offsets when it is told to, [`create_topics`] makes topics.
//!
//! A crate of its own, behind boxed futures, because a future is compiled into whoever awaits it: the client's are large,
//! and are compiled here alone, once, instead of into the collector and each of its tests.

mod reader;
mod topics;
mod writer;

use std::fmt;
use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

use krafka::auth::{AuthConfig, TlsConfig};
use krafka::error::ErrorCode;
use krafka::{Kafka, KrafkaError};
use serde::Deserialize;

pub use reader::{Message, Reader, Standing};
pub use topics::{Topic, create_topics};
pub use writer::{Outgoing, Writer};

/// How this program calls itself to brokers.
const CLIENT_ID: &str = "blocksift-collector";
/// How long a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a broker may take to answer.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// A future whose size and code stay in this crate.
pub type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Where brokers are and what they ask for.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// Some of the brokers, `host:port`; they name the others.
    pub brokers: Vec<String>,
    /// Nothing: not encrypted.
    pub tls: Option<Tls>,
    /// Nothing: brokers ask for no name.
    pub login: Option<Login>,
}

/// How connections are encrypted. Files are PEM.
#[derive(Clone, Debug, Default)]
pub struct Tls {
    /// Authorities of the brokers' certificates; those of this machine if there is none.
    pub ca: Option<PathBuf>,
    /// A certificate and its key to show to brokers.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// A name and a password (SASL).
#[derive(Clone)]
pub struct Login {
    /// How they are shown.
    pub mechanism: Mechanism,
    /// Name.
    pub user: String,
    /// Password.
    pub password: String,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login")
            .field("mechanism", &self.mechanism)
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

/// How a password is shown to brokers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Mechanism {
    /// As it is; for encrypted connections.
    #[serde(rename = "plain")]
    Plain,
    /// SCRAM-SHA-256.
    #[serde(rename = "scram-sha-256")]
    ScramSha256,
    /// SCRAM-SHA-512.
    #[serde(rename = "scram-sha-512")]
    ScramSha512,
}

/// Kafka did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody has made a topic.
    #[error("Kafka ({brokers}): there is no topic `{topic}`; `blocksift-collector topics` makes it")]
    NoTopic {
        /// Who was asked.
        brokers: String,
        /// The topic's name.
        topic: String,
    },
    /// Anything else.
    #[error("Kafka ({brokers})")]
    Client {
        /// Who was asked.
        brokers: String,
        /// What the client says.
        source: KrafkaError,
    },
}

impl Cluster {
    async fn connect(&self) -> Result<Kafka, Error> {
        let builder = Kafka::builder(self.brokers.join(","))
            .client_id(CLIENT_ID)
            .connect_timeout(CONNECT_TIMEOUT)
            .request_timeout(REQUEST_TIMEOUT)
            .security(self.security());
        builder.connect().await.map_err(|source| self.error(source))
    }

    fn security(&self) -> AuthConfig {
        let plain = match &self.login {
            None => AuthConfig::plaintext(),
            Some(Login { mechanism, user, password }) => match mechanism {
                Mechanism::Plain => AuthConfig::sasl_plain(user, password),
                Mechanism::ScramSha256 => AuthConfig::sasl_scram_sha256(user, password),
                Mechanism::ScramSha512 => AuthConfig::sasl_scram_sha512(user, password),
            },
        };
        match &self.tls {
            None => plain,
            Some(tls) => plain.with_tls(tls.config()),
        }
    }

    fn error(&self, source: KrafkaError) -> Error {
        Error::Client { brokers: self.brokers.join(", "), source }
    }

    /// What went wrong about a topic.
    fn error_of(&self, topic: &str, source: KrafkaError) -> Error {
        match source {
            KrafkaError::UnknownTopic { .. }
            | KrafkaError::Broker { code: ErrorCode::UnknownTopicOrPartition, .. } => self.no_topic(topic),
            source => self.error(source),
        }
    }

    fn no_topic(&self, topic: &str) -> Error {
        Error::NoTopic { brokers: self.brokers.join(", "), topic: topic.to_owned() }
    }
}

impl Tls {
    fn config(&self) -> TlsConfig {
        let mut config = match &self.ca {
            Some(ca) => TlsConfig::new().with_ca_cert(ca.to_string_lossy()),
            None => TlsConfig::new().with_native_roots(),
        };
        if let Some((certificate, key)) = &self.identity {
            config = config.with_client_cert(certificate.to_string_lossy(), key.to_string_lossy());
        }
        config
    }
}

#[cfg(test)]
mod tests {
    use krafka::auth::SecurityProtocol;

    use super::*;

    fn cluster(tls: Option<Tls>, login: Option<Login>) -> Cluster {
        Cluster { brokers: vec!["kafka1:9092".to_owned(), "kafka2:9092".to_owned()], tls, login }
    }

    #[test]
    fn what_is_set_decides_the_protocol() {
        let login = || Login {
            mechanism: Mechanism::ScramSha512,
            user: "eve".to_owned(),
            password: "secret".to_owned(),
        };
        let protocol = |tls, login| cluster(tls, login).security().security_protocol().clone();
        assert_eq!(protocol(None, None), SecurityProtocol::Plaintext);
        assert_eq!(protocol(Some(Tls::default()), None), SecurityProtocol::Ssl);
        assert_eq!(protocol(None, Some(login())), SecurityProtocol::SaslPlaintext);
        assert_eq!(protocol(Some(Tls::default()), Some(login())), SecurityProtocol::SaslSsl);
        assert!(!format!("{:?}", login()).contains("secret"));
    }

    #[test]
    fn an_error_names_the_brokers() {
        let error = cluster(None, None).error(KrafkaError::Wakeup);
        assert_eq!(error.to_string(), "Kafka (kafka1:9092, kafka2:9092)");
        let error = cluster(None, None).error_of("t", KrafkaError::unknown_topic("t"));
        assert!(error.to_string().contains("no topic `t`"), "{error}");
    }
}
