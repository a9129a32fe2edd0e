//! A Java file as tree-sitter cuts it, and small questions about its nodes.

use anyhow::{Context, Result};
use tree_sitter::{Node, Parser, Tree};

/// A file with its tree. What is no Java is in the tree, too, as an error that nothing looks at.
pub(super) struct Source {
    text: String,
    tree: Tree,
}

impl Source {
    /// Cuts `text`.
    ///
    /// # Errors
    /// If the grammar does not fit the library, which a build settles.
    pub(super) fn parse(text: String) -> Result<Self> {
        let mut parser = Parser::new();
        parser
            .set_language(&tree_sitter_java::LANGUAGE.into())
            .context("the grammar of Java is not usable")?;
        let tree = parser.parse(&text, None).context("a source cannot be parsed")?;
        Ok(Self { text, tree })
    }

    /// The whole file.
    pub(super) fn root(&self) -> Term<'_> {
        Term { node: self.tree.root_node(), text: &self.text }
    }
}

/// A node and the text that it is of.
#[derive(Clone, Copy)]
pub(super) struct Term<'a> {
    node: Node<'a>,
    text: &'a str,
}

impl<'a> Term<'a> {
    /// What the grammar calls it.
    pub(super) fn kind(self) -> &'a str {
        self.node.kind()
    }

    /// Its text.
    pub(super) fn text(self) -> &'a str {
        self.text.get(self.node.byte_range()).unwrap_or_default()
    }

    /// The part of that name.
    pub(super) fn part(self, name: &str) -> Option<Self> {
        Some(Self { node: self.node.child_by_field_name(name)?, ..self })
    }

    /// Text of the part of that name; empty without one.
    pub(super) fn part_text(self, name: &str) -> &'a str {
        self.part(name).map_or("", Self::text)
    }

    /// Its parts without punctuation, comments and keywords.
    pub(super) fn parts(self) -> impl Iterator<Item = Self> + use<'a> {
        let mut cursor = self.node.walk();
        let nodes: Vec<Node<'a>> = self.node.named_children(&mut cursor).collect();
        let parts = nodes.into_iter().filter(|node| !node.kind().ends_with("comment"));
        parts.map(move |node| Self { node, ..self })
    }

    /// Whether it has a token of that kind, such as a keyword.
    pub(super) fn has_token(self, token: &str) -> bool {
        let mut cursor = self.node.walk();
        self.node.children(&mut cursor).any(|node| node.kind() == token)
    }

    /// What it is a part of.
    pub(super) fn parent(self) -> Option<Self> {
        Some(Self { node: self.node.parent()?, ..self })
    }

    /// The nearest of these kinds that it is a part of.
    pub(super) fn within(self, kinds: &[&str]) -> Option<Self> {
        let mut above = self.parent();
        while let Some(term) = above {
            if kinds.contains(&term.kind()) {
                return Some(term);
            }
            above = term.parent();
        }
        None
    }

    /// Where it starts in its file.
    pub(super) fn start(self) -> usize {
        self.node.start_byte()
    }

    /// Whether `other`, of the same file, is a part of it.
    pub(super) fn holds(self, other: Self) -> bool {
        self.node.byte_range().contains(&other.node.start_byte())
    }

    /// It and everything in it, in the order of the text.
    pub(super) fn all(self) -> Vec<Self> {
        let mut found = Vec::new();
        let mut waiting = vec![self];
        while let Some(term) = waiting.pop() {
            found.push(term);
            let parts: Vec<Self> = term.parts().collect();
            waiting.extend(parts.into_iter().rev());
        }
        found
    }
}
