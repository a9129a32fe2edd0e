//! What a collector wants to know: it asks a node for its part of blocks that other nodes flagged and that their logs say
//! the node took part in. The shipper fetches the list after each summary and hands it to the feed, which reports what
//! the detector remembers of the blocks, whatever the verdict.

use std::fs;
use std::net::IpAddr;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use blocksift_detector::key::BlockId;
use serde::Deserialize;
use tracing::{debug, info};

use crate::config::Wanted;

/// Blocks of one answer that are looked at; a collector names a hundred.
const BLOCKS_MAX: usize = 1_000;
/// Addresses of the host that are told.
const ADDRESSES_MAX: usize = 16;

/// A collector's answer at `/v1/wanted`.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
pub(crate) struct Answer {
    /// As `blk_<id>`.
    blocks: Vec<String>,
    /// What to ask for the next time: what comes after this.
    next: u64,
}

/// Asks, on the shipper's side.
#[derive(Debug)]
pub(crate) struct Asking {
    /// `None`: the agent does not ask, or nobody could answer.
    blocks: Option<SyncSender<Vec<BlockId>>>,
    /// What was asked for up to here was handed on.
    after: u64,
}

/// What became of a request.
#[derive(Debug)]
pub(crate) enum Asked {
    /// There is an answer.
    Answer(Answer),
    /// The receiver has no such thing.
    Unknown,
    /// Nothing is known for now.
    Failed,
}

impl Asking {
    /// With where the blocks arrive.
    pub(crate) fn new(wanted: &Wanted) -> (Self, Receiver<Vec<BlockId>>) {
        // One list may wait: a feed that does not get to it is asked again later.
        let (sender, receiver) = sync_channel(1);
        (Self { blocks: wanted.answer.then_some(sender), after: 0 }, receiver)
    }

    /// What to ask after, if at all.
    pub(crate) fn after(&self) -> Option<u64> {
        self.blocks.as_ref().map(|_| self.after)
    }

    /// Hands on what is wanted.
    pub(crate) fn take(&mut self, asked: Asked) {
        let Some(blocks) = &self.blocks else { return };
        match asked {
            Asked::Answer(answer) => {
                let known = answer.blocks.iter().take(BLOCKS_MAX);
                let ids: Vec<BlockId> = known
                    .filter_map(|block| Some(BlockId(block.strip_prefix("blk_")?.parse().ok()?)))
                    .collect();
                if ids.is_empty() || blocks.try_send(ids).is_ok() {
                    self.after = answer.next;
                }
            }
            Asked::Unknown => {
                info!("the receiver asks for nothing; it is no collector of blocksift, or an older one");
                self.blocks = None;
            }
            Asked::Failed => debug!("what is wanted is not known now"),
        }
    }
}

/// What other nodes' logs may call this host: its addresses, but for loopback and link-local ones.
pub(crate) fn addresses(wanted: &Wanted) -> Vec<String> {
    if !wanted.answer {
        return Vec::new();
    }
    wanted.addresses.clone().unwrap_or_else(|| {
        let v4 = fs::read_to_string("/proc/net/fib_trie").unwrap_or_default();
        let v6 = fs::read_to_string("/proc/net/if_inet6").unwrap_or_default();
        let mut all: Vec<IpAddr> = local_v4(&v4);
        all.extend(local_v6(&v6));
        all.sort();
        all.dedup();
        all.retain(|address| is_of_network(*address));
        all.iter().take(ADDRESSES_MAX).map(ToString::to_string).collect()
    })
}

fn is_of_network(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => !address.is_loopback() && !address.is_link_local(),
        IpAddr::V6(address) => !address.is_loopback() && !address.is_unicast_link_local(),
    }
}

/// Of the kernel's routes: an address, and behind it in a line of its own that it is this host's.
fn local_v4(routes: &str) -> Vec<IpAddr> {
    let mut found = Vec::new();
    let mut last: Option<IpAddr> = None;
    for line in routes.lines() {
        if let Some((_, address)) = line.split_once("|-- ") {
            last = address.trim().parse().ok();
        } else if line.contains("/32 host LOCAL") {
            found.extend(last);
        }
    }
    found
}

/// Each line begins with 32 hexadecimal digits.
fn local_v6(interfaces: &str) -> Vec<IpAddr> {
    let address =
        |line: &str| Some(IpAddr::from(u128::from_str_radix(line.get(..32)?, 16).ok()?.to_be_bytes()));
    interfaces.lines().filter_map(address).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTES: &str = "\
Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 0.0.0.0
        /0 universe UNICAST
     +-- 10.0.0.0/24 2 0 2
        |-- 10.0.0.7
           /32 host LOCAL
        |-- 10.0.0.255
           /32 link BROADCAST
     |-- 127.0.0.1
        /32 host LOCAL
";

    #[test]
    fn addresses_of_the_host_are_found() {
        assert_eq!(local_v4(ROUTES), ["10.0.0.7", "127.0.0.1"].map(|text| text.parse::<IpAddr>().unwrap()));
        let interfaces = "fd000000000000000000000000000007 02 40 00 80     eth0\nfe80 short\n";
        assert_eq!(local_v6(interfaces), ["fd00::7".parse::<IpAddr>().unwrap()]);
        assert!(!is_of_network("127.0.0.1".parse().unwrap()) && !is_of_network("fe80::1".parse().unwrap()));
        let off = Wanted { answer: false, addresses: Some(vec!["10.0.0.7".to_owned()]) };
        assert!(addresses(&off).is_empty());
        assert_eq!(addresses(&Wanted { answer: true, ..off }), ["10.0.0.7"]);
    }

    #[test]
    fn what_is_wanted_is_handed_on_once_and_asked_for_again_where_nobody_took_it() {
        let (mut asking, blocks) = Asking::new(&Wanted { answer: true, addresses: None });
        let answer = |next| {
            let blocks = ["blk_-7", "blk_", "../x", "blk_8"].map(str::to_owned).to_vec();
            Asked::Answer(Answer { blocks, next })
        };
        assert_eq!(asking.after(), Some(0));
        asking.take(answer(5));
        assert_eq!(asking.after(), Some(5));
        asking.take(answer(9));
        assert_eq!(asking.after(), Some(5), "the feed has not taken the first list");
        assert_eq!(blocks.try_recv().unwrap(), [BlockId(-7), BlockId(8)]);
        asking.take(answer(9));
        asking.take(Asked::Failed);
        assert_eq!(asking.after(), Some(9));
        asking.take(Asked::Unknown);
        assert_eq!(asking.after(), None);
    }
}
