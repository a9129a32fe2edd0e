//! Exceptions in the text of a record: the class that was thrown, its root cause and the first frame of its trace.
//! Line numbers and what a JVM makes up at run time are left out, so that the same fault gives the same words with
//! every release. Pure functions of a line each, and [`Trace`], which keeps what counts of a record's lines.

use std::sync::LazyLock;

use memchr::memchr;
use memchr::memmem::{self, Finder};

/// Bytes of a name that are kept; longer ones are cut.
pub const NAME_BYTES_MAX: usize = 256;

/// Words looked at in one message; the exception is among the first, if there is one.
const WORDS_MAX: usize = 16;

/// How the names of exceptions end where nothing else tells that they are one.
const SUFFIXES: [&[u8]; 3] = [b"Exception", b"Error", b"Throwable"];
/// Made ready once: that costs more than a search.
static SUFFIX_FINDERS: LazyLock<[Finder<'static>; 3]> = LazyLock::new(|| SUFFIXES.map(Finder::new));

/// The class of the exception that `line` names: at its start (`java.io.IOException: ...`, `Caused by: a.b.C: ...`,
/// `Suppressed: ...`), or anywhere in a message if its name says what it is (`... cause:java.io.EOFException: ...`).
/// Of several in a message the first. Frames (`at ...`) and `... 12 more` name none.
#[must_use]
pub fn class(line: &[u8]) -> Option<&[u8]> {
    let text = line.trim_ascii_start();
    if text.starts_with(b"at ") || text.starts_with(b"... ") {
        return None;
    }
    Opening::of(text).class().or_else(|| class_within(text))
}

/// Class and method of a frame, such as `a.b.C.m` of `at a.b.C.m(C.java:12)`; the `at` may be missing, as where a
/// thread's stack is printed. The module in front (`java.base/`) and what stands behind `$$Lambda` are left out.
#[must_use]
pub fn frame(line: &[u8]) -> Option<&[u8]> {
    let text = line.trim_ascii_start();
    let (text, has_at) = text.strip_prefix(b"at ").map_or((text, false), |text| (text, true));
    let (name, place) = text.split_at_checked(memchr(b'(', text)?)?;
    let place = place.get(1..memchr(b')', place)?)?;
    if !has_at && !is_place(place) {
        return None;
    }
    let name = match memmem::find(name, b"$$Lambda") {
        Some(lambda) => without_module(name.get(..lambda)?),
        None => without_module(name),
    };
    let is_name = name.contains(&b'.')
        && name.iter().all(|&byte| is_name_byte(byte) || byte == b'.' || byte == b'<' || byte == b'>');
    is_name.then(|| cut(name))
}

/// What is known of the exception in one record. Its buffers are used again for the next.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    exception: Vec<u8>,
    cause: Vec<u8>,
    frame: Vec<u8>,
    /// Indentation of the suppressed exception that the last lines belong to.
    suppressed: Option<usize>,
}

impl Trace {
    /// Knows nothing yet; room for the names is made now.
    #[must_use]
    pub fn new() -> Self {
        let name = || Vec::with_capacity(NAME_BYTES_MAX);
        Self { exception: name(), cause: name(), frame: name(), suppressed: None }
    }

    /// Forgets the record.
    pub fn clear(&mut self) {
        self.exception.clear();
        self.cause.clear();
        self.frame.clear();
        self.suppressed = None;
    }

    /// Takes one line of the record: its message first, then those that continue it.
    pub fn line(&mut self, line: &[u8]) {
        let text = line.trim_ascii_start();
        let indentation = line.len() - text.len();
        if text.starts_with(b"... ") {
            return;
        }
        if let Some(frame) = frame(text) {
            if self.frame.is_empty() {
                self.frame.extend_from_slice(frame);
            }
            return;
        }
        let opening = Opening::of(text);
        if matches!(opening, Opening::Suppressed(_)) {
            // The outermost one; what it suppressed itself is indented further.
            self.suppressed = Some(self.suppressed.map_or(indentation, |outer| outer.min(indentation)));
            return;
        }
        if self.suppressed.is_some_and(|outer| indentation >= outer) {
            return;
        }
        let Some(name) = class(text) else { return };
        self.suppressed = None;
        if matches!(opening, Opening::Cause(_)) {
            self.cause.clear();
            self.cause.extend_from_slice(name);
        }
        if self.exception.is_empty() {
            self.exception.extend_from_slice(name);
            // RemoteException(class on the other side)
            if let Some(inner) = remote(text, name) {
                self.cause.extend_from_slice(inner);
            }
        }
    }

    /// The first class named; empty if none was.
    #[must_use]
    pub fn exception(&self) -> &[u8] {
        &self.exception
    }

    /// The class of the last `Caused by`, suppressed exceptions left out, or what `RemoteException(...)` brought from
    /// the other side; empty if there is none.
    #[must_use]
    pub fn cause(&self) -> &[u8] {
        &self.cause
    }

