//! Makes a trie: first as a tree of steps in an arena, into which the templates are put best first, then as the flat
//! lists that a walk reads.

use std::cmp::Reverse;

use memchr::memmem::Finder;

use super::{Edge, List, NONE, Node, Ranked, Trie, rival};
use crate::template::constant::Constant;
use crate::template::part::{Part, Wildcard, constant_bytes, starts_free};
use crate::template::step::{Step, may_start, steps};

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
        let templates: Vec<Ranked> =
            order.iter().zip(last_words).map(|(&index, last_word)| Ranked { index, last_word }).collect();
        Flat::new(templates, all_steps).finish(&tree.forks)
    }
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

/// An edge before its target is known.
#[derive(Clone, Copy)]
struct Draft {
    edge: Edge,
    target: usize,
}

/// The trie as far as it is made.
struct Flat {
    trie: Trie,
    /// For each of the trie's edges.
    targets: Vec<usize>,
    /// The nodes to be made, in their order.
    jobs: Vec<Job>,
    /// For each fork its job without a prefix, if there is one.
    plain: Vec<Option<usize>>,
}

/// A node to be made of a fork, before which these bytes are still to be compared.
struct Job {
    fork: usize,
    prefix: Vec<u8>,
}

/// Edges that are fewer are tried one after the other: a table of them would cost more memory than it saves time.
const TABLE_EDGES_MIN: usize = 4;

const NOWHERE: Node = Node { rank: NONE, table: NONE, ahead: 0, list: List { start: 0, end: 0 } };

impl Flat {
    fn new(templates: Vec<Ranked>, steps: Vec<Vec<Step>>) -> Self {
        let (edges, tables, constants, needles) = Default::default();
        let trie = Trie { root: NOWHERE, edges, tables, constants, needles, templates, steps };
        Self { trie, targets: Vec::new(), jobs: Vec::new(), plain: Vec::new() }
    }

    fn finish(mut self, forks: &[Fork]) -> Trie {
        self.plain = vec![None; forks.len()];
        self.plain(0);
        let mut nodes = Vec::new();
        while let Some(job) = self.jobs.get_mut(nodes.len()) {
            let (fork, prefix) = (job.fork, std::mem::take(&mut job.prefix));
            let Some(fork) = forks.get(fork) else { break };
            nodes.push(self.node(forks, fork, &prefix));
        }
        let node = |at: usize| nodes.get(at).copied().unwrap_or(NOWHERE);
        for (edge, &target) in self.trie.edges.iter_mut().zip(&self.targets) {
            edge.target = node(target);
        }
        self.trie.root = node(0);
        self.trie
    }

    fn node(&mut self, forks: &[Fork], fork: &Fork, prefix: &[u8]) -> Node {
        let mut branches: Vec<&Branch> = fork.branches.iter().collect();
        branches.sort_by_key(|branch| (order(&branch.step), branch.best));
        let drafts: Vec<Draft> = branches.iter().map(|branch| self.draft(forks, branch, prefix)).collect();
        if drafts.len() < TABLE_EDGES_MIN {
            return Node { rank: fork.rank, table: NONE, ahead: 0, list: self.list(&drafts) };
        }
        let chosen =
            |set: &[usize]| -> Vec<Draft> { set.iter().filter_map(|&at| drafts.get(at).copied()).collect() };
        let fitting = |fits: &dyn Fn(&Step) -> bool, set: &mut Vec<usize>| {
            set.clear();
            set.extend(
                branches.iter().enumerate().filter(|(_, branch)| fits(&branch.step)).map(|(at, _)| at),
            );
        };
        let mut set = Vec::with_capacity(drafts.len());
        fitting(&may_be_empty, &mut set);
        let list = self.list(&chosen(&set));
        // Sets that were met; there are few, for most bytes start the same edges.
        let mut known: Vec<(Vec<usize>, List)> = Vec::new();
        let table = std::array::from_fn(|byte| {
            let byte = u8::try_from(byte).unwrap_or(u8::MAX);
            fitting(&|step| may_start(step, byte), &mut set);
            if let Some((_, list)) = known.iter().find(|(other, _)| *other == set) {
                return *list;
            }
            let list = self.list(&chosen(&set));
            known.push((set.clone(), list));
            list
        });
        let number = index(self.trie.tables.len());
        self.trie.tables.push(table);
        Node { rank: fork.rank, table: number, ahead: index(prefix.len()), list }
    }

    fn list(&mut self, drafts: &[Draft]) -> List {
        let start = index(self.trie.edges.len());
        self.trie.edges.extend(drafts.iter().map(|draft| draft.edge));
        self.targets.extend(drafts.iter().map(|draft| draft.target));
        List { start, end: index(self.trie.edges.len()) }
    }

    /// A branch as an edge. A constant with one wildcard behind it becomes one edge with it; one at whose end further
    /// constants part ways is compared behind that place, together with them.
    fn draft(&mut self, forks: &[Fork], branch: &Branch, prefix: &[u8]) -> Draft {
        let Step::Constant(text) = &branch.step else {
            let target = self.target(forks, branch.target);
            return self.edge(b"", &branch.step, branch.best, target);
        };
        let text = [prefix, text].concat();
        match forks.get(branch.target) {
            Some(fork) if only_constants(fork) => {
                let target = self.job(branch.target, text);
                self.edge(b"", &branch.step, branch.best, target)
            }
            Some(Fork { rank: NONE, branches }) => match branches.as_slice() {
                [only] if !matches!(only.step, Step::Constant(_)) => {
                    let target = self.target(forks, only.target);
                    self.edge(&text, &only.step, branch.best, target)
                }
                _ => self.plain_edge(&text, branch),
            },
            _ => self.plain_edge(&text, branch),
        }
    }

    /// The node behind a wildcard.
    fn target(&mut self, forks: &[Fork], target: usize) -> usize {
        if let Some(Fork { rank: NONE, branches }) = forks.get(target)
            && let [Branch { step: Step::Constant(text), target, .. }] = branches.as_slice()
            && forks.get(*target).is_some_and(only_constants)
        {
            return self.job(*target, text.clone());
        }
        self.plain(target)
    }

    fn plain_edge(&mut self, text: &[u8], branch: &Branch) -> Draft {
        let target = self.plain(branch.target);
        self.edge(text, &branch.step, branch.best, target)
    }

    /// The node of a fork as it is, made once.
    fn plain(&mut self, fork: usize) -> usize {
        if let Some(job) = self.plain.get(fork).copied().flatten() {
            return job;
        }
        let job = self.job(fork, Vec::new());
        if let Some(known) = self.plain.get_mut(fork) {
            *known = Some(job);
        }
        job
    }

    fn job(&mut self, fork: usize, prefix: Vec<u8>) -> usize {
        self.jobs.push(Job { fork, prefix });
        self.jobs.len() - 1
    }

    fn edge(&mut self, constant: &[u8], step: &Step, best: u32, target: usize) -> Draft {
        let constant = Constant::new(constant, &mut self.trie.constants);
        let take = step.take(|text| self.needle(text));
        Draft { edge: Edge { constant, take, best, target: NOWHERE }, target }
    }

    fn needle(&mut self, needle: &[u8]) -> u32 {
        self.trie.needles.push(Finder::new(needle).into_owned());
        index(self.trie.needles.len() - 1)
    }
}

/// Whether a fork is but a place where constants part ways.
fn only_constants(fork: &Fork) -> bool {
    let constant = |branch: &Branch| matches!(branch.step, Step::Constant(_));
    fork.rank == NONE && fork.branches.len() > 1 && fork.branches.iter().all(constant)
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
