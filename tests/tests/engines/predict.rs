//! Predictions: shares equal whole values bit for bit at the plan's cost, for every layer, loss and
//! answer; answers are the functions of the outputs that they are said to be.
#![allow(clippy::unwrap_used)]

use super::layers::{ALL, Case};
use std::path::Path;
use symbolon::{
    job::{Draft, Job, Source},
    kernel::HostWord,
    model_store::{Askers, Terms},
    schema::SchemaFile,
    train::{AnswerKind, NotServed, Serving, real},
};
use symbolon_core::{fixed::encode, report::header::DeviceId, word::Word};
use symbolon_tests::{
    jobs::{CLASSES, Shape, Values},
    play::Keys,
    predict::{Answers, Asked, agreed},
};

const VALUES: AnswerKind = AnswerKind::Values { frac_bits: 6 };
const TOP: AnswerKind = AnswerKind::Top { k: 2 };

fn words<W: Word>(frac_bits: u32, mut value: impl FnMut() -> f64, len: usize) -> Vec<W> {
    (0..len).map(|_| encode(value(), frac_bits).unwrap()).collect()
}

/// A model of small parameters and positive variances, and two batches a lane.
fn asked<W: Word>(job: &Job, serving: &Serving, mut value: impl FnMut(&mut Values) -> f64) -> Asked<W> {
    let mut values = Values(11);
    let laid = job.network();
    let (frac_bits, parameters) = (job.numbers.frac_bits, laid.graph().parameters());
    let mut model = words(frac_bits, || 0.4 * values.unit(), parameters);
    for i in 0..job.network.nodes.len() {
        laid.graph().statistics_of(i, |statistic, _| {
            let is_variance = statistic.name.contains("var");
            let value = || if is_variance { 1.0 + 0.5 * values.unit() } else { 0.2 * values.unit() };
            model.extend(words::<W>(frac_bits + statistic.extra_bits, value, statistic.words()));
        });
    }
    let mut rows = |rows: &u16| words(frac_bits, || value(&mut values), usize::from(*rows) * job.data.features());
    let rows = serving.batches.iter().map(|own| vec![rows(own), rows(own)]).collect();
    Asked { model, rows }
}

fn answers<W: HostWord + Word>(job: &Job, answer: AnswerKind, batches: &[u16]) -> Answers<W> {
    let serving = Serving { answer, batches: batches.to_vec() };
    serving.check(job).unwrap();
    let asked = asked(job, &serving, Values::unit);
    agreed::<W>(job, &serving, &asked, &Keys::new(u64::from(W::BITS)))
}

#[test]
fn shares_equal_whole_values_for_every_layer() {
    for answer in [AnswerKind::Class, VALUES, TOP] {
        answers::<u64>(&Case::of(ALL, 64).job(), answer, &[1, 5, 2]);
        answers::<u32>(&Case::of(ALL, 32).job(), answer, &[3]);
    }
}

/// Answers by both servers and in the clear: the class of the largest probability, where it is
/// clearly the largest; probabilities that sum to 1.
fn classes_and_probabilities<W: HostWord + Word>(ring_bits: u32) {
    let job = Shape { ring_bits, ..Shape::default() }.job();
    let classes: Answers<W> = answers(&job, AnswerKind::Class, &[1, 64]);
    let values: Answers<W> = answers(&job, AnswerKind::Values { frac_bits: job.numbers.frac_bits }, &[1, 64]);
    let (mut seen, mut clear) = ([0; CLASSES], 0);
    let rows = |answers: &Answers<W>| answers.concat().concat();
    for (class, row) in rows(&classes).iter().zip(rows(&values).chunks_exact(CLASSES)) {
        let row: Vec<f64> = row.iter().map(|word| real(&job, *word)).collect();
        assert!((row.iter().sum::<f64>() - 1.0).abs() < 0.01, "{row:?}");
        let class = usize::try_from(symbolon::train::signed(*class)).unwrap();
        seen[class] += 1;
        let (best, others): (f64, f64) =
            (row[class], (0..CLASSES).filter(|i| *i != class).map(|i| row[i]).fold(0.0, f64::max));
        assert!(best > others - 0.01, "class {class} of {row:?}");
        clear += u32::from(best > others);
    }
    assert!(seen.iter().filter(|count| **count > 0).count() > 1 && clear > 100, "{seen:?}, {clear}");
}

#[test]
fn classes_are_those_of_the_largest_probability() {
    classes_and_probabilities::<u64>(64);
    classes_and_probabilities::<u32>(32);
}

