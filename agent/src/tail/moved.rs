//! Where contents are that are not where they were: rotation by copying and truncating leaves them in a new file, and
//! compression after the rotation in a compressed one. They are known by their first bytes and those before the place up to
//! which they were read.
//!
//! A copy is often seen before its original is truncated. Until then it is [`Phase::Copy`] and not read; a short one that
//! stays as it is was a file of its own which begins alike, and is then read from its start.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};

use blocksift_detector::FileId;
use tracing::warn;

use super::content::Content;
use super::followed::{END_AFTER_MS, Followed, Seen};
use super::{Phase, Tail};
use crate::files::{Fingerprint, Found, Identity, list, series};

/// Contents at their new place.
struct Moved {
    path: PathBuf,
    identity: Identity,
    content: Content,
}

impl Tail {
    /// Looks at the file with this index, which the globs name.
    pub(super) fn look_at(&mut self, index: usize, found: &Found, now_ms: i64) -> io::Result<Seen> {
        let Some(file) = self.files.get_mut(index) else { return Ok(Seen::Same) };
        let Phase::Copy { of } = file.phase() else { return file.seen(found, now_ms) };
        file.keep_copy(found, now_ms);
        if found.size == file.now().size {
            // Where a large copy ends, its original is truncated within a moment; if not, it is someone's backup.
            let short = found.size < Fingerprint::BYTES_MAX.into();
            if !short || file.quiet_ms(now_ms) < END_AFTER_MS {
                return Ok(Seen::Same);
            }
        }
        let Some(mut content) = Content::open(&found.path, found.identity)? else { return Ok(Seen::Same) };
        let original = self.files.iter_mut().find(|file| file.id() == of);
        let still = original.and_then(|file| is_copy(&mut content, found.size, file)).transpose()?;
        let Some(file) = self.files.get_mut(index) else { return Ok(Seen::Same) };
        if found.size == file.now().size {
            if still != Some(true) {
                // After a long time without a look its original may be truncated by now, which this look tells.
                return Ok(Seen::Same);
            }
            file.stand_alone(0);
            return file.seen(found, now_ms);
        }
        if still != Some(true) && !content.fits(file.now())? {
            // Another file with its inode.
            return Ok(Seen::Replaced);
        }
        match still {
            Some(true) => {
                file.copied_to(found.size, now_ms);
                return Ok(Seen::Same);
            }
            Some(false) => file.stand_alone(0),
            // Its original is gone; what it holds of it was read there.
            None => file.stand_alone(file.now().offset),
        }
        file.seen(found, now_ms)
    }

    /// The file whose first bytes `content` holds and nothing else, if there is one.
    pub(super) fn original_of(
        &mut self,
        content: &mut Content,
        identity: Identity,
    ) -> io::Result<Option<FileId>> {
        let size = content.size()?;
        let head = content.head()?;
        if size == 0 {
            return Ok(None);
        }
        for file in &mut self.files {
            let saved = file.now();
            let here = matches!(saved.phase, Phase::Followed | Phase::Ended { .. });
            let longer = saved.size >= size && saved.identity != identity;
            let alike = head.len() < Fingerprint::BYTES_MAX.into() || saved.fingerprint.fits(&head);
            if here && longer && alike && is_copy(content, size, file).transpose()? == Some(true) {
                return Ok(Some(file.id()));
            }
        }
        Ok(None)
    }

    /// Goes on in `content`, which is longer, with a file that is a copy of its start: the agent saw the copy before the
    /// original. `None` if there is none.
    pub(super) fn extended_by(
        &mut self,
        content: &mut Content,
        found: &Found,
        now_ms: i64,
    ) -> io::Result<Option<()>> {
        let head = content.head()?;
        let size = content.size()?;
        let Some(index) = self.files.iter_mut().position(|file| {
            let saved = file.now();
            let shorter = saved.size > 0 && saved.size < size && saved.fingerprint.fits(&head);
            let bytes = saved.size;
            file.is_here()
                && shorter
                && file.with_content(|copy| copy.is_copy_of(bytes, content).unwrap_or(false)) == Some(true)
        }) else {
            return Ok(None);
        };
        let (Some(file), Some(original)) =
            (self.files.get_mut(index), Content::open(&found.path, found.identity)?)
        else {
            return Ok(None);
        };
        let of = file.id();
        let (path, identity) = (file.path().to_owned(), file.now().identity);
        let copy = Found { path, identity, size: file.now().size, modified: found.modified };
        file.move_to(found.path.clone(), found.identity, original, false, now_ms)?;
        if let Some(content) = Content::open(&copy.path, copy.identity)? {
            let id = FileId(self.next_id);
            self.next_id += 1;
            self.files.push(Followed::new(id, &copy, content, Phase::Copy { of }, false, now_ms)?);
        }
        Ok(Some(()))
    }

