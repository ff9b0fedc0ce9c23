//! Servers that work for long are heard, and the role that is frozen is the one that is blamed.

use super::{alone, assert_useful};
use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};
use symbolon::{
    net::{Role, Timeouts},
    session::client::{self, News, Phase},
};
use symbolon_tests::{
    jobs::Shape,
    program::{LONG, eventually},
    roles::{ANYTHING, HASTY, Roles},
    slow::slow_line,
};

/// Each of opening, training and evaluation takes several idle time-outs at servers that are joined
/// by a slow line.
#[test]
fn phases_may_outlast_the_idle_time() {
    let _alone = alone();
    let times = Timeouts { idle: Duration::from_millis(1200), ..HASTY };
    let slow =
        |from, to, port| if (from, to) == (Role::Server1, Role::Server0) { slow_line(port, 40_000) } else { port };
    let mut roles = Roles::start_over(times, ANYTHING, &mut |_, from, to, port| slow(from, to, port));
    let (config, tls) = roles.client_config();
    let shape = Shape { records: 3600, batch: 1024, ..Shape::default() };
    let started = Instant::now();
    let mut heard = Vec::new();
    let outcome = client::run::<u64>(&config, &tls, &shape.job(), shape.inputs(), &mut |news| {
        if let News::Alive(server, alive) = news {
            assert!(alive.bytes_done <= alive.bytes_planned, "{alive:?}");
            heard.push((server, alive.phase, alive.bytes_done));
        }
    });
    let outcome = outcome.unwrap();
    assert_eq!(outcome.epochs.len(), 1);
    for server in [Role::Server0, Role::Server1] {
        for phase in [Phase::Opening, Phase::Evaluating] {
            let own: Vec<u64> = heard.iter().filter(|h| (h.0, h.1) == (server, phase)).map(|h| h.2).collect();
            assert!(own.len() > 5, "{server} was heard {} times while {phase:?}, {:?}", own.len(), started.elapsed());
            assert!(own.is_sorted() && own.last() > own.first(), "{own:?}");
        }
    }
    roles.assert_well();
}

/// A dealer that is frozen before a job begins: both servers name it, and no healthy role.
#[test]
fn a_frozen_dealer_is_blamed_while_servers_join() {
    let _alone = alone();
    let times = Timeouts { handshake: Duration::from_secs(2), ..HASTY };
    let mut roles = Roles::start(times, ANYTHING);
    let (config, tls) = roles.client_config();
    roles.dealer.signal("STOP");
    let shape = Shape::default();
    let mut waited = [false; 2];
    let error = client::run::<u64>(&config, &tls, &shape.job(), shape.inputs(), &mut |news| match news {
        News::Alive(server, alive) if alive.phase == Phase::Joining && alive.waits_for == Some(Role::Dealer) => {
            waited[usize::from(server == Role::Server1)] = true;
        }
        _ => {}
    });
    roles.dealer.signal("CONT");
    let error = error.map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("failed: dealer (127.0.0.1:") && !error.contains("failed: server"), "{error}");
    assert_eq!(waited, [true; 2], "both say that they wait for the dealer");
    assert_useful(&mut roles);
}

/// A frozen dealer stops both servers: whoever waits for its corrections names it and had said so,
/// and nobody blames a healthy server. Their words arrive in either order.
#[test]
fn a_frozen_dealer_is_blamed() {
    let _alone = alone();
    let mut roles = Roles::start(HASTY, ANYTHING);
    let shape = Shape { epochs: 100, batch: 4, ..Shape::default() };
    let (config, tls) = roles.client_config();
    let (begun, waited) = (AtomicBool::new(false), AtomicBool::new(false));
    let error = thread::scope(|scope| {
        let training = scope.spawn(|| {
            client::run::<u64>(&config, &tls, &shape.job(), shape.inputs(), &mut |news| match news {
                News::Step { done, .. } if done > 0 => begun.store(true, Ordering::Release),
                News::Alive(_, alive) if alive.waits_for == Some(Role::Dealer) => {
                    waited.store(true, Ordering::Release);
                }
                _ => {}
            })
        });
        assert!(eventually(LONG, || begun.load(Ordering::Acquire) || training.is_finished()));
        roles.dealer.signal("STOP");
        training.join().unwrap().map(|_| ()).unwrap_err().to_string()
    });
    roles.dealer.signal("CONT");
    let said = |role: &str| error.find(&format!("{role} failed: after step ")).expect(&error);
    let (zero, one) = (said("server0"), said("server1"));
    let [zero, one] = if zero < one { [&error[..one], &error[one..]] } else { [&error[zero..], &error[..zero]] };
    let timed_out = [zero, one].map(|said| said.contains("not a byte moved for 2.5 s"));
    assert_ne!(timed_out, [false; 2], "{error}");
    for (said, timed_out) in [zero, one].into_iter().zip(timed_out) {
        assert_eq!(said.contains("dealer (127.0.0.1:"), timed_out, "{error}");
    }
    assert!(waited.load(Ordering::Acquire), "nobody said that it waits for the dealer");
    assert_useful(&mut roles);
}
