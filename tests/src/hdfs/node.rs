//! A process that is known by id and start time, so that a signal never reaches another one that got the same id.

use std::fs;
use std::io;
use std::path::Path;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// Name of the file in a node's folder.
const FILE: &str = "process";
/// While this file is in a node's folder, nobody starts the node again.
const HELD: &str = "held";

/// A process, running or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    id: Pid,
    /// Clock ticks between the machine's start and the process's.
    started: u64,
}

impl Known {
    /// The running process `id`.
    ///
    /// # Errors
    /// If there is none.
    pub fn of(id: u32) -> io::Result<Self> {
        let id = i32::try_from(id).ok().and_then(Pid::from_raw);
        let id = id.ok_or_else(|| io::Error::other("not a process id"))?;
        Ok(Self { id, started: started(id)? })
    }

    /// Writes it down in `folder`.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn note(self, folder: &Path) -> io::Result<()> {
        fs::write(folder.join(FILE), format!("{} {}\n", self.id.as_raw_nonzero(), self.started))
    }

    /// The one that is written down in `folder`.
    ///
    /// # Errors
    /// If none is.
    pub fn noted(folder: &Path) -> io::Result<Self> {
        let text = fs::read_to_string(folder.join(FILE))?;
        let mut words = text.split_whitespace();
        let id = words.next().and_then(|word| word.parse().ok()).and_then(Pid::from_raw);
        let started = words.next().and_then(|word| word.parse().ok());
        match (id, started) {
            (Some(id), Some(started)) => Ok(Self { id, started }),
            _ => Err(io::Error::other(format!("`{}` names no process", folder.join(FILE).display()))),
        }
    }

    /// Whether it still runs.
    #[must_use]
    pub fn running(self) -> bool {
        started(self.id).is_ok_and(|started| started == self.started)
    }

    /// Its id.
    #[must_use]
    pub fn id(self) -> Pid {
        self.id
    }

    /// Sends it a signal; to it alone, even if its id has been given to another.
    ///
    /// # Errors
    /// If it does not run any more.
    pub fn signal(self, signal: Signal) -> io::Result<()> {
        // What is opened first and looked at second cannot change in between.
        let handle = pidfd_open(self.id, PidfdFlags::empty())?;
        if !self.running() {
            return Err(io::Error::new(io::ErrorKind::NotFound, "the process has ended"));
        }
        Ok(pidfd_send_signal(handle, signal)?)
    }
}

/// Keeps the node in `folder` from being started again, or lets it.
///
/// # Errors
/// If the folder cannot be written.
pub fn hold(folder: &Path, held: bool) -> io::Result<()> {
    let path = folder.join(HELD);
    if held {
        return fs::write(path, b"");
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Whether the node in `folder` is held.
#[must_use]
pub fn held(folder: &Path) -> bool {
    folder.join(HELD).exists()
}

/// Start time as proc(5) has it, after the name, which may hold anything.
fn started(id: Pid) -> io::Result<u64> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", id.as_raw_nonzero()))?;
    let fields = stat.rsplit_once(") ").map_or("", |(_, fields)| fields);
    let mut fields = fields.split(' ');
    let gone = || io::Error::new(io::ErrorKind::NotFound, "the process has ended");
    // A zombie has ended, though nobody has asked for its status.
    let state = fields.next().ok_or_else(gone)?;
    if state == "Z" || state == "X" {
        return Err(gone());
    }
    fields.nth(18).and_then(|field| field.parse().ok()).ok_or_else(gone)
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use tempfile::TempDir;

    use super::*;

    #[test]
    fn a_noted_process_is_ended_once_and_another_start_time_is_another_process() {
        let folder = TempDir::new().unwrap();
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        Known::of(child.id()).unwrap().note(folder.path()).unwrap();
        let known = Known::noted(folder.path()).unwrap();
        let other = Known { started: known.started + 1, ..known };
        assert!(known.running() && !other.running());
        assert!(other.signal(Signal::KILL).is_err());
        assert!(child.try_wait().unwrap().is_none());
        known.signal(Signal::KILL).unwrap();
        assert!(!child.wait().unwrap().success());
        assert!(known.signal(Signal::KILL).is_err());
    }

    #[test]
    fn a_node_is_held_until_it_is_let_go() {
        let folder = TempDir::new().unwrap();
        for held_now in [true, true, false, false] {
            hold(folder.path(), held_now).unwrap();
            assert_eq!(held(folder.path()), held_now);
        }
    }
}
