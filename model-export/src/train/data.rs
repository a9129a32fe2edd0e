//! What is trained on: sessions, and how they are split.

use anyhow::{Result, bail};
use blocksift_detector::model::TokenizerSpec;
use blocksift_detector::template::Template;
use xxhash_rust::xxh3::Xxh3;

use super::Args;
use crate::catalogue;
use crate::dataset::{Group, Part, Shares, deal, group};
use crate::input::{self, Keys, Session, Sessions};

/// Sessions and how they are split.
pub(super) struct Data {
    pub(super) catalogue: Vec<Template>,
    pub(super) tokenizer: TokenizerSpec,
    pub(super) sessions: Sessions,
    pub(super) nodes: Option<Sessions>,
    /// The part of each whole session.
    pub(super) parts: Vec<Part>,
    pub(super) fingerprint: String,
}

impl Data {
    /// Reads what the arguments name, and splits it.
    pub(super) fn read(args: &Args) -> Result<Self> {
        let (catalogue, refinements) = catalogue::read_refined(args.catalogue.as_deref())?;
        let vocabulary = catalogue.iter().map(Template::id).collect();
        let spec = TokenizerSpec { refinements, ..TokenizerSpec::plain(args.length as usize, vocabulary) };
        let tokenizer = spec.tokenizer();
        let keys = Keys::new(&catalogue, &tokenizer);
        let mut sessions = args.source.read(&catalogue, &tokenizer)?;
        // What people marked are parts of sessions, and the best that a site has; it is taken as it is.
        if sessions.per_node() && args.source.marks.is_none() {
            let path = args.source.path().display();
            bail!("{path} holds parts of sessions; give it with --node-sessions beside whole ones");
        }
        if args.natural {
            sessions.list.retain(|session| session.natural);
            if sessions.list.is_empty() {
                bail!("no session is marked `natural`; leave --natural out");
            }
        }
        let mut nodes =
            args.node_sessions.as_deref().map(|path| input::read_sessions(path, &keys)).transpose()?;
        if let Some(kind) = &args.without_kind {
            sessions.list.retain(|session| session.kind != *kind);
            if let Some(nodes) = &mut nodes {
                nodes.list.retain(|session| session.kind != *kind);
            }
        }
        let shares = Shares { validation: args.validation_percent, test: args.test_percent, fold: args.fold };
        if args.fold > 0 && (args.fold + 1) * args.test_percent > 100 {
            bail!("there are {} folds of {} percent", 100 / args.test_percent, args.test_percent);
        }
        let parts = deal(&sessions.list, args.split, shares, args.seed)?;
        let fingerprint = fingerprint(&sessions.list, nodes.as_ref());
        Ok(Self { catalogue, tokenizer: spec, sessions, nodes, parts, fingerprint })
    }

    /// The sessions of a part, by sequence.
    pub(super) fn of(&self, part: Part) -> Vec<Group> {
        let pairs = self.sessions.list.iter().zip(&self.parts);
        group(pairs.filter(|(_, found)| **found == part).map(|(session, _)| session))
    }
}

/// Hash over what was read, whatever file it came from.
pub(super) fn fingerprint(sessions: &[Session], nodes: Option<&Sessions>) -> String {
    let mut hasher = Xxh3::new();
    for session in sessions.iter().chain(nodes.iter().flat_map(|nodes| &nodes.list)) {
        hasher.update(session.block.as_bytes());
        hasher.update(session.node.as_deref().unwrap_or_default().as_bytes());
        hasher.update(&[u8::from(session.abnormal)]);
        hasher.update(&session.count.to_le_bytes());
        for token in &session.tokens {
            hasher.update(&token.0.to_le_bytes());
        }
    }
    format!("{:016x}", hasher.digest())
}
