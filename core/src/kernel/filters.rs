//! Convolutions as products of matrices: each image's windows are unfolded into the caller's
//! scratch, and no further.

use super::{Kernels, Matrix, Windows};
use crate::word::Word;

/// The filters of a convolution and the windows that they see. Public.
///
/// For images `x` of `C` channels, weights `w` of `F` filters and `G` groups, output `z` has a
/// channel for each filter: `z[f][p] = Σ w[f][c][i] x[c][p, i]` over the window's elements `i` and
/// the `C / G` channels of the filter's group. Weights lie as `F, C / G, height, width`.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, serde::Serialize)]
pub struct Filters {
    /// All channels' windows.
    pub windows: Windows,
    /// `F`, a multiple of the groups.
    pub count: usize,
    /// `G`, which divides the channels.
    pub groups: usize,
}

/// Which of three bilinear functions is meant.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, serde::Serialize)]
pub enum Convolved {
    /// `z`, from `x` and `w`.
    Output,
    /// The gradient of `x`, from that of `z` and `w`.
    Input,
    /// The gradient of `w`, from that of `z` and `x`, summed over the rows.
    Weights,
}

impl Filters {
    /// Windows of the channels of one group.
    fn group(&self) -> Windows {
        Windows { channels: self.windows.channels / self.groups, ..self.windows }
    }
    /// Weights of a filter.
    pub fn patch(&self) -> usize {
        self.group().channels * self.windows.area()
    }
    /// Words of all weights.
    pub fn weights(&self) -> usize {
        self.count * self.patch()
    }
    /// Words of a row of the output.
    pub fn output_words(&self) -> usize {
        self.count * self.windows.count()
    }
    /// Words of the unfolded windows of one image and group.
    pub fn matrix_words(&self) -> usize {
        self.patch().saturating_mul(self.windows.count())
    }
    /// Words of a result for `rows` rows.
    pub fn result_words(&self, of: Convolved, rows: usize) -> usize {
        match of {
            Convolved::Output => rows * self.output_words(),
            Convolved::Input => rows * self.windows.image_words(),
            Convolved::Weights => self.weights(),
        }
    }

    /// Adds the result of `of` for the arguments `a`, `b` to `c`. The first argument has the rows.
    ///
    /// # Panics
    ///
    /// If a slice is too short; `matrix` has [`Filters::matrix_words`].
    pub fn add<W: Word>(
        &self,
        kernels: &dyn Kernels<W>,
        of: Convolved,
        (a, b): (&[W], &[W]),
        c: &mut [W],
        matrix: &mut [W],
    ) {
        if size_of::<W>() == 0 {
            return; // a dry run: nothing is there, and rows and groups may be many
        }
        let (group, places, patch) = (self.group(), self.windows.count(), self.patch());
        let (image, filters) = (group.image_words(), self.count / self.groups);
        let (x, z, w) = (self.groups * image, self.output_words(), filters * patch);
        let rows = match of {
            Convolved::Output => a.len() / x.max(1),
            Convolved::Input | Convolved::Weights => a.len() / z.max(1),
        };
        for (row, g) in (0..rows).flat_map(|row| (0..self.groups).map(move |g| (row, g))) {
            let images = row * x + g * image..row * x + (g + 1) * image;
            let outputs = row * z + g * filters * places..row * z + (g + 1) * filters * places;
            let weights = g * w..(g + 1) * w;
            match of {
                Convolved::Output => {
                    kernels.unfold(matrix, &a[images], group);
                    kernels.gemm(
                        &mut c[outputs],
                        flat(&b[weights], patch),
                        flat(&*matrix, places),
                        [filters, patch, places],
                    );
                }
                Convolved::Input => {
                    let weights = Matrix { words: &b[weights], stride: patch, transposed: true };
                    matrix.fill(W::default());
                    kernels.gemm(matrix, weights, flat(&a[outputs], places), [patch, filters, places]);
                    kernels.fold(&mut c[images], matrix, group);
                }
                Convolved::Weights => {
                    kernels.unfold(matrix, &b[images], group);
                    let windows = Matrix { words: &*matrix, stride: places, transposed: true };
                    kernels.gemm(&mut c[weights], flat(&a[outputs], places), windows, [filters, places, patch]);
                }
            }
        }
    }
}

/// A matrix as it lies.
fn flat<W>(words: &[W], stride: usize) -> Matrix<'_, W> {
    Matrix { words, stride, transposed: false }
}
