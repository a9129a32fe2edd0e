//! Tests of the whole run on small synthetic sessions.
