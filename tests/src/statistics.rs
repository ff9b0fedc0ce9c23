//! What uniform bytes look like, and what they do not.

/// Chi-square of the values of all bytes, ten standard deviations from its mean at most.
///
/// # Panics
///
/// If the bytes are not uniform, or too few to tell.
#[allow(clippy::cast_precision_loss)]
pub fn bytes_are_uniform(bytes: &[u8], what: &str) {
    is_as_expected(bytes, 256, what);
}

/// The same for words on the wire, where padding is zero: words with a zero byte are left out.
///
/// # Panics
///
/// If the others' bytes are not uniform, or too few to tell.
pub fn padded_words_are_uniform(bytes: &[u8], what: &str) {
    let full: Vec<u8> = bytes.as_chunks::<8>().0.iter().filter(|word| !word.contains(&0)).flatten().copied().collect();
    assert!(full.len() * 4 > bytes.len(), "{what}: mostly padding");
    is_as_expected(&full, 255, what);
}

#[allow(clippy::cast_precision_loss)]
fn is_as_expected(bytes: &[u8], values: usize, what: &str) {
    assert!(bytes.len() > values * 20, "{what}: too few bytes to tell");
    let (chi, freedom) = (chi_square(bytes, values), (values - 1) as f64);
    let off = (chi - freedom).abs();
    assert!(off < 10.0 * (2.0 * freedom).sqrt(), "{what}: chi-square {chi} with {freedom} degrees of freedom");
}

/// Chi-square of the values of all bytes, of which there are `values`.
#[must_use]
#[allow(clippy::cast_precision_loss)]
pub fn chi_square(bytes: &[u8], values: usize) -> f64 {
    let mut counts = [0u32; 256];
    bytes.iter().for_each(|byte| counts[usize::from(*byte)] += 1);
    let expected = bytes.len() as f64 / values as f64;
    counts[256 - values..].iter().map(|c| (f64::from(*c) - expected).powi(2) / expected).sum()
}

/// Each bit of runs of one length is set in half of them, within seven standard deviations: by chance false once in 10^11.
///
/// # Panics
///
/// If one is not.
#[allow(clippy::cast_precision_loss)]
pub fn bits_are_fair(runs: &[Vec<u8>], what: &str) {
    let mut set = vec![0u32; runs[0].len() * 8];
    for run in runs {
        for (i, set) in set.iter_mut().enumerate() {
            *set += u32::from(run[i / 8] >> (i % 8) & 1);
        }
    }
    let half = runs.len() as f64 / 2.0;
    let fair = |set: &u32| (f64::from(*set) - half).abs() < 7.0 * (half / 2.0).sqrt();
    let unfair: Vec<_> = set.iter().enumerate().filter(|(_, set)| !fair(set)).collect();
    assert!(unfair.is_empty(), "{what}: of {} runs, so many set these bits: {unfair:?}", runs.len());
}
