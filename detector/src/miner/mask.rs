//! Masks: what varies in a message becomes a wildcard, so that the messages of one log statement become one text. The
//! text is a function of the message and the masks alone.

mod builtin;

#[cfg(feature = "masks")]
use regex_automata::meta::Regex;
#[cfg(feature = "masks")]
use regex_automata::util::syntax;
use serde::{Deserialize, Serialize};

/// Masks that one set may have; more are an error.
const MASKS_MAX: usize = 64;
/// Bytes of a wildcard; a longer one is an error.
const WILDCARD_BYTES_MAX: usize = 32;
/// Bytes of a message that a text is made of unless the settings say otherwise; what is beyond is not looked at.
pub(crate) const MESSAGE_BYTES_MAX: usize = 512;
/// The wildcard that stands for any text.
pub(crate) const ANY: &str = "<*>";

/// What varies: every text that `regex` finds becomes `wildcard`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mask {
    /// What the template has in its place: `<name>`, at most 32 bytes, without blanks.
    pub wildcard: String,
    /// What it finds, in the syntax of the crate `regex`; must need at least one character.
    pub regex: String,
}

impl Mask {
    /// A mask; whether it can be used is found out by [`Masks::new`].
    #[must_use]
    pub fn new(wildcard: &str, regex: &str) -> Self {
        Self { wildcard: wildcard.to_owned(), regex: regex.to_owned() }
    }

    /// The masks used without settings: blocks, addresses, paths, ids, numbers.
    #[must_use]
    pub fn defaults() -> Vec<Self> {
        vec![
            Self::new("<blk>", r"(?:BP-[\w.-]+:)?blk_-?\d+(?:_\d+)?"),
            Self::new("<node>", r"\b\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?"),
            Self::new("<path>", r"(?:\bfile:)?/[^\s,;:()\[\]]+"),
            Self::new(ANY, r"\b[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F-]{22}\b"),
            Self::new(ANY, r"\bBP-[\w.-]+|\w+_-?\d+\w*|\b0x[0-9a-fA-F]+"),
            Self::new("<n>", r"-?\d+"),
        ]
    }
}

