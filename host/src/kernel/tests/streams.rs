//! Streams on vector instructions against the portable ones.

use super::super::aes128_prg;
use proptest::prelude::*;
use symbolon_core::prg::{Aes128Prg, MaskId, Prg, Seed};

proptest! {
    #[test]
    fn agree_from_any_byte_on(
        seed: [u8; 32], session: [u8; 16], lane: u16, request: u32, part: u16, at in 0u64..5000, len in 0usize..2100,
    ) {
        let seed = Seed::from_bytes(&seed);
        let id = MaskId { lane, request, part };
        let mut streams = [vec![0; len], vec![0; len]];
        Aes128Prg::new(&seed, &session).fill_bytes(id, at, &mut streams[0]);
        aes128_prg(&seed, &session).fill_bytes(id, at, &mut streams[1]);
        prop_assert_eq!(&streams[0], &streams[1]);
    }
}

#[test]
fn agree_beyond_32_bits_of_blocks() {
    let (seed, session) = (Seed::from_bytes(&[9; 32]), [3; 16]);
    for at in [(1 << 36) - 40, (1 << 60) - 5] {
        let mut streams = [[0; 200]; 2];
        Aes128Prg::new(&seed, &session).fill_bytes(MaskId::default(), at, &mut streams[0]);
        aes128_prg(&seed, &session).fill_bytes(MaskId::default(), at, &mut streams[1]);
        assert_eq!(streams[0], streams[1]);
    }
}
