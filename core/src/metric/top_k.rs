//! Top-k accuracy: the fraction of records whose class has one of the `k` largest outputs.
//!
//! A record's class beats `b` of the other classes; the record counts if `b` is at least
//! `classes - k`. [`ranks`] gives `b + 1` for each class, the product with the label that of the
//! record's class (0 for a record without one), and a table at this secret index the bit.
//!
//! - **Sums:** the number of such records.
//! - **Cost:** for `C` classes 5 rounds for `k = 32`, 6 for `k = 64`. Each way: the outputs'
//!   opening, `C (C - 1) / 2` comparisons and a bit each, then a word a class and an index a
//!   record. Dealt: a word a pair of classes, one a class and `2^bits` a record, `2^bits > C`.
//! - **Result:** exact, of truncated outputs; of equal ones the lower class is the larger.
//! - **Opened:** as much as an accuracy tells.
//! - **Needs:** outputs with `|z_i - z_j| <= 2^(k-2) - 2^(f+1)`.
//! - **Memory:** 9 words of scratch a pair of classes and row.

use super::{Describe, Metric, Misfit, Predictions, Terms, TestSet, Unit, mean};
use crate::{
    function::Table,
    link::Error,
    mapping::{Domain, Mapping, OneHot, map},
    party::Party,
    protocol::{
        masked::{Masked, mask_and_open},
        product::multiply,
        rank::ranks,
        truncate::{Cut, open},
    },
    word::Word,
};
use core::fmt;
use serde::{Deserialize, Serialize};

/// The fraction of records whose class is among the `k` most likely.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "files", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct TopK {
    /// A record counts if its class has one of the `k` largest outputs: from 1 to classes - 1.
    pub k: u32,
}

impl fmt::Display for TopK {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "top-{} accuracy", self.k)
    }
}

impl TopK {
    /// Returns the domain of the rank of a record's class, 1 to `classes`, and 0 for none.
    fn domain(set: &TestSet) -> Domain {
        Domain { shift: 0, bits: u32::BITS - set.outputs.leading_zeros(), signed: false }
    }

    /// Returns 1 at each rank that counts.
    fn table(self, set: &TestSet) -> Table {
        let mut table = [0; 256];
        for (rank, entry) in table.iter_mut().enumerate() {
            *entry = i64::from(rank + self.k as usize > set.cols());
        }
        table
    }
}

impl Describe for TopK {
    fn check(&self, set: &TestSet) -> Result<(), Misfit> {
        set.needs_classes()?;
        let (got, max) = (u64::from(self.k), u64::from(set.outputs.saturating_sub(1)));
        if (1..=max).contains(&got) { Ok(()) } else { Err(Misfit::Between { key: "k", got, min: 1, max }) }
    }

    fn terms(&self, _: &TestSet, _: usize) -> Terms {
        Terms::count("the number of records whose class is among the largest outputs")
    }

    fn value(&self, _: &TestSet, sums: &[f64], records: f64) -> Option<f64> {
        mean(*sums.first()?, records)
    }

    fn unit(&self) -> Unit {
        Unit::Fraction
    }

    fn higher_is_better(&self) -> bool {
        true
    }
}

impl<W: Word> Metric<W> for TopK {
    fn measure(
        &self,
        party: &mut Party<'_, W>,
        set: &TestSet,
        rows: &Predictions<'_, W>,
        terms: &mut [W],
    ) -> Result<(), Error> {
        let (n, classes, count) = (rows.outputs.len(), set.cols(), rows.rows(set));
        let ([c, rank, own, of_class, hits], mut party) = party.scratch([n, n, n, count, count])?;
        let mut draw = party.draw()?;
        let word = open(&mut party, &mut draw, rows.outputs, Cut::signed(set.frac_bits), c)?; // the outputs
        ranks(&mut party, &word, classes, rank)?;
        let mask = mask_and_open(&mut party, rank, draw.mask(n))?; // the ranks
        multiply(&mut party, Masked { words: rank, mask }, rows.labels, own)?;
        party.kernels.sum_rows(of_class, own, classes);
        let (domain, table) = (Self::domain(set), self.table(set));
        let tables = [&table[..domain.cells()]];
        let mapping = Mapping { domain, tables: &tables, one_hot: Some(OneHot::Arithmetic), beyond: None };
        map(&mut party, &mapping, of_class, hits)?; // the index
        party.kernels.sum_rows(&mut terms[..1], hits, count);
        Ok(())
    }
}
