#![allow(clippy::unwrap_used)]

use super::{Askers, ModelOrigin, ModelState, ModelStore, ModelStoreError, ModelVersion, PublicPart, Terms};
use crate::{
    job::Job,
    net::{ModelsConfig, Role},
    release::database::{decode, encode},
    train::AnswerKind,
};
use std::{
    fs,
    path::{Path, PathBuf},
};

const DEPLOYMENT: [u8; 32] = [7; 32];

fn config(directory: &Path) -> ModelsConfig {
    ModelsConfig { directory: directory.join("models"), most_versions: 3, most_bytes: 1 << 20 }
}

fn open(directory: &Path) -> ModelStore {
    ModelStore::open(&config(directory), Role::Server1, DEPLOYMENT).unwrap()
}

fn public(name: &str, client: &str) -> PublicPart {
    let job = Job::digits().unwrap();
    PublicPart {
        name: name.to_owned(),
        job: job.encode().unwrap(),
        job_hash: job.hash().unwrap(),
        origin: ModelOrigin::Trained { session: [1; 16], plan_hash: [2; 32], epochs: 3 },
        client: client.to_owned(),
        deployment: DEPLOYMENT,
    }
}

fn version(name: &str, version: u32) -> ModelVersion {
    ModelVersion { name: name.to_owned(), version }
}

fn shares(directory: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(directory.join("models")).unwrap().map(|file| file.unwrap().path());
    let mut shares: Vec<_> = files.filter(|path| path.extension().is_some_and(|end| end == "share")).collect();
    shares.sort();
    shares
}

#[test]
fn a_kept_share_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (public, share) = (public("a", "c1"), [1u64, u64::MAX, 0x0123_4567_89ab_cdef]);
    let store = open(dir.path());
    store.keep(&public, 1, &share).unwrap();
    store.keep(&public, 2, &[9u32; 5]).unwrap();
    drop(store);
    let store = open(dir.path());
    let (model, digest) = (version("a", 1), public.digest());
    assert_eq!(&*store.open_share::<u64>(&model, &digest, "c1").unwrap(), &share);
    assert_eq!(&*store.open_share::<u32>(&version("a", 2), &digest, "c1").unwrap(), &[9; 5]);
    let listed = store.list("c1").unwrap();
    let seen: Vec<_> = listed.iter().map(|listed| (&listed.model, listed.words)).collect();
    assert_eq!(seen, [(&version("a", 1), 3), (&version("a", 2), 5)]);
    let entry = store.show(&model, "c1").unwrap();
    assert_eq!((&entry.public, &entry.listed), (&public, &listed[0]));
    #[cfg(unix)]
    for path in shares(dir.path()) {
        let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&path).unwrap().permissions());
        assert_eq!(mode & 0o077, 0, "{} is for its owner alone", path.display());
    }
}

/// Terms on a server's disk keep their meaning.
#[test]
fn stored_terms_are_frozen() {
    let terms = |answer, per_day, askers| Terms { answer, per_day, askers };
    let listed = Askers::Listed(vec!["0a".to_owned()]);
    for (bytes, terms) in [
        (&[0, 0, 0][..], terms(AnswerKind::Class, None, Askers::Owner)),
        (&[1, 6, 1, 0xac, 2, 2], terms(AnswerKind::Values { frac_bits: 6 }, Some(300), Askers::All)),
        (&[0, 0, 1, 1, 2, 48, 97], terms(AnswerKind::Class, None, listed)),
        (&[2, 5, 0, 3], terms(AnswerKind::Top { k: 5 }, None, Askers::Devices)),
    ] {
        assert_eq!(encode(&terms, "terms").unwrap(), bytes, "{terms:?}");
        assert_eq!(decode::<Terms>(bytes, "terms").unwrap(), terms);
    }
}

