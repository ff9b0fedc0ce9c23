//! Tables on the servers' disks.

use super::{alone, assert_useful, folder, train};
use symbolon_tests::{
    dir::TempDir,
    jobs::Shape,
    program::assert_fails,
    roles::{ANYTHING, CALM, HASTY, Roles},
};

/// Servers without memory for tables run a job as others do, and nothing stays on their disks.
#[test]
fn a_job_on_disk() {
    let _alone = alone();
    let dir = TempDir::new();
    let mut roles = Roles::start(CALM, &format!("{ANYTHING}\n[storage]\nmemory_mib = 0\ndirectory = {:?}", &*dir));
    assert_useful(&mut roles);
    assert_eq!(std::fs::read_dir(&*dir).unwrap().count(), 0);
}

/// A missing folder is named before any share is sent, and the servers keep serving.
#[test]
fn missing_folder() {
    let _alone = alone();
    let job = folder(&Shape::default());
    let mut roles = Roles::start(HASTY, &format!("{ANYTHING}\n[storage]\nmemory_mib = 0\ndirectory = \"missing\""));
    for _ in 0..2 {
        let output = train(&job, &roles.client(), &[]);
        let said = ["server0 failed: cannot create a scratch file in ", "missing", "storage.directory"];
        assert_fails(&output, 3, &said);
    }
    roles.assert_well();
}
