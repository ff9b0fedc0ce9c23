//! Jobs that outlive their client, their peers and their processes: detached, queued, cancelled,
//! continued and expired.

use super::{alone, assert_useful, folder, train};
use redb::{Database, ReadableTable, TableDefinition};
use std::{
    fs,
    path::Path,
    process::Output,
    sync::{
        Mutex,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::Duration,
};
use symbolon::{
    job_store::JobStatus,
    net::Role,
    release::ledger::{Entry, Ledger, State},
    session::{
        client::{self, News},
        jobs::{JobFacts, WaitsFor},
    },
};
use symbolon_tests::{
    dir::TempDir,
    jobs::Shape,
    program::{LONG, assert_fails, eventually, run, symbolon},
    roles::{ANYTHING, CALM, HASTY, Roles},
};

const SERVERS: [Role; 2] = [Role::Server0, Role::Server1];

/// `symbolon jobs` of a client.
fn jobs(client: &Path, words: &[&str]) -> Output {
    run(symbolon(["jobs"]).args(words).arg("--config").arg(client))
}

fn said(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn json(path: &Path) -> serde_json::Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// Starts a job without waiting for it; returns its number.
fn detached(shape: &Shape<'_>, name: &str, client: &Path) -> String {
    let dir = folder(shape);
    let _ = dir.file("job.toml", &shape.toml().replace("\"small\"", &format!("{name:?}")));
    let number = said(&train(&dir, client, &["--no-keep", "--detach"])).trim().to_owned();
    assert!(number.len() == 32 && number.bytes().all(|digit| digit.is_ascii_hexdigit()), "{number}");
    number
}

fn id(number: &str) -> [u8; 16] {
    std::array::from_fn(|i| u8::from_str_radix(&number[2 * i..][..2], 16).unwrap())
}

/// Waits until both servers have the job in this state.
fn await_state(roles: &Roles, job: &[u8; 16], state: &str) {
    let states = || SERVERS.map(|role| roles.state(role, job));
    let came = eventually(LONG, || states() == [state; 2]);
    assert!(came, "{:?}, not {state}: {}{}", states(), roles.server0.said(), roles.server1.said());
}

/// A server's ledger, once no job has it open.
fn entries(roles: &Roles, role: Role) -> Vec<Entry> {
    let (file, mut found) = (roles.config(role).parent().unwrap().join("releases.redb"), None);
    eventually(LONG, || {
        found = Ledger::open(&file).and_then(|ledger| ledger.entries(None, 100)).ok();
        found.is_some()
    });
    found.expect("a job has the ledger open")
}

/// A job whose client returns at once is listed, and fetched once, by this client alone.
#[test]
fn a_detached_job_is_fetched_once() {
    let _alone = alone();
    let mut roles = Roles::start(HASTY, ANYTHING);
    let other = roles.second_client();
    let (client, out) = (roles.client(), TempDir::new());
    let [listed, results] = ["list.json", "run.json"].map(|name| out.join(name));
    let number = &detached(&Shape::default(), "small", &client);
    let entry = || {
        said(&jobs(&client, &["list", "--json", listed.to_str().unwrap()]));
        let all = json(&listed);
        assert_eq!(all.as_array().unwrap().len(), 1);
        assert_eq!((&all[0]["job"], &all[0]["name"]), (&number[..].into(), &"small".into()));
        all[0]["server_1"]["state"].as_str().unwrap().to_owned()
    };
    assert!(["queued", "running", "done"].contains(&&*entry()));
    await_state(&roles, &id(number), "done");
    assert_eq!(entry(), "done");
    for words in [["fetch", number], ["cancel", number], ["show", number]] {
        assert_fails(&jobs(&other, &words), 4, &["job-unknown: this client has no job "]);
    }
    let ticket = client.with_file_name("jobs").join(format!("{number}.ticket"));
    let copy = fs::read(&ticket).unwrap();
    // A model that nobody has stays at the servers.
    assert!(said(&jobs(&client, &["fetch", number])).contains("accuracy"));
    assert!(ticket.exists() && entry() == "done");
    let model = out.join("model.safetensors");
    let files = ["--json", results.to_str().unwrap(), "--model", model.to_str().unwrap()];
    let fetch = || jobs(&client, &[&["fetch", number], &files[..]].concat());
    assert!(said(&fetch()).contains("accuracy") && model.exists());
    assert_eq!(json(&results)["history"].as_array().unwrap().len(), 1);
    assert!(!ticket.exists() && entry() == "fetched");
    for role in SERVERS {
        assert!(!roles.job_folder(role, &id(number)).exists());
    }
    assert_fails(&fetch(), 2, &["job-ticket: ", "only where the job was ordered"]);
    fs::write(&ticket, copy).unwrap();
    #[cfg(unix)]
    fs::set_permissions(&ticket, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    assert_fails(&fetch(), 4, &["job-ended: job ", "has ended (fetched)"]);
    assert_fails(&jobs(&client, &["cancel", number]), 4, &["job-ended: job ", "has ended (fetched)"]);
    assert_useful(&mut roles);
    // Clients that detached, watched to the end or were refused are not lost.
    for server in [&roles.server0, &roles.server1] {
        assert!(!server.said().contains("client (127.0.0.1:"), "{}", server.said());
    }
}

/// With one place, jobs run in the order of their arrival, and a client's priority overtakes.
#[test]
fn jobs_wait_for_their_turn() {
    let _alone = alone();
    let rules = |priority: &str| format!("{ANYTHING}\nplaces = 1\n[jobs]\nretry_s = 0\npriorities = {{ {priority} }}");
    let mut roles = Roles::start(CALM, &rules(""));
    let other = roles.second_client();
    // The servers know the other client by its certificate's serial number.
    let number = detached(&Shape::default(), "before", &other);
    assert!(said(&jobs(&other, &["watch", &number])).contains("accuracy"));
    let serial = entries(&roles, Role::Server1)[0].charge.client.clone();
    said(&jobs(&other, &["fetch", &number]));
    for role in SERVERS {
        let config = roles.config(role);
        let text = fs::read_to_string(&config).unwrap();
        fs::write(&config, text.replace("priorities = {  }", &format!("priorities = {{ {serial:?} = 1 }}"))).unwrap();
        roles.restart(role);
    }
    let client = roles.client();
    let long = Shape { epochs: 120, batch: 4, ..Shape::default() };
    let waiting = [("long", &long), ("second", &Shape::default()), ("third", &Shape::default())];
    let mut numbers: Vec<_> = waiting.map(|(name, shape)| detached(shape, name, &client)).into();
    numbers.push(detached(&Shape::default(), "urgent", &other));
    assert_eq!(roles.state(Role::Server1, &id(&numbers[0])), "running", "the long job is too short");
    listed_with_places(&client, &numbers);
    for number in &numbers[..3] {
        await_state(&roles, &id(number), "done");
    }
    for server in [&roles.server0, &roles.server1] {
        let text = server.logged();
        let begun = text.lines().filter_map(|line| line.split_once(": job ")?.1.split_once(" (")).map(|line| line.0);
        let names = ["long", "second", "third", "urgent"];
        let named: Vec<_> = numbers.iter().zip(names).map(|(number, name)| format!("{number} {name}")).collect();
        let order = [&named[0], &named[3], &named[1], &named[2]];
        assert_eq!(begun.collect::<Vec<_>>(), order, "{text}");
    }
    assert_useful(&mut roles);
}

/// Checks the list of a job that runs, and of two that wait behind another client's.
fn listed_with_places(client: &Path, numbers: &[String]) {
    let dir = TempDir::new();
    let file = dir.join("list.json");
    said(&jobs(client, &["list", "--json", file.to_str().unwrap()]));
    let all = json(&file);
    let at = |number: &String| {
        let entry = all.as_array().unwrap().iter().find(|entry| entry["job"] == number[..]);
        entry.unwrap()["server_1"].clone()
    };
    let runs = at(&numbers[0]);
    let (percent, place) = (runs["percent"].as_u64().unwrap(), &runs["place"]);
    assert!(percent < 100 && place.is_null() && runs["planned_steps"] == 120 * 28, "{runs}");
    for (number, place) in [(&numbers[1], 2), (&numbers[2], 3)] {
        let waits = at(number);
        assert_eq!((&waits["place"], &waits["waits_for"]), (&place.into(), &"a place".into()), "{waits}");
        assert!(waits["percent"].is_null(), "{waits}");
        let shown = said(&jobs(client, &["show", number]));
        let lines = [format!("server1: its place in the queue is {place}"), "server1: it waits for a place".to_owned()];
        assert!(lines.iter().all(|line| shown.contains(line)), "{shown}");
    }
    let list = said(&jobs(client, &["list"]));
    let line = |number: &String| list.lines().find(|line| line.starts_with(number)).unwrap();
    assert!(line(&numbers[0]).contains("running ") && line(&numbers[0]).contains(" %"), "{list}");
    assert!(line(&numbers[1]).contains("queued (2)") && line(&numbers[1]).ends_with("  a place"), "{list}");
}

/// A job whose ticket is lost is discarded: its outputs are deleted, and it counts no more. So is
/// one that waits for a lost dealer.
#[test]
fn jobs_are_discarded() {
    let _alone = alone();
    let mut roles = Roles::start(
        HASTY,
        &format!(
            "{ANYTHING}
[jobs]
retry_s = 60
per_client = 1"
        ),
    );
    let other = roles.second_client();
    let client = roles.client();
    let done = &detached(&Shape::default(), "small", &client);
    await_state(&roles, &id(done), "done");
    fs::remove_file(client.with_file_name("jobs").join(format!("{done}.ticket"))).unwrap();
    assert_fails(&jobs(&client, &["fetch", done]), 2, &["job-ticket: "]);
    assert_fails(&jobs(&other, &["discard", done]), 4, &["job-unknown: "]);
    assert!(SERVERS.iter().all(|role| roles.job_folder(*role, &id(done)).exists()));
    for _ in 0..2 {
        assert!(said(&jobs(&client, &["discard", &done[..8]])).contains(&format!("job {done} is discarded")));
    }
    for role in SERVERS {
        assert_eq!(roles.state(role, &id(done)), "cancelled");
        assert!(!roles.job_folder(role, &id(done)).exists());
    }

    roles.dealer.kill();
    let waits = &detached(&Shape::default(), "small", &client);
    let lost = || {
        let all = roles.jobs(Role::Server1);
        let waits_for = all.iter().find(|facts| facts.id == id(waits)).unwrap().waits_for.clone();
        matches!(waits_for, Some(WaitsFor::Lost(reason)) if reason.contains("dealer"))
    };
    assert!(eventually(LONG, lost), "{:?}", roles.jobs(Role::Server1));
    said(&jobs(&client, &["discard", waits]));
    await_state(&roles, &id(waits), "cancelled");
    let ticket = client.with_file_name("jobs").join(format!("{waits}.ticket"));
    assert!(!ticket.exists(), "its ticket opens nothing more");
    roles.restart(Role::Dealer);
    assert_useful(&mut roles);
}

/// An unknown number ends each command alike, and `-` is no file.
#[test]
fn wrong_arguments_are_refused() {
    let _alone = alone();
    let roles = Roles::start(HASTY, ANYTHING);
    let (client, unknown) = (roles.client(), "0".repeat(32));
    for command in ["show", "watch", "cancel", "discard", "fetch"] {
        assert_fails(&jobs(&client, &[command, &unknown]), 4, &["job-unknown: this client has no job 0000"]);
    }
    let resume = run(symbolon(["train", "--resume", &unknown, "--config"]).arg(&client));
    assert_fails(&resume, 4, &["job-unknown: this client has no job 0000"]);
    let dir = TempDir::new();
    for words in [&["list", "--json", "-"][..], &["fetch", &unknown, "--model", "-"]] {
        let mut command = symbolon(["jobs"]);
        let output = run(command.args(words).arg("--config").arg(&client).current_dir(&*dir));
        assert_fails(&output, 2, &["/dev/stdout for standard output"]);
    }
    assert!(fs::read_dir(&*dir).unwrap().next().is_none(), "a file was written");
}

/// A queued job and a running one are cancelled: they leave neither files nor a charge.
#[test]
fn jobs_are_cancelled() {
    let _alone = alone();
    let mut roles = Roles::start(CALM, &format!("{ANYTHING}\nplaces = 1"));
    let client = roles.client();
    let long = Shape { epochs: 100, batch: 4, ..Shape::default() };
    for _ in 0..5 {
        let [running, queued] = ["running", "queued"].map(|name| detached(&long, name, &client));
        let is_begun = || roles.jobs(Role::Server1).iter().any(|facts| facts.id == id(&running) && facts.step > 56);
        assert!(eventually(LONG, is_begun), "{}", roles.server1.said());
        assert_eq!(SERVERS.map(|role| roles.state(role, &id(&queued))), ["queued"; 2]);
        for number in [&queued, &running] {
            // The other server may have heard of it first: so it succeeds again.
            for _ in 0..2 {
                assert!(said(&jobs(&client, &["cancel", number])).contains("is cancelled"));
            }
            assert_fails(&jobs(&client, &["fetch", number]), 4, &["job-ended: job ", "has ended (cancelled)"]);
        }
        for role in SERVERS {
            for number in [&queued, &running] {
                assert_eq!(roles.state(role, &id(number)), "cancelled");
                let folder = roles.job_folder(role, &id(number));
                let files = || fs::read_dir(&folder).map_or(0, Iterator::count);
                assert!(eventually(Duration::from_secs(3), || files() == 0), "{role} keeps {} files", files());
            }
            let entries = entries(&roles, role);
            let [queued, running] = [&entries[0], &entries[1]];
            assert_eq!((&*queued.charge.job, &*running.charge.job), ("queued", "running"));
            assert_eq!((queued.state, queued.charge.outputs, queued.released), (State::Ended, 0, 0));
            assert_eq!((running.state, running.charge.outputs), (State::Ended, running.released));
            assert!(running.released < 2 * 100, "{}", running.released);
        }
    }
    assert_useful(&mut roles);
}

/// Each role is killed in the middle and starts again: the job goes on by itself, each output comes
/// once, and what was learned is not lost.
#[test]
fn a_job_outlives_its_roles() {
    let _alone = alone();
    let mut roles = Roles::start(CALM, &format!("{ANYTHING}\n[jobs]\nretry_s = 60"));
    let shape = Shape { epochs: 100, batch: 4, ..Shape::default() };
    let (mut config, tls) = roles.client_config();
    config.jobs.retry = Duration::from_secs(60);
    let (last, told) = (AtomicU32::new(0), Mutex::new(Vec::new()));
    let train = |news: &mut dyn FnMut(News)| client::run::<u64>(&config, &tls, &shape.job(), shape.inputs(), news);
    let undisturbed = train(&mut |_| {}).unwrap();
    let outcome = thread::scope(|scope| {
        let training = scope.spawn(|| {
            train(&mut |news| {
                if let News::Epoch(result) = news {
                    last.store(result.epoch, Ordering::Release);
                    told.lock().unwrap().push(result.epoch);
                }
            })
        });
        let mut after = 2;
        for role in [Role::Server0, Role::Server1, Role::Dealer] {
            let came = eventually(LONG, || last.load(Ordering::Acquire) >= after || training.is_finished());
            assert!(came, "{}{}", roles.server0.said(), roles.server1.said());
            assert!(!training.is_finished(), "too short");
            roles.restart(role);
            after = last.load(Ordering::Acquire) + 2;
        }
        training.join().unwrap()
    });
    let outcome = outcome.unwrap_or_else(|error| panic!("{error}: {}", roles.server1.said()));
    assert_eq!(told.into_inner().unwrap(), (1..=shape.epochs).collect::<Vec<_>>());
    assert_eq!(outcome.plan_hash, undisturbed.plan_hash);
    let [accuracy, usual] = [&outcome, &undisturbed].map(|outcome| outcome.epochs.last().unwrap().accuracy.unwrap());
    println!("accuracy {accuracy}, without interruptions {usual}");
    assert!(accuracy > 0.8 && usual > 0.8, "accuracy {accuracy}, without interruptions {usual}");
    assert!(roles.server1.logged().contains(" goes on after "), "{}", roles.server1.logged());
    assert_useful(&mut roles);
}

/// Starts `symbolon train` of the job in `dir`, kills it once `begun`, and returns the job.
fn killed(roles: &Roles, dir: &Path, begun: impl Fn(u64) -> bool) -> [u8; 16] {
    let mut command = symbolon(["train", "--no-keep"]);
    command.arg(dir.join("job.toml")).arg("--data").arg(dir).arg("--config").arg(roles.client());
    let mut client = command.spawn().unwrap();
    let job = || roles.jobs(Role::Server0).into_iter().find(|facts| !facts.status.state.has_ended());
    let came = eventually(LONG, || job().is_some_and(|facts| begun(facts.step)));
    client.kill().unwrap(); // kill -9
    client.wait().unwrap();
    assert!(came, "{}", roles.server0.said());
    job().expect("the job is too short").id
}

/// `symbolon train --resume` after the client was killed; returns the results.
fn resumed(roles: &Roles, job: &[u8; 16]) -> serde_json::Value {
    let (number, out) = (job.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}")), TempDir::new());
    let mut command = symbolon(["train", "--resume", &number[..8], "--config"]);
    command.arg(roles.client()).arg("--json").arg(out.join("run.json"));
    command.arg("--model").arg(out.join("model.safetensors"));
    said(&run(&mut command));
    for role in SERVERS {
        assert_eq!(roles.state(role, job), "fetched");
    }
    json(&out.join("run.json"))
}

/// A client that is killed finds its job again; one that decides about the end is waited for.
#[test]
fn a_killed_client_comes_back() {
    let _alone = alone();
    let mut roles = Roles::start(HASTY, ANYTHING);
    let shape = Shape { epochs: 60, batch: 4, ..Shape::default() };
    let dir = folder(&shape);
    let job = killed(&roles, &dir, |step| step > 0);
    let results = resumed(&roles, &job);
    assert_eq!(results["history"].as_array().unwrap().len(), 60);
    assert!(results["accuracy"].as_f64().unwrap() > 0.8, "{results}");

    let stop = "batch = 4\nearly_stop = { metric = 'loss', patience = 50 }\n";
    let _ = dir.file("job.toml", &shape.toml().replace("batch = 4\n", stop));
    let job = killed(&roles, &dir, |step| step > 28 * 52);
    let decides = |facts: &JobFacts| facts.id == job && facts.waits_for == Some(WaitsFor::Role(Role::Client));
    let waits = || roles.jobs(Role::Server0).iter().any(decides);
    assert!(eventually(LONG, waits), "{:?}", roles.jobs(Role::Server0));
    await_state(&roles, &job, "interrupted");
    let missing = "client did not decide within 2 s whether training goes on";
    for (role, server) in SERVERS.iter().zip([&roles.server0, &roles.server1]) {
        server.says(&[&format!("{role}: job "), missing]);
    }
    assert_eq!(resumed(&roles, &job)["history"].as_array().unwrap().len(), 60);
    assert_useful(&mut roles);
}

/// Moves the last change of a stopped server's job into the past.
fn make_older(roles: &Roles, role: Role, job: &[u8; 16], seconds: i64) {
    const STATUS: TableDefinition<&[u8; 16], &[u8]> = TableDefinition::new("status");
    let catalogue = Database::open(roles.config(role).parent().unwrap().join("jobs").join("jobs.redb")).unwrap();
    let transaction = catalogue.begin_write().unwrap();
    {
        let mut table = transaction.open_table(STATUS).unwrap();
        let mut status: JobStatus = postcard::from_bytes(table.get(job).unwrap().unwrap().value()).unwrap();
        status.since -= seconds;
        table.insert(job, &postcard::to_stdvec(&status).unwrap()[..]).unwrap();
    }
    transaction.commit().unwrap();
}

/// Outputs that nobody fetched in time are gone, and the client is told so.
#[test]
fn outputs_expire() {
    let _alone = alone();
    let mut roles = Roles::start(HASTY, &format!("{ANYTHING}\n[jobs]\nretry_s = 0\nkeep_days = 1"));
    let client = roles.client();
    let number = &detached(&Shape::default(), "small", &client);
    await_state(&roles, &id(number), "done");
    // A server looks for old jobs when it starts, and once a minute.
    roles.server0.kill();
    roles.server1.kill();
    for role in SERVERS {
        make_older(&roles, role, &id(number), 24 * 3600);
        roles.restart(role);
    }
    await_state(&roles, &id(number), "expired");
    for (role, server) in SERVERS.iter().zip([&roles.server0, &roles.server1]) {
        assert!(
            server.logged().contains(&format!("{role}: job {number} has expired and is deleted")),
            "{}",
            server.logged()
        );
        assert!(!roles.job_folder(*role, &id(number)).exists());
    }
    assert_fails(&jobs(&client, &["fetch", number]), 4, &["job-expired: job ", "waited too long", "run it again"]);
    assert_fails(&jobs(&client, &["cancel", number]), 4, &["job-ended: job ", "has ended (expired)"]);
}
