//! Output shares, refreshed before they leave.
//!
//! A server's share of an output is made of masks and openings, and the dealer knows the masks: to a client that colludes with it, a single share would be an
//! equation in intermediate values. So both servers add shares of zero to whatever they send to the client, from a seed that server 0
//! draws and tells server 1 alone. What the client then holds is uniform but for the output itself.
//!
//! - **Adversary:** semi-honest; the dealer together with any clients.
//! - **Cost:** 32 bytes a session.

use crate::{net::Role, secret::Secret};
use serde::{Deserialize, Serialize};
use symbolon_core::{
    prg::{ChaCha20Prg, MaskId, Seed, fill},
    word::Word,
};
use zeroize::Zeroizing;

/// Server 0 to server 1, on the first lane's connection.
#[derive(Serialize, Deserialize)]
pub(super) struct VeilSeed(pub(super) Zeroizing<[u8; 32]>);

/// The kind of an output; each is sent once a session. Sums have two words: the sum, and its
/// records or nothing.
#[derive(Clone, Copy)]
pub(super) enum Output {
    Loss { epoch: u32 },
    Score { epoch: u32 },
    Model,
    Alarm,
    Answer { lane: u16, batch: u32 },
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

    /// The stream of the seed, which neither clients nor the dealer know: range alarms take their
    /// choices from it, under other names.
    pub(super) fn stream(&self) -> &ChaCha20Prg {
        &self.stream
    }

    /// Refreshes this server's share of `output`.
    pub(super) fn draw<W: Word>(&self, output: Output, words: &mut [W]) {
        let mut zero = Secret::<W>::zeros(words.len());
        fill(&*self.stream, output.name(), 0, &mut zero);
        for (word, zero) in words.iter_mut().zip(zero.iter()) {
            *word = if self.role == Role::Server0 { word.add(*zero) } else { word.sub(*zero) };
        }
    }

    /// Refreshes this server's share of `output`, an XOR-shared bit.
    pub(super) fn draw_bit(&self, output: Output, share: bool) -> bool {
        let mut zero = Zeroizing::new([0u32]);
        fill(&*self.stream, output.name(), 0, &mut *zero);
        share ^ (zero[0] & 1 == 1)
    }
}

impl Output {
    /// The name of its share of zero.
    fn name(self) -> MaskId {
        let (lane, request, part) = match self {
            Self::Loss { epoch } => (0, epoch, 0),
            Self::Score { epoch } => (0, epoch, 1),
            Self::Model => (0, 0, 2),
            Self::Alarm => (0, 0, 3),
            Self::Answer { lane, batch } => (lane, batch, 4),
        };
        MaskId { lane, request, part }
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

    #[test]
    fn shares_of_a_bit_change_and_the_bit_does_not() {
        let mut changed = 0;
        for seed in 0..64 {
            let veils = [Role::Server0, Role::Server1]
                .map(|role| Veil::new(&VeilSeed(Zeroizing::new([seed; 32])), &[1; 16], role));
            let [a, b] = veils.each_ref().map(|veil| veil.draw_bit(Output::Alarm, true));
            assert_eq!(a, b, "two shares of 1 make 0");
            changed += u32::from(!a);
        }
        assert!((16..48).contains(&changed), "{changed} of 64 bits changed");
    }
}
