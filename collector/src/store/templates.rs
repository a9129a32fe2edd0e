//! Templates: which ones there are, since when, and their events by the hour, from the cumulative counts of summaries.

use super::rollup::{Rollups, more};
use super::sql::{Result, Transaction, params};
use super::{Metrics, TemplateEvents};

/// Templates that are remembered; a further one is not stored until some are forgotten. An agent lists some hundred.
const TEMPLATES_MAX: i64 = 20_000;

/// Counts what the templates of a summary have more than in the one before.
pub(super) fn count(
    transaction: &Transaction<'_>,
    node: &str,
    metrics: &Metrics,
    rollups: &mut Rollups,
) -> Result<()> {
    for template in &metrics.templates {
        let mut before = transaction.prepare_cached(
            "SELECT since_ms, events FROM template_counts WHERE node = ?1 AND template = ?2",
        )?;
        let before: Option<(i64, i64)> =
            before.query_optional(params![node, template.template], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let events = match before {
            Some((since_ms, events)) if since_ms == template.since_ms => more(events, template.events),
            _ => template.events,
        };
        if events <= 0 {
            continue;
        }
        let mut update = transaction.prepare_cached(
            "UPDATE templates SET events = events + ?2, known = ?4,
                 last_seen_ms = CASE WHEN last_seen_ms < ?3 THEN ?3 ELSE last_seen_ms END,
                 first_seen_ms = CASE WHEN first_seen_ms > ?3 THEN ?3 ELSE first_seen_ms END
             WHERE template = ?1",
        )?;
        let updated = update.execute(params![template.template, events, metrics.time_ms, template.known])?;
        if updated == 0 && !add(transaction, node, template, events, metrics.time_ms)? {
            continue;
        }
        let mut count = transaction.prepare_cached(
            "INSERT INTO template_counts (node, template, since_ms, events) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (node, template) DO UPDATE SET since_ms = excluded.since_ms, events = excluded.events",
        )?;
        count.execute(params![node, template.template, template.since_ms, template.events])?;
        rollups.template(template.template, metrics.time_ms, events);
    }
    Ok(())
}

/// Says whether there was room for it.
fn add(
    transaction: &Transaction<'_>,
    node: &str,
    template: &TemplateEvents,
    events: i64,
    time_ms: i64,
) -> Result<bool> {
    let mut add = transaction.prepare_cached(
        "INSERT INTO templates (template, text, known, first_seen_ms, last_seen_ms, first_node, events)
         SELECT ?1, ?2, ?3, ?4, ?4, ?5, ?6 WHERE (SELECT count(*) FROM templates) < ?7",
    )?;
    let added = add.execute(params![
        template.template,
        template.text,
        template.known,
        time_ms,
        node,
        events,
        TEMPLATES_MAX
    ])?;
    Ok(added > 0)
}
