//! Secrets: random tokens, and comparing without telling by the time how much was right.

/// Bytes of a token's randomness.
const TOKEN_BYTES: usize = 32;

/// A new token, 64 hexadecimal digits.
///
/// # Errors
/// When the system gives no random bytes.
pub(crate) fn token() -> Result<String, getrandom::Error> {
    let mut bytes = [0; TOKEN_BYTES];
    getrandom::fill(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// What is kept of a token. It has enough randomness of its own for a fast hash.
pub(crate) fn hash(token: &[u8]) -> blake3::Hash {
    blake3::hash(token)
}

/// Whether two secrets are equal; takes as long for any content.
pub(crate) fn equal(one: &[u8], other: &[u8]) -> bool {
    // Comparing hashes is constant in time.
    hash(one) == hash(other)
}
