//! Every metric on every engine: against plain integers or floating point, and its cost.

use crate::{harness::*, uniform::assert_uniform};
use symbolon_core::{
    kernel::plane_words,
    link::Error,
    metric::{
        AnyMetric, Describe, Kind, Misfit, Moved, Predictions, Task, Terms, TestSet, absolute_error::AbsoluteError,
        accuracy::Accuracy, auc::Auc, confusion::Confusion, log_loss::LogLoss, perplexity::Perplexity, r2::R2,
        squared_error::SquaredError, top_k::TopK,
    },
    party::Party,
    protocol::masked::{Masked, mask_and_open},
    word::Word,
};

fn set<W: Word>(outputs: u32, task: Task) -> TestSet {
    let frac_bits = if W::BITS == 32 { 11 } else { 12 };
    TestSet {
        task,
        outputs,
        ring_bits: W::BITS,
        frac_bits,
        may_lack_class: false,
        largest_loss: None,
        scale: if task == Task::Classes { 1.0 } else { 4.0 },
    }
}

/// Measures a metric. Inputs: outputs, labels.
struct Measure(AnyMetric, TestSet);

impl Job for Measure {
    fn run<W: Word>(&self, party: &mut Party<'_, W>, mut inputs: Vec<Vec<W>>) -> Result<Vec<Shared<W>>, Error> {
        let Self(metric, set) = self;
        let (outputs, mut labels) = (inputs.remove(0), inputs.remove(0));
        let mask = party.draw()?.mask(labels.len());
        let mask = mask_and_open(party, &mut labels, mask)?.matrix(set.cols());
        let rows = Predictions { outputs: &outputs, labels: Masked { words: &labels, mask } };
        let mut terms = vec![W::from_u64(99); metric.describe().words(set, rows.rows(set))];
        metric.protocol::<W>().measure(party, set, &rows, &mut terms)?;
        Ok(vec![Shared::Words(terms)])
    }
}

/// Test rows: outputs in units of `2^-2f`; labels, where the number of classes names none.
struct Data {
    units: Vec<i64>,
    labels: Vec<usize>,
}

impl Data {
    /// Rows whose outputs are multiples of `2^f`, which truncation keeps, with ties among them.
    fn classes(set: &TestSet, rows: usize, lacking: bool, seed: u64) -> Self {
        let (mut values, kinds) = (Values(seed), u64::from(set.outputs) + u64::from(lacking));
        let output = |values: &mut Values| match values.next() % 3 {
            0 => (values.signed(2)) << (2 * set.frac_bits),
            _ => values.signed(set.frac_bits + 2) << set.frac_bits,
        };
        let units = (0..rows * set.cols()).map(|_| output(&mut values)).collect();
        Self { units, labels: (0..rows).map(|_| (values.next() % kinds) as usize).collect() }
    }

    fn play<W: Word>(&self, metric: AnyMetric, set: &TestSet, seed: u64) -> (Vec<i64>, Cost) {
        let one = |label: &usize| (0..set.cols()).map(|c| W::from_u64(u64::from(c == *label))).collect::<Vec<W>>();
        let labels: Vec<W> = self.labels.iter().flat_map(one).collect();
        let opened = labels.len() as u64 * u64::from(W::BITS / 8);
        play_with::<W>(metric, set, &self.units, labels, opened, seed)
    }

    /// Truncated outputs of a row.
    fn row(&self, set: &TestSet, row: usize) -> Vec<i64> {
        self.units[row * set.cols()..][..set.cols()].iter().map(|u| u >> set.frac_bits).collect()
    }
}

