#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, clippy::cast_precision_loss)]

use super::*;
use crate::{
    engine::plan::plan,
    job::{Affine, Column as Reading, Data, Held, Place, Records, Reports, Scale, Senders, Task},
    kernel::{HostWord, best},
    lanes::Lane,
    train::{real, signed},
};
use std::sync::{Arc, Mutex};
use symbolon_core::layer::{AnyLayer, Dense, Shape};
use symbolon_core::{
    correlation::Whole,
    link::Alone,
    party::{Role, Trace},
    prg::{ChaCha20Prg, Prg, Seed},
    word::word_bytes,
};

const RECORDS: usize = 150;

/// Words that look random.
fn noise(seed: u64) -> impl FnMut() -> u64 {
    let mut state = seed;
    move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// Readings of all widths that a ring holds, after each other in a record, then a label of
/// `label_bits` bits.
fn job(ring_bits: u32, label_bits: u32, classes: usize) -> Job {
    let mut job = Job::digits().unwrap();
    if ring_bits == 32 {
        job.numbers = crate::job::Numbers { ring_bits, frac_bits: 11, grad_frac_bits: 15, ..job.numbers };
        let adam = crate::job::Adam::for_numbers(&job.numbers);
        job.optimizer = crate::job::Optimizer::Adam(adam);
    }
    let widths = [32, 16, 8, 16, 8, 1, 1].into_iter().filter(|bits| *bits < ring_bits);
    let mut at = 0;
    let columns = widths.map(|bits| {
        let place = Place { bits, at };
        at += bits;
        Reading { place, offset: -0.75, step: 3.5 / 2f64.powi(bits.cast_signed()) }
    });
    let columns: Vec<Reading> = columns.collect();
    let at = at.next_multiple_of(8);
    let label = Place { bits: label_bits, at };
    job.data = Data {
        shape: Shape::vector(u32::try_from(columns.len()).unwrap()),
        train_records: RECORDS,
        test_records: 0,
        augment: None,
        task: Task::Classes(classes),
        labels_per_record: 1,
        scale: Scale::Columns(
            (0..columns.len()).map(|i| Affine { offset: i as f64 / 4.0, divide: -0.8 }.into()).collect(),
        ),
        format: Format::Reports(Reports {
            records: Records { schema: [1; 32], bytes: at / 8 + 1 },
            about: None,
            manifest: [2; 32],
            columns,
            target: Target::Label(label),
            train: Senders::All,
            test: Held::None,
        }),
    };
    job.network = crate::job::Network::chain([AnyLayer::Dense(Dense::new(u32::try_from(job.outputs()).unwrap()))]);
    job.reveal.metrics = false;
    job.lanes = crate::job::Lanes { lanes: 3, tile: 64 };
    job.validate().unwrap();
    job
}

/// Inputs of whole random words.
fn inputs<W: Word>(job: &Job, seed: u64) -> Inputs<W> {
    let (mut inputs, mut next) = (Inputs::in_memory(job), noise(seed));
    let Inputs { train, train_labels, .. } = &mut inputs;
    train
        .memory_mut()
        .unwrap()
        .iter_mut()
        .chain(train_labels.memory_mut().unwrap())
        .for_each(|word| *word = W::from_u64(next()));
    inputs
}

/// Counts what an audit would see.
struct Seen(Arc<Mutex<usize>>);

impl<W: Word> Trace<W> for Seen {
    fn enter(&mut self, _: u16, _: &'static str) {}
    fn opened(&mut self, words: &[W], _: W, _: u32) {
        *self.0.lock().unwrap() += words.len();
    }
}

/// Lifts in the clear, in an arena of the plan's size.
fn lifted<W: HostWord + Word>(job: &Job, inputs: Inputs<W>, salt: u8) -> Inputs<W> {
    let prgs = [salt, !salt].map(|seed| ChaCha20Prg::new(&Seed::from_bytes(&[seed; 32]), &[3; 16]));
    let prgs: [&dyn Prg; 2] = [&prgs[0], &prgs[1]];
    let arena = plan(job).unwrap().arena_bytes as usize / word_bytes::<W>();
    let seen = Arc::new(Mutex::new(0));
    let lanes = (0..job.lanes.lanes).map(|lane| {
        Some(Lane {
            link: Box::new(Alone),
            correlations: Box::new(Whole::new(prgs, best::<W>(), lane)),
            trace: Box::new(Seen(Arc::clone(&seen))),
            arena: Secret::zeros(arena),
        })
    });
    let mut lanes = Lanes::new(Role::Clear, best::<W>(), lanes.collect(), 1);
    let inputs = into_ring(&mut lanes, job, inputs).unwrap();
    assert_eq!(*seen.lock().unwrap(), 0, "an audit has nothing to learn from full ranges");
    inputs
}

/// Any words are codes in range, and become the reals that the schema says.
fn values<W: HostWord + Word>(ring_bits: u32) {
    let job = job(ring_bits, 3, 5);
    let Format::Reports(reports) = &job.data.format else { panic!("no reports") };
    let unit = 2f64.powi(-job.numbers.frac_bits.cast_signed());
    for salt in 0..20 {
        let codes = inputs::<W>(&job, u64::from(salt));
        let out = lifted(&job, inputs::<W>(&job, u64::from(salt)), salt);
        for (i, (code, word)) in codes.train.memory().unwrap().iter().zip(out.train.memory().unwrap()).enumerate() {
            let (features, column) = (job.data.features(), &reports.columns[i % job.data.features()]);
            let code = signed(*code).cast_unsigned() & ((1 << column.place.bits) - 1);
            let scale = job.data.scale.affine(i % features, features).unwrap();
            let want = (column.offset + column.step * code as f64 - scale.offset) / scale.divide;
            let got = real(&job, *word);
            // The dither is within a unit; the slope's rounding is far below one for these ranges.
            assert!((got - want).abs() <= 1.25 * unit, "{} bits, code {code}: {got}, not {want}", column.place.bits);
        }
    }
}

#[test]
fn any_words_become_values_in_range() {
    values::<u64>(64);
    values::<u32>(32);
}

#[test]
fn labels_past_the_last_class_weigh_nothing() {
    for (bits, classes) in [(3, 5), (1, 2), (8, 255), (2, 4)] {
        let job = job(64, bits, classes);
        let codes = inputs::<u64>(&job, 5);
        let out = lifted(&job, inputs::<u64>(&job, 5), 1);
        assert_eq!(out.train_labels.len(), RECORDS * classes);
        for (code, row) in
            codes.train_labels.memory().unwrap().iter().zip(out.train_labels.memory().unwrap().chunks_exact(classes))
        {
            let class = (code & ((1 << bits) - 1)) as usize;
            let want: Vec<u64> = (0..classes).map(|i| u64::from(i == class)).collect();
            assert_eq!(row, want, "code {class} of {classes} classes");
        }
    }
}

#[test]
fn the_mean_of_many_liftings_is_the_value() {
    let job = job(32, 3, 5);
    let mut sums = vec![0.0; RECORDS * job.data.features()];
    let times = 200;
    for salt in 0..times {
        let out = lifted(&job, inputs::<u32>(&job, 8), salt);
        sums.iter_mut().zip(out.train.memory().unwrap()).for_each(|(sum, word)| *sum += real(&job, *word));
    }
    let codes = inputs::<u32>(&job, 8);
    let lines = job.data.lines();
    let unit = 2f64.powi(-11);
    for (i, (sum, code)) in sums.iter().zip(codes.train.memory().unwrap()).enumerate() {
        let line = lines[i % lines.len()];
        let want = line.first + line.slope * f64::from(code & ((1 << line.bits) - 1));
        assert!((sum / f64::from(times) - want).abs() < 0.4 * unit, "{i}");
    }
}
