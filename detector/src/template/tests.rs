//! Tests of templates and their matching.

use proptest::prelude::*;

use super::*;

fn catalogue(texts: &[&str]) -> Catalogue {
    let template = |text: &&str| Template {
        text: (*text).to_owned(),
        logger: String::new(),
        level: String::new(),
        key: None,
    };
    Catalogue::new(texts.iter().map(template).collect())
}

#[test]
fn typed_wildcards() {
    let catalogue = catalogue(&[
        "Receiving block <blk> src: /<ip>:<port> dest: /<ip>:<port>",
        "<node>:<port>:Got exception while serving <blk> to /<ip>:",
        "BLOCK* NameSystem.allocateBlock: <path>. <blk>",
        "BLOCK* ask <node>:<port> to delete  <blk> <blk> ...",
        "PacketResponder <n> for block <blk> terminating",
        "PacketResponder <blk> <n> Exception <exception>",
        "<*>Block <blk> is not valid.",
        "<node>:<port> Starting thread to transfer block <blk> to <ip>:<port>",
    ]);
    for (message, expected) in [
        ("Receiving block blk_-1 src: /10.0.0.1:5 dest: /10.0.0.1:50010", Some(0)),
        ("Receiving block BP-1-10.0.0.1-2:blk_1_1001 src: /host.example:5 dest: /10.0.0.1:50010", Some(0)),
        ("10.0.0.1:50010:Got exception while serving blk_7 to /10.0.0.2:", Some(1)),
        ("BLOCK* NameSystem.allocateBlock: /a. b/part. x. blk_7", Some(2)),
        ("BLOCK* ask 10.0.0.1:50010 to delete  blk_7", Some(3)),
        ("BLOCK* ask 10.0.0.1:50010 to delete  blk_7 blk_-8  blk_9", Some(3)),
        ("PacketResponder 1 for block blk_7 terminating", Some(4)),
        ("PacketResponder blk_7 2 Exception java.io.IOException: x", Some(5)),
        ("java.io.IOException: Block blk_7 is not valid.", Some(6)),
        ("Block blk_7 is not valid.", Some(6)),
        ("10.0.0.1:50010 Starting thread to transfer block blk_7 to 10.0.0.2:50010, 10.0.0.3:50010", Some(7)),
        ("10.0.0.1:50010 Starting thread to transfer block blk_7 to 10.0.0.2:50010, nobody", None),
        ("PacketResponder 1 for block blk_7 terminating now", None),
        ("Receiving block blk_x src: /10.0.0.1:5 dest: /10.0.0.1:50010", None),
        ("", None),
    ] {
        assert_eq!(catalogue.find(message.as_bytes()), expected, "{message}");
    }
}

#[test]
fn most_constant_bytes_win_whatever_the_order() {
    let texts = ["<*>block <blk>", "Deleting block <blk>"];
    assert_eq!(catalogue(&texts).find(b"Deleting block blk_1"), Some(1));
    let reversed = [texts[1], texts[0]];
    assert_eq!(catalogue(&reversed).find(b"Deleting block blk_1"), Some(0));
}

#[test]
fn ids_are_content_hashes_written_in_hexadecimal() {
    let id = TemplateId::of("Receiving block <blk>");
    assert_eq!(id, TemplateId::of("Receiving block <blk>"));
    let json = serde_json::to_string(&TemplateId(0xff)).unwrap();
    assert_eq!(json, "\"00000000000000ff\"");
    assert_eq!(serde_json::from_str::<TemplateId>(&json).unwrap(), TemplateId(0xff));
}

#[test]
fn masks_replace_what_varies() {
    assert_eq!(
        mask(b"Moved BP-1-10.0.0.1-2:blk_3_4 in 5 ms from /data/1/x to 10.0.0.1:50010 by DFSClient_NONMAPREDUCE_-14_1"),
        "Moved <blk> in <n> ms from <path> to <node> by <*>"
    );
    assert_eq!(mask(b"\xff\xfe"), "\u{fffd}\u{fffd}");
}

proptest! {
    #[test]
    fn any_text_and_message_are_accepted(text in ".{0,40}", message in prop::collection::vec(any::<u8>(), 0..80)) {
        prop_assert!(catalogue(&[&text]).find(&message).is_none_or(|index| index == 0));
        prop_assert!(mask(&message).len() <= 40 * 512);
    }

    #[test]
    fn a_constant_template_matches_itself(text in "[a-zA-Z][a-zA-Z ]{0,30}[a-z]") {
        prop_assert_eq!(catalogue(&[&text]).find(text.as_bytes()), Some(0));
    }
}