/// The sums, and the cost without the round that opens the labels.
fn play_with<W: Word>(
    metric: AnyMetric,
    set: &TestSet,
    units: &[i64],
    labels: Vec<W>,
    opened: u64,
    seed: u64,
) -> (Vec<i64>, Cost) {
    let outputs = units.iter().map(|u| W::from_i64(*u)).collect();
    let got = play(&Measure(metric, *set), &[Shared::Words(outputs), Shared::Words(labels)], seed);
    let words = got.outputs[0].clone().words();
    let (describe, rows) = (metric.describe(), units.len() / set.cols());
    let mut rest = &words[..];
    let mut sums = Vec::new();
    for sum in 0..describe.sums(set) {
        let (own, others) = rest.split_at(describe.terms(set, sum).words(rows));
        sums.push(own.iter().map(|w| as_i64(*w)).sum());
        rest = others;
    }
    assert!(rest.is_empty());
    (sums, Cost { bytes: got.cost.bytes - opened, rounds: got.cost.rounds - 1, ..got.cost })
}

/// Whether output `i` of a row is larger than output `j`.
fn beats(row: &[i64], i: usize, j: usize) -> bool {
    row[i] > row[j] || row[i] == row[j] && i < j
}

fn predicted(row: &[i64]) -> usize {
    (0..row.len()).find(|i| (0..row.len()).all(|j| j == *i || beats(row, *i, j))).unwrap()
}

fn counts(metric: AnyMetric, set: &TestSet, data: &Data) -> Vec<i64> {
    let mut sums = vec![0; metric.describe().sums(set)];
    for (r, label) in data.labels.iter().enumerate().filter(|(_, label)| **label < set.cols()) {
        let row = data.row(set, r);
        match metric {
            AnyMetric::Accuracy(_) => sums[0] += i64::from(predicted(&row) == *label),
            AnyMetric::TopK(TopK { k }) => {
                let better = (0..set.cols()).filter(|j| *j != *label && beats(&row, *j, *label)).count();
                sums[0] += i64::from(better < k as usize);
            }
            AnyMetric::Confusion(_) => sums[label * set.cols() + predicted(&row)] += 1,
            AnyMetric::Auc(auc) => {
                for curve in 0..Auc::curves(set) {
                    let score = if set.outputs == 2 { row[1] - row[0] } else { row[curve] };
                    let positive = *label == if set.outputs == 2 { 1 } else { curve };
                    let thresholds = 0..usize::from(auc.thresholds);
                    let cell = thresholds.filter(|at| score >= auc.threshold(*at, set.frac_bits)).count();
                    sums[(2 * curve + usize::from(!positive)) * auc.cells() + cell] += 1;
                }
            }
            _ => panic!("not a count"),
        }
    }
    sums
}

#[test]
fn counts_are_exact() {
    fn check<W: Word>() {
        for (classes, rows) in [(2, 1), (2, 65), (3, 1), (3, 33), (5, 64), (10, 3), (10, 129)] {
            let set = set::<W>(classes, Task::Classes);
            let top = (1..classes).step_by(3).map(|k| AnyMetric::TopK(TopK { k }));
            let grids = [Auc::default(), Auc { thresholds: 1, largest: 0 }, Auc { thresholds: 6, largest: 3 }];
            let metrics = [AnyMetric::Accuracy(Accuracy {}), AnyMetric::Confusion(Confusion {})];
            for metric in metrics.into_iter().chain(top).chain(grids.map(AnyMetric::Auc)) {
                metric.describe().check(&set).unwrap();
                for lacking in [false, true] {
                    let data = Data::classes(&set, rows, lacking, rows as u64 + u64::from(classes));
                    let (sums, _) = data.play::<W>(metric, &set, 7);
                    assert_eq!(sums, counts(metric, &set, &data), "{metric}, {classes} classes, {rows} rows");
                }
            }
        }
    }
    check::<u32>();
    check::<u64>();
}

#[test]
fn no_rows_count_nothing() {
    let set = set::<u32>(3, Task::Classes);
    let data = Data { units: vec![], labels: vec![] };
    for metric in [AnyMetric::Accuracy(Accuracy {}), AnyMetric::Confusion(Confusion {})] {
        assert!(data.play::<u32>(metric, &set, 1).0.iter().all(|sum| *sum == 0));
    }
}

