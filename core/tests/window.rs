//! Window features against exact integers and floating point, over all samples that there are.
#![allow(clippy::unwrap_used, clippy::cast_precision_loss, missing_docs)]

use proptest::prelude::*;
use symbolon_core::report::window::{STATISTICS, Window, code};

/// Features of a window of one channel.
fn features<const ROWS: usize>(samples: &[i16]) -> [u16; STATISTICS] {
    let mut window = Window::<1, ROWS>::new();
    let mut ended = samples.iter().filter_map(|sample| window.push(&[*sample]));
    let features = ended.next().unwrap();
    assert!(ended.next().is_none());
    features.map(|[code]| code)
}

/// Holds each code to its definition, in integers that cannot overflow and without a root.
fn check(samples: &[i16], [mean, deviation, least, greatest, change]: [u16; STATISTICS]) {
    let n = i128::try_from(samples.len()).unwrap();
    let wide = || samples.iter().map(|x| i128::from(*x));
    let sum: i128 = wide().sum();

    let twice_error = 2 * (n * (i128::from(mean) - 32768) - sum);
    assert!(-n < twice_error && twice_error <= n, "nearest mean, ties up");

    let four_n2_variance = 4 * (n * wide().map(|x| x * x).sum::<i128>() - sum * sum);
    let square_below = |code: i128| code * code * n * n <= four_n2_variance;
    assert!(square_below(deviation.into()) && !square_below(i128::from(deviation) + 1), "deviation, rounded down");

    assert_eq!(i128::from(least) - 32768, wide().min().unwrap());
    assert_eq!(i128::from(greatest) - 32768, wide().max().unwrap());

    let changes: i128 = wide().zip(wide().skip(1)).map(|(a, b)| (b - a).abs()).sum();
    let twice_error = 2 * ((n - 1) * i128::from(change) - changes);
    assert!(-(n - 1) < twice_error && twice_error < n, "nearest mean absolute difference, ties up");
}

/// The deviation as a textbook has it, two passes over floats, within the half step that is a code's.
fn check_float(samples: &[i16], [_, deviation, ..]: [u16; STATISTICS]) {
    let n = samples.len() as f64;
    let mean = samples.iter().map(|x| f64::from(*x)).sum::<f64>() / n;
    let variance = samples.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum::<f64>() / n;
    let error = 2.0 * variance.sqrt() - f64::from(deviation);
    assert!((-1e-6..1.0 + 1e-6).contains(&error), "{error}");
}

fn check_all<const ROWS: usize>(samples: &[i16]) {
    let codes = features::<ROWS>(samples);
    check(samples, codes);
    check_float(samples, codes);
}

/// The whole range, with its ends as likely as its inside.
fn sample() -> impl Strategy<Value = i16> {
    prop_oneof![any::<i16>(), Just(i16::MIN), Just(i16::MAX), -3i16..4]
}

proptest! {
    #[test]
    fn agrees_with_exact_integers(samples in prop::collection::vec(sample(), 128)) {
        check_all::<128>(&samples);
        check_all::<2>(&samples[..2]);
        check_all::<3>(&samples[..3]);
        check_all::<100>(&samples[..100]);
    }

    #[test]
    fn quiet_windows_keep_their_half_steps(middle in -32000i16..32000, noise in prop::collection::vec(0i16..4, 128)) {
        check_all::<128>(&noise.iter().map(|x| middle + x).collect::<Vec<_>>());
    }

    #[test]
    fn channels_are_apart_and_windows_follow_each_other(rows in prop::collection::vec(any::<[i16; 3]>(), 24)) {
        let mut window = Window::<3, 8>::new();
        let got: Vec<_> = rows.iter().filter_map(|row| window.push(row)).collect();
        prop_assert_eq!(got.len(), 3);
        for (features, rows) in got.iter().zip(rows.chunks(8)) {
            for channel in 0..3 {
                let samples: Vec<i16> = rows.iter().map(|row| row[channel]).collect();
                check(&samples, features.map(|statistic| statistic[channel]));
            }
        }
    }
}

#[test]
fn edges() {
    const LEAST: u16 = 0;
    const GREATEST: u16 = u16::MAX;
    let constant = |sample| features::<128>(&[sample; 128]);
    assert_eq!(constant(i16::MIN), [LEAST, 0, LEAST, LEAST, 0]);
    assert_eq!(constant(i16::MAX), [GREATEST, 0, GREATEST, GREATEST, 0]);
    assert_eq!(constant(0), [0x8000, 0, 0x8000, 0x8000, 0]);
    let alternating: Vec<i16> = [i16::MIN, i16::MAX].repeat(64);
    assert_eq!(features::<128>(&alternating), [0x8000, GREATEST, LEAST, GREATEST, GREATEST]); // mean -1/2, up to 0
    assert_eq!([code(i16::MIN), code(-1), code(0), code(i16::MAX)], [0, 0x7fff, 0x8000, 0xffff]);
}

/// Sums of the longest window are the largest: nothing overflows there.
#[test]
fn the_longest_window() {
    const ROWS: usize = 1 << 16;
    check_all::<ROWS>(&[i16::MAX; ROWS]);
    check_all::<ROWS>(&[i16::MIN; ROWS]);
    check_all::<ROWS>(&[i16::MIN, i16::MAX].repeat(ROWS / 2));
    check_all::<ROWS>(&[[i16::MAX; ROWS / 2], [i16::MIN; ROWS / 2]].concat());
}

#[test]
fn a_cleared_window_starts_again() {
    let mut window = Window::<2, 3>::new();
    assert!(window.push(&[9, -9]).is_none());
    assert_eq!((window.rows(), format!("{window:?}")), (1, "Window { rows: 1, .. }".to_owned()));
    window.clear();
    assert!(window.push(&[1, 4]).is_none() && window.push(&[2, 4]).is_none());
    let [mean, _, least, greatest, change] = window.push(&[3, 4]).unwrap();
    assert_eq!((mean, least, greatest, change), ([0x8002, 0x8004], [0x8001, 0x8004], [0x8003, 0x8004], [1, 0]));
}
