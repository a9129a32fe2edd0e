//! The program as it is run: its first line, its exit codes, signals, refusals, and what a kill leaves.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by a panic")]
#![expect(clippy::print_stderr, reason = "a test that is skipped says so")]

mod commands;
mod kafka;
mod kill;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Output, Stdio};

const ACCEPTED: &str = r#"{"resourceLogs":[{"resource":{"attributes":[{"key":"host.name","value":{"stringValue":"dn1"}}]},
    "scopeLogs":[{"logRecords":[{"eventName":"blocksift.session","body":{"arrayValue":{}},"attributes":[
    {"key":"blocksift.id","value":{"stringValue":"0123456789abcdef"}},
    {"key":"blocksift.revision","value":{"intValue":"3"}},
    {"key":"blocksift.node","value":{"stringValue":"dn1"}},
    {"key":"blocksift.block","value":{"stringValue":"blk_-7"}},
    {"key":"blocksift.pool","value":{"stringValue":""}},
    {"key":"blocksift.flagged","value":{"boolValue":true}},
    {"key":"blocksift.score","value":{"doubleValue":0.75}},
    {"key":"blocksift.threshold","value":{"doubleValue":0.5}},
    {"key":"blocksift.model","value":{"stringValue":"m-0"}},
    {"key":"blocksift.reasons","value":{"arrayValue":{"values":[{"stringValue":"score"}]}}},
    {"key":"blocksift.start","value":{"stringValue":"2026-01-01T00:00:00Z"}},
    {"key":"blocksift.end","value":{"stringValue":"2026-01-01T00:00:01.5Z"}}]}]}]}]}"#;

/// A running collector; killed when dropped.
struct Collector {
    child: Child,
    stdout: BufReader<ChildStdout>,
    address: String,
}

fn command(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_blocksift-collector"));
    command.args(arguments).current_dir(directory).env_remove("BLOCKSIFT_LOG");
    command
}

impl Collector {
    fn start(directory: &Path) -> Self {
        Self::start_with(directory, &["--listen", "127.0.0.1:0"])
    }

    fn start_with(directory: &Path, arguments: &[&str]) -> Self {
        let mut command = command(directory, arguments);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let address = line.trim_end().strip_prefix("listening on http://").unwrap().to_owned();
        Self { child, stdout, address }
    }

    fn request(&self, head: &str, body: &str) -> String {
        self.try_request(head, body).unwrap()
    }

    fn try_request(&self, head: &str, body: &str) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(&self.address)?;
        let length = body.len();
        let address = &self.address;
        let head = format!(
            "{head} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Type: application/json\r\n"
        );
        stream.write_all(format!("{head}Content-Length: {length}\r\n\r\n{body}").as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Signals the collector and returns its exit code, what else it wrote to stdout, and stderr.
    fn end(mut self, signal: &str) -> (Option<i32>, String, String) {
        self.signal(signal);
        let code = self.child.wait().unwrap().code();
        let (mut out, mut err) = (String::new(), String::new());
        self.stdout.read_to_string(&mut out).unwrap();
        self.child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
        (code, out, err)
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn refused(directory: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let Output { status, stderr, stdout } = command(directory, arguments).output().unwrap();
    assert!(stdout.is_empty(), "nothing is announced");
    (status.code(), String::from_utf8(stderr).unwrap())
}

#[test]
fn both_signals_end_it_cleanly_and_content_stays_out_of_its_logs() {
    for signal in ["-INT", "-TERM"] {
        let directory = tempfile::tempdir().unwrap();
        let collector = Collector::start(directory.path());
        let answer = collector.request("POST /v1/logs", ACCEPTED);
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("{}"), "{answer}");
        let refused = collector.request("POST /v1/logs", &ACCEPTED.replace("\"dn1\"", "\"secret\\nnode\""));
        assert!(refused.contains("`node` is not a name"), "{refused}");
        let (code, out, err) = collector.end(signal);
        assert_eq!((code, out.as_str()), (Some(0), ""), "{err}");
        assert!(err.contains("stopped") && !err.contains("secret") && !err.contains("blk_"), "{err}");
        assert!(directory.path().join("blocksift.sqlite").exists(), "the default database");
        assert!(!directory.path().join("blocksift.sqlite-wal").exists(), "the log is folded in");
    }
}

#[test]
fn what_was_acknowledged_survives_a_kill() {
    let directory = tempfile::tempdir().unwrap();
    let collector = Collector::start(directory.path());
    assert!(collector.request("POST /v1/logs", ACCEPTED).starts_with("HTTP/1.1 200"));
    let (code, ..) = collector.end("-KILL");
    assert_eq!(code, None);
    let collector = Collector::start(directory.path());
    let session = collector.request("GET /api/sessions/0123456789abcdef", "");
    assert!(session.contains("\"score\":0.75") && session.contains("\"revision\":3"), "{session}");
    let again = collector.request("POST /v1/logs", ACCEPTED);
    assert!(again.starts_with("HTTP/1.1 200"), "{again}");
    assert!(collector.request("GET /healthz", "").contains("\"reports_duplicate_total\":1"));
    assert_eq!(collector.end("-TERM").0, Some(0));
}

#[test]
fn an_open_connection_does_not_keep_it_from_ending() {
    let directory = tempfile::tempdir().unwrap();
    let collector = Collector::start(directory.path());
    let idle = TcpStream::connect(&collector.address).unwrap();
    assert!(collector.request("GET /healthz", "").contains("\"status\":\"ok\""));
    assert_eq!(collector.end("-TERM").0, Some(0));
    drop(idle);
}

#[test]
fn what_would_expose_it_or_cannot_work_is_refused_with_a_way_out() {
    let directory = tempfile::tempdir().unwrap();
    let (code, error) = refused(directory.path(), &["--listen", "0.0.0.0:0"]);
    assert_eq!(code, Some(1));
    assert!(
        error.contains("can be reached from other machines") && error.contains("--allow-remote"),
        "{error}"
    );
    assert!(!directory.path().join("blocksift.sqlite").exists(), "refused before anything is made");

    let collector = Collector::start(directory.path());
    let (code, error) = refused(directory.path(), &["--listen", &collector.address]);
    assert_eq!(code, Some(1));
    assert!(error.contains(&format!("{} is in use", collector.address)), "{error}");

    let (code, error) =
        refused(directory.path(), &["--listen", "127.0.0.1:0", "--database", "missing/a.sqlite"]);
    assert_eq!(code, Some(1));
    assert!(error.contains("`missing/a.sqlite` cannot be opened; check"), "{error}");

    let (code, error) = refused(directory.path(), &["--listen", "here"]);
    assert_eq!(code, Some(2));
    assert!(error.contains("127.0.0.1:4318"), "{error}");
}
