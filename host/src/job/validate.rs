//! The rules that a job keeps, whether it was read from a file or sent by a peer.
//!
//! Limits bound every allocation of a job and keep fixed-point words inside the ring for the
//! magnitudes that training shows (the range audit finds the needs of a data set).

mod arrays;
mod reports;

use std::collections::BTreeSet;
use std::path::{Component, Path};

use super::form::Kind;
use super::metrics;
use super::optimizer::MAX_DECAY;
use super::{
    Adam, Affine, Asked, ClosedForm, ColumnScale, Columns, Csv, Data, Dyadic, Format, Held, Invalid, Job, Newton,
    Numbers, Optimizer, Rule, Scale, Schedule, Task, TestSet,
};

const MAX_FEATURES: usize = 1 << 16;
const MAX_RECORDS: usize = 1 << 28;
/// Features of all records together, or outputs: a table of 2^34 words is shorter than a ChaCha20
/// stream.
const MAX_CELLS: u64 = 1 << 34;
/// As many as a softmax takes.
const MAX_CLASSES: usize = 255;
/// Outputs of a regression.
const MAX_TARGETS: usize = 255;
const MAX_LABELS: usize = 4096;
/// Steps of a job.
const MAX_STEPS: u64 = 1 << 22;
const MAX_PARAMETERS: usize = 1 << 30;
const MAX_EPOCHS: u32 = 1 << 20;
const MAX_BATCH: usize = 1 << 16;
const MAX_LANES: u16 = 64;
/// A tile is whole words of bit planes.
const TILE_MULTIPLE: usize = 64;
const MAX_TILE: usize = 1 << 22;
const MAX_REFRESH: u32 = 1 << 8;
/// Of a momentum above 0.001 in 8 significant bits.
const MAX_MOMENTUM_SHIFT: u32 = 17;
/// Bounds the list of column names.
const MAX_NAMES: usize = MAX_FEATURES + 1;
const MAX_MISSING: usize = 1024;
const MAX_NAME_BYTES: usize = 64;
const MAX_PATH_BYTES: usize = 1024;
/// All strings of a job together.
const MAX_TEXT_BYTES: usize = 1 << 18;
/// Far inside of `f32`.
const MAX_REAL: f64 = 1e30;

type Checked = Result<(), Invalid>;

/// `asked` are the numbers of the job's file.
pub(super) fn validate(job: &Job, asked: &Asked) -> Checked {
    name(&job.name)?;
    if let Some(from) = &job.from {
        name(&from.name)?;
        between("from (version)", u64::from(from.version), 1, u64::from(u32::MAX))?;
    }
    data(job)?;
    numbers(&job.numbers)?;
    reports::lines(&job.data, &job.numbers)?;
    network(job)?;
    training(job)?;
    super::lengths::validate(job)?;
    super::network::validate_layers(job)?;
    optimizer(job, asked)?;
    super::newton::validate(job)?;
    super::closed_form::validate(job)?;
    job.holds_numbers(asked)?;
    between("lanes.lanes", u64::from(job.lanes.lanes), 1, u64::from(MAX_LANES))?;
    between("lanes.tile", wide(job.lanes.tile), wide(TILE_MULTIPLE), wide(MAX_TILE))?;
    let multiple = Rule::MultipleOf { got: wide(job.lanes.tile), of: wide(TILE_MULTIPLE) };
    hold(job.lanes.tile.is_multiple_of(TILE_MULTIPLE), "lanes.tile", multiple)?;
    reveal(job)?;
    super::early_stop::validate(job)?;
    super::checkpoint::validate(job)
}

fn hold(kept: bool, key: &str, rule: Rule) -> Checked {
    if kept { Ok(()) } else { Err(Invalid { key: key.to_owned(), rule }) }
}

fn wide(n: usize) -> u64 {
    n as u64 // usize has at most 64 bits
}

fn between(key: &str, got: u64, min: u64, max: u64) -> Checked {
    hold((min..=max).contains(&got), key, Rule::Between { got, min, max })
}

fn real(key: &str, got: f64) -> Checked {
    let (min, max) = (-MAX_REAL, MAX_REAL);
    hold((min..=max).contains(&got), key, Rule::RealBetween { got, min, max })
}

fn divisor(key: &str, got: f64) -> Checked {
    real(key, got)?;
    hold(got.abs() >= 1.0 / MAX_REAL, key, Rule::Zero)
}

pub(super) fn name(name: &str) -> Checked {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let kept = !name.is_empty() && name.len() <= MAX_NAME_BYTES && name.chars().all(plain);
    hold(kept, "name", Rule::Name { got: name.chars().take(MAX_NAME_BYTES + 1).collect() })
}

