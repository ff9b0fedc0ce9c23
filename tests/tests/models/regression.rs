//! Regressions by Newton's method: secure equals clear at the plan's cost, and coefficients are
//! those of double precision.
#![allow(clippy::unwrap_used)]

use std::{fmt::Write as _, path::Path};
use symbolon::{
    data::{Dataset, Targets, dataset_dir, load},
    job::{Curvature, Job, JobError, Optimizer},
    report::coefficients,
    train::{Inputs, real},
};
use symbolon_tests::{
    dir::TempDir,
    jobs::Values,
    play::{Game, Keys},
};

const CLASSES: &str = "classes = 3";
const TARGETS: &str = "target = [{ divide = 1 }, { divide = 10 }]";

/// A regression on made-up records: its loss, its task, and the optimizer's keys.
fn toml(loss: &str, task: &str, optimizer: &str, lanes: u16) -> String {
    let (outputs, label) = if task == CLASSES { (3, "'class'") } else { (2, "['first', 'second']") };
    let metrics = task == CLASSES || loss != "logistic";
    let epochs = if optimizer.contains("exact") { 8 } else { 3 };
    let errors = loss == "squared-error" || optimizer.contains("exact");
    format!(
        "version = 2\nname = 'regression'\nloss = '{loss}'\n\
         [data]\nshape = [4]\ntrain_records = 51\ntest_records = 12\n{task}\nscale = {{ divide = 1 }}\n\
         [data.csv]\ntrain = 'records.csv'\ntest_every = 5\nlabel = {label}\ncolumns = ['f0', 'f1', 'f2', 'f3']\n\
         [numbers]\nfrac_bits = 20\n[network]\nlayers = [{{ kind = 'dense', units = {outputs} }}]\n\
         [training]\nepochs = {epochs}\nbatch = 16\nseed = 3\n[optimizer]\nkind = 'newton'\n{optimizer}\n\
         [lanes]\nlanes = {lanes}\ntile = 64\n[reveal]\nmetrics = {metrics}\nloss = 'epoch'\nmodel = true\nstandard_errors = {errors}\n"
    )
}

fn parsed(text: &str) -> Result<Job, JobError> {
    Job::parse(text, Path::new("regression.toml"))
}

fn records(job: &Job) -> (Dataset, Dataset) {
    let mut values = Values(5);
    let mut text = "f0,f1,f2,f3,class,first,second\n".to_owned();
    for _ in 0..63 {
        let x: [f64; 4] = std::array::from_fn(|_| values.unit());
        x.iter().try_for_each(|x| write!(text, "{x},")).unwrap();
        let class = usize::from(x[0] + 0.3 * x[3] > 0.2) + usize::from(x[0] > -0.3);
        let [first, second] = [x[1] + 0.2 * x[2] > 0.1, x[3] > x[0]].map(u8::from);
        writeln!(text, "{class},{first},{}", 10 * second).unwrap();
    }
    let dir = TempDir::new();
    let _ = dir.file("records.csv", &text);
    load(job, &dir).unwrap()
}

#[test]
fn secure_equals_clear_for_every_regression() {
    let cases = [
        ("squared-error", TARGETS, ""),
        ("squared-error", CLASSES, "ridge = 0.5"),
        ("softmax-cross-entropy", CLASSES, "ridge = 2"),
        ("logistic", TARGETS, "curvature = 'fixed'"),
        ("logistic", TARGETS, "curvature = 'exact'"),
        ("logistic", CLASSES, "curvature = 'exact'\nridge = 0.25"),
    ];
    for (lanes, (loss, task, optimizer)) in (1..=3).cycle().zip(cases) {
        let text = toml(loss, task, optimizer, lanes);
        let job = parsed(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        let (train, test) = records(&job);
        let clear = Game::agreed(&job, &Keys::new(7), || Inputs::<u64>::encode(&job, &train, &test).unwrap());
        let mut exact = Regression::new(&job, &train);
        (0..if optimizer.contains("exact") { 20 } else { 3 }).for_each(|_| exact.step(&job));
        // Predictions come from tables of few constants, and records are few.
        let most = if loss == "squared-error" { 1e-3 } else { 0.2 };
        exact.assert_near(&job, &clear.parameters, most);
        assert_eq!(clear.parameters.len(), job.model_words());
    }
}

/// The job files on their data: the coefficients of double precision.
#[test]
fn job_files_have_the_coefficients_of_double_precision() {
    let Some(dir) = dataset_dir() else {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "no data sets: set SYMBOLON_DATA to their folder");
        eprintln!("skipped: no data sets; set SYMBOLON_DATA to their folder, with tabular/ in it");
        return;
    };
    let jobs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../host/jobs");
    for (name, most) in [("boston-linear", 1e-4), ("pima-logistic", 0.05), ("cancer-logistic", 0.1)] {
        let job = Job::load(&jobs.join(name).with_extension("toml")).unwrap();
        let (train, test) = load(&job, &dir).unwrap();
        let inputs = Inputs::<u64>::encode(&job, &train, &test).unwrap();
        let clear = Game::new(job.clone()).clear::<u64>(inputs, &Keys::new(8), 2);
        let mut exact = Regression::new(&job, &train);
        (0..20).for_each(|_| exact.step(&job));
        exact.assert_near(&job, &clear.parameters, most);
        exact.assert_tabulated(&job, &clear.parameters);
    }
}

