//! Logistic regression in closed form: secure equals clear at the plan's cost, and models are those
//! of double precision.
#![allow(clippy::unwrap_used)]

use std::{fmt::Write as _, path::Path};
use symbolon::{
    data::{Dataset, Targets, dataset_dir, load},
    job::{Job, JobError},
    train::{Inputs, real},
};
use symbolon_tests::{
    dir::TempDir,
    jobs::Values,
    play::{Game, Keys, Played},
};

/// A job on made-up records of `inputs` features: 48 to train on, 12 to test.
fn toml(inputs: usize, optimizer: &str, lanes: u16) -> String {
    let list = |item: &dyn Fn(usize) -> String| (0..inputs).map(item).collect::<Vec<_>>().join(", ");
    let (names, scale) = (list(&|i| format!("'f{i}'")), list(&|i| format!("{{ above = 0.{i} }}")));
    format!(
        "version = 2\nname = 'counts'\nloss = 'logistic'\nmetrics = ['accuracy', 'auc']\n\
         [data]\nshape = [{inputs}]\ntrain_records = 48\ntest_records = 12\nclasses = 2\nscale = {{ columns = [{scale}] }}\n\
         [data.csv]\ntrain = 'records.csv'\ntest_every = 5\nlabel = 'class'\ncolumns = [{names}]\n\
         [numbers]\nfrac_bits = 20\n[network]\nlayers = [{{ kind = 'dense', units = 2 }}]\n\
         [training]\nepochs = 1\nbatch = 32\nseed = 3\n[optimizer]\nkind = 'closed-form'\n{optimizer}\n\
         [lanes]\nlanes = {lanes}\ntile = 64\n[reveal]\nmetrics = true\nmodel = true\n"
    )
}

fn parsed(text: &str) -> Result<Job, JobError> {
    Job::parse(text, Path::new("counts.toml"))
}

fn records(job: &Job, inputs: usize) -> (Dataset, Dataset) {
    let mut values = Values(5);
    let mut text = (0..inputs).map(|i| format!("f{i},")).collect::<String>() + "class\n";
    for _ in 0..60 {
        let x: Vec<f64> = (0..inputs).map(|_| values.unit()).collect();
        x.iter().try_for_each(|x| write!(text, "{x},")).unwrap();
        writeln!(text, "{}", u8::from(x[0] + 0.5 * x[inputs - 1] + 0.5 * values.unit() > 0.1)).unwrap();
    }
    let dir = TempDir::new();
    let _ = dir.file("records.csv", &text);
    load(job, &dir).unwrap()
}

#[test]
fn secure_equals_clear_for_every_choice() {
    let mapped = "features = 3\nreciprocal = { bits = 8, degree = 3 }\nlogarithm = { bits = 8, degree = 3 }";
    let cases = [(6, "features = 3"), (5, ""), (9, "features = 1\nridge = 2"), (6, mapped), (1, "ridge = 0.5")];
    for (lanes, (inputs, optimizer)) in (1..=3).cycle().zip(cases) {
        let text = toml(inputs, optimizer, lanes);
        let job = parsed(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        let (train, test) = records(&job, inputs);
        let clear = Game::agreed(&job, &Keys::new(7), || Inputs::<u64>::encode(&job, &train, &test).unwrap());
        assert_near(&job, &train, &clear.parameters, 1e-3);
    }
}

/// The job files on their data.
#[test]
fn job_files_have_the_models_of_double_precision() {
    let Some(dir) = dataset_dir() else {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "no data sets: set SYMBOLON_DATA to their folder");
        eprintln!("skipped: no data sets; set SYMBOLON_DATA to their folder, with tabular/ in it");
        return;
    };
    let jobs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../host/jobs");
    for name in ["pima-closed-form", "cancer-closed-form"] {
        let job = Job::load(&jobs.join(name).with_extension("toml")).unwrap();
        let (train, test) = load(&job, &dir).unwrap();
        let inputs = Inputs::<u64>::encode(&job, &train, &test).unwrap();
        let clear = Game::new(job.clone()).clear::<u64>(inputs, &Keys::new(8), 2);
        assert_near(&job, &train, &clear.parameters, 0.01);
    }
}

