//! Clips gradients by value.

use crate::{link::Error, party::Party, protocol::clamp::clamp, word::Word};

/// `g = min(max(g, -bound), bound)`, for each parameter, before its optimizer's step.
///
/// Pascanu, Mikolov, Bengio (ICML 2013, section 3.2) clip the norm; this is the variant by value
/// (Goodfellow, Bengio, Courville, *Deep Learning*, section 10.11.1). The summed gradient is held
/// within the bound as a matrix product gives it, by [`crate::protocol::clamp`].
///
/// - **Cost:** 4 rounds; bytes each way / dealt a parameter: `k = 64` 18.75 / 106.5, `k = 32`
///   9.5 / 42.5.
/// - **Result:** exact.
/// - **Needs:** `bound < 2^(k-3)` and gradients within `2^(k-3)`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Clip {
    /// The largest gradient in its own units: `2 f + log2(batch)` fraction bits.
    pub bound: u64,
}

impl Clip {
    /// Clips `gradient` in place.
    ///
    /// # Errors
    ///
    /// The link's and the dealer's, and [`Error::Scratch`].
    pub fn apply<W: Word>(&self, party: &mut Party<'_, W>, gradient: &mut [W]) -> Result<(), Error> {
        let high = W::from_u64(self.bound);
        clamp(party, gradient, W::default().sub(high), high)
    }
}
