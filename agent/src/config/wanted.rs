//! `[wanted]`: whether the agent answers a collector that asks for its part of other nodes' flagged blocks.

use serde::Deserialize;
use toml::Spanned;

use super::Check;
use super::raw::Key;

/// Addresses that are told, at most.
const ADDRESSES_MAX: usize = 16;
/// Bytes of one.
const ADDRESS_BYTES_MAX: usize = 255;

/// A checked `[wanted]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Whether the agent asks what is wanted, and answers.
    pub(crate) answer: bool,
    /// What other nodes' logs call this one; `None` finds out.
    pub(crate) addresses: Option<Vec<String>>,
}

/// `[wanted]` as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawWanted {
    /// Whether the agent asks the collector with each summary which blocks it wants to know more of, since another
    /// node's flagged session names this one, and reports what it remembers of them. Default `true`.
    answer: Key<bool>,
    /// IP addresses or host names that other nodes' logs call this node by; they are told to the collector. Default: the
    /// addresses of this host's interfaces but for loopback.
    addresses: Key<Vec<Spanned<String>>>,
}

impl Check {
    pub(super) fn wanted(&mut self, raw: RawWanted) -> Wanted {
        let addresses = raw.addresses.map(|addresses| {
            if addresses.get_ref().len() > ADDRESSES_MAX {
                let what = format!("more than {ADDRESSES_MAX} addresses");
                self.problem(Some(addresses.span()), what, "name those that other nodes' logs have");
            }
            let addresses = addresses.into_inner();
            for address in &addresses {
                let text = address.get_ref();
                let allowed =
                    |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b':' | b'-' | b'_');
                if !(1..=ADDRESS_BYTES_MAX).contains(&text.len()) || !text.bytes().all(allowed) {
                    let fix = "use an IP address or a host name, without a port";
                    self.problem(Some(address.span()), "not an address", fix);
                }
            }
            addresses.into_iter().map(|address| address.into_inner().to_ascii_lowercase()).collect()
        });
        Wanted { answer: raw.answer.is_none_or(Spanned::into_inner), addresses }
    }
}
