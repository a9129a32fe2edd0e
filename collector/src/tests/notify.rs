//! Telling of incidents, from the configuration to receivers on loopback.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, UdpSocket, UnixDatagram};

use super::*;
use crate::config::{Config, Overrides};

const PATIENCE: Duration = Duration::from_secs(20);

/// A receiver over HTTP: what it was sent, and how many requests it refuses first.
#[derive(Clone)]
struct Inbox {
    address: String,
    taken: Arc<Mutex<Vec<(String, Value)>>>,
    failures: Arc<AtomicUsize>,
    asked: Arc<AtomicUsize>,
}

impl Inbox {
    async fn listen(failures: usize) -> Self {
        Self::listen_at("127.0.0.1:0", failures).await
    }

    async fn listen_at(address: &str, failures: usize) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let inbox = Self {
            address: listener.local_addr().unwrap().to_string(),
            taken: Arc::default(),
            failures: Arc::new(AtomicUsize::new(failures)),
            asked: Arc::default(),
        };
        let router = Router::new().fallback(take).with_state(inbox.clone());
        tokio::spawn(axum::serve(listener, router).into_future());
        inbox
    }

    /// What was taken, once there are as many.
    async fn wait(&self, count: usize) -> Vec<(String, Value)> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let taken = self.taken.lock().unwrap().clone();
            if taken.len() >= count {
                return taken;
            }
            assert!(Instant::now() < deadline, "{count} wanted: {taken:#?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

async fn take(State(inbox): State<Inbox>, uri: Uri, headers: HeaderMap, body: String) -> StatusCode {
    inbox.asked.fetch_add(1, Ordering::SeqCst);
    let less = |left: usize| left.checked_sub(1);
    if inbox.failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less).is_ok() {
        return StatusCode::INTERNAL_SERVER_ERROR;
    }
    let token = headers.get("authorization").map(|value| value.to_str().unwrap().to_owned());
    let what = format!("{} {}", uri.path(), token.unwrap_or_default());
    inbox.taken.lock().unwrap().push((what, serde_json::from_str(&body).unwrap()));
    StatusCode::OK
}

async fn start(directory: &Path, text: &str) -> Server {
    let path = directory.join("collector.toml");
    // The reports are of 2008.
    std::fs::write(&path, format!("[notify]\nage_max_h = 1000000\n{text}")).unwrap();
    let config = Config::load(Some(&path), Overrides::default()).unwrap();
    let access =
        Access { agents: Agents::default(), users: Users::new(Vec::new(), false).unwrap(), proxy: None };
    Server::start_telling(directory, Limits::default(), access, None, &config.notify).await
}

fn of_block(number: u64) -> Report {
    Report { block: format!("blk_{number}"), ..numbered(number) }
}

async fn metric_of(server: &Server, name: &str) -> String {
    let url = format!("{}/metrics", server.base);
    let text = server.client.get(url).send().await.unwrap().text().await.unwrap();
    let line = text.lines().find(|line| line.starts_with(&format!("blocksift_collector_{name} ")));
    line.map(|line| line.rsplit(' ').next().unwrap().to_owned()).unwrap_or_default()
}

