//! `cargo xtask dist`: what a release consists of, in one folder: packages, plugin, models, manual, bill of materials.
//!
//! The packages are made by the distributions' own tools (dpkg-deb and rpmbuild, both one small package on Debian) from
//! the tables in `package.rs` and the scripts in `deploy/packages`: there is nothing to compile for it. Equal sources
//! give equal bytes: times are `SOURCE_DATE_EPOCH` or the last commit's, owners and modes are fixed, and no path of the
//! machine gets into a program.

mod build;
mod compare;
mod components;
mod deb;
mod licences;
mod package;
mod rpm;
mod sbom;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use blocksift_tests::wasm::Host;
use clap::ValueEnum;

use crate::{cargo, wasm};

pub(crate) use package::PACKAGES;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Folder to write; what an earlier run left in it is removed [default: target/dist]
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Take the binaries from here instead of building them.
    #[arg(long, value_name = "DIR")]
    binaries: Option<PathBuf>,
    /// What to build for [default: musl where rustup has it and musl-gcc is installed, else this machine]
    #[arg(long, value_name = "TRIPLE", conflicts_with = "binaries")]
    target: Option<String>,
    /// Kinds of packages.
    #[arg(long, value_delimiter = ',', value_name = "KIND", default_values = ["deb", "rpm"])]
    formats: Vec<Format>,
    /// Leave the plugin's modules out.
    #[arg(long)]
    without_plugin: bool,
    /// Fail unless the release in this folder is the same, file by file.
    #[arg(long, value_name = "DIR")]
    compare: Option<PathBuf>,
}

/// A kind of package.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For Debian and Ubuntu; needs dpkg-deb.
    Deb,
    /// For RHEL and its kin; needs rpmbuild.
    Rpm,
}

/// What all parts of a release have in common.
pub(crate) struct Release {
    /// Of the workspace.
    version: String,
    /// Seconds since 1970 that every file bears.
    epoch: u64,
    /// Whether packages are left uncompressed.
    fast: bool,
}

/// Makes a release.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let output = arguments.output.clone().unwrap_or_else(|| cargo::target_folder().join("dist"));
    let release = Release { version: env!("CARGO_PKG_VERSION").to_owned(), epoch: epoch()?, fast: false };
    check_tools(&arguments.formats)?;
    empty(&output)?;
    let built = match &arguments.binaries {
        Some(folder) => folder.clone(),
        None => build::binaries(arguments.target.as_deref(), &release)?,
    };
    packages(&built, &arguments.formats, &release, &output)?;
    models(&output)?;
    if !arguments.without_plugin {
        plugin(&output)?;
    }
    let built_here = arguments.binaries.is_none();
    write(&output.join("built-with.txt"), &built_with(built_here))?;
    sums(&output)?;
    println!("{}: blocksift {}", output.display(), release.version);
    if let Some(other) = &arguments.compare {
        let files = compare::releases(&output, other)?;
        println!("{}: the same release, {files} files", other.display());
    }
    Ok(())
}

/// Packages of ready binaries, called a version of choice and packed without compressing.
pub(crate) fn for_test(binaries: &Path, output: &Path, version: &str) -> Result<()> {
    empty(output)?;
    let release = Release { version: version.to_owned(), epoch: epoch()?, fast: true };
    packages(binaries, Format::value_variants(), &release, output)
}

fn packages(built: &Path, formats: &[Format], release: &Release, output: &Path) -> Result<()> {
    let work = tempfile::tempdir()?;
    for package in &PACKAGES {
        let binary = build::stripped(&built.join(package.name), work.path())?;
        let needs = build::needs(&binary)?;
        println!("{}: {needs}", package.name);
        let components = components::of(package.name)?;
        let texts = work.path().join(format!("{}-texts", package.name));
        fs::create_dir_all(&texts)?;
        write(&texts.join(SBOM), &sbom::document(package.name, release, &components)?)?;
        write(&texts.join(LICENCES), &licences::text(package.name, &components)?)?;
        let manual = work.path().join(format!("{}-manual", package.name));
        cargo::run(cargo::program(&binary).arg("manual").arg(&manual))?;
        let tree = package.tree(&binary, &manual, &texts)?;
        for format in formats {
            match format {
                Format::Deb => deb::pack(package, &tree, &needs, release, work.path(), output)?,
                Format::Rpm => rpm::pack(package, &tree, &needs, release, work.path(), output)?,
            }
        }
        for name in [SBOM, LICENCES] {
            fs::copy(texts.join(name), output.join(format!("{}-{name}", package.name)))?;
        }
        fs::copy(&binary, output.join(package.name))?;
    }
    Ok(())
}