    /// Finds out where the contents of a file are that are not where they were, and goes on there; or gives them up if other
    /// ones are in their place. What is found there is taken out of `new`.
    pub(super) fn settle(&mut self, id: FileId, replaced: bool, new: &mut Vec<Found>, now_ms: i64) {
        let Some(file) = self.files.iter().find(|file| file.id() == id) else { return };
        let followed = file.phase() == Phase::Followed;
        let moved = if followed { self.find_moved(file, new) } else { None };
        let Some(file) = self.files.iter_mut().find(|file| file.id() == id) else { return };
        let Some(moved) = moved else {
            // Something unknown is where it was when the agent stopped: what was written meanwhile went by.
            let known = followed && !file.is_blank();
            let outrun = known && file.is_restored() && new.iter().any(|found| found.path == file.path());
            if replaced {
                file.lose(outrun, now_ms);
            } else if outrun {
                file.set_outrun();
            }
            return;
        };
        let Moved { path, identity, content } = moved;
        if let Err(error) = file.move_to(path, identity, content, true, now_ms) {
            warn!(path = %file.path().display(), %error, "copy of a file cannot be read");
            file.lose(true, now_ms);
        }
        new.retain(|found| found.identity != identity);
        let removed = &mut self.removed;
        self.files.retain(|file| {
            let copy = file.id() != id && file.now().identity == identity && is_phase_copy(file);
            if copy {
                removed.push(file.id());
            }
            !copy
        });
    }

    fn find_moved(&self, lost: &Followed, new: &[Found]) -> Option<Moved> {
        let copies = self.files.iter().filter(|file| file.phase() == Phase::Copy { of: lost.id() });
        if let Some(copy) = copies.max_by_key(|copy| copy.now().size) {
            let (path, identity) = (copy.path().to_owned(), copy.now().identity);
            if let Ok(Some(mut content)) = Content::open(&path, identity)
                && content.fits(copy.now()).unwrap_or(false)
            {
                return Some(Moved { path, identity, content });
            }
        }
        let others = new.iter().map(|found| (found.path.as_path(), found.identity));
        let (same_path, others): (Vec<_>, Vec<_>) = others.partition(|(path, _)| *path == lost.path());
        let listed = self.beside(lost, new);
        let listed = listed.iter().map(|(path, identity)| (path.as_path(), *identity));
        let mut places = same_path.into_iter().chain(others).chain(listed);
        places.find_map(|(path, identity)| moved_to(lost, path, identity))
    }

    /// Files of the same series in its directory that are not known.
    fn beside(&self, lost: &Followed, new: &[Found]) -> Vec<(PathBuf, Identity)> {
        // The inode of one that is gone may be another file's by now.
        let read =
            self.files.iter().filter(|file| !matches!(file.phase(), Phase::Lost { .. }) && file.is_at_hand());
        let known: HashSet<Identity> =
            read.map(|file| file.now().identity).chain(new.iter().map(|found| found.identity)).collect();
        let series = series(lost.path());
        let mut files = list(lost.path().parent().unwrap_or(Path::new("."))).unwrap_or_default();
        files.retain(|(path, identity)| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with(&series) && !known.contains(identity)
        });
        files
    }
}

fn is_phase_copy(file: &Followed) -> bool {
    matches!(file.phase(), Phase::Copy { .. })
}

/// The contents of `lost` if they are at `path`.
fn moved_to(lost: &Followed, path: &Path, identity: Identity) -> Option<Moved> {
    if identity == lost.now().identity && !lost.is_gone() {
        return None;
    }
    let mut content = Content::open(path, identity).ok()??;
    let found = content.continues(lost.now()).unwrap_or(false) && content.size().is_ok();
    found.then(|| Moved { path: path.to_owned(), identity, content })
}

/// Whether `content` holds the first `size` bytes of `original` and nothing else; `None` if that cannot be had.
fn is_copy(content: &mut Content, size: u64, original: &mut Followed) -> Option<io::Result<bool>> {
    let plain = |original: &mut Content| match original {
        Content::Plain(_) => content.is_copy_of(size, original),
        Content::Packed(_) => Ok(false),
    };
    original.with_content(plain)
}