/// The `k` most likely classes are the first of all classes in order of likelihood; of classes that
/// are equally likely the lower ones come first, as where the class alone is the answer.
fn most_likely<W: HostWord + Word>((ring_bits, frac_bits, width): (u32, u32, usize), k: u32) {
    let job = square(ring_bits, frac_bits, width, "'softmax-cross-entropy'");
    let ask = |answer| {
        let serving = Serving { answer, batches: vec![1, 40] };
        serving.check(&job).unwrap();
        // Few values, so that rows have ties.
        let mut asked: Asked<W> = asked(&job, &serving, |values| (4.0 * values.unit()).round() / 2.0);
        asked.model = identity(frac_bits, width);
        let answers = agreed(&job, &serving, &asked, &Keys::new(u64::from(k)));
        (asked.rows.concat().concat(), answers.concat().concat())
    };
    let (rows, top) = ask(AnswerKind::Top { k });
    let (_, classes) = ask(AnswerKind::Class);
    let (mut ties, k) = (0, k as usize);
    assert_eq!(top.len() / k, rows.len() / width);
    for ((row, top), class) in rows.chunks(width).zip(top.chunks(k)).zip(classes) {
        let row: Vec<i64> = row.iter().map(|word| symbolon::train::signed(*word)).collect();
        let mut want: Vec<usize> = (0..width).collect();
        want.sort_by_key(|class| -row[*class]); // stable
        ties += want.windows(2).filter(|pair| row[pair[0]] == row[pair[1]]).count();
        let top: Vec<usize> = top.iter().map(|word| usize::try_from(symbolon::train::signed(*word)).unwrap()).collect();
        assert_eq!(top, want[..k], "{row:?}");
        assert_eq!(symbolon::train::signed(class), i64::try_from(top[0]).unwrap());
    }
    assert!(ties > 0, "no ties");
}

#[test]
fn the_most_likely_classes_come_in_order() {
    for (width, k) in [(2, 2), (3, 2), (10, 5), (10, 10)] {
        most_likely::<u64>((64, 16, width), k);
        most_likely::<u32>((32, 11, width), k);
    }
}

#[test]
fn each_of_several_labels_has_its_most_likely_classes() {
    let toml = "version = 2\nname = 'steps'\nloss = 'softmax-cross-entropy'\n\
                [data]\nshape = [4, 2]\ntrain_records = 80\ntest_records = 20\nclasses = 3\nlabels_per_record = 4\n\
                scale = { divide = 1 }\n[data.npz]\nfile = 'x.npz'\ntrain_features = 'a'\ntrain_labels = 'b'\n\
                test_features = 'c'\ntest_labels = 'd'\n\
                [network]\nlayers = [{ kind = 'dense', units = 3, each_step = true }]\n\
                [training]\nepochs = 1\nbatch = 16\nseed = 1\n[optimizer]\nkind = 'adam'\n";
    let job = Job::parse(toml, Path::new("steps.toml")).unwrap();
    let [top, class] = [TOP, AnswerKind::Class].map(|answer| answers::<u64>(&job, answer, &[20]).concat().concat());
    assert_eq!(top.len(), 2 * 20 * 4 * 2, "two batches of 20 rows, 4 labels, 2 classes");
    assert!(top.chunks(2).zip(&class).all(|(top, class)| top[0] == *class && top[1] != *class));
}

/// The numbers of an identity: bits of the ring, fraction bits, and the greatest input that both
/// hold.
type Numbers = (u32, u32, f64);

/// A job whose network is one dense layer of `width` outputs on as many features.
fn square(ring_bits: u32, frac_bits: u32, width: usize, loss: &str) -> Job {
    let task =
        if loss.contains("softmax") { format!("classes = {width}") } else { "target = { divide = 1 }".to_owned() };
    let toml = format!(
        "version = 2\nname = 'identity'\nloss = {loss}\n[data]\nshape = [{width}]\ntrain_records = 32\ntest_records = 8\n\
         {task}\nscale = {{ divide = 1 }}\n[data.csv]\ntrain = 'a.csv'\ntest_every = 5\nlabel = 'y'\n\
         [numbers]\nring_bits = {ring_bits}\nfrac_bits = {frac_bits}\n[network]\nlayers = [{{ kind = 'dense', units = {width} }}]\n\
         [training]\nepochs = 1\nbatch = 16\nseed = 1\n[optimizer]\nkind = 'sgd'\nlearning_rate = 0.5\n"
    );
    Job::parse(&toml, Path::new("identity.toml")).unwrap()
}

/// The parameters that make it the identity.
fn identity<W: Word>(frac_bits: u32, width: usize) -> Vec<W> {
    let unit_matrix = |at: usize| f64::from(u8::from(at < width * width && at.is_multiple_of(width + 1)));
    let mut at = 0..;
    words(frac_bits, || unit_matrix(at.next().unwrap()), width * (width + 1))
}