/// The method in double precision.
struct Regression {
    /// Rows with a one behind.
    x: Vec<Vec<f64>>,
    y: Vec<Vec<f64>>,
    /// One weight vector per output.
    weights: Vec<Vec<f64>>,
}

impl Regression {
    fn new(job: &Job, train: &Dataset) -> Self {
        let row = |row: &[f32]| row.iter().map(|x| f64::from(*x)).chain([1.0]).collect();
        let outputs = job.outputs();
        let hot = |class: &u32| (0..outputs).map(|i| f64::from(u8::from(i == *class as usize))).collect();
        let y = match &train.targets {
            Targets::Classes(classes) => classes.iter().map(hot).collect(),
            Targets::Values(values) => {
                values.chunks_exact(outputs).map(|row| row.iter().map(|y| f64::from(*y)).collect()).collect()
            }
        };
        let x = train.features.chunks_exact(train.cols).map(row).collect();
        Self { x, y, weights: vec![vec![0.0; train.cols + 1]; outputs] }
    }

    /// Predictions of a row.
    fn predicted(&self, loss: &str, row: &[f64]) -> Vec<f64> {
        let z = |weights: &Vec<f64>| weights.iter().zip(row).map(|(w, x)| w * x).sum::<f64>();
        let z: Vec<f64> = self.weights.iter().map(z).collect();
        match loss {
            "logistic" => z.iter().map(|z| 1.0 / (1.0 + (-z).exp())).collect(),
            "softmax-cross-entropy" => {
                let sum: f64 = z.iter().map(|z| z.exp()).sum();
                z.iter().map(|z| z.exp() / sum).collect()
            }
            _ => z,
        }
    }

    /// The equations of an output, with the gradient and the identity behind.
    fn system(&self, job: &Job, o: usize) -> Vec<Vec<f64>> {
        let Optimizer::Newton(newton) = job.optimizer else { panic!("not Newton's method") };
        let (loss, ridge, m) = (job.loss.kind(), newton.ridge.value(), self.x[0].len());
        let p: Vec<Vec<f64>> = self.x.iter().map(|row| self.predicted(loss, row)).collect();
        let weight = |i: usize| match (newton.curvature, loss) {
            (Curvature::Exact, _) => p[i][o] * (1.0 - p[i][o]),
            (_, "logistic") => 0.25,
            (_, "softmax-cross-entropy") => 0.5,
            _ => 1.0,
        };
        let mut rows = vec![vec![0.0; 2 * m + 1]; m];
        for (j, row) in rows.iter_mut().enumerate() {
            for (i, x) in self.x.iter().enumerate() {
                (0..m).for_each(|k| row[k] += weight(i) * x[j] * x[k]);
                row[m] += (p[i][o] - self.y[i][o]) * x[j];
            }
            row[m + 1 + j] = 1.0;
            if j + 1 < m {
                row[j] += ridge;
                row[m] += ridge * self.weights[o][j];
            }
        }
        rows
    }

    fn step(&mut self, job: &Job) {
        let solutions: Vec<_> = (0..self.weights.len()).map(|o| solved(self.system(job, o))).collect();
        for (weights, solution) in self.weights.iter_mut().zip(&solutions) {
            weights.iter_mut().zip(solution).for_each(|(w, s)| *w -= s[0]);
        }
    }

    /// The diagonal of the inverse of the curvature of an output.
    fn variances(&self, job: &Job, o: usize) -> Vec<f64> {
        solved(self.system(job, o)).iter().enumerate().map(|(j, row)| row[1 + j]).collect()
    }

