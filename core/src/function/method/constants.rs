//! Constants on cells, from a table that the caller holds.
//!
//! A program that has its tables needs neither the functions of reals nor the other methods: a
//! microcontroller links none of them. Mask for mask it is the [mapping](super::mapping) of
//! degree 0 over the same interval, without a slope, so that a peer may compute either.
//!
//! - **Adversary:** semi-honest, one of {server 0, server 1, dealer}.
//! - **Cost:** that of the mapping.
//! - **Result:** the table's entry, exactly, at either cell beside the value.
//! - **Memory:** the table, where the caller keeps it; scratch as a dry run says.

use super::{Elementwise, pieces::open_place};
use crate::{
    function::Numbers,
    link::Error,
    mapping::{Domain, Mapping, Saturation, mapped},
    party::Party,
    word::Word,
};

/// A function by constants on the cells of an interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Constants<'a> {
    /// Which bits of an argument, counted from `low`, are the cell; unsigned.
    pub domain: Domain,
    /// The lower end of the interval, in units of the last place.
    pub low: i64,
    /// Results in units of the last place, one a cell.
    pub table: &'a [i64],
    /// Results below the interval and above.
    pub beyond: [i64; 2],
}

impl<W: Word> Elementwise<W> for Constants<'_> {
    fn apply(
        &self,
        party: &mut Party<'_, W>,
        _: &Numbers,
        (x, out): (&[W], &mut [W]),
        slope: Option<&mut [W]>,
    ) -> Result<(), Error> {
        assert!(slope.is_none(), "a table of constants has no slopes");
        let ([z, c], mut party) = party.scratch([x.len(); 2])?;
        z.copy_from_slice(x);
        party.kernels.add_constant(z, party.role.first(W::from_i64(-self.low)));
        let [below, above] = self.beyond.map(|entry| [entry]);
        let beyond = Some(Saturation { below: &below, above: &above, range: None });
        let mapping = Mapping { domain: self.domain, tables: &[self.table], one_hot: None, beyond };
        let mut draw = party.draw()?;
        let place = open_place(&mut party, &mut draw, (mapping.cut(), 0), z, (c, &mut [], &mut []))?;
        mapped(&mut party, &mut draw, &mapping, &place.word, out)
    }
}
