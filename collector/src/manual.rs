//! `blocksift-collector manual`: writes the manual pages and the shells' completions that the packages bring. Hidden, as
//! nobody types it but `cargo xtask dist`.

use std::fs;
use std::path::PathBuf;

use anyhow::Context;
use clap::{Args as ClapArgs, CommandFactory, ValueEnum};
use clap_complete::Shell;

/// Write manual pages and completions into a folder.
#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Folder, made if it is not there.
    folder: PathBuf,
}

/// Writes them for the command line `C`.
///
/// # Errors
/// If the folder cannot be written.
pub(crate) fn run<C: CommandFactory>(args: &Args) -> anyhow::Result<()> {
    let failed = || format!("`{}` cannot be written", args.folder.display());
    fs::create_dir_all(&args.folder).with_context(failed)?;
    for &shell in Shell::value_variants() {
        let mut command = C::command();
        let name = command.get_name().to_owned();
        clap_complete::generate_to(shell, &mut command, name, &args.folder).with_context(failed)?;
    }
    clap_mangen::generate_to(C::command(), &args.folder).with_context(failed)?;
    Ok(())
}
