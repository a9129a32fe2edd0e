//! Children of a test or a demo: started in their own process group, read line by line, ended by their id.
//! A [`Process`] that is dropped is killed, so nothing outlives its test.

use std::ffi::OsStr;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, getrlimit, kill_process, setrlimit};

pub use rustix::process::Signal;

/// How long [`poll`] rests between two looks.
const REST: Duration = Duration::from_millis(20);

/// A running child.
pub struct Process {
    name: String,
    child: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
}

impl Process {
    /// Starts `program` with `arguments`. It gets no input, and Ctrl-C on the terminal does not reach it: whoever
    /// started it decides when and in which order children end.
    pub fn start<A: AsRef<OsStr>>(
        name: &str,
        program: &OsStr,
        arguments: impl IntoIterator<Item = A>,
    ) -> io::Result<Self> {
        Self::start_with(name, program, arguments, &[])
    }

    /// As [`Self::start`], with further variables in its environment.
    pub fn start_with<A: AsRef<OsStr>>(
        name: &str,
        program: &OsStr,
        arguments: impl IntoIterator<Item = A>,
        environment: &[(&str, &OsStr)],
    ) -> io::Result<Self> {
        let mut child = Command::new(program)
            .args(arguments)
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .map_err(|error| {
                io::Error::new(error.kind(), format!("cannot start `{}`: {error}", program.display()))
            })?;
        let (sender, lines) = channel();
        if let Some(stdout) = child.stdout.take() {
            read_lines(stdout, sender.clone());
        }
        if let Some(stderr) = child.stderr.take() {
            read_lines(stderr, sender);
        }
        Ok(Self { name: name.to_owned(), child, lines, seen: Vec::new() })
    }

    /// What it was called when it was started.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The first line of its output, or of its errors, that contains `wanted`; lines seen before count too.
    pub fn wait_for_line(&mut self, wanted: &str, patience: Duration) -> io::Result<String> {
        if let Some(line) = self.seen.iter().find(|line| line.contains(wanted)) {
            return Ok(line.clone());
        }
        let deadline = Instant::now() + patience;
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    self.seen.push(line.clone());
                    if line.contains(wanted) {
                        return Ok(line);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    return Err(self.trouble(&format!("did not say `{wanted}` in time")));
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(self.trouble(&format!("ended without saying `{wanted}`")));
                }
            }
        }
    }

    /// Everything it has printed so far.
    pub fn output(&mut self) -> String {
        self.seen.extend(self.lines.try_iter());
        self.seen.join("\n")
    }

    /// Whether it still runs.
    pub fn running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Asks it to end (SIGTERM) and waits for that; kills it when it takes longer than `patience`.
    pub fn end(&mut self, patience: Duration) -> io::Result<ExitStatus> {
        if let Some(status) = self.child.try_wait()? {
            return Ok(status);
        }
        self.signal(Signal::TERM)?;
        let mut status = None;
        poll(patience, || {
            status = self.child.try_wait().ok().flatten();
            status.is_some()
        });
        match status {
            Some(status) => Ok(status),
            None => {
                self.kill();
                Err(self.trouble("did not end when asked to and was killed"))
            }
        }
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        match i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            Some(id) => Ok(kill_process(id, signal)?),
            None => Ok(()),
        }
    }

    /// Waits for it to end by itself; `None` if it does not in time.
    pub fn wait(&mut self, patience: Duration) -> io::Result<Option<ExitStatus>> {
        let mut status = None;
        poll(patience, || {
            status = self.child.try_wait().transpose();
            status.is_some()
        });
        status.transpose()
    }

    /// Ends it at once, as a crash would (SIGKILL).
    pub fn kill(&mut self) {
        // Both fail only if it has ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }

    fn trouble(&mut self, what: &str) -> io::Error {
        let output = self.output();
        io::Error::other(format!("{} {what}; it printed:\n{output}", self.name))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Lets this process, and those that it starts from now on, open as many files as the system allows.
pub fn raise_open_files() -> io::Result<()> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    Ok(setrlimit(Resource::Nofile, limit)?)
}

/// Looks until `done` holds or `patience` is over; says whether it came to hold.
pub fn poll(patience: Duration, mut done: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + patience;
    loop {
        if done() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        thread::sleep(REST);
    }
}

fn read_lines(stream: impl Read + Send + 'static, sender: Sender<String>) {
    thread::spawn(move || {
        let mut reader = BufReader::new(stream);
        let mut line = Vec::new();
        while matches!(reader.read_until(b'\n', &mut line), Ok(1..)) {
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            if sender.send(text).is_err() {
                return;
            }
            line.clear();
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    fn shell(script: &str) -> Process {
        Process::start("sh", OsStr::new("sh"), ["-c", script]).unwrap()
    }

    #[test]
    fn a_line_is_found_and_a_process_is_ended_by_its_id() {
        let mut process = shell("echo ready 7; exec cat /dev/zero > /dev/null");
        assert_eq!(process.wait_for_line("ready", PATIENCE).unwrap(), "ready 7");
        assert!(process.running());
        assert!(!process.end(PATIENCE).unwrap().success());
        assert!(!process.running());
    }

    #[test]
    fn what_an_ended_process_printed_is_in_the_error() {
        let error = shell("echo oh no >&2").wait_for_line("ready", PATIENCE).unwrap_err().to_string();
        assert!(error.contains("ended without saying `ready`") && error.contains("oh no"), "{error}");
    }
}
