#![allow(clippy::unwrap_used)]

use super::*;
use crate::{
    intake::validity::UnixSeconds,
    net::{JobsConfig, Role},
};
use proptest::prelude::*;
use std::{collections::BTreeMap, fs, path::Path, time::Duration};
use zeroize::Zeroizing;

fn config(directory: &Path) -> JobsConfig {
    JobsConfig {
        directory: directory.to_owned(),
        queue: 3,
        per_client: 3,
        running_bytes: None,
        retry: Duration::ZERO,
        keep: Duration::from_secs(100),
        priorities: BTreeMap::new(),
    }
}

fn open(directory: &Path) -> JobStore {
    JobStore::open(&config(directory), Role::Server1).unwrap()
}

fn job(id: u8, client: &str) -> StoredJob {
    StoredJob {
        id: [id; 16],
        client: client.to_owned(),
        encoded: vec![id, 2, 3],
        keep: None,
        output_key: [7; 32],
        received_at: i64::from(id),
        memory_bytes: 1,
        plan_hash: [1; 32],
        from: None,
    }
}

fn insert(store: &JobStore, job: &StoredJob) {
    let _arriving = store.arrive(job.id, &job.client).unwrap();
    let mut upload = store.begin_upload(job.id).unwrap();
    upload.write(b"shares").unwrap();
    store.insert(job, upload).unwrap();
}

#[test]
fn a_job_outlives_the_process() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    insert(&store, &job(2, "a"));
    insert(&store, &job(1, "b"));
    store.set_state(&[1; 16], JobState::Running).unwrap();
    store.add_output(&[1; 16], 1, b"first").unwrap();
    store.add_output(&[1; 16], 1, b"another").unwrap();
    drop(store);
    let store = open(dir.path());
    let all = store.all().unwrap();
    assert_eq!(all.iter().map(|(job, _)| job.id[0]).collect::<Vec<_>>(), [2, 1], "in the order of arrival");
    assert_eq!((&all[1].1.state, all[1].1.runs), (&JobState::Running, 1));
    assert_eq!(store.outputs(&[1; 16], 0).unwrap(), [(1, b"first".to_vec())], "an output is stored once");
    assert!(store.outputs(&[1; 16], 2).unwrap().is_empty());
    let mut bytes = [0; 6];
    read_part(&mut store.open_data(&[2; 16]).unwrap(), &mut bytes, dir.path()).unwrap();
    assert_eq!(&bytes, b"shares");
}

#[test]
fn data_that_did_not_arrive_leave_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let (arriving, mut upload) = (store.arrive([5; 16], "a").unwrap(), store.begin_upload([5; 16]).unwrap());
    upload.write(b"half").unwrap();
    assert!(matches!(store.arrive([5; 16], "a"), Err(JobStoreError::Taken(_))));
    drop((arriving, upload));
    assert!(matches!(store.get(&[5; 16]), Err(JobStoreError::Unknown(_))));
    assert!(!store.folder(&[5; 16]).exists());
    // As a crash leaves it.
    std::mem::forget(store.begin_upload([6; 16]).unwrap());
    assert!(store.folder(&[6; 16]).exists());
    drop(store);
    assert!(!open(dir.path()).folder(&[6; 16]).exists());
}

#[test]
fn the_queue_is_bounded_and_one_process_has_the_store() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    insert(&store, &job(1, "a"));
    let _arriving = [store.arrive([2; 16], "a").unwrap(), store.arrive([3; 16], "a").unwrap()];
    assert!(matches!(store.arrive([4; 16], "b"), Err(JobStoreError::Full { key: "queue", most: 3 })));
    assert!(matches!(JobStore::open(&config(dir.path()), Role::Server1), Err(JobStoreError::InUse(_))));
    drop(_arriving);
    store.finish(&[1; 16], [9; 16], None, b"end").unwrap();
    let own = [2, 3].map(|id| store.arrive([id; 16], "a").unwrap());
    let full = store.arrive([4; 16], "a");
    assert!(matches!(full, Err(JobStoreError::Full { key: "per_client", most: 3 })), "outputs wait");
    drop(store.arrive([4; 16], "b").unwrap());
    drop((own, full));
    drop(store);
    let other = JobStore::open(&config(dir.path()), Role::Server0);
    assert!(matches!(other, Err(JobStoreError::Catalogue(_))), "the other server's");
}

