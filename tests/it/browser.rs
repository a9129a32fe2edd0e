//! The collector's page in a real browser, filled by a real agent: every view, filters, marks, live news, the login, and
//! lines that would like to be more than text.

mod chromium;

use std::fs;
use std::process::{Command, Stdio};

use blocksift_tests::binaries::binary;
use blocksift_tests::http;
use blocksift_tests::process::Process;
use blocksift_tests::simulate::batch;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::delivery::logs_request;
use crate::harness::{Collector, Node, PATIENCE, detect, end};
use chromium::Browser;

const HOSTILE: &str = "<script>document.title='owned'</script><img src=x onerror=alert(1)> javascript:alert(1) \u{1b}[31m \u{202e}gnp.exe";

/// Nodes of a large fleet.
const FLEET: usize = 2_000;

/// What stands for flagged sessions: red, green, blue, in the light theme and in the dark one.
const FLAGGED: [u8; 3] = [0xc9, 0x30, 0x2c];
const FLAGGED_DARK: [u8; 3] = [0xff, 0x7a, 0x70];

/// Whether more than a few pixels of a chart have a colour.
fn drawn(chart: &str, [red, green, blue]: [u8; 3]) -> String {
    format!(
        "(() => {{
            const canvas = document.querySelector('{chart} canvas');
            if (!canvas) return false;
            const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
            let found = 0;
            for (let at = 0; at < data.length; at += 4) {{
                if (data[at] === {red} && data[at + 1] === {green} && data[at + 2] === {blue}) found += 1;
            }}
            return found > 50;
        }})()"
    )
}

const NEW_YEAR: &str = "2026-01-01T00:00:00Z";

/// A flagged session without events.
fn report(number: usize, node: &str, block: &str, time: &str) -> Value {
    json!({ "id": format!("{number:016x}"), "revision": 1, "node": node, "block": block, "pool": "",
        "flagged": true, "score": 0.9, "threshold": 0.5, "model": "m", "reasons": ["score"],
        "start": time, "end": time, "events": [], "events_dropped": 0 })
}

fn send(collector: &Collector, reports: &[Value]) {
    let json = [("Content-Type", "application/json")];
    let body = logs_request(reports).to_string();
    let answer = http::post(collector.address, "/v1/logs", &json, body.as_bytes()).unwrap();
    assert_eq!((answer.status, answer.text().as_str()), (200, "{}"));
}

#[test]
fn a_person_finds_their_way_from_the_overview_to_a_line_and_marks_it() {
    let Some(mut browser) = Browser::start() else { return };
    let batch = batch(77, 200);
    let folder = TempDir::new().unwrap();
    let collector = Collector::start(folder.path());
    let node = Node::new(collector.address, "");
    fs::write(node.log(), &batch.log).unwrap();
    let detected = detect(&[&node.log()]);
    let agent = node.start_agent();
    collector.wait_for_flags(&detected.flags());
    collector.wait_for(Node::NAME, "sessions_scored", 200);
    let flags = detected.flags().len();
    let page = format!("http://{}/", collector.address);

    // The logs are of 2008: the overview says where something is, and goes there.
    browser.open(&page);
    browser.wait(&drawn(".histogram", FLAGGED));
    browser.click("#overview-view .hint .link");
    browser.wait("location.hash.includes('from=2008')");
    browser.wait(&format!("document.querySelector('.fact b').textContent === '{flags}'"));
    browser.wait(&drawn(".timeline", FLAGGED));
    browser.wait("document.querySelectorAll('.bars li').length > 0");

    // Incidents in the same range, one with its lanes and events.
    browser.press("2");
    browser.wait("document.querySelectorAll('#incidents-view .rows tr').length > 0 && location.hash.includes('from=2008')");
    browser.click("#incidents-view .rows .link");
    browser.wait("document.querySelectorAll('.lanes .event').length > 0 && document.querySelectorAll('.incident tbody.event').length > 0");
    browser.wait("/^merged session: .+ over \\d+ events of 1 node$/.test(document.querySelector('.joint').textContent)");

    // Sessions: as many as are flagged; a filter in the address; a mark.
    browser.press("3");
    browser.wait(&format!("document.querySelectorAll('#rows tr').length === {flags}"));
    browser.fill("#filter-block", detected.reports[0]["block"].as_str().unwrap());
    browser
        .wait("document.querySelectorAll('#rows tr').length === 1 && location.hash.includes('block=blk_')");
    browser.click("#rows tr");
    browser.click("#session .mark button");
    browser.wait("document.querySelector('#session .mark button')?.getAttribute('aria-pressed') === 'true'");
    let marks = http::get(collector.address, "/api/marks").unwrap().text();
    assert!(marks.contains("\"mark\":\"real\"") && marks.lines().count() == 1, "{marks}");

    // The views of the fleet know the agent.
    let sparkline = "[...document.querySelectorAll('.sparkline canvas')].some((canvas) => \
                     canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data.some((part) => part > 0))";
    for (view, selector) in [
        ("fleet", ".fleet tbody .name"),
        ("templates", ".templates tbody tr"),
        ("models", ".models tbody tr"),
    ] {
        browser.open(&format!("{page}#view={view}&from=2008-01-01T00:00:00Z&to=2100-01-01T00:00:00Z"));
        browser.wait(&format!("document.querySelectorAll('{selector}').length > 0"));
        if view == "templates" {
            browser.wait(sparkline);
        }
    }
    assert!(browser.complaints.is_empty(), "{:?}", browser.complaints);
    browser.end();
    end(agent);
    collector.end();
}

