//! Augmented copies of the training images, made by the data owner before it splits them.
//!
//! Each copy of a record is moved and mirrored by public choices from the job's seed. Epochs take
//! the copies in turn, so an epoch still passes each record once. Servers see a larger table and
//! know each record's changes, but no pixel.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Data, Invalid, Rule};

/// Most copies of a record.
const MAX_COPIES: u16 = 256;

/// `data.augment`.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Augment {
    /// Randomly changed copies of each training record, 1 to 256. Epoch `e`, counted from 1, takes
    /// copy `(e - 1) mod copies`. Servers hold shares of all copies, so memory and traffic grow
    /// with it.
    pub copies: u16,
    /// Mirrors each copy left to right with probability 1/2; false, if left out.
    #[serde(default)]
    pub flip: bool,
    /// Most pixels by which a copy moves up, down, left or right: 0 to one less than the shorter
    /// side. Pixels from outside are 0 after scaling. 0, if left out.
    #[serde(default)]
    pub shift: u16,
}

impl Augment {
    /// Holds the numbers to their ranges.
    pub(super) fn validate(&self, data: &Data) -> Result<(), Invalid> {
        let broken = |key: &str, rule| Err(Invalid { key: key.to_owned(), rule });
        let between = |key, got: u16, min: u16, max: u16| {
            let rule = Rule::Between { got: got.into(), min: min.into(), max: max.into() };
            if (min..=max).contains(&got) { Ok(()) } else { broken(key, rule) }
        };
        between("data.augment.copies", self.copies, 1, MAX_COPIES)?;
        let side = data.shape.image().into_iter().min().unwrap_or(1);
        let most = u16::try_from(side.saturating_sub(1)).unwrap_or(u16::MAX);
        between("data.augment.shift", self.shift, 0, most)?;
        if self.flip && side < 2 {
            return broken("data.augment.flip", Rule::NeedsImages);
        }
        Ok(())
    }
}

impl Data {
    /// Rows of the table of training records: all copies of each.
    pub fn train_rows(&self) -> usize {
        self.train_records * self.copies()
    }

    /// Copies of each training record.
    pub fn copies(&self) -> usize {
        self.augment.map_or(1, |augment| augment.copies.into())
    }
}
