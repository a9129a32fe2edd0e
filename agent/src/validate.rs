//! `blocksift-agent validate`: says everything that is wrong with a configuration before an agent runs on it,
//! the machine's part included: does the model load, can the state directory be made. Globs that find nothing are
//! warnings: the daemon that writes the logs may come later.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use blocksift_detector::Model;
use clap::Args as ClapArgs;

use crate::config::{Checked, Config, ConfigError, Places, Problem, Problems};
use crate::doctor::unmatched;
use crate::files::scan;
use crate::filter::Filters;
use crate::model::Backend;
use crate::redact::Redactor;
use crate::ship::chain;
use crate::sink::Sink;
use crate::state::is_of_disk;

/// Check a configuration file: exit code 0 if an agent can run on it, 2 if not.
#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Configuration file.
    #[arg(long, value_name = "FILE", default_value = "/etc/blocksift/agent.toml")]
    config: PathBuf,
}

/// Checks the configuration and prints what it comes to.
///
/// # Errors
/// With every problem there is.
pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let valid = check_with_warnings(&args.config)?;
    let mut out = io::stdout().lock();
    report(&mut out, &args.config, &valid.config, &valid.model.id)?;
    if let Some(warnings) = valid.warnings {
        writeln!(out, "{warnings}")?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The configuration at `path`, and its model, if nothing is wrong.
///
/// # Errors
/// [`ConfigError`] with everything that is.
pub(crate) fn check(path: &Path) -> Result<(Config, Model), ConfigError> {
    check_with_warnings(path).map(|valid| (valid.config, valid.model))
}

/// A configuration that an agent can run on.
#[derive(Debug)]
struct Valid {
    config: Config,
    model: Model,
    warnings: Option<Problems>,
}

/// As [`check`], with what may not be meant.
fn check_with_warnings(path: &Path) -> Result<Valid, ConfigError> {
    let (checked, places, text) = Config::load_with_places(path)?;
    let (config, model, mut problems) = check_machine(checked, &places);
    let (passing, lasting) = match state_dir(&places) {
        Some((problem, true)) => (Some(problem), None),
        other => (None, other.map(|(problem, _)| problem)),
    };
    problems.extend(lasting);
    match (config, model, problems.is_empty()) {
        (Some(config), Some(model), true) => {
            let mut warnings = warnings(&config, &places);
            warnings.extend(passing);
            let warnings = (!warnings.is_empty()).then(|| Problems::new(path, &text, warnings));
            Ok(Valid { config, model, warnings })
        }
        _ => Err(Problems::new(path, &text, problems).into()),
    }
}

/// What is wrong with the state directory, and whether that may pass: an agent waits until its disk can be written.
fn state_dir(places: &Places) -> Option<(Problem, bool)> {
    let place = places.state_dir.as_ref();
    let path = place.map_or(Path::new(crate::config::STATE_DIR), |(path, _)| path.as_path());
    let error = can_be_made(path).err()?;
    let (passes, shown) = (is_of_disk(&error), path.display());
    let (what, fix) = match passes {
        true => (
            format!("warning: state directory `{shown}` cannot be written now: {error}"),
            "free space on the disk or see to it; nothing is read until it can be written",
        ),
        false => (
            format!("state directory `{shown}` cannot be used: {error}"),
            "check owner and permissions, or set state_dir to a directory that the agent's user may write to",
        ),
    };
    Some((Problem { span: place.map(|(_, span)| span.clone()), what, fix: fix.to_owned() }, passes))
}

fn check_machine(checked: Checked, places: &Places) -> (Option<Config>, Option<Model>, Vec<Problem>) {
    let mut problems = Vec::new();
    let mut model = None;
    let model_path = places.model.as_ref().map(|(path, _)| path.as_path());
    let loaded = match &checked {
        Ok(config) => crate::model::load_configured(model_path, config),
        Err(_) => crate::model::load_for(model_path, Backend::default(), &[], []),
    };
    match loaded {
        Ok(loaded) => model = Some(loaded),
        Err(error) => problems.push(Problem {
            span: places.model.as_ref().map(|(_, span)| span.clone()),
            what: format!("{error:#}"),
            fix: "use a file made by model-export, or leave `model` out to use one in the agent".to_owned(),
        }),
    }
    if let Ok(config) = &checked {
        let redaction = config.redact.as_ref().map(|redact| Redactor::check(redact, &config.state_dir));
        let wrong = [
            Sink::check(&config.ship.to).err().map(|error| format!("[ship] {}", chain(&error))),
            Filters::load(&config.filters).err().map(|error| format!("[[filter]] {error}")),
            redaction.and_then(Result::err).map(|error| format!("[redact] {}", chain(&error))),
        ];
        let wrong = wrong.into_iter().flatten();
        problems.extend(wrong.map(|what| Problem { span: None, what, fix: String::new() }));
    }
    match checked {
        Ok(config) => (Some(config), model, problems),
        Err(mut wrong) => {
            wrong.append(&mut problems);
            (None, model, wrong)
        }
    }
}

/// Whether files can be made in `directory`, or in the nearest directory above it that exists. Leaves nothing behind.
///
/// # Errors
/// Why they cannot.
pub(crate) fn can_be_made(directory: &Path) -> io::Result<()> {
    tempfile::tempfile_in(nearest_existing(directory)).map(drop)
}

/// `directory`, or the nearest one above it that exists.
pub(crate) fn nearest_existing(directory: &Path) -> &Path {
    let mut existing = directory;
    while fs::symlink_metadata(existing).is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
        existing = match existing.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
    }
    existing
}

