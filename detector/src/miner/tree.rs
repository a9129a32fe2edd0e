//! Drain's tree of fixed depth over masked texts: by number of words, then by the first words, then by similarity.
//!
//! Drain itself puts a text into the group that is most similar when it comes, so its groups depend on the order of
//! the texts. Here a group is what is connected: two texts of a leaf that are similar enough are of one group, and
//! so are all that are linked by such pairs. That is a function of the set of texts. And since a further text only
//! ever adds links and only ever joins leaves, it may join groups but never splits one.

use std::collections::{BTreeMap, HashMap};

use super::mask::ANY;

/// Shape of the tree.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    /// Leading words by which the tree branches.
    pub(super) words: usize,
    /// Share of equal words from which two texts are of one group, `0.0..=1.0`.
    pub(super) similarity: f64,
    /// Branches of a node; one that has more is not branched at all.
    pub(super) children_max: usize,
}

/// A word of a text, or a list of one wildcard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Word {
    id: u32,
    list: bool,
}

/// The words of all texts, each once.
struct Words<'a> {
    wildcards: &'a [String],
    ids: HashMap<&'a str, u32>,
    words: Vec<&'a str>,
}

/// A text's position and its words.
type Sequence = (usize, Vec<Word>);

/// Groups the distinct `texts`; gives the text of each group with the positions of its members, groups in order of
/// their text, members in order of their positions. `wildcards` are those that the texts may have.
///
/// Takes time proportional to the square of the number of texts in a leaf at worst, which is when none are similar.
pub(super) fn group(texts: &[&str], wildcards: &[String], shape: Shape) -> Vec<(String, Vec<usize>)> {
    let mut words = Words::new(wildcards);
    let sequences = texts.iter().map(|text| words.sequence(text)).enumerate().collect();
    let mut groups: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for leaf in leaves(sequences, &words, shape) {
        for members in linked(leaf, shape.similarity) {
            // Groups that chains of links made equally vague are one: nobody could tell them apart.
            let group = groups.entry(words.text(&members)).or_default();
            group.extend(members.iter().map(|(at, _)| at));
        }
    }
    for members in groups.values_mut() {
        members.sort_unstable();
    }
    groups.into_iter().collect()
}

/// Whether a text could be a member of the group with the text `group`.
pub(super) fn fits(group: &str, text: &str, wildcards: &[String]) -> bool {
    let mut words = Words::new(wildcards);
    let (group, text) = (words.sequence(group), words.sequence(text));
    let any = words.id(ANY);
    let fits = |(group, text): (&Word, &Word)| {
        group.id == any || (group.id == text.id && (group.list || !text.list))
    };
    group.len() == text.len() && group.iter().zip(&text).all(fits)
}

impl<'a> Words<'a> {
    fn new(wildcards: &'a [String]) -> Self {
        Self { wildcards, ids: HashMap::new(), words: Vec::new() }
    }

    /// What stands between single blanks. A wildcard that is repeated is one word, a list: how often says nothing.
    fn sequence(&mut self, text: &'a str) -> Vec<Word> {
        let words: Vec<&str> = text.split(' ').collect();
        let mut sequence = Vec::with_capacity(words.len());
        let mut rest = words.as_slice();
        while let Some((word, behind)) = rest.split_first() {
            let (wildcard, further) = self.list(word, behind);
            let list = further > 0;
            sequence.push(Word { id: self.id(if list { wildcard } else { word }), list });
            rest = behind.get(further..).unwrap_or_default();
        }
        sequence
    }

    /// How many of the words `behind` belong to the list that `word` starts, which is of the wildcard that is given
    /// back. Commas and further blanks are part of it, and so is the `...` that [`text`](Self::text) ends it with.
    /// `<*>` makes no lists, since several in a row also stand for words that differ.
    fn list(&self, word: &'a str, behind: &[&str]) -> (&'a str, usize) {
        let wildcard = word.strip_suffix(',').unwrap_or(word);
        let mut further = 0;
        if wildcard == ANY || !self.wildcards.iter().any(|known| known == wildcard) {
            return (wildcard, further);
        }
        for (next, at) in behind.iter().zip(1..) {
            match *next {
                "" => {}
                "..." if further > 0 => return (wildcard, at),
                next if next.strip_suffix(',').unwrap_or(next) == wildcard => further = at,
                _ => break,
            }
        }
        (wildcard, further)
    }