/// Rounds as the table of the module has them, for ten classes; words dealt as the files say.
#[test]
fn costs_are_those_of_the_contracts() {
    fn check<W: Word>(at: usize) {
        let (classes, rows, bytes) = (10, 64, u64::from(W::BITS / 8));
        let set = set::<W>(classes, Task::Classes);
        let data = Data::classes(&set, rows, false, 3);
        let cost = |metric| data.play::<W>(metric, &set, 5).1;
        let accuracy = cost(AnyMetric::Accuracy(Accuracy {}));
        assert_eq!(accuracy.rounds, [5, 6][at]);
        let confusion = cost(AnyMetric::Confusion(Confusion {}));
        assert_eq!((confusion.rounds, confusion.bytes), (accuracy.rounds, accuracy.bytes));
        // A product of matrices in place of one of all words.
        let n = rows as u64 * u64::from(classes);
        assert_eq!(accuracy.dealt_bytes - confusion.dealt_bytes, (n - 100) * bytes);
        assert_eq!(cost(AnyMetric::TopK(TopK { k: 3 })).rounds, [5, 6][at]);
        assert_eq!(cost(AnyMetric::LogLoss(LogLoss {})).rounds, [8, 10][at]);
        let auc = Auc { thresholds: 4, largest: 2 };
        let got = cost(AnyMetric::Auc(auc));
        assert_eq!(got.rounds, [4, 5][at]);
        // A word and a bit, and the comparison's bits, for each of four thresholds and a score.
        let scores = 4 * n;
        let compared = [8, 34][at] * scores / 8;
        let opened = plane_words::<W>(n as usize) as u64 * u64::from(W::BITS - set.frac_bits) * bytes;
        assert_eq!(got.bytes, scores * bytes + scores / 8 + compared + opened);
        let lacking = TestSet { may_lack_class: true, ..set };
        let more = data.play::<W>(AnyMetric::LogLoss(LogLoss {}), &lacking, 5).1;
        let less = cost(AnyMetric::LogLoss(LogLoss {}));
        assert_eq!((more.rounds - less.rounds, more.bytes - less.bytes), (1, rows as u64 * bytes));
        assert_eq!(more.dealt_bytes - less.dealt_bytes, n * bytes);
    }
    check::<u32>(0);
    check::<u64>(1);
}

/// Errors of a regression: outputs and targets in units of `2^-2f` and `2^-f`.
fn regression(set: &TestSet, rows: usize, seed: u64) -> (Vec<i64>, Vec<i64>) {
    let mut values = Values(seed);
    let units = (0..rows).map(|_| values.signed(2 * set.frac_bits + 2)).collect();
    (units, (0..rows).map(|_| values.signed(set.frac_bits + 2)).collect())
}

#[test]
fn errors_are_close() {
    fn check<W: Word>() {
        for rows in [1, 33, 130] {
            let set = set::<W>(1, Task::Regression);
            let (units, targets) = regression(&set, rows, rows as u64);
            let unit = (-f64::from(set.frac_bits)).exp2();
            let reals: Vec<[f64; 2]> =
                units.iter().zip(&targets).map(|(z, y)| [*z as f64 * unit * unit, *y as f64 * unit]).collect();
            let sum = |f: &dyn Fn(&[f64; 2]) -> f64| reals.iter().map(f).sum::<f64>();
            let squares = sum(&|[z, y]| (z - y) * (z - y));
            let magnitudes = sum(&|[z, y]| (z - y).abs());
            let (mean, count) = (sum(&|[_, y]| *y), rows as f64);
            let of_targets = sum(&|[_, y]| y * y);
            // A unit of an output changes a square by twice the error.
            let [near, far] = [unit * count, unit * (2.0 * magnitudes + 3.0 * count)];
            let cases: [(AnyMetric, &[(f64, f64)]); 3] = [
                (AnyMetric::SquaredError(SquaredError {}), &[(squares, far)]),
                (AnyMetric::AbsoluteError(AbsoluteError {}), &[(magnitudes, near)]),
                (AnyMetric::R2(R2 {}), &[(squares, far), (mean, 0.0), (of_targets, near)]),
            ];
            for (metric, exact) in cases {
                let labels = targets.iter().map(|y| W::from_i64(*y)).collect::<Vec<W>>();
                let opened = rows as u64 * u64::from(W::BITS / 8);
                let (sums, cost) = play_with::<W>(metric, &set, &units, labels, opened, 9);
                let sums: Vec<f64> = sums.iter().map(|sum| *sum as f64 * unit).collect();
                for (sum, (exact, error)) in sums.iter().zip(exact) {
                    assert!((sum - exact).abs() <= error + 1e-9, "{metric}: {sum}, exact {exact} ± {error}");
                }
                let long = W::BITS == 64 && metric.kind() == Kind::AbsoluteError;
                assert_eq!(cost.rounds, if long { 4 } else { 3 }, "{metric}");
                let value = metric.describe().value(&set, &sums, count).unwrap_or_default();
                let want = match metric.kind() {
                    Kind::SquaredError => 16.0 * squares / count,
                    Kind::AbsoluteError => 4.0 * magnitudes / count,
                    _ => 1.0 - squares / (of_targets - mean * mean / count),
                };
                // One record has no variance but that of rounding.
                assert!(rows == 1 || (value / want - 1.0).abs() < 0.02, "{metric}: {value}, {want}");
            }
        }
    }
    check::<u32>();
    check::<u64>();
}

