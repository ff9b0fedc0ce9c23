//! Peers that go, stop, or never come: who is left says who is missing and what to do, in time, and works on with others.

use super::{alone, assert_useful, folder, train};
use std::{
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};
use symbolon::{
    net::Role,
    session::{
        SessionError,
        client::{self, News},
    },
};
use symbolon_tests::{
    jobs::Shape,
    program::{LONG, assert_fails, eventually},
    roles::{ANYTHING, HASTY, Roles},
    wire::{Answer, Data, Order, Update, fresh_session},
};

/// Long enough to be interrupted: thousands of steps.
fn endless() -> Shape<'static> {
    Shape { epochs: 100, batch: 4, ..Shape::default() }
}

/// Trains in this process; calls `at_work` once, in the middle. Returns how it failed, and how long after.
fn fails_in_the_middle(roles: &mut Roles, mut at_work: impl FnMut(&mut Roles) + Send) -> (SessionError, Duration) {
    let shape = endless();
    let (config, tls) = roles.client_config();
    let begun = AtomicBool::new(false);
    thread::scope(|scope| {
        let training = scope.spawn(|| {
            client::run::<u64>(&config, &tls, &shape.job(), shape.inputs(), &mut |news| {
                if matches!(news, News::Step { done, .. } if done > 0) {
                    begun.store(true, Ordering::Release);
                }
            })
        });
        assert!(eventually(LONG, || begun.load(Ordering::Acquire) || training.is_finished()));
        at_work(roles);
        let since = Instant::now();
        let Err(error) = training.join().unwrap() else { panic!("trained to the end") };
        (error, since.elapsed())
    })
}

/// No role waits for a lost one for longer than this; mostly it is found out at once.
const SOON: Duration = Duration::from_secs(6);

fn says(error: &SessionError, words: &[&str]) {
    let text = error.to_string();
    for word in words {
        assert!(text.contains(word), "{word:?} is not in: {text}");
    }
}

#[test]
fn server_1_is_killed() {
    let _alone = alone();
    let mut roles = Roles::start(HASTY, ANYTHING);
    let (error, after) = fails_in_the_middle(&mut roles, |roles| roles.server1.kill());
    says(
        &error,
        &["server1 (127.0.0.1:", "server0 failed: after step ", "the connection was lost; see why it stopped there"],
    );
    assert!(after < SOON, "{after:?}");
    roles.server0.says(&[
        "after step ",
        "server1 (127.0.0.1:",
        "lost the other server; restart it and start the job again",
    ]);
    roles.dealer.says(&["after step ", "server1 (127.0.0.1:", "lost"]);
    assert!(roles.server0.runs() && roles.dealer.runs());
}

#[test]
fn server_0_is_killed() {
    let _alone = alone();
    let mut roles = Roles::start(HASTY, ANYTHING);
    let (error, after) = fails_in_the_middle(&mut roles, |roles| roles.server0.kill());
    says(&error, &["server0 (127.0.0.1:", "server1 failed: after step "]);
    assert!(after < SOON, "{after:?}");
    roles.server1.says(&["after step ", "server0 (127.0.0.1:", "lost the other server"]);
    roles.dealer.says(&["after step ", "(127.0.0.1:"]); // it may hear of either server first
}

#[test]
fn the_dealer_is_killed() {
    let _alone = alone();
    let mut roles = Roles::start(HASTY, ANYTHING);
    let (error, after) = fails_in_the_middle(&mut roles, |roles| roles.dealer.kill());
    says(&error, &[" failed: after step ", "dealer (127.0.0.1:", "lost the dealer; restart it"]);
    assert!(after < SOON, "{after:?}");
    // Neither blames the other, which is well.
    roles.server1.says(&["after step ", "dealer (127.0.0.1:", "lost the dealer"]);
    roles.server0.says(&["after step ", "dealer (127.0.0.1:", "lost the dealer"]);
}

#[test]
fn a_server_hangs() {
    let _alone = alone();
    let mut roles = Roles::start(HASTY, ANYTHING);
    let (error, after) = fails_in_the_middle(&mut roles, |roles| roles.server1.signal("STOP"));
    says(&error, &["server1 (127.0.0.1:", "not a byte moved for 2.5 s", "timeouts.idle_ms"]);
    assert!(after < 2 * SOON, "{after:?}");
    roles.server0.says(&["server0: client (127.0.0.1:"]); // which left when it had no word of server 1
    roles.server1.signal("CONT");
    roles.server1.says(&["server1: "]);
    assert_useful(&mut roles);
}

