//! A dealer that deviates, and an auditor that is frozen or missing.

use super::{alone, assert_useful, folder, train};
use std::{
    collections::HashSet,
    fs,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};
use symbolon::{
    net::Role,
    session::client::{self, News},
};
use symbolon_tests::{
    jobs::Shape,
    program::{LONG, assert_fails, eventually},
    relay::Relay,
    roles::{ANYTHING, CALM, HASTY, Roles},
};

/// A byte of the first epoch's corrections.
const BYTE: usize = 5000;

/// A dealer that flips one bit of its corrections: the job ends at the first release, and no output
/// leaves.
#[test]
fn a_flipped_bit_withholds_all_outputs() {
    let _alone = alone();
    flipped_for(Role::Server0);
    flipped_for(Role::Server1);
}

/// The bit is among the corrections of `receiver`, which finds it; those of the other server are
/// right.
fn flipped_for(receiver: Role) {
    let mut dealer = None;
    let mut roles = Roles::start_audited(CALM, ANYTHING, &mut |deployment, from, to, port| {
        if (from, to) != (receiver, Role::Dealer) {
            return port;
        }
        let relay = Relay::start_flipping(deployment, from, to, port, Some(BYTE));
        dealer.insert(relay).port
    });
    let shape = Shape { epochs: 3, ..Shape::default() };
    let (config, tls) = roles.client_config();
    let mut outputs = 0;
    let ended = client::run::<u64>(&config, &tls, &shape.job(), shape.inputs(), &mut |news| {
        outputs += usize::from(matches!(news, News::Epoch(_)));
    });
    let error = ended.map(|_| ()).unwrap_err().to_string();
    let found = "the dealer's corrections are not the auditor's, found before release 1";
    assert!(error.contains(&format!("{receiver} failed: {found}")), "{error}");
    assert!(error.contains("this server's outputs are withheld; have dealer and auditor compare"), "{error}");
    assert_eq!(outputs, 0, "an output left");
    let [finder, other] = match receiver {
        Role::Server0 => [&roles.server0, &roles.server1],
        _ => [&roles.server1, &roles.server0],
    };
    finder.says(&[found]);
    assert!(!other.said().contains(found), "the other server's corrections were right");
    assert!(dealer.unwrap().talks().iter().any(|talk| talk.answered.len() > BYTE), "no byte was flipped");
    roles.assert_well();
}

/// Returns the steps of the checkpoints that both servers store of a job, which asks for one at
/// each step.
fn checkpoints(roles: &Roles) -> HashSet<u64> {
    let shape = Shape { epochs: 40, batch: 4, ..Shape::default() };
    let dir = folder(&shape);
    let _ = dir.file("job.toml", &shape.toml().replace("batch = 4\n", "batch = 4\ncheckpoint = { steps = 1 }\n"));
    let output = train(&dir, &roles.client(), &["--no-keep", "--detach"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let id = roles.jobs(Role::Server0).pop().unwrap().id;
    let folders = [Role::Server0, Role::Server1].map(|role| roles.job_folder(role, &id));
    let mut steps = HashSet::new();
    let ended = eventually(LONG, || {
        let files = folders.iter().flat_map(fs::read_dir).flatten().flatten();
        steps.extend(files.filter_map(|file| file.file_name().to_str()?.split_once('-')?.0.parse::<u64>().ok()));
        roles.state(Role::Server1, &id) == "done"
    });
    assert!(ended, "{}", roles.server1.said());
    steps
}

/// A deployment with an auditor stores checkpoints at epochs' ends alone: a run never goes on from
/// a state to which the auditor has not agreed.
#[test]
fn audited_servers_store_checkpoints_at_epochs_ends() {
    let _alone = alone();
    let is_end = |steps: &u64| steps.is_multiple_of(28);
    let audited = checkpoints(&Roles::start_audited(CALM, ANYTHING, &mut |_, _, _, port| port));
    assert!(!audited.is_empty() && audited.iter().all(is_end), "{audited:?}");
    let usual = checkpoints(&Roles::start(CALM, ANYTHING));
    assert!(!usual.iter().all(is_end), "{usual:?}");
}

/// A frozen auditor is the role that both servers blame, and had waited for.
#[test]
fn a_frozen_auditor_is_blamed() {
    let _alone = alone();
    let mut roles = Roles::start_audited(HASTY, ANYTHING, &mut |_, _, _, port| port);
    let shape = Shape { epochs: 100, batch: 4, ..Shape::default() };
    let (config, tls) = roles.client_config();
    let (begun, waited) = (AtomicBool::new(false), AtomicBool::new(false));
    let error = thread::scope(|scope| {
        let training = scope.spawn(|| {
            client::run::<u64>(&config, &tls, &shape.job(), shape.inputs(), &mut |news| match news {
                News::Epoch(_) => begun.store(true, Ordering::Release),
                News::Alive(_, alive) if alive.waits_for == Some(Role::Auditor) => {
                    waited.store(true, Ordering::Release);
                }
                _ => {}
            })
        });
        assert!(eventually(LONG, || begun.load(Ordering::Acquire) || training.is_finished()));
        roles.auditor.as_ref().unwrap().signal("STOP");
        training.join().unwrap().map(|_| ()).unwrap_err().to_string()
    });
    roles.auditor.as_ref().unwrap().signal("CONT");
    assert!(error.contains("failed: auditor (127.0.0.1:"), "{error}");
    assert!(error.contains("not a byte moved for 2.5 s") && !error.contains("dealer ("), "{error}");
    assert!(waited.load(Ordering::Acquire), "no server said that it waits for the auditor");
    assert_useful(&mut roles);
}

/// Servers whose configuration names an auditor run no job without it.
#[test]
fn a_missing_auditor_is_named() {
    let _alone = alone();
    let mut roles = Roles::start_audited(HASTY, ANYTHING, &mut |_, _, _, port| port);
    roles.auditor.as_mut().unwrap().kill();
    let output = train(&folder(&Shape::default()), &roles.client(), &[]);
    let unreachable = "nobody accepted a connection within 1.5 s";
    assert_fails(&output, 3, &["failed: auditor (127.0.0.1:", unreachable, "start the role there"]);
}
