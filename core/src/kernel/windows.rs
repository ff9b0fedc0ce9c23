//! Kernels over windows of images: what convolutions and pools read and write.

use crate::word::Word;

/// Windows over images of some channels. Public.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, serde::Serialize)]
pub struct Windows {
    /// Channels of an image.
    pub channels: usize,
    /// Height and width of an image.
    pub image: [usize; 2],
    /// Height and width of a window.
    pub window: [usize; 2],
    /// Rows and columns from one window to the next.
    pub stride: [usize; 2],
    /// Rows and columns of zeros around an image, on each side.
    pub padding: [usize; 2],
}

impl Windows {
    /// Windows down and across: only whole ones.
    pub fn output(&self) -> [usize; 2] {
        [0, 1].map(|axis| {
            let padded = self.image[axis] + 2 * self.padding[axis];
            padded.checked_sub(self.window[axis]).map_or(0, |rest| rest / self.stride[axis] + 1)
        })
    }
    /// Elements of a window in one channel.
    pub fn area(&self) -> usize {
        self.window[0] * self.window[1]
    }
    /// Windows of one channel.
    pub fn count(&self) -> usize {
        let [down, across] = self.output();
        down * across
    }
    /// Words of an image.
    pub fn image_words(&self) -> usize {
        self.channels * self.image[0] * self.image[1]
    }
    /// Words of one word a window and channel.
    pub fn output_words(&self) -> usize {
        self.channels * self.count()
    }

    /// Calls `each` for every run of windows in a row: the element's place in its window, where the
    /// run begins in an image and in a row of windows, and its length. What lies in the padding is
    /// left out.
    #[inline(always)]
    fn runs(&self, mut each: impl FnMut(usize, usize, usize, usize)) {
        let ([down, across], [height, width]) = (self.output(), self.image);
        for channel in 0..self.channels {
            for i in 0..self.window[0] {
                for j in 0..self.window[1] {
                    // The first window whose column is no padding, and the end of those.
                    let from = self.padding[1].saturating_sub(j).div_ceil(self.stride[1]);
                    let to = (width + self.padding[1]).saturating_sub(j).div_ceil(self.stride[1]).min(across);
                    for y in 0..down {
                        let row = y * self.stride[0] + i;
                        let inside = row >= self.padding[0] && row < height + self.padding[0] && from < to;
                        if !inside {
                            continue;
                        }
                        let column = from * self.stride[1] + j - self.padding[1];
                        let at = (channel * height + row - self.padding[0]) * width + column;
                        each(i * self.window[1] + j, at, (channel * down + y) * across + from, to - from);
                    }
                }
            }
        }
    }
}

/// The windows of one image as a matrix: a row for each channel and place in a window, a column for
/// each window. Padding is zero.
#[inline(always)]
pub fn unfold<W: Word>(matrix: &mut [W], image: &[W], windows: Windows) {
    if windows.padding != [0; 2] {
        matrix.fill(W::default());
    }
    let (area, count, stride) = (windows.area(), windows.count().max(1), windows.stride[1]);
    windows.runs(|place, at, to, len| {
        let (channel, window) = (to / count, to % count);
        let to = &mut matrix[(channel * area + place) * count + window..][..len];
        if stride == 1 {
            to.copy_from_slice(&image[at..][..len]);
        } else {
            to.iter_mut().zip(image[at..].iter().step_by(stride)).for_each(|(to, x)| *to = *x);
        }
    });
}

/// Adds each element of a matrix of windows to its place in the image: the adjoint of [`unfold`].
#[inline(always)]
pub fn fold<W: Word>(image: &mut [W], matrix: &[W], windows: Windows) {
    let (area, count) = (windows.area(), windows.count().max(1));
    windows.runs(|place, at, from, len| {
        let (channel, window) = (from / count, from % count);
        let from = &matrix[(channel * area + place) * count + window..][..len];
        add_run(&mut image[at..], from, windows.stride[1]);
    });
}

