//! A kept model is evaluated and trained further: by its owner, on equal networks, with closed
//! models staying closed.

use super::{alone, assert_useful, folder, train};
use std::{
    fs,
    path::Path,
    process::{Command, Output},
};
use symbolon::net::Role;
use symbolon_tests::{
    dir::TempDir,
    jobs::Shape,
    program::{assert_fails, run, symbolon},
    roles::{ANYTHING, HASTY, Roles},
};

fn said(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn models(client: &Path, words: &[&str]) -> Output {
    let mut command = symbolon(["models"]);
    run(command.args(words).arg("--config").arg(client))
}

fn evaluate(client: &Path, words: &[&str]) -> Output {
    let mut command: Command = symbolon(["evaluate"]);
    run(command.args(words).arg("--config").arg(client))
}

fn json(path: &Path) -> serde_json::Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// The test records' rows: each fifth, with the header.
fn test_rows(csv: &str) -> String {
    let rows = csv.lines().skip(1).enumerate().filter(|(i, _)| i % 5 == 4).map(|(_, row)| row);
    csv.lines().take(1).chain(rows).map(|row| row.to_owned() + "\n").collect()
}

#[test]
fn a_kept_model_is_evaluated() {
    let _alone = alone();
    let mut roles = Roles::start(HASTY, &ANYTHING.replace("smallest_records = 1", "smallest_records = 20"));
    let other = roles.second_client(); // first: it changes the deployment
    let (shape, client, out) = (Shape { epochs: 8, ..Shape::default() }, roles.client(), TempDir::new());
    let dir = folder(&shape);
    let [trained, again, csv] = ["trained.json", "again.json", "csv.json"].map(|name| out.join(name));
    said(&train(&dir, &client, &["--keep", "mine", "--json", trained.to_str().unwrap()]));
    let data = dir.to_str().unwrap();
    let told = said(&evaluate(&client, &["mine:1", "--data", data, "--json", again.to_str().unwrap()]));
    assert!(told.contains("accuracy") && told.contains("evaluated   28 records"), "{told}");
    // The same parameters and records: words differ by dithers alone, which few classes are close
    // to.
    let accuracy = |path: &Path| json(path)["accuracy"].as_f64().unwrap();
    assert!((accuracy(&again) - accuracy(&trained)).abs() <= 3.0 / 28.0, "{} {}", accuracy(&again), accuracy(&trained));
    assert!(accuracy(&again) > 0.7, "{}", accuracy(&again));
    assert_eq!((&json(&again)["samples"], &json(&again)["kept"]), (&0.into(), &serde_json::Value::Null));

    let rows = out.file("rows.csv", &test_rows(&shape.csv()));
    let rows = rows.to_str().unwrap();
    said(&evaluate(&client, &["mine:1", "--csv", rows, "--json", csv.to_str().unwrap()]));
    assert_eq!(json(&csv)["test_samples"], 28);
    assert!((accuracy(&csv) - accuracy(&again)).abs() <= 3.0 / 28.0);

    let few = evaluate(&client, &["mine:1", "--csv", rows, "--test-records", "19"]);
    assert_fails(&few, 4, &["policy.smallest_records is 20", "19"]);
    assert_fails(&evaluate(&client, &["mine:2", "--data", data]), 4, &["model-unknown: "]);
    assert_fails(&evaluate(&client, &["mine:1"]), 2, &["--data <DIR>|--csv <FILE>"]);
    assert_fails(&evaluate(&other, &["mine:1", "--data", data]), 4, &["model-unknown: "]);
    said(&models(&client, &["publish", "mine:1"]));
    said(&models(&client, &["retire", "mine:1"]));
    assert_fails(&evaluate(&client, &["mine:1", "--data", data]), 4, &["model-state: ", "publish it again"]);
    assert_useful(&mut roles);
}

#[test]
fn a_policy_without_the_metric_forbids_an_evaluation() {
    let _alone = alone();
    let roles = Roles::start(HASTY, &ANYTHING.replace("\"accuracy\", ", ""));
    let (shape, client) = (Shape::default(), roles.client());
    let dir = folder(&shape);
    let _ = dir.file("job.toml", &shape.toml().replace("metrics = true", "metrics = false"));
    said(&train(&dir, &client, &["--keep", "mine"]));
    let refused = evaluate(&client, &["mine:1", "--data", dir.to_str().unwrap()]);
    assert_fails(&refused, 4, &["policy.reveals does not permit `accuracy`"]);
}

#[test]
fn a_kept_model_is_trained_further() {
    let _alone = alone();
    let roles = Roles::start(HASTY, ANYTHING);
    let (shape, client, out) = (Shape { epochs: 4, ..Shape::default() }, roles.client(), TempDir::new());
    let dir = folder(&shape);
    let [first, second, shown] = ["first.json", "second.json", "shown.json"].map(|name| out.join(name));
    said(&train(&dir, &client, &["--keep", "mine", "--json", first.to_str().unwrap()]));
    said(&train(&dir, &client, &["--keep", "mine", "--from", "mine:1", "--json", second.to_str().unwrap()]));
    let loss = |path: &Path, epoch: usize| json(path)["history"][epoch]["loss"].as_f64().unwrap();
    assert!(loss(&second, 0) < loss(&first, 3), "it goes on where the first has ended");
    said(&models(&client, &["show", "mine:2", "--json", shown.to_str().unwrap()]));
    assert_eq!((&json(&shown)["from"], &json(&shown)["origin"]), (&"mine:1".into(), &"trained further".into()));

    // The share was copied: the model may go.
    said(&models(&client, &["delete", "mine:1"]));
    assert_fails(&train(&dir, &client, &["--from", "mine:1"]), 4, &["model-unknown: "]);

    let text = shape.toml();
    let changes = [
        ("units = 8", "units = 9", "network"),
        ("scale = { divide = 1 }", "scale = { divide = 2 }", "data.scale"),
        ("ring_bits = 64", "ring_bits = 64\nfrac_bits = 13", "numbers.frac_bits"),
    ];
    for (from, to, key) in changes {
        let _ = dir.file("job.toml", &text.replacen(from, to, 1));
        let refused = train(&dir, &client, &["--from", "mine:2"]);
        assert_fails(&refused, 4, &["model-unfit: ", key, "`symbolon models show`"]);
    }
    // In the job's file as well.
    let _ = dir.file("job.toml", &format!("from = \"mine:2\"\n{text}"));
    said(&train(&dir, &client, &["--no-keep"]));
    let mut local = symbolon(["train"]);
    local.arg(dir.join("job.toml")).arg("--data").arg(&*dir).arg("--local");
    assert_fails(&run(&mut local), 2, &["only the servers of a deployment keep models"]);
    let _ = dir.file("job.toml", &format!("from = \"mine\"\n{text}"));
    assert_fails(&train(&dir, &client, &[]), 2, &["from: is \"mine\"; write NAME:VERSION"]);
}

/// Otherwise one tiny step would open it.
#[test]
fn a_closed_model_is_not_opened_by_training() {
    let _alone = alone();
    let roles = Roles::start(HASTY, ANYTHING);
    let (shape, client) = (Shape::default(), roles.client());
    let dir = folder(&shape);
    let closed = shape.toml().replace("model = true", "model = false");
    let _ = dir.file("job.toml", &closed);
    said(&train(&dir, &client, &["--keep", "hidden"]));
    said(&train(&dir, &client, &["--from", "hidden:1", "--keep", "hidden"]));
    let _ = dir.file("job.toml", &shape.toml());
    for model in ["hidden:1", "hidden:2"] {
        assert_fails(&train(&dir, &client, &["--from", model]), 4, &["model-closed: ", "a job that begins with it"]);
    }
    for server in [Role::Server0, Role::Server1] {
        let jobs = roles.config(server).parent().unwrap().join("jobs");
        let left = fs::read_dir(jobs).unwrap().filter(|file| file.as_ref().unwrap().path().is_dir()).count();
        assert_eq!(left, 0, "copies go with their jobs");
    }
}
