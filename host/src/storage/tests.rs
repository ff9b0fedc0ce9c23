#![allow(clippy::unwrap_used)]

use super::*;
use std::fs;
use symbolon_core::prg::{ChaCha20Prg, MaskId, Prg, Seed};

/// Returns an empty folder that is removed when it is dropped.
fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn on_disk(dir: &Path, len: usize) -> Words<u32> {
    Words::on_disk(&Storage::on_disk(dir.to_owned()), len).unwrap()
}

#[test]
fn the_smallest_tables_are_in_memory() {
    assert_eq!(Storage::in_memory(10, [8, 3, 7, 0]), [false, true, true, true]);
    assert_eq!(Storage::in_memory(2, [8, 3, 7, 0]), [false, false, false, true]);
    assert_eq!(Storage::in_memory(u64::MAX - 1, [u64::MAX, 1]), [false, true]);
}

/// Written in parts, read anywhere, rewritten in tiles side by side: as in memory.
#[test]
fn a_table_on_disk_is_one_in_memory() {
    let dir = folder();
    let len = 200_003;
    let mut tables = [on_disk(dir.path(), len), Words::zeros(len)];
    for words in &mut tables {
        let mut first = [7; 5];
        words.read(len - 5, &mut first).unwrap();
        assert_eq!(first, [0; 5], "zeros before anything is written");
        let mut writer = words.writer();
        for chunk in (0u32..).take(len).collect::<Vec<_>>().chunks(70_001) {
            writer.push(chunk).unwrap();
        }
        writer.finish().unwrap();
        let ends = [0, 1, 1, 99_999, len];
        let parts = words.parts(ends.windows(2).map(|ends| ends[0]..ends[1]).collect());
        for part in parts {
            let mut seen = 0;
            let changed = part.rewrite::<ScratchFailed>(4096, |at, words| {
                for (i, word) in words.iter_mut().enumerate() {
                    assert_eq!(*word as usize, at + i);
                    *word ^= 0xffff;
                }
                seen += words.len();
                Ok(())
            });
            changed.unwrap();
        }
    }
    let mut all = tables.each_ref().map(|words| vec![0; words.len()]);
    for (words, out) in tables.iter().zip(&mut all) {
        words.read(0, out).unwrap();
        let mut rows = [0; 9];
        words.gather(&[3, 0, 66_666], 3, &mut rows).unwrap();
        assert_eq!(rows, [9, 10, 11, 0, 1, 2, 199_998, 199_999, 200_000].map(|word: u32| word ^ 0xffff));
    }
    assert_eq!(all[0], all[1]);
    assert!(tables[0].is_on_disk() && tables[0].memory().is_none() && !tables[1].is_on_disk());
}

/// Copies are written side by side.
#[test]
fn writers_share_a_table() {
    let dir = folder();
    let mut words = on_disk(dir.path(), 12);
    let mut writers = words.writers(3);
    for i in 0..4 {
        for (copy, writer) in (0..).zip(&mut writers) {
            writer.push(&[10 * copy + i]).unwrap();
        }
    }
    writers.into_iter().for_each(|writer| writer.finish().unwrap());
    let mut all = [0; 12];
    words.read(0, &mut all).unwrap();
    assert_eq!(all, [0, 1, 2, 3, 10, 11, 12, 13, 20, 21, 22, 23]);
}

/// A file reveals neither a table's words nor their change: the same words, written twice, have two
/// ciphertexts.
#[test]
#[cfg(target_os = "linux")]
fn the_disk_reveals_nothing() {
    let dir = folder();
    let mut words = on_disk(dir.path(), 4096);
    let texts = [0, 1].map(|_| {
        let mut writer = words.writer();
        writer.push(&[0; 4096]).unwrap();
        writer.finish().unwrap();
        // The file has no name; the system shows it among this process's open ones.
        let open = fs::read_dir("/proc/self/fd").unwrap().filter_map(|entry| {
            let path = entry.unwrap().path();
            fs::read_link(&path).unwrap_or_default().starts_with(dir.path()).then(|| fs::read(path).unwrap())
        });
        let mut open: Vec<_> = open.collect();
        assert_eq!(open.len(), 1, "the table's file");
        open.remove(0)
    });
    assert_ne!(texts[0], texts[1], "each version has its own keystream");
    for text in &texts {
        assert_eq!(text.len(), 4 * 4096);
        let zeros = text.iter().filter(|byte| **byte == 0).count();
        assert!(zeros < 150, "{zeros} zeros of 16384 bytes, not about 64");
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "the file has no name");
}

/// No disk has room for 2^52 words. That is found before any is written, and nothing stays.
#[test]
fn a_full_disk_is_an_error_that_leaves_nothing() {
    let dir = folder();
    let storage = Storage::on_disk(dir.path().to_owned());
    let error = Words::<u64>::on_disk(&storage, 1 << 52).err().unwrap();
    assert!(matches!(error, StorageError::Full { .. } | StorageError::Access { .. }), "{error:?}");
    assert!(error.to_string().contains(&dir.path().display().to_string()), "{error}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    assert_eq!(Words::<u64>::on_disk(&storage, 1 << 10).unwrap().len(), 1 << 10, "there is room again");
}

#[test]
fn a_missing_folder_is_named() {
    let dir = folder();
    let missing = dir.path().join("missing");
    let error = Words::<u32>::on_disk(&Storage::on_disk(missing.clone()), 1).err().unwrap();
    let text = error.to_string();
    assert!(text.contains(&missing.display().to_string()) && text.contains("storage.directory"), "{text}");
}

/// Server 0's shares on disk are made when they are read.
#[test]
fn a_stream_expands_alike_in_memory_and_on_disk() {
    let dir = folder();
    let stream: Arc<dyn Prg> = Arc::new(ChaCha20Prg::new(&Seed::from_bytes(&[3; 32]), &[0; 16]));
    let id = MaskId { lane: 0, request: 2, part: 0 };
    let mut tables = [on_disk(dir.path(), 5001), Words::zeros(5001)];
    let all = tables.each_mut().map(|words| {
        words.expand(&stream, id);
        let mut all = [vec![0; 5001], vec![0; 1000]];
        words.read(0, &mut all[0]).unwrap();
        words.read(4001, &mut all[1]).unwrap();
        assert_eq!(all[0][4001..], all[1]);
        words.parts(vec![0..2000, 2000..5001]).into_iter().for_each(|part| {
            part.rewrite::<ScratchFailed>(999, |_, words| {
                words.iter_mut().for_each(|word| *word = word.wrapping_add(1));
                Ok(())
            })
            .unwrap();
        });
        words.read(0, &mut all[0]).unwrap();
        all
    });
    assert_eq!(all[0], all[1]);
    assert_eq!(all[0][0][4001], all[0][1][0].wrapping_add(1));
}