#[test]
fn log_losses_are_close() {
    fn check<W: Word>() {
        for (classes, rows) in [(2, 1), (2, 130), (3, 33), (10, 130)] {
            for lacking in [false, true] {
                let set = TestSet { may_lack_class: lacking, ..set::<W>(classes, Task::Classes) };
                let data = Data::classes(&set, rows, lacking, 11);
                let (sums, cost) = data.play::<W>(AnyMetric::LogLoss(LogLoss {}), &set, 3);
                assert_eq!(data.play::<W>(AnyMetric::Perplexity(Perplexity {}), &set, 3), (sums.clone(), cost));
                let unit = (-f64::from(set.frac_bits)).exp2();
                let exact: f64 = data
                    .labels
                    .iter()
                    .enumerate()
                    .map(|(r, label)| {
                        let row: Vec<f64> = data.row(&set, r).iter().map(|z| *z as f64 * unit).collect();
                        let sum: f64 = row.iter().map(|z| z.exp()).sum();
                        row.get(*label).map_or(0.0, |z| sum.ln() - z)
                    })
                    .sum();
                let (got, error) = (sums[0] as f64 * unit, if rows == 1 { 0.72 } else { 0.06 * rows as f64 });
                assert!((got - exact).abs() <= error, "{got}, exact {exact}, {classes} classes, {rows} rows");
            }
        }
    }
    check::<u32>();
    check::<u64>();
}

/// The area of the grid is off by half of the pairs within a cell at most.
#[test]
fn areas_are_those_of_the_ranks() {
    let (set, auc) = (set::<u64>(2, Task::Classes), Auc { thresholds: 63, largest: 8 });
    let data = Data::classes(&set, 400, false, 21);
    let scores = |positive: usize| {
        let of = data.labels.iter().enumerate().filter(move |(_, label)| **label == positive);
        of.map(|(r, _)| data.row(&set, r)[1] - data.row(&set, r)[0]).collect::<Vec<i64>>()
    };
    let [negatives, positives] = [scores(0), scores(1)];
    let pairs = (negatives.len() * positives.len()) as f64;
    let order = |p: i64, n: i64| {
        if p > n {
            1.0
        } else if p == n {
            0.5
        } else {
            0.0
        }
    };
    let exact: f64 = positives.iter().flat_map(|p| negatives.iter().map(|n| order(*p, *n))).sum::<f64>() / pairs;
    let sums: Vec<f64> = data.play::<u64>(AnyMetric::Auc(auc), &set, 2).0.iter().map(|sum| *sum as f64).collect();
    let (p, n) = sums.split_at(auc.cells());
    let within: f64 = p.iter().zip(n).map(|(p, n)| p * n / 2.0).sum::<f64>() / pairs;
    let got = auc.value(&set, &sums, 400.0).unwrap();
    assert!((got - exact).abs() <= within && within < 0.05, "{got}, exact {exact} ± {within}");
    assert_eq!(auc.value(&set, &vec![0.0; sums.len()], 400.0), None);
}

