//! The little HTTP that tests and demo speak with a collector on loopback, or with an agent at its socket. HTTP/1.0, so that an answer is never chunked.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

/// Longest wait for a connection, and for each part of an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Status line and headers, in lower case.
    pub head: String,
    /// Body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as text, invalid UTF-8 replaced.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// GET of `path`.
pub fn get(address: SocketAddr, path: &str) -> io::Result<Answer> {
    exchange(address, &format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n"), &[])
}

/// POST of `body` with headers such as `Content-Type`.
pub fn post(address: SocketAddr, path: &str, headers: &[(&str, &str)], body: &[u8]) -> io::Result<Answer> {
    let mut head = format!("POST {path} HTTP/1.0\r\nHost: {address}\r\nContent-Length: {}\r\n", body.len());
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    exchange(address, &(head + "\r\n"), body)
}

/// GET of a JSON document; anything but a 200 with JSON is an error.
pub fn get_json(address: SocketAddr, path: &str) -> io::Result<Value> {
    let answer = get(address, path)?;
    if answer.status != 200 {
        return Err(io::Error::other(format!("GET {path} answered {}: {}", answer.status, answer.text())));
    }
    serde_json::from_slice(&answer.body).map_err(io::Error::other)
}

/// GET of `path` at a socket in the file system.
pub fn get_unix(socket: &Path, path: &str) -> io::Result<Answer> {
    let stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    converse(stream, &format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n"), &[])
}

fn exchange(address: SocketAddr, head: &str, body: &[u8]) -> io::Result<Answer> {
    let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    converse(stream, head, body)
}

fn converse(mut stream: impl Read + Write, head: &str, body: &[u8]) -> io::Result<Answer> {
    stream.write_all(head.as_bytes())?;
    stream.write_all(body)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    parse(&answer).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "not an HTTP answer"))
}

fn parse(answer: &[u8]) -> Option<Answer> {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
    let (head, body) = answer.split_at(end);
    let head = String::from_utf8_lossy(head).to_lowercase();
    let status = head.split_whitespace().nth(1)?.parse().ok()?;
    Some(Answer { status, head, body: body.get(4..)?.to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_taken_apart() {
        let answer = parse(b"HTTP/1.0 404 Not Found\r\nA: B\r\n\r\nno\r\n\r\n").unwrap();
        assert_eq!((answer.status, answer.text().as_str()), (404, "no\r\n\r\n"));
        assert!(answer.head.contains("a: b"));
        assert!(parse(b"HTTP/1.0 200 OK\r\n").is_none());
    }
}
