//! What Ansible says at the end of a play: for each host what became of its tasks.

use std::collections::BTreeMap;

use anyhow::{Result, bail, ensure};

/// A play that is over.
pub(super) struct Played {
    /// Its file.
    pub(super) playbook: String,
    /// Whether Ansible calls it a success.
    pub(super) success: bool,
    /// Everything that it said.
    pub(super) text: String,
}

impl Played {
    pub(super) fn went_well(&self) -> Result<&Self> {
        ensure!(self.success, "{} failed:\n{}", self.playbook, self.text);
        Ok(self)
    }

    pub(super) fn failed(&self) -> Result<&Self> {
        ensure!(!self.success, "{} should have failed:\n{}", self.playbook, self.text);
        Ok(self)
    }

    /// Every host that it was about.
    pub(super) fn changed_all(&self) -> Result<&Self> {
        let hosts = changes(&self.text);
        ensure!(
            !hosts.is_empty() && hosts.values().all(|changed| *changed > 0),
            "{} did not change each of {hosts:?}:\n{}",
            self.playbook,
            self.text
        );
        Ok(self)
    }

    pub(super) fn changed_none(&self) -> Result<&Self> {
        self.changed(&[])
    }

    /// These hosts and no other.
    pub(super) fn changed(&self, wanted: &[&str]) -> Result<&Self> {
        let hosts = changes(&self.text);
        let changed: Vec<&str> =
            hosts.iter().filter(|(_, changed)| **changed > 0).map(|(host, _)| host.as_str()).collect();
        if hosts.is_empty() || changed != wanted {
            bail!("{} changed {changed:?}, not {wanted:?}:\n{}", self.playbook, self.text);
        }
        Ok(self)
    }

    pub(super) fn did_not_reach(&self, host: &str) -> Result<&Self> {
        let hosts = changes(&self.text);
        ensure!(
            !hosts.is_empty() && !hosts.contains_key(host),
            "{} reached {host}:\n{}",
            self.playbook,
            self.text
        );
        Ok(self)
    }
}

/// For each host that had a task the number of those that changed something.
fn changes(text: &str) -> BTreeMap<String, u32> {
    let recap = text.lines().skip_while(|line| !line.starts_with("PLAY RECAP")).skip(1);
    recap
        .filter_map(|line| {
            let (host, counts) = line.split_once(" : ")?;
            let changed = counts.split_whitespace().find_map(|count| count.strip_prefix("changed="))?;
            Some((host.trim().to_owned(), changed.parse().ok()?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_recap_says_who_changed() {
        let text = "TASK [a]\nchanged: [dn3]\nchanged=9 : changed=9\n\nPLAY RECAP *****\ndn1 : ok=3 changed=0 unreachable=0\ndn12    : ok=1    changed=2    failed=1\n";
        let played = Played { playbook: "a.yml".to_owned(), success: true, text: text.to_owned() };
        assert!(played.changed(&["dn12"]).is_ok() && played.did_not_reach("dn3").is_ok());
        assert!(played.changed(&[]).is_err() && played.changed_all().is_err() && played.failed().is_err());
        let silent = Played { text: String::new(), ..played };
        assert!(silent.changed_none().is_err(), "no recap is no success");
    }
}