#[test]
fn the_timeline_is_zoomed_by_mouse_and_keys_and_has_the_colours_of_the_theme() {
    let Some(mut browser) = Browser::start() else { return };
    let folder = TempDir::new().unwrap();
    let collector = Collector::start(folder.path());
    let time = |minute: usize| format!("2026-01-01T00:{minute:02}:00Z");
    let reports: Vec<Value> =
        (0..60).map(|minute| report(minute, "dn1", &format!("blk_{minute}"), &time(minute))).collect();
    send(&collector, &reports);
    let range = "from=2026-01-01T00:00:00Z&to=2026-01-01T01:00:00Z";
    browser.prefer("light");
    browser.open(&format!("http://{}/#view=overview&{range}", collector.address));
    browser.wait(&drawn(".timeline", FLAGGED));
    browser.prefer("dark");
    browser.wait(&drawn(".timeline", FLAGGED_DARK));
    // The bars that the dragging touched, whole ones; then the one that a key points at with those beside it.
    browser.drag(".timeline .u-over", 0.255, 0.745);
    browser.wait(
        "decodeURIComponent(location.hash).includes('from=2026-01-01T00:15:00Z&to=2026-01-01T00:45:00Z')",
    );
    browser.wait("document.querySelector('.fact b').textContent === '30'");
    browser.value("document.querySelector('.timeline').focus()");
    browser.press("ArrowRight");
    browser.wait("document.querySelector('.tip').textContent.includes(' 1 flagged')");
    browser.press("Enter");
    browser.wait("document.querySelector('.fact b').textContent === '3'");
    // An incident of a session whose events were not sent.
    browser.click("#overview-view .rows .link");
    browser.wait("document.querySelector('.lanes svg') !== null");
    assert!(browser.complaints.is_empty(), "{:?}", browser.complaints);
    browser.end();
    collector.end();
}

#[test]
fn hostile_lines_are_text_and_news_arrive_by_themselves() {
    let Some(mut browser) = Browser::start() else { return };
    let folder = TempDir::new().unwrap();
    let collector = Collector::start(folder.path());
    let event = json!({ "time": NEW_YEAR, "template": "00000000000000aa", "text": HOSTILE, "level": "WARN",
        "logger": HOSTILE, "exception": "", "frame": "", "contribution": 0.5, "file": HOSTILE, "offset": 1, "line": HOSTILE });
    let hostile = |number: usize| {
        let mut report = report(number, "<b>dn1</b>", "blk_7", NEW_YEAR);
        report["model"] = json!("<i>m</i>");
        report["reasons"] = json!(["<u>score</u>"]);
        report["events"] = json!([event]);
        report
    };
    send(&collector, &[hostile(1)]);
    let page = format!("http://{}/", collector.address);
    browser.open(&format!("{page}#view=sessions&id={:016x}", 1));
    browser.wait("document.querySelector('#session .raw code')?.textContent.includes(\"<script>document.title='owned'</script>\")");
    browser.wait("document.querySelector('#session .raw code').textContent.includes('U+202Egnp.exe')");
    // Stored while the page is open: it is shown without a reload.
    send(&collector, &[hostile(2)]);
    browser.wait("document.querySelectorAll('#rows tr').length === 2");
    for view in [
        "incident&incident=blk_7",
        "incidents&from=2025-12-31T00:00:00Z&to=2026-01-02T00:00:00Z",
        "fleet",
        "models",
    ] {
        browser.open(&format!("{page}#view={view}"));
        browser.wait("document.getElementById('live').textContent === 'live'");
        browser.wait("document.querySelector('main').innerText.includes('<b>dn1</b>') || location.hash.includes('models')");
    }
    let made = "document.title === 'owned' || document.querySelectorAll('main b > b, main script, main img[src=x], main u, main i[src]').length > 0";
    assert_eq!(browser.value(made), false);
    assert!(browser.complaints.is_empty(), "{:?}", browser.complaints);
    browser.end();
    collector.end();
}