#[tokio::test]
async fn an_incident_is_told_once_and_once_more_when_it_is_taken_back() {
    let directory = tempfile::tempdir().unwrap();
    let (webhook, alerts) = (Inbox::listen(2).await, Inbox::listen(0).await);
    std::fs::write(directory.path().join("token"), "secret\n").unwrap();
    let text = format!(
        "page = \"https://collector.example.org/\"\n
        [[notify.webhook]]\nurl = \"http://{}/hook\"\ntoken_file = \"{}\"\n
        [[notify.alertmanager]]\nurl = \"http://{}/am\"\n",
        webhook.address,
        directory.path().join("token").display(),
        alerts.address,
    );
    let server = start(directory.path(), &text).await;
    let second = Report { node: "dn2".to_owned(), ..numbered(2) };
    server.send(&[report(), report()]).await;
    // A further node reports on it, and a later revision: no news.
    server.send(std::slice::from_ref(&second)).await;
    server.send(&[Report { revision: 3, ..report() }]).await;
    server.send(&[Report { revision: 4, flagged: false, reasons: Vec::new(), ..report() }]).await;
    server.send(&[Report { revision: 4, flagged: false, reasons: Vec::new(), ..second }]).await;
    let told = webhook.wait(2).await;
    assert_eq!(told[0].0, "/hook Bearer secret");
    let [first, last] = [&told[0].1, &told[1].1];
    assert_eq!((&first["kind"], &last["kind"]), (&json!("incident"), &json!("taken_back")));
    assert_eq!(first["incident"]["block"], report().block);
    assert_eq!(first["incident"]["id"], last["incident"]["id"]);
    let link = format!("https://collector.example.org/#view=incident&incident={}", report().block);
    assert_eq!(first["incident"]["link"], link);
    let alerts = alerts.wait(2).await;
    assert_eq!(alerts[0].0, "/am/api/v2/alerts ");
    assert_eq!(alerts[0].1[0]["labels"], alerts[1].1[0]["labels"]);
    assert!(alerts[1].1[0]["endsAt"].as_str() < alerts[0].1[0]["endsAt"].as_str());
    // Another incident is the next thing that is told: nothing was told twice.
    server.send(&[of_block(77)]).await;
    assert_eq!(webhook.wait(3).await[2].1["incident"]["block"], "blk_77");
    assert_eq!(metric_of(&server, "notifications_failed_total{receiver=\"webhook\"}").await, "2");
    assert_eq!(metric_of(&server, "notifications_dropped_total{receiver=\"webhook\"}").await, "0");
    server.stop().await;
}

#[tokio::test]
async fn a_pool_that_becomes_known_is_no_news() {
    let directory = tempfile::tempdir().unwrap();
    let inbox = Inbox::listen(0).await;
    let server =
        start(directory.path(), &format!("[[notify.webhook]]\nurl = \"http://{}\"", inbox.address)).await;
    server.send(&[Report { pool: String::new(), ..report() }]).await;
    server.send(&[Report { pool: "BP-9".to_owned(), ..numbered(2) }]).await;
    let normal = |report: Report| Report { revision: 9, flagged: false, reasons: Vec::new(), ..report };
    server.send(&[normal(Report { pool: String::new(), ..report() })]).await;
    server.send(&[normal(Report { pool: "BP-9".to_owned(), ..numbered(2) })]).await;
    let kinds: Vec<_> = inbox.wait(2).await.iter().map(|(_, body)| body["kind"].clone()).collect();
    assert_eq!(kinds, ["incident", "taken_back"]);
    server.stop().await;
}