    fn id(&mut self, word: &'a str) -> u32 {
        *self.ids.entry(word).or_insert_with(|| {
            self.words.push(word);
            u32::try_from(self.words.len() - 1).unwrap_or(u32::MAX)
        })
    }

    fn word(&self, id: u32) -> &'a str {
        usize::try_from(id).ok().and_then(|id| self.words.get(id)).copied().unwrap_or(ANY)
    }

    /// The text that stands for all `members`: what they have in common, and `<*>` where they differ.
    fn text(&self, members: &[Sequence]) -> String {
        let Some(((_, first), others)) = members.split_first() else { return String::new() };
        let mut text = String::new();
        for (at, &word) in first.iter().enumerate() {
            let mut found = others.iter().filter_map(|(_, words)| words.get(at));
            let joined = found.try_fold(word, |joined, other| {
                (joined.id == other.id).then_some(Word { list: joined.list || other.list, ..joined })
            });
            if at > 0 {
                text.push(' ');
            }
            match joined.map(|word| (self.word(word.id), word.list)) {
                None | Some((ANY, _)) => text.push_str(ANY),
                Some((word, false)) => text.push_str(word),
                Some((word, true)) => text.extend([word, " ", word, " ..."]),
            }
        }
        text
    }
}

/// The leaves of the tree.
fn leaves(sequences: Vec<Sequence>, words: &Words<'_>, shape: Shape) -> Vec<Vec<Sequence>> {
    let mut by_length: BTreeMap<usize, Vec<Sequence>> = BTreeMap::new();
    for sequence in sequences {
        by_length.entry(sequence.1.len()).or_default().push(sequence);
    }
    let mut nodes: Vec<Vec<Sequence>> = by_length.into_values().collect();
    for level in 0..shape.words {
        nodes = nodes.into_iter().flat_map(|node| children(node, level, words, shape.children_max)).collect();
    }
    nodes
}

fn children(node: Vec<Sequence>, level: usize, words: &Words<'_>, children_max: usize) -> Vec<Vec<Sequence>> {
    let branch = |sequence: &Sequence| {
        let word = words.word(sequence.1.get(level)?.id);
        // As Drain has it: a word with a digit is likely to vary.
        Some(if word.bytes().any(|byte| byte.is_ascii_digit()) { ANY } else { word })
    };
    let mut found: Vec<Option<&str>> = node.iter().map(branch).collect();
    found.sort_unstable();
    found.dedup();
    if found.len() > children_max {
        return vec![node];
    }
    let mut children: BTreeMap<Option<&str>, Vec<Sequence>> = BTreeMap::new();
    for sequence in node {
        children.entry(branch(&sequence)).or_default().push(sequence);
    }
    children.into_values().collect()
}

/// Splits a leaf into groups: connected components of the relation "similar enough".
fn linked(leaf: Vec<Sequence>, similarity: f64) -> Vec<Vec<Sequence>> {
    let mut groups = Vec::new();
    let mut rest = leaf;
    while let Some(first) = rest.pop() {
        let mut members = vec![first];
        let mut next = 0;
        while let Some((_, words)) = members.get(next)
            && !rest.is_empty()
        {
            let (linked, others) = rest.into_iter().partition(|(_, other)| similar(words, other, similarity));
            rest = others;
            members.extend::<Vec<Sequence>>(linked);
            next += 1;
        }
        groups.push(members);
    }
    groups
}

/// Whether at least that share of the words of two sequences of one length are equal.
fn similar(a: &[Word], b: &[Word], similarity: f64) -> bool {
    let equal = a.iter().zip(b).filter(|(a, b)| a.id == b.id).count();
    equal as f64 / a.len().max(1) as f64 >= similarity
}
