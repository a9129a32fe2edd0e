//! Tests of the configuration: what is wrong is found, all of it, at its place.

use proptest::prelude::*;

use super::*;

/// The example that is shipped.
const EXAMPLE: &str = include_str!("../../../deploy/agent.toml");

/// The example as a configuration.
pub(crate) fn example() -> Config {
    check_text(EXAMPLE).0.unwrap()
}

fn problems(text: &str) -> Vec<Problem> {
    check_text(text).0.err().unwrap_or_default()
}

fn told(text: &str) -> String {
    Problems::new(Path::new("agent.toml"), text, problems(text)).to_string()
}

/// The example with every commented key switched on, on terms under which all of them make sense.
fn everything_on() -> String {
    let on = |line: &str| match line.strip_prefix('#') {
        Some(setting) if !setting.starts_with(' ') => setting.to_owned(),
        _ => line.to_owned(),
    };
    let on: String = EXAMPLE.lines().map(|line| on(line) + "\n").collect();
    on.replace("\"http://127.0.0.1:4318\"", "\"https://127.0.0.1:4318\"")
}

#[test]
fn the_example_is_right_and_shows_the_defaults() {
    let as_shipped = check_text(EXAMPLE).0.unwrap();
    // There is one token at most, and one key.
    let one_each = everything_on().replace("token_env =", "#").replace("key_env =", "#");
    let all_on = check_text(&one_each).0.unwrap();
    let [as_shipped, all_on] = [as_shipped, all_on].map(|mut config| {
        // These defaults are the host's or stand for "none".
        config.detector.node.clear();
        config.detector.zone = TimeZone::UTC;
        config.model = None;
        config.signers = Vec::new();
        config.receive = Receive { bytes_max: config.receive.bytes_max, ..Receive::default() };
        config.logs.received = None;
        if let To::Otlp(otlp) = &mut config.ship.to {
            otlp.endpoint = otlp.endpoint.replace("https:", "http:");
            (otlp.tls, otlp.token) = (Tls::default(), None);
        }
        config.filters.clear();
        config.wanted.addresses = None;
        format!("{config:#?}")
    });
    assert_eq!(as_shipped, all_on);
}

#[test]
fn the_example_shows_every_key() {
    let sections = ["sessions", "receive", "ship", "wanted", "limits", "redact"]
        .map(|name| format!("[{name}]\nx = 1\n"));
    let filter = "[[filter]]\nwasm = \"a\"\nx = 1\n";
    let keys = told(&format!("[logs]\npaths = [\"a\"]\nx = 1\n{}{filter}[x]\n", sections.concat()));
    let example = everything_on();
    let known = keys
        .lines()
        .filter_map(|line| line.split_once("known here: "))
        .flat_map(|(_, keys)| keys.split(", "));
    let mut count = 0;
    for key in known {
        count += 1;
        let shown = example
            .lines()
            .any(|line| line.starts_with(&format!("{key} =")) || line.trim_matches(['[', ']']) == key);
        assert!(shown, "{key} is not in deploy/agent.toml");
    }
    assert!(count > 20, "{keys}");
}

#[test]
fn an_unknown_key_is_shown_with_its_line_and_the_key_that_was_meant() {
    let text = "[logs]\npaths = [\"/var/log/*.log\"]\n\n[sessions]\n  idle_timeot_s = 60\n";
    assert_eq!(
        told(text),
        "agent.toml:5:3: unknown key `idle_timeot_s`\n \
         5 |   idle_timeot_s = 60\n   \
           |   ^^^^^^^^^^^^^\n   \
           fix: did you mean `idle_timeout_s`?"
    );
}

#[test]
fn all_problems_are_told_in_the_order_of_the_file() {
    let text = r#"nod = "dn1"
zone = "Mars/Olympus"
[logs]
paths = ["/var/log/*.log", "/var/[log"]
poll_interval_ms = 1
backfill = "yes"
endpoint = "http://collector:4318"
[ship]
endpoint = "htps://collector:4318"
compression = "lz4"
timeout_s = "10s"
spool_reports_max = -1
[shp]
x = 1
"#;
    let told = told(text);
    let places: Vec<&str> = told.lines().filter(|line| line.starts_with("agent.toml:")).collect();
    let starts = ["1:1", "2:8", "4:28", "5:20", "6:12", "7:1", "9:12", "10:15", "11:13", "12:21", "13:2"];
    assert_eq!(places.len(), starts.len(), "{told}");
    for (place, start) in places.iter().zip(starts) {
        assert!(place.starts_with(&format!("agent.toml:{start}: ")), "{place} is not at {start}:\n{told}");
    }
    for said in ["did you mean `node`?", "it belongs under [ship]", "https:// address", "zstd, gzip, none"] {
        assert!(told.contains(said), "{said} is not in\n{told}");
    }
    assert!(told.contains("whole number of seconds") && told.contains("all, current, none"), "{told}");
}

#[test]
fn broken_toml_is_shown_where_it_breaks() {
    let told = told("[logs]\npaths = [\"a\"\nexclude = 1\n");
    assert!(told.starts_with("agent.toml:"), "{told}");
    assert!(told.contains(" | "), "{told}");
}

#[test]
fn log_files_must_be_named() {
    for text in ["", "[logs]\n", "[logs]\npaths = []\n"] {
        let told = told(text);
        assert!(told.contains("no log files are named") && told.contains("paths = ["), "{told}");
    }
    assert!(told("[logs]\npath = [\"a\"]\n").contains("did you mean `paths`?"));
}

