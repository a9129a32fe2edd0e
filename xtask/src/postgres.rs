//! A PostgreSQL for tests: Debian's programs with a data folder of their own, on a free port of the loopback, gone when it is
//! dropped.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use blocksift_tests::process::{Process, Signal, poll};
use tempfile::TempDir;

use crate::cargo;

/// How long it may take to start or end.
const PATIENCE: Duration = Duration::from_secs(60);
/// Where Debian puts the programs of each version, out of the way of everybody's PATH.
const VERSIONS: &str = "/usr/lib/postgresql";
/// The server refuses to run as root: user and group that it runs as then.
const NOBODY: u32 = 65_534;

/// A running server.
pub(crate) struct Server {
    process: Process,
    port: u16,
    _folder: TempDir,
}

impl Server {
    /// Makes a folder with an empty database in it and starts a server on it.
    pub(crate) fn start(programs: &Path) -> Result<Self> {
        let folder = tempfile::tempdir().context("no temporary folder can be made")?;
        let data = folder.path().join("data");
        fs::create_dir(&data)?;
        let root = cargo::output(Command::new("id").arg("-u"))?.trim() == "0";
        if root {
            for path in [folder.path(), &data] {
                chown(path, Some(NOBODY), Some(NOBODY))?;
            }
        }
        let mut init = as_nobody(root, &programs.join("initdb"));
        init.extend(["--username=blocksift", "--auth=trust", "--no-sync", "--pgdata"].map(str::to_owned));
        init.push(data.display().to_string());
        let (program, arguments) = init.split_first().context("a command has a program")?;
        cargo::output(Command::new(program).args(arguments).current_dir(folder.path()))?;
        // Free now; the server says so if somebody takes it in between.
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let mut command = as_nobody(root, &programs.join("postgres"));
        command.extend(["-D".to_owned(), data.display().to_string(), "-p".to_owned(), port.to_string()]);
        for setting in [
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            "max_connections=400",
            // The folder is thrown away: nothing has to survive a power failure.
            "fsync=off",
        ] {
            command.extend(["-c".to_owned(), setting.to_owned()]);
        }
        let (program, arguments) = command.split_first().context("a command has a program")?;
        let process = Process::start("PostgreSQL", program.as_ref(), arguments)?;
        let mut server = Self { process, port, _folder: folder };
        server.wait(programs)?;
        Ok(server)
    }

    fn wait(&mut self, programs: &Path) -> Result<()> {
        let port = self.port.to_string();
        let is_ready = || {
            let mut ready = Command::new(programs.join("pg_isready"));
            cargo::output(ready.args(["--quiet", "--host=127.0.0.1", "--port", &port])).is_ok()
        };
        if !poll(PATIENCE, is_ready) {
            bail!("PostgreSQL does not answer; it printed:\n{}", self.process.output());
        }
        Ok(())
    }

    /// Of a database in which schemas may be made.
    pub(crate) fn url(&self) -> String {
        format!("postgresql://blocksift@127.0.0.1:{}/postgres", self.port)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Without waiting for clients; its own children end with it, as they would not if it were killed.
        drop(self.process.signal(Signal::INT));
        drop(self.process.wait(PATIENCE));
    }
}

/// A command that runs as nobody where we are root.
fn as_nobody(root: bool, program: &Path) -> Vec<String> {
    let mut command = Vec::new();
    if root {
        let id = NOBODY.to_string();
        command.extend(["setpriv", "--reuid", &id, "--regid", &id, "--clear-groups"].map(str::to_owned));
    }
    command.push(program.display().to_string());
    command
}

/// The folder of the newest server's programs, which CI installs where there are none.
pub(crate) fn programs() -> Option<PathBuf> {
    if installed().is_none() && std::env::var_os("CI").is_some() {
        println!("installing PostgreSQL for the tests of the collector's database");
        for arguments in [
            &["update"][..],
            &["install", "-y", "--no-install-recommends", "postgresql", "postgresql-client"],
        ] {
            // Under this run level no service is started.
            let mut install = Command::new("apt-get");
            if let Err(error) = cargo::output(install.args(arguments).env("RUNLEVEL", "1")) {
                println!("PostgreSQL cannot be installed: {error}");
                break;
            }
        }
    }
    installed()
}

fn installed() -> Option<PathBuf> {
    let versions = fs::read_dir(VERSIONS).ok()?;
    let mut found: Vec<(u32, PathBuf)> = versions
        .filter_map(|version| {
            let version = version.ok()?;
            let number = version.file_name().to_str()?.parse().ok()?;
            Some((number, version.path().join("bin")))
        })
        .filter(|(_, programs)| programs.join("initdb").is_file() && programs.join("postgres").is_file())
        .collect();
    found.sort();
    found.pop().map(|(_, programs)| programs)
}
