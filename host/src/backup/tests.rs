//! Backups of a server's folder: whole, refused, hostile.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation)]

mod hostile;
mod keys;
mod stream;

use super::*;
use crate::{
    model_store::ModelStore,
    net::{Config, Deployment, Hosts, Role, write_all},
    provision::equip,
    release::ledger::Ledger,
};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::SystemTime,
};

/// A server's folder, another one to work in, and a key.
struct Bench {
    dir: tempfile::TempDir,
    secret: BackupSecret,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let hosts = Hosts::default();
        write_all(&Deployment::generate(&hosts, SystemTime::now(), 9).unwrap(), dir.path(), &hosts).unwrap();
        equip(dir.path()).unwrap();
        let bench = Self { dir, secret: BackupSecret::generate().unwrap() };
        let own = bench.server();
        let config = bench.config();
        drop(ModelStore::open(&config.models, Role::Server0, [1; 32]).unwrap());
        drop(Ledger::open(&config.policy_files.ledger).unwrap());
        fs::write(own.join("models/00000001.share"), vec![7; 300_000]).unwrap();
        fs::write(own.join("models/00000002.tmp"), "a crash left it").unwrap();
        fs::write(own.join("jobs.toml"), "").unwrap();
        fs::write(own.join("schemas/empty.toml"), "").unwrap();
        fs::create_dir(own.join("keys/empty")).unwrap();
        bench
    }

    fn server(&self) -> PathBuf {
        self.dir.path().join("server0")
    }

    fn config(&self) -> Config {
        Config::load(&self.server().join("server0.toml"), &[Role::Server0]).unwrap()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str) -> Result<Written, BackupError> {
        write(&self.config(), &self.secret.recipient(), &self.path(name))
    }

    fn restore(&self, name: &str, into: &str) -> Result<Restored, BackupError> {
        restore(&self.path(name), |_| Ok(copy(&self.secret)), &self.path(into))
    }

    /// Edits the configuration.
    fn edit(&self, from: &str, to: &str) {
        let file = self.server().join("server0.toml");
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.contains(from), "{from}");
        fs::write(&file, text.replace(from, to)).unwrap();
    }

    /// Names in the folder, to see that nothing stays behind.
    fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(self.dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

fn copy(secret: &BackupSecret) -> BackupSecret {
    BackupSecret { secret: symbolon_core::report::identity::SecretKey::from_bytes(secret.secret.expose()) }
}

/// Path -> mode, and content of files.
fn tree(folder: &Path) -> BTreeMap<String, (u32, Option<Vec<u8>>)> {
    fn visit(root: &Path, folder: &Path, found: &mut BTreeMap<String, (u32, Option<Vec<u8>>)>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            let metadata = fs::metadata(&path).unwrap();
            #[cfg(unix)]
            let mode = std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o777;
            #[cfg(not(unix))]
            let mode = 0;
            let content = metadata.is_file().then(|| fs::read(&path).unwrap());
            found.insert(name, (mode, content));
            if metadata.is_dir() {
                visit(root, &path, found);
            }
        }
    }
    let mut found = BTreeMap::new();
    visit(folder, folder, &mut found);
    found
}

/// Mutants of `bytes` from a fixed seed: a few bytes changed in each, near the front more often.
fn mutants(bytes: &[u8], times: u32) -> impl Iterator<Item = Vec<u8>> {
    let mut state = 2026_u64;
    let mut dice = move |sides: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) as usize % sides
    };
    (0..times).map(move |_| {
        let mut mutant = bytes.to_vec();
        for _ in 0..=dice(4) {
            let within = if dice(2) == 0 { mutant.len().min(512) } else { mutant.len() };
            let at = dice(within);
            mutant[at] = [0, b'/', b'.', b'7', 0xff, dice(256) as u8][dice(6)];
        }
        mutant
    })
}

fn code<T: std::fmt::Debug>(result: Result<T, BackupError>, code: &str) -> String {
    let text = result.unwrap_err().to_string();
    assert!(text.starts_with(&format!("{code}: ")), "{text}");
    text
}

