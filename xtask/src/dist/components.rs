//! What is compiled into a program: the crates, as cargo resolves them, and what is vendored.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::VENDORED;
use crate::cargo;

/// One crate or package.
pub(super) struct Component {
    pub(super) name: String,
    pub(super) version: String,
    /// Package URL, by which it is known.
    pub(super) purl: String,
    /// SPDX expression; empty where it states none.
    pub(super) licence: String,
    pub(super) repository: String,
    /// Where its files are.
    pub(super) folder: PathBuf,
    pub(super) origin: Origin,
    /// Package URLs of what it is made of.
    pub(super) needs: BTreeSet<String>,
}

/// Where a component comes from.
#[derive(PartialEq)]
pub(super) enum Origin {
    /// This workspace.
    Own,
    /// A registry of crates.
    Registry {
        /// SHA-256 of its archive there.
        checksum: String,
    },
    /// A folder of [`VENDORED`].
    Vendored,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Crate>,
    resolve: Resolve,
}

#[derive(Deserialize)]
struct Crate {
    id: String,
    name: String,
    version: String,
    license: Option<String>,
    repository: Option<String>,
    manifest_path: PathBuf,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    dependencies: Vec<String>,
}

#[derive(Deserialize)]
struct Lock {
    package: Vec<Locked>,
}

#[derive(Deserialize)]
struct Locked {
    name: String,
    version: String,
    checksum: Option<String>,
}

/// A `package.json`, as far as it tells of the package.
#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    license: String,
    repository: Repository,
}

#[derive(Deserialize)]
struct Repository {
    url: String,
}

/// What is in `program`, itself first, the others by name and version. What only builds, tests or expands macros is not.
pub(super) fn of(program: &str) -> Result<Vec<Component>> {
    let linked = linked(program)?;
    let arguments = ["metadata", "--format-version", "1", "--locked", "--filter-platform", &triple()];
    let metadata: Metadata = serde_json::from_str(&cargo::output(cargo::cargo().args(arguments))?)?;
    let name_of = |one: &Crate| (one.name.clone(), one.version.clone());
    let crates: BTreeMap<&str, &Crate> = metadata.packages.iter().map(|one| (one.id.as_str(), one)).collect();
    let checksums = checksums()?;
    let mut components = Vec::new();
    for node in &metadata.resolve.nodes {
        let Some(found) = crates.get(node.id.as_str()).filter(|one| linked.contains(&name_of(one))) else {
            continue;
        };
        let needs = node.dependencies.iter().filter_map(|id| crates.get(id.as_str())).map(|one| name_of(one));
        components.push(Component {
            name: found.name.clone(),
            version: found.version.clone(),
            purl: purl_of(&name_of(found)),
            licence: found.license.clone().unwrap_or_default().replace('/', " OR "),
            repository: found.repository.clone().unwrap_or_default(),
            folder: found.manifest_path.parent().map(PathBuf::from).unwrap_or_default(),
            origin: match checksums.get(&name_of(found)) {
                Some(checksum) => Origin::Registry { checksum: checksum.clone() },
                None => Origin::Own,
            },
            needs: needs.filter(|needed| linked.contains(needed)).map(|needed| purl_of(&needed)).collect(),
        });
    }
    ensure!(
        components.len() == linked.len(),
        "cargo tells of {} crates and knows {}",
        linked.len(),
        components.len()
    );
    let vendored = VENDORED.iter().filter(|(_, of)| *of == program).map(|(folder, _)| vendored(folder));
    let vendored = vendored.collect::<Result<Vec<_>>>()?;
    if let Some(itself) = components.iter_mut().find(|one| one.name == program) {
        itself.needs.extend(vendored.iter().map(|one| one.purl.clone()));
    }
    components.extend(vendored);
    components.sort_by_key(|one| (one.name != program, one.name.clone(), one.version.clone()));
    Ok(components)
}

fn purl_of((name, version): &(String, String)) -> String {
    format!("pkg:cargo/{name}@{version}")
}

fn vendored(folder: &str) -> Result<Component> {
    let folder = cargo::root().join(folder);
    let path = folder.join("package.json");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read `{}`", path.display()))?;
    let package: Package =
        serde_json::from_str(&text).with_context(|| format!("`{}` is not as expected", path.display()))?;
    Ok(Component {
        purl: format!("pkg:npm/{}@{}", package.name, package.version),
        name: package.name,
        version: package.version,
        licence: package.license,
        repository: package.repository.url.trim_start_matches("git+").to_owned(),
        folder,
        origin: Origin::Vendored,
        needs: BTreeSet::new(),
    })
}

/// Names and versions of what is linked with the features that `program` alone asks for; metadata has those of the whole
/// workspace and its tests.
fn linked(program: &str) -> Result<BTreeSet<(String, String)>> {
    let (triple, edges) = (triple(), "normal,no-proc-macro");
    let arguments =
        ["tree", "--locked", "--package", program, "--edges", edges, "--target", &triple, "--prefix", "none"];
    let told = cargo::output(cargo::cargo().args(arguments))?;
    let mut linked = BTreeSet::new();
    for line in told.lines() {
        let mut words = line.split_whitespace();
        if let (Some(name), Some(version)) = (words.next(), words.next()) {
            linked.insert((name.to_owned(), version.trim_start_matches('v').to_owned()));
        }
    }
    Ok(linked)
}

/// What the crates are told for.
fn triple() -> String {
    format!("{}-unknown-linux-gnu", std::env::consts::ARCH)
}

fn checksums() -> Result<BTreeMap<(String, String), String>> {
    let lock = fs::read_to_string(cargo::root().join("Cargo.lock"))?;
    let lock: Lock = toml::from_str(&lock).context("Cargo.lock is not as expected")?;
    let known = lock.package.into_iter();
    Ok(known.filter_map(|one| Some(((one.name, one.version), one.checksum?))).collect())
}
