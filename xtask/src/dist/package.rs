//! What is in the packages: one table for the two programs, whatever the format.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::{LICENCES, SBOM};
use crate::cargo;

/// One program's package.
pub(crate) struct Package {
    /// Of the package, its program and its unit.
    pub(crate) name: &'static str,
    /// One line.
    pub(crate) summary: &'static str,
    /// A sentence or two.
    pub(crate) description: &'static str,
    /// The user that it runs as, with a group of the same name.
    pub(crate) user: &'static str,
    /// Groups that this user is put into where they exist.
    pub(crate) groups: &'static str,
    /// Its configuration, in `deploy` and under `/etc/blocksift`.
    pub(crate) config: &'static str,
    /// What it remembers.
    pub(crate) state: &'static str,
    /// Folders of its own for further files of the repository.
    extras: &'static [(&'static str, &'static str)],
}

/// All packages.
pub(crate) const PACKAGES: [Package; 2] = [
    Package {
        name: "blocksift-agent",
        summary: "Finds abnormal HDFS blocks in the logs of one node",
        description: "Groups the lines of Hadoop's logs by block, scores each group with a quantized neural network on the node's own CPU, and ships flagged groups and summaries to blocksift-collector.",
        user: "blocksift",
        groups: "hadoop",
        config: "agent.toml",
        state: "/var/lib/blocksift",
        extras: &[
            ("models/hadoop3.onnx", "/usr/share/blocksift/models/hadoop3.onnx"),
            ("models/hadoop3.md", "/usr/share/blocksift/models/hadoop3.md"),
            ("models/hdfs-v1.onnx", "/usr/share/blocksift/models/hdfs-v1.onnx"),
            ("models/hdfs-v1.md", "/usr/share/blocksift/models/hdfs-v1.md"),
            ("deploy/cases.toml", "/usr/share/doc/blocksift-agent/examples/cases.toml"),
        ],
    },
    Package {
        name: "blocksift-collector",
        summary: "Receives, stores and shows what blocksift's agents report",
        description: "Takes reports and summaries over OTLP/HTTP, stores them in one SQLite file, joins what the nodes report on a block, and shows all of it on a web page.",
        user: "blocksift-collector",
        groups: "",
        config: "collector.toml",
        state: "/var/lib/blocksift-collector",
        extras: &[],
    },
];

/// One file of a package.
pub(super) struct Entry {
    /// Where it comes from.
    pub(super) source: PathBuf,
    /// Where it goes, absolute.
    pub(super) path: String,
    /// Its permissions.
    pub(super) mode: u32,
    /// Whether it is the operator's once it is installed.
    pub(super) config: bool,
}

impl Package {
    /// The files, sorted by where they go. `manual` is what the program wrote, `texts` what was gathered about it.
    pub(super) fn tree(&self, binary: &Path, manual: &Path, texts: &Path) -> Result<Vec<Entry>> {
        let root = cargo::root();
        let (name, docs) = (self.name, format!("/usr/share/doc/{}", self.name));
        let entry = |source: PathBuf, path: String| Entry { source, path, mode: 0o644, config: false };
        let deploy = root.join("deploy");
        let mut entries = vec![
            Entry { mode: 0o755, ..entry(binary.to_owned(), format!("/usr/bin/{name}")) },
            Entry {
                mode: 0o640,
                config: true,
                ..entry(deploy.join(self.config), format!("/etc/blocksift/{}", self.config))
            },
            entry(
                deploy.join(format!("systemd/{name}.service")),
                format!("/usr/lib/systemd/system/{name}.service"),
            ),
            entry(root.join("README.md"), format!("{docs}/README.md")),
            entry(root.join("CHANGELOG.md"), format!("{docs}/CHANGELOG.md")),
            entry(root.join("LICENSE"), format!("{docs}/copyright")),
            entry(texts.join(SBOM), format!("{docs}/{SBOM}")),
            entry(texts.join(LICENCES), format!("{docs}/{LICENCES}")),
            entry(
                manual.join(format!("{name}.bash")),
                format!("/usr/share/bash-completion/completions/{name}"),
            ),
            entry(manual.join(format!("_{name}")), format!("/usr/share/zsh/site-functions/_{name}")),
            entry(
                manual.join(format!("{name}.fish")),
                format!("/usr/share/fish/vendor_completions.d/{name}.fish"),
            ),
        ];
        for (source, path) in self.extras {
            entries.push(entry(root.join(source), (*path).to_owned()));
        }
        for page in pages(manual)? {
            let file =
                page.file_name().and_then(|name| name.to_str()).context("a page has a name")?.to_owned();
            entries.push(entry(page, format!("/usr/share/man/man1/{file}")));
        }
        entries.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(entries)
    }

    /// A script or a spec of `deploy/packages`, with this package's names in it.
    pub(super) fn script(&self, file: &str) -> Result<String> {
        let path = cargo::root().join("deploy/packages").join(file);
        let text =
            fs::read_to_string(&path).with_context(|| format!("`{}` cannot be read", path.display()))?;
        Ok(self.fill(&text))
    }

    fn fill(&self, text: &str) -> String {
        let values = [
            ("@package@", self.name),
            ("@summary@", self.summary),
            ("@description@", self.description),
            ("@user@", self.user),
            ("@groups@", self.groups),
            ("@config@", self.config),
            ("@state@", self.state),
        ];
        values.iter().fold(text.to_owned(), |text, (mark, value)| text.replace(mark, value))
    }
}

/// Compressed manual pages; the program wrote them.
fn pages(manual: &Path) -> Result<Vec<PathBuf>> {
    let mut pages = Vec::new();
    for entry in fs::read_dir(manual)? {
        let page = entry?.path();
        if page.extension().is_some_and(|extension| extension == "1") {
            // -n: neither name nor time.
            cargo::run(cargo::program("gzip").args(["-9", "-n"]).arg(&page))?;
            pages.push(page.with_extension("1.gz"));
        }
    }
    Ok(pages)
}

/// Copies the files into a folder that stands for `/`.
pub(super) fn lay_out(tree: &[Entry], root: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;

    for entry in tree {
        let path = root.join(entry.path.trim_start_matches('/'));
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::copy(&entry.source, &path)
            .with_context(|| format!("`{}` cannot be packed", entry.source.display()))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(entry.mode))?;
    }
    // Whatever the umask is.
    set_folders(root)
}

fn set_folders(folder: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;

    fs::set_permissions(folder, fs::Permissions::from_mode(0o755))?;
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            set_folders(&path)?;
        }
    }
    Ok(())
}
