#![allow(clippy::unwrap_used)]

use super::*;
use crate::{
    intake::manifest::Span,
    job::{Held, Senders},
};
use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

/// A folder that goes when dropped.
struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("symbolon-ledger-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const BUDGETS: Budgets =
    Budgets { jobs_per_day: 3, outputs_per_manifest: 50, epsilon_milli: Some(1000), smallest_difference: 100 };
/// Noon of a day in 2026.
const NOON: i64 = 1_790_000_000 / 86_400 * 86_400 + 43_200;
const DAY: i64 = 86_400;

fn manifest(records: u32) -> Manifest {
    Manifest { schema: [1; 32], labels: None, spans: vec![Span::unlabelled(7, 1, 0, records)] }
}

fn charge(session: u8, at: i64, client: &str) -> Charge {
    let selection = Selection { manifest: [9; 32], schema: [1; 32], train: Senders::All, test: Held::None };
    Charge {
        session: [session; 16],
        at,
        client: client.to_owned(),
        job: "job".to_owned(),
        hash: [3; 32],
        selection: Some(selection),
        records: [1000, 0],
        outputs: 10,
        epsilon_milli: 300,
    }
}

/// No manifest is known.
fn unknown(_: &[u8; 32]) -> Option<Manifest> {
    None
}

/// Runs a job that releases all of its outputs.
fn run(ledger: &Ledger, charge: &Charge) -> Result<(), LedgerError> {
    let account = ledger.admit(charge, BUDGETS, &|_| Some(manifest(1000)))?;
    account.release_up_to(charge.outputs)?;
    account.end()
}

fn rule(result: Result<(), LedgerError>) -> &'static str {
    match result.unwrap_err() {
        LedgerError::Refused(refusal) => refusal.rule(),
        error => panic!("{error}"),
    }
}

#[test]
fn budgets_are_spent_and_say_what_is_left() {
    let dir = Dir::new("budgets");
    let ledger = Ledger::open(&dir.file("l.redb")).unwrap();
    for session in 0..3 {
        run(&ledger, &charge(session, NOON, "a")).unwrap();
    }
    let error = run(&ledger, &charge(3, NOON, "a")).unwrap_err().to_string();
    assert_eq!(error, "policy.jobs_per_day is 3, of which 0 are left; more from midnight on, in UTC");
    // Another client has jobs and epsilon of its own, but the outputs are those of the manifest.
    run(&ledger, &charge(4, NOON, "b")).unwrap();
    let twelve = Charge { outputs: 12, ..charge(5, NOON, "b") };
    assert_eq!(rule(run(&ledger, &twelve)), "policy.outputs_per_manifest");
    let spent = ledger.spent("b", [&[9; 32], &[1; 32]], UnixSeconds(NOON)).unwrap();
    assert_eq!(spent, Spent { jobs: 1, outputs: 40, epsilon_milli: 300 });
    // The next day brings jobs and epsilon, not outputs.
    let next = ledger.spent("a", [&[9; 32], &[1; 32]], UnixSeconds(NOON + DAY)).unwrap();
    assert_eq!(next, Spent { jobs: 0, outputs: 40, epsilon_milli: 0 });
    // What a client uploads is its own.
    let upload = Charge { selection: None, outputs: 1 << 40, ..charge(6, NOON, "a") };
    run(&ledger, &upload).unwrap();
    assert_eq!(ledger.entries(None, 100).unwrap().len(), 5);
    assert_eq!(ledger.entries(Some("b"), 100).unwrap().len(), 1);
}

#[test]
fn epsilon_adds_up() {
    let dir = Dir::new("epsilon");
    let ledger = Ledger::open(&dir.file("l.redb")).unwrap();
    for (session, epsilon_milli) in [(0, 600), (1, 400)] {
        run(&ledger, &Charge { epsilon_milli, ..charge(session, NOON, "a") }).unwrap();
    }
    let refusal = run(&ledger, &Charge { epsilon_milli: 1, ..charge(2, NOON, "a") }).unwrap_err().to_string();
    assert!(
        refusal.starts_with("policy.epsilon is 1, of which 0 are left today, and the job spends 0.001"),
        "{refusal}"
    );
}