#[test]
fn a_server_is_restored_as_it_was() {
    let bench = Bench::new();
    bench.secret.recipient().write(&bench.server().join(RECIPIENT_FILE)).unwrap();
    let written = bench.write("a.backup").unwrap();
    assert_eq!(written.bytes, fs::metadata(bench.path("a.backup")).unwrap().len());
    #[cfg(unix)]
    assert_eq!(std::os::unix::fs::MetadataExt::mode(&fs::metadata(bench.path("a.backup")).unwrap()) & 0o777, 0o600);
    fs::create_dir(bench.path("empty")).unwrap();
    for into in ["new", "empty"] {
        let restored = bench.restore("a.backup", into).unwrap();
        assert_eq!(restored.manifest, written.manifest);
        assert!(restored.certificate.is_none() && restored.manifest.moved.is_empty());
        let mut before = tree(&bench.server());
        assert!(before.remove("models/lock").is_some() && before.remove("models/00000002.tmp").is_some());
        assert_eq!(tree(&bench.path(into)), before);
        assert!(before.contains_key("keys/1.key") && before.contains_key("backup-recipient.toml"));
        // The restored server can be backed up again.
        let config = Config::load(&bench.path(into).join("server0.toml"), &[Role::Server0]).unwrap();
        write(&config, &bench.secret.recipient(), &bench.path(&format!("{into}.backup"))).unwrap();
    }
    code(bench.restore("a.backup", "new"), "backup-not-empty");
    code(bench.write("a.backup"), "backup-out");
    code(bench.write("server0/models/b.backup"), "backup-out");
    assert!(bench.names().iter().all(|name| !name.starts_with('.')), "{:?}", bench.names());
}

#[test]
fn files_elsewhere_move_into_the_folder() {
    let bench = Bench::new();
    let (own, far) = (bench.server(), bench.path("far"));
    fs::create_dir(&far).unwrap();
    fs::rename(own.join("models"), far.join("shares")).unwrap();
    fs::rename(own.join("key.pem"), far.join("key.pem")).unwrap();
    fs::rename(own.join("devices.toml"), far.join("devices.toml")).unwrap();
    bench.edit("\"key.pem\"", &format!("{:?}", far.join("key.pem")));
    bench.edit("\"devices.toml\"", "\"../far/devices.toml\"");
    bench.edit("directory = \"models\"", "directory = \"../far/shares\" # a comment");
    let written = bench.write("a.backup").unwrap();
    assert_eq!(written.manifest.moved.len(), 3, "{:?}", written.manifest.moved);
    let restored = bench.restore("a.backup", "new").unwrap();
    let (new, config) = (bench.path("new"), Config::load(&restored.configuration, &[Role::Server0]).unwrap());
    assert_eq!(config.models.directory, new.join("elsewhere/models.directory/shares"));
    assert_eq!(config.tls.key, new.join("elsewhere/tls.key/key.pem"));
    assert!(config.identity().is_ok() && config.intake.unwrap().devices.is_file());
    assert!(config.models.directory.join("models.redb").is_file());
    assert!(fs::read_to_string(&restored.configuration).unwrap().contains("# a comment"));
    code(bench.write("far/shares/b.backup"), "backup-out");
}

#[test]
fn a_server_that_runs_is_refused() {
    let bench = Bench::new();
    let config = bench.config();
    let store = ModelStore::open(&config.models, Role::Server0, [1; 32]).unwrap();
    assert!(code(bench.write("a.backup"), "backup-running").contains("stop the server"));
    drop(store);
    let database = redb::Database::open(&config.policy_files.ledger).unwrap();
    assert!(code(bench.write("a.backup"), "backup-in-use").contains("releases.redb"));
    drop(database);
    bench.write("a.backup").unwrap();
}

#[cfg(unix)]
#[test]
fn files_that_cannot_be_stored_are_named() {
    use std::os::unix::{fs::symlink, net::UnixListener};
    let bench = Bench::new();
    let own = bench.server();
    let _socket = UnixListener::bind(own.join("keys/socket")).unwrap();
    assert!(code(bench.write("a.backup"), "backup-source").contains("keys/socket"));
    fs::remove_file(own.join("keys/socket")).unwrap();
    symlink(&own, own.join("keys/loop")).unwrap();
    assert!(code(bench.write("a.backup"), "backup-source").contains("link to a folder"));
    fs::remove_file(own.join("keys/loop")).unwrap();
    // A link to a file stands for the file.
    symlink(own.join("ca.pem"), own.join("schemas/link")).unwrap();
    bench.write("a.backup").unwrap();
    bench.restore("a.backup", "new").unwrap();
    assert!(fs::symlink_metadata(bench.path("new/schemas/link")).unwrap().is_file());
    fs::remove_file(own.join("cert.pem")).unwrap();
    assert!(code(bench.write("b.backup"), "backup-files").contains("cert.pem"));
    assert!(!bench.names().iter().any(|name| name.starts_with('.') || name == "b.backup"), "{:?}", bench.names());
}

#[test]
fn the_certificate_of_another_role_is_refused() {
    let bench = Bench::new();
    for name in ["cert.pem", "key.pem"] {
        fs::copy(bench.path("server1").join(name), bench.server().join(name)).unwrap();
    }
    assert!(code(bench.write("a.backup"), "backup-role").contains("server1's"));
}