fn data(job: &Job) -> Checked {
    let data = &job.data;
    between("data.shape (features)", wide(data.features()), 1, wide(MAX_FEATURES))?;
    between("data.train_records", wide(data.train_records), u64::from(job.from.is_none()), wide(MAX_RECORDS))?;
    between("data.test_records", wide(data.test_records), u64::from(job.is_evaluation()), wide(MAX_RECORDS))?;
    if let Some(augment) = &data.augment {
        let files = !matches!(data.format, Format::Reports(_));
        hold(files, "data.augment", Rule::UnusedBy { by: "[data.reports], whose records are split at their devices" })?;
        augment.validate(data)?;
        between("data.augment (copies times records)", wide(data.train_rows()), 1, wide(MAX_RECORDS))?;
    }
    labels(job)?;
    let cells = wide(data.features().max(job.label_words())) * (wide(data.train_rows()) + wide(data.test_records));
    between("data (features times records)", cells, 1, MAX_CELLS)?;
    match &data.task {
        Task::Classes(classes) => between("data.classes", wide(*classes), 2, wide(MAX_CLASSES))?,
        Task::Regression(targets) => {
            between("data.target (number)", wide(targets.len()), 1, wide(MAX_TARGETS))?;
            match targets[..] {
                [target] => affine("data.target", target)?,
                _ => affines("data.target", targets)?,
            }
        }
    }
    scale(&data.scale, data.features())?;
    let has_test = match &data.format {
        Format::Idx(idx) => {
            path("data.idx.train_images", &idx.train_images)?;
            path("data.idx.train_labels", &idx.train_labels)?;
            path("data.idx.test_images", &idx.test_images)?;
            path("data.idx.test_labels", &idx.test_labels)?;
            true
        }
        Format::Csv(csv) => {
            self::csv(csv, data)?;
            csv.test != TestSet::None
        }
        Format::Reports(reports) => {
            self::reports::reports(reports, data)?;
            reports.test != Held::None
        }
        Format::Cifar10(files) => arrays::cifar("data.cifar10", [&files.train, &files.test], data.features())?,
        Format::Cifar100(files) => arrays::cifar("data.cifar100", [&files.train, &files.test], data.features())?,
        Format::Npy(files) => arrays::npy("data.npy", files)?,
        Format::Npz(set) => {
            path("data.npz.file", &set.file)?;
            arrays::npy("data.npz", &set.members())?
        }
    };
    hold(has_test == (data.test_records > 0), "data.test_records", Rule::TestRecords { got: data.test_records })
}

/// Several labels a record need classes, NPY or NPZ files, and no noise: noise is scaled for one
/// label.
fn labels(job: &Job) -> Checked {
    let data = &job.data;
    between("data.labels_per_record", wide(data.labels_per_record), 1, wide(MAX_LABELS))?;
    let most = wide(data.train_rows().max(data.test_records)) * wide(data.labels_per_record);
    between("data.labels_per_record (times records)", most, 1, wide(MAX_RECORDS))?;
    let arrays = matches!(data.format, Format::Npy(_) | Format::Npz(_));
    let fit = arrays && matches!(data.task, Task::Classes(_)) && job.reveal.noise.is_none();
    hold(data.labels_per_record == 1 || fit, "data.labels_per_record", Rule::SeveralLabels)
}

fn scale(scale: &Scale, features: usize) -> Checked {
    let per_feature = |got| hold(got == features, "data.scale", Rule::PerFeature { got, features });
    match scale {
        Scale::Divide(by) => divisor("data.scale.divide", *by),
        Scale::Columns(columns) => {
            per_feature(columns.len())?;
            columns.iter().enumerate().try_for_each(|(i, own)| match *own {
                ColumnScale::Affine(own) => affine(&format!("data.scale.columns[{i}]"), own),
                ColumnScale::Above(threshold) => real(&format!("data.scale.columns[{i}].above"), threshold),
            })
        }
        Scale::Channels(channels) => {
            let got = channels.len();
            hold(got > 0, "data.scale.channels", Rule::Empty)?;
            hold(features.is_multiple_of(got), "data.scale.channels", Rule::Channels { got, features })?;
            affines("data.scale.channels", channels)
        }
        Scale::Ranges(ranges) => {
            per_feature(ranges.len())?;
            ranges.iter().enumerate().try_for_each(|(i, &(least, greatest))| {
                let key = format!("data.scale.ranges[{i}]");
                real(&key, least)?;
                real(&key, greatest)?;
                hold(least < greatest, &key, Rule::Order { least, greatest })
            })
        }
    }
}