#[test]
fn what_has_ended_stays_ended_and_expires() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    for id in 1..=3 {
        insert(&store, &job(id, "a"));
        store.set_state(&[id; 16], JobState::Running).unwrap();
    }
    store.add_output(&[1; 16], 1, b"output").unwrap();
    store.write_model(&[1; 16], b"sealed").unwrap();
    store.finish(&[1; 16], [9; 16], Some(Ok(4)), b"end").unwrap();
    assert!(matches!(store.add_output(&[1; 16], 2, b"late"), Err(JobStoreError::Ended { .. })));
    assert_eq!(store.outputs(&[1; 16], 2).unwrap(), [(OutputPlace::END, b"end".to_vec())]);
    assert!(store.open_data(&[1; 16]).is_err(), "its data are deleted");
    let late = (CheckpointName { steps: 4, session: [9; 16] }, 4);
    store.write_checkpoint(&[1; 16], late, None, b"state").unwrap();
    store.clear_ended(&[1; 16]);
    assert!(store.checkpoints(&[1; 16]).unwrap().is_empty(), "nor does a late checkpoint stay");
    assert_eq!(store.open_model(&[1; 16]).unwrap().1, 6);
    assert!(matches!(store.set_state(&[1; 16], JobState::Running), Err(JobStoreError::Ended { state: "done", .. })));
    let status = store.get(&[1; 16]).unwrap().1;
    assert_eq!((status.finished, status.kept), (Some([9; 16]), Some(Ok(4))));
    store.set_state(&[2; 16], JobState::Interrupted("a peer was lost".to_owned())).unwrap();
    assert!(matches!(store.of_client(&[1; 16], "b"), Err(JobStoreError::Unknown(_))), "another client's");
    let now = UnixSeconds::now().0;
    assert!(store.expire(UnixSeconds(now + 50)).unwrap().is_empty());
    assert_eq!(store.expire(UnixSeconds(now + 150)).unwrap(), [[1; 16], [2; 16]], "not the one that runs");
    assert_eq!(store.get(&[1; 16]).unwrap().1.state, JobState::Expired);
    assert!(store.outputs(&[1; 16], 0).unwrap().is_empty() && !store.folder(&[1; 16]).exists());
    store.finish(&[3; 16], [9; 16], None, b"end").unwrap();
    store.forget(&[3; 16]).unwrap();
    store.forget(&[3; 16]).unwrap();
    assert_eq!(store.get(&[3; 16]).unwrap().1.state, JobState::Fetched);
}

#[test]
fn a_discarded_job_has_no_outputs() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    for id in 1..=3 {
        insert(&store, &job(id, "a"));
        store.add_output(&[id; 16], 1, b"output").unwrap();
        store.write_model(&[id; 16], b"sealed").unwrap();
    }
    store.finish(&[1; 16], [9; 16], None, b"end").unwrap();
    let failed = JobState::Failed("a reason".to_owned());
    store.set_state(&[2; 16], failed.clone()).unwrap();
    store.finish(&[3; 16], [9; 16], None, b"end").unwrap();
    store.forget(&[3; 16]).unwrap();
    for (id, state) in [(1, JobState::Cancelled), (2, failed)] {
        for _ in 0..2 {
            store.discard(&[id; 16]).unwrap();
            assert_eq!(store.get(&[id; 16]).unwrap().1.state, state);
            assert!(store.outputs(&[id; 16], 0).unwrap().is_empty() && !store.folder(&[id; 16]).exists());
        }
    }
    assert!(matches!(store.discard(&[3; 16]), Err(JobStoreError::Ended { state: "fetched", .. })));
    assert!(matches!(store.discard(&[4; 16]), Err(JobStoreError::Unknown(_))));
}

fn name(steps: u64, session: u8) -> CheckpointName {
    CheckpointName { steps, session: [session; 16] }
}

