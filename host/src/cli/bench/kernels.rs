//! `symbolon bench kernels`: how fast this machine multiplies ring matrices, and how near
//! convolutions come to it.

use super::write_json;
use crate::{
    cli::exit::Failure,
    kernel::{HostWord, available, best},
};
use serde::Serialize;
use std::{path::PathBuf, time::Instant};
use symbolon_core::{
    kernel::{Convolved, Filters, Matrix, Windows},
    word::Word,
};

/// Runs of each operation, interleaved. The fastest counts, since other programs only slow a run.
const RUNS: usize = 7;
/// Side of the square matrices whose product sets the rate.
const SIDE: usize = 768;

/// Arguments of `symbolon bench kernels`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Channels of the images, as many as filters
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=1024))]
    channels: u16,
    /// Height and width of the images
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(3..=256))]
    side: u16,
    /// Images that are convolved at once
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=256))]
    images: u16,
    /// Write the figures as JSON
    #[arg(long, value_name = "FILE", value_parser = crate::cli::out_file())]
    json: Option<PathBuf>,
}

/// One line of the report.
#[derive(Debug, Serialize)]
struct Row {
    ring_bits: u32,
    operation: &'static str,
    /// Multiply-adds of words a second, on one core.
    products_per_second: f64,
    /// The same over that of square matrices.
    of_gemm: f64,
}

/// Measures the kernels.
pub(super) fn run(args: &Args) -> Result<(), Failure> {
    say!(
        "One core; kernels: {}. Convolutions of 3 by 3 filters: {} images of {} by {} by {}.\n",
        available::<u64>().next().map_or("portable", |set| set.name),
        args.images,
        args.channels,
        args.side,
        args.side
    );
    say!("{:<34}{:>5}{:>16}{:>14}", "operation", "k", "products/s", "of gemm");
    let mut rows = measure::<u32>(args);
    rows.extend(measure::<u64>(args));
    write_json(&rows, args.json.as_deref())
}

fn measure<W: HostWord + Word>(args: &Args) -> Vec<Row> {
    let (kernels, channels) = (best::<W>(), usize::from(args.channels));
    let windows = Windows { channels, image: [args.side.into(); 2], window: [3; 2], stride: [1; 2], padding: [1; 2] };
    let filters = Filters { windows, count: channels, groups: 1 };
    let rows = usize::from(args.images);
    let ones = |n: usize| vec![W::from_u64(3); n];
    let (square, mut product) = (ones(SIDE * SIDE), ones(SIDE * SIDE));
    let (images, weights) = (ones(rows * windows.image_words()), ones(filters.weights()));
    let outputs = ones(rows * filters.output_words());
    let mut matrix = ones(filters.matrix_words());
    let mut results =
        [Convolved::Output, Convolved::Input, Convolved::Weights].map(|of| (of, ones(filters.result_words(of, rows))));
    let mut seconds = [f64::INFINITY; 4];
    for _ in 0..RUNS {
        let [first, others @ ..] = &mut seconds;
        timed(first, || {
            let flat = Matrix { words: &square, stride: SIDE, transposed: false };
            kernels.gemm(&mut product, flat, flat, [SIDE; 3]);
        });
        for ((of, result), seconds) in results.iter_mut().zip(others) {
            let arguments = match of {
                Convolved::Output => (&images, &weights),
                Convolved::Input => (&outputs, &weights),
                Convolved::Weights => (&outputs, &images),
            };
            timed(seconds, || filters.add(kernels, *of, (arguments.0, arguments.1), result, &mut matrix));
        }
    }
    let convolved = rows * filters.count * filters.matrix_words();
    let names = ["product of 768 by 768 matrices", "convolution", "its images' gradient", "its weights' gradient"];
    let counts = [SIDE * SIDE * SIDE, convolved, convolved, convolved];
    #[allow(clippy::cast_precision_loss)] // far below 2^52
    let rates: Vec<f64> = counts.iter().zip(seconds).map(|(count, seconds)| *count as f64 / seconds).collect();
    let row = |(operation, rate): (&'static str, &f64)| {
        let row = Row { ring_bits: W::BITS, operation, products_per_second: *rate, of_gemm: rate / rates[0] };
        say!("{operation:<34}{:>5}{rate:>16.3e}{:>13.0} %", W::BITS, 100.0 * row.of_gemm);
        row
    };
    names.into_iter().zip(&rates).map(row).collect()
}

/// The least of `seconds` and the time that `f` takes.
fn timed(seconds: &mut f64, f: impl FnOnce()) {
    let started = Instant::now();
    f();
    *seconds = seconds.min(started.elapsed().as_secs_f64());
}