fn ship(settings: &str) -> Result<Ship, Vec<Problem>> {
    check_text(&format!("[logs]\npaths = [\"a\"]\n[ship]\n{settings}\n")).0.map(|config| config.ship)
}

#[test]
fn endpoints_are_http_addresses() {
    for wrong in ["collector:4318", "ftp://x", "http://", "http://x/?a=b", "/x", "https://user:password@x"] {
        assert!(ship(&format!("endpoint = \"{wrong}\"")).is_err(), "{wrong}");
    }
    for (right, kept) in [
        ("http://x:4318/", "http://x:4318"),
        ("http://[::1]:4318/otlp", "http://[::1]:4318/otlp"),
        ("https://x", "https://x"),
    ] {
        assert_eq!(ship(&format!("endpoint = \"{right}\"")).unwrap().to.to_string(), kept);
    }
}

#[test]
fn shippers_are_received_on_loopback_alone_and_instead_of_log_files() {
    let receive = |settings: &str| check_text(&format!("[receive]\n{settings}\n")).0;
    for right in ["forward = \"127.0.0.1:24224\"", "forward = \"[::1]:24224\"", "stdin = true"] {
        assert!(receive(right).unwrap().receive.any(), "{right}");
    }
    for wrong in ["forward = \"0.0.0.0:24224\"", "forward = \"localhost\"", "stdin = false", "bytes_max = 1"]
    {
        assert!(receive(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn reports_go_to_a_receiver_a_file_or_standard_output() {
    for (to, kept) in [("otlp", "http://127.0.0.1:4318"), ("stdout", "stdout"), ("file:/a/b", "file:/a/b")] {
        assert_eq!(ship(&format!("to = \"{to}\"")).unwrap().to.to_string(), kept);
    }
    for wrong in ["file:", "stderr", ""] {
        assert!(ship(&format!("to = \"{wrong}\"")).is_err(), "{wrong}");
    }
}

#[test]
fn secrets_do_not_go_over_the_network_unencrypted() {
    let token = "token_file = \"/etc/token\"";
    for right in ["https://x", "http://127.0.0.1:4318", "http://[::1]:1", "http://localhost"] {
        assert!(ship(&format!("endpoint = \"{right}\"\n{token}")).is_ok(), "{right}");
    }
    for wrong in [
        format!("endpoint = \"http://x\"\n{token}"),
        format!("endpoint = \"https://x\"\n{token}\ntoken_env = \"TOKEN\""),
        "endpoint = \"http://x\"\ntls_ca = \"ca.pem\"".to_owned(),
        "endpoint = \"https://x\"\ntls_key = \"key.pem\"".to_owned(),
    ] {
        assert!(ship(&wrong).is_err(), "{wrong}");
    }
}

#[test]
fn a_layout_is_auto_a_name_or_a_pattern() {
    let layout = |value: &str| {
        let config = check_text(&format!("[logs]\npaths = [\"a\"]\nlayout = \"{value}\"\n")).0;
        config.map(|config| config.detector.layout.map(|layout| layout.as_str().to_owned()))
    };
    assert_eq!(layout("auto").unwrap(), None);
    for right in ["log4j", "hdfs_v1", "%d{ISO8601} %-5p [%t] %c{2}: %m%n"] {
        assert_eq!(layout(right).unwrap().as_deref(), Some(right));
    }
    let told = told("[logs]\npaths = [\"a\"]\nlayout = \"%d{ISO8601} %q %m%n\"\n");
    assert!(told.starts_with("agent.toml:3:10: `%q` at character 13 is no conversion word"), "{told}");
    assert!(layout("log5j").is_err());
}

#[test]
fn sessions_are_not_forgotten_before_they_are_scored() {
    let told = told("[logs]\npaths = [\"a\"]\n[sessions]\nidle_timeout_s = 600\nforget_after_s = 60\n");
    assert!(told.starts_with("agent.toml:5:18: "), "{told}");
}

/// A key with a number and the values that it may have.
fn number() -> impl Strategy<Value = (&'static str, &'static str, u64)> {
    prop_oneof![
        (Just(""), Just("commit_interval_ms"), 10..=60_000_u64),
        (Just("[logs]"), Just("poll_interval_ms"), 10..=60_000_u64),
        (Just("[logs]"), Just("files_max"), 1..=100_000_u64),
        (Just("[sessions]"), Just("idle_timeout_s"), 1..=86_400_u64),
        (Just("[sessions]"), Just("sessions_max"), 1..=100_000_000_u64),
        (Just("[ship]"), Just("batch_reports_max"), 1..=10_000_u64),
        (Just("[ship]"), Just("spool_bytes_max"), 1_048_576..=1_099_511_627_776_u64),
        (Just("[ship]"), Just("stop_timeout_s"), 0..=300_u64),
    ]
}

proptest! {
    #[test]
    fn any_value_in_range_is_taken((section, key, value) in number()) {
        let logs = if section == "[logs]" { "" } else { "[logs]" };
        let text = match section {
            "" => format!("{key} = {value}\n[logs]\npaths = [\"a\"]\n"),
            _ => format!("{section}\n{key} = {value}\n{logs}\npaths = [\"a\"]\n"),
        };
        prop_assert!(check_text(&text).0.is_ok(), "{}", told(&text));
    }

    #[test]
    fn no_text_makes_it_panic(text in "\\PC*", cut in 0..EXAMPLE.len()) {
        told(&text);
        if let Some(start) = EXAMPLE.get(..cut) {
            told(&format!("{start}{text}"));
        }
    }
}