/// Folders with files of others that are in these sources as they were published, with their `package.json`, and the
/// program that they are part of.
pub(crate) const VENDORED: [(&str, &str); 1] = [("collector/page/uplot", "blocksift-collector")];

/// Name of the bill of materials, behind the package's.
const SBOM: &str = "sbom.cdx.json";
/// Name of the file with the terms of all that is compiled in.
const LICENCES: &str = "third-party-licences.txt";
/// Name of the list of checksums.
const SUMS: &str = "SHA256SUMS";

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("`{}` cannot be written", path.display()))
}

/// `SOURCE_DATE_EPOCH`, else when the last commit was made.
fn epoch() -> Result<u64> {
    if let Ok(set) = std::env::var("SOURCE_DATE_EPOCH") {
        return set.parse().context("SOURCE_DATE_EPOCH is not a number of seconds");
    }
    let told = cargo::output(cargo::program("git").args(["log", "-1", "--format=%ct"]));
    told.context("without git set SOURCE_DATE_EPOCH")?.trim().parse().context("git tells no time")
}

fn check_tools(formats: &[Format]) -> Result<()> {
    let tools = [(Format::Deb, "dpkg-deb", "dpkg"), (Format::Rpm, "rpmbuild", "rpm")];
    for (format, tool, package) in tools {
        if formats.contains(&format) && cargo::output(cargo::program(tool).arg("--version")).is_err() {
            bail!(
                "{tool} is not installed (`apt-get install {package}`); `--formats` leaves a kind of package out"
            );
        }
    }
    Ok(())
}

/// An empty folder, if nothing but a release was in it.
fn empty(output: &Path) -> Result<()> {
    if output.exists() {
        let occupied = fs::read_dir(output)?.next().is_some();
        if occupied && !output.join(SUMS).is_file() {
            bail!("`{}` holds something else than a release; name another folder", output.display());
        }
        fs::remove_dir_all(output).with_context(|| format!("`{}` cannot be emptied", output.display()))?;
    }
    fs::create_dir_all(output).with_context(|| format!("`{}` cannot be made", output.display()))?;
    // Also after a run that ends early is it known as a release's.
    write(&output.join(SUMS), "")
}

fn models(output: &Path) -> Result<()> {
    for entry in fs::read_dir(cargo::root().join("models"))? {
        let path = entry?.path();
        let Some(name) = path.file_name() else { continue };
        fs::copy(&path, output.join(name))?;
    }
    Ok(())
}

fn plugin(output: &Path) -> Result<()> {
    for host in Host::ALL {
        let name = match host {
            Host::FluentBit => "blocksift.wasm".to_owned(),
            other => format!("blocksift-{}.wasm", other.name()),
        };
        match wasm::module(host, false)? {
            Ok(module) => drop(fs::copy(module, output.join(name))?),
            Err(why) => bail!("{why}; `--without-plugin` leaves it out"),
        }
    }
    Ok(())
}

/// The versions of the tools, since others give other bytes; of the compilers where it was they who made the programs.
fn built_with(built_here: bool) -> String {
    let compilers = if built_here { &["rustc", "musl-gcc"][..] } else { &[] };
    let tools = compilers.iter().chain(&["strip", "dpkg-deb", "rpmbuild"]);
    let version = |tool: &&str| {
        let told = cargo::output(cargo::program(tool).arg("--version")).unwrap_or_default();
        format!("{tool}: {}\n", told.lines().next().unwrap_or("none"))
    };
    tools.map(version).collect()
}

/// The checksums of all files, as `sha256sum --check` reads them.
fn sums(output: &Path) -> Result<()> {
    let mut names = Vec::new();
    for entry in fs::read_dir(output)? {
        let name = entry?.file_name();
        if name != SUMS {
            names.push(name);
        }
    }
    names.sort();
    let sums = cargo::output(cargo::program("sha256sum").current_dir(output).arg("--").args(&names))?;
    write(&output.join(SUMS), &sums)
}
