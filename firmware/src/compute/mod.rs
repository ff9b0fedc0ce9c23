//! A microcontroller as server 0 of a computation: what it and the host party have in common.
//!
//! On its one lane, lane 0, server 0 needs a seed and no corrections: its masks and its shares of what is dealt are a stream. So all that it receives beside the rounds
//! is two seeds, sealed to its key ([`seeds`]): the dealer's, and that of the data owner, whose stream is its share of the inputs.
//!
//! Over one line, frame by frame ([`frames`]):
//!
//! | from | kind | what |
//! | --- | --- | --- |
//! | device | `Hello` | the session: 16 random bytes, fresh for each boot |
//! | host | `Seed` | the dealer's seed, sealed |
//! | host | `Seed` | the owner's seed, sealed |
//! | both | `Round` | words, for each round: the device's, then the host's |
//! | device | `Result` | its shares of the outputs, under a one-time pad that the owner's seed expands to |
//!
//! - **Adversary:** semi-honest, one of {device, host party, dealer}. Who taps the line sees what the host party sees: masked words and sealed
//!   seeds. Who changes bytes on it ends the job (damage), or changes its result (malice): a CRC authenticates nothing.
//! - **Replay:** sealed seeds are bound to the session, which the device draws. One mask never serves two sessions.

pub mod frames;
pub mod functions;
pub mod job;
pub mod kernels;
#[cfg(target_os = "none")]
pub mod node;
pub mod seeds;
pub mod sequence;

use symbolon_core::prg::MaskId;

/// The part of the owner's stream that hides the device's shares of the outputs; its shares of the
/// inputs are the default part.
pub const PAD: MaskId = MaskId { lane: 1, request: 0, part: 0 };