fn affines(key: &str, affines: &[Affine]) -> Checked {
    affines.iter().enumerate().try_for_each(|(i, own)| affine(&format!("{key}[{i}]"), *own))
}

fn affine(key: &str, affine: Affine) -> Checked {
    real(&format!("{key}.offset"), affine.offset)?;
    divisor(&format!("{key}.divide"), affine.divide)
}

fn path(key: &str, name: &str) -> Checked {
    let inside = Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
    let kept = inside && !name.is_empty() && name.len() <= MAX_PATH_BYTES && !name.contains(['\0', '\\']);
    hold(kept, key, Rule::RelativePath { got: name.chars().take(MAX_PATH_BYTES).collect() })
}

fn csv(csv: &Csv, data: &Data) -> Checked {
    let features = data.features();
    path("data.csv.train", &csv.train)?;
    match &csv.test {
        TestSet::None => {}
        TestSet::File(name) => path("data.csv.test", name)?,
        TestSet::Every(every) => {
            // An evaluation may take every row.
            let least = if data.train_records == 0 { 1 } else { 2 };
            between("data.csv.test_every", wide(*every), least, wide(MAX_RECORDS))?;
        }
        TestSet::Fraction(got) => {
            let (min, max) = (1e-6, 0.999_999);
            hold((min..=max).contains(got), "data.csv.test_fraction", Rule::RealBetween { got: *got, min, max })?;
        }
    }
    hold(Csv::is_delimiter(csv.delimiter), "data.csv.delimiter", Rule::Delimiter { got: csv.delimiter })?;
    let want = match &data.task {
        Task::Classes(_) => 1,
        Task::Regression(targets) => targets.len(),
    };
    hold(csv.labels.len() == want, "data.csv.label", Rule::Labels { got: csv.labels.len(), want })?;
    let mut seen = BTreeSet::new();
    for label in &csv.labels {
        hold(!label.is_empty(), "data.csv.label", Rule::Empty)?;
        hold(seen.insert(label), "data.csv.label", Rule::Duplicate { got: label.clone() })?;
    }
    between("data.csv.missing", wide(csv.missing.len()), 0, wide(MAX_MISSING))?;
    let text = |names: &[String]| names.iter().map(String::len).sum::<usize>();
    let (key, names) = match &csv.columns {
        Columns::All => ("data.csv.columns", &[][..]),
        Columns::Only(only) => ("data.csv.columns", &only[..]),
        Columns::Except(except) => ("data.csv.except", &except[..]),
    };
    if csv.columns != Columns::All {
        between(key, wide(names.len()), 1, wide(MAX_NAMES))?;
        for name in names {
            hold(seen.insert(name), key, Rule::Duplicate { got: name.clone() })?;
        }
    }
    if let Columns::Only(only) = &csv.columns {
        hold(only.len() == features, key, Rule::PerFeature { got: only.len(), features })?;
    }
    let bytes = text(names) + text(&csv.missing) + text(&csv.labels);
    between("data.csv (bytes of names)", wide(bytes), 1, wide(MAX_TEXT_BYTES))
}

/// Also called before defaults are derived from the numbers.
pub(super) fn numbers(numbers: &Numbers) -> Checked {
    let (frac_max, grad_max) = match numbers.ring_bits {
        32 => (12, 15),
        64 => (24, 31),
        got => return hold(false, "numbers.ring_bits", Rule::RingBits { got }),
    };
    between("numbers.frac_bits", u64::from(numbers.frac_bits), 4, frac_max)?;
    between("numbers.grad_frac_bits", u64::from(numbers.grad_frac_bits), u64::from(numbers.frac_bits), grad_max)
}

fn network(job: &Job) -> Checked {
    super::network::validate(job, MAX_PARAMETERS)?;
    super::loss::validate(job)
}

fn training(job: &Job) -> Checked {
    let training = &job.training;
    between("training.epochs", u64::from(training.epochs), 1, u64::from(MAX_EPOCHS))?;
    between("training.batch", wide(training.batch), 1, wide(MAX_BATCH))?;
    let power = Rule::PowerOfTwo { got: wide(training.batch) };
    hold(training.batch.is_power_of_two(), "training.batch", power)?;
    if let Some(limit) = training.memory_limit_mib {
        between("training.memory_limit_mib", u64::from(limit), 1, u64::from(u32::MAX))?;
    }
    if let Some(rows) = training.micro_batch {
        let key = "training.micro_batch";
        between(key, wide(rows), 1, wide(training.batch))?;
        hold(rows.is_power_of_two(), key, Rule::PowerOfTwo { got: wide(rows) })?;
    }
    if job.is_evaluation() {
        return super::evaluation::validate(job);
    }
    let records = job.data.train_records;
    let large = Rule::BatchTooLarge { got: training.batch, records };
    hold(training.batch <= records, "training.batch", large)?;
    let steps = u64::from(training.epochs) * wide(job.steps_per_epoch());
    between("training.epochs (times steps an epoch)", steps, 1, MAX_STEPS)
}

