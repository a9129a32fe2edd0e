//! Templates of messages that the catalogue lacks: their text with everything that varies masked.

use std::sync::LazyLock;

use crate::miner::mask::{ANY as OTHER, MESSAGE_BYTES_MAX, Mask, Masks};

/// The masks that are used without settings.
static MASKS: LazyLock<Option<Masks>> =
    LazyLock::new(|| Masks::new(&Mask::defaults(), MESSAGE_BYTES_MAX).ok());

/// The template text of a message: blocks, addresses, paths, ids and numbers become wildcards.
#[must_use]
pub fn mask(message: &[u8]) -> String {
    MASKS.as_ref().map_or_else(|| OTHER.to_owned(), |masks| masks.mask(message))
}
