//! The report layer: a device and two servers, without a line between them.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, missing_docs)]

mod harness;
mod node;
mod question;
mod record;
