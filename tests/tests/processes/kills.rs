//! Roles that are killed at random moments, again and again: every job ends by itself, its outputs
//! leave once, and both servers agree on what they store.
//!
//! Each test kills a role [`kills`] times: `SYMBOLON_KILLS=1000 cargo test --release -p
//! symbolon-tests --test processes kills` is the long run. Moments come from a fixed seed; what
//! they hit varies with the machine.

use super::{alone, folder};
use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    process::{Command, Stdio},
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};
use symbolon::{
    data::Lengths,
    job::{Checkpoint, Job, form::outputs},
    model_store::{Keep, ModelVersion},
    net::Role,
    release::ledger::{Ledger, State},
    session::{
        client::{self, News, Outcome, Ticket, TrainRequest},
        models,
    },
};
use symbolon_tests::{
    jobs::{Shape, Values},
    program::{LONG, eventually, symbolon},
    roles::{ANYTHING, CALM, Roles},
};

const SERVERS: [Role; 2] = [Role::Server0, Role::Server1];
/// Name of the kept models.
const MODEL: &str = "whole";

/// How often each role is killed.
fn kills() -> u32 {
    std::env::var("SYMBOLON_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(50)
}

fn patient() -> Roles {
    Roles::start(CALM, &format!("{ANYTHING}\n[jobs]\nretry_s = 300\nqueue = 64"))
}

/// A job of a few hundred steps that stores a checkpoint after each seventh.
fn shape() -> Shape<'static> {
    Shape { epochs: 12, batch: 4, ..Shape::default() }
}

fn job() -> Job {
    let mut job = shape().job();
    job.training.checkpoint = Checkpoint::Steps(7);
    job.validate().unwrap();
    job
}

/// Asserts that a job ended well: all outputs, once, and both servers have stored the same.
fn assert_whole(roles: &Roles, job: &Job, outcome: &Outcome<u64>) {
    let epochs: Vec<u32> = outcome.epochs.iter().map(|epoch| epoch.epoch).collect();
    assert_eq!(epochs, (1..=job.training.epochs).collect::<Vec<_>>(), "each epoch's outputs");
    let losses: Vec<f64> = outcome.epochs.iter().filter_map(|epoch| epoch.loss).collect();
    assert_eq!(losses.len(), epochs.len());
    assert!(losses[losses.len() - 1] < 0.7 * losses[0], "{losses:?}");
    let version = outcome.kept.clone().unwrap().unwrap();
    let (config, tls) = roles.client_config();
    let kept = models::list(&config, &tls).unwrap();
    let [a, b] = &kept[&ModelVersion { name: MODEL.to_owned(), version }];
    assert_eq!(a.as_ref().unwrap().digest, b.as_ref().unwrap().digest);
    assert!(kept.values().all(|both| both.iter().all(Option::is_some)), "a model that one server lacks");
    let model = ModelVersion { name: MODEL.to_owned(), version };
    let [entry, _] = models::show(&config, &tls, &model).unwrap();
    let opened = models::open::<u64>(&config, &tls, (&entry, job)).unwrap();
    assert_eq!(&opened, outcome.parameters.as_ref().unwrap(), "the kept model is the one that left");
}

/// A role is killed and started again while jobs run, until it has been killed as often as it
/// should; `kill` does it.
fn runs_through(name: &str, (seed, kills): (u64, u32), mut kill: impl FnMut(&mut Roles, &mut Values)) {
    let started = Instant::now();
    let (mut roles, mut values) = (patient(), Values(seed));
    let (mut killed, mut jobs) = (0, 0);
    let job = job();
    let mut seen = BTreeSet::new();
    while killed < kills {
        jobs += 1;
        let keep = Keep { name: MODEL.to_owned(), required: true };
        let (mut config, tls) = roles.client_config();
        config.jobs.retry = Duration::from_secs(300);
        let steps = AtomicU64::new(0);
        let outcome = thread::scope(|scope| {
            let (job, steps) = (&job, &steps);
            let training = scope.spawn(move || {
                let request = || TrainRequest { job, keep: Some(&keep) };
                // An order that a kill cuts off is withdrawn, and given again.
                let ticket = loop {
                    let ticket = Ticket::new(request(), &Lengths::default()).unwrap();
                    let inputs = Some(shape().inputs::<u64>());
                    match client::order(&config, &tls, &ticket, inputs, &mut |_| {}) {
                        Ok(_) => break ticket,
                        Err(_) => drop(eventually(LONG, || client::withdraw(&config, &tls, &ticket))),
                    }
                };
                let outcome = client::follow::<u64>(&config, &tls, &ticket, None, &mut |news| {
                    if let News::Step { done, .. } = news {
                        steps.store(done, Ordering::Release);
                    }
                });
                // The kill of another moment may hit this one.
                assert!(outcome.is_err() || eventually(LONG, || client::fetched(&config, &tls, &ticket)));
                outcome
            });
            while !training.is_finished() && killed < kills {
                let before = steps.load(Ordering::Acquire);
                if values.below(3) > 0 {
                    // Some progress first; otherwise the moment may be in the middle of a beginning.
                    eventually(LONG, || training.is_finished() || steps.load(Ordering::Acquire) != before);
                }
                thread::sleep(Duration::from_millis(values.below(250) as u64));
                if !training.is_finished() {
                    kill(&mut roles, &mut values);
                    killed += 1;
                }
            }
            training.join().unwrap()
        });
        let outcome = outcome.unwrap_or_else(|error| {
            panic!("{error}\n{}\n{}\n{}", roles.server0.said(), roles.server1.said(), roles.dealer.said())
        });
        assert_whole(&roles, &job, &outcome);
        assert!(seen.insert(outcome.kept.unwrap().unwrap()), "a version was given twice");
    }
    for role in SERVERS {
        let home = roles.config(role).parent().unwrap().to_owned();
        let is_folder = |file: &fs::DirEntry| file.file_type().unwrap().is_dir();
        let folders = || fs::read_dir(home.join("jobs")).unwrap().flatten().filter(is_folder).count();
        assert!(eventually(LONG, || folders() == 0), "{role} keeps {} folders", folders());
        let entries = Ledger::open(&home.join("releases.redb")).unwrap().entries(None, 10_000).unwrap();
        let whole = entries.iter().filter(|entry| (entry.state, entry.released) == (State::Ended, outputs(&job)));
        assert_eq!(whole.count(), jobs, "at {role}");
        // Orders that were cut off.
        assert!(entries.iter().all(|entry| [0, outputs(&job)].contains(&entry.released)), "at {role}");
    }
    roles.assert_well();
    println!("{name}: killed {killed} times in {jobs} jobs, {:.0} s", started.elapsed().as_secs_f64());
}

