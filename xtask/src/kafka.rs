//! A Kafka for tests: one broker in KRaft mode out of Maven's jars, with a port for everybody and one with TLS and a password,
//! on free ports of the loopback, gone when it is dropped.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use blocksift_tests::maven;
use blocksift_tests::process::{Process, poll};
use tempfile::TempDir;

use crate::cargo;

/// Version of Kafka that is run.
const KAFKA: &str = "4.1.0";
/// How long it may take to start or end.
const PATIENCE: Duration = Duration::from_secs(120);
/// Of the cluster: any 16 bytes in base64.
const CLUSTER: &str = "YmxvY2tzaWZ0LXRlc3RzLQ";
/// Name and password at the port with TLS.
const USER: &str = "blocksift";
const PASSWORD: &str = "for-tests";
/// Of the broker's key.
const STORE_PASSWORD: &str = "changeit";

/// A running broker.
pub(crate) struct Broker {
    process: Process,
    plain: u16,
    tls: u16,
    folder: TempDir,
}

impl Broker {
    /// Makes a folder with an empty log in it and starts a broker on it.
    pub(crate) fn start(jars: &Path) -> Result<Self> {
        let folder = tempfile::tempdir().context("no temporary folder can be made")?;
        // Free now; the broker says so if somebody takes one in between.
        let listeners = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0"));
        let mut ports = Vec::new();
        for listener in listeners {
            ports.push(listener?.local_addr()?.port());
        }
        let [plain, tls, controller] = ports[..] else { bail!("three ports are three") };
        make_key(folder.path())?;
        let properties = folder.path().join("server.properties");
        fs::write(&properties, settings(folder.path(), plain, tls, controller))?;
        let classes = format!("{}/*", jars.display());
        let mut format = cargo::program("java");
        format.args(["-cp", &classes, "kafka.tools.StorageTool", "format", "--cluster-id", CLUSTER]);
        format.arg("--config").arg(&properties);
        format.arg("--add-scram").arg(format!("SCRAM-SHA-512=[name={USER},password={PASSWORD}]"));
        cargo::output(format.current_dir(folder.path()))?;
        let properties = properties.display().to_string();
        let log = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn";
        let arguments = ["-Xmx384m", "-XX:+UseSerialGC", log, "-cp", &classes, "kafka.Kafka", &properties];
        let process = Process::start("Kafka", "java".as_ref(), arguments)?;
        let mut broker = Self { process, plain, tls, folder };
        broker.wait()?;
        Ok(broker)
    }

    fn wait(&mut self) -> Result<()> {
        let answers = |port| TcpStream::connect(("127.0.0.1", port)).is_ok();
        let up = poll(PATIENCE, || !self.process.running() || (answers(self.plain) && answers(self.tls)));
        if !up || !self.process.running() {
            bail!("Kafka does not answer; it printed:\n{}", self.process.output());
        }
        Ok(())
    }

    /// Variables that tell the collector's tests where it is.
    pub(crate) fn variables(&self) -> [(&'static str, String); 4] {
        let path = |name: &str| self.folder.path().join(name).display().to_string();
        [
            ("BLOCKSIFT_KAFKA", format!("127.0.0.1:{}", self.plain)),
            ("BLOCKSIFT_KAFKA_TLS", format!("localhost:{}", self.tls)),
            ("BLOCKSIFT_KAFKA_CA", path("ca.pem")),
            ("BLOCKSIFT_KAFKA_PASSWORD", path("password")),
        ]
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // Its folder is thrown away: nothing has to be put in order.
        self.process.kill();
    }
}

fn settings(folder: &Path, plain: u16, tls: u16, controller: u16) -> String {
    let folder = folder.display();
    format!(
        "process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAIN://127.0.0.1:{plain},TLS://localhost:{tls},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAIN://127.0.0.1:{plain},TLS://localhost:{tls}
listener.security.protocol.map=PLAIN:PLAINTEXT,TLS:SASL_SSL,CONTROLLER:PLAINTEXT
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAIN
listener.name.tls.sasl.enabled.mechanisms=SCRAM-SHA-512
listener.name.tls.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.tls.ssl.keystore.location={folder}/key.p12
listener.name.tls.ssl.keystore.password={STORE_PASSWORD}
listener.name.tls.ssl.keystore.type=PKCS12
log.dirs={folder}/log
auto.create.topics.enable=false
num.partitions=4
offsets.topic.num.partitions=4
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
group.initial.rebalance.delay.ms=0
"
    )
}

/// The broker's key, its certificate for those who trust it, and the password for the tests.
fn make_key(folder: &Path) -> Result<()> {
    let keytool = |arguments: &[&str]| -> Result<()> {
        let mut keytool = cargo::program("keytool");
        keytool.args(arguments).args(["-alias", "broker", "-keystore"]).arg(folder.join("key.p12"));
        keytool.args(["-storetype", "PKCS12", "-storepass", STORE_PASSWORD]);
        cargo::output(&mut keytool).map(drop)
    };
    keytool(&[
        "-genkeypair",
        "-keyalg",
        "EC",
        "-dname",
        "CN=localhost",
        "-ext",
        "san=dns:localhost",
        "-validity",
        "2",
    ])?;
    keytool(&["-exportcert", "-rfc", "-file", &folder.join("ca.pem").display().to_string()])?;
    fs::write(folder.join("password"), PASSWORD).context("the password cannot be written")
}

/// The folder with Kafka's jars, which Maven brings if they are not there yet.
///
/// # Errors
/// What is missing: Java, Maven, or a repository that Maven reaches.
pub(crate) fn jars() -> Result<PathBuf> {
    let jars = cargo::target_folder().join("kafka").join(KAFKA).join("jars");
    let pom = cargo::root().join("tests/kafka/pom.xml");
    fs::create_dir_all(jars.parent().unwrap_or(&jars))?;
    maven::bring("Kafka", &pom, &format!("kafka.version={KAFKA}"), &jars)?;
    cargo::output(Command::new("java").arg("-version"))?;
    Ok(jars)
}