/// `image[i stride] += run[i]`.
#[inline(always)]
fn add_run<W: Word>(image: &mut [W], run: &[W], stride: usize) {
    if stride == 1 {
        image.iter_mut().zip(run).for_each(|(x, run)| *x = x.add(*run));
    } else {
        image.iter_mut().step_by(stride).zip(run).for_each(|(x, run)| *x = x.add(*run));
    }
}

/// The sum of each window, for all images of `x`.
#[inline(always)]
pub fn sum_windows<W: Word>(z: &mut [W], x: &[W], windows: Windows) {
    z.fill(W::default());
    let words = [windows.output_words().max(1), windows.image_words().max(1)];
    for (z, x) in z.chunks_exact_mut(words[0]).zip(x.chunks_exact(words[1])) {
        windows.runs(|_, at, to, len| {
            let from = x[at..].iter().step_by(windows.stride[1]);
            z[to..][..len].iter_mut().zip(from).for_each(|(z, x)| *z = z.add(*x));
        });
    }
}

/// Adds a word to each element of its window: the adjoint of [`sum_windows`].
#[inline(always)]
pub fn spread_windows<W: Word>(x: &mut [W], z: &[W], windows: Windows) {
    x.fill(W::default());
    let words = [windows.output_words().max(1), windows.image_words().max(1)];
    for (x, z) in x.chunks_exact_mut(words[1]).zip(z.chunks_exact(words[0])) {
        windows.runs(|_, at, from, len| add_run(&mut x[at..], &z[from..][..len], windows.stride[1]));
    }
}

/// The elements of all windows of all images, place by place in the window: first the first element
/// of every window. There is no padding.
#[inline(always)]
pub fn gather_windows<W: Word>(places: &mut [W], x: &[W], windows: Windows) {
    let each = places.len() / windows.area().max(1);
    let words = [windows.output_words().max(1), windows.image_words().max(1)];
    for (i, x) in x.chunks_exact(words[1]).enumerate() {
        windows.runs(|place, at, to, len| {
            let from = x[at..].iter().step_by(windows.stride[1]);
            let to = &mut places[place * each + i * words[0] + to..][..len];
            to.iter_mut().zip(from).for_each(|(to, x)| *to = *x);
        });
    }
}

/// Adds each element to its place: the adjoint of [`gather_windows`].
#[inline(always)]
pub fn scatter_windows<W: Word>(x: &mut [W], places: &[W], windows: Windows) {
    x.fill(W::default());
    let each = places.len() / windows.area().max(1);
    let words = [windows.output_words().max(1), windows.image_words().max(1)];
    for (i, x) in x.chunks_exact_mut(words[1]).enumerate() {
        windows.runs(|place, at, from, len| {
            add_run(&mut x[at..], &places[place * each + i * words[0] + from..][..len], windows.stride[1]);
        });
    }
}

/// Differences of all pairs of columns, where `words` has one column after the other: with `rows`
/// words a column and the order of [`pairs`](super::portable::pairs). With `zero`, a last column of
/// zeros is added.
#[inline(always)]
pub fn pairs_of_columns<W: Word>(out: &mut [W], words: &[W], rows: usize, zero: bool) {
    let lanes = super::plane_words::<W>(rows);
    if lanes == 0 {
        return;
    }
    let given = words.len() / rows;
    let cols = given + usize::from(zero);
    let pairs = super::pair_count(cols);
    for (block, out) in out.chunks_exact_mut((pairs * lanes).max(1)).enumerate() {
        let from = (block * lanes).min(rows);
        let len = (from + lanes).min(rows) - from;
        let mut out = out.chunks_exact_mut(lanes);
        for (i, j) in (0..cols).flat_map(|i| (i + 1..cols).map(move |j| (i, j))) {
            let Some(out) = out.next() else { return };
            let (head, tail) = out.split_at_mut(len);
            let first = &words[i * rows + from..][..len];
            if j < given {
                let second = &words[j * rows + from..][..len];
                head.iter_mut().zip(first.iter().zip(second)).for_each(|(out, (x, y))| *out = x.sub(*y));
            } else {
                head.copy_from_slice(first);
            }
            tail.fill(W::default());
        }
    }
}
