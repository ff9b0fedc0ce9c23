//! Peers that go, stop, or never come: who is left says who is missing and what to do, in time, and works on with others.

use super::{alone, assert_useful, folder, train};
use std::{
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};
use symbolon::{
    net::{Connection, Role},
    session::{
        SessionError,
        client::{self, News},
        jobs,
    },
};
use symbolon_tests::{
    jobs::Shape,
    program::{LONG, assert_fails, eventually},
    roles::{ANYTHING, HASTY, Roles},
    wire::{Answer, Data, MAX_BYTES, No, Order, Update, fresh_session, last_update},
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

const SERVERS: [Role; 2] = [Role::Server0, Role::Server1];
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
    roles.server0.says(&["after step ", "server1 (127.0.0.1:", "lost the other server; restart it"]);
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

/// A client that orders, shares its data, and is then gone without a word: its job goes on, until
/// another client of this name cancels it.
#[test]
fn the_client_is_lost() {
    let _alone = alone();
    let mut roles = Roles::start(HASTY, &format!("{ANYTHING}\nplaces = 1"));
    let shape = Shape { epochs: 2000, ..endless() };
    let (id, mut servers) = order(&roles, &shape);
    share(&mut servers, &shape);
    for server in &mut servers {
        while !matches!(server.recv(MAX_BYTES).unwrap(), Update::Ready { .. }) {}
        server.abort_handle().abort();
    }
    drop(servers);
    for (role, server) in [("server0", &roles.server0), ("server1", &roles.server1)] {
        server.says(&[&format!("{role}: client (127.0.0.1:")]);
    }
    let step = |roles: &Roles| roles.jobs(Role::Server0).iter().map(|facts| facts.step).max();
    let before = step(&roles);
    assert!(eventually(LONG, || step(&roles) > before), "the job stands still: {}", roles.server0.said());
    let (config, tls) = roles.client_config();
    jobs::cancel(&config, &tls, &id).unwrap();
    for role in [Role::Server0, Role::Server1] {
        assert_eq!(roles.state(role, &id), "cancelled");
    }
    assert_useful(&mut roles);
}

type Servers = [Connection; 2];

fn order(roles: &Roles, shape: &Shape<'_>) -> ([u8; 16], Servers) {
    let order = Order::of(fresh_session(), &shape.job());
    let servers = [Role::Server0, Role::Server1].map(|role| {
        let mut server = roles.reach(Role::Client, role);
        server.send(&order).unwrap();
        server.recv::<Answer>(1000).unwrap().unwrap();
        server
    });
    (order.id, servers)
}

fn share([server0, server1]: &mut Servers, shape: &Shape<'_>) {
    server0.send(&Data::Seed([1; 32])).unwrap();
    share_words(server1, shape);
}

fn share_words(server1: &mut Connection, shape: &Shape<'_>) {
    server1.send(&Data::Words).unwrap();
    let bytes: usize = symbolon::train::Inputs::<u64>::lens(&shape.job()).iter().sum::<usize>() * 8;
    server1.send_bytes(&vec![3; bytes]).unwrap();
}

/// A client that never sends its data, and one that sends it to one server only: no job begins
/// without both servers.
#[test]
fn the_client_says_no_more() {
    let _alone = alone();
    let mut roles = Roles::start(HASTY, ANYTHING);
    let shape = Shape::default();
    let (id, silent) = order(&roles, &shape);
    for server in [&roles.server0, &roles.server1] {
        server.says(&["client (127.0.0.1:", "receiving", "not a byte moved for 2.5 s"]);
    }
    drop(silent);
    for role in [Role::Server0, Role::Server1] {
        assert_eq!(roles.state(role, &id), "missing");
        assert!(!roles.job_folder(role, &id).exists());
    }
    // Server 0 has the job, and server 1 has none: server 0 learns it, and ends the job. One that
    // server 1 still receives goes on.
    let (arriving, mut slow) = order(&roles, &shape);
    slow[0].send(&Data::Seed([1; 32])).unwrap();
    assert!(matches!(slow[0].recv(MAX_BYTES).unwrap(), Update::Taken));
    let (id, [mut server0, server1]) = order(&roles, &shape);
    server0.send(&Data::Seed([1; 32])).unwrap();
    assert!(matches!(server0.recv(MAX_BYTES).unwrap(), Update::Taken));
    drop((server0, server1));
    roles.server1.says(&["server1: client (127.0.0.1:"]);
    let ended = || SERVERS.map(|role| roles.state(role, &id)) == ["failed", "missing"];
    assert!(eventually(LONG, ended), "{}", roles.server0.said());
    roles.server0.says(&["server1 failed: the data of this job have not arrived there; start it again"]);
    assert_eq!(roles.state(Role::Server0, &arriving), "queued");
    share_words(&mut slow[1], &shape);
    assert!(eventually(LONG, || SERVERS.map(|role| roles.state(role, &arriving)) == ["done"; 2]));
    drop(slow);
    // Server 1 has the job, and server 0 none: the run that it proposes is the end.
    let (id, [server0, mut server1]) = order(&roles, &shape);
    share_words(&mut server1, &shape);
    let Update::No(No::Failed(reason)) = last_update(&mut server1) else { panic!("it ran") };
    drop((server0, server1));
    let none = "server0 has no such job: its data have not arrived there; start it again";
    assert!(reason.contains(none), "{reason}");
    roles.server1.says(&["server1: job ", none]);
    roles.server0.says(&["server0: ", none]);
    assert_eq!(roles.state(Role::Server1, &id), "failed");
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
