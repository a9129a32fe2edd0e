//! The agent is killed with SIGKILL at random instants while its log grows and rotates in every way that logs are
//! rotated in: what arrives at the collector is exactly what an undisturbed run reports, and the ledger adds up.
//!
//! What is expected is computed from the lines alone, and an agent that nobody disturbs is held to it too. Everything
//! random comes from a seed, which is printed; `BLOCKSIFT_SEED` runs it again. The instants of the kills follow the
//! wall clock and so differ from run to run.

mod log;
mod victim;

use std::thread;
use std::time::Instant;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use log::{Rotation, expected, played};
use victim::Victim;

/// Kills in CI, over all rotations.
const KILLS: u32 = 20;
/// Kills in the long form.
const SOAK_KILLS: u32 = 200;

#[test]
fn kills_and_rotations_change_nothing_of_what_arrives() {
    run(setting("BLOCKSIFT_SEED", 5), KILLS);
}

#[test]
#[ignore = "minutes; `cargo xtask soak` runs it"]
fn soak_kills_and_rotations_change_nothing_of_what_arrives() {
    let minutes = setting("BLOCKSIFT_SOAK_MINUTES", 0);
    let kills = setting("BLOCKSIFT_SOAK_KILLS", u64::from(SOAK_KILLS)) as u32;
    let seed = setting("BLOCKSIFT_SEED", u64::from(std::process::id()));
    let start = Instant::now();
    for turn in 0.. {
        run(seed + turn, kills);
        if start.elapsed().as_secs() >= 60 * minutes {
            return;
        }
    }
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().unwrap())
}

/// Kills agents while their logs rotate, one agent for each way to rotate, all at the same time.
fn run(seed: u64, kills: u32) {
    eprintln!("BLOCKSIFT_SEED={seed}, {kills} kills");
    let start = Instant::now();
    let kills_each = kills.div_ceil(Rotation::ALL.len() as u32);
    let log = played(seed, kills_each);
    let expected = expected(&log);
    assert!(expected.reports.len() > 20, "{} reports say little", expected.reports.len());
    let again = expected.reports.iter().filter(|(_, revision, _)| *revision < expected.revision_max).count();
    assert!(again > 0, "no session is reported twice");
    thread::scope(|scope| {
        let mut victims = vec![scope.spawn(|| {
            let mut victim = Victim::new(None, &log);
            victim.play(&mut ChaCha8Rng::seed_from_u64(seed), 0);
            victim.assert_reported("undisturbed", &expected);
        })];
        for rotation in Rotation::ALL {
            let (log, expected) = (&log, &expected);
            victims.push(scope.spawn(move || {
                let mut rng = ChaCha8Rng::seed_from_u64(seed);
                for _ in 0..rotation as usize {
                    rng.random::<u64>();
                }
                let mut victim = Victim::new(Some(rotation), log);
                victim.play(&mut rng, kills_each);
                victim.assert_reported(&format!("{rotation:?}"), expected);
            }));
        }
        for victim in victims {
            victim.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        }
    });
    let (reports, seconds) = (expected.reports.len(), start.elapsed().as_secs());
    eprintln!("{reports} reports each, {} lines, {seconds} s", log.written.lines);
}
