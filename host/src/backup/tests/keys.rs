//! Keys and shares in files.

use super::*;
use std::collections::BTreeSet;

/// The files of a split key in a folder of their own.
fn shares(secret: &BackupSecret, split: &str) -> (tempfile::TempDir, Vec<PathBuf>) {
    let dir = tempfile::tempdir().unwrap();
    let files = write_shares(secret, split.parse().unwrap(), dir.path()).unwrap();
    (dir, files)
}

fn chosen(files: &[PathBuf], which: u32) -> Vec<PathBuf> {
    files.iter().enumerate().filter(|(i, _)| which >> i & 1 == 1).map(|(_, file)| file.clone()).collect()
}

/// A share's file with a line replaced.
fn edited(file: &Path, key: &str, value: &str) -> PathBuf {
    let text = fs::read_to_string(file).unwrap();
    let lines = text.lines().map(|line| match line.starts_with(&format!("{key} = ")) {
        true => format!("{key} = {value}"),
        false => line.to_owned(),
    });
    let path = file.with_extension("edited");
    let _ = fs::remove_file(&path);
    crate::secret::create_private(&path, lines.collect::<Vec<_>>().join("\n").as_bytes()).unwrap();
    path
}

#[test]
fn every_k_of_n_give_the_key_and_fewer_do_not() {
    let secret = BackupSecret::generate().unwrap();
    for n in 2..=6_u8 {
        for k in 2..=n {
            let (_dir, files) = shares(&secret, &format!("{k}-of-{n}"));
            for which in 0..1 << n {
                let some = chosen(&files, which);
                let combined = combine(&some, secret.id());
                if some.len() < usize::from(k) {
                    let text = code(combined, "backup-shares");
                    assert!(text.contains(&format!("{} are given", some.len())), "{text}");
                } else {
                    assert_eq!(combined.unwrap().secret.expose(), secret.secret.expose(), "{k} of {n}: {which:b}");
                }
            }
        }
    }
}

/// Shares that claim to suffice: fewer than `k` points give another secret, which is refused.
#[test]
fn too_few_shares_that_claim_to_suffice_are_refused() {
    let secret = BackupSecret::generate().unwrap();
    let (_dir, files) = shares(&secret, "3-of-3");
    let text = fs::read_to_string(&files[0]).unwrap();
    let forged = edited(&files[0], "needed", "2");
    assert!(code(combine(&[forged], secret.id()), "backup-share").contains("checksum"));
    assert!(text.contains("needed = 3"));
    let [two, _] = [shares(&secret, "2-of-3"), shares(&secret, "2-of-2")];
    let (_other, mixed) = shares(&secret, "2-of-3");
    // Of two splits with the same numbers.
    let text = code(combine(&[two.1[0].clone(), mixed[1].clone()], secret.id()), "backup-share");
    assert!(text.contains("does not give the key"), "{text}");
}

/// A share's bytes take every value, whatever the secret is.
#[test]
fn a_share_alone_is_uniform() {
    let secret = BackupSecret { secret: symbolon_core::report::identity::SecretKey::from_bytes(&[0; 32]) };
    let mut counts = [0_u32; 256];
    for _ in 0..400 {
        let (_dir, files) = shares(&secret, "2-of-2");
        let text = fs::read_to_string(&files[1]).unwrap();
        let digits = text.split("share = \"").nth(1).unwrap();
        let bytes: [u8; 32] = crate::intake::hex::parse(&digits[..64]).unwrap();
        bytes.iter().for_each(|byte| counts[usize::from(*byte)] += 1);
    }
    // 12,800 bytes: 50 of each value. Chi-squared of 255 degrees exceeds 400 in less than one run
    // of ten million.
    let chi: f64 = counts.iter().map(|count| (f64::from(*count) - 50.0).powi(2) / 50.0).sum();
    assert!(chi < 400.0 && counts.iter().all(|count| *count > 0), "{chi}");
}

