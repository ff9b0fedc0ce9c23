//! Archives that the program would not write, made by a party with the recipient's file.

use super::*;
use crate::backup::{
    manifest::{MANIFEST, VERSION},
    seal::Sealer,
};
use std::{fs::File, io::BufWriter};
use tar::{Builder, EntryType, Header};

type Archive<'a> = Builder<Sealer<BufWriter<File>>>;

/// An entry whose name the library would refuse to write.
fn put(archive: &mut Archive<'_>, name: &str, kind: EntryType, content: &[u8]) {
    let mut header = Header::new_gnu();
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.set_entry_type(kind);
    header.set_mode(0o4777);
    header.set_size(content.len() as u64);
    if !matches!(kind, EntryType::Regular | EntryType::Directory) {
        header.set_link_name("/etc/passwd").unwrap();
    }
    header.set_cksum();
    archive.append(&header, content).unwrap();
}

fn file(archive: &mut Archive<'_>, name: &str, content: &[u8]) {
    put(archive, name, EntryType::Regular, content);
}

impl Bench {
    /// Writes an archive by hand.
    fn forge(&self, name: &str, fill: impl FnOnce(&mut Archive<'_>)) {
        let to = BufWriter::new(File::create(self.path(name)).unwrap());
        let mut archive = Builder::new(Sealer::new(to, &self.secret.recipient()).unwrap());
        fill(&mut archive);
        archive.into_inner().unwrap().finish().unwrap();
    }

    /// All files of the server as the program lists them, with a manifest that was changed.
    fn forge_manifest(&self, change: impl FnOnce(&mut Manifest)) -> Result<Restored, BackupError> {
        let _ = fs::remove_file(self.path("whole.backup"));
        let mut manifest = self.write("whole.backup").unwrap().manifest;
        change(&mut manifest);
        self.forge("forged.backup", |archive| {
            for stored in self.files() {
                file(archive, &format!("files/{stored}"), &fs::read(self.server().join(&stored)).unwrap());
            }
            file(archive, MANIFEST, &serde_json::to_vec(&manifest).unwrap());
        });
        self.restore("forged.backup", "forged")
    }

    fn files(&self) -> Vec<String> {
        let files = tree(&self.server()).into_iter().filter(|(_, (_, content))| content.is_some());
        files.map(|(name, _)| name).filter(|name| !name.ends_with("lock") && !name.ends_with(".tmp")).collect()
    }
}

#[test]
fn entries_never_leave_the_folder() {
    let bench = Bench::new();
    let before = bench.names();
    let outside = format!("{}/outside", bench.dir.path().display());
    let names = ["../x", "files/../../x", "files/../x", "files/a/../../../x", "files", "files/", "x", "/files/x"];
    for name in names.into_iter().chain([&*outside]) {
        bench.forge("h", |archive| file(archive, name, b"hostile"));
        let text = code(bench.restore("h", "new"), "backup-damaged");
        assert!(text.contains(name) && text.contains("would leave the folder"), "{text}");
        fs::remove_file(bench.path("h")).unwrap();
        assert_eq!(bench.names(), before, "{name}");
    }
}

/// Mutated archives in sealed streams: no panic, and nothing outside of the folder.
#[test]
fn mutated_archives_stay_inside() {
    use std::io::Write as _;
    let bench = Bench::new();
    let manifest = bench.write("a.backup").unwrap().manifest;
    let mut archive = Builder::new(Vec::new());
    for name in bench.files().iter().filter(|name| !name.ends_with("redb") && !name.ends_with("share")) {
        let content = fs::read(bench.server().join(name)).unwrap();
        let mut header = Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o600);
        archive.append_data(&mut header, format!("files/{name}"), &content[..]).unwrap();
    }
    let text = serde_json::to_vec(&manifest).unwrap();
    let mut header = Header::new_ustar();
    header.set_size(text.len() as u64);
    archive.append_data(&mut header, MANIFEST, &text[..]).unwrap();
    let bytes = archive.into_inner().unwrap();
    let before = bench.names();
    for (i, mut mutant) in mutants(&bytes, 600).enumerate() {
        // Half of them with a first header whose checksum is right, so that its fields count.
        if i % 2 == 0 {
            let mut header = Header::from_byte_slice(&mutant[..512]).clone();
            header.set_cksum();
            mutant[..512].copy_from_slice(header.as_bytes());
        }
        let to = BufWriter::new(File::create(bench.path("a.backup")).unwrap());
        let mut sealer = Sealer::new(to, &bench.secret.recipient()).unwrap();
        sealer.write_all(&mutant).unwrap();
        sealer.finish().unwrap();
        bench.restore("a.backup", "new").unwrap_err(); // the manifest lists more
        assert_eq!(bench.names(), before);
    }
}

