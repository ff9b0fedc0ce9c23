//! The ledger of releases: what a client may see of it, and that a killed server has not forgotten.

use super::{alone, folder, train};
use std::{
    process::Output,
    sync::atomic::{AtomicU64, Ordering},
    thread,
};
use symbolon::{
    net::Role,
    release::ledger::{Entry, Ledger, State},
    session::{
        client::{self, News},
        jobs,
    },
};
use symbolon_tests::{
    jobs::Shape,
    program::{LONG, assert_fails, eventually, run, symbolon},
    roles::{ANYTHING, HASTY, Roles},
};

fn said(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn entries(roles: &Roles, role: Role) -> Vec<Entry> {
    let ledger = roles.config(role).parent().unwrap().join("releases.redb");
    Ledger::open(&ledger).unwrap().entries(None, 100).unwrap()
}

#[test]
fn a_client_sees_its_releases() {
    let _alone = alone();
    let mut roles = Roles::start(HASTY, ANYTHING);
    let (job, client) = (folder(&Shape { epochs: 3, ..Shape::default() }), roles.client());
    assert!(train(&job, &client, &[]).status.success());
    let list = || said(&run(symbolon(["releases"]).arg("--config").arg(&client)));
    let told = list();
    for words in ["server0:", "server1:", "112 + 28, the client's own", "left today: 32 of 32 jobs"] {
        assert!(told.contains(words), "{words:?} is not in\n{told}");
    }
    // Three losses, three accuracies, the model, the alarm.
    let own = entries(&roles, Role::Server0);
    assert_eq!((own.len(), own[0].released, own[0].charge.outputs, own[0].state), (1, 8, 8, State::Ended));
    roles.server0.kill();
    let told = said(&run(symbolon(["releases"]).arg("--config").arg(roles.config(Role::Server0))));
    assert!(told.contains(&format!("client {}", own[0].charge.client)), "{told}");
}

/// In the middle of a job: all that left is on the disk.
#[test]
fn a_killed_server_remembers() {
    let _alone = alone();
    let mut roles = Roles::start(HASTY, ANYTHING);
    let shape = Shape { epochs: 200, batch: 4, ..Shape::default() };
    let (config, tls) = roles.client_config();
    let heard = AtomicU64::new(0);
    thread::scope(|scope| {
        let training = scope.spawn(|| {
            client::run::<u64>(&config, &tls, &shape.job(), shape.inputs(), &mut |news| {
                if let News::Epoch(result) = news {
                    heard.store(u64::from(result.epoch), Ordering::Release);
                }
            })
        });
        assert!(eventually(LONG, || heard.load(Ordering::Acquire) >= 3 || training.is_finished()));
        roles.server0.kill();
        training.join().unwrap().unwrap_err();
    });
    let job = entries(&roles, Role::Server0)[0].charge.session;
    assert!(eventually(LONG, || roles.state(Role::Server1, &job) == "interrupted"));
    let [own, other] = [Role::Server0, Role::Server1].map(|role| entries(&roles, role));
    for entries in [&own, &other] {
        assert_eq!((entries.len(), entries[0].state), (1, State::Open), "the job may go on");
        assert_eq!(entries[0].charge.outputs, 402);
    }
    assert!(own[0].released >= 2 * heard.load(Ordering::Acquire), "{} of them left", own[0].released);
    assert!(other[0].released > 0);
    // It goes on from there; a job that is cancelled gives back what has not left.
    roles.restart(Role::Server0);
    assert_eq!(entries(&roles, Role::Server0), own);
    jobs::cancel(&config, &tls, &job).unwrap();
    for (role, before) in [(Role::Server0, own), (Role::Server1, other)] {
        let now = &entries(&roles, role)[0];
        assert_eq!((now.state, now.released, now.charge.outputs), (State::Ended, before[0].released, now.released));
    }
}

#[test]
fn jobs_are_allowed_and_revoked() {
    let _alone = alone();
    let roles = Roles::start(HASTY, &ANYTHING.replace("\"any\"", "\"listed\""));
    let (job, client) = (folder(&Shape::default()), roles.client());
    assert_fails(&train(&job, &client, &[]), 4, &["policy.jobs does not list job ", "symbolon policy allow"]);
    let policy = |role: Role, words: &[&str]| {
        said(&run(symbolon(["policy"]).args(words).arg("--config").arg(roles.config(role))))
    };
    let file = job.join("job.toml");
    for role in [Role::Server0, Role::Server1] {
        assert!(policy(role, &["allow", file.to_str().unwrap()]).contains("may now run here"));
    }
    assert!(train(&job, &client, &[]).status.success());
    let list = policy(Role::Server0, &["list"]);
    let hash = list.split(' ').next().unwrap();
    assert!(policy(Role::Server0, &["revoke", hash]).contains("may no longer run here"));
    assert_fails(&train(&job, &client, &[]), 4, &["policy.jobs does not list job "]);
}