/// A network that is the identity on its `width` features: returns how far its predictions are at
/// most from the loss's activation of them, in all bits and rounded to four.
fn error_of_identity<W: HostWord + Word>(
    ((ring_bits, own_bits, greatest), width): (Numbers, usize),
    loss: &str,
    activation: impl Fn(&[f64]) -> Vec<f64>,
) -> [f64; 2] {
    let job = square(ring_bits, own_bits, width, loss);
    [own_bits, 4].map(|frac_bits| {
        let serving = Serving { answer: AnswerKind::Values { frac_bits }, batches: vec![256] };
        let mut asked: Asked<W> = asked(&job, &serving, |values| greatest * values.unit());
        asked.model = identity(own_bits, width);
        let answered = agreed(&job, &serving, &asked, &Keys::new(3));
        let mut most = 0.0;
        for (x, got) in asked.rows[0].concat().chunks(width).zip(answered[0].concat().chunks(width)) {
            let x: Vec<f64> = x.iter().map(|x| real(&job, *x)).collect();
            for (want, got) in activation(&x).iter().zip(got) {
                let got = symbolon_core::fixed::decode(symbolon::train::signed(*got), frac_bits);
                most = f64::max(most, (got - want).abs());
            }
        }
        most
    })
}

/// Holds predictions of an identity to `bound`, beside two units of the rounding.
fn is_activation<W: HostWord + Word>(
    of: (Numbers, usize),
    loss: &str,
    bound: f64,
    activation: impl Fn(&[f64]) -> Vec<f64>,
) {
    let errors = error_of_identity::<W>(of, loss, activation);
    for (error, frac_bits) in errors.into_iter().zip([of.0.1, 4]) {
        let unit = (-f64::from(frac_bits)).exp2();
        println!("{loss} {of:?}, {frac_bits} bits: {error}");
        assert!(error <= bound + 2.0 * unit, "{loss}, {of:?}, {frac_bits} bits: {error}");
    }
}

fn softmax(x: &[f64]) -> Vec<f64> {
    let largest = x.iter().copied().fold(f64::MIN, f64::max);
    let sum: f64 = x.iter().map(|x| (x - largest).exp()).sum();
    x.iter().map(|x| (x - largest).exp() / sum).collect()
}

#[test]
fn values_are_the_activation_of_the_outputs() {
    let sigmoid = |x: &[f64]| vec![1.0 / (1.0 + (-x[0]).exp())];
    let cross_entropy = "'softmax-cross-entropy'";
    is_activation::<u64>(((64, 16, 12.0), 1), "'squared-error'", 0.0, <[f64]>::to_vec);
    is_activation::<u32>(((32, 11, 12.0), 1), "{ kind = 'huber', delta = 1 }", 0.0, <[f64]>::to_vec);
    for bits in [11, 12] {
        is_activation::<u32>(((32, bits, 12.0), 1), "'logistic'", 0.002, sigmoid);
        for width in [2, 10, 100] {
            is_activation::<u32>(((32, bits, 12.0), width), cross_entropy, 0.004, softmax);
        }
    }
    for bits in [11, 16, 20] {
        is_activation::<u64>(((64, bits, 12.0), 1), "'logistic'", 0.002, sigmoid);
        for width in [2, 10, 100] {
            is_activation::<u64>(((64, bits, 12.0), width), cross_entropy, 0.004, softmax);
        }
    }
}

/// A job that learns from reports with readings of all widths, and labels that devices send too.
fn of_reports(ring_bits: u32, classes: u32) -> Job {
    let field = |(name, width): (&str, u32)| {
        format!(
            "[[field]]\nname = '{name}'\nwidth = {width}\noffset = -1.5\nstep = {}\n",
            3.0 / f64::from(width).exp2()
        )
    };
    let label = format!("[[field]]\nname = 'label'\nlabel = {{ bits = 5, classes = {classes} }}\n");
    let widths = [("a", 16), ("b", 1), ("c", 8), ("d", 8), ("e", 1)];
    let schema = format!("task = 'all widths'\n{}{label}", widths.map(field).concat());
    let frac_bits = if ring_bits == 32 { 11 } else { 16 };
    let scale = "{ offset = 0.25, divide = -2 },".repeat(widths.len());
    let toml = format!(
        "version = 2\nname = 'reports'\nloss = 'softmax-cross-entropy'\n[data.scale]\ncolumns = [SCALE]\n\
         [data.reports]\nschema = 'none.toml'\nfeatures = ['a', 'b', 'c', 'd', 'e']\nlabel = 'label'\n\
         [numbers]\nring_bits = {ring_bits}\nfrac_bits = {frac_bits}\n[lanes]\nlanes = 1\ntile = 64\n\
         [network]\nlayers = [{{ kind = 'dense', units = 6 }}, {{ kind = 'relu' }}, {{ kind = 'dense', units = {classes} }}]\n\
         [training]\nepochs = 1\nbatch = 4\nseed = 1\n[optimizer]\nkind = 'sgd'\nlearning_rate = 0.5\n\
         [reveal]\nmodel = true\nmetrics = false\n"
    );
    let draft = Draft::parse(&toml.replace("SCALE", &scale), Path::new("reports.toml")).unwrap();
    let mut senders = (0..64).map(|_| DeviceId(1));
    SchemaFile::parse(&schema).unwrap().borrow(|schema| {
        let source = Source { schema, label_schema: None, manifest: [0; 32], senders: &mut senders, named: &|_| None };
        draft.resolve(Some(source)).unwrap()
    })
}

