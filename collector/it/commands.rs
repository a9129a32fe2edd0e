//! The commands beside the server: validate, backup, open, token, password.

use super::*;

fn report(id: &str) -> String {
    format!(
        r#"{{"id":"{id}","revision":1,"node":"dn1","block":"blk_7","pool":"","flagged":true,"score":0.9,"threshold":0.5,
        "model":"m","reasons":["score"],"start":"2008-11-09T20:35:18Z","end":"2008-11-09T20:35:18Z","events":[]}}"#
    )
    .replace('\n', "")
}

fn said(directory: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } =
        command(directory, arguments).stdin(Stdio::null()).output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

#[test]
fn open_shows_the_reports_of_a_file_and_takes_no_others() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("flagged.ndjson"), report("0123456789abcdef") + "\n\n").unwrap();
    let collector = Collector::start_with(directory.path(), &["open", "flagged.ndjson"]);
    let sessions = collector.request("GET /api/sessions", "");
    assert!(sessions.contains("\"id\":\"0123456789abcdef\""), "{sessions}");
    assert!(collector.request("GET /api/incidents/blk_7", "").contains("\"sessions_flagged\":1"));
    assert!(collector.request("POST /v1/logs", ACCEPTED).starts_with("HTTP/1.1 403"));
    let (code, _, err) = collector.end("-TERM");
    assert_eq!(code, Some(0), "{err}");
    let left: Vec<_> = std::fs::read_dir(directory.path()).unwrap().collect();
    assert_eq!(left.len(), 1, "no database is left");

    std::fs::write(directory.path().join("bad.ndjson"), "{}\n").unwrap();
    let (code, _, err) = said(directory.path(), &["open", "bad.ndjson"]);
    assert!(code == Some(1) && err.contains("`bad.ndjson` cannot be shown: line 1 is no report"), "{err}");
}

#[test]
fn a_backup_of_a_running_collector_holds_what_was_acknowledged() {
    let directory = tempfile::tempdir().unwrap();
    let collector = Collector::start(directory.path());
    assert!(collector.request("POST /v1/logs", ACCEPTED).starts_with("HTTP/1.1 200"));
    let (code, _, err) = said(directory.path(), &["backup", "copy.sqlite"]);
    assert_eq!(code, Some(0), "{err}");
    let copy =
        Collector::start_with(directory.path(), &["--listen", "127.0.0.1:0", "--database", "copy.sqlite"]);
    assert!(copy.request("GET /api/sessions/0123456789abcdef", "").contains("\"revision\":3"));
    assert_eq!(copy.end("-TERM").0, Some(0));
    let (code, _, err) = said(directory.path(), &["backup", "copy.sqlite"]);
    assert!(code == Some(1) && err.contains("`copy.sqlite` exists already"), "{err}");
    assert_eq!(collector.end("-TERM").0, Some(0));
}

#[test]
fn the_secrets_that_the_commands_make_are_what_validate_takes() {
    let directory = tempfile::tempdir().unwrap();
    let (code, token, _) = said(directory.path(), &["token"]);
    assert_eq!(code, Some(0));
    let hash_line = token.lines().nth(1).unwrap();
    let mut child = command(directory.path(), &["password"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"correct horse\n").unwrap();
    let hash = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
    let text = format!(
        "[[agent]]\n{hash_line}\nnodes = [\"*\"]\n[[user]]\nname = \"eve\"\npassword_hash = \"{}\"\nrole = \"view\"\n",
        hash.trim()
    );
    std::fs::write(directory.path().join("c.toml"), &text).unwrap();
    let (code, out, err) = said(directory.path(), &["validate", "--config", "c.toml"]);
    assert!(code == Some(0) && out.contains("1 users, 1 tokens, TLS off"), "{out}{err}");
    std::fs::write(directory.path().join("c.toml"), text.replace("view", "admin")).unwrap();
    let (code, _, err) = said(directory.path(), &["validate", "--config", "c.toml"]);
    assert!(code == Some(1) && err.contains("role"), "{err}");
    let (code, _, err) = said(directory.path(), &["validate", "--listen", "0.0.0.0:1"]);
    assert!(code == Some(1) && err.contains("no [tls]"), "{err}");
}
