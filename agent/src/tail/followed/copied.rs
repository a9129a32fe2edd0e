//! Contents that move to another file, and files that hold the first bytes of another one: not read as long as they do.

use std::io;
use std::path::PathBuf;

use tracing::info;

use super::Followed;
use crate::files::{Anchor, Fingerprint, Found, Identity};
use crate::tail::content::Content;
use crate::tail::{Phase, Saved};

impl Followed {
    /// Whether it is read and was empty when it was looked at last. Zero bytes are not nothing: they are waited upon.
    pub(in crate::tail) fn was_empty(&self) -> bool {
        self.saved.phase == Phase::Followed && self.is_blank() && self.saved.size == 0
    }

    /// Its contents if it is open; to be given back by [`Self::give_content`].
    pub(in crate::tail) fn take_content(&mut self) -> Option<Content> {
        self.handle.take()
    }

    /// What [`Self::take_content`] gave.
    pub(in crate::tail) fn give_content(&mut self, content: Content) {
        self.handle = Some(content);
    }

    /// The contents are at another place: copied there before they were truncated, or compressed after the rotation.
    /// `rotated`: they will not grow there.
    ///
    /// # Errors
    /// When they cannot be read there.
    pub(in crate::tail) fn move_to(
        &mut self,
        path: PathBuf,
        identity: Identity,
        mut content: Content,
        rotated: bool,
        now_ms: i64,
    ) -> io::Result<()> {
        let size = content.size()?;
        info!(from = %self.saved.path.display(), to = %path.display(), "file was copied or compressed");
        let fingerprint = Fingerprint::default().grown(&content.head()?).unwrap_or_default();
        self.saved = Saved { path, identity, fingerprint, size, ..self.saved.clone() };
        self.handle = Some(content);
        self.stat = None;
        self.gone_since_ms = None;
        self.empty_since_ms = None;
        self.restored = false;
        self.rotated = rotated;
        self.changed = true;
        if size < self.saved.anchor.end() {
            self.saved.anchor = Anchor::default();
        }
        if size < self.saved.offset {
            // What was written between the copy and the truncation was read in time.
            self.saved.offset = size;
            self.give_up(Phase::Ended { since_ms: now_ms }, None);
        }
        Ok(())
    }

    /// A copy that turned out to be a file of its own, to be read from `offset` on.
    pub(in crate::tail) fn stand_alone(&mut self, offset: u64) {
        info!(path = %self.saved.path.display(), offset, "following file, which only began like another one");
        self.saved.phase = Phase::Followed;
        self.saved.offset = offset;
        self.saved.anchor = Anchor::default();
        self.end_told = false;
        self.stat = None;
        self.changed = true;
    }

    /// The globs name a copy.
    pub(in crate::tail) fn keep_copy(&mut self, found: &Found, now_ms: i64) {
        self.gone_since_ms = None;
        if std::mem::take(&mut self.restored) {
            self.active_ms = now_ms;
        }
        if self.saved.path != found.path {
            self.saved.path.clone_from(&found.path);
            self.changed = true;
        }
    }

    /// A copy that has grown to `size` and still is one.
    pub(in crate::tail) fn copied_to(&mut self, size: u64, now_ms: i64) {
        self.saved.offset = size;
        self.saved.size = size;
        self.active_ms = now_ms;
        self.changed = true;
    }
}
