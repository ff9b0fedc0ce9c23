//! Predictions by models that stay shared: answers to those who may ask, through retirement,
//! quotas and the death of each role.

use super::alone;
use std::{fs, process::Output, thread};
use symbolon::{
    job::Job,
    model_store::{Askers, Keep, ModelVersion, Terms},
    net::{ClientTls, Config, Role},
    session::{
        SessionError,
        client::{self, Predictions, TrainRequest},
        models,
    },
    train::{AnswerKind, real, signed},
};
use symbolon_core::fixed::encode;
use symbolon_tests::{
    dir::TempDir,
    jobs::{CLASSES, FEATURES, Shape, Values},
    program::{LONG, assert_fails, eventually, run, symbolon},
    roles::{ANYTHING, CALM, Roles},
};

pub(super) const PREDICTS: &str = "[jobs]\nretry_s = 0\n[serve]\nbatches = [1, 4, 32]\npool_rows = 96\n";

fn policy() -> String {
    format!("{}\n{PREDICTS}", ANYTHING.replace("\"model\"", "\"model\", \"predictions\""))
}

fn roles() -> Roles {
    Roles::start(CALM, &policy())
}

pub(super) fn terms(answer: AnswerKind) -> Terms {
    Terms { answer, per_day: None, askers: Askers::Owner }
}

/// Trains a model and keeps it; returns its version and its opened words.
fn kept(config: &Config, tls: &ClientTls) -> (ModelVersion, Vec<u64>) {
    let shape = Shape::default();
    let (job, keep) = (shape.job(), Keep { name: "small".to_owned(), required: true });
    let request = TrainRequest { job: &job, keep: Some(&keep) };
    let outcome = client::run::<u64>(config, tls, request, shape.inputs(), &mut |_| {}).unwrap();
    let version = outcome.kept.unwrap().unwrap();
    (ModelVersion { name: keep.name, version }, outcome.parameters.unwrap())
}

/// Roles with a kept model of the default shape: the client's end, the model, and its opened words.
fn with_a_model() -> (Roles, Config, ClientTls, ModelVersion, Vec<u64>) {
    let roles = roles();
    let (config, tls) = roles.client_config();
    let (model, opened) = kept(&config, &tls);
    (roles, config, tls, model, opened)
}

/// Opens predictions, once servers and dealer have begun.
pub(super) fn asking(config: &Config, tls: &ClientTls, model: &ModelVersion) -> Predictions {
    let mut found = None;
    let came = eventually(LONG, || match Predictions::open(config, tls, None, model) {
        Ok(predictions) => {
            found = Some(predictions);
            true
        }
        Err(_) => false,
    });
    assert!(came, "{}", Predictions::open(config, tls, None, model).err().unwrap());
    found.unwrap()
}

fn rows(job: &Job, count: usize, salt: u64) -> Vec<u64> {
    let mut values = Values(salt);
    (0..count * FEATURES).map(|_| encode(values.unit(), job.numbers.frac_bits).unwrap()).collect()
}

/// Logits of a dense network of two layers with a ReLU between, in floating point.
fn logits(job: &Job, model: &[u64], row: &[u64]) -> Vec<f64> {
    let model: Vec<f64> = model.iter().map(|word| real(job, *word)).collect();
    let mut x: Vec<f64> = row.iter().map(|word| real(job, *word)).collect();
    let mut rest = &model[..];
    for (units, is_last) in [(Shape::default().hidden, false), (CLASSES, true)] {
        let (weights, others) = rest.split_at(units * x.len());
        let (bias, others) = others.split_at(units);
        rest = others;
        let dot =
            |unit: usize| x.iter().enumerate().map(|(i, x)| x * weights[i * units + unit]).sum::<f64>() + bias[unit];
        x = (0..units).map(dot).map(|z| if is_last { z } else { z.max(0.0) }).collect();
    }
    x
}