/// Anybody can have a new manifest made of the same records: epsilon is that of the schema.
#[test]
fn a_new_manifest_brings_no_epsilon() {
    let dir = Dir::new("freeze");
    let ledger = Ledger::open(&dir.file("l.redb")).unwrap();
    run(&ledger, &Charge { epsilon_milli: 1000, ..charge(0, NOON, "a") }).unwrap();
    let mut again = charge(1, NOON, "a");
    again.selection.as_mut().unwrap().manifest = [10; 32];
    assert_eq!(rule(run(&ledger, &again)), "policy.epsilon");
    run(&ledger, &Charge { at: NOON + DAY, ..again }).unwrap();
}

/// A set to train on and another job's set to test on: their outputs differ by a record's.
#[test]
fn training_and_test_sets_are_compared_too() {
    let dir = Dir::new("cross");
    let ledger = Ledger::open(&dir.file("l.redb")).unwrap();
    let two = |_: &_| {
        Some(Manifest { spans: vec![Span::unlabelled(7, 1, 0, 500), Span::unlabelled(8, 1, 0, 1)], ..manifest(0) })
    };
    let job = |session, train: Vec<u64>, test: Vec<u64>| {
        let mut charge = charge(session, NOON, "a");
        let selection = charge.selection.as_mut().unwrap();
        (selection.train, selection.test) = (Senders::Only(train), Held::Of(test));
        ledger.admit(&charge, BUDGETS, &two).and_then(|account| account.release_up_to(1).and_then(|()| account.end()))
    };
    job(0, vec![7], vec![]).unwrap();
    assert_eq!(rule(job(1, vec![], vec![7, 8])), "policy.smallest_difference");
}

#[test]
fn a_session_runs_once() {
    let dir = Dir::new("repeated");
    let ledger = Ledger::open(&dir.file("l.redb")).unwrap();
    run(&ledger, &charge(0, NOON, "a")).unwrap();
    assert!(matches!(run(&ledger, &charge(0, NOON + DAY, "b")), Err(LedgerError::Repeated)));
}

#[test]
fn what_was_not_released_is_given_back() {
    let dir = Dir::new("back");
    let ledger = Ledger::open(&dir.file("l.redb")).unwrap();
    ledger.admit(&charge(0, NOON, "a"), BUDGETS, &unknown).unwrap().end().unwrap();
    let spent = ledger.spent("a", [&[9; 32], &[1; 32]], UnixSeconds(NOON)).unwrap();
    assert_eq!(spent, Spent { jobs: 1, ..Spent::default() }, "an attempt is one of the day's jobs");
    let account = ledger.admit(&charge(1, NOON, "a"), BUDGETS, &unknown).unwrap();
    account.release_up_to(4).unwrap();
    account.end().unwrap();
    let spent = ledger.spent("a", [&[9; 32], &[1; 32]], UnixSeconds(NOON)).unwrap();
    assert_eq!(spent, Spent { jobs: 2, outputs: 4, epsilon_milli: 300 });
    // A server that died has spent all: nobody knows what left.
    drop(ledger.admit(&charge(2, NOON, "a"), BUDGETS, &unknown).unwrap());
    assert_eq!(ledger.spent("a", [&[9; 32], &[1; 32]], UnixSeconds(NOON)).unwrap().outputs, 14);
}

