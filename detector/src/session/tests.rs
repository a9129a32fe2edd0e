//! Tests of sessions and their lists.

use proptest::prelude::*;

use super::*;
use crate::settings::FileId;

const LIMITS: Limits = Limits { events_max: 1_000, reorder_ms: i64::MAX };

fn event(time_ms: i64, offset: u64) -> SessionEvent {
    let statement = u32::try_from(time_ms).unwrap_or(0);
    SessionEvent { time_ms, offset, file: FileId(0), bytes: 1, statement }
}

fn insert(sessions: &mut Sessions, block: i64) -> Slot {
    sessions.insert(BlockId(block), PoolId(0), 1)
}

/// The least recently active session of some lists, which it stays.
fn oldest(sessions: &mut Sessions, lists: &[List]) -> Option<Slot> {
    let oldest = lists.iter().filter_map(|&list| sessions.oldest_with_order(list)).min();
    oldest.map(|(_, slot)| slot)
}

fn read(sessions: &Sessions, slot: Slot) -> Vec<SessionEvent> {
    sessions.events(sessions.get(slot).unwrap()).collect()
}

#[test]
fn late_events_are_put_in_their_place_and_equal_times_stay_as_they_came() {
    let mut events: Vec<SessionEvent> =
        [(5, 0), (3, 1), (5, 2), (4, 3), (3, 4)].map(|(time, offset)| event(time, offset)).to_vec();
    in_time_order(&mut events, 10);
    let order: Vec<u64> = events.iter().map(|event| event.offset).collect();
    assert_eq!(order, [1, 4, 3, 0, 2]);
}

#[test]
fn a_clock_set_back_moves_nothing() {
    let mut events: Vec<SessionEvent> =
        [(5_000, 0), (9_000, 1), (100, 2), (200, 3), (8_500, 4)].map(|(time, at)| event(time, at)).to_vec();
    in_time_order(&mut events, 1_000);
    let order: Vec<u64> = events.iter().map(|event| event.offset).collect();
    assert_eq!(order, [0, 1, 2, 3, 4], "8500 cannot pass what came after the step");
}

#[test]
fn the_middle_of_a_long_session_keeps_only_its_count() {
    let mut sessions = Sessions::new();
    let slot = insert(&mut sessions, 1);
    for time in 0..10 {
        sessions.add(slot, &event(time, 0), 0, Limits { events_max: 8, ..LIMITS });
    }
    let kept: Vec<i64> = read(&sessions, slot).iter().map(|event| event.time_ms).collect();
    assert_eq!(kept, [0, 1, 2, 5, 6, 7, 8, 9]);
    assert_eq!((sessions.revision(slot), sessions.events_dropped(slot)), (10, 2));
    assert_eq!(sessions.dropped(slot).unwrap().keys().copied().collect::<Vec<_>>(), [3, 4]);
    sessions.remove(slot);
    let again = insert(&mut sessions, 2);
    assert_eq!((again, sessions.revision(again)), (slot, 0), "the next session of the slot starts afresh");
}

#[test]
fn a_block_without_pool_is_the_one_with_pool() {
    let mut sessions = Sessions::new();
    let slot = insert(&mut sessions, 7);
    assert_eq!(sessions.find(BlockId(7), PoolId(2), NONE), Some(slot));
    assert_eq!(sessions.find(BlockId(7), PoolId(3), slot), None, "another pool is another block");
    assert_eq!(sessions.find(BlockId(7), PoolId(0), NONE), Some(slot));
    assert_eq!(sessions.find(BlockId(7), PoolId::NODE, NONE), None, "a window of the node is no block");
    assert_eq!(sessions.get(slot).unwrap().pool, PoolId(2));
}

