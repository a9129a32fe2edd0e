//! All templates of a catalogue in one trie over their parts, made once. Constants are split where templates part
//! ways, so a message's bytes are compared once however many templates begin alike; only the constant behind a free
//! wildcard stays whole, for it is searched for. A node sends the next byte through a table to the few edges that may
//! start with it; where one edge leads on, it is taken at once.
//!
//! Every template has a rank, 0 the best. An edge knows the best rank below it and is not taken when that is no better
//! than what has been found. A template of which no better one can match the same message (`beaten` in `rival.rs`)
//! ends the search.
//!
//! `benches/matcher.rs` over messages like HDFS_v1's: trying the templates part by part takes 1.0 to 1.2 times as long
//! without giving parameters, 1.6 times with the scan for keys that the captures spare, and 3.3 times behind a set of
//! regexes that says which templates to try.

mod build;
mod rival;
mod walk;

use memchr::memmem::Finder;

use super::captures::Captures;
use super::constant::Constant;
use super::step::{Step, Take};
pub(super) use walk::{TRIES_MAX, accepts};

/// No template, or no table.
const NONE: u32 = u32::MAX;

/// The compiled templates.
#[derive(Clone, Debug)]
pub(super) struct Trie {
    root: Node,
    /// The edges in lists, one list for each set of edges that a byte leaves.
    edges: Vec<Edge>,
    tables: Vec<Table>,
    /// The constants, one behind the other.
    constants: Vec<u8>,
    /// What is searched for behind free wildcards, made ready once: that costs more than a search.
    needles: Vec<Finder<'static>>,
    /// By rank.
    templates: Vec<Ranked>,
    /// By rank.
    steps: Vec<Vec<Step>>,
}

/// A template as the trie knows it.
#[derive(Clone, Copy, Debug)]
struct Ranked {
    /// Its position in the catalogue.
    index: usize,
    /// No template of a better rank matches what it matches.
    last_word: bool,
}

#[derive(Clone, Copy, Debug)]
struct Node {
    /// The template that ends here, or `NONE`.
    rank: u32,
    /// What to look a byte up in, or `NONE` if there is but one list.
    table: u32,
    /// How far ahead that byte is: where constants part ways, what they share is compared but once, behind it.
    ahead: u32,
    /// Edges to try where the message has ended or there is no table.
    list: List,
}

/// Neighbours in one of the trie's vectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct List {
    start: u32,
    end: u32,
}

/// The edges that may start with a byte.
type Table = [List; 256];

/// A constant and then a wildcard; either may be missing. One cache line.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Edge {
    constant: Constant,
    /// Behind the constant; a needle of a search is this edge's alone.
    take: Take,
    /// The best rank below.
    best: u32,
    /// Where it leads; here and not by number, for a walk waits for every look-up.
    target: Node,
}

impl Trie {
    /// The template that a message was written by, as its rank; `captures` holds what its wildcards took.
    pub(super) fn find(&self, message: &[u8], captures: &mut Captures) -> Option<usize> {
        walk::find(self, message, captures).map(|rank| rank as usize)
    }

    /// Position of the template of a rank among those given.
    pub(super) fn index(&self, rank: usize) -> Option<usize> {
        self.templates.get(rank).map(|template| template.index)
    }

    /// Steps of the templates, by rank.
    pub(super) fn steps(&self) -> &[Vec<Step>] {
        &self.steps
    }
}

impl List {
    #[inline]
    fn of<T>(self, all: &[T]) -> &[T] {
        let (start, end) = (self.start as usize, self.end as usize);
        all.get(start..end).unwrap_or(&[])
    }
}