#[test]
fn figures_follow_from_sums() {
    let classes = set::<u64>(2, Task::Classes);
    let matrix = Confusion {};
    assert_eq!(matrix.value(&classes, &[5.0, 1.0, 2.0, 8.0], 0.0), Some(13.0 / 16.0));
    assert_eq!(matrix.value(&classes, &[0.0; 4], 0.0), None);
    assert_eq!((matrix.moved(&classes), matrix.columns(&classes)), (Moved { once: 0, often: 2 }, Some(2)));
    assert_eq!(Accuracy {}.value(&classes, &[3.0], 4.0), Some(0.75));
    assert_eq!(Accuracy {}.value(&classes, &[0.0], 0.0), None);
    for loss in [-1.0, 0.0, 0.7, 30.0, 600.0] {
        let got = Perplexity {}.value(&classes, &[3.0 * loss], 3.0).unwrap();
        assert!((got / f64::exp(loss) - 1.0).abs() < 1e-9, "{got} for {loss}");
    }
    assert_eq!(Perplexity {}.value(&classes, &[0.0], 0.0), None);
    let target = set::<u64>(1, Task::Regression);
    assert_eq!(R2 {}.value(&target, &[2.0, 0.0, 8.0], 4.0), Some(0.75));
    assert_eq!(R2 {}.value(&target, &[2.0, 4.0, 4.0], 4.0), None, "no variance");
    assert_eq!(R2 {}.moved(&target), Moved { once: 2, often: 1 });
    let ten = set::<u64>(10, Task::Classes);
    assert_eq!(Auc::default().moved(&ten), Moved { once: 0, often: 20 });
    assert_eq!(Auc::default().moved(&classes), Moved { once: 0, often: 2 });
}

/// With noise, terms have limits, and a word still holds as many as without.
#[test]
fn terms_have_limits_and_room() {
    for (ring_bits, frac_bits) in [(32, 12), (32, 4), (64, 24), (64, 4)] {
        let noisy = TestSet { ring_bits, frac_bits, largest_loss: Some(8), ..set::<u64>(1, Task::Regression) };
        let plain = TestSet { largest_loss: None, ..noisy };
        let square = |set: &TestSet| SquaredError {}.terms(set, 0);
        assert_eq!(square(&plain).capacity(ring_bits), 1 << (frac_bits - 1));
        assert_eq!(square(&noisy).capacity(ring_bits), 1 << (frac_bits - 1));
        assert_eq!(square(&noisy).limits(), [0, 16 << frac_bits]);
        assert_eq!(AbsoluteError {}.terms(&noisy, 0).limits(), [0, 4 << frac_bits]);
        assert_eq!(R2 {}.terms(&noisy, 1).limits(), [-4 << frac_bits, 4 << frac_bits]);
        let all: [(&dyn Describe, usize); 4] =
            [(&SquaredError {}, 1), (&AbsoluteError {}, 1), (&R2 {}, 3), (&LogLoss {}, 1)];
        for terms in all.into_iter().flat_map(|(metric, sums)| (0..sums).map(move |sum| metric.terms(&plain, sum))) {
            let most = terms.range.iter().map(|limit| i128::from(*limit).abs()).max().unwrap();
            assert!(most * (terms.capacity(ring_bits) as i128) < 1 << (ring_bits - 2), "{terms:?}");
        }
    }
    assert_eq!(Terms::count("x").capacity(32), usize::MAX);
}

