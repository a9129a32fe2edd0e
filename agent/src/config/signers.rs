//! `model_signed_by`: whose models the agent takes.

use minisign_verify::PublicKey;
use toml::Spanned;

use super::Check;
use super::raw::Key;

impl Check {
    /// Public keys, any of which may have signed the model; empty takes any model.
    pub(super) fn signers(&mut self, keys: Key<Vec<Spanned<String>>>) -> Vec<PublicKey> {
        let Some(keys) = keys else { return Vec::new() };
        if keys.get_ref().is_empty() {
            let fix = "name a key, or leave `model_signed_by` out to take any model";
            self.problem(Some(keys.span()), "no key is named, so no model could be taken", fix);
        }
        let mut signers = Vec::new();
        for key in keys.get_ref() {
            match PublicKey::from_base64(key.get_ref()) {
                Ok(signer) => signers.push(signer),
                Err(_) => self.problem(
                    Some(key.span()),
                    "not a public key of minisign",
                    "it is the second line of the .pub file: 56 characters that begin with RW",
                ),
            }
        }
        signers
    }
}