/// A client that orders, shares its data, and is then gone without a word.
#[test]
fn the_client_is_lost() {
    let _alone = alone();
    let mut roles = Roles::start(HASTY, ANYTHING);
    let shape = endless();
    let mut servers = order(&roles, &shape);
    share(&mut servers, &shape);
    for server in &mut servers {
        let ready: Update = server.recv(1000).unwrap();
        assert!(matches!(ready, Update::Ready { .. }), "{ready:?}");
    }
    // One after the other: of two servers that lose it at once, one may hear first that the other
    // has ended.
    servers[0].abort_handle().abort();
    roles.server0.says(&["client (127.0.0.1:"]);
    servers[1].abort_handle().abort();
    roles.server1.says(&["server0: ".replace("server0", "server1").as_str()]);
    roles.dealer.says(&["dealer: "]);
    drop(servers);
    assert_useful(&mut roles);
}

type Servers = [symbolon::net::Connection; 2];

fn order(roles: &Roles, shape: &Shape<'_>) -> Servers {
    let order = Order::of(fresh_session(), &shape.job());
    [Role::Server0, Role::Server1].map(|role| {
        let mut server = roles.reach(Role::Client, role);
        server.send(&order).unwrap();
        server.recv::<Answer>(1000).unwrap().unwrap();
        server
    })
}

fn share(servers: &mut Servers, shape: &Shape<'_>) {
    servers[0].send(&Data::Seed([1; 32])).unwrap();
    servers[1].send(&Data::Words).unwrap();
    let bytes: usize = symbolon::train::Inputs::<u64>::lens(&shape.job()).iter().sum::<usize>() * 8;
    servers[1].send_bytes(&vec![3; bytes]).unwrap();
}

/// A client that never sends its data, and one that sends it to one server only.
#[test]
fn the_client_says_no_more() {
    let _alone = alone();
    let mut roles = Roles::start(HASTY, ANYTHING);
    let shape = Shape::default();
    let silent = order(&roles, &shape);
    for server in [&roles.server0, &roles.server1] {
        server.says(&["client (127.0.0.1:", "receiving", "not a byte moved for 2.5 s"]);
    }
    drop(silent);
    let mut servers = order(&roles, &shape);
    servers[0].send(&Data::Seed([1; 32])).unwrap();
    roles.server0.says(&["dealer failed: server1 did not join the session within 1 s"]);
    roles.dealer.says(&["server1 did not join the session"]);
    drop(servers);
    let mut servers = order(&roles, &shape);
    let [_, server1] = &mut servers;
    server1.send(&Data::Words).unwrap();
    let bytes: usize = symbolon::train::Inputs::<u64>::lens(&shape.job()).iter().sum::<usize>() * 8;
    server1.send_bytes(&vec![3; bytes]).unwrap();
    roles.server1.says(&["dealer failed: server0 did not join the session within 1 s"]);
    drop(servers);
    assert_useful(&mut roles);
}

/// Who is not there at all.
#[test]
fn a_role_does_not_run() {
    let _alone = alone();
    let job = folder(&Shape::default());
    let model: PathBuf = job.join("model.safetensors");
    let unreachable = "nobody accepted a connection within 1.5 s";
    let mut roles = Roles::start(HASTY, ANYTHING);
    roles.dealer.kill();
    let output = train(&job, &roles.client(), &["--model", model.to_str().unwrap()]);
    let said = [
        "server0 failed: dealer (127.0.0.1:",
        "server1 failed: dealer (127.0.0.1:",
        unreachable,
        "start the role there",
    ];
    assert_fails(&output, 3, &said);
    roles.server0.says(&["dealer (127.0.0.1:", unreachable]);
    roles.server1.says(&["dealer (127.0.0.1:", unreachable]);
    roles.server1.kill();
    let output = train(&job, &roles.client(), &[]);
    assert_fails(&output, 3, &["server1 (127.0.0.1:", unreachable]);
    roles.server0.kill();
    let output = train(&job, &roles.client(), &[]);
    assert_fails(&output, 3, &["server0 (127.0.0.1:", unreachable]);
    assert!(!model.exists());
}
