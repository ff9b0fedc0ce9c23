//! Places at servers, of runs and in the queue: no client keeps one without need, and dead runs
//! give theirs back.

use super::{alone, assert_useful};
use std::{
    thread,
    time::{Duration, Instant},
};
use symbolon::{
    data::Lengths,
    job::Job,
    net::{Connection, Role, Timeouts},
    session::{
        client::{self, Ticket},
        jobs,
    },
    train::Inputs,
};
use symbolon_core::word::Word;
use symbolon_tests::{
    jobs::Shape,
    program::{LONG, eventually},
    roles::{ANYTHING, CALM, HASTY, Roles},
    slow::slow_line,
    wire::{Answer, Data, ImportRequest, MAX_BYTES, No, Order, fresh_session},
};

/// A dead session's place is free within this time: well below the time-outs, which begin at 20
/// seconds, and above what a machine takes that runs other tests beside.
const SOON: Duration = Duration::from_secs(8);

/// Orders a job at server 0 alone.
fn order(roles: &Roles, job: &Job) -> (Connection, Answer) {
    let mut server = roles.reach(Role::Client, Role::Server0);
    server.send(&Order::of(fresh_session(), job)).unwrap();
    let answer = server.recv::<Answer>(1000).unwrap();
    (server, answer)
}

/// Whether server 0 has a place for a run within `SOON`: the import of a model takes one as well.
fn place_soon(roles: &Roles) -> bool {
    let mut number = 0;
    eventually(SOON, || {
        thread::sleep(Duration::from_millis(100));
        number += 1;
        let mut server = roles.reach(Role::Client, Role::Server0);
        server.send(&ImportRequest::of("place", number, &Shape::default().job())).unwrap();
        server.recv::<Answer>(1000).unwrap().is_ok()
    })
}

fn one_place() -> String {
    format!("{ANYTHING}\nplaces = 1")
}

/// Clients that hold all places of the queue with as little as they can send: each loses its own,
/// by the rule that it breaks.
#[test]
fn idle_clients_lose_their_places() {
    let _alone = alone();
    let mut roles = Roles::start(HASTY, &format!("{ANYTHING}\n[jobs]\nretry_s = 0\nqueue = 3"));
    let large = Shape { records: 20_000, batch: 1024, ..Shape::default() }.job();
    let (silent, answer) = order(&roles, &large);
    answer.unwrap();
    let (mut slow, answer) = order(&roles, &large);
    answer.unwrap();
    let (mut hasty, answer) = order(&roles, &Shape::default().job());
    answer.unwrap();
    let (_, answer) = order(&roles, &large);
    let Err(No::Refused(reason)) = answer else { panic!("a fourth place of three") };
    assert!(reason.contains("job-queue-full: 3 jobs arrive or wait here"), "{reason}");
    for _ in 0..5 {
        hasty.send(&Data::Wait).unwrap();
    }
    roles.server0.says(&["client sent more than 4 messages that its data are on their way"]);
    // Each message comes within the idle time, and too few of them for the slowest rate.
    let since = Instant::now();
    while slow.send(&Data::Wait).is_ok() {
        thread::sleep(Duration::from_secs(2));
        assert!(since.elapsed() < LONG, "it may go on for ever");
    }
    roles.server0.says(&["not all that was due arrived within", "`timeouts.idle_ms`, and a second for each 256 KiB"]);
    roles.server0.says(&["not a byte moved for 2.5 s"]);
    drop((silent, slow, hasty));
    assert_useful(&mut roles);
}

/// Records of zeros, all of the first class: what they teach stays in range.
fn zeros<W: Word>(job: &Job) -> Inputs<W> {
    let mut inputs = Inputs::in_memory(job);
    for labels in [&mut inputs.train_labels, &mut inputs.test_labels] {
        labels.memory_mut().unwrap().iter_mut().step_by(job.outputs()).for_each(|label| *label = W::from_u64(1));
    }
    inputs
}

/// Uploads that take several idle time-outs end well.
fn upload(bytes_per_second: usize, times: Timeouts, job: &Job) -> Duration {
    let mut route = |_: &_, from, to, port| {
        if (from, to) == (Role::Client, Role::Server1) { slow_line(port, bytes_per_second) } else { port }
    };
    let mut roles = Roles::start_over(times, ANYTHING, &mut route);
    let (config, tls) = roles.client_config();
    let started = Instant::now();
    let outcome = match job.numbers.ring_bits {
        32 => client::run(&config, &tls, job, zeros::<u32>(job), &mut |_| {}).map(|outcome| outcome.bytes_sent),
        _ => client::run(&config, &tls, job, zeros::<u64>(job), &mut |_| {}).map(|outcome| outcome.bytes_sent),
    };
    let bytes = outcome.unwrap();
    println!("{bytes} bytes at {bytes_per_second} a second: {:.1} s", started.elapsed().as_secs_f64());
    roles.assert_well();
    started.elapsed()
}

