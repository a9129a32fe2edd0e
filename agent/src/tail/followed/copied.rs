//! A file that holds the first bytes of another one: not read as long as it does.

use tracing::info;

use super::Followed;
use crate::files::{Anchor, Found};
use crate::tail::Phase;

impl Followed {
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
