//! The state directory's disk is full or read-only: the agent says so once, loses nothing, and goes on when it can.
//! These tests mount a small file system; where that is not permitted they say so and are skipped.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::Command;

use blocksift_tests::process::poll;
use blocksift_tests::simulate::batch;
use tempfile::TempDir;

use crate::harness::{Collector, Node, PATIENCE, assert_adds_up, detect, end, free_address, run};

/// A file system in memory, unmounted when dropped.
struct Disk(TempDir);

impl Disk {
    /// `None`, said loudly, where mounting is not permitted.
    fn mount(options: &str) -> Option<Self> {
        let folder = TempDir::new().unwrap();
        let arguments = ["-t", "tmpfs", "-o", options, "blocksift-test"];
        let mounted = Command::new("mount").args(arguments).arg(folder.path()).output();
        match mounted {
            Ok(output) if output.status.success() => Some(Self(folder)),
            Ok(output) => {
                eprintln!("SKIPPED: cannot mount: {}", String::from_utf8_lossy(&output.stderr).trim());
                None
            }
            Err(error) => {
                eprintln!("SKIPPED: no `mount`: {error}");
                None
            }
        }
    }

    fn remount(&self, options: &str) {
        let options = format!("remount,{options}");
        let status = Command::new("mount").args(["-o", &options]).arg(self.path()).status().unwrap();
        assert!(status.success());
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("--lazy").arg(self.path()).status();
        assert!(unmounted.is_ok_and(|status| status.success()), "cannot unmount `{}`", self.path().display());
    }
}

/// Takes all the room that is left.
fn fill(disk: &Disk) {
    let mut file = File::create(disk.path().join("others")).unwrap();
    while file.write_all(&[1; 4_096]).is_ok() {}
}

#[test]
fn a_full_disk_loses_nothing_and_needs_no_restart() {
    let Some(disk) = Disk::mount("size=12m") else { return };
    let batch = batch(61, 300);
    let folder = TempDir::new().unwrap();
    let whole = folder.path().join("whole.log");
    fs::write(&whole, &batch.log).unwrap();
    let expected = detect(&[&whole]).flags();
    let collector = Collector::start(folder.path());
    let node = Node::new(collector.address, "");
    node.set_state_dir(&disk.path().join("state"));
    let mut agent = node.start_agent();
    fill(&disk);
    fs::write(node.log(), &batch.log).unwrap();
    agent.wait_for_line("store cannot be written", PATIENCE).unwrap();
    collector.wait_for(Node::NAME, "store_failing", 1);
    assert!(agent.running());
    fs::remove_file(disk.path().join("others")).unwrap();
    agent.wait_for_line("store can be written again", PATIENCE).unwrap();
    collector.wait_for_flags(&expected);
    collector.wait_for(Node::NAME, "lines_read", batch.written.lines);
    let summary = collector.summary(Node::NAME);
    assert_eq!((&summary["lines_read"], &summary["store_failing"]), (&batch.written.lines.into(), &0.into()));
    assert_adds_up(&summary);
    let output = agent.output();
    assert_eq!(output.matches("store cannot be written").count(), 1, "{output}");
    end(agent);
    collector.end();
}

#[test]
fn a_disk_that_cannot_be_written_at_the_start_is_waited_for() {
    let Some(disk) = Disk::mount("size=12m") else { return };
    let batch = batch(62, 100);
    let node = Node::new(free_address(), "");
    let state_dir = disk.path().join("state");
    node.set_state_dir(&state_dir);
    let others = disk.path().join("others");
    // At the first start of all, and with a store that is there already.
    for lines in [0, batch.written.lines] {
        fs::write(node.log(), if lines > 0 { batch.log.as_slice() } else { b"" }).unwrap();
        for hindrance in ["No space left on device", "Read-only file system"] {
            match hindrance.starts_with("No space") {
                true => fill(&disk),
                false => disk.remount("ro"),
            }
            // What is there already may be opened without more room.
            let fits = lines > 0 && others.exists();
            let mut agent = node.spawn_agent();
            if !fits {
                agent.wait_for_line("store cannot be opened", PATIENCE).unwrap();
                for part in [&state_dir.display().to_string(), hindrance] {
                    assert!(agent.output().contains(part), "{part}: {}", agent.output());
                }
            }
            match others.exists() {
                true => fs::remove_file(&others).unwrap(),
                false => disk.remount("rw"),
            }
            agent.wait_for_line("agent started", PATIENCE).unwrap();
            assert!(poll(PATIENCE, || node.status()["ledger"]["lines_read"] == lines), "{}", node.status());
            end(agent);
        }
    }
    assert_eq!(fs::read_dir(&state_dir).unwrap().count(), 1, "nothing is set aside");
}

#[test]
fn an_agent_that_waits_for_a_disk_can_be_stopped() {
    let Some(disk) = Disk::mount("size=1m") else { return };
    let node = Node::new(free_address(), "");
    node.set_state_dir(&disk.path().join("state"));
    disk.remount("ro");
    let mut agent = node.spawn_agent();
    agent.wait_for_line("store cannot be opened", PATIENCE).unwrap();
    end(agent);
    let configuration = node.configuration();
    let said = run("blocksift-agent", ["validate".as_ref(), "--config".as_ref(), configuration.as_os_str()]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    assert!(said.stdout.contains("cannot be written now: Read-only file system"), "{}", said.stdout);
}
