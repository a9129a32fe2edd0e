//! A headless Chromium, driven over its debugging pipe: JSON messages that end with a zero byte, in one FIFO and out of
//! another. So no library for web sockets is needed, and nothing listens anywhere.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use blocksift_tests::process::{Process, poll};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::PATIENCE;

/// What Chromium answers where a page went away before it had answered.
const NAVIGATED: &str = "Inspected target navigated or closed";

/// Names of the program, Debian's first.
const PROGRAMS: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

/// A browser with one page.
pub(crate) struct Browser {
    process: Process,
    commands: File,
    messages: Receiver<Value>,
    page: String,
    last: u64,
    /// What the page complained about: exceptions, and errors such as a script that the policy did not run.
    pub(crate) complaints: Vec<String>,
    _folder: TempDir,
}

/// Whether a program of this name runs.
fn runs(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success())
}

impl Browser {
    /// Starts one; none, said loudly, where no Chromium is installed.
    pub(crate) fn start() -> Option<Self> {
        let Some(program) = PROGRAMS.into_iter().find(|program| runs(program)) else {
            let skipped = b"SKIPPED: no chromium is installed; the collector's page is not looked at\n";
            // Past the capture of the test harness.
            io::stderr().write_all(skipped).unwrap();
            return None;
        };
        let folder = TempDir::new().unwrap();
        let at = |name: &str| folder.path().join(name).display().to_string();
        for pipe in ["in", "out"] {
            assert!(Command::new("mkfifo").arg(at(pipe)).status().unwrap().success());
        }
        fs::create_dir(at("profile")).unwrap();
        let script = format!(
            "exec {program} --headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run \
             --window-size=1440,900 --user-data-dir='{}' --remote-debugging-pipe about:blank 3<'{}' 4>'{}'",
            at("profile"),
            at("in"),
            at("out")
        );
        let process = Process::start("chromium", "sh".as_ref(), ["-c", &script]).unwrap();
        // Each waits for the other end.
        let commands = OpenOptions::new().write(true).open(at("in")).unwrap();
        let answers = BufReader::new(File::open(at("out")).unwrap());
        let (sender, messages) = channel();
        thread::spawn(move || {
            for message in answers.split(0) {
                let Ok(message) = message else { return };
                let Ok(message) = serde_json::from_slice(&message) else { continue };
                if sender.send(message).is_err() {
                    return;
                }
            }
        });
        let mut browser = Self {
            process,
            commands,
            messages,
            page: String::new(),
            last: 0,
            complaints: Vec::new(),
            _folder: folder,
        };
        let target =
            browser.call("Target.createTarget", &json!({ "url": "about:blank" }))["targetId"].clone();
        let session = browser.call("Target.attachToTarget", &json!({ "targetId": target, "flatten": true }));
        browser.page = session["sessionId"].as_str().unwrap().to_owned();
        for domain in ["Page", "Runtime", "Log"] {
            browser.call(&format!("{domain}.enable"), &json!({}));
        }
        Some(browser)
    }

    fn call(&mut self, method: &str, params: &Value) -> Value {
        self.last += 1;
        let mut message = json!({ "id": self.last, "method": method, "params": params });
        if !self.page.is_empty() {
            message["sessionId"] = json!(self.page);
        }
        self.commands.write_all(format!("{message}\0").as_bytes()).unwrap();
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(answer) = self.messages.recv_timeout(left) else {
                panic!("chromium does not answer {method}: {}", self.process.output())
            };
            match answer["method"].as_str() {
                Some("Runtime.exceptionThrown") => self.complaints.push(answer["params"].to_string()),
                Some("Log.entryAdded") if answer["params"]["entry"]["level"] == "error" => {
                    self.complaints.push(answer["params"]["entry"].to_string());
                }
                _ => {}
            }
            if answer["id"] == self.last {
                // The page goes elsewhere while it is asked, as after a login: it has nothing to say yet.
                if answer["error"]["message"] == NAVIGATED {
                    return Value::Null;
                }
                assert!(answer["error"].is_null(), "{method}: {}", answer["error"]);
                return answer["result"].clone();
            }
        }
    }

    /// Opens an address as if nothing had been open before.
    pub(crate) fn open(&mut self, address: &str) {
        self.call("Page.navigate", &json!({ "url": "about:blank" }));
        self.call("Page.navigate", &json!({ "url": address }));
    }

    /// What an expression of JavaScript comes to in the page.
    pub(crate) fn value(&mut self, expression: &str) -> Value {
        let params = json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        self.call("Runtime.evaluate", &params)["result"]["value"].clone()
    }

    /// Waits until an expression is true.
    pub(crate) fn wait(&mut self, expression: &str) {
        if !poll(PATIENCE, || self.value(expression) == true) {
            let shown = self.value("document.body.innerText");
            panic!(
                "`{expression}` does not come true; the page shows {shown}; it complained of {:?}",
                self.complaints
            );
        }
    }

    /// Clicks on the first element that a selector finds.
    pub(crate) fn click(&mut self, selector: &str) {
        self.wait(&format!("document.querySelector({selector:?}) !== null"));
        self.value(&format!("document.querySelector({selector:?}).click()"));
    }

    /// Presses a key: a character, or one with a name.
    pub(crate) fn press(&mut self, key: &str) {
        for kind in ["keyDown", "keyUp"] {
            let text = if kind == "keyDown" && key.len() == 1 { key } else { "" };
            self.call("Input.dispatchKeyEvent", &json!({ "type": kind, "key": key, "text": text }));
        }
    }

    /// Drags over the first element that a selector finds, between two shares of its width.
    pub(crate) fn drag(&mut self, selector: &str, from: f64, to: f64) {
        let place =
            self.value(&format!("document.querySelector({selector:?}).getBoundingClientRect().toJSON()"));
        let at = |share: f64| place["left"].as_f64().unwrap() + share * place["width"].as_f64().unwrap();
        let y = place["top"].as_f64().unwrap() + place["height"].as_f64().unwrap() / 2.0;
        for (kind, share) in
            [("mouseMoved", from), ("mousePressed", from), ("mouseMoved", to), ("mouseReleased", to)]
        {
            let params = json!({ "type": kind, "x": at(share), "y": y, "button": "left", "buttons": 1, "clickCount": 1 });
            self.call("Input.dispatchMouseEvent", &params);
        }
    }

    /// Prefers colours, `light` or `dark`.
    pub(crate) fn prefer(&mut self, scheme: &str) {
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.call("Emulation.setEmulatedMedia", &json!({ "features": features }));
    }

    /// Types text into an input, as a person would see it filled.
    pub(crate) fn fill(&mut self, selector: &str, text: &str) {
        self.wait(&format!("document.querySelector({selector:?}) !== null"));
        self.value(&format!("document.querySelector({selector:?}).focus()"));
        self.call("Input.insertText", &json!({ "text": text }));
    }

    /// Ends it.
    pub(crate) fn end(mut self) {
        self.call("Browser.close", &json!({}));
        drop(self.process.wait(Duration::from_secs(10)));
    }
}
