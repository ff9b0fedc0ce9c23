//! What connects the two servers, and what may go wrong on the way.

use crate::word::Word;

/// How a server folds its peer's words into its own.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fold {
    /// Each word becomes its sum with the peer's: opens additive shares.
    Add,
    /// Each word becomes its exclusive or with the peer's: opens shared bit planes.
    Xor,
    /// Each word becomes the peer's: for packed words, which the caller folds itself.
    Swap,
}

/// Words that go to the peer and come back folded, in one round.
pub type Part<'a, W> = (Fold, &'a mut [W]);

/// The connection to the other server. One call is one round.
///
/// Full duplex: an implementation never waits for the peer to finish receiving before it reads. Both servers call with
/// parts of the same lengths, which are public; a peer that sends another length is an error, never a panic.
pub trait Link<W: Word> {
    /// Sends all `parts` and folds in the peer's: one round, `k / 8` bytes each way a word.
    ///
    /// # Errors
    ///
    /// [`Error::Lost`], [`Error::TimedOut`] or [`Error::Malformed`], all of [`Peer::Server`].
    fn exchange(&mut self, parts: &mut [Part<'_, W>]) -> Result<(), Error>;
}

/// A link to nobody: the peer's words are 0. What the clear engine uses.
#[derive(Debug, Default)]
pub struct Alone;

impl<W: Word> Link<W> for Alone {
    fn exchange(&mut self, parts: &mut [Part<'_, W>]) -> Result<(), Error> {
        for (fold, words) in parts {
            if *fold == Fold::Swap {
                words.fill(W::default());
            }
        }
        Ok(())
    }
}

/// Counts words and rounds and sends nothing. What the plan uses.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Count {
    /// Bytes that would go each way.
    pub bytes: u64,
    /// Exchanges.
    pub rounds: u64,
}

impl<W: Word> Link<W> for Count {
    fn exchange(&mut self, parts: &mut [Part<'_, W>]) -> Result<(), Error> {
        let words: usize = parts.iter().map(|(_, words)| words.len()).sum();
        self.bytes += words as u64 * u64::from(W::BITS / 8);
        self.rounds += 1;
        Ok(())
    }
}

/// Whose fault a failed transfer is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Peer {
    /// The other server.
    Server,
    /// The dealer.
    Dealer,
}

/// Why a protocol stopped. Carries counts and codes, never share values.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Error {
    /// The connection ended. Restart the peer and resume the job under fresh seeds.
    Lost(Peer),
    /// Nothing came for the configured time. Check the peer and the network.
    TimedOut(Peer),
    /// A frame that does not fit the plan. The peer is out of step or hostile: close.
    Malformed(Peer),
    /// The arena is too small for this shape. Ours: size it by a dry run.
    Scratch {
        /// Words that the call needs.
        want: usize,
        /// Words that were left.
        got: usize,
    },
    /// This lane has drawn 2^32 requests, or more than its host permits. Ours: start a new session, with fewer steps or larger tiles.
    RequestsSpent,
    /// This party's storage of a table failed. Ours: the host reports the reason.
    Storage,
}

impl core::fmt::Display for Error {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let name = |p: &Peer| match p {
            Peer::Server => "the other server",
            Peer::Dealer => "the dealer",
        };
        match self {
            Self::Lost(p) => write!(f, "lost {}; restart it", name(p)),
            Self::TimedOut(p) => write!(f, "{} sent nothing in time; check it and the network", name(p)),
            Self::Malformed(p) => write!(f, "{} sent a frame that does not fit the plan", name(p)),
            Self::Scratch { want, got } => write!(f, "arena too small: {want} words needed, {got} left"),
            Self::RequestsSpent => f.write_str("too many requests for one session; take fewer steps or larger tiles"),
            Self::Storage => f.write_str("this party cannot read or write a table on its disk"),
        }
    }
}

impl core::error::Error for Error {}