/// Holds a model to that of double precision.
fn assert_near(job: &Job, train: &Dataset, parameters: &[u64], most: f64) {
    let Targets::Classes(classes) = &train.targets else { panic!("no classes") };
    let symbolon::job::Optimizer::ClosedForm(own) = job.optimizer else { panic!("not in closed form") };
    let exact = model(train, classes, own.features, own.ridge.value());
    for (at, word) in parameters.iter().enumerate() {
        let (got, exact) = (real(job, *word), exact[at / 2] * if at % 2 == 0 { -1.0 } else { 1.0 });
        assert!((got - exact).abs() < most * (1.0 + exact.abs()), "{}, {at}: {got} for {exact}", job.name);
    }
}

/// Weights of all inputs and the bias: the method in double precision.
fn model(train: &Dataset, classes: &[u32], k: usize, ridge: f64) -> Vec<f64> {
    let (d, n) = (train.cols, i64::try_from(classes.len()).unwrap());
    let is_set = |i: usize, j: usize| train.row(i)[j] == 1.0;
    let count = |of: &dyn Fn(usize) -> bool| i64::try_from((0..classes.len()).filter(|i| of(*i)).count()).unwrap();
    let positive = count(&|i| classes[i] == 1);
    let correlation = |j: usize| {
        let [beta, alpha] = [count(&|i| is_set(i, j) && classes[i] == 1), count(&|i| is_set(i, j))];
        (n * beta - positive * alpha).abs()
    };
    let mut chosen: Vec<usize> = (0..d).collect();
    chosen.sort_by_key(|j| (-correlation(*j), *j));
    chosen.truncate(k);
    let m = k + 1;
    let mut rows = vec![vec![0.0; m + 1]; m];
    for code in 0..1usize << k {
        let is_in = |i: usize| (0..k).all(|t| is_set(i, chosen[t]) == (code >> t & 1 == 1));
        let [y, n] = [1, 0].map(|class| count(&|i| is_in(i) && classes[i] == class) as f64 + 0.5);
        let (omega, odds) = (y * n / (y + n), (y / n).ln());
        let bit = |t: usize| if t == k { 1.0 } else { (code >> t & 1) as f64 };
        for (i, row) in rows.iter_mut().enumerate() {
            (0..m).for_each(|j| row[j] += omega * bit(i) * bit(j));
            row[m] += omega * bit(i) * odds;
        }
    }
    (0..k).for_each(|i| rows[i][i] += ridge);
    let solution = solved(rows);
    let mut weights = vec![0.0; d + 1];
    (0..k).for_each(|t| weights[chosen[t]] = solution[t]);
    weights[d] = solution[k];
    weights
}

/// Solves an augmented system.
fn solved(mut rows: Vec<Vec<f64>>) -> Vec<f64> {
    let m = rows.len();
    for j in 0..m {
        let pivot = rows[j].clone();
        for (i, row) in rows.iter_mut().enumerate() {
            let factor = if i == j { 0.0 } else { row[j] / pivot[j] };
            row.iter_mut().zip(&pivot).for_each(|(x, y)| *x -= factor * y);
        }
    }
    rows.iter().enumerate().map(|(i, row)| row[m] / row[i]).collect()
}