fn optimizer(job: &Job, asked: &Asked) -> Checked {
    let ring_bits = job.numbers.ring_bits;
    // Adam squares the truncated gradient, which takes 2 shift <= k - 2.
    let (min, max) = match job.optimizer {
        Optimizer::Sgd { .. }
        | Optimizer::Momentum { .. }
        | Optimizer::Nesterov { .. }
        | Optimizer::Newton(_)
        | Optimizer::ClosedForm(_) => (0, ring_bits - 2),
        Optimizer::Adam(_) | Optimizer::AmsGrad(_) | Optimizer::AdamW(_) => (1, ring_bits / 2 - 1),
    };
    let kept = job.grad_shift().is_some_and(|shift| (min..=max).contains(&shift));
    let sum = 2 * i64::from(job.numbers.frac_bits) + i64::from(job.batch_log2());
    let shift = sum - i64::from(job.numbers.grad_frac_bits);
    hold(kept, "numbers.grad_frac_bits", Rule::GradShift { shift, min, max })?;
    refinements(job)?;
    match job.optimizer {
        Optimizer::Sgd { learning_rate } => constant("optimizer.learning_rate", learning_rate, Dyadic::MAX_FACTOR),
        Optimizer::Momentum { learning_rate, momentum } | Optimizer::Nesterov { learning_rate, momentum } => {
            constant("optimizer.learning_rate", learning_rate, Dyadic::MAX_FACTOR)?;
            let most = if ring_bits > 32 { MAX_DECAY } else { Dyadic::MAX_FACTOR };
            constant("optimizer.momentum", momentum, most)?;
            // Steps truncate by it, beside others.
            let fine = Rule::RealBetween { got: momentum.value(), min: 0.001, max: 1.0 };
            hold(momentum.shift <= MAX_MOMENTUM_SHIFT, "optimizer.momentum", fine)?;
            let got = asked.momentum.unwrap_or(momentum.value());
            hold(momentum.value() < 1.0, "optimizer.momentum", Rule::below_one(got, ring_bits))
        }
        Optimizer::Adam(adam) | Optimizer::AdamW(adam) => buckets(&adam, &job.numbers),
        Optimizer::AmsGrad(adam) => {
            hold(!adam.precise, "optimizer.inverse_root", Rule::UnusedBy { by: "amsgrad" })?;
            buckets(&adam, &job.numbers)
        }
        Optimizer::Newton(Newton { ridge, .. }) | Optimizer::ClosedForm(ClosedForm { ridge, .. }) => {
            constant("optimizer.ridge", ridge, Dyadic::MAX_FACTOR)
        }
    }
}

/// Clipping, weight decay and schedule, each by itself.
fn refinements(job: &Job) -> Checked {
    let own = &job.refinements;
    let steps = u64::from(job.training.epochs) * wide(job.steps_per_epoch());
    let (got, key) = (own.warm_up_steps, "optimizer.warm_up_steps");
    hold(got == 0 || u64::from(got) < steps, key, Rule::WarmUp { got, steps })?;
    if let Schedule::Step { every_epochs, factor } = own.schedule {
        let max = u64::from(MAX_EPOCHS);
        between("optimizer.schedule.every_epochs", u64::from(every_epochs), 1, max)?;
        let key = "optimizer.schedule.factor";
        constant(key, factor, Dyadic::MAX_FACTOR)?;
        hold(factor.value() < 1.0, key, Rule::ScheduleFactor { got: factor.value() })?;
    }
    if let Some(clip) = own.clip {
        constant("optimizer.clip", clip, Dyadic::MAX_FACTOR)?;
        let (unit, ring_bits) = (job.numbers.frac_bits + job.sum_shift(), job.numbers.ring_bits);
        let most = 1 << (ring_bits - 3);
        let (min, max) = (super::pow2(unit).recip(), (super::pow2(ring_bits - 3) - 1.0) / super::pow2(unit));
        let rule = Rule::Clip { got: clip.value(), min, max, ring_bits };
        hold((1..most).contains(&job.clip_bound(clip)), "optimizer.clip", rule)?;
    }
    if let (Some(bound), Some(clip)) = (own.clip_norm, job.norm_clip()) {
        constant("optimizer.clip_norm", bound, Dyadic::MAX_FACTOR)?;
        let [min, max] = clip.limits();
        let rule = Rule::ClipNorm { got: bound.value(), min, max };
        hold(clip.fits(job.numbers.ring_bits), "optimizer.clip_norm", rule)?;
    }
    let key = "optimizer.weight_decay";
    let adam = matches!(job.optimizer, Optimizer::Adam(_) | Optimizer::AmsGrad(_));
    let adamw = matches!(job.optimizer, Optimizer::AdamW(_));
    hold(!adamw || own.weight_decay.is_some(), key, Rule::DecayMissing)?;
    let Some(decay) = own.weight_decay else { return Ok(()) };
    hold(!adam, key, Rule::DecayOfAdam)?;
    constant(key, decay, Dyadic::MAX_FACTOR)?;
    let rule = Rule::RealBetween { got: decay.value(), min: 0.0, max: 255.0 / 256.0 };
    hold(decay.value() < 1.0, key, rule)
}

