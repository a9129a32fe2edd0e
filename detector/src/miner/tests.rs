//! Tests of the miner: what is one template, independence of order, limits, snapshots.

use proptest::prelude::*;

use super::*;

fn miner(settings: MinerSettings) -> Miner {
    Miner::new(settings).unwrap()
}

fn mined(messages: &[&str]) -> Miner {
    let mut miner = miner(MinerSettings::default());
    for message in messages {
        miner.learn(message.as_bytes());
    }
    miner
}

fn texts(miner: &Miner) -> Vec<(String, u64)> {
    miner.templates().into_iter().map(|template| (template.text, template.count)).collect()
}

fn pairs(expected: &[(&str, u64)]) -> Vec<(String, u64)> {
    expected.iter().map(|(text, count)| ((*text).to_owned(), *count)).collect()
}

fn limited(templates_max: usize) -> MinerSettings {
    MinerSettings { templates_max: NonZeroUsize::new(templates_max).unwrap(), ..MinerSettings::default() }
}

#[test]
fn similar_messages_are_one_template_and_others_are_not() {
    let miner = mined(&[
        "user alice logged in from 10.0.0.1",
        "user bob logged in from 10.0.0.2:99",
        "user alice logged in from 10.0.0.3",
        "user quota set to 5",
        "disk /data/1 is full",
    ]);
    let expected =
        [("user <*> logged in from <node>", 3), ("disk <path> is full", 1), ("user quota set to <n>", 1)];
    assert_eq!(texts(&miner), pairs(&expected));
    let first = &miner.templates()[0];
    assert_eq!(first.example, "user alice logged in from <node>");
    assert_eq!(first.id, TemplateId::of("user <*> logged in from <node>"));
    assert_eq!(miner.find("user bob logged in from <node>"), Some(first.id));
    assert_eq!(miner.find("user carol logged in from <node>"), Some(first.id));
    assert_eq!(miner.find("user carol logged out of <node>"), None);
    assert_eq!((miner.messages(), miner.len(), miner.evictions()), (5, 4, 0));
}

#[test]
fn lists_of_any_length_are_one_template() {
    let miner = mined(&[
        "ask 10.0.0.1:1 to delete  blk_1",
        "ask 10.0.0.1:1 to delete  blk_1 blk_2 blk_-3",
        "ask 10.0.0.1:1 to delete  blk_1 blk_2  blk_3 blk_4",
        "pipeline 10.0.0.1:1, 10.0.0.2:1 is up",
        "pipeline 10.0.0.1:1, 10.0.0.2:1, 10.0.0.3:1 is up",
    ]);
    let expected = [("ask <node> to delete  <blk> <blk> ...", 3), ("pipeline <node> <node> ... is up", 2)];
    assert_eq!(texts(&miner), pairs(&expected));
    let ids: Vec<TemplateId> = miner.templates().iter().map(|template| template.id).collect();
    assert_eq!(miner.find("ask <node> to delete  <blk> <blk> <blk> <blk> <blk>"), Some(ids[0]));
    assert_eq!(miner.find("pipeline <node> is up"), Some(ids[1]));
}

#[test]
fn a_node_with_too_many_branches_is_not_branched() {
    let names = ["ann", "bob", "cid", "dan"];
    let mine = |children_max| {
        let mut miner = miner(MinerSettings { children_max, ..MinerSettings::default() });
        for name in names {
            miner.learn(format!("{name} has logged in").as_bytes());
        }
        miner.templates().len()
    };
    assert_eq!((mine(4), mine(3)), (4, 1));
}

#[test]
fn depth_and_similarity_are_as_drain_has_them() {
    let mine = |depth, similarity| {
        let mut miner = miner(MinerSettings { depth, similarity, ..MinerSettings::default() });
        for message in ["a b c d e", "a b c x y", "a k l m n", "z b c d e"] {
            miner.learn(message.as_bytes());
        }
        texts(&miner).into_iter().map(|(text, _)| text).collect::<Vec<_>>()
    };
    assert_eq!(mine(4, 0.6), ["a b c <*> <*>", "a k l m n", "z b c d e"]);
    assert_eq!(mine(3, 0.6), ["<*> b c <*> <*>", "a k l m n"]);
    assert_eq!(mine(4, 0.0), ["a <*> <*> <*> <*>", "z b c d e"]);
    assert_eq!(mine(6, 0.0).len(), 3);
    assert_eq!(mine(4, 1.0).len(), 4);
}

