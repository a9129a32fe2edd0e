//! The filter: a record in, at most one out. A record passes on unchanged or is dropped by the rule of the mode, and
//! every one is counted; whatever is not understood passes.
//!
//! Nothing here can be left half done by a record: what may fail (reading it, finding room) comes before what changes.

mod reply;
#[cfg(test)]
mod tests;

use blocksift_detector::{Model, Report, Summary};
use serde::Serialize;

use crate::annotation::Annotator;
use crate::clock::Clock;
use crate::control::{Control, Reply};
use crate::fields::Names;
use crate::node::Node;
use crate::queue::{Item, Kind, Queue};
use crate::record::{Record, Time};
use crate::settings::{Settings, as_usize};
use reply::{append_own, own};

/// How often sessions are looked through for those that fell silent.
const TICK_MS: i64 = 1_000;
/// Bytes of a record to which something is added; larger ones pass unchanged.
const ADD_BYTES_MAX: usize = 1_024 * 1_024;
/// Verdicts that one record carries.
const VERDICTS_MAX: u64 = 16;

/// What becomes of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Every record passes, with its block and template; verdicts ride along.
    Annotate,
    /// Records of the log are dropped, reports and summaries leave in their place.
    Flagged,
    /// Every record passes; reports and summaries ride along.
    Shadow,
}

/// What becomes of one record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer<'a> {
    /// It passes as it is.
    Unchanged,
    /// It is dropped by the rule of the mode.
    Dropped,
    /// This takes its place.
    Record(&'a [u8]),
}

/// Counts of records since the filter was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Records given. Each is in one of the next four counts.
    pub records: u64,
    /// Records that stand for lines of the log.
    pub records_read: u64,
    /// Records that passed unchanged because they are no JSON object or hold no line.
    pub records_unread: u64,
    /// Records that passed unchanged because there are more nodes than `nodes_max`.
    pub records_beyond_nodes: u64,
    /// Control records.
    pub records_control: u64,
    /// Records that the host could not hand over for want of memory; they are in none of the other counts.
    pub records_lost: u64,
    /// Records that were dropped by the rule of the mode; all others left in some form.
    pub records_dropped: u64,
    /// Reports or verdicts that left.
    pub reports: u64,
}

/// A filter in one of the modes.
#[derive(Debug)]
pub struct Filter {
    mode: Mode,
    model: Model,
    settings: Settings,
    names: Names,
    nodes: Vec<Node>,
    annotator: Annotator,
    clock: Clock,
    ticked_ms: Option<i64>,
    summed_ms: Option<i64>,
    /// Sessions are left that a flush is to score.
    is_flushing: bool,
    /// What waits goes on waiting, and nothing is added to records.
    is_held: bool,
    queue: Queue,
    counts: Counts,
    line: Vec<u8>,
    /// What is added to a record.
    added: Vec<u8>,
    out: Vec<u8>,
}

/// The short form of a report.
#[derive(Serialize)]
struct Verdict<'a> {
    id: &'a str,
    revision: u64,
    node: &'a str,
    block: &'a str,
    flagged: bool,
    score: f32,
    threshold: f32,
    reasons: &'a [String],
}

/// A summary of one node; the counts of records are those of the filter.
#[derive(Serialize)]
struct NodeSummary<'a> {
    node: &'a str,
    model: &'a str,
    #[serde(flatten)]
    summary: Summary,
    #[serde(flatten)]
    counts: Counts,
    reports_waiting: usize,
    reports_dropped: u64,
}

impl Filter {
    /// A filter that has seen nothing.
    ///
    /// # Errors
    /// What is wrong with the settings, one sentence each.
    pub fn new(mode: Mode, model: Model, settings: Settings) -> Result<Self, Vec<String>> {
        let problems = settings.problems();
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(Self {
            mode,
            model,
            names: Names::new(&settings.fields),
            settings,
            nodes: Vec::new(),
            annotator: Annotator::new(),
            clock: Clock::default(),
            ticked_ms: None,
            summed_ms: None,
            is_flushing: false,
            is_held: false,
            queue: Queue::default(),
            counts: Counts::default(),
            line: Vec::new(),
            added: Vec::new(),
            out: Vec::new(),
        })
    }

