//! What the tests of the receivers have in common.

use std::fs;
use std::net::SocketAddr;

use tempfile::TempDir;

use super::*;

/// A receiver and its journal.
pub(super) struct Scene {
    folder: TempDir,
    pub(super) address: SocketAddr,
}

impl Scene {
    /// Whose journal holds `bytes_max`.
    pub(super) async fn new<Receiving>(
        bytes_max: u64,
        receive: impl Fn(TcpStream, Arc<Journal>) -> Receiving + Send + Sync + 'static,
    ) -> Self
    where
        Receiving: Future<Output = ()> + Send + 'static,
    {
        let folder = TempDir::new().unwrap();
        let store = Arc::new(Store::open(&folder.path().join("state")).unwrap().0);
        let journal = Arc::new(Journal::open(&folder.path().join("received"), bytes_max, store).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(serve(listener, journal, receive));
        Self { folder, address }
    }

    /// What each stream sent, in order of the files' numbers.
    pub(super) fn received(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder.path().join("received")).unwrap();
        let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        paths.sort_by_key(|path| path.to_str().unwrap().rsplit('.').next().unwrap().to_owned());
        paths.iter().map(|path| fs::read_to_string(path).unwrap()).collect()
    }
}
