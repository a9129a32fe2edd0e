//! Clients of the cluster (`tests/hdfs/Load.java`): those that make the load, and the one that does what the injector says.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use super::Site;
use super::artifacts::Artifacts;

/// Longest time that a command may take: a write that waits for a hung DataNode takes half a minute, DataNodes of a busy
/// machine take minutes to come back.
const PATIENCE: Duration = Duration::from_secs(320);

/// A running client; dropped, it is killed, as a crash would.
pub struct Client {
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl Client {
    /// Starts one with the arguments of `Load.java`; its log is `clients/<name>.log`. It dies with the thread that calls.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start(site: &Site, artifacts: &Artifacts, name: &str, arguments: &[String]) -> io::Result<Self> {
        let log = site.folder.join("clients").join(format!("{name}.log"));
        let mut java = artifacts.java(site, "client", &log);
        java.arg("Load").args(arguments);
        java.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).process_group(0);
        let mut child = java.spawn()?;
        let (sender, lines) = channel();
        if let Some(output) = child.stdout.take() {
            thread::spawn(move || {
                for line in BufReader::new(output).lines().map_while(Result::ok) {
                    if sender.send(line).is_err() {
                        return;
                    }
                }
            });
        }
        Ok(Self { input: child.stdin.take(), child, lines })
    }

    /// One that takes commands.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn serving(site: &Site, artifacts: &Artifacts, name: &str) -> io::Result<Self> {
        let client = Self::start(site, artifacts, name, &["serve".to_owned()])?;
        client.line(PATIENCE)?;
        Ok(client)
    }

    /// As [`serving`](Self::serving), but one that gives up when the NameNode is away for a second.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn hasty(site: &Site, artifacts: &Artifacts, name: &str) -> io::Result<Self> {
        let client = Self::start(site, artifacts, name, &["serve", "2"].map(str::to_owned))?;
        client.line(PATIENCE)?;
        Ok(client)
    }

    /// Its next line of output.
    ///
    /// # Errors
    /// If it says nothing in time, or has ended.
    pub fn line(&self, patience: Duration) -> io::Result<String> {
        self.lines
            .recv_timeout(patience)
            .map_err(|error| io::Error::other(format!("a client is silent: {error}")))
    }

    /// Does one command and tells its answer.
    ///
    /// # Errors
    /// If there is no answer. An answer that begins with `failed` is none: faults make commands fail.
    pub fn ask(&mut self, command: &str) -> io::Result<String> {
        let input = self.input.as_mut().ok_or_else(|| io::Error::other("the client takes no commands"))?;
        writeln!(input, "{command}")?;
        input.flush()?;
        self.line(PATIENCE)
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Ends a client of the mix when its operation is done, and tells what it says at last.
///
/// # Errors
/// If it does not end.
pub fn finish(mut client: Client) -> io::Result<String> {
    drop(client.input.take());
    client.line(PATIENCE)
}

/// Numbers of blocks in an answer: its second word.
#[must_use]
pub fn blocks(answer: &str) -> Vec<i64> {
    let list = answer.split(' ').nth(1).unwrap_or_default();
    list.split(',').filter_map(|number| number.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_of_an_answer() {
        assert_eq!(blocks("created 1073741825,1073741826"), [1_073_741_825, 1_073_741_826]);
        assert!(blocks("holding  failed=3").is_empty());
        assert!(blocks("failed IOException no").is_empty());
    }
}