    /// Takes a record with its tag and time.
    pub fn take(&mut self, tag: &[u8], time: Time, record: &[u8]) -> Answer<'_> {
        self.counts.records += 1;
        let now_ms = self.clock.tell(time.ms(), self.settings.idle_timeout_ms());
        // Before the record is added: what was silent until it came has fallen silent.
        self.advance(now_ms);
        let Some(mut read) = Record::read(&self.names, record) else {
            self.counts.records_unread += 1;
            return Answer::Unchanged;
        };
        if let Some(own) = read.own.filter(|_| read.members == 1 && self.may_control(tag)) {
            self.counts.records_control += 1;
            return self.control(Control::read(own));
        }
        self.line.clear();
        if !read.append_line(time, &mut self.line) {
            self.counts.records_unread += 1;
            return self.pass(&read, record);
        }
        let Some(node) = self.node_of(&read) else {
            self.counts.records_beyond_nodes += 1;
            return Answer::Unchanged;
        };
        self.counts.records_read += 1;
        read.stream = xxhash_rust::xxh3::xxh3_64_with_seed(tag, read.stream);
        if let Some(node) = self.nodes.get_mut(node) {
            node.add(read.stream, tag, &self.line, now_ms);
        }
        self.collect();
        match self.mode {
            Mode::Flagged => self.replace(),
            Mode::Annotate | Mode::Shadow => self.pass(&read, record),
        }
    }

    /// Notes that the host could not hand a record of so many bytes over; the answer says so in its place.
    pub fn lost(&mut self, bytes: u32) -> Answer<'_> {
        self.counts.records_lost += 1;
        self.out.clear();
        self.out.extend_from_slice(format!("{{\"blocksift\":{{\"lost_bytes\":{bytes}}}}}").as_bytes());
        Answer::Record(&self.out)
    }

    /// Tells the time where there is no record to tell it.
    pub fn tick(&mut self, now_ms: i64) {
        let now_ms = self.clock.tell(now_ms, self.settings.idle_timeout_ms());
        self.advance(now_ms);
    }

    /// Has everything scored: all that comes of it can be had from [`waiting`](Self::waiting).
    pub fn flush(&mut self) {
        self.is_flushing = true;
        self.go_on_flushing();
    }

    /// What waits longest, as a record of its own, for hosts that can take more than one for one.
    pub fn waiting(&mut self) -> Option<&[u8]> {
        self.write_next().then_some(self.out.as_slice())
    }

    /// From now on what waits goes on waiting and nothing is added to records, or does no more: for hosts that have no room
    /// for it now.
    pub fn hold(&mut self, is_held: bool) {
        self.is_held = is_held;
    }

    /// Writes what waits longest to `out`; `false` if nothing does.
    fn write_next(&mut self) -> bool {
        if self.is_held {
            return false;
        }
        self.go_on_flushing();
        let Some(item) = self.queue.pop() else { return false };
        self.out.clear();
        match (self.mode, item.kind) {
            (Mode::Flagged, Kind::Report) => self.out.extend_from_slice(&item.json),
            (_, kind) => own(kind.name(), &item.json, kind == Kind::Verdict, &mut self.out),
        }
        self.counts.reports += u64::from(item.kind != Kind::Summary);
        true
    }

    /// Answers a record that does not pass by what waits longest.
    fn replace(&mut self) -> Answer<'_> {
        if self.write_next() {
            return Answer::Record(&self.out);
        }
        self.counts.records_dropped += 1;
        Answer::Dropped
    }

    /// Whether something waits.
    #[must_use]
    pub fn waits(&self) -> bool {
        self.queue.first().is_some() || self.is_flushing
    }

    /// Counts of records so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }

    fn may_control(&self, tag: &[u8]) -> bool {
        let wanted = self.settings.control_tag.as_bytes();
        wanted.is_empty() || wanted == tag
    }

    /// Position of the node that a record is of; `None` if there is no room for it. One that names none is of the node
    /// that was heard of first, or of the one in the settings, which makes room for one that has a name.
    fn node_of(&mut self, read: &Record<'_>) -> Option<usize> {
        let name = read.node();
        let found = match name {
            Some(name) => self.nodes.iter().position(|node| node.name == name),
            None => (!self.nodes.is_empty()).then_some(0),
        };
        if found.is_some() {
            return found;
        }
        if self.nodes.len() >= as_usize(self.settings.nodes_max) {
            let unnamed = self.nodes.iter().position(|node| !node.is_named)?;
            Self::settle(&mut self.nodes.remove(unnamed), self.mode, &mut self.queue);
        }
        let is_named = name.is_some();
        let name = name.unwrap_or(&self.settings.node);
        let mut node = Node::new(name, &self.model, &self.settings, self.mode);
        node.is_named = is_named;
        self.nodes.push(node);
        Some(self.nodes.len() - 1)
    }

    /// Scores what fell silent, if it is time to look and there is room for what comes of it.
    fn advance(&mut self, now_ms: i64) {
        self.go_on_flushing();
        let is_early = self.ticked_ms.is_some_and(|ticked_ms| now_ms.saturating_sub(ticked_ms) < TICK_MS);
        if is_early || self.queue.is_long() {
            return;
        }
        self.ticked_ms = Some(now_ms);
        for node in &mut self.nodes {
            node.tick(now_ms);
        }
        self.collect();
        let interval_ms = i64::from(self.settings.summary_interval_s) * 1_000;
        let summed_ms = *self.summed_ms.get_or_insert(now_ms);
        if interval_ms > 0 && now_ms.saturating_sub(summed_ms) >= interval_ms {
            self.summed_ms = Some(now_ms);
            self.sum();
        }
    }

    fn go_on_flushing(&mut self) {
        while self.is_flushing && !self.queue.is_long() {
            let before = self.queue.len();
            for node in &mut self.nodes {
                node.finish();
            }
            self.collect();
            self.is_flushing = self.queue.len() > before;
        }
    }

    /// Brings the reports of all nodes into the queue.
    fn collect(&mut self) {
        for node in &mut self.nodes {
            Self::collect_node(node, self.mode, &mut self.queue);
        }
    }

    /// Scores whatever is left of a node that is given up.
    fn settle(node: &mut Node, mode: Mode, queue: &mut Queue) {
        loop {
            node.finish();
            let before = queue.len() as u64 + queue.dropped;
            Self::collect_node(node, mode, queue);
            // Each round scores a session more, whether there is room for its report or not.
            if queue.len() as u64 + queue.dropped == before {
                break;
            }
        }
    }

    fn collect_node(node: &mut Node, mode: Mode, queue: &mut Queue) {
        while let Some(report) = node.report() {
            let (kind, json) = match mode {
                Mode::Annotate => (Kind::Verdict, serde_json::to_vec(&Verdict::of(&report))),
                Mode::Flagged | Mode::Shadow => (Kind::Report, serde_json::to_vec(&report)),
            };
            match json {
                Ok(json) => queue.push(Item { kind, json }),
                Err(_) => queue.dropped += 1,
            }
        }
    }

    fn sum(&mut self) {
        for node in &self.nodes {
            let summary = NodeSummary {
                node: &node.name,
                model: &self.model.id,
                summary: node.summary(),
                counts: self.counts,
                reports_waiting: self.queue.len(),
                reports_dropped: self.queue.dropped,
            };
            if let Ok(json) = serde_json::to_vec(&summary) {
                self.queue.push_first(Item { kind: Kind::Summary, json });
            }
        }
    }

    /// Lets a record pass, with what is added to it; unchanged where nothing is, or where it cannot be.
    fn pass(&mut self, read: &Record<'_>, record: &[u8]) -> Answer<'_> {
        if read.own.is_some() || record.len() > ADD_BYTES_MAX || self.mode == Mode::Flagged || self.is_held {
            return Answer::Unchanged;
        }
        self.out.clear();
        self.added.clear();
        if self.mode == Mode::Annotate && !self.line.is_empty() {
            self.annotator.append(&self.model, &self.line, &mut self.added);
        }
        self.ride();
        // Each of them ends with a comma.
        if self.added.pop().is_none() {
            return Answer::Unchanged;
        }
        append_own(record, read.members, &self.added, &mut self.out);
        Answer::Record(&self.out)
    }

    /// Appends what waits to what is added to a record: one report or summary, or several verdicts.
    fn ride(&mut self) {
        self.go_on_flushing();
        let added = &mut self.added;
        let mut verdicts = 0;
        while let Some(Item { kind: Kind::Verdict, .. }) = self.queue.first() {
            let Some(item) = (verdicts < VERDICTS_MAX).then(|| self.queue.pop()).flatten() else { break };
            added.extend_from_slice(if verdicts == 0 { b"\"verdicts\":[" } else { b"," });
            added.extend_from_slice(&item.json);
            verdicts += 1;
        }
        if verdicts > 0 {
            added.extend_from_slice(b"],");
            self.counts.reports += verdicts;
        } else if let Some(item) = self.queue.pop() {
            added.extend_from_slice(format!("\"{}\":", item.kind.name()).as_bytes());
            added.extend_from_slice(&item.json);
            added.push(b',');
            self.counts.reports += u64::from(item.kind == Kind::Report);
        }
    }

    fn control(&mut self, control: Control) -> Answer<'_> {
        let reply = match control {
            Control::Tick => return self.replace(),
            Control::Flush => {
                self.flush();
                Reply::Flushed { waiting: self.queue.len(), unfinished: self.is_flushing }
            }
            Control::Configure(settings) => Reply::Configured { changed: self.configure(*settings) },
            Control::Refused(problems) => Reply::Refused { problems },
        };
        self.out.clear();
        if let Ok(json) = serde_json::to_vec(&reply) {
            own("reply", &json, false, &mut self.out);
        }
        Answer::Record(&self.out)
    }

    /// Goes on with other settings and no sessions; the ones there were are scored. Returns whether they are others.
    fn configure(&mut self, settings: Settings) -> bool {
        if settings == self.settings {
            return false;
        }
        for node in &mut self.nodes {
            Self::settle(node, self.mode, &mut self.queue);
        }
        self.nodes.clear();
        self.is_flushing = false;
        self.names = Names::new(&settings.fields);
        self.settings = settings;
        true
    }
}

impl<'a> Verdict<'a> {
    fn of(report: &'a Report) -> Self {
        Self {
            id: &report.id,
            revision: report.revision,
            node: &report.node,
            block: &report.block,
            flagged: report.flagged,
            score: report.score,
            threshold: report.threshold,
            reasons: &report.reasons,
        }
    }
}
