//! A compute node's part in a computation, from its sealed seeds to its padded result: see
//! [`super`].
//!
//! Ends with `Outcome::Pass` when it has sent its shares of the outputs, else logs why not.

use super::{
    PAD,
    frames::{FirstLink, Frames, Kind, Line},
    seeds::{self, DeviceKeys, SEALED_BYTES, Sender},
};
use crate::board::{self, Board, Entropy, Outcome, Serial, Storage};
use core::cell::Cell;
use embedded_io::{Read, ReadReady, Write};
use symbolon_core::{
    correlation::Server,
    kernel::Kernels,
    link,
    party::{NoTrace, Party, Role},
    prg::{ChaCha20Prg, MaskId, Prg, fill},
    word::Word,
};

/// How long the host party may be silent.
const PATIENCE_MS: u64 = 10_000;

/// A computation and its buffers: one a program, whose sizes and kernels are its own.
pub struct Computation<R, K: 'static, const INPUTS: usize, const OUTPUTS: usize, const ARENA: usize> {
    /// Computes all outputs from the shares of all inputs.
    pub run: R,
    /// The kernels that it takes.
    pub kernels: &'static K,
    /// Words of all inputs.
    pub inputs: &'static mut [u32; INPUTS],
    /// Words of all outputs.
    pub outputs: &'static mut [u32; OUTPUTS],
    /// Words of the arena.
    pub arena: &'static mut [u32; ARENA],
}

/// Why there is no result.
#[derive(defmt::Format)]
enum Error {
    Board(board::Error),
    Seeds(seeds::Error),
    Link(link::Error),
}

impl From<board::Error> for Error {
    fn from(e: board::Error) -> Self {
        Self::Board(e)
    }
}

impl From<seeds::Error> for Error {
    fn from(e: seeds::Error) -> Self {
        Self::Seeds(e)
    }
}

impl From<link::Error> for Error {
    fn from(e: link::Error) -> Self {
        Self::Link(e)
    }
}

struct Port(Serial);

impl Line for Port {
    fn send(&mut self, bytes: &[u8]) -> Result<(), link::Error> {
        let Ok(()) = self.0.write_all(bytes);
        Ok(())
    }
    fn receive(&mut self, mut bytes: &mut [u8]) -> Result<(), link::Error> {
        let mut deadline = board::now_ms() + PATIENCE_MS;
        while !bytes.is_empty() {
            let Ok(ready) = self.0.read_ready();
            if ready {
                let Ok(len) = self.0.read(bytes);
                bytes = &mut bytes[len..];
                deadline = board::now_ms() + PATIENCE_MS;
            } else if board::now_ms() > deadline {
                return Err(link::Error::TimedOut(link::Peer::Server));
            } else {
                board::idle();
            }
        }
        Ok(())
    }
}

/// Takes part in the computation, and ends the program.
pub fn main<R, K, const INPUTS: usize, const OUTPUTS: usize, const ARENA: usize>(
    computation: Computation<R, K, INPUTS, OUTPUTS, ARENA>,
) -> !
where
    R: FnOnce(&mut Party<'_, u32>, &mut [u32], &mut [u32]) -> Result<(), link::Error>,
    K: Kernels<u32>,
{
    let mut board = Board::take();
    let entropy = board.entropy().map_err(Error::from);
    let part = |entropy| take_part(board, entropy, |frames, dealer, owner| computation.compute(frames, dealer, owner));
    let outcome = match entropy.and_then(part) {
        Ok(()) => Outcome::Pass,
        Err(error) => {
            defmt::error!("{}", error);
            Outcome::Fail
        }
    };
    defmt::info!("stack {=usize}", board::stack::peak_bytes());
    board::end(outcome)
}

fn take_part(
    Board { serial, mut storage, .. }: Board,
    mut entropy: Entropy,
    compute: impl FnOnce(&mut Frames<Port>, &dyn Prg, &dyn Prg) -> Result<(), Error>,
) -> Result<(), Error> {
    let keys = keys(&mut storage)?;
    let mut frames = Frames::new(Port(serial));
    let mut session = [0; 16];
    rand_core::Rng::fill_bytes(&mut entropy, &mut session);
    frames.send(Kind::Hello, [&session[..]].into_iter())?;
    let mut stream = |sender| -> Result<_, Error> {
        let mut sealed = [0; SEALED_BYTES];
        frames.receive_all(Kind::Seed, &mut sealed)?;
        Ok(ChaCha20Prg::new(&keys.open(sender, &session, &sealed)?, &session))
    };
    let (dealer, owner) = (stream(Sender::Dealer)?, stream(Sender::Owner)?);
    compute(&mut frames, &dealer, &owner)
}

#[inline(never)] // or the blob stays on the stack of the whole computation
fn keys(storage: &mut Storage) -> Result<DeviceKeys, Error> {
    let mut blob = zeroize::Zeroizing::new([0; seeds::BLOB_BYTES]);
    storage.blob(&mut blob)?;
    Ok(DeviceKeys::from_blob(&blob)?)
}

impl<R, K, const INPUTS: usize, const OUTPUTS: usize, const ARENA: usize> Computation<R, K, INPUTS, OUTPUTS, ARENA>
where
    R: FnOnce(&mut Party<'_, u32>, &mut [u32], &mut [u32]) -> Result<(), link::Error>,
    K: Kernels<u32>,
{
    #[inline(never)] // as above, for what opening a seed takes
    fn compute(self, frames: &mut Frames<Port>, dealer: &dyn Prg, owner: &dyn Prg) -> Result<(), Error> {
        let Self { run, kernels, inputs, outputs, arena } = self;
        let low_water = Cell::new(arena.len());
        fill(owner, MaskId::default(), 0, inputs);
        let mut party = Party {
            role: Role::Server0,
            link: &mut FirstLink(frames),
            correlations: &mut Server::new(dealer, kernels, 0, None),
            kernels,
            trace: &mut NoTrace,
            alarms: None,
            arena,
            low_water: &low_water,
        };
        run(&mut party, inputs, outputs)?;
        defmt::info!("arena words left {=usize}", low_water.get());
        pad(owner, outputs);
        frames.send(Kind::Result, [u32::bytes(outputs)].into_iter())?;
        Ok(())
    }
}

/// Hides the outputs from all but the owner of the data. The inputs were lane 0 of its stream; this
/// is lane 1.
fn pad<const OUTPUTS: usize>(owner: &dyn Prg, outputs: &mut [u32; OUTPUTS]) {
    let mut pad = [0; OUTPUTS];
    fill(owner, PAD, 0, &mut pad);
    for (word, pad) in outputs.iter_mut().zip(pad) {
        *word = word.add(pad);
    }
}
