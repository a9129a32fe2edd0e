//! What logs say of the machine that made them, and what stands there instead, so that they can be given away.

use std::fs;
use std::path::Path;

/// Name of the machine.
const HOST: &str = "/proc/sys/kernel/hostname";

/// Texts to replace, the longest first.
#[derive(Clone, Debug)]
pub struct Disguise {
    paths: Vec<(String, String)>,
    host: String,
}

impl Disguise {
    /// One that replaces `paths` by what is given beside each, and this machine's name by `localhost`.
    #[must_use]
    pub fn new(paths: &[(&Path, &str)]) -> Self {
        let host = fs::read_to_string(HOST).unwrap_or_default().trim().to_owned();
        Self::with_host(paths, host)
    }

    fn with_host(paths: &[(&Path, &str)], host: String) -> Self {
        let mut paths: Vec<(String, String)> =
            paths.iter().map(|(path, instead)| (path.display().to_string(), (*instead).to_owned())).collect();
        paths.sort_by_key(|(path, _)| std::cmp::Reverse(path.len()));
        Self { paths, host }
    }

    /// `log` without them.
    #[must_use]
    pub fn of(&self, mut log: String) -> String {
        for (path, instead) in &self.paths {
            log = log.replace(path, instead);
        }
        if self.host.is_empty() { log } else { without_word(&log, &self.host) }
    }
}

/// `localhost` in place of `word` where it stands by itself.
fn without_word(text: &str, word: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let inner = |sign: char| sign.is_alphanumeric() || "_.-".contains(sign);
    while let Some((before, behind)) = rest.split_once(word) {
        let alone = !before.chars().next_back().or(out.chars().next_back()).is_some_and(inner)
            && !behind.chars().next().is_some_and(inner);
        out += before;
        out += if alone { "localhost" } else { word };
        rest = behind;
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn longer_paths_go_first_and_the_host_goes_as_a_word() {
        let paths: [(&Path, &str); 2] = [(Path::new("/a/b"), "/x"), (Path::new("/a/b/c"), "/y")];
        let disguise = Disguise::with_host(&paths, "vm".to_owned());
        let log = "host = vm/127.0.0.1 java.vm.name jvm vm-1 /a/b/c/d /a/b/e \"vm\"";
        let found = disguise.of(log.to_owned());
        assert_eq!(found, "host = localhost/127.0.0.1 java.vm.name jvm vm-1 /y/d /x/e \"localhost\"");
    }
}
