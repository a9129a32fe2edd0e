//! Makes a trie: first as a tree of steps in an arena, into which the templates are put best first, then as the flat
//! lists that a walk reads.

use std::cmp::Reverse;

use memchr::memmem::Finder;

use super::{Edge, List, NONE, Node, Ranked, Table, Take, Trie, rival};
use crate::template::part::{Part, Wildcard, constant_bytes, starts_free};
use crate::template::scan;

/// One step of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Constant(Vec<u8>),
    Typed(Wildcard),
    LastException,
    Nothing,
    Run(Wildcard),
    Last(Wildcard),
    Until(Wildcard, Vec<u8>),
    Search(Wildcard, Vec<u8>),
}

/// A node of the tree.
#[derive(Clone, Debug)]
pub(super) struct Fork {
    /// The template that ends here, or `NONE`.
    pub(super) rank: u32,
    pub(super) branches: Vec<Branch>,
}

#[derive(Clone, Debug)]
pub(super) struct Branch {
    pub(super) step: Step,
    pub(super) target: usize,
    /// The best rank below.
    pub(super) best: u32,
}

impl Trie {
    /// Compiles templates that were cut into their parts.
    pub(in crate::template) fn new(templates: &[Vec<Part>]) -> Self {
        let mut order: Vec<usize> = (0..templates.len()).filter(|&index| index < NONE as usize).collect();
        let parts = |index: usize| templates.get(index).map_or(&[][..], Vec::as_slice);
        order.sort_by_key(|&index| (starts_free(parts(index)), Reverse(constant_bytes(parts(index)))));
        let mut tree = Tree { forks: vec![Fork { rank: NONE, branches: Vec::new() }] };
        let all_steps: Vec<Vec<Step>> = order.iter().map(|&index| steps(parts(index))).collect();
        for (steps, rank) in all_steps.iter().zip(0..) {
            tree.add(steps, rank);
        }
        let beaten = |(steps, rank): (&Vec<Step>, u32)| rival::beaten(&tree.forks, steps, rank);
        let last_words = all_steps.iter().zip(0..).map(|template| !beaten(template));
        let templates =
            order.iter().zip(last_words).map(|(&index, last_word)| Ranked { index, last_word }).collect();
        Flat::new(templates).finish(&tree.forks)
    }
}

fn steps(parts: &[Part]) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut rest = parts;
    while let Some((part, behind)) = rest.split_first() {
        rest = behind;
        steps.push(match (part, behind) {
            (Part::Constant(text), _) => Step::Constant(text.clone()),
            (Part::Wildcard(kind), [Part::Constant(needle), further @ ..]) if kind.is_free() => {
                rest = further;
                let last = further.is_empty();
                if last { Step::Until(*kind, needle.clone()) } else { Step::Search(*kind, needle.clone()) }
            }
            (Part::Wildcard(kind), []) if kind.is_free() => Step::Last(*kind),
            (Part::Wildcard(Wildcard::Any), _) => Step::Nothing,
            (Part::Wildcard(kind), _) if kind.is_free() => Step::Run(*kind),
            (Part::Wildcard(Wildcard::Exception), []) => Step::LastException,
            (Part::Wildcard(kind), _) => Step::Typed(*kind),
        });
    }
    steps
}

struct Tree {
    forks: Vec<Fork>,
}

impl Tree {
    fn add(&mut self, steps: &[Step], rank: u32) {
        let mut at = 0;
        for step in steps {
            at = match step {
                Step::Constant(text) => self.constant(at, text, rank),
                step => match self.same(at, step) {
                    Some(target) => target,
                    None => self.branch(at, step.clone(), rank),
                },
            };
        }
        // Of equal templates the better one has come first.
        if let Some(fork) = self.forks.get_mut(at).filter(|fork| fork.rank == NONE) {
            fork.rank = rank;
        }
    }