#[test]
fn a_block_without_pool_is_the_last_active_of_several_with_one() {
    let mut sessions = Sessions::new();
    let of_pool = |sessions: &mut Sessions, pool| sessions.insert(BlockId(7), PoolId(pool), u64::from(pool));
    let slots = [of_pool(&mut sessions, 1), of_pool(&mut sessions, 2)];
    for guess in [NONE, slots[0], slots[1]] {
        assert_eq!(sessions.find(BlockId(7), PoolId(0), guess), Some(slots[1]));
        assert_eq!(sessions.find(BlockId(7), PoolId(1), guess), Some(slots[0]));
    }
    sessions.add(slots[0], &event(1, 1), 0, LIMITS);
    assert_eq!(sessions.find(BlockId(7), PoolId(0), slots[1]), Some(slots[0]));
}

#[test]
fn the_least_recently_active_comes_first_in_either_list() {
    let mut sessions = Sessions::new();
    let slots: Vec<Slot> = (0..3).map(|block| insert(&mut sessions, block)).collect();
    sessions.quieten(slots[1]);
    assert_eq!(oldest(&mut sessions, &[List::Quiet, List::Speaking]), Some(slots[0]));
    sessions.add(slots[0], &event(1, 1), 5, LIMITS);
    assert_eq!(
        oldest(&mut sessions, &[List::Quiet, List::Speaking]),
        Some(slots[1]),
        "silence does not count as activity"
    );
    sessions.remove(slots[1]);
    assert_eq!(oldest(&mut sessions, &[List::Quiet, List::Speaking]), Some(slots[2]));
}

/// What the lists must hold, kept the slow way.
#[derive(Default)]
struct Reference {
    speaking: Vec<i64>,
    quiet: Vec<i64>,
    events: HashMap<i64, Vec<SessionEvent>>,
}

/// Empties a list; the blocks in the order in which they came out.
fn drain(sessions: &mut Sessions, list: List) -> Vec<i64> {
    std::iter::from_fn(|| {
        let slot = oldest(sessions, &[list])?;
        sessions.remove(slot).map(|session| session.block.0)
    })
    .collect()
}

proptest! {
    #[test]
    fn lists_and_events_equal_a_plain_model(
        steps in prop::collection::vec((0_u8..5, 0_i64..6, 0_i64..90_000), 0..200),
    ) {
        let (mut sessions, mut reference) = (Sessions::new(), Reference::default());
        for (at, (step, block, time_ms)) in steps.into_iter().enumerate() {
            let slot = sessions.find(BlockId(block), PoolId(0), Slot::from(step));
            match (step, slot) {
                (0..3, slot) => {
                    let slot = slot.unwrap_or_else(|| insert(&mut sessions, block));
                    let event = event(time_ms, at as u64);
                    sessions.add(slot, &event, 0, LIMITS);
                    reference.events.entry(block).or_default().push(event);
                    prop_assert_eq!(&read(&sessions, slot), &reference.events[&block]);
                }
                (3, Some(slot)) if sessions.get(slot).unwrap().list() == List::Speaking => {
                    sessions.quieten(slot);
                }
                (4, Some(slot)) => {
                    sessions.remove(slot);
                    reference.events.remove(&block);
                }
                _ => continue,
            }
            let (speaking, quiet) = (&mut reference.speaking, &mut reference.quiet);
            match step {
                3 => quiet.extend(speaking.extract_if(.., |other| *other == block)),
                _ => {
                    speaking.retain(|&other| other != block);
                    quiet.retain(|&other| other != block);
                    speaking.extend((step < 3).then_some(block));
                }
            }
            prop_assert_eq!(sessions.len(), reference.speaking.len() + reference.quiet.len());
            if at % 16 == 0 {
                let oldest = oldest(&mut sessions, &[List::Speaking]);
                let oldest = oldest.map(|slot| sessions.get(slot).unwrap().block.0);
                prop_assert_eq!(oldest, reference.speaking.first().copied());
            }
        }
        // A quiet session keeps its place by activity, which need not be the order in which they fell quiet.
        let mut quiet = drain(&mut sessions, List::Quiet);
        quiet.sort_unstable();
        reference.quiet.sort_unstable();
        prop_assert_eq!(quiet, reference.quiet);
        prop_assert_eq!(drain(&mut sessions, List::Speaking), reference.speaking);
        prop_assert_eq!(sessions.len(), 0);
    }
}
