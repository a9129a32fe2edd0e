//! A file of reports, one JSON object a line. What is written is on the disk before it counts as delivered.
//!
//! The file may be rotated by anybody: before each write, its path is asked whether it still names the open file.
//! What a crash or a full disk left of a line is cut off, so that the file is NDJSON to its end; the report comes whole
//! with the next write.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use tracing::info;

use crate::files::{Identity, last_line_end};

/// Owner and group: reports hold log lines.
const MODE: u32 = 0o640;

/// Writes to the end of a file.
#[derive(Debug)]
pub(super) struct Appender {
    path: PathBuf,
    open: Option<(File, Identity)>,
}

impl Appender {
    /// The file is opened with the first write, and made if there is none.
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), open: None }
    }

    /// Writes whole lines, all of them or none, and waits until they are on the disk.
    ///
    /// # Errors
    /// As the system has them, with the path.
    pub(super) fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        self.try_append(lines).map_err(|error| {
            self.open = None;
            let text = format!("`{}` cannot be written: {error}", self.path.display());
            // A pipe in the place of a file may get another reader: that is no end.
            let kind =
                if error.kind() == io::ErrorKind::BrokenPipe { io::ErrorKind::Other } else { error.kind() };
            io::Error::new(kind, text)
        })
    }

    fn try_append(&mut self, lines: &[u8]) -> io::Result<()> {
        let mut file = self.file()?;
        let regular = file.metadata()?.is_file();
        let length = file.metadata()?.len();
        let written = file.write_all(lines).and_then(|()| if regular { file.sync_data() } else { Ok(()) });
        if let Err(error) = written {
            if regular {
                file.set_len(length)?;
            }
            return Err(error);
        }
        Ok(())
    }

    /// The file that the path names now.
    fn file(&mut self) -> io::Result<&File> {
        let named = std::fs::metadata(&self.path).ok().map(|metadata| Identity::of(&metadata));
        if self.open.as_ref().is_some_and(|(_, identity)| Some(*identity) != named) {
            info!(path = %self.path.display(), "file of reports was rotated; going on with a new one");
            self.open = None;
        }
        if self.open.is_none() {
            let file = OpenOptions::new().read(true).append(true).create(true).mode(MODE).open(&self.path)?;
            let metadata = file.metadata()?;
            if metadata.is_file() {
                let whole = last_line_end(&file, metadata.len())?;
                if whole < metadata.len() {
                    info!(path = %self.path.display(), bytes = metadata.len() - whole, "cutting off an unfinished line");
                    file.set_len(whole)?;
                }
                sync_folder(&self.path)?;
            }
            self.open = Some((file, Identity::of(&metadata)));
        }
        self.open.as_ref().map(|(file, _)| file).ok_or_else(|| io::Error::other("not open"))
    }
}

/// So that the name of a new file survives a crash of the host.
fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_appended_and_a_rotated_file_gets_a_successor() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("reports.ndjson");
        let mut appender = Appender::new(&path);
        appender.append(b"{1}\n{2}\n").unwrap();
        std::fs::rename(&path, folder.path().join("reports.ndjson.1")).unwrap();
        appender.append(b"{3}\n").unwrap();
        assert_eq!(std::fs::read(folder.path().join("reports.ndjson.1")).unwrap(), b"{1}\n{2}\n");
        assert_eq!(std::fs::read(&path).unwrap(), b"{3}\n");
        // copytruncate
        File::options().write(true).open(&path).unwrap().set_len(0).unwrap();
        appender.append(b"{4}\n").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"{4}\n");
    }

    #[test]
    fn what_a_crash_left_of_a_line_is_cut_off() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("reports.ndjson");
        for (left, kept) in [("", ""), ("{1}\n", "{1}\n"), ("{1}\n{2", "{1}\n"), ("{1", "")] {
            std::fs::write(&path, left).unwrap();
            Appender::new(&path).append(b"{3}\n").unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("{kept}{{3}}\n"));
        }
        std::fs::write(&path, [b"{1}\n".to_vec(), vec![b'x'; 200_000]].concat()).unwrap();
        Appender::new(&path).append(b"{3}\n").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"{1}\n{3}\n");
    }

    #[test]
    fn a_device_without_room_is_an_error_with_the_path_and_a_missing_folder_too() {
        for path in ["/dev/full", "/absent/reports.ndjson"] {
            let error = Appender::new(Path::new(path)).append(b"{1}\n").unwrap_err();
            assert!(error.to_string().contains(path), "{error}");
        }
    }
}