    /// Holds parameters, rows of inputs, to these.
    fn assert_near(&self, job: &Job, parameters: &[u64], most: f64) {
        let outputs = self.weights.len();
        let (weights, variances) = parameters.split_at(job.parameters());
        for (at, word) in weights.iter().enumerate() {
            let (got, exact) = (real(job, *word), self.weights[at % outputs][at / outputs]);
            assert!((got - exact).abs() < most * (1.0 + exact.abs()), "{}, {at}: {got} for {exact}", job.name);
        }
        let exact: Vec<_> = (0..outputs).map(|o| self.variances(job, o)).collect();
        let divisor = job.data.train_records.next_power_of_two() as f64;
        for (at, word) in variances.iter().enumerate() {
            let (got, exact) = (real(job, *word) / divisor, exact[at % outputs][at / outputs]);
            assert!((got / exact - 1.0).abs() < 0.1, "{}, variance {at}: {got} for {exact}", job.name);
        }
    }
}

impl Regression {
    /// Holds the table of coefficients to these weights and variances, and p-values to a known one.
    fn assert_tabulated(&self, job: &Job, model: &[u64]) {
        let inputs = self.x[0].len() - 1;
        let is_linear = job.loss.kind() == "squared-error";
        let residual = |(x, y): (&Vec<f64>, &Vec<f64>)| self.predicted("squared-error", x)[0] - y[0];
        let squares: f64 = self.x.iter().zip(&self.y).map(residual).map(|r| r * r).sum();
        let records = self.x.len() as f64;
        let scale = if is_linear { squares / (records - inputs as f64 - 1.0) } else { 1.0 };
        let table = coefficients(job, model, Some(squares / 2.0 / records));
        assert_eq!(table.len(), inputs + 1); // of two classes, those of the second
        let output = if is_linear { 0 } else { 1 };
        let variances = self.variances(job, output);
        for (at, own) in table.iter().enumerate() {
            assert_eq!((own.output, own.feature), (output, (at < inputs).then_some(at)));
            assert_eq!(own.name.is_some(), at < inputs);
            let (error, exact) = (own.standard_error.unwrap(), (scale * variances[at]).sqrt());
            assert!((error / exact - 1.0).abs() < 0.05, "{}, {at}: {error} for {exact}", job.name);
            assert_eq!(own.z.unwrap(), own.value / error);
            assert_eq!(own.odds_ratio, (!is_linear).then(|| own.value.exp()));
            let p = own.p_value.unwrap();
            assert_eq!(p < 0.05, own.z.unwrap().abs() > 1.959_964, "{}, {at}: {p}", job.name);
        }
    }
}

/// Solves an augmented system: the columns behind.
fn solved(mut rows: Vec<Vec<f64>>) -> Vec<Vec<f64>> {
    let m = rows.len();
    for j in 0..m {
        let pivot = rows[j].clone();
        for (i, row) in rows.iter_mut().enumerate() {
            let factor = if i == j { 0.0 } else { row[j] / pivot[j] };
            row.iter_mut().zip(&pivot).for_each(|(x, y)| *x -= factor * y);
        }
    }
    rows.iter().enumerate().map(|(i, row)| row[m..].iter().map(|x| x / row[i]).collect()).collect()
}

#[test]
fn unsuitable_newton_jobs_are_refused() {
    let base = toml("squared-error", TARGETS, "ridge = 1", 1);
    parsed(&base).unwrap();
    for (from, to, words) in [
        (
            "[{ kind = 'dense', units = 2 }]",
            "[{ kind = 'dense', units = 3 }, { kind = 'dense', units = 2 }]",
            "one dense layer",
        ),
        ("[{ kind = 'dense', units = 2 }]", "[{ kind = 'dense', units = 2 }, { kind = 'relu' }]", "one dense layer"),
        ("ridge = 1", "curvature = 'exact'", "needs the loss \"logistic\""),
        ("loss = 'squared-error'", "loss = { kind = 'huber', delta = 1.0 }", "reveal.standard_errors"),
        ("model = true", "model = false", "reveal.standard_errors"),
        ("ridge = 1", "ridge = 0", "optimizer.ridge"),
        ("ridge = 1", "clip = 1", "newton does not take"),
        ("ridge = 1", "weight_decay = 0.5", "newton does not take"),
        ("ridge = 1", "learning_rate = 0.5", "optimizer.learning_rate"),
        ("kind = 'newton'", "kind = 'sgd'\nlearning_rate = 0.5", "optimizer.ridge"),
        ("ridge = 1", "ridge = 0.0001", "over the records"),
        ("frac_bits = 20", "ring_bits = 32\nfrac_bits = 11", "ring_bits = 64"),
    ] {
        assert!(base.contains(from), "{from}");
        let error = parsed(&base.replacen(from, to, 1)).unwrap_err().to_string();
        assert!(error.contains(words), "{to}: {error}");
    }
}
