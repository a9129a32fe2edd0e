//! The programs: Hadoop's jars as Maven brings them, and our clients compiled against them. Kept under `target`, so the
//! network is needed once for each version.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::Site;
use crate::maven::{self, said};

/// Version of Hadoop that is run when none is asked for.
pub const HADOOP: &str = "3.4.1";
/// What Java 17 has to open for Hadoop.
const OPENS: [&str; 3] = ["java.base/java.lang", "java.base/java.util", "java.base/java.nio"];

/// Where the programs are.
#[derive(Clone, Debug)]
pub struct Artifacts {
    jars: PathBuf,
    classes: PathBuf,
}

impl Artifacts {
    /// Brings what is not there yet. `sources` is `tests/hdfs`, `target` where builds go.
    ///
    /// # Errors
    /// Says in one line what is missing: Java, Maven, or a repository that Maven reaches.
    pub fn fetch(sources: &Path, target: &Path, version: &str) -> io::Result<Self> {
        let folder = target.join("hdfs").join(version);
        let artifacts = Self { jars: folder.join("jars"), classes: folder.join("classes") };
        fs::create_dir_all(&folder)?;
        maven::bring(
            "Hadoop",
            &sources.join("pom.xml"),
            &format!("hadoop.version={version}"),
            &artifacts.jars,
        )?;
        let mut javac = Command::new("javac");
        javac.args(["-nowarn", "-Xlint:none", "-cp"]).arg(format!("{}/*", artifacts.jars.display()));
        javac.arg("-d").arg(&artifacts.classes).arg(sources.join("Load.java"));
        said(&mut javac, "the clients cannot be compiled")?;
        Ok(artifacts)
    }

    /// Folder of the version, which logs name.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.jars.parent().unwrap_or(&self.jars)
    }

    /// A JVM of the site, without its class. It dies with the thread that starts it, however that ends.
    #[must_use]
    pub fn java(&self, site: &Site, node: &str, log: &Path) -> Command {
        let mut java = Command::new("setpriv");
        java.args(["--pdeathsig", "KILL", "nice", "-n", "5", "java"]);
        java.args(["-Xmx192m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Duser.timezone=UTC"]);
        java.args(["-Djava.net.preferIPv4Stack=true", "-Duser.home=/home/hdfs"]);
        java.env("HADOOP_USER_NAME", "hdfs");
        java.args(OPENS.map(|opened| format!("--add-opens={opened}=ALL-UNNAMED")));
        let (data, rpc) = site.ports(node);
        let properties = [
            ("folder", site.folder.display().to_string()),
            ("node.folder", site.node_folder(node).display().to_string()),
            ("namenode.port", site.namenode.to_string()),
            ("datanode.port", data.to_string()),
            ("datanode.ipc.port", rpc.to_string()),
            ("log", log.display().to_string()),
        ];
        java.args(properties.map(|(name, value)| format!("-Dblocksift.{name}={value}")));
        let conf = site.folder.join("conf");
        java.arg("-cp").arg(format!(
            "{}:{}:{}/*",
            conf.display(),
            self.classes.display(),
            self.jars.display()
        ));
        java.stdin(Stdio::null());
        java
    }
}

/// Brings the sources of what the nodes run, jars with the version in their names, into `output`.
///
/// # Errors
/// Says in one line what is missing.
pub fn fetch_sources(version: &str, output: &Path) -> io::Result<()> {
    for artifact in ["hadoop-hdfs", "hadoop-common", "hadoop-auth", "hadoop-hdfs-client"] {
        // Older versions have the client among the rest.
        if artifact == "hadoop-hdfs-client" && version.starts_with("2.7.") {
            continue;
        }
        let mut maven = Command::new("mvn");
        maven
            .args(["-q", "-B", "dependency:copy"])
            .arg(format!("-Dartifact=org.apache.hadoop:{artifact}:{version}:jar:sources"))
            .arg(format!("-DoutputDirectory={}", output.display()));
        said(&mut maven, "Maven cannot bring Hadoop's sources")?;
    }
    Ok(())
}
