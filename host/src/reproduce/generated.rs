//! Records that a study makes itself, where the published ones are not to be had.

use crate::{data::create_npy, values::Values};
use serde::Deserialize;
use std::{
    io::{self, Write},
    path::Path,
};

/// Records with features from 0 to 255, a class and a target that follow from them.
///
/// Each class has a random linear function of the features, and a record's class is the one with
/// the largest value; the target is one more such function. All values have noise. There are three
/// arrays per set, `features.npy`, `classes.npy` and `targets.npy` behind `train-` and `test-`.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Generated {
    /// Features of a record.
    pub features: u16,
    /// Number of classes.
    pub classes: u8,
}

/// The size of the noise beside linear functions, whose deviation is about 1.
const NOISE: f32 = 0.2;

impl Generated {
    /// Writes `records[0]` training and `records[1]` test records into `dir`, the same each time.
    ///
    /// # Errors
    ///
    /// The error of the system; callers name `dir`.
    pub fn write(&self, dir: &Path, records: [usize; 2]) -> io::Result<()> {
        let (mut values, features) = (Values(1), usize::from(self.features));
        // Centred features have the variance 1/3, and so have weights: the sums then have about 1.
        let scale = 3.0 / f32::from(self.features).sqrt();
        let functions: Vec<Vec<f32>> =
            (0..=self.classes).map(|_| (0..features).map(|_| scale * values.unit()).collect()).collect();
        for (set, records) in ["train", "test"].into_iter().zip(records) {
            self.write_set(dir, (set, records), &functions, &mut values)?;
        }
        Ok(())
    }

    fn write_set(
        &self,
        dir: &Path,
        (set, records): (&str, usize),
        functions: &[Vec<f32>],
        values: &mut Values,
    ) -> io::Result<()> {
        let features = usize::from(self.features);
        let array =
            |what: &str, kind: &str, shape: &str| create_npy(&dir.join(format!("{set}-{what}.npy")), kind, shape);
        let mut rows = array("features", "|u1", &format!("{records}, {features}"))?;
        let mut classes = array("classes", "|u1", &format!("{records},"))?;
        let mut targets = array("targets", "<f4", &format!("{records},"))?;
        let (mut row, mut centred) = (vec![0u8; features], vec![0f32; features]);
        for _ in 0..records {
            for bytes in row.chunks_mut(8) {
                bytes.copy_from_slice(&values.bits(64).to_le_bytes()[..bytes.len()]);
            }
            for (centred, byte) in centred.iter_mut().zip(&row) {
                *centred = f32::from(*byte) / 127.5 - 1.0;
            }
            let mut value = |weights: &[f32]| {
                let sum: f32 = weights.iter().zip(&centred).map(|(weight, feature)| weight * feature).sum();
                sum + NOISE * values.unit()
            };
            let Some((target, of_classes)) = functions.split_last() else { continue };
            let (mut class, mut largest) = (0, f32::MIN);
            for (i, weights) in (0u8..).zip(of_classes) {
                let value = value(weights);
                if value > largest {
                    (class, largest) = (i, value);
                }
            }
            rows.write_all(&row)?;
            classes.write_all(&[class])?;
            targets.write_all(&value(target).to_le_bytes())?;
        }
        rows.flush()?;
        classes.flush()?;
        targets.flush()
    }
}
