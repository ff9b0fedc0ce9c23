//! Models that the two servers keep as shares: kept, shown, published, opened, deleted; refused to
//! others; and what a server that died in between leaves.

use super::{alone, assert_useful, folder, train};
use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    process::{Command, Output},
};
use symbolon::{
    net::Role,
    report::{Model, read_model, write_model},
    session::client::Keep,
    train::Inputs,
};
use symbolon_tests::{
    dir::TempDir,
    jobs::{OPTIMIZERS, Shape},
    program::{LONG, Process, assert_fails, eventually, run, symbolon},
    roles::{ANYTHING, HASTY, Roles},
    stored::Task,
    wire::{Answer, Data, ImportRequest, MAX_BYTES, No, Order, Update, fresh_session},
};

/// `symbolon models` of a client.
fn models(client: &Path, words: &[&str]) -> Command {
    let mut command = symbolon(["models"]);
    command.args(words).arg("--config").arg(client);
    command
}

fn said(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn json(path: &Path) -> serde_json::Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// Words of the shares on a server's disk.
fn shares(roles: &Roles, role: Role) -> Vec<Vec<u64>> {
    let folder = roles.config(role).parent().unwrap().join("models");
    let files = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let shares = files.filter(|path| path.extension().is_some_and(|end| end == "share"));
    let words = |path| {
        let bytes = fs::read(path).unwrap();
        let words = bytes[58..bytes.len() - 32].as_chunks().0;
        words.iter().map(|word| u64::from_le_bytes(*word)).collect()
    };
    shares.map(words).collect()
}

#[test]
fn a_model_lives_on_both_servers() {
    let _alone = alone();
    let mut roles = Roles::start(HASTY, ANYTHING);
    let (shape, client, out) = (Shape { epochs: 2, ..Shape::default() }, roles.client(), TempDir::new());
    let job = folder(&shape);
    let [direct, opened, run_json] = ["direct", "opened", "run.json"].map(|name| out.join(name));
    let args = ["--model", direct.to_str().unwrap(), "--json", run_json.to_str().unwrap()];
    let name = shape.job().name;
    let told = said(&train(&job, &client, &args));
    assert!(told.contains(&format!("{name}:1, a draft on both servers")), "{told}");
    assert_eq!(json(&run_json)["kept"], format!("{name}:1"));
    // Under another name, and not at all.
    assert!(said(&train(&job, &client, &["--keep", "other"])).contains("other:1, a draft"));
    assert!(!said(&train(&job, &client, &["--no-keep"])).contains("kept"));
    assert!(said(&train(&job, &client, &["--seed", "9"])).contains(&format!("{name}:2, a draft")));

    let first = &format!("{name}:1")[..];
    let list = || said(&run(&mut models(&client, &["list"])));
    assert_eq!(list().matches(" draft").count(), 3, "{}", list());
    // The export has the tensors that the job revealed.
    said(&run(&mut models(&client, &["export", first, "--out", opened.to_str().unwrap()])));
    let [direct, opened] = [read_model(&direct).unwrap(), read_model(&opened).unwrap()];
    assert_eq!(opened.tensors, direct.tensors);
    for note in ["layout", "layers", "scale", "classes", "job_hash", "plan_hash"] {
        assert_eq!(opened.notes[note], direct.notes[note], "{note}");
    }
    // The shares are uniform by themselves: no word is 0, as biases are that no step has changed,
    // and no two models share one.
    let held: Vec<u64> =
        [Role::Server0, Role::Server1].iter().flat_map(|role| shares(&roles, *role)).flatten().collect();
    let distinct: BTreeSet<_> = held.iter().collect();
    assert!(held.len() > 400 && distinct.len() == held.len() && !distinct.contains(&0), "{} words", held.len());

    let shown = out.join("shown.json");
    said(&run(&mut models(&client, &["show", first, "--json", shown.to_str().unwrap()])));
    let shown = json(&shown);
    assert_eq!((&shown["epochs"], &shown["train_records"], &shown["seed"]), (&2.into(), &112.into(), &7.into()));
    assert_eq!(shown["state"]["server1"], "draft");
    let second = format!("{name}:2");
    let diff = said(&run(&mut models(&client, &["diff", first, &second])));
    assert!(diff.contains("seed: 7 -> 9") && !diff.contains("scale"), "{diff}");

    let change = |words: &[&str]| run(&mut models(&client, words));
    assert_fails(
        &change(&["retire", first]),
        4,
        &["server0 refused: model-state: ", "only a published model can be retired"],
    );
    assert!(said(&change(&["publish", first])).contains("published on both servers"));
    assert_fails(&change(&["delete", first]), 4, &["model-state: ", "retire it first"]);
    said(&change(&["retire", first]));
    let export = ["export", first, "--out", out.join("none").to_str().unwrap()].map(str::to_owned);
    assert_fails(&change(&export.each_ref().map(String::as_str)), 4, &["model-state: ", "publish it again"]);
    said(&change(&["delete", first]));
    assert_fails(&change(&["show", first]), 4, &["model-unknown: "]);
    assert_fails(&change(&["show", "digits"]), 2, &["NAME:VERSION"]);
    // A number is given once.
    assert!(said(&train(&job, &client, &["--keep", "other"])).contains("other:2, a draft"));

    // All survive a server's death.
    let before = list();
    roles.server1.kill();
    let again = Process::start("server", &roles.config(Role::Server1));
    let told = said(&run(&mut models(&reached(&roles, Role::Server1, again.port), &["list"])));
    assert_eq!(told, before);
}

/// An import and its export give the same tensors, neither server has a tensor in the clear, and
/// invalid files are refused before anything is sent.
#[test]
fn a_model_of_ones_own_is_imported() {
    let _alone = alone();
    let roles = Roles::start(HASTY, ANYTHING);
    let (shape, client, out) = (Shape::default(), roles.client(), TempDir::new());
    let job = folder(&shape);
    let [mine, back, wrong] = ["mine", "back", "wrong"].map(|name| out.join(name));
    said(&train(&job, &client, &["--no-keep", "--model", mine.to_str().unwrap()]));
    let import = |file: &Path| {
        let job = job.join("job.toml");
        run(&mut models(&client, &["import", job.to_str().unwrap(), file.to_str().unwrap(), "--name", "own"]))
    };
    assert!(said(&import(&mine)).contains("own:1 is a draft on both servers"));
    said(&run(&mut models(&client, &["export", "own:1", "--out", back.to_str().unwrap()])));
    let [model, back] = [read_model(&mine).unwrap(), read_model(&back).unwrap()];
    assert_eq!(back.tensors, model.tensors);
    assert_eq!(back.notes["origin"], "imported");
    let encoded = symbolon::train::model_words::<u64>(&shape.job(), &model).unwrap();
    let [mine, theirs] = [Role::Server0, Role::Server1].map(|role| shares(&roles, role).remove(0));
    let sums: Vec<u64> = mine.iter().zip(&theirs).map(|(a, b)| a.wrapping_add(*b)).collect();
    assert_eq!(sums, encoded, "the shares are the model's");
    assert!(mine.iter().chain(&theirs).all(|word| !encoded.contains(word)), "and neither is the model");
    let mut other = model.clone();
    other.notes.insert("output".to_owned(), "sigmoid".to_owned());
    write_model(&wrong, &other).unwrap();
    assert_fails(&import(&wrong), 2, &["metadata have output = sigmoid; the job has softmax"]);
    let mut other = model.clone();
    other.tensors[0].values[0] = f32::NAN;
    write_model(&wrong, &other).unwrap();
    assert_fails(&import(&wrong), 2, &[&other.tensors[0].name, "value 0: not a number"]);
    other.tensors.remove(0);
    write_model(&wrong, &other).unwrap();
    assert_fails(&import(&wrong), 2, &["the model lacks the tensor "]);
    assert_eq!(shares(&roles, Role::Server0).len(), 1);
}

/// A network of another program gets a job of its own, is shared, and leaves again as ONNX.
#[test]
fn a_network_from_elsewhere_is_imported() {
    let _alone = alone();
    let roles = Roles::start(HASTY, ANYTHING);
    let (client, out) = (roles.client(), TempDir::new());
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors/onnx/mlp.onnx");
    let [job, back] = ["job.toml", "back.onnx"].map(|name| out.join(name));
    let mut command = symbolon(["job", "from-onnx"]);
    command.arg(&file).arg("--out").arg(&job);
    assert!(said(&run(&mut command)).contains("5 layers, "));
    assert_fails(&run(&mut command), 2, &["job.toml exists"]);
    let import = ["import", job.to_str().unwrap(), file.to_str().unwrap()];
    assert!(said(&run(&mut models(&client, &import))).contains("mlp:1 is a draft on both servers"));
    said(&run(&mut models(&client, &["export", "mlp:1", "--out", back.to_str().unwrap()])));
    let job = symbolon::job::Job::load(&job).unwrap();
    let words = |file: &Path| {
        let imported = symbolon::onnx::read_onnx(file).unwrap();
        symbolon::train::model_words::<u64>(&job, &imported.for_job(&job).unwrap().0).unwrap()
    };
    let encoded = words(&file);
    assert_eq!(words(&back), encoded);
    let [mine, theirs] = [Role::Server0, Role::Server1].map(|role| shares(&roles, role).remove(0));
    let sums: Vec<u64> = mine.iter().zip(&theirs).map(|(a, b)| a.wrapping_add(*b)).collect();
    assert_eq!(sums, encoded, "the shares are the network's");
    // It is trained further on records of its owner's, and measured on others.
    let shape = Shape::default();
    let text = fs::read_to_string(out.join("job.toml")).unwrap();
    let (head, rest) = text.split_once("[data.npz]").unwrap();
    let (_, rest) = rest.split_once("[network]").unwrap();
    let head = head.replace("= 1024", "= 112").replace("= 256", "= 28");
    let csv = "[data.csv]\ntrain = \"records.csv\"\ntest_every = 5\nlabel = \"label\"\n[network]";
    let own = TempDir::new();
    let _ = own.file("job.toml", &format!("{head}{csv}{rest}"));
    let rows = own.file("records.csv", &shape.csv());
    assert!(said(&train(&own, &client, &["--from", "mlp:1"])).contains("mlp:2, a draft"));
    for model in ["mlp:1", "mlp:2"] {
        let evaluate = |more: &[&str]| {
            let mut command = symbolon(["evaluate", model, "--csv"]);
            run(command.arg(&rows).arg("--config").arg(&client).args(more))
        };
        assert!(said(&evaluate(&["--label", "label"])).contains("evaluated   140 records"));
        match model {
            "mlp:1" => assert_fails(&evaluate(&[]), 2, &["reads no CSV file", "--label"]),
            _ => assert!(said(&evaluate(&[])).contains("accuracy")),
        }
    }
    let unknown = out.join("unknown.onnx");
    let mut bytes = fs::read(&file).unwrap();
    let at = bytes.windows(9).position(|bytes| bytes == b"LeakyRelu").unwrap();
    bytes[at..at + 9].copy_from_slice(b"HardSwish");
    fs::write(&unknown, bytes).unwrap();
    let import = ["import", out.join("job.toml").to_str().unwrap(), unknown.to_str().unwrap()].map(str::to_owned);
    let refused = run(&mut models(&client, &import.each_ref().map(String::as_str)));
    assert_fails(&refused, 2, &["onnx-operator: ", "HardSwish"]);
}

/// The client's configuration with another port of a server.
fn reached(roles: &Roles, role: Role, port: u16) -> std::path::PathBuf {
    let file = roles.client();
    let text = fs::read_to_string(&file).unwrap();
    let lines = text.lines().map(|line| match line.starts_with(&format!("{role} = ")) {
        true => format!("{role} = \"127.0.0.1:{port}\""),
        false => line.to_owned(),
    });
    let text = lines.collect::<Vec<_>>().join("\n");
    fs::write(&file, text).unwrap();
    file
}

/// One server has lost a published version: each command says so, and retiring and deleting go on.
#[test]
fn servers_that_disagree_say_so() {
    let _alone = alone();
    let mut roles = Roles::start(HASTY, ANYTHING);
    let (shape, client) = (Shape::default(), roles.client());
    let (job, name) = (folder(&shape), shape.job().name);
    said(&train(&job, &client, &[]));
    said(&run(&mut models(&client, &["publish", &format!("{name}:1")])));
    roles.server1.kill();
    fs::remove_dir_all(roles.config(Role::Server1).parent().unwrap().join("models")).unwrap();
    let again = Process::start("server", &roles.config(Role::Server1));
    let (client, model) = (reached(&roles, Role::Server1, again.port), format!("{name}:1"));
    let told = said(&run(&mut models(&client, &["list"])));
    assert!(told.contains("published on server0, server1 lacks it"), "{told}");
    let export = ["export", &model, "--out", "never.safetensors"];
    for words in [&["publish", &*model][..], &["show", &*model], &["diff", &*model, &*model], &export] {
        let refused = run(&mut models(&client, words));
        assert_fails(&refused, 4, &["model-incomplete: server1 lacks ", "only be retired and deleted"]);
    }
    assert_fails(&run(&mut models(&client, &["delete", &model])), 4, &["model-state: ", "retire it first"]);
    said(&run(&mut models(&client, &["retire", &model])));
    assert_eq!(shares(&roles, Role::Server0).len(), 1);
    said(&run(&mut models(&client, &["delete", &model])));
    assert_eq!(shares(&roles, Role::Server0).len(), 0);
}

/// A store without room: a job that asks for the model is refused before anything is shared;
/// another one runs and says that its model is not kept.
#[test]
fn a_full_store_keeps_no_model() {
    let _alone = alone();
    let roles = Roles::start(HASTY, &format!("{ANYTHING}\n[models]\nmost_versions = 1"));
    let (job, client) = (folder(&Shape::default()), roles.client());
    said(&train(&job, &client, &[]));
    let refused = train(&job, &client, &["--keep", "second"]);
    assert_fails(&refused, 4, &["server0 refused: model-store-full: ", "--no-keep"]);
    let output = train(&job, &client, &[]);
    assert!(said(&output).contains("accuracy"));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(
        text.contains("the job is done, but no model is kept: server") && text.contains("model-store-full"),
        "{text}"
    );
    assert!(!String::from_utf8_lossy(&train(&job, &client, &["--no-keep"]).stderr).contains("model"));
}

/// A job that does not reveal the model, and a policy that no longer permits it.
#[test]
fn a_closed_model_stays_closed() {
    let _alone = alone();
    let roles = Roles::start(HASTY, &ANYTHING.replace(", \"model\"", ""));
    let (shape, client) = (Shape::default(), roles.client());
    let hidden = shape.toml().replace("model = true", "model = false");
    let job = folder(&shape);
    let _ = job.file("job.toml", &hidden);
    said(&train(&job, &client, &["--keep", "hidden"]));
    let own = TempDir::new();
    let (words, file) = (vec![1u64; shape.job().model_words()], own.join("own.safetensors"));
    let tensors = symbolon::train::tensors(&shape.job(), &words);
    write_model(&file, &Model { tensors, ..Model::default() }).unwrap();
    let open = own.file("open.toml", &shape.toml());
    said(&run(&mut models(&client, &["import", open.to_str().unwrap(), file.to_str().unwrap(), "--name", "own"])));
    let out = own.join("out");
    let export = |model: &str| run(&mut models(&client, &["export", model, "--out", out.to_str().unwrap()]));
    assert_fails(&export("own:1"), 4, &["policy.reveals does not permit `model`"]);
    assert_fails(&export("hidden:1"), 4, &["policy.reveals does not permit `model`"]);
    drop(roles);
    let roles = Roles::start(HASTY, ANYTHING);
    let client = roles.client();
    said(&train(&job, &client, &["--keep", "hidden"]));
    let export = run(&mut models(&client, &["export", "hidden:1", "--out", out.to_str().unwrap()]));
    assert_fails(&export, 4, &["model-closed: "]);
    assert!(!out.exists());
}

/// Imports by hand: each wrong one is refused with its reason, and none keeps a place.
#[test]
fn wrong_imports_are_refused() {
    let _alone = alone();
    let mut roles = Roles::start(HASTY, &format!("{ANYTHING}\nplaces = 1"));
    let job = Shape::default().job();
    let import = |to, request: &ImportRequest, data: Option<Data>| {
        let mut server = roles.reach(Role::Client, to);
        server.send(request).unwrap();
        let first = server.recv::<Answer>(MAX_BYTES).unwrap();
        let (Some(data), true) = (data, first.is_ok()) else { return first };
        server.send(&data).unwrap();
        server.recv::<Answer>(MAX_BYTES).unwrap()
    };
    let refused = |answer: Answer, words: &str| {
        let (No::Refused(reason) | No::Failed(reason) | No::Busy(reason)) = answer.unwrap_err();
        assert!(reason.contains(words), "{words:?} is not in {reason}");
    };
    let good = ImportRequest::of("mine", 1, &job);
    refused(import(Role::Server0, &ImportRequest::of("../mine", 1, &job), None), "name: is \"../mine\"");
    let none = ImportRequest { version: 0, ..good.clone() };
    refused(import(Role::Server0, &none, Some(Data::Seed([1; 32]))), "model-taken: ");
    // A model that devices ask was trained here.
    let task = Task { ring_bits: 64, lanes: 2, records: 113, regression: false, optimizer: OPTIMIZERS[0] };
    refused(import(Role::Server0, &ImportRequest::of("mine", 1, &task.job()), None), "data.reports: ");
    let broken = ImportRequest { job: vec![9; 40], ..good.clone() };
    refused(import(Role::Server0, &broken, None), "the job from client");
    refused(import(Role::Server0, &good, Some(Data::Words)), "this server's share of the model was due");
    refused(import(Role::Server1, &good, Some(Data::Seed([1; 32]))), "this server's share of the model was due");
    // One that says nothing holds the place no longer than the idle time-out.
    let mut silent = roles.reach(Role::Client, Role::Server0);
    silent.send(&good).unwrap();
    silent.recv::<Answer>(MAX_BYTES).unwrap().unwrap();
    refused(import(Role::Server0, &good, None), "policy.places is 1");
    let took = |answer: &Answer| matches!(answer, Ok(()));
    assert!(eventually(LONG, || took(&import(Role::Server0, &good, Some(Data::Seed([1; 32]))))));
    refused(import(Role::Server0, &good, Some(Data::Seed([1; 32]))), "model-taken: ");
    assert_eq!((shares(&roles, Role::Server0).len(), shares(&roles, Role::Server1).len()), (1, 0));
    assert_useful(&mut roles);
}

/// A client that asks one server alone to keep the model: the job ends before it begins, and blames
/// neither server.
#[test]
fn servers_compare_what_they_are_asked_to_keep() {
    let _alone = alone();
    let mut roles = Roles::start(HASTY, ANYTHING);
    let shape = Shape::default();
    let job = shape.job();
    let (first, keep) = (Order::of(fresh_session(), &job), Some(Keep { name: "one".to_owned(), required: true }));
    let orders = [(Role::Server0, Order { keep, ..first.clone() }), (Role::Server1, first)];
    let mut servers = orders.map(|(role, order)| {
        let mut server = roles.reach(Role::Client, role);
        server.send(&order).unwrap();
        server.recv::<Answer>(MAX_BYTES).unwrap().unwrap();
        server
    });
    servers[0].send(&Data::Seed([1; 32])).unwrap();
    servers[1].send(&Data::Words).unwrap();
    let words: usize = Inputs::<u64>::lens(&job).iter().sum();
    servers[1].send_bytes(&vec![0; 8 * words]).unwrap();
    let reasons = servers.map(|mut server| {
        loop {
            match server.recv::<Update>(MAX_BYTES) {
                Ok(Update::No(No::Refused(reason) | No::Failed(reason))) => break reason,
                Ok(Update::Done { .. } | Update::Output { .. } | Update::Ready { .. }) => panic!("the job began"),
                Ok(_) => {}
                Err(error) => break error.to_string(),
            }
        }
    });
    let told = reasons.iter().all(|reason| reason.contains("another order under this number"));
    assert!(told, "{reasons:?}");
    assert_eq!((shares(&roles, Role::Server0).len(), shares(&roles, Role::Server1).len()), (0, 0));
    assert_useful(&mut roles);
}