fn constant(key: &str, constant: Dyadic, most: u32) -> Checked {
    let Dyadic { factor, shift } = constant;
    between(key, u64::from(factor), 1, u64::from(most))?;
    between(key, u64::from(shift), 0, u64::from(Dyadic::MAX_SHIFT))?;
    // One constant has one form, or equal jobs would hash differently.
    hold(shift == 0 || factor % 2 == 1, key, Rule::NotReduced { factor, shift })
}

/// Thresholds on `v` lie inside the word that is opened for it, the upper bits of `(2^second_shift
/// - 1) v + g^2`.
fn buckets(adam: &Adam, numbers: &Numbers) -> Checked {
    let ring_bits = numbers.ring_bits;
    let second_shift = adam.second_shift();
    between(
        "optimizer.first_threshold_log2",
        u64::from(adam.first_threshold_log2),
        2,
        if adam.precise { 2 } else { u64::from(ring_bits - second_shift - 4) },
    )?;
    let all = adam.most_buckets(ring_bits);
    between("optimizer.buckets", u64::from(adam.buckets), if adam.precise { all.into() } else { 2 }, u64::from(all))?;
    // What the product with the power of two is truncated by; a mapped root has bits beyond it.
    let spare = 10 + adam.surplus(numbers).cast_signed();
    let (min, max) = (1 - adam.buckets.cast_signed(), ring_bits.cast_signed() - spare - adam.buckets.cast_signed());
    let key = "optimizer.learning_rate";
    let at = |shift| Adam { shift, rate: Dyadic { factor: 1, shift: 0 }, ..*adam }.asked_rate(numbers);
    let rate = Rule::AdamRate { got: adam.asked_rate(numbers), min: at(max), max: at(min) };
    hold((min..=max).contains(&adam.shift), key, rate)?;
    constant(key, adam.rate, Dyadic::MAX_FACTOR)?;
    let got = adam.rate.value();
    hold((1.0..2.0).contains(&got), key, Rule::RealBetween { got, min: 1.0, max: 255.0 / 128.0 })?;
    between("optimizer.refresh_every", u64::from(adam.refresh_every), 1, u64::from(MAX_REFRESH))?;
    let lazy_second_moment = Rule::LazyRefresh { got: adam.refresh_every, want: Adam::LAZY_REFRESH };
    hold(
        !adam.lazy_second_moment || adam.refresh_every == Adam::LAZY_REFRESH,
        "optimizer.refresh_every",
        lazy_second_moment,
    )
}

fn reveal(job: &Job) -> Checked {
    hold(!job.reveal.metrics || job.data.test_records > 0, "reveal.metrics", Rule::AccuracyNeedsTest)?;
    hold(!job.reveal.alarm || job.reveal.any_result(), "reveal.alarm", Rule::AlarmAlone)?;
    metrics::validate(job)?;
    if let Some(noise) = &job.reveal.noise {
        super::reveal::validate(noise)?;
        let fits = Kind::all(job).all(|kind| kind.form(job).is_some_and(|form| form.bits() < 64));
        hold(fits, "reveal.epsilon", Rule::NoiseTooLarge)?;
    }
    // Stored targets are what the schema declares, at most; those of files are checked with the
    // data.
    let Some(line) = job.data.target_line() else { return Ok(()) };
    let (far, limit) = (line.spread(), job.error_limit());
    hold(far < limit, "data.reports.label", Rule::SquareTooFar { far, limit })
}