/// The size at which homomorphic encryption has been measured (1,600 records of 105 bits), on
/// all engines in this process. Prints how long the servers and the dealer took.
#[test]
fn many_features_take_few_rounds() {
    let mut values = Values(11);
    let names: Vec<String> = (0..105).map(|i| format!("f{i},")).collect();
    let mut text = names.concat() + "class\n";
    for _ in 0..2000 {
        let x: Vec<bool> = (0..105).map(|_| values.unit() > 0.0).collect();
        let effect = [(3, 1.6), (17, -1.2), (40, 1.0), (71, -0.8), (99, 0.6)];
        let z: f64 = effect.iter().map(|(j, w)| if x[*j] { *w } else { 0.0 }).sum();
        x.iter().for_each(|bit| text.push_str(if *bit { "1," } else { "0," }));
        writeln!(text, "{}", u8::from(z - 0.6 + 1.5 * values.unit() > 0.0)).unwrap();
    }
    let job = toml(4, "features = 5", 2)
        .replacen("shape = [4]", "shape = [105]", 1)
        .replacen("train_records = 48\ntest_records = 12", "train_records = 1600\ntest_records = 400", 1)
        .replacen("batch = 32", "batch = 1024", 1)
        .replacen("tile = 64", "tile = 16384", 1)
        .replacen(
            "{ columns = [{ above = 0.0 }, { above = 0.1 }, { above = 0.2 }, { above = 0.3 }] }",
            "{ divide = 1 }",
            1,
        )
        .replacen("columns = ['f0', 'f1', 'f2', 'f3']\n", "", 1);
    let job = parsed(&job).unwrap();
    let dir = TempDir::new();
    let _ = dir.file("records.csv", &text);
    let (train, test) = load(&job, &dir).unwrap();
    let mut game = Game::new(job.clone());
    game.recording = false;
    let inputs = Inputs::<u64>::encode(&job, &train, &test).unwrap();
    let start = std::time::Instant::now();
    let Played { result, .. } = game.secure::<u64>(inputs, &Keys::new(12), 64);
    let (took, total) = (start.elapsed(), game.plan.total);
    eprintln!(
        "1600 records of 105 bits, 5 chosen: {took:?}, {} rounds, {} bytes each way, {} dealt",
        total.rounds, total.bytes_each_way, total.dealer_bytes
    );
    assert!(total.rounds < 200 && total.bytes_each_way < 4 << 20 && total.dealer_bytes < 4 << 20, "{total:?}");
    assert_near(&job, &train, &result.parameters, 1e-3);
}

#[test]
fn unsuitable_jobs_are_refused() {
    let base = toml(4, "features = 2\nridge = 1", 1);
    parsed(&base).unwrap();
    let dense = "[{ kind = 'dense', units = 2 }]";
    for (from, to, words) in [
        (dense, "[{ kind = 'dense', units = 2 }, { kind = 'relu' }]", "one dense layer"),
        ("loss = 'logistic'", "loss = 'softmax-cross-entropy'", "\"logistic\""),
        ("features = 2", "features = 0", "optimizer.features"),
        ("features = 2", "features = 5", "from 1 to 4"),
        ("epochs = 1", "epochs = 2", "training.epochs"),
        ("ridge = 1", "clip = 1", "closed-form does not take"),
        ("ridge = 1", "schedule = 'cosine'", "closed-form does not take"),
        ("ridge = 1", "learning_rate = 0.5", "optimizer.learning_rate"),
        ("ridge = 1", "curvature = 'exact'", "optimizer.curvature"),
        ("ridge = 1", "ridge = 0", "optimizer.ridge"),
        ("ridge = 1", "ridge = 0.0001", "raise optimizer.ridge"),
        ("ridge = 1", "logarithm = { method = 'limit', squarings = 2 }", "optimizer.logarithm"),
        ("ridge = 1", "reciprocal = { bits = 8, degree = 1, interval = [0, 1] }", "optimizer.reciprocal"),
        ("kind = 'closed-form'\nfeatures = 2", "kind = 'newton'\nfeatures = 2", "optimizer.features"),
        ("frac_bits = 20", "frac_bits = 12", "frac_bits from 16"),
        ("frac_bits = 20", "ring_bits = 32\nfrac_bits = 11", "ring_bits = 64"),
        ("metrics = true\n", "metrics = true\nloss = 'epoch'\n", "reveal.loss"),
        ("model = true", "model = true\nstandard_errors = true", "reveal.standard_errors"),
        ("{ above = 0.1 }", "{ above = 0.1, divide = 2 }", "above alone"),
    ] {
        assert!(base.contains(from), "{from}");
        let error = parsed(&base.replacen(from, to, 1)).unwrap_err().to_string();
        assert!(error.contains(words), "{to}: {error}");
    }
    let wide = toml(9, "", 1);
    let error = parsed(&wide).unwrap_err().to_string();
    assert!(error.contains("optimizer.features") && error.contains("from 1 to 8"), "{error}");
}

/// The data owner's side refuses a training feature that is no bit.
#[test]
fn features_other_than_bits_are_refused() {
    let text = toml(4, "features = 2", 1).replacen("{ above = 0.1 }", "{ divide = 1 }", 1);
    let job = parsed(&text).unwrap();
    let (train, test) = records(&job, 4);
    let error = Inputs::<u64>::encode(&job, &train, &test).err().unwrap().to_string();
    assert!(error.contains("training record 0, feature 1"), "{error}");
    assert!(error.contains("data.scale.columns[1] = { above"), "{error}");
}