#[test]
fn wrong_shares_are_named() {
    let (secret, other) = (BackupSecret::generate().unwrap(), BackupSecret::generate().unwrap());
    let (_dir, files) = shares(&secret, "2-of-3");
    let refused = |wrong: PathBuf, words: &str| {
        let text = code(combine(&[files[0].clone(), wrong.clone()], secret.id()), "backup-share");
        assert!(text.contains(wrong.to_str().unwrap()) && text.contains(words), "{text}");
    };
    refused(files[0].clone(), "is share 1, as is");
    let (_foreign, theirs) = shares(&other, "2-of-3");
    refused(theirs[1].clone(), &format!("key {}", other.id()));
    let (_differently, split) = shares(&secret, "2-of-4");
    refused(split[1].clone(), "another split");
    let text = fs::read_to_string(&files[1]).unwrap();
    let digits = text.split("share = \"").nth(1).unwrap()[..64].to_owned();
    let flipped = if digits.starts_with('0') { digits.replacen('0', "1", 1) } else { format!("0{}", &digits[1..]) };
    refused(edited(&files[1], "share", &format!("\"{flipped}\"")), "checksum differs");
    refused(edited(&files[1], "number", "3"), "checksum differs");
    refused(edited(&files[1], "number", "0"), "numbers or digits");
    refused(edited(&files[1], "share", &format!("\"{}\"", &digits[1..])), "numbers or digits");
    let unparsed = edited(&files[1], "share", &digits);
    refused(unparsed.clone(), "is no share");
    let text = combine(&[unparsed], secret.id()).unwrap_err().to_string();
    assert!(!text.contains(&digits), "the error quotes the secret");
    let missing = files[0].with_extension("missing");
    assert!(code(combine(&[missing], secret.id()), "backup-files").contains(".missing"));
    #[cfg(unix)]
    {
        fs::set_permissions(&files[2], std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
        assert!(code(combine(&files[..], secret.id()), "backup-key").contains("chmod 600"));
    }
}

/// Mutated files of keys: no panic, and no share but the one that was written is taken.
#[test]
fn mutated_keys_are_refused() {
    let secret = BackupSecret::generate().unwrap();
    let (dir, files) = shares(&secret, "2-of-2");
    let recipient = dir.path().join(RECIPIENT_FILE);
    secret.recipient().write(&recipient).unwrap();
    let mutant_file = dir.path().join("mutant");
    crate::secret::create_private(&mutant_file, b"").unwrap();
    for mutant in mutants(&fs::read(&files[0]).unwrap(), 3000) {
        fs::write(&mutant_file, &mutant).unwrap();
        if let Ok(combined) = combine(&[mutant_file.clone(), files[1].clone()], secret.id()) {
            assert_eq!(combined.secret.expose(), secret.secret.expose());
        }
    }
    for mutant in mutants(&fs::read(&recipient).unwrap(), 3000) {
        fs::write(&mutant_file, &mutant).unwrap();
        if let Ok(read) = Recipient::load(&mutant_file) {
            assert_eq!(read, secret.recipient());
        }
    }
}

#[test]
fn splits_are_written_as_k_of_n() {
    let parse = |text: &str| text.parse::<Split>();
    assert_eq!(parse("3-of-5").unwrap(), Split { needed: 3, shares: 5 });
    assert_eq!(parse("2-OF-255").unwrap().to_string(), "2-of-255");
    for wrong in ["", "3", "1-of-2", "0-of-0", "4-of-3", "2-of-256", "3-5", "3-of-", "a-of-b"] {
        assert!(parse(wrong).unwrap_err().contains("K-OF-N"), "{wrong}");
    }
    let (_dir, files) = shares(&BackupSecret::generate().unwrap(), "255-of-255");
    assert_eq!(files.iter().collect::<BTreeSet<_>>().len(), 255);
}

#[test]
fn keys_are_written_and_read() {
    let (dir, secret) = (tempfile::tempdir().unwrap(), BackupSecret::generate().unwrap());
    let (file, recipient) = (secret.file(dir.path()), dir.path().join(RECIPIENT_FILE));
    secret.write(&file).unwrap();
    secret.recipient().write(&recipient).unwrap();
    assert_eq!(BackupSecret::load(&file).unwrap().secret.expose(), secret.secret.expose());
    assert_eq!(Recipient::load(&recipient).unwrap(), secret.recipient());
    code(secret.write(&file), "backup-out");
    code(Recipient::load(&file), "backup-key");
    code(BackupSecret::load(&recipient), "backup-key");
    assert!(!format!("{secret:?}").contains(&crate::intake::hex::print(secret.secret.expose())));
    for (key, value) in [("key", "\"00\""), ("key", "\"0000000000000000\""), ("secret", "\"0\""), ("secret", "1")] {
        code(BackupSecret::load(&edited(&file, key, value)), "backup-key");
    }
    // A failure leaves no share.
    fs::write(dir.path().join(format!("backup-{}-2-of-3.share", secret.id())), "").unwrap();
    code(write_shares(&secret, "2-of-3".parse().unwrap(), dir.path()), "backup-out");
    assert!(!dir.path().join(format!("backup-{}-1-of-3.share", secret.id())).exists());
}