#[test]
fn links_and_devices_are_refused() {
    let bench = Bench::new();
    for kind in [EntryType::Symlink, EntryType::Link, EntryType::Fifo, EntryType::Char, EntryType::XGlobalHeader] {
        bench.forge("h", |archive| put(archive, "files/x", kind, b""));
        let text = code(bench.restore("h", "new"), "backup-damaged");
        assert!(text.contains("neither a file nor a folder"), "{text}");
    }
    assert!(!bench.path("new").exists());
}

#[test]
fn archives_and_manifests_must_agree() {
    let bench = Bench::new();
    let refused = |fill: &dyn Fn(&mut Archive<'_>), words: &str| {
        bench.forge("h", fill);
        let text = code(bench.restore("h", "new"), "backup-damaged");
        assert!(text.contains(words) && text.contains("nothing was restored"), "{text}");
        assert!(!bench.path("new").exists() && bench.names().iter().all(|name| !name.starts_with('.')));
    };
    refused(&|_| {}, "manifest is missing");
    refused(&|archive| file(archive, MANIFEST, b"{}"), "manifest is missing or invalid");
    let twice = |archive: &mut Archive<'_>| {
        file(archive, "files/x", b"1");
        file(archive, "files/x", b"1");
    };
    refused(&twice, "another entry has its path");
    let inside = |archive: &mut Archive<'_>| {
        file(archive, "files/x", b"1");
        file(archive, "files/x/y", b"1");
    };
    refused(&inside, "another entry has its path");

    assert!(bench.forge_manifest(|_| {}).is_ok());
    fs::remove_dir_all(bench.path("forged")).unwrap();
    let damaged = |change: &dyn Fn(&mut Manifest), words: &str| {
        let text = code(bench.forge_manifest(change), "backup-damaged");
        assert!(text.contains(words), "{text}");
    };
    damaged(&|manifest| manifest.files[0].bytes += 1, "digest");
    damaged(&|manifest| manifest.files[0].sha256 = "00".repeat(32), "digest");
    damaged(&|manifest| manifest.files[0].path.push('x'), "is missing");
    damaged(&|manifest| drop(manifest.files.pop()), "does not list it");
    damaged(&|manifest| manifest.configuration.push('x'), "is missing");
    let moved = |key: &str, path: &str| crate::backup::sources::Moved { key: key.to_owned(), path: path.to_owned() };
    damaged(&|manifest| manifest.moved.push(moved("tls.key", "../../key.pem")), "manifest is missing or invalid");
    damaged(&|manifest| manifest.moved.push(moved("no.key", "key.pem")), "manifest is missing or invalid");
    code(bench.forge_manifest(|manifest| manifest.version = VERSION + 1), "backup-version");
    assert!(!bench.path("forged").exists());
}

#[test]
fn another_role_or_deployment_is_refused() {
    let bench = Bench::new();
    let text = code(bench.forge_manifest(|manifest| manifest.role = Role::Server1), "backup-role");
    assert!(text.contains("server1's are due"), "{text}");
    code(bench.forge_manifest(|manifest| manifest.deployment = "00".repeat(32)), "backup-deployment");
    assert!(!bench.names().iter().any(|name| name.starts_with('.')), "{:?}", bench.names());
}

/// Through the whole restore: a file that was cut, changed, or is of another key.
#[test]
fn a_damaged_backup_restores_nothing() {
    let bench = Bench::new();
    bench.write("a.backup").unwrap();
    let whole = fs::read(bench.path("a.backup")).unwrap();
    let refused = |bytes: &[u8], words: &str| {
        fs::write(bench.path("b"), bytes).unwrap();
        code(bench.restore("b", "new"), words);
        assert!(!bench.path("new").exists() && bench.names().iter().all(|name| !name.starts_with('.')));
        code(bench.restore("b", "empty"), words);
        assert!(tree(&bench.path("empty")).is_empty());
    };
    fs::create_dir(bench.path("empty")).unwrap();
    refused(&whole[..whole.len() - 1], "backup-truncated");
    refused(&whole[..70_000], "backup-truncated");
    refused(&whole[..30], "backup-truncated");
    refused(b"", "backup-format");
    refused(b"a letter to a friend", "backup-format");
    let mut changed = whole.clone();
    *changed.last_mut().unwrap() ^= 1;
    refused(&changed, "backup-changed");
    changed.clone_from(&whole);
    changed[100_000] ^= 1;
    refused(&changed, "backup-changed");
    changed.clone_from(&whole);
    changed[15] = 2;
    refused(&changed, "backup-version");
    let other = BackupSecret::generate().unwrap();
    let text = restore(&bench.path("a.backup"), |_| Ok(copy(&other)), &bench.path("new"));
    assert!(code(text, "backup-key").contains(&bench.secret.id().to_string()));
    code(bench.restore("none", "new"), "backup-files");
    fs::write(bench.path("file"), "").unwrap();
    code(bench.restore("a.backup", "file"), "backup-not-empty");
}