#[tokio::test]
async fn beyond_its_budget_a_node_is_told_of_in_a_group() {
    let directory = tempfile::tempdir().unwrap();
    let inbox = Inbox::listen(0).await;
    let text = format!(
        "budget_per_node = 3\ngroup_interval_s = 1\n[[notify.webhook]]\nurl = \"http://{}\"\n",
        inbox.address
    );
    let server = start(directory.path(), &text).await;
    server.send(&(1..=50).map(of_block).collect::<Vec<_>>()).await;
    let other = Report { node: "dn2".to_owned(), ..of_block(51) };
    server.send(&[other]).await;
    let told = inbox.wait(5).await;
    let of_kind = |kind: &str| {
        told.iter().filter(|(_, body)| body["kind"] == kind).map(|(_, body)| body.clone()).collect::<Vec<_>>()
    };
    let singles: BTreeSet<String> = of_kind("incident")
        .iter()
        .map(|body| body["incident"]["node"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!((of_kind("incident").len(), singles.len()), (4, 2));
    let groups = of_kind("group");
    assert_eq!((groups.len(), &groups[0]["group"]["incidents"]), (1, &json!(47)));
    assert_eq!(groups[0]["group"]["nodes"], json!([{ "node": "dn1", "incidents": 47 }]));
    assert_eq!(metric_of(&server, "incidents_grouped_total").await, "47");
    server.stop().await;
}

#[tokio::test]
async fn what_is_not_delivered_yet_survives_a_restart_and_holds_up_nobody() {
    let directory = tempfile::tempdir().unwrap();
    // A port where nobody listens yet, and a receiver that takes connections and never answers.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let text = format!(
        "[[notify.webhook]]\nname = \"late\"\nurl = \"http://{free}\"\n[[notify.webhook]]\nurl = \"http://{}\"\n",
        silent.local_addr().unwrap()
    );
    let server = start(directory.path(), &text).await;
    for number in 1..=20 {
        server.send(&[of_block(number)]).await;
    }
    assert_eq!(metric_of(&server, "notifications_waiting{receiver=\"late\"}").await, "20");
    server.stop().await;

    let inbox = Inbox::listen_at(&free.to_string(), 0).await;
    let server = start(directory.path(), &text).await;
    let told = inbox.wait(20).await;
    let blocks: Vec<_> = told.iter().map(|(_, body)| body["incident"]["block"].clone()).collect();
    let expected: Vec<_> = (1..=20).map(|number| format!("blk_{number}")).collect();
    assert_eq!(blocks, expected, "in order, each once");
    // What nobody is configured for any more is dropped.
    server.stop().await;
    let server =
        start(directory.path(), &format!("[[notify.webhook]]\nname = \"late\"\nurl = \"http://{free}\""))
            .await;
    // The budget of the other node is spent.
    server.send(&[Report { node: "dn2".to_owned(), ..of_block(21) }]).await;
    assert_eq!(inbox.wait(21).await[20].1["incident"]["block"], "blk_21");
    assert_eq!(metric_of(&server, "notifications_waiting{receiver=\"webhook-2\"}").await, "");
    server.stop().await;
}

#[tokio::test]
async fn what_a_receiver_refuses_for_good_is_given_up_and_old_logs_are_no_news() {
    let directory = tempfile::tempdir().unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let counter = Arc::clone(&asked);
    let refuse = move || {
        counter.fetch_add(1, Ordering::SeqCst);
        async { StatusCode::BAD_REQUEST }
    };
    tokio::spawn(axum::serve(listener, Router::new().fallback(refuse)).into_future());
    let server = start(directory.path(), &format!("[[notify.webhook]]\nurl = \"http://{address}\"")).await;
    server.send(&[of_block(1)]).await;
    let deadline = Instant::now() + PATIENCE;
    while metric_of(&server, "notifications_dropped_total{receiver=\"webhook\"}").await != "1" {
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    server.stop().await;
    let text = format!("[[notify.webhook]]\nurl = \"http://{address}\"");
    let path = directory.path().join("collector.toml");
    std::fs::write(&path, text).unwrap();
    let config = Config::load(Some(&path), Overrides::default()).unwrap();
    let access =
        Access { agents: Agents::default(), users: Users::new(Vec::new(), false).unwrap(), proxy: None };
    let server =
        Server::start_telling(directory.path(), Limits::default(), access, None, &config.notify).await;
    server.send(&[of_block(2)]).await;
    assert_eq!(metric_of(&server, "notifications_waiting{receiver=\"webhook\"}").await, "0");
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    server.stop().await;
}

#[tokio::test]
async fn syslog_arrives_over_every_transport() {
    let directory = tempfile::tempdir().unwrap();
    let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let local = UnixDatagram::bind(directory.path().join("log")).unwrap();
    let text = format!(
        "[[notify.syslog]]\naddress = \"udp://{}\"\n[[notify.syslog]]\naddress = \"tcp://{}\"\n\
         [[notify.syslog]]\naddress = \"unix:{}\"\n",
        udp.local_addr().unwrap(),
        tcp.local_addr().unwrap(),
        directory.path().join("log").display(),
    );
    let server = start(directory.path(), &text).await;
    server.send(&[report()]).await;
    let mut bytes = vec![0; 65_536];
    let receive = async {
        let length = udp.recv(&mut bytes).await.unwrap();
        let by_udp = String::from_utf8(bytes[..length].to_vec()).unwrap();
        let length = local.recv(&mut bytes).await.unwrap();
        let by_unix = String::from_utf8(bytes[..length].to_vec()).unwrap();
        let (mut stream, _) = tcp.accept().await.unwrap();
        let mut by_tcp = String::new();
        stream.read_to_string(&mut by_tcp).await.unwrap();
        [by_udp, by_unix, by_tcp]
    };
    let [by_udp, by_unix, by_tcp] = tokio::time::timeout(PATIENCE, receive).await.unwrap();
    assert!(by_udp.starts_with("<28>1 20") && by_udp.contains(" blocksift-collector "), "{by_udp}");
    assert!(by_udp.contains(&format!("block=\"{}\"", report().block)), "{by_udp}");
    assert_eq!(by_unix, by_udp);
    assert_eq!(by_tcp, format!("{} {by_udp}", by_udp.len()));
    server.stop().await;
}