fn codes<W: HostWord + Word>(job: &Job, answer: AnswerKind) {
    let serving = Serving { answer, batches: vec![1, 3, 40] };
    Terms { answer, per_day: None, askers: Askers::Devices }.check(job).unwrap();
    let mut asked: Asked<W> = asked(job, &serving, Values::unit);
    // Any words are codes in their narrow rings, whatever stands above them.
    let (mut values, range) = (Values(3), f64::from(1u32 << 30));
    #[allow(clippy::cast_possible_truncation)] // random bits
    let mut word = || W::from_i64((values.unit() * range) as i64);
    asked.rows.iter_mut().flatten().flatten().for_each(|row| *row = word());
    agreed(job, &serving, &asked, &Keys::new(5));
}

#[test]
fn codes_of_reports_are_lifted_and_then_answered() {
    for answer in [AnswerKind::Class, VALUES, TOP] {
        codes::<u64>(&of_reports(64, 3), answer);
        codes::<u32>(&of_reports(32, 3), answer);
    }
}

#[test]
fn devices_ask_models_of_reports_and_clients_the_others() {
    let check = |job: &Job, answer, askers| Terms { answer, per_day: None, askers }.check(job);
    let (files, reports) = (Shape::default().job(), of_reports(64, 17));
    for askers in [Askers::Owner, Askers::All] {
        assert_eq!(check(&files, AnswerKind::Class, askers.clone()), Ok(()));
        assert_eq!(check(&reports, AnswerKind::Class, askers), Err(NotServed::Reports));
    }
    assert_eq!(check(&files, AnswerKind::Class, Askers::Devices), Err(NotServed::Files));
    assert_eq!(check(&reports, AnswerKind::Class, Askers::Devices), Ok(()));
    let long = NotServed::DeviceAnswer { got: 17, most: 16 };
    assert_eq!(check(&reports, VALUES, Askers::Devices), Err(long));
    assert_eq!(check(&reports, AnswerKind::Top { k: 16 }, Askers::Devices), Ok(()));
    assert_eq!(check(&reports, AnswerKind::Top { k: 17 }, Askers::Devices), Err(long));
    let devices = Terms { answer: AnswerKind::Class, per_day: None, askers: Askers::Devices };
    assert!(!devices.admits("owner", "owner"), "no client asks with records of reports");
}

#[test]
fn what_a_model_does_not_answer_is_refused() {
    let classifier = Shape::default().job();
    let regression = Shape { regression: true, ..Shape::default() }.job();
    let check = |job: &Job, answer, batches: &[u16]| Serving { answer, batches: batches.to_vec() }.check(job);
    let most = classifier.numbers.frac_bits;
    assert_eq!(check(&classifier, VALUES, &[1]), Ok(()));
    assert_eq!(check(&regression, AnswerKind::Class, &[1]), Err(NotServed::NoClasses));
    assert_eq!(check(&regression, TOP, &[1]), Err(NotServed::NoClasses));
    for k in [0, 1, 4, u32::MAX] {
        let refused = check(&classifier, AnswerKind::Top { k }, &[1]);
        assert_eq!(refused, Err(NotServed::Top { got: k, most: CLASSES }));
    }
    for batches in [&[][..], &[0], &[513], &[1; 17]] {
        assert_eq!(check(&classifier, AnswerKind::Class, batches), Err(NotServed::Batches));
    }
    let refused = check(&classifier, AnswerKind::Values { frac_bits: most + 1 }, &[1]);
    assert_eq!(refused, Err(NotServed::FracBits { got: most + 1, most }));
}
