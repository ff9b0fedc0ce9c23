//! What is computed: a product, a sign, a ReLU, a secure mapping, and the inference of a small dense network.
//!
//! - **Words:** `u32`, 8 fraction bits.
//! - **Memory:** [`INPUT_WORDS`] and [`OUTPUT_WORDS`], and an arena of [`ARENA_WORDS`], which tests hold against a dry run.

use symbolon_core::{
    link::{Error, Fold},
    mapping::{Domain, Mapping, map},
    party::Party,
    prg::MaskId,
    protocol::{
        masked::{Masked, mask_and_open},
        product::{Factor, matmul, multiply},
        relu::relu,
        sign::sign,
        truncate::{Cut, open, truncate},
    },
    word::Word,
};

/// Fraction bits.
pub const FRAC_BITS: u32 = 8;
/// Elements of the first four parts.
pub const ELEMENTS: usize = 32;
/// Words of a bit plane of so many elements, for either word: what a plane of `u32` takes.
const PLANE: usize = 1;
/// Fraction bits that the ReLU takes off.
pub const RELU_BITS: u32 = 3;

/// Records that the network sees at once, and its widths.
pub const RECORDS: usize = 4;
/// Readings of a record.
pub const INPUTS: usize = 16;
/// Neurons of the hidden layer, with ReLU.
pub const HIDDEN: usize = 16;
/// Scores of a record.
pub const OUTPUTS: usize = 4;

/// Lengths of the inputs: two factors, then the network's records, weights and biases.
pub const INPUT: [usize; 7] =
    [ELEMENTS, ELEMENTS, RECORDS * INPUTS, INPUTS * HIDDEN, HIDDEN, HIDDEN * OUTPUTS, OUTPUTS];
/// Outputs: product, sign (a bit plane), ReLU and mapping of the first factor, scores; and how their shares join.
pub const OUTPUT: [(Fold, usize); 5] = [
    (Fold::Add, ELEMENTS),
    (Fold::Xor, PLANE),
    (Fold::Add, ELEMENTS),
    (Fold::Add, ELEMENTS),
    (Fold::Add, RECORDS * OUTPUTS),
];
/// Words of all inputs.
pub const INPUT_WORDS: usize = 2 * ELEMENTS + RECORDS * INPUTS + (INPUTS + 1) * HIDDEN + (HIDDEN + 1) * OUTPUTS;
/// Words of all outputs.
pub const OUTPUT_WORDS: usize = 3 * ELEMENTS + PLANE + RECORDS * OUTPUTS;
/// Words of the arena.
pub const ARENA_WORDS: usize = 770;

/// The logistic function at sixteen places from -2 to 1.75.
const TABLE: [i64; 16] = [31, 38, 47, 57, 69, 82, 97, 112, 128, 144, 159, 174, 187, 199, 209, 218];
/// Which bits of a word choose the place.
pub const DOMAIN: Domain = Domain { shift: 6, bits: 4, signed: true };

/// The part of the owner's stream that hides the device's shares of the outputs; its shares of the inputs are the default part.
pub const PAD: MaskId = MaskId { lane: 1, request: 0, part: 0 };

/// Computes all outputs.
///
/// # Errors
///
/// The link's and the dealer's, and [`Error::Scratch`].
///
/// # Panics
///
/// If inputs or outputs have another length.
pub fn run<W: Word>(party: &mut Party<'_, W>, inputs: &mut [W], outputs: &mut [W]) -> Result<(), Error> {
    let [x, y, network @ ..] = split(inputs, INPUT);
    let [product_z, sign_z, relu_z, map_z, scores] = split(outputs, OUTPUT.map(|(_, len)| len));
    relu_z.copy_from_slice(x);
    let ([bit, rho], mut scratch) = party.scratch([PLANE, ELEMENTS])?;
    relu(&mut scratch, relu_z, RELU_BITS, bit, rho)?;
    signs(party, x, sign_z)?;
    map(party, &Mapping { domain: DOMAIN, tables: &[&TABLE], one_hot: None, beyond: None }, x, map_z)?;
    infer(party, network, scores)?;
    product(party, x, y, product_z) // last: it overwrites its factors
}

/// The parts of `words`, of these lengths.
fn split<W, const N: usize>(words: &mut [W], lens: [usize; N]) -> [&mut [W]; N] {
    assert!(words.len() == lens.iter().sum::<usize>(), "the job has inputs and outputs of fixed lengths");
    let mut rest = words;
    lens.map(|len| rest.split_off_mut(..len).unwrap_or_default())
}

/// Opens `x` under a fresh mask, in place.
fn masked<'a, W: Word>(party: &mut Party<'_, W>, x: &'a mut [W]) -> Result<Masked<'a, W>, Error> {
    let mask = party.draw()?.mask(x.len());
    let mask = mask_and_open(party, x, mask)?; // a round
    Ok(Masked { words: x, mask })
}

fn product<W: Word>(party: &mut Party<'_, W>, x: &mut [W], y: &mut [W], z: &mut [W]) -> Result<(), Error> {
    let x = masked(party, x)?;
    let y = masked(party, y)?;
    multiply(party, x, y, z)
}

/// Bits `[x >= 0]`.
fn signs<W: Word>(party: &mut Party<'_, W>, x: &[W], out: &mut [W]) -> Result<(), Error> {
    let ([c], mut party) = party.scratch([x.len()])?;
    let mut draw = party.draw()?;
    let word = open(&mut party, &mut draw, x, Cut::signed(0), c)?; // a round
    sign(&mut party, &mut draw, &word, out)
}

/// A hidden layer with ReLU and a layer of scores.
fn infer<W: Word>(party: &mut Party<'_, W>, network: [&mut [W]; 5], scores: &mut [W]) -> Result<(), Error> {
    const NEURONS: usize = RECORDS * HIDDEN;
    let [records, weights, bias, out_weights, out_bias] = network;
    let ([hidden, bit, rho], mut party) = party.scratch([NEURONS, NEURONS / 32, NEURONS])?;
    let party = &mut party;
    dense(party, records, weights, bias, hidden)?;
    relu(party, hidden, FRAC_BITS, bit, rho)?;
    dense(party, hidden, out_weights, out_bias, scores)?;
    truncate(party, scores, FRAC_BITS)
}

/// `z = x w + b`, with twice the fraction bits.
fn dense<W: Word>(
    party: &mut Party<'_, W>,
    x: &mut [W],
    weights: &mut [W],
    bias: &mut [W],
    z: &mut [W],
) -> Result<(), Error> {
    let (inputs, outputs) = (weights.len() / bias.len(), bias.len());
    let x = factor(masked(party, x)?, inputs);
    let weights = factor(masked(party, weights)?, outputs);
    matmul(party, x, weights, z)?;
    party.kernels.scale(bias, W::from_u64(1 << FRAC_BITS));
    for row in z.chunks_exact_mut(outputs) {
        party.kernels.add(row, bias);
    }
    Ok(())
}

fn factor<W: Word>(value: Masked<'_, W>, cols: usize) -> Factor<'_, W> {
    Factor { value: Masked { mask: value.mask.matrix(cols), ..value }, transposed: false }
}
