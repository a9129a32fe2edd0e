//! The commands that a document shows, so that a test can run just these.

use std::fs;

use anyhow::{Context, Result, ensure};

use crate::cargo;

/// The commands in the block behind `<!-- run: name -->`, one a line, without comments.
pub(super) fn commands(document: &str, name: &str) -> Result<Vec<String>> {
    let path = cargo::root().join(document);
    let text = fs::read_to_string(&path).with_context(|| format!("`{}` cannot be read", path.display()))?;
    let commands = block(&text, name).with_context(|| format!("`{document}` has no block `{name}`"))?;
    ensure!(!commands.is_empty(), "block `{name}` of `{document}` is empty");
    Ok(commands)
}

fn block(text: &str, name: &str) -> Option<Vec<String>> {
    let (_, rest) = text.split_once(&format!("<!-- run: {name} -->\n"))?;
    let lines = rest.trim_start_matches('\n').lines().take_while(|line| line.starts_with("    "));
    let without_comment = |line: &str| line.split(" # ").next().unwrap_or_default().trim().to_owned();
    Some(lines.map(without_comment).filter(|line| !line.is_empty() && !line.starts_with('#')).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_the_indented_lines_behind_their_name() {
        let text = "a\n\n    not this\n\n<!-- run: one -->\n\n    # all\n    first 'x'   # why\n    second\n\nb\n\n    nor this\n";
        assert_eq!(block(text, "one").unwrap(), ["first 'x'", "second"]);
        assert!(block(text, "two").is_none());
    }
}