    fn same(&self, at: usize, step: &Step) -> Option<usize> {
        let branches = &self.forks.get(at)?.branches;
        branches.iter().find(|branch| branch.step == *step).map(|branch| branch.target)
    }

    fn branch(&mut self, at: usize, step: Step, best: u32) -> usize {
        let target = self.forks.len();
        self.forks.push(Fork { rank: NONE, branches: Vec::new() });
        if let Some(fork) = self.forks.get_mut(at) {
            fork.branches.push(Branch { step, target, best });
        }
        target
    }

    /// Follows a constant as far as there is one, splitting where it parts from the text.
    fn constant(&mut self, mut at: usize, mut text: &[u8], rank: u32) -> usize {
        while let Some(first) = text.first() {
            let next = self.forks.len();
            let Some(fork) = self.forks.get_mut(at) else { return at };
            let found = fork.branches.iter_mut().find_map(|branch| match &mut branch.step {
                Step::Constant(known) if known.first() == Some(first) => {
                    Some((known, &mut branch.target, branch.best))
                }
                _ => None,
            });
            let Some((known, target, best)) = found else {
                return self.branch(at, Step::Constant(text.to_vec()), rank);
            };
            let common = known.iter().zip(text).take_while(|(a, b)| a == b).count();
            if common < known.len() {
                let rest = known.split_off(common);
                let branch = Branch { step: Step::Constant(rest), target: *target, best };
                *target = next;
                self.forks.push(Fork { rank: NONE, branches: vec![branch] });
                at = next;
            } else {
                at = *target;
            }
            text = text.get(common..).unwrap_or(b"");
        }
        at
    }
}

/// The trie as far as it is made.
struct Flat {
    trie: Trie,
    searches: u32,
}

impl Flat {
    fn new(templates: Vec<Ranked>) -> Self {
        let (nodes, edges, tables, constants, needles) = Default::default();
        Self { trie: Trie { nodes, edges, tables, constants, needles, templates }, searches: 0 }
    }

    fn finish(mut self, forks: &[Fork]) -> Trie {
        for fork in forks {
            let mut edges: Vec<(Edge, [bool; 256], bool)> = Vec::new();
            let mut branches: Vec<&Branch> = fork.branches.iter().collect();
            branches.sort_by_key(|branch| (order(&branch.step), branch.best));
            for branch in branches {
                let first = std::array::from_fn(|byte| {
                    may_start(&branch.step, u8::try_from(byte).unwrap_or(u8::MAX))
                });
                edges.push((self.edge(forks, branch), first, may_be_empty(&branch.step)));
            }
            let node = self.node(fork.rank, &edges);
            self.trie.nodes.push(node);
        }
        // So that eight bytes may be read from any place.
        self.trie.constants.extend_from_slice(&[0; 8]);
        self.trie
    }

    fn node(&mut self, rank: u32, edges: &[(Edge, [bool; 256], bool)]) -> Node {
        if let [(edge, ..)] = edges {
            return Node { rank, table: NONE, list: self.list(&[*edge]) };
        }
        let at_end: Vec<Edge> = edges.iter().filter(|(_, _, empty)| *empty).map(|(edge, ..)| *edge).collect();
        let list = self.list(&at_end);
        if edges.is_empty() {
            return Node { rank, table: NONE, list };
        }
        let mut known: Vec<Vec<u32>> = Vec::new();
        let mut table = Table { classes: [0; 256], lists: Vec::new() };
        for (byte, class) in table.classes.iter_mut().enumerate() {
            let fits = |(_, first, _): &&(Edge, [bool; 256], bool)| first.get(byte).is_some_and(|&fits| fits);
            let fitting: Vec<Edge> = edges.iter().filter(fits).map(|(edge, ..)| *edge).collect();
            // Targets differ from edge to edge, but for constants fused with what follows them: theirs do too.
            let targets: Vec<u32> = fitting.iter().map(|edge| edge.target).collect();
            let at = known.iter().position(|other| *other == targets).unwrap_or_else(|| {
                table.lists.push(self.list(&fitting));
                known.push(targets);
                known.len() - 1
            });
            *class = u8::try_from(at).unwrap_or(u8::MAX);
        }
        let number = index(self.trie.tables.len());
        self.trie.tables.push(table);
        Node { rank, table: number, list }
    }

