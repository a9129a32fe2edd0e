//! Metadata of model files: an error, or a model that can be used.

use std::collections::BTreeMap;

use blocksift_detector::model::Metadata;
use blocksift_detector::{Detector, Model, Settings};

use super::input::Input;
use super::model::{Parrot, Reported, metadata};
use super::run::A;

/// A log that matches some of the templates of a real model.
const LOG: &[u8] = b"\
110203 040506 1 INFO a.B: Receiving block blk_1 src: /10.0.0.1:1 dest: /10.0.0.1:2\n\
110203 040507 1 INFO a.B: Received block blk_1 of size 67108864 from /10.0.0.1\n\
110203 040607 1 WARN a.B: Exception in receiveBlock for block blk_1 java.io.IOException: x\n\
\tat java.lang.Thread.run(Thread.java:745)\n";

/// The metadata of a sound model with one field replaced, or with faults in its bytes.
pub(crate) fn model_metadata(data: &[u8]) {
    let mut input = Input::new(data);
    let window_ms = input.node_window_ms();
    let props = metadata(Reported::All, window_ms).to_props().unwrap();
    let mut props: BTreeMap<String, String> =
        props.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let names: Vec<String> = props.keys().cloned().collect();
    let name = &names[usize::from(input.byte()) % names.len()];
    if let Some(value) = props.get_mut(name) {
        *value = match input.byte() % 3 {
            0 => String::from_utf8_lossy(input.rest()).into_owned(),
            1 => replaced(value, input),
            _ => with_faults(value, input),
        };
    }
    let Ok(metadata) = Metadata::from_props(&props) else { return };
    let written = metadata.to_props().unwrap();
    let written = written.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    assert_eq!(Metadata::from_props(&written).unwrap(), metadata);
    use_it(metadata);
}

/// `value` with a part of it replaced by what is left of the input.
fn replaced(value: &str, mut input: Input<'_>) -> String {
    let (one, other) = (input.number() % (value.len() + 1), input.number() % (value.len() + 1));
    let (start, end) = (value.floor_char_boundary(one.min(other)), value.floor_char_boundary(one.max(other)));
    let (before, after) = (&value[..start], &value[end..]);
    format!("{before}{}{after}", String::from_utf8_lossy(input.rest()))
}

/// `value` with single bytes replaced.
fn with_faults(value: &str, input: Input<'_>) -> String {
    let mut bytes = value.as_bytes().to_vec();
    for fault in input.rest().chunks_exact(3) {
        let at = (usize::from(fault[0]) << 8 | usize::from(fault[1])) % bytes.len().max(1);
        if let Some(byte) = bytes.get_mut(at) {
            *byte = if byte.is_ascii_digit() { b'0' + fault[2] % 10 } else { fault[2] };
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn use_it(metadata: Metadata) {
    drop(metadata.trained_sequences());
    let scorer = Parrot(metadata.golden.clone());
    let Ok(model) = Model::new(metadata, b"no file", Box::new(scorer)) else { return };
    let mut detector = Detector::new(model, Settings::default());
    detector.push(A, 0, LOG);
    detector.end_of_file(A);
    detector.finish().for_each(drop);
}
