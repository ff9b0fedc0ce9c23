//! A server's intake: what it takes, what it refuses, what it keeps.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation)]

mod disk;
mod durable;
mod harness;
mod hostile;
mod manifests;
mod model;
mod queries;
mod rules;
mod speed;
