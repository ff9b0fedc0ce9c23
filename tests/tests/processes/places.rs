//! Places at servers: no client keeps one without need, and dead sessions give theirs back.

use super::{alone, assert_useful};
use std::{
    thread,
    time::{Duration, Instant},
};
use symbolon::{
    job::Job,
    net::{Connection, Role, Timeouts},
    session::client,
    train::Inputs,
};
use symbolon_core::word::Word;
use symbolon_tests::{
    jobs::Shape,
    program::{LONG, eventually},
    roles::{ANYTHING, CALM, HASTY, Roles},
    slow::slow_line,
    wire::{Answer, Data, No, Order, fresh_session},
};

/// A dead session's place is free within this time, whatever the time-outs.
const SOON: Duration = Duration::from_secs(4);

/// Orders a job at server 0 alone.
fn order(roles: &Roles, job: &Job) -> (Connection, Answer) {
    let mut server = roles.reach(Role::Client, Role::Server0);
    server.send(&Order::of(fresh_session(), job)).unwrap();
    let answer = server.recv::<Answer>(1000).unwrap();
    (server, answer)
}

/// Whether server 0 has a place for a job within `SOON`.
fn place_soon(roles: &Roles) -> bool {
    eventually(SOON, || {
        thread::sleep(Duration::from_millis(100));
        order(roles, &Shape::default().job()).1.is_ok()
    })
}

fn one_place() -> String {
    format!("{ANYTHING}\nplaces = 1")
}

/// Clients that hold all places with as little as they can send: each loses its own, by the rule
/// that it breaks.
#[test]
fn idle_clients_lose_their_places() {
    let _alone = alone();
    let mut roles = Roles::start(HASTY, &format!("{ANYTHING}\nplaces = 3"));
    let large = Shape { records: 20_000, batch: 1024, ..Shape::default() }.job();
    let (silent, answer) = order(&roles, &large);
    answer.unwrap();
    let (mut slow, answer) = order(&roles, &large);
    answer.unwrap();
    let (mut hasty, answer) = order(&roles, &Shape::default().job());
    answer.unwrap();
    let (_, answer) = order(&roles, &large);
    let Err(No::Refused(reason)) = answer else { panic!("a fourth place of three") };
    assert!(reason.contains("policy.places is 3"), "{reason}");
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

/// A server that is killed as a job begins leaves no dead session at its peer.
#[test]
fn a_killed_servers_session_ends_at_its_peer() {
    let _alone = alone();
    for delay_ms in [0, 8, 16, 25, 35, 50] {
        let mut roles = Roles::start(CALM, &one_place());
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

/// A client that leaves while its servers wait: for the dealer to be there, and for each other.
#[test]
fn a_lost_clients_session_ends() {
    let _alone = alone();
    let roles = Roles::start(CALM, &one_place());
    let start = || {
        let (mut server, answer) = order(&roles, &Shape::default().job());
        answer.unwrap();
        server.send(&Data::Seed([1; 32])).unwrap();
        thread::sleep(Duration::from_millis(500));
        server
    };
    let waits_for_server_1 = start();
    waits_for_server_1.abort_handle().abort();
    assert!(place_soon(&roles), "{}", roles.server0.said());
    assert!(eventually(SOON, || order(&roles, &Shape::default().job()).1.is_ok()));
    thread::sleep(Duration::from_millis(200));
    roles.dealer.signal("STOP");
    let waits_for_the_dealer = start();
    waits_for_the_dealer.abort_handle().abort();
    let freed = place_soon(&roles);
    roles.dealer.signal("CONT");
    assert!(freed, "{}", roles.server0.said());
    roles.server0.says(&["client (127.0.0.1:", "the connection was lost"]);
}