    /// The first frame; empty if there is none.
    #[must_use]
    pub fn frame(&self) -> &[u8] {
        &self.frame
    }

    /// Whether no line named an exception or a frame.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.exception.is_empty() && self.frame.is_empty()
    }
}

/// How a line opens that starts with a class, and what stands behind.
enum Opening<'a> {
    Cause(&'a [u8]),
    Suppressed(&'a [u8]),
    Plain(&'a [u8]),
}

impl<'a> Opening<'a> {
    /// `text` is without indentation.
    fn of(text: &'a [u8]) -> Self {
        if let Some(rest) = text.strip_prefix(b"Caused by: ") {
            return Self::Cause(rest);
        }
        text.strip_prefix(b"Suppressed: ").map_or(Self::Plain(text), Self::Suppressed)
    }

    /// The class that stands at the very start: a package, small, and a class, capital, and then a colon or nothing.
    fn class(&self) -> Option<&'a [u8]> {
        let (Self::Cause(text) | Self::Suppressed(text) | Self::Plain(text)) = *self;
        let length = text.iter().take_while(|&&byte| is_name_byte(byte) || byte == b'.').count();
        let (name, rest) = text.split_at_checked(length)?;
        let dot = name.iter().rposition(|&byte| byte == b'.')?;
        let has_form = name.first()?.is_ascii_lowercase() && name.get(dot + 1)?.is_ascii_uppercase();
        let ends = match rest.trim_ascii_end() {
            b"" | [b':'] | [b':', b' ', ..] => true,
            // RemoteException(class on the other side)
            [b'(', rest @ ..] => is_exception(name) && memmem::find(rest, b")").is_some(),
            _ => false,
        };
        (has_form && ends).then(|| cut(name))
    }
}

/// The first dotted name in `text` that ends like those of exceptions.
fn class_within(text: &[u8]) -> Option<&[u8]> {
    let mut from = 0;
    for _ in 0..WORDS_MAX {
        let end = from + text.get(from..).and_then(next_suffix)?;
        let before = text.get(..end)?;
        let length = before.iter().rev().take_while(|&&byte| is_name_byte(byte) || byte == b'.').count();
        let name = before.get(end - length..)?;
        let name = name.strip_prefix(b".").unwrap_or(name);
        let goes_on = text.get(end).is_some_and(|&byte| is_name_byte(byte))
            || (text.get(end) == Some(&b'.') && text.get(end + 1).is_some_and(|&byte| is_name_byte(byte)));
        if !goes_on && name.contains(&b'.') && is_exception(name) {
            return Some(cut(name));
        }
        from = end;
    }
    None
}

/// Behind the first suffix in `text`.
fn next_suffix(text: &[u8]) -> Option<usize> {
    SUFFIX_FINDERS.iter().filter_map(|suffix| Some(suffix.find(text)? + suffix.needle().len())).min()
}

fn is_exception(name: &[u8]) -> bool {
    SUFFIXES.iter().any(|suffix| name.ends_with(suffix))
}

/// The class in the parentheses behind `name`, with which `text` starts somewhere.
fn remote<'a>(text: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let behind = text.get(memmem::find(text, name)? + name.len()..)?;
    let inner = behind.strip_prefix(b"(")?;
    let inner = inner.get(..memchr(b')', inner)?)?;
    (is_exception(inner) || inner.contains(&b'.')).then(|| cut(inner))
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$')
}

/// What stands in a frame's parentheses.
fn is_place(place: &[u8]) -> bool {
    let file = place.split(|&byte| byte == b':').next().unwrap_or(place);
    matches!(place, b"Native Method" | b"Unknown Source" | b"<generated>")
        || [&b".java"[..], b".scala", b".kt"].iter().any(|end| file.ends_with(end))
}

/// Without loader and module, which stand before slashes.
fn without_module(name: &[u8]) -> &[u8] {
    name.iter().rposition(|&byte| byte == b'/').and_then(|slash| name.get(slash + 1..)).unwrap_or(name)
}

