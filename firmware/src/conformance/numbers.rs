//! Vectors of fixed point, streams, and words split into shares.

use super::{
    Wrong,
    case::{Case, Words, hold, same},
};
use symbolon_core::{
    fixed::{self, RangeError},
    prg::{Aes128Prg, ChaCha20Prg, MaskId, Prg, Seed, session_seed},
    share,
    word::Word,
};

/// Words of the longest vector.
const WORDS: usize = 72;

pub fn fixed(case: &Case<'_>) -> Result<(), Wrong> {
    let mut head = case.head();
    match head.word()? {
        "encode" => {
            let (bits, frac_bits) = (head.number::<u32>()?, head.number()?);
            let value = f64::from_bits(head.bits()?);
            let found = match bits {
                32 => fixed::encode::<u32>(value, frac_bits).map(u64::from),
                64 => fixed::encode::<u64>(value, frac_bits),
                _ => return Err(Wrong::Vector),
            };
            match found {
                Ok(word) => hold(head.bits().is_ok_and(|wanted| wanted == word)),
                Err(RangeError::NotANumber) => hold(head.word()? == "not-a-number"),
                Err(RangeError::OutOfRange { .. }) => hold(head.word()? == "out-of-range"),
            }
        }
        "decode" => {
            let (frac_bits, word) = (head.number()?, head.bits()?);
            hold(fixed::decode(word.cast_signed(), frac_bits).to_bits() == head.bits()?)
        }
        _ => Err(Wrong::Vector),
    }
}

/// The name of a part of a stream.
fn name(words: &mut Words<'_>) -> Result<MaskId, Wrong> {
    Ok(MaskId { lane: words.number()?, request: words.number()?, part: words.number()? })
}

pub fn stream(case: &Case<'_>) -> Result<(), Wrong> {
    let mut head = case.head();
    match head.word()? {
        "session-seed" => {
            let nonces = [case.bytes("nonce0")?, case.bytes("nonce1")?];
            let secret = Seed::from_bytes(&case.bytes("secret")?);
            let (session, plan) = (case.bytes("session")?, case.bytes("plan")?);
            let seed = session_seed(&secret, [&nonces[0], &nonces[1]], &session, &plan, head.number()?);
            case.expect("seed", seed.expose())
        }
        "split" => match head.number::<u32>()? {
            32 => split::<u32>(case, &mut head),
            64 => split::<u64>(case, &mut head),
            _ => Err(Wrong::Vector),
        },
        cipher => {
            let (seed, session) = (Seed::from_bytes(&head.bytes()?), head.bytes()?);
            let prg: &dyn Prg = match cipher {
                "chacha20" => &ChaCha20Prg::new(&seed, &session),
                "aes128-ctr" => &Aes128Prg::new(&seed, &session),
                _ => return Err(Wrong::Vector),
            };
            let (id, at, wanted) = (name(&mut head)?, head.number()?, head.word()?);
            let mut bytes = [0; 8 * WORDS];
            let bytes = bytes.get_mut(..wanted.len() / 2).ok_or(Wrong::Vector)?;
            prg.fill_bytes(id, at, bytes);
            same(wanted, bytes)
        }
    }
}

fn split<W: Word>(case: &Case<'_>, head: &mut Words<'_>) -> Result<(), Wrong> {
    let (seed, session) = (Seed::from_bytes(&head.bytes()?), head.bytes()?);
    let (id, stream) = (name(head)?, ChaCha20Prg::new(&seed, &session));
    let (mut values, mut own) = ([W::default(); WORDS], [W::default(); WORDS]);
    let len = case.read("values", W::bytes_mut(&mut values))?.len() / W::bytes(&[W::default()]).len();
    let (values, own) = (&mut values[..len], &mut own[..len]);
    share::split(&stream, id, 0, values);
    case.expect("share1", W::bytes(values))?;
    share::expand(&stream, id, 0, own);
    case.expect("share0", W::bytes(own))?;
    share::join(own, values);
    case.expect("values", W::bytes(own))
}
