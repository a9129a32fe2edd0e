//! Tests of the receiver: what shippers send becomes lines in files, and is acknowledged when it is there.

use std::io::Write;

use proptest::prelude::*;

use super::msgpack::{Item, Reader};
use super::*;
use crate::source::tests::Scene;

fn text(text: &str) -> Vec<u8> {
    let mut bytes = vec![0xda];
    bytes.extend(u16::try_from(text.len()).unwrap().to_be_bytes());
    bytes.extend(text.as_bytes());
    bytes
}

fn array(items: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = vec![0xdc];
    bytes.extend(u16::try_from(items.len()).unwrap().to_be_bytes());
    bytes.extend(items.concat());
    bytes
}

fn map(entries: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = vec![0x80 | u8::try_from(entries.len()).unwrap()];
    for (key, value) in entries {
        bytes.extend(text(key));
        bytes.extend(value);
    }
    bytes
}

fn binary(bytes: &[u8]) -> Vec<u8> {
    let mut all = vec![0xc6];
    all.extend(u32::try_from(bytes.len()).unwrap().to_be_bytes());
    all.extend(bytes);
    all
}

/// Fluent's time, to the nanosecond.
fn time() -> Vec<u8> {
    vec![0xd7, 0, 0x49, 0x17, 0x4b, 0x1f, 0, 0, 0, 0]
}

fn entry(line: &str) -> Vec<u8> {
    array(&[time(), map(&[("log", text(line))])])
}

/// A message of packed entries, as Fluent Bit sends it.
fn packed(tag: &str, lines: &[&str], chunk: &str) -> Vec<u8> {
    let entries: Vec<u8> = lines.iter().flat_map(|line| entry(line)).collect();
    array(&[text(tag), binary(&entries), map(&[("size", vec![1]), ("chunk", text(chunk))])])
}

fn lines(bytes: &[u8]) -> String {
    String::from_utf8(message::read(bytes).unwrap().lines).unwrap()
}

#[test]
fn every_mode_gives_the_same_lines() {
    let entries = [entry("one"), entry("two\n")];
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&entries.concat()).unwrap();
    let gzip = gzip.finish().unwrap();
    let modes = [
        array(&[text("t"), array(&entries)]),
        array(&[text("t"), array(&entries), map(&[("chunk", text("c"))])]),
        array(&[text("t"), binary(&entries.concat()), map(&[])]),
        array(&[text("t"), binary(&gzip), map(&[("compressed", text("gzip"))])]),
    ];
    for mode in modes {
        assert_eq!(lines(&mode), "one\ntwo\n");
        for cut in 0..mode.len() {
            assert!(message::read(&mode[..cut]).is_err());
        }
    }
    let single = array(&[text("t"), time(), map(&[("message", text("one"))]), map(&[("chunk", text("c"))])]);
    let message = message::read(&single).unwrap();
    assert_eq!((message.lines.as_slice(), message.chunk), (&b"one\n"[..], Some(&b"c"[..])));
    // Fluent Bit's entries with metadata.
    let entry = array(&[array(&[time(), map(&[])]), map(&[("log", text("one"))])]);
    assert_eq!(lines(&array(&[text("t"), array(&[entry])])), "one\n");
}

#[test]
fn a_record_without_a_line_becomes_json() {
    let record = map(&[("message", text("what")), ("level", text("WARN")), ("n", vec![0xc3])]);
    let message = array(&[text("t"), array(&[array(&[time(), record])])]);
    assert_eq!(lines(&message), "{\"level\":\"WARN\",\"message\":\"what\",\"n\":true}\n");
    let empty = array(&[text("t"), array(&[entry("")])]);
    let message = message::read(&empty).unwrap();
    assert_eq!((message.lines.as_slice(), message.empty), (&b""[..], 1));
}

#[test]
fn a_small_message_does_not_unpack_to_a_large_one() {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gzip.write_all(&vec![0xc0; MESSAGE_BYTES_MAX + 1]).unwrap();
    let bomb = array(&[text("t"), binary(&gzip.finish().unwrap()), map(&[("compressed", text("gzip"))])]);
    assert_eq!(message::read(&bomb), Err(Trouble::Wrong));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in any::<Vec<u8>>(), at in any::<prop::sample::Index>()) {
        drop(message::read(&bytes));
        let mut changed = packed("tag", &["one", "two"], "chunk");
        let at = at.index(changed.len());
        changed.splice(at..=at, bytes);
        drop(message::read(&changed));
    }
}

async fn scene(journal_bytes_max: u64) -> Scene {
    Scene::new(journal_bytes_max, receive).await
}

async fn acknowledged(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    while stream.read_buf(&mut bytes).await.unwrap() > 0 {
        let mut reader = Reader::new(&bytes);
        if let (Ok(Item::Map(1)), Ok(Item::Text(b"ack")), Ok(Item::Text(chunk))) =
            (reader.item(), reader.item(), reader.item())
        {
            return String::from_utf8(chunk.to_vec()).unwrap();
        }
    }
    panic!("connection was closed after {bytes:?}");
}

#[tokio::test]
async fn what_is_acknowledged_is_in_a_file_of_its_stream_and_only_once() {
    let scene = scene(1 << 20).await;
    let mut stream = TcpStream::connect(scene.address).await.unwrap();
    for (tag, line, chunk) in [("a/../b", "one", "1"), ("other", "two", "2"), ("a/../b", "three", "3")] {
        let message = packed(tag, &[line], chunk);
        // In pieces, as networks deliver.
        for piece in message.chunks(5) {
            stream.write_all(piece).await.unwrap();
            stream.flush().await.unwrap();
        }
        assert_eq!(acknowledged(&mut stream).await, chunk);
    }
    assert_eq!(scene.received(), ["one\nthree\n", "two\n"]);
    // The acknowledgement was lost: the shipper sends the chunk again.
    let mut again = TcpStream::connect(scene.address).await.unwrap();
    again.write_all(&packed("a/../b", &["three"], "3")).await.unwrap();
    assert_eq!(acknowledged(&mut again).await, "3");
    assert_eq!(scene.received(), ["one\nthree\n", "two\n"]);
}

#[tokio::test]
async fn what_is_no_message_ends_the_connection_and_no_other() {
    let scene = scene(1 << 20).await;
    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0xc1], &[0x92, 0x01, 0x90]] {
        let mut stream = TcpStream::connect(scene.address).await.unwrap();
        stream.write_all(garbage).await.unwrap();
        let mut answer = Vec::new();
        // Closed, or reset where it was not all read.
        drop(stream.read_to_end(&mut answer).await);
        assert!(answer.is_empty());
    }
    let mut stream = TcpStream::connect(scene.address).await.unwrap();
    stream.write_all(&packed("t", &["one"], "1")).await.unwrap();
    assert_eq!(acknowledged(&mut stream).await, "1");
}

#[tokio::test]
async fn a_full_journal_acknowledges_nothing() {
    let scene = scene(4_096).await;
    let mut stream = TcpStream::connect(scene.address).await.unwrap();
    let line = "x".repeat(1_000);
    for chunk in ["1", "2", "3", "4"] {
        stream.write_all(&packed("t", &[&line], chunk)).await.unwrap();
        assert_eq!(acknowledged(&mut stream).await, chunk);
    }
    // Nobody reads what is there: there is no room, and the sender waits.
    stream.write_all(&packed("t", &[&line], "5")).await.unwrap();
    let waited = tokio::time::timeout(2 * PAUSE, acknowledged(&mut stream)).await;
    assert!(waited.is_err(), "{waited:?}");
    assert_eq!(scene.received().concat().lines().count(), 4);
}
