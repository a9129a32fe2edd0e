//! Types of expressions, and the wildcard that stands for a value of each.

use super::program::ClassId;
use super::text::{Piece, Pieces, Scope};
use super::tree::Term;
use crate::mine::text::ANY;

/// Types of whole numbers.
const NUMBERS: [&str; 8] =
    ["int", "long", "short", "Integer", "Long", "AtomicInteger", "AtomicLong", "LongAdder"];
/// Words of a name that say which number it is, and the wildcard.
const MEANINGS: [(&[&str], &str); 3] = [
    (
        &[
            "ms",
            "msec",
            "millis",
            "milliseconds",
            "duration",
            "elapsed",
            "timeout",
            "interval",
            "cost",
            "took",
        ],
        "<duration_ms>",
    ),
    (&["bytes", "len", "length", "capacity"], "<bytes>"),
    (&["count", "num", "size", "total", "replicas", "blocks", "nodes", "retries"], "<count>"),
];
/// Words of the names of files.
const PATHS: [&str; 7] = ["src", "dst", "path", "file", "filename", "dir", "directory"];
/// Expressions whose type is looked for, one within the other.
const DEPTH_MAX: usize = 6;

impl<'a> Scope<'_, 'a> {
    /// The wildcard for an expression's value.
    pub(super) fn hole(&self, term: Term<'a>, depth: usize) -> Pieces {
        let kind = self.kind(term, depth).unwrap_or_default();
        let wildcard = wildcard(&kind, hint(term));
        if wildcard == ANY && self.is_on_several_lines(&kind) {
            return vec![Piece::Hole(wildcard), Piece::End];
        }
        vec![Piece::Hole(wildcard)]
    }

    /// The type of an expression as its declaration writes it, without what is in angle brackets.
    pub(super) fn kind(&self, term: Term<'a>, depth: usize) -> Option<String> {
        if depth > DEPTH_MAX {
            return None;
        }
        let plain = |kind: &str| kind.split('<').next().unwrap_or(kind).to_owned();
        match term.kind() {
            "string_literal" => Some("String".to_owned()),
            "decimal_integer_literal" => Some("int".to_owned()),
            "this" => Some(self.program.classes.get(self.class)?.declaration.part_text("name").to_owned()),
            "identifier" => Some(plain(self.variable(term.text(), term.start())?.0.kind)),
            "field_access" if term.part_text("field") == "length" => Some("int".to_owned()),
            "field_access" => {
                let class = self.class_of(term.part("object")?, depth)?;
                Some(plain(self.program.field(term.part_text("field"), class)?.0.kind))
            }
            "parenthesized_expression" => self.kind(term.parts().next()?, depth),
            "cast_expression" | "object_creation_expression" => Some(plain(term.part_text("type"))),
            "ternary_expression" => self.kind(term.part("consequence")?, depth),
            "array_access" => {
                let kind = self.kind(term.part("array")?, depth + 1)?;
                Some(kind.strip_suffix("[]")?.to_owned())
            }
            "binary_expression" => {
                let left = self.kind(term.part("left")?, depth + 1)?;
                let right = self.kind(term.part("right")?, depth + 1)?;
                let is_fraction = |kind: &String| ["double", "float"].contains(&kind.as_str());
                [&left, &right].into_iter().find(|kind| is_fraction(kind)).or(Some(&left)).cloned()
            }
            "method_invocation" => self.returned(term, depth).map(|kind| plain(&kind)),
            _ => None,
        }
    }

    /// The type that a method gives back.
    fn returned(&self, term: Term<'a>, depth: usize) -> Option<String> {
        let name = term.part_text("name");
        let class = match term.part("object") {
            Some(object) => self.class_of(object, depth),
            None => Some(self.class),
        };
        let declared =
            class.and_then(|class| Some(self.program.methods(name, class)?.0.first()?.part_text("type")));
        if let Some(declared) = declared {
            return Some(declared.to_owned());
        }
        // Of Java's own classes.
        let known = match name {
            "size" | "length" | "intValue" => "int",
            "longValue" | "currentTimeMillis" | "monotonicNow" | "now" => "long",
            "get" => {
                return self.kind(term.part("object")?, depth + 1).filter(|kind| kind.starts_with("Atomic"));
            }
            _ => return None,
        };
        Some(known.to_owned())
    }

    fn class_of(&self, object: Term<'a>, depth: usize) -> Option<ClassId> {
        if ["this", "super"].contains(&object.kind()) {
            return Some(self.class);
        }
        let kind = self.kind(object, depth + 1);
        self.program.class(kind.as_deref().unwrap_or_else(|| object.text()), self.class)
    }

    /// Whether what a class says of itself has line breaks, so that the head line ends within it.
    fn is_on_several_lines(&self, kind: &str) -> bool {
        let Some(class) = self.program.class(kind, self.class) else { return false };
        let Some((methods, _)) = self.program.methods("toString", class) else { return false };
        methods.iter().any(|method| {
            let parts = method.all().into_iter();
            parts.filter(|part| part.kind().ends_with("_literal")).any(|part| part.text().contains("\\n"))
        })
    }
}

fn wildcard(kind: &str, hint: &str) -> &'static str {
    if NUMBERS.contains(&kind) {
        let words = words(hint);
        let means = |(meant, _): &&(&[&str], &str)| words.iter().any(|word| meant.contains(&word.as_str()));
        return MEANINGS.iter().find(means).map_or("<n>", |(_, wildcard)| wildcard);
    }
    match kind {
        "Block" | "ExtendedBlock" => "<blk>",
        "DatanodeDescriptor" => "<node>:<port>",
        "FsVolumeSpi" | "FsVolumeImpl" | "StorageLocation" => "<volume>",
        "File" | "Path" | "INodesInPath" => "<path>",
        "String" if words(hint).last().is_some_and(|word| PATHS.contains(&word.as_str())) => "<path>",
        _ => ANY,
    }
}

/// The name by which an expression says what its value is.
fn hint<'a>(term: Term<'a>) -> &'a str {
    match term.kind() {
        "method_invocation" => match term.part_text("name") {
            "get" | "intValue" | "longValue" => term.part("object").map_or("", hint),
            name => name,
        },
        "field_access" => term.part_text("field"),
        "identifier" => term.text(),
        "binary_expression" => term.part("left").map_or("", hint),
        _ => "",
    }
}

/// Words of a name in camel case or with underscores.
fn words(name: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut after_small = false;
    for sign in name.chars() {
        if !sign.is_alphanumeric() || (sign.is_uppercase() && after_small) || words.is_empty() {
            words.push(String::new());
        }
        after_small = sign.is_lowercase();
        if sign.is_alphanumeric()
            && let Some(word) = words.last_mut()
        {
            word.extend(sign.to_lowercase());
        }
    }
    words
}
