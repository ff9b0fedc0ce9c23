//! The engines: secure, clear and dry. All run the same job code ([`crate::train`]); they differ in the party's link and source of
//! correlated randomness.

pub mod audit;
pub mod clear;
pub mod dealer;
pub mod memory;
pub mod plan;
pub mod pool;
pub mod secure;

use crate::job;
use symbolon_core::prg::{ChaCha20Prg, Prg, Seed};

/// Names a session among others; chosen anew by the client for each run.
pub type SessionId = [u8; 16];

/// The streams of `seed` in `session` under the job's cipher.
pub fn prg(cipher: job::Prg, seed: &Seed, session: &SessionId) -> Box<dyn Prg> {
    match cipher {
        job::Prg::Aes128Ctr => crate::kernel::aes128_prg(seed, session),
        job::Prg::ChaCha20 => Box::new(ChaCha20Prg::new(seed, session)),
    }
}
