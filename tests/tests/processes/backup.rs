//! Backups of a server that keeps a model: made by the program, its folder deleted, restored with
//! shares of the key, started again. And a disk without room.

use super::{alone, folder, train};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};
use symbolon::{net::Role, release::ledger::Ledger};
use symbolon_tests::{
    dir::TempDir,
    jobs::Shape,
    program::{Process, assert_fails, program, run, symbolon},
    roles::{ANYTHING, HASTY, Roles},
};

fn said(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A folder with a key that is split, and the shares' files.
fn keys(split: &str) -> (TempDir, Vec<PathBuf>) {
    let dir = TempDir::new();
    said(&run(symbolon(["backup", "keys", "--split", split, "--out"]).arg(&*dir)));
    let mut files: Vec<_> = fs::read_dir(&*dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|end| end == "share"));
    files.sort();
    (dir, files)
}

fn backup(config: &Path, out: &Path) -> Command {
    let mut command = symbolon(["backup", "--config"]);
    command.arg(config).arg("--out").arg(out);
    command
}

fn restore(backup: &Path, shares: &[PathBuf], into: &Path) -> Output {
    let mut command = symbolon(["restore"]);
    command.arg(backup).arg("--into").arg(into);
    for share in shares {
        command.arg("--share").arg(share);
    }
    run(&mut command)
}

/// The client's list of models, with server 1 at `port`.
fn models(roles: &Roles, port: u16) -> String {
    let file = roles.client();
    let text = fs::read_to_string(&file).unwrap();
    let lines = text.lines().map(|line| match line.starts_with("server1 = ") {
        true => format!("server1 = \"127.0.0.1:{port}\""),
        false => line.to_owned(),
    });
    fs::write(&file, lines.collect::<Vec<_>>().join("\n")).unwrap();
    said(&run(symbolon(["models", "list", "--config"]).arg(&file)))
}

#[test]
fn a_server_comes_back_with_its_models() {
    let _alone = alone();
    let mut roles = Roles::start(HASTY, ANYTHING);
    let (shape, out) = (Shape::default(), TempDir::new());
    let told = said(&train(&folder(&shape), &roles.client(), &[]));
    assert!(told.contains("a draft on both servers"), "{told}");
    let port = roles.server1.port;
    let listed = models(&roles, port);
    let config = roles.config(Role::Server1);
    let home = config.parent().unwrap();
    let releases = || Ledger::open(&home.join("releases.redb")).unwrap().entries(None, 9).unwrap();

    let (file, (keys, shares)) = (out.join("server1.backup"), keys("2-of-3"));
    assert_fails(&run(&mut backup(&config, &file)), 2, &["backup-key: ", "symbolon backup keys"]);
    fs::copy(keys.join("backup-recipient.toml"), home.join("backup-recipient.toml")).unwrap();
    assert_fails(&run(&mut backup(&config, &file)), 1, &["backup-running: ", "stop the server"]);
    assert!(!file.exists());
    roles.server1.kill();
    let told = said(&run(&mut backup(&config, &file)));
    assert!(told.contains("server1 as of"), "{told}");
    assert_fails(&run(&mut backup(&config, &file)), 2, &["backup-out: "]);
    let before = releases();
    fs::remove_dir_all(home).unwrap();

    assert_fails(&restore(&file, &shares[..1], home), 2, &["backup-shares: ", "needs 2 shares", "1 more"]);
    let twice = [shares[0].clone(), shares[0].clone()];
    assert_fails(&restore(&file, &twice, home), 2, &["backup-share: ", shares[0].to_str().unwrap()]);
    assert!(!home.exists());
    let told = said(&restore(&file, &shares[1..], home));
    assert!(told.contains(&format!("symbolon server --config {}", config.display())), "{told}");
    assert_fails(&restore(&file, &shares[1..], home), 2, &["backup-not-empty: "]);
    assert_eq!(releases(), before);

    let again = Process::start("server", &config);
    assert_eq!(models(&roles, again.port), listed);
    assert!(listed.contains(&format!("{}:1", shape.job().name)) && !listed.contains("lacks"), "{listed}");
    let export = out.join("model.safetensors");
    let mut command = symbolon(["models", "export"]);
    command.arg(format!("{}:1", shape.job().name)).arg("--out").arg(&export).arg("--config").arg(roles.client());
    said(&run(&mut command));
}

/// Only servers have backups, and a single key restores as shares do.
#[test]
fn a_key_in_one_file() {
    let _alone = alone();
    let mut roles = Roles::start(HASTY, ANYTHING);
    let out = TempDir::new();
    let (file, keys) = (out.join("a.backup"), out.join("keys"));
    said(&run(symbolon(["backup", "keys", "--out"]).arg(&keys)));
    assert_fails(&run(symbolon(["backup", "keys", "--out"]).arg(&keys)), 2, &["backup-out: "]);
    let recipient = keys.join("backup-recipient.toml");
    let with = |config: &Path| run(backup(config, &file).arg("--recipient").arg(&recipient));
    assert_fails(&with(&roles.config(Role::Dealer)), 2, &["dealer"]);
    roles.server0.kill();
    said(&with(&roles.config(Role::Server0)));
    let key = fs::read_dir(&keys).unwrap().map(|entry| entry.unwrap().path());
    let key = key.into_iter().find(|path| path.extension().is_some_and(|end| end == "key")).unwrap();
    let into = out.join("new");
    let mut command = symbolon(["restore"]);
    said(&run(command.arg(&file).arg("--key").arg(&key).arg("--into").arg(&into)));
    let again = Process::start("server", &into.join("server0.toml"));
    assert_ne!(again.port, 0);
}

/// Backup and restore on a disk that fills up: an error that names the file, and nothing stays.
#[cfg(unix)]
#[test]
fn a_disk_without_room() {
    let _alone = alone();
    let mut roles = Roles::start(HASTY, ANYTHING);
    roles.server0.kill();
    let config = roles.config(Role::Server0);
    let (keys, shares) = keys("2-of-2");
    let (out, recipient) = (TempDir::new(), keys.join("backup-recipient.toml"));
    let limited = |command: &Command, blocks: u32| {
        let mut limited = Command::new("sh");
        limited.args(["-c", "trap '' XFSZ; ulimit -f $0; exec \"$@\"", &blocks.to_string()]).arg(program());
        limited.args(command.get_args()).stdout(Stdio::piped()).stderr(Stdio::piped());
        run(&mut limited)
    };
    let file = out.join("a.backup");
    let mut write = backup(&config, &file);
    write.arg("--recipient").arg(&recipient);
    assert_fails(&limited(&write, 8), 1, &["backup-files: cannot write", "a.backup", "File too large"]);
    assert!(fs::read_dir(&*out).unwrap().next().is_none(), "a partial file");
    said(&run(&mut write));
    let mut read = symbolon(["restore"]);
    read.arg(&file).arg("--into").arg(out.join("new")).arg("--share").arg(&shares[0]).arg("--share").arg(&shares[1]);
    assert_fails(&limited(&read, 8), 1, &["backup-files: cannot write", "File too large"]);
    assert_eq!(fs::read_dir(&*out).unwrap().count(), 1, "a partial folder");
    said(&run(&mut read));
}
