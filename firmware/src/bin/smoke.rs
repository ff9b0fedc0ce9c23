//! Shows that `symbolon-core` links and runs on a board: splits a few words and joins them again.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(not(target_os = "none"))]
fn main() {}

#[cfg(target_os = "none")]
mod program {
    use core::hint::black_box;

    use symbolon_core::{
        prg::{ChaCha20Prg, MaskId, Seed},
        share,
        word::Word,
    };
    use symbolon_firmware::board::{self, Outcome};

    #[board::entry]
    fn main() -> ! {
        let passed = splits_and_joins::<u32>() && splits_and_joins::<u64>();
        board::end(if passed { Outcome::Pass } else { Outcome::Fail })
    }

    fn splits_and_joins<W: Word + PartialEq>() -> bool {
        // A fixed seed: the emulated boards have no generator, and nothing here is secret.
        let stream = ChaCha20Prg::new(&Seed::from_bytes(&[7; 32]), &[1; 16]);
        let id = MaskId::default();
        let mut readings = [W::default(); 70];
        for (i, reading) in (0..).zip(&mut readings) {
            *reading = W::from_i64(i - 35);
        }
        let mut theirs = black_box(readings);
        share::split(&stream, id, 0, &mut theirs);
        let mut ours = [W::default(); 70];
        share::expand(&stream, id, 0, &mut ours);
        let hidden = theirs != readings && ours != readings;
        share::join(&mut ours, &theirs);
        hidden && ours == readings
    }
}
