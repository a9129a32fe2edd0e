//! Session files: one row a session, its events in one field. Their columns tell the variants apart.

use std::path::Path;

use anyhow::{Context, Result, bail};
use csv::StringRecord;

use super::{Keys, Session, Sessions, column, csv_reader, label, open};

/// Where the fields of a row are.
struct Columns {
    events: usize,
    class: Class,
    block: Option<usize>,
    node: Option<usize>,
    natural: Option<usize>,
    kind: Option<usize>,
}

/// How a row says what class it is.
enum Class {
    /// One session with a label.
    Label(usize),
    /// Many sessions alike, counted by class.
    Counts { normal: usize, abnormal: usize },
}

/// Reads a labelled session file.
///
/// # Errors
/// Says which file, which line and what is wrong with it.
pub(crate) fn read(path: &Path, keys: &Keys) -> Result<Sessions> {
    let (mut reader, header) = csv_reader(open(path)?, path)?;
    let columns = Columns::find(&header)
        .with_context(|| format!("{} is not a labelled session file", path.display()))?;
    let mut sessions = Sessions::default();
    let mut row = StringRecord::new();
    loop {
        let line = reader.position().line();
        let place = || format!("{} line {line} is not usable", path.display());
        if !reader.read_record(&mut row).with_context(place)? {
            break;
        }
        let line = row.position().map_or(line, csv::Position::line);
        columns
            .sessions(&row, keys, &mut sessions)
            .with_context(|| format!("{} line {line} is not usable", path.display()))?;
    }
    if sessions.list.is_empty() {
        bail!("{} holds no sessions", path.display());
    }
    Ok(sessions)
}

impl Columns {
    fn find(header: &[String]) -> Result<Self> {
        let found = header.join(",");
        if column(header, &["EventTemplate", "Content"]).is_some() {
            bail!("it is a structured log (columns {found}); give it with --structured and --labels");
        }
        let Some(events) = column(header, &["events", "Features", "EventSequence"]) else {
            bail!("its header `{found}` has no column `events` or `Features`");
        };
        let class = match (
            column(header, &["label", "Label", "block_label"]),
            column(header, &["n_normal"]),
            column(header, &["n_abnormal"]),
        ) {
            (Some(label), ..) => Class::Label(label),
            (None, Some(normal), Some(abnormal)) => Class::Counts { normal, abnormal },
            _ => bail!("its header `{found}` has no column `label`, so nothing can be measured by it"),
        };
        Ok(Self {
            events,
            class,
            block: column(header, &["block_id", "BlockId"]),
            node: column(header, &["node"]),
            natural: column(header, &["natural"]),
            kind: column(header, &["kind"]),
        })
    }

    fn sessions(&self, row: &StringRecord, keys: &Keys, sessions: &mut Sessions) -> Result<()> {
        let events = row.get(self.events).unwrap_or_default();
        let names = events.split(|sign: char| !sign.is_alphanumeric()).filter(|name| !name.is_empty());
        let tokens: Vec<_> = names.map(|name| keys.token(name)).collect();
        if tokens.is_empty() {
            bail!("it has no events");
        }
        let unknown = tokens.iter().filter(|&&token| token == super::Token::UNKNOWN).count() as u64;
        let text = |column: Option<usize>| column.and_then(|at| row.get(at)).map(str::trim);
        let session = Session {
            block: text(self.block).unwrap_or_default().to_owned(),
            node: text(self.node).map(str::to_owned),
            abnormal: false,
            kind: text(self.kind).unwrap_or_default().to_owned(),
            // A file without the column has no sample apart.
            natural: text(self.natural).is_some_and(|natural| natural == "1"),
            count: 1,
            time_ms: None,
            tokens,
        };
        match self.class {
            Class::Label(at) => {
                let abnormal = label(row.get(at).unwrap_or_default())?;
                sessions.events_unknown += unknown;
                sessions.list.push(Session { abnormal, ..session });
            }
            Class::Counts { normal, abnormal } => {
                for (at, abnormal) in [(normal, false), (abnormal, true)] {
                    let text = row.get(at).unwrap_or_default();
                    let count: u32 =
                        text.trim().parse().with_context(|| format!("`{text}` is not a count"))?;
                    if count > 0 {
                        sessions.events_unknown += unknown * u64::from(count);
                        sessions.list.push(Session { abnormal, count, ..session.clone() });
                    }
                }
            }
        }
        Ok(())
    }
}
