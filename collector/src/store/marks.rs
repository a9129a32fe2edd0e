//! What people said of sessions. A mark keeps the report that it was made about, so retention does not take it.

use super::sql::{Connection, Result, Row, params};
use super::{Store, WriteError, unpack};

/// A judgement of a person about a session.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Mark {
    /// `false`: a false alarm.
    pub(crate) real: bool,
    pub(crate) comment: String,
    /// Name of the user; empty where there are no users.
    pub(crate) marked_by: String,
    pub(crate) marked_ms: i64,
    /// The session's revision that was judged.
    pub(crate) revision: i64,
}

impl Mark {
    /// The mark of a session.
    pub(crate) fn find(connection: &Connection, id: i64) -> Result<Option<Self>> {
        let mut find = connection.prepare_cached(
            "SELECT real, comment, marked_by, marked_ms, revision FROM marks WHERE id = ?1",
        )?;
        let read = |row: &Row<'_>| {
            Ok(Self {
                real: row.get(0)?,
                comment: row.get(1)?,
                marked_by: row.get(2)?,
                marked_ms: row.get(3)?,
                revision: row.get(4)?,
            })
        };
        find.query_optional([id], read)
    }
}

/// Marks with their reports after session `after`, in the order of ids, at most `limit`.
pub(crate) fn page(connection: &Connection, after: i64, limit: i64) -> Result<Vec<(i64, Mark, String)>> {
    let mut page = connection.prepare_cached(
        "SELECT id, real, comment, marked_by, marked_ms, revision, body FROM marks WHERE id > ?1 ORDER BY id LIMIT ?2",
    )?;
    page.query_map([after, limit], |row| {
        let mark = Mark {
            real: row.get(1)?,
            comment: row.get(2)?,
            marked_by: row.get(3)?,
            marked_ms: row.get(4)?,
            revision: row.get(5)?,
        };
        let body: Vec<u8> = row.get(6)?;
        // A damaged body is left out where reports are read, by being no JSON.
        Ok((row.get(0)?, mark, unpack(&body).unwrap_or_default()))
    })
}

impl Store {
    /// Marks a session, or takes its mark away.
    ///
    /// # Errors
    /// [`WriteError`]; nothing is changed then.
    pub(crate) async fn mark(&self, id: i64, mark: Option<Mark>) -> Result<(), WriteError> {
        self.change(move |transaction| {
            let Some(mark) = mark else {
                transaction.prepare_cached("DELETE FROM marks WHERE id = ?1")?.execute([id])?;
                return Ok(());
            };
            let mut set = transaction.prepare_cached(
                "INSERT INTO marks (id, real, comment, marked_by, marked_ms, revision, body)
                 SELECT id, ?2, ?3, ?4, ?5, revision, body FROM sessions JOIN bodies USING (seq) WHERE id = ?1
                 ON CONFLICT (id) DO UPDATE SET real = excluded.real, comment = excluded.comment,
                     marked_by = excluded.marked_by, marked_ms = excluded.marked_ms, revision = excluded.revision,
                     body = excluded.body",
            )?;
            set.execute(params![id, mark.real, mark.comment, mark.marked_by, mark.marked_ms])?;
            Ok(())
        })
        .await
    }
}