#[test]
fn of_server_0() {
    let _alone = alone();
    runs_through("server0", (1, kills()), |roles, _| roles.restart(Role::Server0));
}

#[test]
fn of_server_1() {
    let _alone = alone();
    runs_through("server1", (2, kills()), |roles, _| roles.restart(Role::Server1));
}

#[test]
fn of_the_dealer() {
    let _alone = alone();
    runs_through("the dealer", (3, kills()), |roles, _| roles.restart(Role::Dealer));
}

/// All roles at once, as when the power fails.
#[test]
fn of_all_roles() {
    let _alone = alone();
    let all = [Role::Server0, Role::Server1, Role::Dealer];
    runs_through("all", (4, kills() / 5), |roles, values| {
        let first = values.below(3);
        roles.server0.kill();
        roles.server1.kill();
        roles.dealer.kill();
        (0..3).for_each(|i| roles.restart(all[(first + i) % 3]));
    });
}

/// Before its first checkpoint, a job that begins with a kept model begins with it again, also once
/// the model is deleted.
#[test]
fn of_a_job_that_begins_with_a_model() {
    let _alone = alone();
    let (mut roles, job) = (patient(), job());
    let (mut config, tls) = roles.client_config();
    config.jobs.retry = Duration::from_secs(300);
    let keep = Keep { name: MODEL.to_owned(), required: true };
    let request = TrainRequest { job: &job, keep: Some(&keep) };
    let trained = client::run(&config, &tls, request, shape().inputs::<u64>(), &mut |_| {}).unwrap();
    let model = ModelVersion { name: MODEL.to_owned(), version: trained.kept.unwrap().unwrap() };
    let mut tuning = Job { from: Some(model.clone()), ..job };
    tuning.training.checkpoint = Checkpoint::Steps(1 << 20);
    let steps = AtomicU64::new(0);
    let tuned = thread::scope(|scope| {
        let (config, tls, tuning, steps) = (&config, &tls, &tuning, &steps);
        let training = scope.spawn(move || {
            client::run(config, tls, tuning, shape().inputs::<u64>(), &mut |news| {
                if let News::Step { done, .. } = news {
                    steps.store(done, Ordering::Release);
                }
            })
        });
        assert!(eventually(LONG, || steps.load(Ordering::Acquire) > 0));
        models::delete(config, tls, &model).unwrap();
        roles.restart(Role::Server1);
        training.join().unwrap()
    });
    let first = |outcome: &[symbolon::report::EpochResult]| outcome[0].loss.unwrap();
    let (tuned, trained) = (first(&tuned.unwrap().epochs), first(&trained.epochs));
    assert!(tuned < 0.7 * trained, "{tuned} {trained}");
}

/// The client's process; the job is watched again by the next one.
#[test]
fn of_the_client() {
    let _alone = alone();
    let (roles, mut values) = (patient(), Values(5));
    let dir = folder(&shape());
    let text = shape().toml().replace("[training]", "[training]\ncheckpoint = { steps = 7 }");
    let _ = dir.file("job.toml", &text);
    let (client, started) = (roles.client(), Instant::now());
    let tickets = client.with_file_name("jobs");
    let number = || {
        let files = fs::read_dir(&tickets).into_iter().flatten().flatten();
        files.filter_map(|file| file.file_name().to_str()?.strip_suffix(".ticket").map(str::to_owned)).next()
    };
    let (mut killed, mut jobs) = (0, 0);
    while killed < kills() {
        let resumed = number();
        let mut command = command(resumed.as_deref(), &dir, &client);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        thread::sleep(Duration::from_millis(20 + values.below(400) as u64));
        if child.try_wait().unwrap().is_none() {
            child.kill().unwrap();
            killed += 1;
        }
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        match output.status.code() {
            Some(0) => jobs += 1,
            Some(_) => {
                // It was killed before both servers had the job, or as it told them that it has the results.
                assert!(
                    said.contains("job-unknown") || said.contains("job-ended") || said.contains("no such job"),
                    "{said}"
                );
                let _ = fs::remove_file(tickets.join(format!("{}.ticket", resumed.unwrap())));
            }
            None => {}
        }
    }
    println!("client: killed {killed} times, {jobs} jobs were fetched, {:.0} s", started.elapsed().as_secs_f64());
    assert!(jobs > 0);
}

fn command(resumed: Option<&str>, dir: &Path, client: &Path) -> Command {
    let mut command = symbolon(["train"]);
    match resumed {
        Some(number) => command.arg("--resume").arg(number),
        None => command.arg(dir.join("job.toml")).arg("--data").arg(dir).arg("--no-keep"),
    };
    command.arg("--config").arg(client).arg("--model").arg(dir.join("model.safetensors"));
    command
}
