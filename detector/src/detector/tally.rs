//! What was counted for summaries, over all shards.

use crate::tally::{ScoreCounts, TemplateCount};

use super::Detector;

impl Detector {
    /// How often each template was part of a session since this detector was made, in no order.
    #[must_use]
    pub fn template_counts(&self) -> Vec<TemplateCount<'_>> {
        let events = self.shards.iter().flat_map(|shard| shard.tally.statements());
        self.statements.template_counts(events)
    }

    /// Scores since this detector was made.
    #[must_use]
    pub fn score_counts(&self) -> ScoreCounts {
        let mut all = ScoreCounts::default();
        for shard in &self.shards {
            all += shard.tally.scores;
        }
        all
    }
}
