//! Control records: `{"blocksift":{...}}` with nothing beside it. They tick, flush or configure the filter, and are
//! answered by a record that says what came of it, in the same place.

use blocksift_detector::json::{Members, Value};
use serde::Serialize;

use crate::settings::Settings;

/// What a control record asks for.
#[derive(Debug, PartialEq)]
pub(crate) enum Control {
    /// Only to tell the time, and to take what waits.
    Tick,
    /// Score everything now.
    Flush,
    /// Go on with these settings.
    Configure(Box<Settings>),
    /// Something that cannot be done, with all that is wrong with it.
    Refused(Vec<String>),
}

/// What came of it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Reply {
    /// Everything is scored, or will be while what waits is taken: so many reports.
    Flushed {
        /// Reports and summaries that wait for the next records.
        waiting: usize,
        /// Whether sessions are left to be scored when they are taken.
        unfinished: bool,
    },
    /// The settings are in force.
    Configured {
        /// `false` where they were in force before.
        changed: bool,
    },
    /// Nothing was changed.
    Refused {
        /// What is wrong, one sentence each.
        problems: Vec<String>,
    },
}

impl Control {
    /// Reads what our member holds.
    pub(crate) fn read(own: Value<'_>) -> Self {
        let Value::Object(object) = own else { return Self::Tick };
        let mut control = Self::Tick;
        for (key, value) in Members::of(object) {
            control = match (key, value) {
                (b"flush", Value::Word(b"true")) => Self::Flush,
                (b"configure", Value::Object(settings)) => Self::configure(settings),
                (b"flush" | b"tick", Value::Word(_)) => control,
                (b"configure", _) => Self::Refused(vec!["`configure` is no object".to_owned()]),
                _ => {
                    Self::Refused(vec!["it asks for something else than tick, flush or configure".to_owned()])
                }
            };
            if matches!(control, Self::Refused(_)) {
                break;
            }
        }
        control
    }

    fn configure(settings: &[u8]) -> Self {
        match serde_json::from_slice::<Settings>(settings) {
            Err(error) => Self::Refused(vec![format!("`configure` cannot be read: {error}")]),
            Ok(settings) => match settings.problems() {
                problems if problems.is_empty() => Self::Configure(Box::new(settings)),
                problems => Self::Refused(problems),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn control(object: &str) -> Control {
        Control::read(Value::Object(object.as_bytes()))
    }

    #[test]
    fn what_is_asked_for_is_understood() {
        assert_eq!(control("{}"), Control::Tick);
        assert_eq!(control(r#"{"tick":true}"#), Control::Tick);
        assert_eq!(control(r#"{"flush":true}"#), Control::Flush);
        assert_eq!(control(r#"{"flush":false}"#), Control::Tick);
        let Control::Configure(settings) = control(r#"{"configure":{"threshold":0.25}}"#) else { panic!() };
        assert_eq!(*settings, Settings { threshold: Some(0.25), ..Settings::default() });
    }

    #[test]
    fn what_cannot_be_done_is_refused_with_reasons() {
        for (object, reason) in [
            (r#"{"configure":{"threshhold":0.25}}"#, "threshhold"),
            (r#"{"configure":{"threshold":"high"}}"#, "cannot be read"),
            (r#"{"configure":{"threshold":2}}"#, "`threshold` is not in 0..=1"),
            (r#"{"configure":{"idle_timeout_s":-1}}"#, "cannot be read"),
            (r#"{"configure":7}"#, "no object"),
            (r#"{"restart":true,"flush":true}"#, "something else"),
        ] {
            let Control::Refused(problems) = control(object) else { panic!("{object}") };
            assert!(problems[0].contains(reason), "{problems:?}");
        }
    }
}