#[test]
fn what_does_not_suit_is_refused() {
    let (classes, target) = (set::<u32>(3, Task::Classes), set::<u32>(1, Task::Regression));
    assert_eq!(Accuracy {}.check(&target), Err(Misfit::NeedsClasses));
    assert_eq!(R2 {}.check(&classes), Err(Misfit::NeedsTarget));
    for k in [0, 3] {
        let misfit = TopK { k }.check(&classes).unwrap_err();
        assert_eq!(misfit.to_string(), format!("has k = {k}; give an integer from 1 to 2"));
    }
    let many = Auc { thresholds: 256, largest: 0 };
    assert_eq!(many.check(&classes).unwrap_err().to_string(), "has thresholds = 256; give an integer from 1 to 255");
    assert!(Auc { thresholds: 0, largest: 0 }.check(&classes).is_err());
    assert_eq!(
        Auc { thresholds: 3, largest: 129 }.check(&classes).unwrap_err().to_string(),
        "has largest = 129; give an integer from 0 to 128"
    );
    assert_eq!(
        R2 {}.check(&TestSet { outputs: 2, ..target }).unwrap_err().to_string(),
        "needs one target, and the network has 2 outputs; use mean-squared-error instead"
    );
}

/// A metric's number never changes.
#[test]
fn numbers_stay() {
    let bytes = |metric: AnyMetric| postcard_bytes(&metric);
    assert_eq!(bytes(AnyMetric::Accuracy(Accuracy {})), [0]);
    assert_eq!(bytes(AnyMetric::TopK(TopK { k: 3 })), [1, 3]);
    assert_eq!(bytes(AnyMetric::Confusion(Confusion {})), [2]);
    assert_eq!(bytes(AnyMetric::SquaredError(SquaredError {})), [3]);
    assert_eq!(bytes(AnyMetric::AbsoluteError(AbsoluteError {})), [4]);
    assert_eq!(bytes(AnyMetric::R2(R2 {})), [5]);
    assert_eq!(bytes(AnyMetric::LogLoss(LogLoss {})), [6]);
    assert_eq!(bytes(AnyMetric::Auc(Auc { thresholds: 9, largest: 2 })), [7, 9, 2]);
    assert_eq!(bytes(AnyMetric::Perplexity(Perplexity {})), [8]);
    assert!(postcard::from_bytes::<AnyMetric>(&[200, 1]).is_err());
    assert!(postcard::from_bytes::<AnyMetric>(&[1]).is_err());
    for kind in Kind::ALL {
        assert_eq!(Kind::named(kind.name()), Some(*kind));
    }
}

fn postcard_bytes(metric: &AnyMetric) -> Vec<u8> {
    let mut room = [0; 32];
    let bytes = postcard::to_slice(metric, &mut room).unwrap().to_vec();
    assert_eq!(postcard::from_bytes::<AnyMetric>(&bytes).unwrap(), *metric);
    bytes
}

#[test]
fn what_metrics_open_is_uniform() {
    fn check<W: Word>() {
        let set = TestSet { may_lack_class: true, ..set::<W>(3, Task::Classes) };
        // As many rows as fill planes: padding is zero.
        let repeat = |row: &[i64], bits: u32| row.iter().map(|z| W::from_i64(z << bits)).collect::<Vec<W>>().repeat(32);
        let outputs = repeat(&[3, 3, -1, 0, 9, -9], set.frac_bits);
        let inputs = [Shared::Words(outputs), Shared::Words(repeat(&[1, 0, 0, 0, 0, 0], 0))];
        let auc = AnyMetric::Auc(Auc { thresholds: 2, largest: 0 });
        for metric in [AnyMetric::TopK(TopK { k: 1 }), AnyMetric::Confusion(Confusion {}), auc] {
            assert_uniform(&Measure(metric, set), &inputs);
        }
        let set = self::set::<W>(1, Task::Regression);
        let values = repeat(&[7, -7], set.frac_bits);
        let inputs = [Shared::Words(values.clone()), Shared::Words(values)];
        for metric in [AnyMetric::AbsoluteError(AbsoluteError {}), AnyMetric::R2(R2 {})] {
            assert_uniform(&Measure(metric, set), &inputs);
        }
    }
    check::<u32>();
    check::<u64>();
}