/// However many nodes there are, the page draws those that can be seen.
#[test]
fn a_large_fleet_is_sorted_and_scrolled() {
    let Some(mut browser) = Browser::start() else { return };
    let folder = TempDir::new().unwrap();
    let collector = Collector::start(folder.path());
    let report = |number: usize| report(number, &format!("dn{number:04}"), "", NEW_YEAR);
    // A request makes one node known by its sender, and all by their flagged sessions.
    send(&collector, &(0..FLEET).map(report).collect::<Vec<_>>());
    browser.open(&format!("http://{}/#view=fleet", collector.address));
    let names =
        "[...document.querySelectorAll('.fleet tbody td.name:first-child')].map((cell) => cell.textContent)";
    browser.wait(&format!("{names}.length > 10"));
    browser.click(".fleet th button");
    browser.wait(&format!("{names}[0] === 'dn0000'"));
    browser.click(".fleet th button");
    browser.wait(&format!("{names}[0] === 'dn{}'", FLEET - 1));
    browser.value(
        "(() => { const all = document.querySelector('.fleet').parentElement; all.scrollTop = all.scrollHeight; })()",
    );
    browser.wait(&format!("{names}.at(-1) === 'dn0000'"));
    assert_eq!(browser.value(&format!("{names}.length < 200")), true);
    assert!(browser.complaints.is_empty(), "{:?}", browser.complaints);
    browser.end();
    collector.end();
}

#[test]
fn a_page_with_users_asks_for_a_login() {
    let Some(mut browser) = Browser::start() else { return };
    let folder = TempDir::new().unwrap();
    let mut made = Command::new(binary("blocksift-collector"));
    let mut made = made.arg("password").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut made.stdin.take().unwrap(), b"correct horse\n").unwrap();
    let hash = String::from_utf8(made.wait_with_output().unwrap().stdout).unwrap();
    let configuration = folder.path().join("collector.toml");
    let text = format!(
        "listen = \"127.0.0.1:0\"\ndatabase = \"{}\"\n[[user]]\nname = \"vera\"\npassword_hash = \"{}\"\nrole = \"view\"\n",
        folder.path().join("a.sqlite").display(),
        hash.trim()
    );
    fs::write(&configuration, text).unwrap();
    let arguments = ["--config".as_ref(), configuration.as_os_str()];
    let mut collector =
        Process::start("collector", binary("blocksift-collector").as_os_str(), arguments).unwrap();
    let line = collector.wait_for_line("listening on http://", PATIENCE).unwrap();
    browser.open(line.trim_start_matches("listening on "));
    browser.wait("document.querySelector('.login') !== null && getComputedStyle(document.querySelector('main')).display === 'none'");
    browser.fill(".login input[type=text]", "vera");
    browser.fill(".login input[type=password]", "wrong horse");
    browser.click(".login button");
    browser.wait("document.querySelector('.login .trouble').textContent.includes('wrong')");
    browser.value("document.querySelector('.login input[type=password]').value = ''");
    browser.fill(".login input[type=password]", "correct horse");
    browser.click(".login button");
    browser.wait("document.getElementById('person').textContent.includes('vera')");
    browser.wait("document.querySelector('.facts .fact') !== null");
    browser.end();
    assert!(collector.end(PATIENCE).unwrap().success());
}