/// A version number names one model for ever.
#[test]
fn versions_are_given_once() {
    let dir = tempfile::tempdir().unwrap();
    let (store, public) = (open(dir.path()), public("a", "c1"));
    assert_eq!(store.next_version("c1", "a").unwrap(), 1);
    store.keep(&public, 4, &[0u64]).unwrap();
    assert!(matches!(store.keep(&public, 4, &[0u64]), Err(ModelStoreError::Taken(model)) if model == version("a", 4)));
    store.delete(&version("a", 4), &public.digest(), "c1").unwrap();
    assert_eq!(store.next_version("c1", "a").unwrap(), 5);
    assert!(matches!(store.keep(&public, 4, &[0u64]), Err(ModelStoreError::Taken(_))));
    assert!(shares(dir.path()).is_empty() && store.list("c1").unwrap().is_empty());
    // The last number there is.
    store.keep(&public, u32::MAX, &[0u64]).unwrap();
    assert_eq!(store.next_version("c1", "a").unwrap_err().code(), "model-taken");
    assert_eq!(store.keep(&public, u32::MAX, &[1u64]).unwrap_err().code(), "model-taken");
}

#[test]
fn states_follow_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let (store, public) = (open(dir.path()), public("a", "c1"));
    let (model, digest) = (version("a", 1), public.digest());
    store.keep(&public, 1, &[0u64]).unwrap();
    let set = |state| store.set_state(&model, &digest, "c1", state);
    assert_eq!(set(ModelState::Retired).unwrap_err().code(), "model-state");
    set(ModelState::Published).unwrap();
    set(ModelState::Published).unwrap();
    assert_eq!(store.delete(&model, &digest, "c1").unwrap_err().code(), "model-state");
    assert_eq!(set(ModelState::Draft).unwrap_err().code(), "model-state");
    set(ModelState::Retired).unwrap();
    assert_eq!(store.open_share::<u64>(&model, &digest, "c1").err().unwrap().code(), "model-state");
    store.delete(&model, &digest, "c1").unwrap();
    assert_eq!(set(ModelState::Published).unwrap_err().code(), "model-unknown");
}

/// Clients share neither models nor names nor limits.
#[test]
fn a_model_is_its_clients() {
    let dir = tempfile::tempdir().unwrap();
    let (store, public_part) = (open(dir.path()), public("a", "c1"));
    let (model, digest) = (version("a", 1), public_part.digest());
    store.keep(&public_part, 1, &[0u64]).unwrap();
    store.set_state(&model, &digest, "c1", ModelState::Published).unwrap();
    let refused = |result: Result<(), ModelStoreError>| result.unwrap_err().code();
    for other in ["c", "c0", "c10", "c2"] {
        assert!(store.list(other).unwrap().is_empty());
        assert_eq!(store.next_version(other, "a").unwrap(), 1);
        assert_eq!(refused(store.set_state(&model, &digest, other, ModelState::Retired)), "model-unknown");
        assert_eq!(refused(store.delete(&model, &digest, other)), "model-unknown");
        assert_eq!(store.show(&model, other).unwrap_err().code(), "model-unknown");
        assert_eq!(store.open_share::<u64>(&model, &digest, other).err().unwrap().code(), "model-unknown");
    }
    store.keep(&public("a", "c2"), 1, &[7u64]).unwrap();
    assert_eq!((store.list("c1").unwrap().len(), store.list("c2").unwrap().len()), (1, 1));
    assert_eq!(refused(store.set_state(&model, &[0; 32], "c1", ModelState::Retired)), "model-differs");
}

/// Restored under another authority: it can be seen and deleted, and not opened.
#[test]
fn a_model_of_another_deployment_stays_closed() {
    let dir = tempfile::tempdir().unwrap();
    let (model, public) = (version("a", 1), public("a", "c1"));
    open(dir.path()).keep(&public, 1, &[0u64]).unwrap();
    let store = ModelStore::open(&config(dir.path()), Role::Server1, [8; 32]).unwrap();
    let opened = store.open_share::<u64>(&model, &public.digest(), "c1");
    assert_eq!(opened.err().unwrap().code(), "model-deployment");
    store.delete(&model, &public.digest(), "c1").unwrap();
}

/// A second process, and the other server.
#[test]
fn a_store_has_one_owner() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let open = |role| ModelStore::open(&config(dir.path()), role, DEPLOYMENT).err().map(|error| error.code());
    assert_eq!(open(Role::Server1), Some("model-store-in-use"));
    drop(store);
    assert_eq!(open(Role::Server0), Some("model-catalogue"));
    assert_eq!(open(Role::Server1), None);
}

