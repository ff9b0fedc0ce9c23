//! Whether what goes over the wire looks like noise, whatever the values: fixed inputs, many seeds.

use crate::harness::*;
use symbolon_core::word::Word;

const SALTS: u64 = 300;

/// Plays `job` on the same values under many seeds and holds what a server sends and what both open against uniform, independent words:
/// each bit is set half the time, bytes are equally frequent, and no two words hide behind the same mask.
pub fn assert_uniform<W: Word>(job: &impl Job, inputs: &[Shared<W>]) {
    let runs: Vec<Outcome<W>> = (0..SALTS).map(|salt| play(job, inputs, 1000 + salt)).collect();
    for bytes in [|run: &Outcome<W>| run.sent.clone(), |run: &Outcome<W>| run.opened.clone()] {
        let runs: Vec<Vec<u8>> = runs.iter().map(bytes).collect();
        bits_are_fair(&runs);
        bytes_are_fair(&runs);
        words_are_unrelated(&runs, W::BITS as usize / 8);
    }
}

/// Each bit within seven standard deviations of half: by chance false once in 10^11.
fn bits_are_fair(runs: &[Vec<u8>]) {
    for bit in 0..runs[0].len() * 8 {
        let set = runs.iter().filter(|run| run[bit / 8] >> (bit % 8) & 1 == 1).count() as f64;
        let half = SALTS as f64 / 2.0;
        assert!((set - half).abs() < 7.0 * (half / 2.0).sqrt(), "bit {bit} set in {set} of {SALTS} runs");
    }
}

/// Chi-square of the bytes, ten standard deviations at most.
fn bytes_are_fair(runs: &[Vec<u8>]) {
    let mut counts = [0u32; 256];
    runs.iter().flatten().for_each(|byte| counts[usize::from(*byte)] += 1);
    let expected = (runs.len() * runs[0].len()) as f64 / 256.0;
    let chi: f64 = counts.iter().map(|c| (f64::from(*c) - expected).powi(2) / expected).sum();
    assert!((chi - 255.0).abs() < 10.0 * (2.0 * 255f64).sqrt(), "chi-square {chi} with 255 degrees of freedom");
}

/// Neither the difference nor the exclusive or of two words is ever the same in two runs.
fn words_are_unrelated(runs: &[Vec<u8>], word_bytes: usize) {
    let words = |run: &Vec<u8>| -> Vec<u64> {
        let word = |bytes: &[u8]| bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
        run.chunks(word_bytes).map(word).collect()
    };
    let (a, b) = (words(&runs[0]), words(&runs[1]));
    for i in 0..a.len() {
        for j in 0..i {
            assert!(a[i] ^ a[j] != b[i] ^ b[j], "words {i} and {j} have the same mask");
            assert!(a[i].wrapping_sub(a[j]) != b[i].wrapping_sub(b[j]), "words {i} and {j} have the same mask");
        }
    }
}
