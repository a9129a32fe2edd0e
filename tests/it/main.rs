//! End-to-end tests of blocksift over the real binaries.
