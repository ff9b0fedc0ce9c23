//! Runs the conformance vectors: on the host, and on each board as two programs, `conformance` and
//! `conformance_protocols`, which one flash has no room for together.
//!
//! The vectors are the files of `tests/vectors`, made by a script that shares no code with these
//! crates. They are read without a heap, line by line, and held against `symbolon-core`: fixed
//! point, streams, schemas, records, key files, frames, sessions and windows of samples; and
//! protocols and functions, of which either server and the dealer are played against what the
//! script wrote down.
//!
//! - **Memory:** 11 kB of stack, protocols 33 kB. The vectors are in flash: 121 kB, of protocols
//!   139 kB.
//! - **Randomness:** sessions take theirs from the vectors. That generator is here alone; no
//!   program but `conformance` has it.

mod case;
mod frames;
#[cfg(not(board = "microbit"))]
mod functions;
mod numbers;
#[cfg(target_os = "none")]
mod program;
#[cfg(not(board = "microbit"))]
mod protocols;
mod records;
mod sessions;

use case::{Case, cases};
#[cfg(target_os = "none")]
pub use program::on_board;
use sessions::Sessions;

/// A file of vectors.
pub struct File {
    /// Its name, with the version.
    pub name: &'static str,
    /// What it says.
    pub text: &'static str,
    one: fn(&Case<'_>, &mut Sessions) -> Result<(), Wrong>,
}

macro_rules! file {
    ($name:literal, $one:expr) => {
        File { name: $name, text: include_str!(concat!("../../../tests/vectors/", $name, ".txt")), one: $one }
    };
}

/// The files of the program `conformance`.
pub const FILES: &[File] = &[
    file!("fixed_v1", |case, _| numbers::fixed(case)),
    file!("stream_v1", |case, _| numbers::stream(case)),
    file!("schema_v1", |case, _| records::schema(case)),
    file!("record_v1", |case, _| records::record(case)),
    file!("identity_v1", |case, _| records::identity(case)),
    file!("frame_v1", |case, _| frames::frame(case)),
    file!("session_v1", |case, sessions| sessions.check(case)),
    file!("window_v1", |case, _| records::window(case)),
];

/// The files of the program `conformance_protocols`. Protocols for both word sizes do not fit the
/// flash of a micro:bit, nor its memory.
pub const PROTOCOLS: &[File] = &[
    #[cfg(not(board = "microbit"))]
    file!("protocol_v2", |case, _| protocols::protocol(case)),
];

/// What is wrong with a vector.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(target_os = "none", derive(defmt::Format))]
pub enum Wrong {
    /// It cannot be read: of another kind, or something is missing.
    Vector,
    /// The result is another.
    Result,
}

/// How many vectors there were.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[cfg_attr(target_os = "none", derive(defmt::Format))]
pub struct Tally {
    /// With the result that they name.
    pub passed: u32,
    /// With another, or unreadable.
    pub failed: u32,
}

impl File {
    /// Runs all vectors of `text`: of the file's own, or of what a test made of it. Reports the line of each that fails.
    pub fn check(&self, text: &str, failed: &mut dyn FnMut(u32, Wrong)) -> Tally {
        let mut tally = Tally::default();
        let mut sessions = Sessions::default();
        for case in cases(text) {
            match (self.one)(&case, &mut sessions) {
                Ok(()) => tally.passed += 1,
                Err(wrong) => {
                    tally.failed += 1;
                    failed(case.line, wrong);
                }
            }
        }
        tally
    }
}
