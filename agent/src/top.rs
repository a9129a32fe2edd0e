//! `blocksift-agent top`: how the running agent is doing, as a page that is drawn anew every second, or once as text.
//!
//! [`document`] asks the agent, [`view`] turns two answers into lines, [`screen`] draws them and listens to the keyboard.

mod document;
mod screen;
mod view;

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args as ClapArgs;

use document::{Address, Agent, Document};
use screen::{Screen, Wish};
use view::{Sort, View};

/// Width of the page where there is no terminal.
const WIDTH: usize = 120;

/// Show how the running agent is doing: files, sessions, scores, spool, collector.
#[derive(Debug, ClapArgs)]
#[command(after_help = "Keys: q ends, s sorts the files by the next column, p pauses.\n\
                  Exit codes: 0 the agent answered, 2 it did not.")]
pub(crate) struct Args {
    /// Where the agent answers: `127.0.0.1:9465` or `unix:/run/blocksift/agent.sock`
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9465")]
    status: Address,
    /// Print one page as plain text and end; so it is where standard output is no terminal
    #[arg(long)]
    once: bool,
    /// Seconds between two pages
    #[arg(long, value_name = "S", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=3600))]
    interval_s: u64,
}

/// Shows the agent until a key ends it, or once.
///
/// # Errors
/// If the agent does not answer to the first question, or the terminal cannot be written to.
pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let agent = Agent::at(&args.status)?;
    let first = agent.ask()?;
    if args.once || !io::stdout().is_terminal() {
        return print(&first);
    }
    let mut screen = Screen::open()?;
    show(&mut screen, &agent, first, Duration::from_secs(args.interval_s))?;
    Ok(ExitCode::SUCCESS)
}

fn print(document: &Document) -> anyhow::Result<ExitCode> {
    let view = View { document, before: None, sort: Sort::default(), paused: false, trouble: None };
    let mut out = io::stdout().lock();
    for line in view.lines(WIDTH, usize::MAX) {
        match writeln!(out, "{}", line.text.trim_end()) {
            // A reader that has seen enough (`| head`) is no error.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => break,
            outcome => outcome.context("standard output cannot be written")?,
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn show(screen: &mut Screen, agent: &Agent, first: Document, interval: Duration) -> anyhow::Result<()> {
    let (mut now, mut before) = (first, None);
    let (mut sort, mut paused, mut trouble) = (Sort::default(), false, None);
    let mut asked = Instant::now();
    loop {
        let view =
            View { document: &now, before: before.as_ref(), sort, paused, trouble: trouble.as_deref() };
        let (columns, rows) = screen.size();
        screen.draw(&view.lines(columns, rows)).context("the terminal cannot be written to")?;
        match screen.wish(interval.saturating_sub(asked.elapsed()))? {
            Some(Wish::End) => return Ok(()),
            Some(Wish::Sort) => sort = sort.next(),
            Some(Wish::Pause) => paused = !paused,
            None if paused => asked = Instant::now(),
            None => {
                asked = Instant::now();
                match agent.ask() {
                    Ok(document) => {
                        trouble = None;
                        before = Some(std::mem::replace(&mut now, document));
                    }
                    // It may be on its way up again.
                    Err(error) => trouble = Some(format!("{error:#}")),
                }
            }
        }
    }
}
