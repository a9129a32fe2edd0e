//! Text of logs, paths and receivers on its way to a terminal: it must not be obeyed there, nor fill it.

/// `text` with what a terminal would obey or hide replaced by `�`, cut to `chars_max` characters; a cut text ends in `…`.
pub(crate) fn printable(text: &str, chars_max: usize) -> String {
    let mut shown: String = text.chars().map(visible).take(chars_max).collect();
    if text.chars().nth(chars_max).is_some() {
        shown.pop();
        shown.push('…');
    }
    shown
}

/// Control characters, and those that turn the direction of writing or take no place.
fn visible(char: char) -> char {
    match char {
        '\t' => ' ',
        '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' => {
            char::REPLACEMENT_CHARACTER
        }
        char if char.is_control() => char::REPLACEMENT_CHARACTER,
        char => char,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_terminal_has_nothing_to_obey() {
        assert_eq!(printable("a\x1b[2Jb\r\nc\u{9b}d\u{202e}e\tf", 99), "a�[2Jb��c�d�e f");
    }

    #[test]
    fn a_long_text_is_cut_and_shows_it() {
        assert_eq!(printable("äöüß", 4), "äöüß");
        assert_eq!(printable("äöüß", 3), "äö…");
        assert_eq!(printable("äö", 0), "…");
    }

    proptest! {
        #[test]
        fn whatever_comes_is_short_and_harmless(text in ".*", chars_max in 1_usize..50) {
            let shown = printable(&text, chars_max);
            prop_assert!(shown.chars().count() <= chars_max);
            prop_assert!(!shown.chars().any(char::is_control));
        }
    }
}
