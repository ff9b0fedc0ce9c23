//! Costs of sharing, of sealing and of a sequence's inference on a board, by its own clock: each
//! operation many times, nanoseconds each on the log.
//!
//! Under QEMU with `-icount shift=0` a nanosecond is an instruction. Nothing leaves the board, so the keys may be known.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(not(target_os = "none"))]
fn main() {}

#[cfg(target_os = "none")]
mod program {
    use chacha20::ChaCha20Rng;
    use core::{cell::Cell, hint::black_box};
    use rand_core::SeedableRng;
    use static_cell::ConstStaticCell;
    use symbolon_core::{
        correlation::Server,
        link::Alone,
        party::{NoTrace, Party, Role},
        prg::{ChaCha20Prg, MaskId, Seed},
        report::{
            header::DeviceId,
            identity::{Identity, SecretKey, ServerKey},
            record::split,
            schema::Layout,
            session::Sender,
        },
    };
    use symbolon_firmware::{
        board::{self, Board, Outcome, now_ms},
        compute::{kernels::Sequences, sequence},
    };

    static ARENA: ConstStaticCell<[u32; sequence::ARENA_WORDS]> = ConstStaticCell::new([0; sequence::ARENA_WORDS]);

    #[board::entry]
    fn main() -> ! {
        let board = Board::take();
        split_halves::<32>("split 64 bytes", 1 << 16);
        split_halves::<128>("split 256 bytes", 1 << 14);
        split_halves::<512>("split 1024 bytes", 1 << 12);
        seal::<64>("seal 64 bytes", 1 << 14);
        seal::<256>("seal 256 bytes", 1 << 13);
        let identity = identity(halves(64));
        measure("start of a boot", 8, |i| {
            let started = Sender::start(&identity, i, &mut rng());
            assert!(started.is_ok());
        });
        infer();
        drop(board);
        board::end(Outcome::Pass)
    }

    /// Runs `operation` so many times and logs nanoseconds a run. The clock ticks in milliseconds: `times` should take a hundred of them.
    fn measure(name: &str, times: u32, mut operation: impl FnMut(u32)) {
        let from = now_ms();
        for i in 0..times {
            operation(i);
        }
        let nanos = (now_ms() - from) * 1_000_000;
        defmt::error!("{=str} {=u64}", name, nanos / u64::from(times));
    }

    /// The sequence node's share of an inference, without the time of its rounds: each round's answer
    /// is empty. No instruction depends on a value.
    fn infer() {
        let (stream, arena) = (ChaCha20Prg::new(&Seed::from_bytes(&[7; 32]), b"costs of a share"), ARENA.take());
        let (mut inputs, mut outputs) = ([0; sequence::INPUT_WORDS], [0; sequence::OUTPUT_WORDS]);
        let low_water = Cell::new(arena.len());
        measure("infer a sequence", 1 << 5, |_| {
            let mut party = Party {
                role: Role::Server0,
                link: &mut Alone,
                correlations: &mut Server::new(&stream, &Sequences, 0, None),
                kernels: &Sequences,
                trace: &mut NoTrace,
                alarms: None,
                arena: &mut *arena,
                low_water: &low_water,
            };
            assert!(sequence::run(&mut party, black_box(&mut inputs), &mut outputs).is_ok());
        });
    }

    fn split_halves<const N: usize>(name: &str, times: u32) {
        let layout = Layout { halves: halves(2 * N), ..Layout::default() };
        let stream = ChaCha20Prg::new(&Seed::from_bytes(&[7; 32]), b"costs of a share");
        let mut record = [0; 1024];
        let record = &mut record[..2 * N];
        measure(name, times, |request| {
            split(&layout, &stream, MaskId { request, ..MaskId::default() }, black_box(&mut *record));
        });
    }

    fn seal<const N: usize>(name: &str, times: u32) {
        let Ok((mut sender, _)) = Sender::start(&identity(halves(N)), 1, &mut rng()) else {
            board::end(Outcome::Fail);
        };
        let mut record = [0; N];
        measure(name, times, |_| {
            assert!(sender.seal(0, 0, None, black_box(&mut record)).is_ok());
        });
    }

    /// 16-bit readings in so many bytes.
    #[allow(clippy::cast_possible_truncation)] // a record of these programs
    const fn halves(bytes: usize) -> u16 {
        (bytes / 2) as u16
    }

    fn rng() -> ChaCha20Rng {
        ChaCha20Rng::from_seed([1; 32])
    }

    fn identity(halves: u16) -> Identity {
        let server = |fill| ServerKey { id: 1, key: SecretKey::from_bytes(&[fill; 32]).public() };
        Identity {
            device: DeviceId(1),
            secret: SecretKey::from_bytes(&[2; 32]),
            schema: [3; 32],
            layout: Layout { halves, ..Layout::default() },
            servers: [server(4), server(5)],
        }
    }
}