/// Rows whose class no dither of the rounding changes.
pub(super) fn clear_rows(job: &Job, opened: &[u64], count: usize, salt: u64) -> Vec<u64> {
    let many = rows(job, 2 * count, salt);
    let is_clear = |row: &&[u64]| {
        let mut z = logits(job, opened, row);
        z.sort_by(f64::total_cmp);
        z[CLASSES - 1] - z[CLASSES - 2] > 0.01
    };
    let clear: Vec<u64> = many.chunks(FEATURES).filter(is_clear).take(count).flatten().copied().collect();
    assert_eq!(clear.len(), count * FEATURES, "too few clear rows");
    clear
}

fn softmax(z: &[f64]) -> Vec<f64> {
    let largest = z.iter().copied().fold(f64::MIN, f64::max);
    let sum: f64 = z.iter().map(|z| (z - largest).exp()).sum();
    z.iter().map(|z| (z - largest).exp() / sum).collect()
}

/// A kept model answers: probabilities as the opened model gives them, then classes on other terms.
#[test]
fn a_kept_model_answers_its_owner() {
    let _alone = alone();
    let (mut roles, config, tls, model, opened) = with_a_model();
    let job = Shape::default().job();
    let refused = Predictions::open(&config, &tls, None, &model).err().unwrap();
    assert!(refused.to_string().contains("predict-unserved: "), "{refused}");
    let bits = job.numbers.frac_bits;
    models::publish(&config, &tls, &model, Some(&terms(AnswerKind::Values { frac_bits: bits }))).unwrap();
    let mut asking = self::asking(&config, &tls, &model);
    for count in [1, 2, 3, 40, 300] {
        let rows = rows(&job, count, count as u64);
        let answers = asking.ask::<u64>(&rows).unwrap();
        assert_eq!(answers.len(), count * CLASSES);
        for (row, answer) in rows.chunks(FEATURES).zip(answers.chunks(CLASSES)) {
            let want = softmax(&logits(&job, &opened, row));
            for (want, got) in want.iter().zip(answer) {
                assert!((want - real(&job, *got)).abs() < 0.01, "{want} {answer:?}");
            }
        }
    }
    // On other terms the session begins anew.
    models::publish(&config, &tls, &model, Some(&terms(AnswerKind::Class))).unwrap();
    let mut asking = self::asking(&config, &tls, &model);
    assert_eq!(asking.answer, AnswerKind::Class);
    let rows = rows(&job, 100, 9);
    let classes = asking.ask::<u64>(&rows).unwrap();
    for (row, class) in rows.chunks(FEATURES).zip(&classes) {
        let z = logits(&job, &opened, row);
        let class = usize::try_from(signed(*class)).unwrap();
        let best = z.iter().copied().fold(f64::MIN, f64::max);
        assert!(z[class] > best - 0.01, "class {class} of {z:?}");
    }
    assert_eq!(classes.len(), 100);
    models::retire(&config, &tls, &model).unwrap();
    let ended = asking.ask::<u64>(&rows).unwrap_err().to_string();
    assert!(ended.contains("predict-ended: ") || ended.contains("predict-unserved"), "{ended}");
    let refused = Predictions::open(&config, &tls, None, &model).err().unwrap();
    assert!(refused.to_string().contains("predict-unserved: "), "{refused}");
    roles.assert_well();
}

