//! Augmented copies of the training images, made by the data owner before it splits them.
//!
//! Each copy of a record is moved and mirrored by public choices from the job's seed. Epochs take
//! the copies in turn, so an epoch still passes each record once. Servers see a larger table and
//! nothing else.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Data, Invalid, Rule};

/// Most copies of a record.
const MAX_COPIES: u16 = 256;

/// `data.augment`.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Augment {
    /// Copies of each training record, 1 to 256; epoch `e` takes copy `e mod copies`. Servers store
    /// and open all of them.
    pub copies: u16,
    /// Whether a copy is mirrored, left to right, half of the time; false, if left out.
    #[serde(default)]
    pub flip: bool,
    /// The most pixels by which a copy is moved up or down, and left or right; what moves in is 0
    /// after scaling. 0, if left out.
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