#[test]
fn a_slow_upload_ends_well() {
    let _alone = alone();
    let times = Timeouts { idle: Duration::from_millis(1500), ..CALM };
    let job = Shape { records: 160_000, batch: 1 << 16, ..Shape::default() }.job();
    assert!(upload(3_000_000, times, &job) > Duration::from_secs(3));
}

/// MNIST over 24 Mb/s with the default time-outs: a minute, so it runs on request alone.
#[test]
#[ignore = "takes minutes"]
fn an_upload_of_mnist_ends_well() {
    let _alone = alone();
    let shape = Shape { ring_bits: 32, records: 60_000, batch: 128, hidden: 32, ..Shape::default() };
    let text = shape.toml().replace("shape = [6]", "shape = [784]").replace("test_records = 15000", "test_records = 0");
    let text = text.replace("test_every = 5\n", "").replace("metrics = true", "metrics = false");
    let job = Job::parse(&text, "mnist.toml".as_ref()).unwrap();
    assert!(upload(3_000_000, Timeouts::default(), &job) > Duration::from_secs(50));
}

/// A server that is killed as a job begins leaves no dead session at its peer: neither before both
/// have met, nor while both wait for a dealer that is frozen.
#[test]
fn a_killed_servers_session_ends_at_its_peer() {
    let _alone = alone();
    let delays = [(8, false), (25, false), (45, false), (57, false), (61, false), (65, false), (300, true)];
    for (delay_ms, is_frozen) in delays {
        let mut roles = Roles::start(CALM, &one_place());
        if is_frozen {
            roles.dealer.signal("STOP");
        }
        let (config, tls) = roles.client_config();
        let shape = Shape { epochs: 100, batch: 4, ..Shape::default() };
        thread::scope(|scope| {
            let job =
                scope.spawn(|| client::run::<u64>(&config, &tls, &shape.job(), shape.inputs(), &mut |_| {}).is_err());
            thread::sleep(Duration::from_millis(delay_ms));
            roles.server1.kill();
            assert!(place_soon(&roles), "after {delay_ms} ms: {}", roles.server0.said());
            assert!(job.join().unwrap());
        });
        assert!(roles.server0.runs() && roles.dealer.runs());
    }
}

/// A client that leaves while its job runs keeps its place at both servers, and gives it back when
/// it cancels the job: also while the servers wait for the dealer.
#[test]
fn a_lost_clients_job_goes_on_until_it_is_cancelled() {
    let _alone = alone();
    let mut roles = Roles::start(CALM, &one_place());
    let (config, tls) = roles.client_config();
    for is_frozen in [false, true] {
        if is_frozen {
            roles.dealer.signal("STOP");
        }
        let shape = Shape { epochs: 2000, batch: 4, ..Shape::default() };
        let ticket = Ticket::new((&shape.job()).into(), &Lengths::default()).unwrap();
        let ordered = client::order(&config, &tls, &ticket, Some(shape.inputs::<u64>()), &mut |_| {}).unwrap();
        drop(ordered);
        let runs = || [Role::Server0, Role::Server1].map(|role| roles.state(role, &ticket.id)) == ["running"; 2];
        assert!(eventually(SOON, runs), "{}", roles.server1.said());
        thread::sleep(Duration::from_millis(300));
        assert!(runs(), "{}", roles.server1.said());
        let mut server = roles.reach(Role::Client, Role::Server0);
        server.send(&ImportRequest::of("place", 1, &Shape::default().job())).unwrap();
        let Err(No::Busy(reason)) = server.recv::<Answer>(MAX_BYTES).unwrap() else { panic!("a second place") };
        assert!(reason.contains("policy.places is 1"), "{reason}");
        let since = Instant::now();
        jobs::cancel(&config, &tls, &ticket.id).unwrap();
        assert!(place_soon(&roles), "{}", roles.server0.said());
        println!("frozen: {is_frozen}; the place was free after {:?}", since.elapsed());
        for role in [Role::Server0, Role::Server1] {
            assert_eq!(roles.state(role, &ticket.id), "cancelled");
        }
    }
    roles.dealer.signal("CONT");
    assert_useful(&mut roles);
}