/// What does not keep an agent from running but looks like a mistake.
fn warnings(config: &Config, places: &Places) -> Vec<Problem> {
    let unmatched = places.logs.iter().filter_map(|(glob, span)| {
        let (what, fix) = unmatched(&config.logs, glob)?;
        Some(Problem { span: Some(span.clone()), what: format!("warning: {what}"), fix })
    });
    unmatched.collect()
}

fn report(out: &mut impl Write, path: &Path, config: &Config, model: &str) -> io::Result<()> {
    writeln!(out, "{}: ok", path.display())?;
    writeln!(out, "  node       {}", config.detector.node)?;
    writeln!(out, "  zone       {}", config.detector.zone.iana_name().unwrap_or("that of the host"))?;
    writeln!(out, "  model      {model}")?;
    writeln!(out, "  state_dir  {}", config.state_dir.display())?;
    writeln!(out, "  ships to   {}", config.ship.to)?;
    let scanned = scan(&config.logs);
    writeln!(out, "  files      {} match now", scanned.files.len())?;
    for found in &scanned.files {
        let unreadable = fs::File::open(&found.path).err().map(|error| format!(" (cannot be read: {error})"));
        writeln!(out, "    {} {} bytes{}", found.path.display(), found.size, unreadable.unwrap_or_default())?;
    }
    for (path, error) in &scanned.unreadable {
        writeln!(out, "    {} (cannot be read: {error})", path.display())?;
    }
    if scanned.left_out > 0 {
        writeln!(out, "    {} older ones are left out: files_max is reached", scanned.left_out)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(settings: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("agent.toml");
        fs::write(&path, format!("node = \"dn1\"\n{settings}\n[logs]\npaths = [\"/absent/*.log\"]\n"))
            .unwrap();
        check(&path).err().map_or_else(String::new, |error| error.to_string())
    }

    #[test]
    fn what_the_machine_does_not_allow_is_told_beside_what_is_written_wrong() {
        let told = told("stat_dir = 1\nstate_dir = \"/dev/null/state\"\nmodel = \"/absent.onnx\"");
        for (place, said) in
            [(":2:1: ", "did you mean `state_dir`?"), (":3:13: ", "/dev/null"), (":4:9: ", "absent.onnx")]
        {
            assert!(told.contains(place) && told.contains(said), "{place} {said} is not in\n{told}");
        }
    }

    #[test]
    fn a_key_for_redaction_that_is_not_there_is_told() {
        let redact = "[redact]\nenabled = true\nkey_file = \"/absent/key\"\n";
        assert!(told(redact).contains("key for redaction `/absent/key` cannot be read"), "{}", told(redact));
    }

    #[test]
    fn certificates_that_cannot_be_read_are_told() {
        let ship = "[ship]\nendpoint = \"https://x\"\ntls_ca = \"/absent/ca.pem\"\n";
        assert!(told(ship).contains("/absent/ca.pem"), "{}", told(ship));
    }

    #[test]
    fn a_glob_that_finds_nothing_is_a_warning_at_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("agent.toml");
        let found = folder.path().join("a.log");
        fs::write(&found, "").unwrap();
        fs::write(
            &path,
            format!(
                "node = \"a\"\n[logs]\npaths = [{found:?}, \"/absent/*.log\"]\nbackfill = \"all\"\n[ship]\n"
            ),
        )
        .unwrap();
        let text = fs::read_to_string(&path).unwrap().replacen(
            "node",
            &format!("state_dir = {:?}\nnode", folder.path()),
            1,
        );
        fs::write(&path, text).unwrap();
        let told = check_with_warnings(&path).unwrap().warnings.unwrap().to_string();
        assert!(told.contains(":4:") && told.contains("warning: `/absent/*.log` matches no file"), "{told}");
        assert!(!told.contains("a.log` matches"), "{told}");
    }

    #[test]
    fn a_state_directory_is_not_made_by_the_check() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("a/b");
        assert_eq!(told(&format!("state_dir = {state:?}")), "");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
