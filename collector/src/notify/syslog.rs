//! Syslog of RFC 5424: over UDP, over TCP with counted octets (RFC 6587), or to the host's own daemon.

use std::io;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UdpSocket, UnixDatagram};
use tokio::time::timeout;

use super::deliver::Outcome;
use super::{Notice, message};

/// From looking the name up to the last byte.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of a host's name.
const HOST_BYTES_MAX: usize = 255;

/// Where a syslog daemon listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    /// Host and port.
    Udp(String),
    Tcp(String),
    Unix(PathBuf),
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let port = |place: &str| {
            place.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
        };
        match text.split_once(':') {
            Some(("udp", rest)) => {
                rest.strip_prefix("//").filter(|place| port(place)).map(|place| Self::Udp(place.to_owned()))
            }
            Some(("tcp", rest)) => {
                rest.strip_prefix("//").filter(|place| port(place)).map(|place| Self::Tcp(place.to_owned()))
            }
            Some(("unix", path)) if path.starts_with('/') => Some(Self::Unix(path.into())),
            _ => None,
        }
        .ok_or_else(|| "use \"udp://HOST:PORT\", \"tcp://HOST:PORT\" or \"unix:/dev/log\"".to_owned())
    }
}

impl Address {
    pub(super) async fn send(&self, notice: &Notice, page: Option<&str>) -> Outcome {
        let text = message::syslog(notice, page, &host());
        match timeout(TIMEOUT, self.write(&text)).await {
            Ok(Ok(())) => Outcome::Taken,
            Ok(Err(error)) => Outcome::TryAgain { reason: error.to_string(), after: None },
            Err(_) => Outcome::TryAgain { reason: "it took too long".to_owned(), after: None },
        }
    }

    async fn write(&self, text: &str) -> io::Result<()> {
        match self {
            Self::Udp(place) => {
                let address = tokio::net::lookup_host(place).await?.next();
                let address = address.ok_or_else(|| io::Error::other("the host has no address"))?;
                let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
                let socket = UdpSocket::bind(any).await?;
                socket.send_to(text.as_bytes(), address).await.map(drop)
            }
            Self::Tcp(place) => {
                let mut stream = TcpStream::connect(place).await?;
                stream.write_all(format!("{} {text}", text.len()).as_bytes()).await?;
                stream.shutdown().await
            }
            Self::Unix(path) => UnixDatagram::unbound()?.send_to(text.as_bytes(), path).await.map(drop),
        }
    }
}

/// This host's name as a syslog message may hold it.
fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    let usable =
        (1..=HOST_BYTES_MAX).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic());
    if usable { name.to_owned() } else { "-".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_parsed() {
        for text in ["udp://127.0.0.1:514", "tcp://log.example.org:601", "udp://[::1]:514", "unix:/dev/log"] {
            assert!(text.parse::<Address>().is_ok(), "{text}");
        }
        for text in
            ["", "127.0.0.1:514", "udp://host", "tcp://:1", "tcp://host:99999", "unix:log", "http://h:1"]
        {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
    }
}