#[test]
fn two_jobs_records_are_the_same_or_differ_by_many() {
    let dir = Dir::new("difference");
    let ledger = Ledger::open(&dir.file("l.redb")).unwrap();
    let job = |session, digest, records, client: &str| {
        let mut charge = charge(session, NOON, client);
        charge.selection.as_mut().unwrap().manifest = [digest; 32];
        let account = ledger.admit(&charge, BUDGETS, &|other| (*other == [digest; 32]).then(|| manifest(records)))?;
        account.release_up_to(1)?;
        account.end()
    };
    job(0, 1, 1000, "a").unwrap();
    job(1, 1, 1000, "a").unwrap();
    let refusal = job(2, 2, 1001, "a").unwrap_err().to_string();
    assert!(refusal.contains("policy.smallest_difference is 100") && refusal.contains("differ by 1 "), "{refusal}");
    job(3, 2, 1001, "b").unwrap();
    job(4, 3, 1100, "a").unwrap();
    // A manifest that is no longer known may be any.
    let mut forgotten = charge(5, NOON + DAY, "a");
    forgotten.selection.as_mut().unwrap().manifest = [4; 32];
    let refused = ledger.admit(&forgotten, BUDGETS, &unknown).map(drop);
    assert_eq!(rule(refused), "policy.smallest_difference");
}

/// A copy from before the last jobs: the other server remembers.
#[test]
fn an_older_copy_is_noticed_and_charged_again() {
    let dir = Dir::new("backup");
    let files = ["a.redb", "b.redb"].map(|name| dir.file(name));
    let open = || files.each_ref().map(|file| Ledger::open(file).unwrap());
    let ledgers = open();
    for ledger in &ledgers {
        run(ledger, &charge(0, NOON, "a")).unwrap();
    }
    drop(ledgers);
    fs::copy(&files[0], dir.file("old.redb")).unwrap();
    let ledgers = open();
    for session in 1..3 {
        for ledger in &ledgers {
            run(ledger, &charge(session, NOON, "a")).unwrap();
        }
    }
    drop(ledgers);
    fs::copy(dir.file("old.redb"), &files[0]).unwrap();
    let [restored, other] = open();
    // The restored one would permit a job that the other refuses.
    let third = charge(3, NOON, "a");
    let account = restored.admit(&third, BUDGETS, &unknown).unwrap();
    assert_eq!(rule(other.admit(&third, BUDGETS, &unknown).map(drop)), "policy.jobs_per_day");
    // A client's job on other records meets both.
    let mut elsewhere = charge(4, NOON, "b");
    elsewhere.epsilon_milli = 1;
    let theirs = other.admit(&elsewhere, BUDGETS, &unknown).unwrap().standing().unwrap();
    assert_eq!(theirs.len(), 3, "entries about the manifest, of all clients");
    assert!(matches!(account.reconcile(&theirs, &unknown), Err(LedgerError::Refused(Refusal::JobsPerDay { .. }))));
    let account = restored.admit(&elsewhere, BUDGETS, &unknown).unwrap();
    assert_eq!(account.reconcile(&theirs, &unknown).unwrap(), 0, "they were charged already");
    let adopted = restored.entries(Some("a"), 100).unwrap();
    assert_eq!(adopted.iter().filter(|entry| entry.state == State::Adopted).count(), 2);
    assert_eq!(restored.spent("a", [&[9; 32], &[1; 32]], UnixSeconds(NOON)).unwrap().epsilon_milli, 4 * 300);
}

/// The time that a release costs: a durable transaction.
#[test]
fn a_release_is_soon_on_the_disk() {
    let dir = Dir::new("speed");
    let ledger = Ledger::open(&dir.file("l.redb")).unwrap();
    let account = ledger.admit(&charge(0, NOON, "a"), BUDGETS, &|_| Some(manifest(1000))).unwrap();
    let mut times: Vec<Duration> = (1..=32)
        .map(|outputs| {
            let started = Instant::now();
            account.release_up_to(outputs).unwrap();
            started.elapsed()
        })
        .collect();
    times.sort();
    println!("a release: median {:?}, slowest {:?}", times[16], times[31]);
    assert_eq!(ledger.entries(None, 1).unwrap()[0].released, 32);
}
