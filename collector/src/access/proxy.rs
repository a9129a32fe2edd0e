//! People whom a proxy in front has logged in: it names them in a header. Only what comes from the proxy's own address is
//! believed; the same header from anybody else counts for nothing.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use axum::http::{HeaderMap, HeaderName};

use super::{Person, Role, random};

/// Bytes of a name.
const NAME_BYTES_MAX: usize = 255;

/// Addresses with the same first bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Network {
    address: u128,
    bits: u32,
}

impl FromStr for Network {
    type Err = ();

    /// An address, or one with the number of its bits that count: `10.0.0.0/8`.
    fn from_str(text: &str) -> Result<Self, ()> {
        let (address, bits) =
            text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.parse().map_err(|_| ())?;
        let of_family = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(of_family), |bits| bits.parse::<u32>().map_err(|_| ()))?;
        if bits > of_family {
            return Err(());
        }
        Ok(Self { address: number(address), bits: bits + 128 - of_family })
    }
}

impl Network {
    fn holds(self, address: IpAddr) -> bool {
        let different = self.address ^ number(address);
        different.checked_shr(128 - self.bits).unwrap_or(0) == 0
    }
}

/// An IPv4 address as the IPv6 address that stands for it.
fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => Ipv6Addr::to_bits(address),
    }
}

/// Who is believed about whom.
#[derive(Clone, Debug)]
pub(crate) struct Proxy {
    /// Where the proxy's connections come from.
    pub(crate) peers: Vec<Network>,
    /// What it names people in.
    pub(crate) header: HeaderName,
    /// Names with the role `operate`; others read.
    pub(crate) operators: BTreeSet<String>,
    /// What the tokens of [`super::CSRF_HEADER`] are made of.
    pub(crate) secret: String,
}

impl Proxy {
    /// Who makes a request that came from `peer`, if that is the proxy and it names somebody.
    pub(crate) fn person(&self, headers: &HeaderMap, peer: IpAddr) -> Option<Person> {
        if !self.peers.iter().any(|network| network.holds(peer)) {
            return None;
        }
        let mut names = headers.get_all(&self.header).iter();
        let name = names.next()?.to_str().ok()?.trim();
        // Two names are one too many: somebody may have passed one through.
        if names.next().is_some() || !(1..=NAME_BYTES_MAX).contains(&name.len()) {
            return None;
        }
        let role = if self.operators.contains(name) { Role::Operate } else { Role::View };
        let csrf = random::hash(format!("{} {name}", self.secret).as_bytes()).to_hex().to_string();
        Some(Person { name: name.to_owned(), role, csrf, by_proxy: true })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(network: &str, address: &str) -> bool {
        network.parse::<Network>().unwrap().holds(address.parse().unwrap())
    }

    #[test]
    fn networks_hold_their_addresses() {
        assert!(holds("10.0.0.5", "10.0.0.5") && !holds("10.0.0.5", "10.0.0.6"));
        assert!(holds("10.0.0.0/8", "10.9.9.9") && !holds("10.0.0.0/8", "11.0.0.0"));
        assert!(holds("10.0.0.5", "::ffff:10.0.0.5"), "as a socket of both families tells it");
        assert!(holds("fd00::/8", "fdff::1") && !holds("fd00::/8", "fe80::1"));
        assert!(holds("0.0.0.0/0", "192.0.2.1") && !holds("0.0.0.0/0", "2001:db8::1"));
        assert!(holds("::/0", "2001:db8::1"));
        for wrong in ["", "10.0.0.0/33", "10.0.0/8", "::/129", "proxy.example.org", "10.0.0.0/-1"] {
            assert!(wrong.parse::<Network>().is_err(), "{wrong}");
        }
    }
}
