//! Tests of redaction: what must not leave does not, what has to stay does.

use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;
use crate::config::RedactKey;
use crate::otlp::tests::report;

/// Made once: compiling its expressions takes a while.
static REDACTOR: LazyLock<Redactor> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    std::fs::write(&path, "0123456789abcdef").unwrap();
    let redact = Redact { key: RedactKey::File(path), patterns: vec![Regex::new("job_[0-9]+").unwrap()] };
    let mut redactor = Redactor::new(&redact, folder.path()).unwrap();
    redactor.own = ["dn1".to_owned()].into();
    redactor
});

/// The line of a report whose only event has this line.
fn line(text: &str) -> String {
    let mut one = report();
    one.events.truncate(1);
    one.events[0].line = Some(text.to_owned());
    REDACTOR.report(&mut one);
    one.events[0].line.take().unwrap()
}

/// `text` with each hash as its kind in brackets.
fn kinds(text: &str) -> String {
    let hash = Regex::new("(addr|host|path|user|hidden)-[0-9a-f]{12}").unwrap();
    hash.replace_all(&line(text), "[$1]").into_owned()
}

#[test]
fn each_kind_is_found_where_hadoop_writes_it() {
    for (text, expected) in [
        ("src: /10.250.19.102:54106 dest: /10.250.19.102:50010", "src: /[addr]:54106 dest: /[addr]:50010"),
        ("from /fe80:0:0:0:0:0:0:1:50010 and [fe80::2]:9866", "from /[addr]:50010 and [[addr]]:9866"),
        (
            "Call From dn7.example.org/10.0.0.1 to nn:8020 failed",
            "Call From [host]/[addr] to [host]:8020 failed",
        ),
        ("connect to dn7.example.org now, dn1", "connect to [host] now, [host]"),
        (
            "Deleting block blk_1073741825_1001 file /data/1/dfs/dn/current/BP-1/current/blk_1073741825",
            "Deleting block blk_1073741825_1001 file [path]/blk_1073741825",
        ),
        ("BP-1182980097-10.40.0.10-1769000000000:blk_-7_8", "BP-1182980097-[addr]-1769000000000:blk_-7_8"),
        ("BP-1-nn-a.example.org-1769000000000:blk_7", "BP-1-[host]-1769000000000:blk_7"),
        ("hdfs://mycluster/user/alice/x and file:///data/1", "hdfs://[host][path] and file://[path]"),
        ("Permission denied: user=alice, access=WRITE", "Permission denied: user=[user], access=WRITE"),
        ("inode=\"/a\":bob:staff:drwxr-xr-x", "inode=\"[path]\":[user]:[user]:drwxr-xr-x"),
        ("ugi=carol (auth:SIMPLE) ip=/10.0.0.1", "ugi=[user] (auth:SIMPLE) ip=/[addr]"),
        ("for dave@EXAMPLE.ORG, dn/dn7.example.org@X.ORG", "for [user], [user]"),
        ("user=alice failed; alice again, not alices", "user=[user] failed; [user] again, not alices"),
        ("wrote /user/erin/part-0 for erin", "wrote [path] for [user]"),
        ("job_42 and job_43", "[hidden] and [hidden]"),
        ("see nn1.example.org/user/x or warehouse/t/dt=1", "see [host][path] or warehouse[path]"),
    ] {
        assert_eq!(kinds(text), expected);
    }
}

#[test]
fn what_tells_what_happened_stays() {
    for text in [
        "081109 203518 143 INFO dfs.DataNode$DataXceiver: Receiving block blk_-1608999687919862906",
        "2008-11-09 20:35:35,007 WARN org.apache.hadoop.hdfs.server.datanode.DataNode: IOException in BlockReceiver",
        "\tat org.apache.hadoop.hdfs.server.datanode.BlockReceiver.receivePacket(BlockReceiver.java:745)",
        "BLOCK* NameSystem.addStoredBlock: blockMap updated, size 67108864",
        "at 26/Nov/2026:20:35:35, took 1.5 ms, version 3.4.1, 20 MB/s, port:50010, at 2008-11-09T20:35:35Z",
        "java.net.SocketTimeoutException: 480000 millis timeout while waiting for channel",
        "user is not known, read and/or write, 08/11/09 20:35:18",
    ] {
        assert_eq!(line(text), text);
    }
}

#[test]
fn equal_values_have_equal_hashes_however_they_are_written() {
    let hash = |text: &str| line(text).rsplit(' ').next().unwrap().to_owned();
    assert_eq!(hash("at FE80::0001"), hash("at fe80:0:0:0:0:0:0:1"));
    assert_eq!(hash("at ::ffff:10.0.0.1"), hash("at 10.0.0.1"));
    assert_eq!(hash("file /data/1/x."), hash("file /data/1/x") + ".");
    assert_ne!(hash("at 10.0.0.1"), hash("at 10.0.0.2"));
}

