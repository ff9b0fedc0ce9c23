use crate::harness::mixed;
use proptest::prelude::*;
use symbolon_core::{
    prg::{ChaCha20Prg, MaskId, Seed},
    report::{
        record::{expand, get, join, put, split},
        schema::{Field, Kind, Layout, Place, Schema, SchemaError, Width},
    },
};

fn places(fields: &[Field<'_>]) -> Vec<Place> {
    let schema = Schema { task: "t", fields };
    (0..fields.len()).map(|i| schema.place(i).unwrap()).collect()
}

fn stride(place: &Place) -> usize {
    if place.bits == 1 { 1 } else { place.bits.next_multiple_of(8) as usize }
}

/// Each bit that a code uses, once.
#[test]
fn codes_do_not_overlap() {
    let fields = mixed();
    let layout = Schema { task: "t", fields: &fields }.layout().unwrap();
    let mut used = vec![0u8; layout.record_bytes()];
    for place in places(&fields) {
        for i in 0..place.count {
            let at = place.at_bit + i * stride(&place);
            assert_eq!(get(&used, at, place.bits), 0);
            put(&mut used, at, place.bits, u32::MAX);
            let all = u32::MAX >> (32 - place.bits);
            assert_eq!(get(&used, at, place.bits), all);
        }
    }
    assert_eq!(used.iter().map(|b| b.count_ones()).sum::<u32>(), 3 + 20 * 16 + 3 + 5 * 8 + 9 * 32 + 8 + 8);
}

proptest! {
    /// Shares of any record join to it; bits that no code uses stay 0 in both shares.
    #[test]
    fn shares_join(words in 0u16..40, halves in 0u16..80, bytes in 0u16..130, labels in prop::collection::vec(1u8..=8, 0..=4), bits in 0u16..1200, seed: [u8; 32], sequence: u32) {
        let mut layout = Layout { words, halves, bytes, bits, ..Layout::default() };
        layout.labels[..labels.len()].copy_from_slice(&labels);
        let n = layout.record_bytes();
        let stream = ChaCha20Prg::new(&Seed::from_bytes(&seed), b"0123456789abcdef");
        let id = MaskId { lane: 0, request: sequence, part: 0 };
        // A legal record: unused bits are 0.
        let mut record: Vec<u8> = (0..n).map(|i| (i as u8).wrapping_mul(seed[0] | 1)).collect();
        let regions = layout.regions();
        for (label, bits) in record[regions[3].clone()].iter_mut().zip(labels) {
            *label &= u8::MAX >> (8 - bits);
        }
        let unused = if bits % 8 == 0 { 0 } else { u8::MAX << (bits % 8) };
        if let Some(last) = record[regions[4].clone()].last_mut() {
            *last &= !unused;
        }
        let (mut theirs, mut ours) = (record.clone(), vec![0xa5; n]);
        split(&layout, &stream, id, &mut theirs);
        expand(&layout, &stream, id, &mut ours);
        if let Some(last) = regions[4].clone().last() {
            prop_assert_eq!((ours[last] | theirs[last]) & unused, 0);
        }
        if n >= 16 {
            prop_assert_ne!(&theirs, &record);
        }
        join(&layout, &mut ours, &theirs);
        prop_assert_eq!(ours, record);
    }

    #[test]
    fn layouts_survive_the_key_file(words: u16, halves: u16, bytes: u16, labels: [u8; 4], bits: u16) {
        let layout = Layout { words, halves, bytes, labels, bits };
        if let Some(read) = Layout::from_bytes(&layout.to_bytes()) {
            prop_assert_eq!(read, layout);
            prop_assert!(read.record_bytes() <= symbolon_core::report::schema::MAX_RECORD_BYTES);
        }
    }
}

/// The share of a record of zeros is the negated stream: uniform words, as its bits show.
#[test]
fn a_share_alone_is_uniform() {
    let layout = Layout { halves: 2000, ..Layout::default() };
    let mut share = vec![0; layout.record_bytes()];
    split(&layout, &ChaCha20Prg::new(&Seed::from_bytes(&[5; 32]), &[0; 16]), MaskId::default(), &mut share);
    let ones: u32 = share.iter().map(|b| b.count_ones()).sum();
    // 32,000 fair bits: six standard deviations are 537.
    assert!(ones.abs_diff(16_000) < 540, "{ones}");
}

#[test]
fn schemas_are_checked() {
    let reading = |width| Kind::Reading { width, offset: 0.0, step: 1.0, unit: "" };
    let check = |fields: &[Field<'_>]| Schema { task: "t", fields }.layout();
    let one = |kind| [Field { name: "x", count: 1, kind }];
    assert_eq!(check(&[]), Err(SchemaError::Empty));
    assert_eq!(
        check(&[Field { name: "x", count: 0, kind: reading(Width::Bit) }]),
        Err(SchemaError::Count { field: 0 })
    );
    for (bits, classes) in [(0, 2), (9, 2), (1, 3), (3, 1)] {
        assert_eq!(check(&one(Kind::Label { bits, classes })), Err(SchemaError::Label { field: 0 }));
    }
    let bad = Kind::Reading { width: Width::Half, offset: f64::NAN, step: 1.0, unit: "" };
    assert_eq!(check(&one(bad)), Err(SchemaError::Scale { field: 0 }));
    assert_eq!(check(&[Field { name: "x", count: 2049, kind: reading(Width::Half) }]), Err(SchemaError::Long));
    let label = Field { name: "x", count: 1, kind: Kind::Label { bits: 1, classes: 2 } };
    assert_eq!(check(&[label; 5]), Err(SchemaError::Labels));
}

/// Any change of a schema changes its hash.
#[test]
fn the_hash_covers_everything() {
    let fields = mixed();
    let hash = |task, fields: &[Field<'_>]| Schema { task, fields }.hash();
    let mut hashes = vec![hash("t", &fields), hash("u", &fields), hash("t", &fields[1..])];
    let kinds = [
        Kind::Reading { width: Width::Half, offset: 1.0, step: 1.0, unit: "" },
        Kind::Reading { width: Width::Half, offset: 0.0, step: 2.0, unit: "" },
        Kind::Reading { width: Width::Half, offset: 0.0, step: 1.0, unit: "m" },
        Kind::Reading { width: Width::Word, offset: 0.0, step: 1.0, unit: "" },
        Kind::Label { bits: 1, classes: 2 },
        Kind::Label { bits: 2, classes: 2 },
    ];
    hashes.extend(kinds.map(|kind| hash("t", &[Field { name: "x", count: 1, kind }])));
    hashes.push(hash("t", &[Field { name: "y", count: 1, kind: kinds[0] }]));
    hashes.push(hash("t", &[Field { name: "x", count: 2, kind: kinds[0] }]));
    let n = hashes.len();
    hashes.sort_unstable();
    hashes.dedup();
    assert_eq!(hashes.len(), n);
}

/// Keys of the ciphers are wiped by features that this crate asks for itself.
#[test]
fn ciphers_wipe_their_keys() {
    fn wiped<T: zeroize::ZeroizeOnDrop>() {}
    wiped::<chacha20poly1305::ChaCha20Poly1305>();
    wiped::<chacha20::ChaCha20>();
    wiped::<aes::Aes128>();
    wiped::<Seed>();
    assert!(std::mem::needs_drop::<poly1305::Poly1305>());
    let manifest = include_str!("../../../Cargo.toml");
    for name in ["aes", "chacha20", "chacha20poly1305", "poly1305", "ctr", "sha2"] {
        let line = manifest.lines().find(|line| line.starts_with(&format!("{name} = "))).unwrap();
        assert!(line.contains("\"zeroize\""), "{line}");
    }
}