/// The program: terms, rows from a file, answers to a file.
#[test]
fn the_program_predicts_rows_of_a_file() {
    let _alone = alone();
    let (mut roles, _, _, model, opened) = with_a_model();
    let (client, dir, name) = (roles.client(), TempDir::new(), model.to_string());
    let call = |words: &[&str]| run(symbolon(words).arg("--config").arg(&client));
    let done = |output: Output| {
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert!(done(call(&["models", "publish", &name, "--answer", "values", "--per-day", "1000"])).contains("published"));
    // The columns in another order, and one that the model does not have.
    let (job, rows) = (Shape::default().job(), rows(&Shape::default().job(), 30, 4));
    let order: Vec<usize> = (0..FEATURES).rev().collect();
    let mut csv = order.iter().map(|i| format!("f{i},")).collect::<String>() + "label\n";
    for row in rows.chunks(FEATURES) {
        order.iter().for_each(|i| csv += &format!("{},", real(&job, row[*i])));
        csv += "?\n";
    }
    let _ = dir.file("rows.csv", &csv);
    let [rows_csv, out] = ["rows.csv", "out.csv"].map(|name| dir.join(name).to_str().unwrap().to_owned());
    done(call(&["predict", &name, "--csv", &rows_csv, "--out", &out]));
    let told = fs::read_to_string(&out).unwrap();
    let mut lines = told.lines();
    assert_eq!(lines.next(), Some("p0,p1,p2"));
    let answers: Vec<Vec<f64>> = lines.map(|line| line.split(',').map(|p| p.parse().unwrap()).collect()).collect();
    assert_eq!(answers.len(), 30);
    // All columns are read in the file's order, whatever their names.
    for (row, answer) in rows.chunks(FEATURES).zip(&answers) {
        let reversed: Vec<u64> = row.iter().rev().copied().collect();
        let want = softmax(&logits(&job, &opened, &reversed));
        assert!(want.iter().zip(answer).all(|(want, got)| (want - got).abs() < 0.01), "{want:?} {answer:?}");
    }
    done(call(&["models", "publish", &name, "--answer", "top", "--k", "2"]));
    done(call(&["predict", &name, "--csv", &rows_csv, "--out", &out]));
    let told = fs::read_to_string(&out).unwrap();
    assert_eq!(told.lines().next(), Some("class1,class2"));
    assert_eq!(told.lines().count(), 31);
    for (line, answer) in told.lines().skip(1).zip(&answers) {
        let [first, second] = *line.split(',').map(|class| class.parse::<usize>().unwrap()).collect::<Vec<_>>() else {
            panic!("{line}");
        };
        assert!(first != second && answer[first] > answer[second] - 0.02, "{line} of {answer:?}");
    }
    let publish = |words: &[&str]| call(&[&["models", "publish", &*name, "--answer"][..], words].concat());
    assert_fails(&publish(&["top", "--k", "4"]), 4, &["serve-top: ", "give 2 to 3"]);
    assert_fails(&publish(&["top"]), 2, &["say how many classes with --k"]);
    assert_fails(&publish(&["class", "--k", "2"]), 2, &["--k is for --answer top"]);
    done(publish(&["values"]));
    assert_fails(&call(&["models", "publish", &name, "--answer", "class", "--round", "3"]), 2, &["--round is for"]);
    assert_fails(&call(&["predict", "none:1", "--csv", &rows_csv]), 4, &["predict-unserved: none:1"]);
    let _ = dir.file("short.csv", "a,b\n1,2\n");
    let short = dir.join("short.csv").to_str().unwrap().to_owned();
    assert_fails(&call(&["predict", &name, "--csv", &short]), 2, &["data.shape (features)"]);
    let bench = done(call(&["bench", "predict", &name, "--clients", "1,2", "--seconds", "1"]));
    assert!(bench.contains("rounds") && bench.lines().count() == 6, "{bench}");
    roles.assert_well();
}

/// A role dies and comes back: within seconds the model answers again.
#[test]
fn a_model_answers_again_after_the_death_of_each_role() {
    let _alone = alone();
    let (mut roles, config, tls, model, opened) = with_a_model();
    models::publish(&config, &tls, &model, Some(&terms(AnswerKind::Class))).unwrap();
    let rows = clear_rows(&Shape::default().job(), &opened, 8, 1);
    let first = asking(&config, &tls, &model).ask::<u64>(&rows).unwrap();
    for role in [Role::Dealer, Role::Server0, Role::Server1] {
        roles.restart(role);
        let started = std::time::Instant::now();
        let answered = eventually(LONG, || {
            let asked = Predictions::open(&config, &tls, None, &model).and_then(|mut open| open.ask::<u64>(&rows));
            asked.is_ok_and(|answers| answers == first)
        });
        assert!(answered, "{role}: {}{}{}", roles.server0.said(), roles.server1.said(), roles.dealer.said());
        println!("{role} back after {:.1} s", started.elapsed().as_secs_f64());
    }
    roles.assert_well();
}

/// Many clients' connections at once, of few and many rows; each gets its own answers.
#[test]
fn askers_side_by_side_get_their_own_answers() {
    let _alone = alone();
    let (mut roles, config, tls, model, opened) = with_a_model();
    models::publish(&config, &tls, &model, Some(&terms(AnswerKind::Class))).unwrap();
    let all = clear_rows(&Shape::default().job(), &opened, 256, 5);
    let want = asking(&config, &tls, &model).ask::<u64>(&all).unwrap();
    thread::scope(|scope| {
        for asker in 0..6 {
            let (config, tls, model, all, want) = (&config, &tls, &model, &all, &want);
            scope.spawn(move || {
                let (mut open, mut values) = (asking(config, tls, model), Values(asker));
                for _ in 0..20 {
                    let (at, count) = (values.below(200), 1 + values.below(50));
                    let answers = open.ask::<u64>(&all[at * FEATURES..(at + count) * FEATURES]).unwrap();
                    assert_eq!(answers, want[at..at + count]);
                }
            });
        }
    });
    roles.assert_well();
}

/// A server that was killed forfeits the rest of its block of a quota. What it alone refuses, the
/// asker hears, whatever the other server waits for.
#[test]
fn a_quota_that_one_server_has_spent_is_refused() {
    let _alone = alone();
    let (mut roles, config, tls, model, _) = with_a_model();
    let quota = Terms { per_day: Some(300), ..terms(AnswerKind::Class) };
    models::publish(&config, &tls, &model, Some(&quota)).unwrap();
    let ask = |count| asking(&config, &tls, &model).ask::<u64>(&rows(&Shape::default().job(), count, 1));
    assert_eq!(ask(12).unwrap().len(), 12);
    roles.restart(Role::Server1);
    let answered = eventually(LONG, || Predictions::open(&config, &tls, None, &model).is_ok());
    assert!(answered);
    let spent = ask(100).unwrap_err().to_string();
    assert!(spent.contains("server1") && spent.contains("44 are left"), "{spent}");
    assert_eq!(ask(44).unwrap().len(), 44);
    roles.assert_well();
}

/// Quotas, strangers and absurd numbers of rows are refused with their codes.
#[test]
fn what_the_terms_forbid_is_refused() {
    let _alone = alone();
    let mut roles = roles();
    // It changes the authorities, and with them the deployment whose models are kept.
    let other = roles.second_client();
    let (config, tls) = roles.client_config();
    let (model, _) = kept(&config, &tls);
    let job = Shape::default().job();
    let quota = Terms { per_day: Some(20), ..terms(AnswerKind::Class) };
    models::publish(&config, &tls, &model, Some(&quota)).unwrap();
    let ask = |count| asking(&config, &tls, &model).ask::<u64>(&rows(&job, count, 1));
    assert_eq!(ask(12).unwrap().len(), 12);
    let spent = ask(9).unwrap_err();
    assert!(matches!(&spent, SessionError::Refused { .. }), "{spent:?}");
    assert!(spent.to_string().contains("predict-quota: ") && spent.to_string().contains("8 are left"), "{spent}");
    assert_eq!(ask(8).unwrap().len(), 8);
    let regression = models::publish(&config, &tls, &model, Some(&terms(AnswerKind::Values { frac_bits: 40 })));
    assert!(regression.unwrap_err().to_string().contains("serve-round: "));
    // Another client.
    let other = Config::load(&other, &[Role::Client]).unwrap();
    let other_tls = ClientTls::new(&other.identity().unwrap());
    let owner = asking(&config, &tls, &model).public.client.clone();
    let refused = Predictions::open(&other, &other_tls, Some(&owner), &model).err().unwrap().to_string();
    assert!(refused.contains("predict-unserved: "), "{refused}");
    models::publish(&config, &tls, &model, Some(&Terms { askers: Askers::All, ..terms(AnswerKind::Class) })).unwrap();
    let admitted = eventually(LONG, || Predictions::open(&other, &other_tls, Some(&owner), &model).is_ok());
    assert!(admitted);
    roles.assert_well();
}
