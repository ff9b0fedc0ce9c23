//! A microcontroller as server 0 of a computation, against a host party on the serial line: see `symbolon_firmware::compute`.
//!
//! Ends with `Outcome::Pass` when it has sent its shares of the outputs, else logs why not.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(not(target_os = "none"))]
fn main() {}

#[cfg(target_os = "none")]
mod program {
    use core::cell::Cell;
    use embedded_io::{Read, ReadReady, Write};
    use static_cell::ConstStaticCell;
    use symbolon_core::{
        correlation::Server,
        link,
        party::{NoTrace, Party, Role},
        prg::{ChaCha20Prg, MaskId, Prg, fill},
        word::Word,
    };
    use symbolon_firmware::{
        board::{self, Board, Entropy, Outcome, Serial, Storage},
        compute::{
            frames::{FirstLink, Frames, Kind, Line},
            job,
            kernels::Inference,
            seeds::{self, DeviceKeys, SEALED_BYTES, Sender},
        },
    };

    /// How long the host party may be silent.
    const PATIENCE_MS: u64 = 10_000;

    static INPUTS: ConstStaticCell<[u32; job::INPUT_WORDS]> = ConstStaticCell::new([0; job::INPUT_WORDS]);
    static OUTPUTS: ConstStaticCell<[u32; job::OUTPUT_WORDS]> = ConstStaticCell::new([0; job::OUTPUT_WORDS]);
    static ARENA: ConstStaticCell<[u32; job::ARENA_WORDS]> = ConstStaticCell::new([0; job::ARENA_WORDS]);

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

    #[board::entry]
    fn main() -> ! {
        let mut board = Board::take();
        let outcome = match board.entropy().map_err(Error::from).and_then(|entropy| take_part(board, entropy)) {
            Ok(()) => Outcome::Pass,
            Err(error) => {
                defmt::error!("{}", error);
                Outcome::Fail
            }
        };
        defmt::info!("stack {=usize}", board::stack::peak_bytes());
        board::end(outcome)
    }

    fn take_part(Board { serial, mut storage, .. }: Board, mut entropy: Entropy) -> Result<(), Error> {
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

    #[inline(never)] // as above, for what opening a seed takes
    fn compute(frames: &mut Frames<Port>, dealer: &dyn Prg, owner: &dyn Prg) -> Result<(), Error> {
        let (inputs, outputs, arena) = (INPUTS.take(), OUTPUTS.take(), ARENA.take());
        let low_water = Cell::new(arena.len());
        fill(owner, MaskId::default(), 0, inputs);
        let mut party = Party {
            role: Role::Server0,
            link: &mut FirstLink(frames),
            correlations: &mut Server::new(dealer, &Inference, 0, None),
            kernels: &Inference,
            trace: &mut NoTrace,
            alarms: None,
            arena,
            low_water: &low_water,
        };
        job::run(&mut party, inputs, outputs)?;
        defmt::info!("arena words left {=usize}", low_water.get());
        pad(owner, outputs);
        frames.send(Kind::Result, [u32::bytes(outputs)].into_iter())?;
        Ok(())
    }

    /// Hides the outputs from all but the owner of the data. The inputs were lane 0 of its stream; this is lane 1.
    fn pad(owner: &dyn Prg, outputs: &mut [u32]) {
        let mut pad = [0; job::OUTPUT_WORDS];
        fill(owner, job::PAD, 0, &mut pad);
        for (word, pad) in outputs.iter_mut().zip(pad) {
            *word = word.add(pad);
        }
    }
}