#[test]
fn a_job_that_does_not_reveal_the_model_keeps_it_closed() {
    let dir = tempfile::tempdir().unwrap();
    let mut job = Job::digits().unwrap();
    job.reveal.model = false;
    let public = PublicPart { job: job.encode().unwrap(), ..public("a", "c1") };
    let store = open(dir.path());
    store.keep(&public, 1, &[0u64]).unwrap();
    let closed = store.open_share::<u64>(&version("a", 1), &public.digest(), "c1").err().unwrap();
    assert_eq!(closed.code(), "model-closed");
}

#[test]
fn a_full_store_keeps_nothing_more() {
    let dir = tempfile::tempdir().unwrap();
    let (store, public) = (open(dir.path()), public("a", "c1"));
    assert_eq!(store.check_room("c1", "a", (1 << 20) + 1).unwrap_err().code(), "model-store-full");
    for version in 1..=3 {
        store.check_room("c1", "a", 8).unwrap();
        store.keep(&public, version, &[0u64]).unwrap();
    }
    assert_eq!(store.check_room("c1", "a", 8).unwrap_err().code(), "model-store-full");
    assert_eq!(store.keep(&public, 4, &[0u64]).unwrap_err().code(), "model-store-full");
    assert_eq!(shares(dir.path()).len(), 3);
}

/// Every way in which a file can be another than the one that was written.
#[test]
fn damaged_shares_are_found() {
    let dir = tempfile::tempdir().unwrap();
    let (store, public) = (open(dir.path()), public("a", "c1"));
    store.keep(&public, 1, &[5u64; 4]).unwrap();
    store.keep(&public, 2, &[6u64; 4]).unwrap();
    let files = shares(dir.path());
    let whole = fs::read(&files[0]).unwrap();
    let read = || store.open_share::<u64>(&version("a", 1), &public.digest(), "c1").map(|share| share.to_vec());
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        fs::write(&files[0], &bytes).unwrap();
        assert_eq!(read().unwrap_err().code(), "model-damaged", "byte {at}");
    }
    for len in [0, 58, whole.len() - 1] {
        fs::write(&files[0], &whole[..len]).unwrap();
        assert_eq!(read().unwrap_err().code(), "model-damaged", "{len} bytes");
    }
    fs::remove_file(&files[0]).unwrap();
    assert_eq!(read().unwrap_err().code(), "model-files");
    fs::write(&files[0], &whole).unwrap();
    assert_eq!(read().unwrap(), [5; 4]);
    // The other server's share of the same model, and the share of another one.
    let elsewhere = dir.path().join("elsewhere");
    let other = ModelStore::open(&config(&elsewhere), Role::Server0, DEPLOYMENT).unwrap();
    other.keep(&public, 1, &[5u64; 4]).unwrap();
    fs::copy(&shares(&elsewhere)[0], &files[0]).unwrap();
    assert_eq!(read().unwrap_err().code(), "model-damaged");
}

/// A crash between the file and the catalogue, or between the catalogue and the file: what is left
/// stays, is counted, and is no model's.
#[test]
fn files_of_a_crash_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    let (store, public) = (open(dir.path()), public("a", "c1"));
    store.keep(&public, 1, &[5u64; 4]).unwrap();
    assert_eq!(store.strays().unwrap(), 0);
    drop(store);
    let folder = dir.path().join("models");
    for stray in ["00000001.share", "00000001.tmp", "notes.txt"] {
        fs::write(folder.join(stray), "half").unwrap();
    }
    let store = open(dir.path());
    assert_eq!(store.strays().unwrap(), 1);
    store.keep(&public, 2, &[6u64; 4]).unwrap();
    assert_eq!(&*store.open_share::<u64>(&version("a", 2), &public.digest(), "c1").unwrap(), &[6; 4]);
    assert_eq!((fs::read(folder.join("00000001.share")).unwrap(), store.strays().unwrap()), (b"half".to_vec(), 1));
}

#[test]
fn a_version_is_written_with_its_name() {
    assert_eq!("digits:12".parse(), Ok(version("digits", 12)));
    for wrong in ["digits", "digits:", ":1", "digits:0", "digits:x", "digits:-1", "dig its:1", "../x:1"] {
        assert!(wrong.parse::<ModelVersion>().unwrap_err().contains("NAME:VERSION"), "{wrong}");
    }
}