#[test]
fn the_least_recently_seen_text_makes_room_and_is_counted() {
    let mut miner = miner(limited(2));
    for message in ["first", "second thing", "first", "the third thing"] {
        miner.learn(message.as_bytes());
    }
    assert_eq!(texts(&miner), pairs(&[("first", 2), ("the third thing", 1)]));
    assert_eq!((miner.evictions(), miner.messages_evicted(), miner.messages()), (1, 1, 4));
    assert_eq!(miner.find("second thing"), None);
}

#[test]
fn settings_that_cannot_be_used_are_errors() {
    let error = |settings| Miner::new(settings).unwrap_err().to_string();
    let defaults = MinerSettings::default;
    assert_eq!(error(MinerSettings { depth: 2, ..defaults() }), "depth 2 is not from 3 to 16");
    assert!(error(MinerSettings { similarity: f64::NAN, ..defaults() }).contains("similarity NaN"));
    let masks = vec![Mask::new("<user>", "(")];
    assert!(error(MinerSettings { masks, ..defaults() }).contains("`(` of mask `<user>`"));
    let json = r#"{"similarity": 0.5, "masks": [{"wildcard": "<user>", "regex": "user=\\w+"}]}"#;
    let mut miner = miner(serde_json::from_str(json).unwrap());
    miner.learn(b"user=ann did it");
    assert_eq!(texts(&miner), pairs(&[("<user> did it", 1)]));
    assert!(serde_json::from_str::<MinerSettings>(r#"{"similarty": 0.5}"#).is_err());
}

#[test]
fn a_million_distinct_messages_take_bounded_memory() {
    let mut miner = miner(MinerSettings { masks: Vec::new(), ..limited(512) });
    let bound = 512 * (4 * 512 + ENTRY_BYTES) + 4_096;
    for number in 0..1_000_000u32 {
        miner.learn(format!("message number {number} of many").as_bytes());
        if number % 100_000 == 0 {
            miner.learn(&[b'x'; 100_000]);
            assert!(miner.bytes() <= bound, "{}", miner.bytes());
        }
    }
    assert_eq!((miner.len(), miner.messages()), (512, 1_000_010));
    let templates = miner.templates();
    assert_eq!(
        templates.iter().map(|template| template.count).sum::<u64>() + miner.messages_evicted(),
        1_000_010
    );
    assert!(miner.bytes() <= 3 * bound);
}

/// Messages that are alike in some words.
fn messages() -> impl Strategy<Value = Vec<String>> {
    let word = prop::sample::select(vec!["a", "b", "c", "blk_1", "blk_2", "7", "/x", "x1y", ""]);
    prop::collection::vec(prop::collection::vec(word, 1..6).prop_map(|words| words.join(" ")), 0..40)
}

fn settings() -> impl Strategy<Value = MinerSettings> {
    (3u8..7, 0.0..=1.0f64, 0usize..5).prop_map(|(depth, similarity, children_max)| MinerSettings {
        depth,
        similarity,
        children_max,
        ..MinerSettings::default()
    })
}

fn learned(settings: &MinerSettings, messages: &[String]) -> Miner {
    let mut miner = miner(settings.clone());
    for message in messages {
        miner.learn(message.as_bytes());
    }
    miner
}

/// What a miner says of templates, and of the messages it saw.
fn said(miner: &Miner, messages: &[String]) -> (Vec<Mined>, Vec<Option<TemplateId>>) {
    let found = messages.iter().map(|message| miner.find(&miner.masks().mask(message.as_bytes())));
    (miner.templates(), found.collect())
}

proptest! {
    #[test]
    fn the_order_of_messages_changes_nothing(
        (messages, shuffled) in messages().prop_flat_map(|all| (Just(all.clone()), Just(all).prop_shuffle())),
        settings in settings(),
    ) {
        let (one, other) = (learned(&settings, &messages), learned(&settings, &shuffled));
        prop_assert_eq!(said(&one, &messages), said(&other, &messages));
        let counted: u64 = one.templates().iter().map(|template| template.count).sum();
        prop_assert_eq!(counted, messages.len() as u64);
    }

    #[test]
    fn every_message_seen_has_a_template_that_it_fits(messages in messages(), settings in settings()) {
        let miner = learned(&settings, &messages);
        let templates = miner.templates();
        for message in &messages {
            let text = miner.masks().mask(message.as_bytes());
            let id = miner.find(&text).unwrap();
            let template = templates.iter().find(|template| template.id == id).unwrap();
            prop_assert!(tree::fits(&template.text, &text, miner.masks().wildcards()), "{template:?} {text}");
        }
    }

    #[test]
    fn miners_add_up(messages in messages(), settings in settings(), at in 0usize..40, backwards: bool) {
        let whole = learned(&settings, &messages);
        let (first, second) = messages.split_at(at.min(messages.len()));
        let (mut one, mut other) = (learned(&settings, first), learned(&settings, second));
        if backwards {
            std::mem::swap(&mut one, &mut other);
        }
        one.absorb(&other);
        prop_assert_eq!(said(&one, &messages), said(&whole, &messages));
        prop_assert_eq!(one.messages(), whole.messages());
    }

    #[test]
    fn a_further_message_never_splits_a_template(messages in messages(), settings in settings()) {
        let (mut miner, mut before) = (miner(settings), Vec::new());
        for (at, message) in messages.iter().enumerate() {
            miner.learn(message.as_bytes());
            let (_, now) = said(&miner, &messages[..=at]);
            for (a, b) in (0..before.len()).flat_map(|a| (0..a).map(move |b| (a, b))) {
                prop_assert!(before[a] != before[b] || now[a] == now[b]);
            }
            before = now;
        }
    }

    #[test]
    fn a_restored_miner_goes_on(messages in messages(), at in 0usize..40, templates_max in 1usize..6) {
        let settings = limited(templates_max);
        let (first, second) = messages.split_at(at.min(messages.len()));
        let mut miner = learned(&settings, first);
        let json = serde_json::to_string(&miner.snapshot()).unwrap();
        let mut restored = Miner::restore(settings, &serde_json::from_str(&json).unwrap()).unwrap();
        for message in second {
            miner.learn(message.as_bytes());
            restored.learn(message.as_bytes());
        }
        prop_assert_eq!(miner.snapshot(), restored.snapshot());
        prop_assert_eq!(said(&miner, &messages), said(&restored, &messages));
    }

    #[test]
    fn its_changes_add_up_to_what_it_knows(
        messages in messages(),
        take_every in 1usize..8,
        restart_at in 0usize..40,
        templates_max in 1usize..6,
    ) {
        let mut miner = miner(limited(templates_max));
        miner.track_changes();
        let mut kept = std::collections::BTreeMap::new();
        for (at, message) in messages.iter().enumerate() {
            miner.learn(message.as_bytes());
            if at % take_every == 0 || at == restart_at || at + 1 == messages.len() {
                for TextChange { key, state } in miner.take_changes() {
                    match state {
                        Some(state) => drop(kept.insert(key, state)),
                        None => drop(kept.remove(&key)),
                    }
                }
                let mut texts: Vec<_> = kept.values().cloned().collect();
                texts.sort_by_key(|state| state.order);
                prop_assert_eq!(&texts, &miner.snapshot().texts);
            }
            if at == restart_at {
                let snapshot = Snapshot { texts: kept.values().cloned().collect(), evicted: miner.evicted() };
                miner = Miner::restore(limited(templates_max), &snapshot).unwrap();
                miner.track_changes();
                prop_assert_eq!(miner.take_changes(), []);
            }
        }
    }

    #[test]
    fn messages_add_up_and_memory_is_bounded_whatever_they_are(
        messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..40),
        templates_max in 1usize..8,
        message_bytes_max in 0usize..100,
    ) {
        let mut miner = miner(MinerSettings { message_bytes_max, ..limited(templates_max) });
        for message in &messages {
            miner.learn(message);
        }
        let templates = miner.templates();
        let counted: u64 = templates.iter().map(|template| template.count).sum();
        prop_assert_eq!(counted + miner.messages_evicted(), messages.len() as u64);
        prop_assert_eq!(miner.messages(), messages.len() as u64);
        prop_assert!(miner.len() <= templates_max && templates.len() <= miner.len());
        let text_bytes_max = message_bytes_max * TEXT_GROWTH_MAX + ENTRY_BYTES;
        prop_assert!(miner.bytes() <= 3 * (templates_max * text_bytes_max) + 4 * message_bytes_max + 64);
    }
}
