//! Tests of sessions and their lists.

use proptest::prelude::*;

use super::*;

fn event(time_ms: i64, offset: u64) -> SessionEvent {
    let template = u32::try_from(time_ms).unwrap_or(0);
    SessionEvent { time_ms, offset, file: FileId(0), bytes: 1, template, logger: 0, level: Level::Info }
}

fn session(block: i64) -> Session {
    Session::new(BlockId(block), PoolId(0), 1)
}

#[test]
fn events_are_ordered_by_time_then_arrival() {
    let mut session = session(1);
    for (time, offset) in [(5, 0), (3, 1), (5, 2), (4, 3), (3, 4)] {
        session.add(event(time, offset), 10);
    }
    let order: Vec<u64> = session.events.iter().map(|event| event.offset).collect();
    assert_eq!(order, [1, 4, 3, 0, 2]);
}

#[test]
fn the_middle_of_a_long_session_keeps_only_its_count() {
    let mut session = session(1);
    for time in 0..10 {
        session.add(event(time, 0), 4);
    }
    let kept: Vec<i64> = session.events.iter().map(|event| event.time_ms).collect();
    assert_eq!(kept, [0, 1, 8, 9]);
    assert_eq!((session.revision(), session.events_dropped()), (10, 6));
    assert_eq!(session.dropped.keys().copied().collect::<Vec<_>>(), [2, 3, 4, 5, 6, 7]);
}

#[test]
fn a_block_without_pool_is_the_one_with_pool() {
    let mut sessions = Sessions::new();
    let slot = sessions.insert(session(7));
    assert_eq!(sessions.find(BlockId(7), PoolId(2)), Some(slot));
    assert_eq!(sessions.find(BlockId(7), PoolId(3)), None, "another pool is another block");
    assert_eq!(sessions.find(BlockId(7), PoolId(0)), Some(slot));
    assert_eq!(sessions.get(slot).unwrap().pool, PoolId(2));
}

#[test]
fn the_least_recently_active_comes_first_in_either_list() {
    let mut sessions = Sessions::new();
    let slots: Vec<Slot> = (0..3).map(|block| sessions.insert(session(block))).collect();
    sessions.quieten(slots[1]);
    assert_eq!(sessions.least_recently_active(), Some(slots[0]));
    sessions.touch(slots[0], List::Speaking, 5);
    assert_eq!(sessions.least_recently_active(), Some(slots[1]), "silence does not count as activity");
    sessions.remove(slots[1]);
    assert_eq!(sessions.least_recently_active(), Some(slots[2]));
}

/// What the lists must hold, kept the slow way.
#[derive(Default)]
struct Reference {
    speaking: Vec<i64>,
    quiet: Vec<i64>,
}

fn listed(sessions: &Sessions, list: List) -> Vec<i64> {
    let next = |slot: &Slot| sessions.get(*slot).map(|session| session.next).filter(|&next| next != NONE);
    std::iter::successors(sessions.oldest(list), next)
        .map(|slot| sessions.get(slot).unwrap().block.0)
        .collect()
}

proptest! {
    #[test]
    fn lists_equal_a_plain_model(steps in prop::collection::vec((0_u8..4, 0_i64..6), 0..60)) {
        let (mut sessions, mut reference) = (Sessions::new(), Reference::default());
        for (step, block) in steps {
            let slot = sessions.find(BlockId(block), PoolId(0));
            let forget = |list: &mut Vec<i64>| list.retain(|&other| other != block);
            match (step, slot) {
                (0 | 1, Some(slot)) => sessions.touch(slot, List::Speaking, 0),
                (0 | 1, None) => drop(sessions.insert(session(block))),
                (2, Some(slot)) => sessions.quieten(slot),
                (_, Some(slot)) => drop(sessions.remove(slot)),
                (_, None) => continue,
            }
            forget(&mut reference.speaking);
            forget(&mut reference.quiet);
            match step {
                0 | 1 => reference.speaking.push(block),
                2 => reference.quiet.push(block),
                _ => {}
            }
            prop_assert_eq!(listed(&sessions, List::Speaking), reference.speaking.clone());
            prop_assert_eq!(listed(&sessions, List::Quiet), reference.quiet.clone());
            prop_assert_eq!(sessions.len(), reference.speaking.len() + reference.quiet.len());
        }
    }
}