    fn list(&mut self, edges: &[Edge]) -> List {
        let start = index(self.trie.edges.len());
        self.trie.edges.extend_from_slice(edges);
        List { start, end: index(self.trie.edges.len()) }
    }

    /// A branch as an edge. A constant with one wildcard behind it becomes one edge with it.
    fn edge(&mut self, forks: &[Fork], branch: &Branch) -> Edge {
        let Branch { step: Step::Constant(text), target, best } = branch else {
            let constant = self.constant(b"");
            return Edge {
                constant,
                take: self.take(&branch.step),
                target: index(branch.target),
                best: branch.best,
            };
        };
        let constant = self.constant(text);
        match forks.get(*target) {
            Some(Fork { rank: NONE, branches }) if branches.len() == 1 => match branches.first() {
                Some(Branch { step, target, .. }) if !matches!(step, Step::Constant(_)) => {
                    Edge { constant, take: self.take(step), target: index(*target), best: *best }
                }
                _ => Edge { constant, take: Take::Constant, target: index(*target), best: *best },
            },
            _ => Edge { constant, take: Take::Constant, target: index(*target), best: *best },
        }
    }

    fn constant(&mut self, text: &[u8]) -> List {
        let start = index(self.trie.constants.len());
        self.trie.constants.extend_from_slice(text);
        List { start, end: index(self.trie.constants.len()) }
    }

    fn take(&mut self, step: &Step) -> Take {
        match step {
            Step::Constant(_) => Take::Constant,
            Step::Typed(kind) => Take::Typed(*kind),
            Step::LastException => Take::LastException,
            Step::Nothing => Take::Nothing,
            Step::Run(kind) => Take::Run(*kind),
            Step::Last(kind) => Take::Last(*kind),
            Step::Until(kind, needle) => Take::Until(*kind, self.needle(needle)),
            Step::Search(kind, needle) => {
                let number = self.searches;
                self.searches += 1;
                Take::Search(*kind, self.needle(needle), number)
            }
        }
    }

    fn needle(&mut self, needle: &[u8]) -> u32 {
        self.trie.needles.push(Finder::new(needle).into_owned());
        index(self.trie.needles.len() - 1)
    }
}

/// Positions in the trie fit, for the texts that it is made of would not fit into memory otherwise.
fn index(position: usize) -> u32 {
    u32::try_from(position).unwrap_or(NONE)
}

/// What is quickly refused comes first, what searches last.
fn order(step: &Step) -> u8 {
    match step {
        Step::Constant(_) => 0,
        Step::Typed(_) | Step::LastException => 1,
        _ => 2,
    }
}

fn may_be_empty(step: &Step) -> bool {
    matches!(step, Step::Nothing | Step::Last(Wildcard::Any))
}

/// Whether what a step takes may start with this byte.
pub(super) fn may_start(step: &Step, byte: u8) -> bool {
    match step {
        Step::Constant(text) => text.first() == Some(&byte),
        Step::Typed(Wildcard::Block | Wildcard::Blocks) => matches!(byte, b'b' | b'B'),
        Step::Typed(Wildcard::Host | Wildcard::Addresses) => scan::is_host(byte),
        Step::Typed(Wildcard::Exception) | Step::LastException => scan::starts_class(byte),
        Step::Typed(_) => byte.is_ascii_digit() || byte == b'-',
        Step::Run(_) | Step::Last(Wildcard::Volume) => byte != b' ',
        Step::Nothing | Step::Last(_) | Step::Until(..) | Step::Search(..) => true,
    }
}