fn cut(name: &[u8]) -> &[u8] {
    name.get(..NAME_BYTES_MAX).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(bytes: Option<&[u8]>) -> String {
        String::from_utf8_lossy(bytes.unwrap_or(b"-")).into_owned()
    }

    #[test]
    fn classes() {
        for (line, expected) in [
            ("java.io.IOException: Broken pipe", "java.io.IOException"),
            ("java.lang.IndexOutOfBoundsException", "java.lang.IndexOutOfBoundsException"),
            ("  java.io.EOFException:", "java.io.EOFException"),
            ("Caused by: java.net.ConnectException: Connection refused", "java.net.ConnectException"),
            ("\tSuppressed: java.io.IOException: close", "java.io.IOException"),
            ("\tCaused by: a.b.SecretManager$InvalidToken: expired", "a.b.SecretManager$InvalidToken"),
            ("org.x.RemoteException(org.x.SafeModeException): no", "org.x.RemoteException"),
            ("got exception java.io.EOFException", "java.io.EOFException"),
            ("x as:hdfs (auth:SIMPLE) cause:java.io.IOException: File missing", "java.io.IOException"),
            ("10.0.0.1:50010:Exception serving blk_1: java.io.IOException: e", "java.io.IOException"),
            ("failed with java.lang.OutOfMemoryError.", "java.lang.OutOfMemoryError"),
            ("\tat org.x.RemoteException.wrap(RemoteException.java:12)", "-"),
            ("org.x.RemoteException.wrap(RemoteException.java:12)", "-"),
            ("\t... 12 more", "-"),
            ("Exception for BP-1-10.0.0.1-2:blk_1_2", "-"),
            ("IOException in offerService", "-"),
            ("  getVolume()       = /data/1/dfs", "-"),
            ("see org.x.IOExceptionHandler for more", "-"),
            ("file:/data/java.io.txt", "-"),
            ("", "-"),
        ] {
            assert_eq!(text(class(line.as_bytes())), expected, "{line}");
        }
    }

    #[test]
    fn frames() {
        for (line, expected) in [
            (
                "\tat org.x.BlockReceiver.receiveBlock(BlockReceiver.java:849)",
                "org.x.BlockReceiver.receiveBlock",
            ),
            ("        at java.lang.Thread.run(Thread.java)", "java.lang.Thread.run"),
            ("\tat sun.nio.ch.Net.poll(Native Method)", "sun.nio.ch.Net.poll"),
            ("\tat java.base/java.lang.Thread.run(Thread.java:833)", "java.lang.Thread.run"),
            ("\tat app//org.x.A$B.<init>(A.java:1)", "org.x.A$B.<init>"),
            ("\tat java.base@17.0.1/java.io.F.read(F.java:1) ~[?:?]", "java.io.F.read"),
            ("\tat org.x.A$$Lambda$14/0x0000800.run(Unknown Source)", "org.x.A"),
            ("org.x.DataXceiver.run(DataXceiver.java:251)", "org.x.DataXceiver.run"),
            ("getVisibleLength()= 163", "-"),
            ("DatanodeRegistration(10.0.0.1, ipcPort=1)", "-"),
            ("\t... 12 more", "-"),
            ("\tat (", "-"),
        ] {
            assert_eq!(text(frame(line.as_bytes())), expected, "{line}");
        }
    }

    fn trace(lines: &str) -> [String; 3] {
        let mut trace = Trace::new();
        trace.line(b"of a record before: java.io.Error");
        trace.clear();
        lines.lines().for_each(|line| trace.line(line.as_bytes()));
        [trace.exception(), trace.cause(), trace.frame()].map(|bytes| text(Some(bytes)))
    }

    #[test]
    fn a_trace_with_causes_and_suppressed_exceptions() {
        let lines = "Could not write blk_1\n\
            java.io.IOException: outer\n\
            \tat a.B.first(B.java:1)\n\
            \tat a.B.second(B.java:2)\n\
            \tSuppressed: java.lang.IllegalStateException: not closed\n\
            \t\tat a.B.close(B.java:3)\n\
            \tCaused by: java.lang.Error: of the suppressed one\n\
            \t\t... 2 more\n\
            Caused by: java.net.SocketException: middle\n\
            \tat a.C.x(C.java:1)\n\
            \t... 12 more\n\
            Caused by: java.io.EOFException\n\
            \t... 13 more\n";
        assert_eq!(trace(lines), ["java.io.IOException", "java.io.EOFException", "a.B.first"]);
    }

    #[test]
    fn a_message_that_names_the_exception() {
        let lines = "x: java.io.EOFException: Premature EOF\n\tat a.B.c(B.java:1)";
        assert_eq!(trace(lines), ["java.io.EOFException", "", "a.B.c"]);
        assert_eq!(trace("org.x.RemoteException(a.b.SafeModeException): no")[1], "a.b.SafeModeException");
        assert_eq!(trace("Receiving blk_1 src: /10.0.0.1:2"), ["", "", ""]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_accepted(lines in prop::collection::vec("(\tat |Caused by: |Suppressed: |[a-c.$/(): \t]{0,9}|Exception|Error){0,6}", 0..8)) {
            let mut trace = Trace::new();
            for line in &lines {
                trace.line(line.as_bytes());
                for name in [class(line.as_bytes()), frame(line.as_bytes())].into_iter().flatten() {
                    prop_assert!(name.len() <= NAME_BYTES_MAX && name.contains(&b'.'));
                }
            }
            prop_assert!(trace.exception().len() <= NAME_BYTES_MAX);
        }

        #[test]
        fn random_bytes_are_accepted(line in prop::collection::vec(any::<u8>(), 0..100)) {
            Trace::new().line(&line);
        }
    }
}