#[test]
fn the_last_checkpoints_stay() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    insert(&store, &job(1, "a"));
    let id = &[1; 16];
    for steps in 1..=9u8 {
        let (state, steps) = ([steps; 10], u64::from(steps));
        let numbers = [steps, 2];
        let numbers = steps.is_multiple_of(4).then_some(&numbers[..]);
        store.write_checkpoint(id, (name(steps, 1), 4), numbers, &state).unwrap();
    }
    assert_eq!(store.checkpoints(id).unwrap(), [name(7, 1), name(8, 1), name(9, 1)], "the end of step 8 is among them");
    store.write_checkpoint(id, (name(10, 1), 4), None, &[10; 10]).unwrap();
    store.write_checkpoint(id, (name(11, 1), 4), None, &[11; 10]).unwrap();
    assert_eq!(
        store.checkpoints(id).unwrap(),
        [name(8, 1), name(9, 1), name(10, 1), name(11, 1)],
        "and the epoch's end"
    );
    let (numbers, state) = store.read_checkpoint(id, name(8, 1)).unwrap();
    assert_eq!((numbers, &state[..]), (Some(vec![8, 2]), &[8u8; 10][..]));
    assert_eq!(store.read_checkpoint(id, name(9, 1)).unwrap().0, None);
    // A run that goes on from an earlier one.
    store.delete_later_checkpoints(id, Some(name(9, 1))).unwrap();
    assert_eq!(store.checkpoints(id).unwrap(), [name(8, 1), name(9, 1)]);
    store.write_checkpoint(id, (name(10, 0), 4), None, &[1; 10]).unwrap();
    assert_eq!(store.checkpoints(id).unwrap(), [name(8, 1), name(9, 1), name(10, 0)]);
    // The other server may have no later epoch's end than this one.
    for steps in 11..=13 {
        store.write_checkpoint(id, (name(steps, 0), 4), None, &[1; 10]).unwrap();
    }
    assert_eq!(store.checkpoints(id).unwrap(), [name(11, 0), name(12, 0), name(13, 0)]);
    store.write_checkpoint(id, (name(16, 0), 4), None, &[1; 10]).unwrap();
    assert_eq!(store.checkpoints(id).unwrap(), [name(12, 0), name(13, 0), name(16, 0)]);
    store.delete_later_checkpoints(id, None).unwrap();
    assert!(store.checkpoints(id).unwrap().is_empty());
}

#[test]
fn damage_is_detected() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    insert(&store, &job(1, "a"));
    let id = &[1; 16];
    store.write_checkpoint(id, (name(4, 1), 4), Some(&[5]), b"state").unwrap();
    let path = store.folder(id).join(format!("4-{}.checkpoint", "01".repeat(16)));
    let whole = fs::read(&path).unwrap();
    // The state has a hash of its own, behind its head.
    for at in 0..whole.len() - 5 {
        let mut bytes = whole.clone();
        bytes[at] ^= 4;
        fs::write(&path, &bytes).unwrap();
        assert!(matches!(store.read_checkpoint(id, name(4, 1)), Err(JobStoreError::Damaged(_))), "byte {at}");
        fs::write(&path, &whole[..at]).unwrap();
        assert!(matches!(store.read_checkpoint(id, name(4, 1)), Err(JobStoreError::Damaged(_))), "{at} bytes");
    }
    assert!(store.read_final(id).unwrap().is_none());
    let results = || Final {
        session: [3; 16],
        epochs: 7,
        outputs: Zeroizing::new(b"outputs".to_vec()),
        model: Zeroizing::new(b"model".to_vec()),
    };
    store.write_final(id, &results()).unwrap();
    let read = store.read_final(id).unwrap().unwrap();
    assert_eq!((read.session, read.epochs), ([3; 16], 7));
    assert_eq!((&read.outputs, &read.model), (&results().outputs, &results().model));
    let path = store.folder(id).join("final");
    let whole = fs::read(&path).unwrap();
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        fs::write(&path, &bytes).unwrap();
        assert!(matches!(store.read_final(id), Err(JobStoreError::Damaged(_))), "byte {at}");
    }
}

proptest! {
    /// An output opens with its key in its place, and nowhere else.
    #[test]
    fn outputs_open_in_their_place_alone(
        output in proptest::collection::vec(any::<u8>(), 0..300),
        id: [u8; 16],
        number: u32,
        at: prop::sample::Index,
    ) {
        let key = OutputKey::generate().unwrap();
        let place = OutputPlace { job: id, server: 0, number };
        let sealed = place.seal(&key.public(), &output).unwrap();
        prop_assert_eq!(sealed.len(), OutputPlace::sealed_len(output.len()));
        prop_assert_eq!(&key.open(&place, &sealed).unwrap()[..], &output[..]);
        prop_assert_ne!(&sealed, &place.seal(&key.public(), &output).unwrap());
        let others = [
            OutputPlace { server: 1, ..place },
            OutputPlace { number: number ^ 1, ..place },
            OutputPlace { job: id.map(|byte| !byte), ..place },
        ];
        for other in others {
            prop_assert_eq!(key.open(&other, &sealed).unwrap_err(), SealError::Foreign);
        }
        prop_assert!(OutputKey::generate().unwrap().open(&place, &sealed).is_err());
        let mut changed = sealed.clone();
        changed[at.index(sealed.len())] ^= 1;
        prop_assert!(key.open(&place, &changed).is_err());
        prop_assert!(key.open(&place, &sealed[..at.index(sealed.len())]).is_err());
    }
}