/// Why masks cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum MaskError {
    /// The wildcard is not written as one.
    #[error(
        "wildcard `{wildcard}` of a mask is not `<name>` without blanks in at most {WILDCARD_BYTES_MAX} bytes"
    )]
    Wildcard {
        /// As given.
        wildcard: String,
    },
    /// This program was made without them.
    #[error("this program has no masks but the built-in ones")]
    NoEngine,
    /// The regex cannot be read.
    #[error("regex `{regex}` of mask `{wildcard}` cannot be read")]
    Regex {
        /// Whose regex.
        wildcard: String,
        /// As given.
        regex: String,
        /// What is wrong with it.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The regex fits where there is nothing, so everywhere.
    #[error("regex `{regex}` of mask `{wildcard}` also fits no text at all; make it need a character")]
    Empty {
        /// Whose regex.
        wildcard: String,
        /// As given.
        regex: String,
    },
    /// More masks than a set may have.
    #[error("{count} masks are too many; give at most {MASKS_MAX}")]
    Many {
        /// How many there are.
        count: usize,
    },
    /// Each regex can be read, but not all of them be used as one.
    #[error("the masks are too large to be used together; give fewer or simpler ones")]
    Large {
        /// What is wrong with them.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Masks compiled into one automaton; those used without settings are code.
#[derive(Clone, Debug)]
pub struct Masks {
    finder: Finder,
    wildcards: Vec<String>,
    message_bytes_max: usize,
}

#[derive(Clone, Debug)]
enum Finder {
    /// Finds what the default masks do.
    Builtin,
    #[cfg(feature = "masks")]
    Regex(Box<Regex>),
}

impl Masks {
    /// Compiles `masks`. Where several fit, the one that fits first in the message wins, then the earlier mask. Texts
    /// are made of the first `message_bytes_max` bytes of a message. A search is linear, but there may be one for each
    /// character, so masks that look far ahead cost up to the square of that limit.
    ///
    /// # Errors
    /// [`MaskError`] names the mask and says what is wrong with it.
    pub fn new(masks: &[Mask], message_bytes_max: usize) -> Result<Self, MaskError> {
        let finder = if masks == Mask::defaults() { Finder::Builtin } else { Finder::compile(masks)? };
        let wildcards = masks.iter().map(|mask| mask.wildcard.clone()).collect();
        Ok(Self { finder, wildcards, message_bytes_max })
    }

    /// The text of a message. Bytes that are not UTF-8 become U+FFFD.
    #[must_use]
    pub fn mask(&self, message: &[u8]) -> String {
        let mut text = String::new();
        self.mask_into(message, &mut text);
        text
    }

    /// As [`mask`](Self::mask); `text` is emptied first.
    pub fn mask_into(&self, message: &[u8], text: &mut String) {
        text.clear();
        let message = String::from_utf8_lossy(message.get(..self.message_bytes_max).unwrap_or(message));
        let mut end = 0;
        match &self.finder {
            Finder::Builtin => {
                while let Some(found) = builtin::find(&message, end) {
                    text.push_str(message.get(end..found.start).unwrap_or_default());
                    text.push_str(found.wildcard);
                    end = found.end;
                }
            }
            #[cfg(feature = "masks")]
            Finder::Regex(regex) => {
                for found in regex.find_iter(message.as_ref()) {
                    text.push_str(message.get(end..found.start()).unwrap_or_default());
                    text.push_str(self.wildcards.get(found.pattern().as_usize()).map_or(ANY, String::as_str));
                    end = found.end();
                }
            }
        }
        text.push_str(message.get(end..).unwrap_or_default());
    }

    /// The wildcards, in the order of their masks.
    #[must_use]
    pub fn wildcards(&self) -> &[String] {
        &self.wildcards
    }
}

impl Finder {
    #[cfg(not(feature = "masks"))]
    fn compile(_: &[Mask]) -> Result<Self, MaskError> {
        Err(MaskError::NoEngine)
    }

    #[cfg(feature = "masks")]
    fn compile(masks: &[Mask]) -> Result<Self, MaskError> {
        if masks.len() > MASKS_MAX {
            return Err(MaskError::Many { count: masks.len() });
        }
        let mut parsed = Vec::with_capacity(masks.len());
        for Mask { wildcard, regex } in masks {
            if !is_wildcard(wildcard) {
                return Err(MaskError::Wildcard { wildcard: wildcard.clone() });
            }
            let (wildcard, regex) = (wildcard.clone(), regex.clone());
            match syntax::parse(&regex) {
                Ok(hir) if hir.properties().minimum_len() == Some(0) => {
                    return Err(MaskError::Empty { wildcard, regex });
                }
                Ok(hir) => parsed.push(hir),
                Err(error) => return Err(MaskError::Regex { wildcard, regex, source: Box::new(error) }),
            }
        }
        let regex = Regex::builder().build_many_from_hir(&parsed);
        regex.map(Box::new).map(Self::Regex).map_err(|error| MaskError::Large { source: Box::new(error) })
    }
}

#[cfg(feature = "masks")]
fn is_wildcard(text: &str) -> bool {
    let name = text.strip_prefix('<').and_then(|text| text.strip_suffix('>'));
    let fits = |name: &str| !name.is_empty() && !name.chars().any(char::is_whitespace);
    text.len() <= WILDCARD_BYTES_MAX && name.is_some_and(fits)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use regex_automata::util::captures::Captures;

    use super::*;

    fn error(wildcard: &str, regex: &str) -> String {
        let error = Masks::new(&[Mask::new("<n>", r"\d+"), Mask::new(wildcard, regex)], 512).unwrap_err();
        error.to_string()
    }

    #[test]
    fn a_mask_that_cannot_be_used_is_named() {
        assert_eq!(error("<user>", "(a"), "regex `(a` of mask `<user>` cannot be read");
        assert!(error("<user>", "a*").contains("`a*` of mask `<user>` also fits no text"));
        assert!(error("<user>", r"\b").contains("fits no text"));
        for wildcard in ["user", "<>", "< >", "<a b>", "<0123456789012345678901234567890>"] {
            assert!(error(wildcard, "a").contains(&format!("wildcard `{wildcard}`")), "{wildcard}");
        }
        let many = vec![Mask::new("<n>", "1"); 65];
        assert!(Masks::new(&many, 512).unwrap_err().to_string().contains("65 masks are too many"));
        let large = vec![Mask::new("<n>", r"(?:\w{100}){1000}")];
        assert!(Masks::new(&large, 512).unwrap_err().to_string().contains("too large"));
    }

    #[test]
    fn the_first_place_wins_and_then_the_first_mask() {
        let masks = [Mask::new("<user>", r"user=\w+"), Mask::new("<n>", r"\d+"), Mask::new("<w>", r"\d\w+")];
        let masks = Masks::new(&masks, 512).unwrap();
        assert_eq!(masks.mask(b"user=a1 12ab 7"), "<user> <n>ab <n>");
        assert_eq!(masks.wildcards(), ["<user>", "<n>", "<w>"]);
        assert_eq!(Masks::new(&[], 512).unwrap().mask(b"12 ab"), "12 ab");
    }

    #[test]
    fn what_is_beyond_the_limit_is_not_looked_at() {
        let masks = Masks::new(&Mask::defaults(), 5).unwrap();
        assert_eq!(masks.mask(b"abc 1234"), "abc <n>");
        assert_eq!(masks.mask("abcd\u{e9}".as_bytes()), "abcd\u{fffd}");
    }

    /// The masks as one regex with a group for each.
    fn by_groups(message: &str) -> String {
        let defaults = Mask::defaults();
        let groups: Vec<String> = defaults.iter().map(|mask| format!("({})", mask.regex)).collect();
        let regex = Regex::new(&groups.join("|")).unwrap();
        let (mut text, mut end) = (String::new(), 0);
        let wildcard = |found: &Captures| {
            let at = (1..found.group_len()).find(|&at| found.get_group(at).is_some()).unwrap();
            defaults[at - 1].wildcard.clone()
        };
        for found in regex.captures_iter(message) {
            let place = found.get_match().unwrap();
            text += message.get(end..place.start()).unwrap();
            text += &wildcard(&found);
            end = place.end();
        }
        text + message.get(end..).unwrap()
    }

    proptest! {
        #[test]
        fn any_message_is_masked(message in prop::collection::vec(any::<u8>(), 0..700)) {
            let text = Masks::new(&Mask::defaults(), 64).unwrap().mask(&message);
            prop_assert!(text.len() <= 64 * 4);
        }

        #[test]
        fn the_code_finds_what_one_regex_of_alternatives_finds(
            message in "(blk_|BP-|-|/|file:|0x|[0-9a-f]{8}-[0-9a-f]{4}-|[0-9a-f-]{22}|[0-9]{1,3}\\.|[0-9a-fx_: é٣_-]|\\PC){0,30}",
        ) {
            let masks = Masks::new(&Mask::defaults(), 4_096).unwrap();
            prop_assert_eq!(masks.mask(message.as_bytes()), by_groups(&message));
        }
    }
}
