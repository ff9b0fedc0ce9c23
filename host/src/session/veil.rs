//! Output shares, refreshed before they leave.
//!
//! A server's share of an output is made of masks and openings, and the dealer knows the masks: to a client that colludes with it, a single share would be an
//! equation in intermediate values. So both servers add shares of zero to whatever they send to the client, from a seed that server 0
//! draws and tells server 1 alone. What the client then holds is uniform but for the output itself.
//!
//! - **Adversary:** semi-honest; the dealer together with any clients.
//! - **Cost:** 32 bytes a session.

use crate::net::Role;
use serde::{Deserialize, Serialize};
use symbolon_core::{
    prg::{ChaCha20Prg, MaskId, Seed, fill},
    word::Word,
};
use zeroize::Zeroizing;

/// Server 0 to server 1, on the first lane's connection.
#[derive(Serialize, Deserialize)]
pub(super) struct VeilSeed(pub(super) Zeroizing<[u8; 32]>);

/// What an output is; each is sent once a session.
#[derive(Clone, Copy)]
pub(super) enum Output {
    Loss { epoch: u32 },
    Score { epoch: u32 },
    Model,
}

/// One server's shares of zero.
pub(super) struct Veil {
    /// Boxed: a move would copy its key.
    stream: Box<ChaCha20Prg>,
    role: Role,
}

impl Veil {
    pub(super) fn new(seed: &VeilSeed, session: &[u8; 16], role: Role) -> Self {
        Self { stream: Box::new(ChaCha20Prg::new(&Seed::from_bytes(&seed.0), session)), role }
    }

    /// Refreshes this server's share of `output`.
    pub(super) fn draw<W: Word>(&self, output: Output, words: &mut [W]) {
        let (request, part) = match output {
            Output::Loss { epoch } => (epoch, 0),
            Output::Score { epoch } => (epoch, 1),
            Output::Model => (0, 2),
        };
        let mut zero = vec![W::default(); words.len()];
        fill(&*self.stream, MaskId { lane: 0, request, part }, 0, &mut zero);
        for (word, zero) in words.iter_mut().zip(zero) {
            *word = if self.role == Role::Server0 { word.add(zero) } else { word.sub(zero) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_change_and_their_sum_does_not() {
        let seed = || VeilSeed(Zeroizing::new([7; 32]));
        let veils = [Role::Server0, Role::Server1].map(|role| Veil::new(&seed(), &[1; 16], role));
        let mut seen = Vec::new();
        for output in [Output::Loss { epoch: 1 }, Output::Score { epoch: 1 }, Output::Loss { epoch: 2 }, Output::Model]
        {
            let (mut a, mut b) = ([5u64, 6], [u64::MAX, 9]);
            veils[0].draw(output, &mut a);
            veils[1].draw(output, &mut b);
            assert_eq!([a[0].wrapping_add(b[0]), a[1].wrapping_add(b[1])], [4, 15]);
            assert!(!seen.contains(&a[0]) && a[0] != 5, "a share of zero was used twice");
            seen.push(a[0]);
        }
    }
}
