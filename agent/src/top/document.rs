//! Asks a running agent for its status: `GET /status` on its loopback port or socket.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, ensure};
use blocksift_detector::Ledger;
use reqwest::Client;
use serde::Deserialize;
use tokio::runtime::Runtime;

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Bytes of an answer that are read; an agent with 200 long paths says less.
const ANSWER_BYTES_MAX: usize = 4 * 1_024 * 1_024;

/// Where an agent answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Address {
    /// A loopback port.
    Tcp(SocketAddr),
    /// A socket in the file system.
    Unix(PathBuf),
}

impl FromStr for Address {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(path) = text.strip_prefix("unix:") {
            return Ok(Self::Unix(path.into()));
        }
        let text = text.trim_start_matches("http://").replacen("localhost:", "127.0.0.1:", 1);
        let wrong = "give an IP address with a port, or `unix:` and the path of a socket";
        text.parse().map(Self::Tcp).map_err(|_| wrong)
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(address) => write!(out, "{address}"),
            Self::Unix(path) => write!(out, "unix:{}", path.display()),
        }
    }
}

/// What the agent says. What this program does not know is left out, what an older agent does not say is zero.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct Document {
    pub(super) node: String,
    pub(super) version: String,
    pub(super) pid: u32,
    pub(super) started_ms: i64,
    pub(super) now_ms: i64,
    pub(super) round_ms: i64,
    pub(super) model: String,
    pub(super) threshold: f32,
    pub(super) endpoint: String,
    pub(super) sessions_max: u64,
    pub(super) spool_reports_max: u64,
    pub(super) spool_bytes_max: u64,
    pub(super) files: Files,
    pub(super) sessions: Sessions,
    pub(super) scores: Scores,
    pub(super) spool: Spool,
    pub(super) ship: Ship,
    pub(super) ledger: Ledger,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct Files {
    pub(super) followed: u64,
    pub(super) unreadable: u64,
    pub(super) lag_bytes: u64,
    pub(super) lag_ms: u64,
    pub(super) gaps: u64,
    pub(super) gap_bytes: u64,
    pub(super) list: Vec<File>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct File {
    pub(super) path: String,
    pub(super) offset: u64,
    pub(super) size: u64,
    pub(super) lag_bytes: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct Sessions {
    pub(super) open: u64,
    pub(super) scored: u64,
    pub(super) flagged: u64,
    pub(super) evicted: u64,
    pub(super) events_unknown: u64,
    pub(super) memory_bytes: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct Scores {
    pub(super) cache_hits: u64,
    pub(super) cache_misses: u64,
    pub(super) errors: u64,
    pub(super) reports: Vec<Report>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct Report {
    pub(super) block: String,
    pub(super) revision: u64,
    pub(super) flagged: bool,
    pub(super) score: f32,
    pub(super) reasons: Vec<String>,
    pub(super) end: String,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct Spool {
    pub(super) reports: u64,
    pub(super) bytes: u64,
    pub(super) full: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct Ship {
    pub(super) reports_shipped: u64,
    pub(super) reports_refused: u64,
    pub(super) dead_letters: u64,
    pub(super) bytes_shipped: u64,
    pub(super) failure: Option<String>,
    pub(super) taken_ms: Option<i64>,
}

/// An agent that can be asked.
#[derive(Debug)]
pub(super) struct Agent {
    address: Address,
    runtime: Runtime,
    client: Client,
    url: String,
}

impl Agent {
    /// The agent at an address; it need not be there yet.
    ///
    /// # Errors
    /// If there is no HTTP client.
    pub(super) fn at(address: &Address) -> anyhow::Result<Self> {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().context("no async runtime")?;
        let client = Client::builder().no_proxy().timeout(PATIENCE);
        let (client, url) = match address {
            Address::Tcp(port) => (client, format!("http://{port}/status")),
            Address::Unix(path) => (client.unix_socket(path.clone()), "http://localhost/status".to_owned()),
        };
        Ok(Self { address: address.clone(), runtime, client: client.build().context("no HTTP client")?, url })
    }

    /// How the agent is doing now.
    ///
    /// # Errors
    /// If it does not answer, or another program does.
    pub(super) fn ask(&self) -> anyhow::Result<Document> {
        let address = &self.address;
        let answer = self.runtime.block_on(async {
            let mut response = self.client.get(&self.url).send().await?.error_for_status()?;
            let mut answer = Vec::new();
            while let Some(chunk) = response.chunk().await?
                && answer.len() < ANSWER_BYTES_MAX
            {
                answer.extend_from_slice(&chunk);
            }
            Ok::<_, reqwest::Error>(answer)
        });
        let answer = answer.map_err(reqwest::Error::without_url).with_context(|| {
            format!("no agent answers at {address}; is it running, and is this its [status] listen?")
        })?;
        let document: Document = serde_json::from_slice(&answer)
            .with_context(|| format!("another program answers at {address}; give --status"))?;
        ensure!(document.pid != 0, "another program answers at {address}; give --status");
        Ok(document)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::thread::JoinHandle;

    use super::*;

    /// Answers one request on `stream` with `body`.
    fn answer(mut stream: impl Read + Write, body: &str) {
        let mut request = [0; 4_096];
        let read = stream.read(&mut request).unwrap();
        assert!(request[..read].starts_with(b"GET /status "));
        let length = body.len();
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}")
            .unwrap();
    }

    fn serve(body: &'static str) -> (Address, JoinHandle<()>) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = Address::Tcp(listener.local_addr().unwrap());
        (address, std::thread::spawn(move || answer(listener.accept().unwrap().0, body)))
    }

    #[test]
    fn what_is_known_is_read_and_what_is_not_is_left_out() {
        let (address, server) = serve(
            r#"{"pid":7,"node":"dn1","new":[1],"files":{"list":[{"path":"/a.log","size":9}]},"ship":{"failure":null}}"#,
        );
        let document = Agent::at(&address).unwrap().ask().unwrap();
        server.join().unwrap();
        assert_eq!((document.pid, document.node.as_str(), document.files.list[0].size), (7, "dn1", 9));
        assert_eq!(document.ship, Ship::default());
    }

    #[test]
    fn an_agent_is_asked_at_its_socket() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("agent.sock");
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let server = std::thread::spawn(move || answer(listener.accept().unwrap().0, r#"{"pid":7}"#));
        let document = Agent::at(&Address::Unix(path)).unwrap().ask().unwrap();
        server.join().unwrap();
        assert_eq!(document.pid, 7);
    }

    #[test]
    fn nobody_and_another_program_are_told() {
        let (address, server) = serve("{}");
        let error = format!("{:#}", Agent::at(&address).unwrap().ask().unwrap_err());
        server.join().unwrap();
        assert!(error.contains("another program answers"), "{error}");
        let error = format!("{:#}", Agent::at(&address).unwrap().ask().unwrap_err());
        assert!(error.contains("no agent answers at 127.0.0.1"), "{error}");
    }

    #[test]
    fn addresses_are_read_as_they_are_written() {
        for (text, shown) in
            [("127.0.0.1:1", "127.0.0.1:1"), ("http://localhost:1", "127.0.0.1:1"), ("unix:/a", "unix:/a")]
        {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), shown);
        }
        assert!("9465".parse::<Address>().is_err());
    }
}
