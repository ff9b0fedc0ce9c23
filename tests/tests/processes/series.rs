//! Many jobs one after the other, and a disk that is full from time to time: nothing grows, and
//! nothing is lost.

use super::alone;
use std::{
    fs,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};
use symbolon::{
    data::Lengths,
    job::Checkpoint,
    net::Role,
    session::{
        client::{self, Ticket},
        jobs,
    },
};
use symbolon_tests::{
    jobs::{Shape, Values},
    program::{LONG, eventually},
    roles::{ANYTHING, CALM, Roles},
};

const SERVERS: [Role; 2] = [Role::Server0, Role::Server1];

/// How many jobs run in a row: `SYMBOLON_JOBS=200` is the long run.
fn count() -> usize {
    std::env::var("SYMBOLON_JOBS").ok().and_then(|jobs| jobs.parse().ok()).unwrap_or(24)
}

/// A server's KiB of memory, descriptors, and files of its jobs and models.
#[cfg(target_os = "linux")]
fn held(roles: &mut Roles, role: Role) -> [u64; 3] {
    let home = roles.config(role).parent().unwrap().to_owned();
    let (_, process) = roles.all().into_iter().find(|(of, _)| *of == role).unwrap();
    let proc = format!("/proc/{}", process.id());
    let status = fs::read_to_string(format!("{proc}/status")).unwrap();
    let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let memory = memory.trim().trim_end_matches(" kB").parse().unwrap();
    let count = |folder: String| fs::read_dir(folder).unwrap().count() as u64;
    let files = ["jobs", "models"].map(|folder| count(home.join(folder).to_str().unwrap().to_owned()));
    [memory, count(format!("{proc}/fd")), files.iter().sum()]
}

/// Some are cancelled, some lose the dealer, and some their client, which comes back.
#[cfg(target_os = "linux")]
#[test]
fn nothing_grows() {
    let _alone = alone();
    let mut roles = Roles::start(CALM, &format!("{ANYTHING}\n[jobs]\nretry_s = 300"));
    let ((mut config, tls), mut values) = (roles.client_config(), Values(9));
    config.jobs.retry = Duration::from_secs(300);
    let shape = Shape { epochs: 3, ..Shape::default() };
    let mut before = [[0; 3]; 2];
    let mut ended = [0; 4];
    for i in 0..count() {
        if i == count() / 2 {
            before = SERVERS.map(|role| held(&mut roles, role));
        }
        let ticket = Ticket::new((&shape.job()).into(), &Lengths::default()).unwrap();
        let ordered = client::order(&config, &tls, &ticket, Some(shape.inputs::<u64>()), &mut |_| {}).unwrap();
        drop(ordered);
        let how = values.below(4);
        ended[how] += 1;
        match how {
            0 => {
                thread::sleep(Duration::from_millis(values.below(60) as u64));
                // It may have ended before.
                let cancelled = jobs::cancel(&config, &tls, &ticket.id);
                let over = |error: &str| error.contains("job-ended");
                assert!(cancelled.as_ref().err().is_none_or(|error| over(&error.to_string())), "{cancelled:?}");
                assert!(client::fetched(&config, &tls, &ticket));
                continue;
            }
            1 => roles.restart(Role::Dealer),
            _ => {}
        }
        let outcome = client::follow::<u64>(&config, &tls, &ticket, None, &mut |_| {}).unwrap();
        assert_eq!(outcome.epochs.len(), 3);
        assert!(client::fetched(&config, &tls, &ticket));
    }
    for (role, before) in SERVERS.into_iter().zip(before) {
        let settled = || {
            let listed = roles.jobs(role);
            listed.iter().all(|facts| facts.status.state.has_ended())
        };
        assert!(eventually(LONG, settled), "{role}: {:?}", roles.jobs(role));
        thread::sleep(Duration::from_millis(500));
        let after = held(&mut roles, role);
        println!("{role}: KiB, descriptors, files {before:?}, then {after:?}");
        assert!(after[0] < before[0] + 16 * 1024, "{role}: memory grows, {before:?} {after:?}");
        assert!(after[1] <= before[1] + 4, "{role}: descriptors stay, {before:?} {after:?}");
        assert!(after[2] <= before[2] + 2, "{role}: files stay, {before:?} {after:?}");
    }
    let [cancelled, without_dealer, ..] = ended;
    println!("{} jobs, {cancelled} cancelled, {without_dealer} without their dealer for a time", count());
    roles.assert_well();
}

/// Every write of a server fails for a time, again and again: jobs wait for room, and lose nothing.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_loses_nothing() {
    use rustix::process::{Pid, Resource, Rlimit, prlimit};
    let _alone = alone();
    let mut roles = Roles::start(CALM, &format!("{ANYTHING}\n[jobs]\nretry_s = 300"));
    let ((mut config, tls), mut values) = (roles.client_config(), Values(6));
    config.jobs.retry = Duration::from_secs(300);
    let shape = Shape { epochs: 12, batch: 4, ..Shape::default() };
    let mut job = shape.job();
    job.training.checkpoint = Checkpoint::Steps(5);
    for role in SERVERS {
        let (_, process) = roles.all().into_iter().find(|(of, _)| *of == role).unwrap();
        let pid = Pid::from_raw(i32::try_from(process.id()).unwrap());
        let limit = |most| {
            let maximum = prlimit(pid, Resource::Fsize, Rlimit { current: most, maximum: None });
            maximum.unwrap();
        };
        let (done, mut times) = (AtomicBool::new(false), 0);
        thread::scope(|scope| {
            let training = scope.spawn(|| {
                let ticket = Ticket::new((&job).into(), &Lengths::default()).unwrap();
                let ordered = client::order(&config, &tls, &ticket, Some(shape.inputs::<u64>()), &mut |_| {}).unwrap();
                drop(ordered);
                let outcome = client::follow::<u64>(&config, &tls, &ticket, None, &mut |_| {});
                done.store(true, Ordering::Release);
                outcome
            });
            thread::sleep(Duration::from_millis(300));
            while !done.load(Ordering::Acquire) && times < 12 {
                limit(Some(0));
                thread::sleep(Duration::from_millis(values.below(120) as u64));
                limit(None);
                times += 1;
                thread::sleep(Duration::from_millis(40 + values.below(300) as u64));
            }
            let outcome = training.join().unwrap().unwrap();
            assert_eq!(outcome.epochs.len(), 12, "{role}");
            assert!(outcome.epochs[11].loss < outcome.epochs[0].loss);
        });
        println!("{role}: full {times} times");
        assert!(times > 3);
    }
    roles.assert_well();
}
