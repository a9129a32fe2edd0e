//! Tests of reading sessions.
