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
use super::{Phase, Saved, Tail};
use crate::files::{Fingerprint, Found, Identity, list, series};

/// What a new file is.
pub(super) enum Origin {
    /// A file of its own.
    New,
    /// It holds the first bytes of this file and nothing else.
    CopyOf(FileId),
    /// It may be a copy of a file that was truncated or replaced since it was looked at: the next look tells.
    Undecided,
}

/// How contents compare with those of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Likeness {
    /// They are its first bytes.
    Copy,
    /// They are not.
    Other,
    /// The file is not what it was when it was looked at; the next look at it tells where its contents are.
    Undecided,
}

/// What may hold the contents was renamed since it was looked at.
struct Renamed;

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
        let Phase::Copy { of } = file.phase() else {
            // One that was empty so far is as good as new: it may be a copy in the making.
            let begins = file.was_empty() && found.size > 0;
            return if begins { Ok(Seen::Replaced) } else { file.seen(found, now_ms) };
        };
        file.keep_copy(found, now_ms);
        let Some(mut content) = Content::open(&found.path, found.identity)? else { return Ok(Seen::Same) };
        let unchanged = found.size == file.now().size;
        // Where a large copy ends, its original is truncated within a moment; if not, it is someone's backup.
        let short = found.size < Fingerprint::BYTES_MAX.into();
        if unchanged && (!short || file.quiet_ms(now_ms) < END_AFTER_MS) {
            // Or another file with its inode, and its size.
            return Ok(if content.fits(file.now())? { Seen::Same } else { Seen::Replaced });
        }
        let original = self.files.iter_mut().find(|file| file.id() == of);
        let followed = original.as_ref().map(|file| file.now().clone());
        let followed = followed.filter(|saved| saved.phase == Phase::Followed);
        let still = original.and_then(|file| compare(&mut content, found.size, file)).transpose()?;
        let Some(file) = self.files.get_mut(index) else { return Ok(Seen::Same) };
        if still != Some(Likeness::Copy) && !content.fits(file.now())? {
            // Another file with its inode.
            return Ok(Seen::Replaced);
        }
        if unchanged {
            if still != Some(Likeness::Copy) {
                // After a long time without a look its original may be truncated by now, which this look tells.
                return Ok(Seen::Same);
            }
            file.stand_alone(0);
            return file.seen(found, now_ms);
        }
        match (still, followed) {
            (Some(Likeness::Copy), _) => {
                file.copied_to(found.size, now_ms);
                Ok(Seen::Same)
            }
            // It was finished and its original truncated or deleted meanwhile: that goes on here.
            (Some(Likeness::Undecided) | None, Some(saved)) if content.fits(&saved)? => Ok(Seen::Same),
            // It only began like that one, and is as good as new: it may be a copy of another.
            (Some(_), _) | (None, Some(_)) => Ok(Seen::Replaced),
            // Its original is gone; what it holds of it was read there.
            (None, None) => {
                file.stand_alone(file.now().offset);
                file.seen(found, now_ms)
            }
        }
    }

    /// Whether the open file with this index, which was empty so far, was a copy in the making.
    pub(super) fn was_copied_to(&mut self, index: usize) -> bool {
        let Some(file) = self.files.get_mut(index) else { return false };
        let identity = file.now().identity;
        let Some(mut content) = (if file.was_empty() { file.take_content() } else { None }) else {
            return false;
        };
        let origin = self.origin_of(&mut content, identity);
        if let Some(file) = self.files.get_mut(index) {
            file.give_content(content);
        }
        matches!(origin, Ok(Origin::CopyOf(_) | Origin::Undecided))
    }

    /// Whether `content`, which is new, is a copy of a file that is known.
    pub(super) fn origin_of(&mut self, content: &mut Content, identity: Identity) -> io::Result<Origin> {
        let size = content.size()?;
        let head = content.head()?;
        let mut origin = Origin::New;
        if size == 0 {
            return Ok(origin);
        }
        for file in &mut self.files {
            let saved = file.now();
            let here = matches!(saved.phase, Phase::Followed | Phase::Ended { .. });
            let longer = saved.size >= size && saved.identity != identity;
            let alike = head.len() < Fingerprint::BYTES_MAX.into() || saved.fingerprint.fits(&head);
            if !(here && longer && alike) {
                continue;
            }
            match compare(content, size, file).transpose()? {
                Some(Likeness::Copy) => return Ok(Origin::CopyOf(file.id())),
                // A copy is whole before its original is truncated.
                Some(Likeness::Undecided) if content.continues(file.now())? => origin = Origin::Undecided,
                Some(Likeness::Undecided | Likeness::Other) | None => {}
            }
        }
        Ok(origin)
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
    /// ones are in their place. What is found there is taken out of `new`. `false` if the next look has to tell.
    pub(super) fn settle(&mut self, id: FileId, replaced: bool, new: &mut Vec<Found>, now_ms: i64) -> bool {
        let Some(file) = self.files.iter().find(|file| file.id() == id) else { return true };
        if replaced && file.was_empty() {
            // Nothing was read of it; it is in `new` if it is there.
            self.files.retain(|file| file.id() != id);
            self.removed.push(id);
            return true;
        }
        let followed = file.phase() == Phase::Followed;
        let Ok(moved) = (if followed { self.find_moved(file, new) } else { Ok(None) }) else { return false };
        let Some(file) = self.files.iter_mut().find(|file| file.id() == id) else { return true };
        let Some(moved) = moved else {
            // Something unknown is where it was when the agent stopped: what was written meanwhile went by.
            let known = followed && !file.is_blank();
            let outrun = known && file.is_restored() && new.iter().any(|found| found.path == file.path());
            if replaced {
                file.lose(outrun, now_ms);
            } else if outrun {
                file.set_outrun();
            }
            return true;
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
        true
    }

    fn find_moved(&self, lost: &Followed, new: &[Found]) -> Result<Option<Moved>, Renamed> {
        let of = Phase::Copy { of: lost.id() };
        let copies = self.files.iter().filter(|file| file.phase() == of && !file.is_gone());
        if let Some(copy) = copies.max_by_key(|copy| copy.now().size) {
            let (path, identity) = (copy.path().to_owned(), copy.now().identity);
            if let Some(mut content) = open(&path, identity)?
                && copied(&mut content, copy.now(), lost.now()).unwrap_or(false)
            {
                return Ok(Some(Moved { path, identity, content }));
            }
        }
        let others = new.iter().map(|found| (found.path.as_path(), found.identity));
        let (same_path, others): (Vec<_>, Vec<_>) = others.partition(|(path, _)| *path == lost.path());
        let listed = self.beside(lost, new);
        let listed = listed.iter().map(|(path, identity)| (path.as_path(), *identity));
        let mut renamed = Ok(None);
        for (path, identity) in same_path.into_iter().chain(others).chain(listed) {
            match moved_to(lost, path, identity) {
                Ok(None) => {}
                Ok(moved) => return Ok(moved),
                Err(Renamed) => renamed = Err(Renamed),
            }
        }
        renamed
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

/// Whether `content` is all that was in `lost` when it was truncated; it was a copy of it when it was looked at as `copy`.
/// What it got since was copied when the original had at least what was seen of it.
fn copied(content: &mut Content, copy: &Saved, lost: &Saved) -> io::Result<bool> {
    Ok(content.fits(copy)? && (content.size()? == copy.size || content.fits(lost)?))
}

/// The contents of `lost` if they are at `path`.
fn moved_to(lost: &Followed, path: &Path, identity: Identity) -> Result<Option<Moved>, Renamed> {
    if identity == lost.now().identity && !lost.is_gone() {
        return Ok(None);
    }
    let Some(mut content) = open(path, identity)? else { return Ok(None) };
    let found = content.continues(lost.now()).unwrap_or(false) && content.size().is_ok();
    Ok(found.then(|| Moved { path: path.to_owned(), identity, content }))
}

/// Opens a file that was at `path` a moment ago; `None` if it cannot be read.
fn open(path: &Path, identity: Identity) -> Result<Option<Content>, Renamed> {
    match Content::open(path, identity) {
        Ok(Some(content)) => Ok(Some(content)),
        Ok(None) => Err(Renamed),
        Err(_) => Ok(None),
    }
}

/// How `content`, which is `size` bytes long, compares with `original`; `None` if that cannot be had.
fn compare(content: &mut Content, size: u64, original: &mut Followed) -> Option<io::Result<Likeness>> {
    let saved = original.now().clone();
    original.with_content(|original| {
        if matches!(original, Content::Packed(_)) || matches!(saved.phase, Phase::Lost { .. }) {
            return Ok(Likeness::Other);
        }
        let copy = content.is_copy_of(size, original)?;
        // Asked afterwards: it may have been truncated while it was compared.
        Ok(match (original.fits(&saved)?, copy) {
            (false, _) => Likeness::Undecided,
            (true, true) => Likeness::Copy,
            (true, false) => Likeness::Other,
        })
    })
}
