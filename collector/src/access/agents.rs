//! Which nodes a sender may speak for, by its token or by the DNS names in its client certificate.

use std::collections::HashMap;
use std::sync::Arc;

use axum::http::{HeaderMap, header};
use glob::Pattern;
use rustls::client::verify_server_name;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::ParsedCertificate;

use super::random;

/// Nodes that a sender may speak for.
#[derive(Clone, Debug)]
pub(crate) enum Nodes {
    /// Every node: no senders are configured.
    Any,
    /// Those that a pattern fits.
    Fitting(Arc<[Pattern]>),
    /// Those that the certificate is valid for.
    Certified(Arc<CertificateDer<'static>>),
}

impl Nodes {
    /// Whether the sender may speak for `node`.
    pub(crate) fn allows(&self, node: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Fitting(patterns) => patterns.iter().any(|pattern| pattern.matches(node)),
            Self::Certified(certificate) => is_valid_for(certificate, node),
        }
    }
}

fn is_valid_for(certificate: &CertificateDer<'_>, node: &str) -> bool {
    let (Ok(certificate), Ok(name)) = (ParsedCertificate::try_from(certificate), ServerName::try_from(node))
    else {
        return false;
    };
    verify_server_name(&certificate, &name).is_ok()
}

/// Every configured sender.
#[derive(Debug, Default)]
pub(crate) struct Agents {
    by_token: HashMap<blake3::Hash, Arc<[Pattern]>>,
    by_certificate: bool,
}

impl Agents {
    /// Senders by the hash of their token; `by_certificate` if client certificates are verified.
    pub(crate) fn new(by_token: HashMap<blake3::Hash, Arc<[Pattern]>>, by_certificate: bool) -> Self {
        Self { by_token, by_certificate }
    }

    /// Whether anybody may send.
    pub(crate) fn open(&self) -> bool {
        self.by_token.is_empty() && !self.by_certificate
    }

    /// Nodes that the sender of a request may speak for; none if nobody knows it. `certificate` is the
    /// one that it showed and that was verified.
    pub(crate) fn sender(
        &self,
        headers: &HeaderMap,
        certificate: Option<&Arc<CertificateDer<'static>>>,
    ) -> Option<Nodes> {
        if self.open() {
            return Some(Nodes::Any);
        }
        if let Some(value) = headers.get(header::AUTHORIZATION) {
            let token = value.as_bytes().strip_prefix(b"Bearer ")?;
            return self.by_token.get(&random::hash(token)).cloned().map(Nodes::Fitting);
        }
        certificate.map(|certificate| Nodes::Certified(Arc::clone(certificate)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agents() -> Agents {
        let patterns: Arc<[Pattern]> =
            Arc::from([Pattern::new("dn*").unwrap(), Pattern::new("nn1").unwrap()]);
        Agents::new(HashMap::from([(random::hash(b"secret"), patterns)]), true)
    }

    fn bearer(text: &str) -> HeaderMap {
        HeaderMap::from_iter([(header::AUTHORIZATION, text.parse().unwrap())])
    }

    #[test]
    fn a_token_speaks_for_the_nodes_that_its_patterns_fit() {
        let nodes = agents().sender(&bearer("Bearer secret"), None).unwrap();
        assert!(nodes.allows("dn7") && nodes.allows("nn1") && !nodes.allows("nn2") && !nodes.allows("xdn7"));
        for wrong in ["Bearer secre", "Bearer ", "secret", "Basic secret"] {
            assert!(agents().sender(&bearer(wrong), None).is_none(), "{wrong}");
        }
        assert!(agents().sender(&HeaderMap::new(), None).is_none());
    }

    #[test]
    fn a_certificate_speaks_for_its_names() {
        let made =
            rcgen::generate_simple_self_signed(["dn1".to_owned(), "dn2.example.org".to_owned()]).unwrap();
        let certificate = Arc::new(made.cert.der().clone());
        let nodes = agents().sender(&HeaderMap::new(), Some(&certificate)).unwrap();
        assert!(nodes.allows("dn1") && nodes.allows("dn2.example.org"));
        assert!(!nodes.allows("dn2") && !nodes.allows("") && !nodes.allows("a b"));
        assert!(
            agents().sender(&bearer("Bearer wrong"), Some(&certificate)).is_none(),
            "a wrong token is told"
        );
    }

    #[test]
    fn without_senders_everybody_sends() {
        assert!(Agents::default().sender(&HeaderMap::new(), None).unwrap().allows("x"));
    }
}
