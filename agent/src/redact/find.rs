//! What in a text is an address, a host name, a path or a user's name. By form where the form tells, else by what stands
//! beside it as Hadoop writes it: `name/address`, `name:port`, `user=name`, `name (auth:...)`, `owner:group:rwx...`. In
//! doubt a value is taken for one: a hash too many hides little of what happened, a name too few is out for good.

use std::cmp::Reverse;
use std::net::{IpAddr, Ipv6Addr};

use regex::{Captures, Match, Regex};

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// IPv4 or IPv6.
    Address,
    Host,
    Path,
    User,
    /// What the operator's patterns match.
    Other,
}

impl Kind {
    /// What the hash of such a value begins with.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Address => "addr",
            Self::Host => "host",
            Self::Path => "path",
            Self::User => "user",
            Self::Other => "hidden",
        }
    }
}

/// The next part of a text.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found<'a> {
    /// Stays.
    Keep(&'a str),
    /// `value` has to go, `kept` right behind it stays.
    Replace { kind: Kind, value: &'a str, kept: &'a str },
}

/// Everything that can be told by its form or by its neighbours. The first alternative that fits counts.
const PATTERN: &str = r#"(?x)
    (?P<pool> BP-[0-9]+- ) (?P<pool_host> [^\s:/]+? ) (?P<pool_time> -[0-9]{6,} )
  | (?P<keep> blk_-?[0-9]+(?:_[0-9]+)? | [0-9]{2,4}/[0-9]{2}/[0-9]{2} | [0-9]{1,2}/[A-Z][a-z]{2}/[0-9]{4} | \([A-Za-z_$]WORD*\.(?:java|scala|kt):[0-9]+\) )
  | (?P<scheme> [A-Za-z][A-Za-z+-]*:// ) (?P<authority> [^\s/"'<>,;()\[\]{}]* ) (?P<below> /PATH* )?
  | (?P<named> [A-Za-z0-9][A-Za-z0-9_.-]* )? (?P<slash> /\[? ) (?P<named_address> V4 | V6 )
  | (?P<auth_user> [A-Za-z_][A-Za-z0-9_.$/@-]* ) (?P<auth> \ \(auth: )
  | (?P<owner> NAME ) : (?P<group> NAME ) (?P<mode> :[d-](?:[r-][w-][xsStT-]){3} )
  | (?P<user_key> (?-u:\b)(?: KEYS [\ ]?[=:][\ ]?["']? | (?:for|by|as|of|from|to)\ (?:user|owner)\ ["']? | as: ) ) (?P<user> PRINCIPAL | NAME )
  | (?P<principal> PRINCIPAL )
  | (?P<v6> V6 )
  | (?P<v4> V4 )
  | (?P<host> [A-Za-z][A-Za-z0-9-]* ) (?P<port> :[0-9]{4,5}(?-u:\b) )
  | (?P<dotted> WORD(?:WORD|-)*(?:\.(?:WORD|-)+)+ )
  | (?P<path> START/PATH+ | /PATH+/PATH+ )
"#;

/// What the words in [`PATTERN`] stand for. A path behind a word, as in `name/x/y`, has two parts or more: `and/or` is none.
const PARTS: [(&str, &str); 8] = [
    ("START", r"(?:\b{start-half})"),
    ("PATH", r#"[^\s"'<>,;()\[\]{}|*?]"#),
    ("PRINCIPAL", r"NAME(?:/[A-Za-z0-9_.-]+)?@[A-Za-z0-9][A-Za-z0-9_.-]*"),
    ("NAME", r"[A-Za-z_][A-Za-z0-9_.$-]*"),
    ("KEYS", r"[A-Za-z0-9_]*(?i:user(?:_?name)?|ugi|owner|group|principal|login|doas)"),
    ("WORD", r"[A-Za-z0-9_$]"),
    ("V6", r"(?:[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){1,8}:V4|[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,9})"),
    ("V4", r"(?:[0-9]{1,3}\.){3,}[0-9]{1,3}"),
];

/// Words that stand before a number behind a colon without being hosts.
const NOT_HOSTS: [&str; 16] = [
    "at", "bytes", "code", "count", "id", "java", "len", "length", "line", "offset", "pid", "port", "seqno",
    "size", "time", "timeout",
];
/// Words behind "user" that are not names.
const NOT_USERS: [&str; 16] = [
    "and", "can", "cannot", "does", "for", "has", "in", "is", "name", "not", "null", "on", "or", "to", "was",
    "with",
];
/// Ends of names that are files, not hosts.
const FILE_ENDS: [&str; 9] = ["ckpt", "jar", "java", "log", "meta", "out", "properties", "tmp", "xml"];

/// Finds values in texts.
#[derive(Debug)]
pub(super) struct Finder {
    all: Regex,
    v4: Regex,
}

impl Finder {
    #[expect(clippy::expect_used, reason = "constant expressions, compiled by the tests")]
    pub(super) fn new() -> Self {
        let whole = |pattern: &str| {
            let whole = PARTS.iter().fold(pattern.to_owned(), |text, (word, part)| text.replace(word, part));
            Regex::new(&whole).expect("a constant expression")
        };
        Self { all: whole(PATTERN), v4: whole("V4") }
    }

    /// Hands all of `text` over in its order, part by part.
    pub(super) fn each<'a>(&self, text: &'a str, mut part: impl FnMut(Found<'a>)) {
        let mut end = 0;
        for captures in self.all.captures_iter(text) {
            let Some(whole) = captures.get(0) else { continue };
            part(Found::Keep(text.get(end..whole.start()).unwrap_or_default()));
            self.sort(&captures, whole.as_str(), &mut part);
            end = whole.end();
        }
        part(Found::Keep(text.get(end..).unwrap_or_default()));
    }

    fn sort<'a>(&self, captures: &Captures<'a>, whole: &'a str, part: &mut impl FnMut(Found<'a>)) {
        let text = |name| captures.name(name).map_or("", |found: Match<'a>| found.as_str());
        let has = |name| captures.name(name).is_some();
        let mut replace = |kind, value, kept| part(Found::Replace { kind, value, kept });
        if has("pool") {
            let host = text("pool_host");
            part(Found::Keep(text("pool")));
            part(Found::Replace { kind: host_or_address(host), value: host, kept: text("pool_time") });
        } else if has("scheme") {
            part(Found::Keep(text("scheme")));
            authority(text("authority"), part);
            path(text("below"), part);
        } else if has("slash") && split_address(text("named_address")).is_none() {
            part(Found::Keep(whole));
        } else if has("slash") {
            if has("named") {
                replace(Kind::Host, text("named"), "");
            }
            part(Found::Keep(text("slash")));
            address(text("named_address"), part);
        } else if has("auth") {
            replace(Kind::User, text("auth_user"), text("auth"));
        } else if has("mode") {
            replace(Kind::User, text("owner"), ":");
            replace(Kind::User, text("group"), text("mode"));
        } else if has("user_key") {
            part(Found::Keep(text("user_key")));
            match text("user") {
                word if NOT_USERS.contains(&word) => part(Found::Keep(word)),
                name => part(Found::Replace { kind: Kind::User, value: name, kept: "" }),
            }
        } else if has("principal") {
            replace(Kind::User, whole, "");
        } else if has("v6") || has("v4") {
            address(whole, part);
        } else if has("host") {
            match text("host") {
                word if NOT_HOSTS.contains(&word) || is_mixed(word) => part(Found::Keep(whole)),
                host => replace(Kind::Host, host, text("port")),
            }
        } else if has("dotted") {
            self.dotted(whole, part);
        } else if has("path") {
            path(whole, part);
        } else {
            part(Found::Keep(whole));
        }
    }

    /// A host's full name, a class, a file or a number.
    fn dotted<'a>(&self, name: &'a str, part: &mut impl FnMut(Found<'a>)) {
        let last = name.rsplit('.').next().unwrap_or_default();
        let top = last.len() > 1 && last.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'-');
        let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.');
        if top && plain && !is_mixed(name) && !FILE_ENDS.contains(&last) {
            return part(Found::Replace { kind: Kind::Host, value: name, kept: "" });
        }
        let mut end = 0;
        for found in self.v4.find_iter(name) {
            part(Found::Keep(name.get(end..found.start()).unwrap_or_default()));
            part(Found::Replace { kind: Kind::Address, value: found.as_str(), kept: "" });
            end = found.end();
        }
        part(Found::Keep(name.get(end..).unwrap_or_default()));
    }
}

/// `user@host:port`, of which all but the host may be missing.
fn authority<'a>(text: &'a str, part: &mut impl FnMut(Found<'a>)) {
    let host = match text.rsplit_once('@') {
        Some((user, host)) => {
            part(Found::Replace { kind: Kind::User, value: user, kept: "@" });
            host
        }
        None => text,
    };
    let port = host
        .rfind(':')
        .filter(|&at| host.get(at + 1..).is_some_and(|port| port.bytes().all(|byte| byte.is_ascii_digit())));
    let (host, port) = port.and_then(|at| host.split_at_checked(at)).unwrap_or((host, ""));
    if host.is_empty() {
        part(Found::Keep(port));
    } else {
        part(Found::Replace { kind: host_or_address(host), value: host, kept: port });
    }
}

fn host_or_address(text: &str) -> Kind {
    if text.parse::<IpAddr>().is_ok() { Kind::Address } else { Kind::Host }
}

/// A path without the punctuation behind it and without the file of a block at its end.
fn path<'a>(text: &'a str, part: &mut impl FnMut(Found<'a>)) {
    let trimmed = text.trim_end_matches(['.', ':', '=']);
    let end = trimmed.rfind("/blk_").filter(|&at| at > 0 && is_block_file(trimmed.get(at + 1..)));
    let (value, kept) = text.split_at_checked(end.unwrap_or(trimmed.len())).unwrap_or((text, ""));
    match value {
        "" | "/" => part(Found::Keep(text)),
        value => part(Found::Replace { kind: Kind::Path, value, kept }),
    }
}

/// `blk_1`, `blk_1_2` and such with an end of letters.
fn is_block_file(name: Option<&str>) -> bool {
    let number = name.and_then(|name| name.strip_prefix("blk_")).unwrap_or_default();
    let number = number.strip_suffix(".meta").unwrap_or(number);
    let number = number.strip_prefix('-').unwrap_or(number);
    !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_')
}

/// An address, with what stands around it in what looks like one.
fn address<'a>(text: &'a str, part: &mut impl FnMut(Found<'a>)) {
    let Some((before, value, after)) = split_address(text) else { return part(Found::Keep(text)) };
    part(Found::Keep(before));
    part(Found::Replace { kind: Kind::Address, value, kept: after });
}

/// The longest address in what looks like one, and what is before and behind it. A port may be behind it with just a
/// colon, as Java writes it; a time looks like one too.
fn split_address(text: &str) -> Option<(&str, &str, &str)> {
    if !text.contains(':') {
        return Some(("", text, ""));
    }
    let mut cuts: Vec<usize> = text.match_indices(':').flat_map(|(at, _)| [at, at + 1]).collect();
    cuts.extend([0, text.len()]);
    let mut spans: Vec<(usize, usize)> =
        cuts.iter().flat_map(|&start| cuts.iter().map(move |&end| (start, end))).collect();
    spans.sort_by_key(|&(start, end)| (Reverse(end.saturating_sub(start)), start));
    spans.into_iter().find_map(|(start, end)| {
        let (before, value, after) = (text.get(..start)?, text.get(start..end)?, text.get(end..)?);
        let address: Ipv6Addr = value.parse().ok()?;
        (!address.is_unspecified()).then_some((before, value, after))
    })
}

/// Small and capital letters: the name of a class or a method, as hosts are not written.
fn is_mixed(name: &str) -> bool {
    name.bytes().any(|byte| byte.is_ascii_lowercase()) && name.bytes().any(|byte| byte.is_ascii_uppercase())
}

/// Whether a text can only be the name of a class, of a method, or a single word.
pub(super) fn is_class(name: &str) -> bool {
    let identifiers = name.split('.').all(|part| {
        !part.starts_with(|first: char| first.is_ascii_digit())
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_$<>".contains(&byte))
    });
    identifiers && (!name.contains('.') || is_mixed(name))
}

/// Replaces `word` where it stands between characters that are in no word.
pub(super) fn replace_word(text: &str, word: &str, with: &str) -> String {
    let in_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let mut replaced = String::with_capacity(text.len());
    let mut end = 0;
    for (at, _) in text.match_indices(word) {
        let (before, after) =
            (text.get(..at).unwrap_or_default(), text.get(at + word.len()..).unwrap_or_default());
        if !before.ends_with(in_word) && !after.starts_with(in_word) {
            replaced.push_str(text.get(end..at).unwrap_or_default());
            replaced.push_str(with);
            end = at + word.len();
        }
    }
    replaced.push_str(text.get(end..).unwrap_or_default());
    replaced
}
