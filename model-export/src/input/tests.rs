//! Tests of reading sessions.

use std::io::Write;

use blocksift_detector::template::Catalogue;
use flate2::{Compression, write::GzEncoder};
use proptest::prelude::*;
use tempfile::NamedTempFile;

use super::*;

fn templates() -> Vec<Template> {
    crate::catalogue::read(None).unwrap()
}

fn tokenizer() -> Tokenizer {
    let vocabulary: Vec<_> = templates().iter().map(Template::id).collect();
    Tokenizer::new(16, &vocabulary)
}

fn file(text: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

fn read(text: &str) -> Result<Sessions> {
    read_sessions(file(text).path(), &Keys::new(&templates(), &tokenizer()))
}

fn tokens(keys: &[u16]) -> Vec<Token> {
    keys.iter().map(|key| Token(key + 1)).collect()
}

fn error(text: &str) -> String {
    format!("{:#}", read(text).unwrap_err())
}

#[test]
fn sessions_with_all_columns_and_with_few() {
    let full = read("block_id,label,source,natural,n_events,events\nblk_-1,1,x,1,2,5 22\n").unwrap();
    let session = &full.list[0];
    assert_eq!((session.block.as_str(), session.abnormal, session.natural), ("blk_-1", true, true));
    assert_eq!(session.tokens, tokens(&[5, 22]));
    let few = read("events,label\r\n22 5,0\r\n").unwrap();
    assert_eq!((few.list[0].abnormal, few.list[0].natural), (false, false));
    assert_eq!(few.list[0].tokens, tokens(&[22, 5]));
}

#[test]
fn counted_sequences_and_loghubs_traces() {
    let counted = read("n_normal,n_abnormal,n_events,events\n3,2,1,5\n0,1,1,22\n").unwrap();
    let found: Vec<_> = counted.list.iter().map(|session| (session.abnormal, session.count)).collect();
    assert_eq!(found, [(false, 3), (true, 2), (true, 1)]);
    let traces = "BlockId,Label,Type,Features,TimeInterval,Latency\n\
                  blk_1,Success,,\"[E5,E22]\",\"[0.0, 1.0]\",4\nblk_2,Fail,21,[E5],[],1\n";
    let traces = read(traces).unwrap();
    assert_eq!(traces.list[0].tokens, tokens(&[5, 22]));
    assert!(!traces.list[0].abnormal && traces.list[1].abnormal);
}

#[test]
fn keys_that_the_catalogue_lacks_are_unknown_and_counted() {
    let found = read("label,events\n0,5 99 77 22\n").unwrap();
    assert_eq!(found.events_unknown, 2);
    assert_eq!(found.list[0].tokens, [Token(6), Token::UNKNOWN, Token::UNKNOWN, Token(23)]);
}

#[test]
fn what_is_wrong_is_told_with_its_line() {
    assert!(error("label,events\n0,5\nmaybe,5\n").contains("line 3 is not usable: label `maybe`"));
    assert!(error("label,events\n0,5\n1,\n").contains("line 3 is not usable: it has no events"));
    assert!(error("label,events\n0,5,7\n").contains("line 2"));
    assert!(error("n_events,events\n1,5\n").contains("no column `label`"));
    assert!(error("a,b\n1,5\n").contains("no column `events`"));
    assert!(error("label,events\n").contains("holds no sessions"));
    assert!(error("LineId,Content,label\n").contains("--structured"));
    let missing = read_sessions(Path::new("no/such/file.csv"), &Keys::new(&[], &tokenizer())).unwrap_err();
    assert!(missing.to_string().contains("no/such/file.csv cannot be read"));
}

#[test]
fn gzip_is_recognised_by_its_content_and_a_cut_one_is_an_error() {
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(b"label,events\n0,5 22\n").unwrap();
    let packed = packed.finish().unwrap();
    let keys = Keys::new(&templates(), &tokenizer());
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(&packed).unwrap();
    assert_eq!(read_sessions(file.path(), &keys).unwrap().list.len(), 1);
    let mut cut = NamedTempFile::new().unwrap();
    cut.write_all(&packed[..packed.len() - 9]).unwrap();
    assert!(read_sessions(cut.path(), &keys).is_err());
}

const LOG: &str = "110203 040506 7 INFO dfs.DataNode$DataXceiver: Receiving block blk_-16 src: /10.0.0.1:40000 dest: /10.0.0.1:50010\n\
    110203 040521 29 INFO dfs.FSNamesystem: BLOCK* NameSystem.allocateBlock: /user/x/part-0. blk_-16\n\
    110203 040519 147 INFO dfs.DataNode$PacketResponder: PacketResponder 0 for block blk_-16 terminating\n\
    110203 040519 147 INFO dfs.Unheard: something new about blk_7 and blk_7\n\
    110203 040519 147 INFO dfs.Other: about no block\n\
    110203 040520 147 INFO dfs.Unheard: block blk_8 has no label\n";

#[test]
fn a_raw_log_gives_sessions_in_order_of_time() {
    let labels = file("BlockId,Label\nblk_-16,Normal\nblk_7,Anomaly\n");
    let catalogue = Catalogue::new(templates());
    let mut bytes = 0;
    let found =
        read_log(file(LOG).path(), labels.path(), &catalogue, &tokenizer(), |line| bytes += line).unwrap();
    assert_eq!(bytes, LOG.len() as u64);
    assert_eq!(found.list[0].tokens, tokens(&[5, 11, 22]));
    assert_eq!(found.list[1].tokens, [Token::UNKNOWN]);
    assert!(found.list[1].abnormal);
    assert_eq!((found.unlabelled, found.events_unknown), (1, 1));
}

#[test]
fn a_structured_log_gives_the_same_sessions() {
    let labels = file("block_id,label\nblk_-16,0\n");
    let rows = "LineId,Date,Time,Pid,Level,Component,Content,EventId,EventTemplate\n\
        1,081109,203518,143,INFO,c,Receiving block blk_-16 src: /10.2.19.1:54106 dest: /10.2.19.1:50010,09a53393,x\n\
        2,081109,203519,147,INFO,c,PacketResponder 0 for block blk_-16 terminating,d38aa58d,x\n";
    let catalogue = Catalogue::new(templates());
    let found = read_structured(file(rows).path(), labels.path(), &catalogue, &tokenizer()).unwrap();
    assert_eq!(found.list[0].tokens, tokens(&[5, 11]));
    let other = file("BlockId,Label\nblk_1,Normal\n");
    let error = read_structured(file(rows).path(), other.path(), &catalogue, &tokenizer()).unwrap_err();
    assert!(format!("{error:#}").contains("no line belongs to a labelled block"));
}

#[test]
fn a_bad_label_file_is_told_with_its_line() {
    let catalogue = Catalogue::new(templates());
    let read = |labels: &str| {
        let failed = read_log(file(LOG).path(), file(labels).path(), &catalogue, &tokenizer(), |_| ());
        format!("{:#}", failed.unwrap_err())
    };
    assert!(read("BlockId,Label\nblk_x,Normal\n").contains("line 2 is not usable: `blk_x` is not a block"));
    assert!(read("BlockId,Label\nblk_1,Odd\n").contains("label `Odd`"));
    assert!(read("a,b\n").contains("no column `BlockId` or `block_id`"));
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused_but_never_panics(text in "(label,events\n)?[ -~\n\r]{0,200}") {
        drop(read(&text));
    }

    #[test]
    fn keys_come_back_as_tokens(keys in prop::collection::vec(1u16..34, 1..30)) {
        let events: Vec<String> = keys.iter().map(u16::to_string).collect();
        let found = read(&format!("label,events\n1,{}\n", events.join(" "))).unwrap();
        prop_assert_eq!(&found.list[0].tokens, &tokens(&keys));
    }
}