#[test]
fn fields_beside_the_lines_are_redacted_too() {
    let mut one = report();
    one.pool = "BP-5-10.40.0.10-1769000000000".to_owned();
    one.events[0].file = "/var/log/hadoop-alice/hadoop-alice-datanode-dn1.example.org.log".to_owned();
    one.events[0].text = "owner of <path> is user=alice".to_owned();
    one.events[0].logger = "alice.example.org".to_owned();
    let before = one.clone();
    REDACTOR.report(&mut one);
    let json = serde_json::to_string(&one).unwrap();
    assert!(!json.contains("alice") && !json.contains("10.40.0.10") && !json.contains("example"), "{json}");
    assert_eq!((&one.block, &one.node, &one.id), (&before.block, &before.node, &before.id));
    assert_eq!(one.events[1].logger, before.events[1].logger);
    assert_eq!(one.events[1].exception, before.events[1].exception);
    let mut again = one.clone();
    REDACTOR.report(&mut again);
    assert_eq!(again.events[0].line, one.events[0].line, "a hash is not hashed again");
}

/// Values that occur in no other part of a line, and in no hash.
fn secrets() -> impl Strategy<Value = (String, String, String, String, String)> {
    let v4 = any::<[u8; 4]>().prop_map(|it| std::net::Ipv4Addr::from(it).to_string());
    let v6 = any::<[u16; 8]>()
        .prop_filter("no short one", |it| it.iter().all(|&group| group > 0xff))
        .prop_map(|it| Ipv6AddrText::of(it).0);
    let host = "zq[a-z0-9]{1,8}(\\.[a-z][a-z0-9-]{0,8}[a-z0-9]){1,3}\\.(org|local|corp)";
    let path = "(/[a-zA-Z0-9_.=+-]{0,6}zq[a-zA-Z0-9_]{1,8}){2,5}";
    let user = "zq[a-z0-9_]{1,10}";
    (v4, v6, host, path, user)
}

struct Ipv6AddrText(String);

impl Ipv6AddrText {
    fn of(groups: [u16; 8]) -> Self {
        Self(std::net::Ipv6Addr::from(groups).to_string())
    }
}

const SHAPES: [&str; 12] = [
    "src: /{v4}:54106 dest: /{v4}:50010",
    "Call From {host}/{v4} to {host}:8020 failed",
    "{host} is at {v6}, also [{v6}]:9866 and /{v6}:50010",
    "user={user}, inode=\"{path}\":{user}:{user}:drwxr-xr-x; {user} again",
    "ugi={user} (auth:SIMPLE) ip=/{v4} cmd=open src={path} dst=null",
    "hdfs://{host}:8020{path} and file://{path} and ({path})",
    "{user}@{host} and {user}/{host}@ZQ.EXAMPLE.ORG",
    "BP-118-{v4}-1769000000000:blk_1_2 {path}/blk_1073741825",
    "java.io.IOException: {path}: no space on {host}.",
    "[{path}, {path}] volumes, {v4},{v4}/{v6}",
    "as:{user} (auth:KERBEROS) via:{user}; for user {user} from {host}:50010:x",
    "{v4}{v4} {host}{path} x{v4}y",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn nothing_secret_is_in_what_is_shipped(
        (v4, v6, host, path, user) in secrets(),
        shapes in prop::collection::vec(0..SHAPES.len(), 1..5),
        junk in "[ -~]{0,20}",
    ) {
        let fill = |shape: &str| {
            shape.replace("{v4}", &v4).replace("{v6}", &v6).replace("{host}", &host)
                .replace("{path}", &path).replace("{user}", &user)
        };
        let lines: Vec<String> = shapes.iter().map(|&at| fill(SHAPES[at])).collect();
        let mut one = report();
        one.pool = format!("BP-118-{v4}-1769000000000");
        one.events[0].line = Some(format!("{junk} {}", lines.join("\n\t")));
        one.events[0].text = lines.concat();
        one.events[1].line = None;
        one.events[1].file = format!("{path}.log");
        // A user's name is known by where it stands, which a line of the report has to show.
        one.events[1].text = format!("{user} and user={user}");
        one.events[1].logger = host.clone();
        REDACTOR.report(&mut one);
        let sender = crate::otlp::Sender { node: "dn1".to_owned(), model: "m".to_owned(), addresses: Vec::new() };
        let request = crate::otlp::logs_request(&sender, &[&one], 1).unwrap();
        let bytes = prost::Message::encode_to_vec(&request);
        let shipped = String::from_utf8_lossy(&bytes);
        for secret in [&v4, &v6, &host, &path, &user] {
            prop_assert!(!shipped.contains(secret.as_str()), "{secret} in {:?}", one.events);
        }
        prop_assert_eq!(one.block, report().block);
    }

    #[test]
    fn no_text_makes_it_panic(text in "\\PC*") {
        let mut one = report();
        one.events[0].line = Some(text);
        REDACTOR.report(&mut one);
    }
}
