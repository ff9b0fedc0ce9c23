//! Features of a window of raw samples, in integers: what a device reports in place of a signal that is too long to send.
//!
//! A sample is a signed 16-bit word of a sensor's own steps; its *code* is the same number above the least one, `sample + 2^15`. A window of `ROWS`
//! rows of `CHANNELS` samples becomes [`STATISTICS`] codes of 16 bits a channel, each of which fits whatever the samples are:
//!
//! | row of the result | what | one code is | rounding |
//! | --- | --- | --- | --- |
//! | 0, mean | code of the mean | one step, from `-2^15` | nearest, ties up |
//! | 1, deviation | standard deviation of the window (divided by `ROWS`) | half a step, from 0 | down |
//! | 2, least | code of the least sample | one step, from `-2^15` | exact |
//! | 3, greatest | code of the greatest sample | one step, from `-2^15` | exact |
//! | 4, change | mean absolute difference of neighbouring rows | one step, from 0 | nearest, ties up |
//!
//! So a schema has for rows 0, 2 and 3 `offset = -2^15 * step`, for rows 1 and 4 offset 0, and for row 1 half the sensor's step.
//!
//! - **Memory:** 24 bytes a channel and a counter; no sample is kept but the last. No heap, no floating point.
//! - **Cost:** on Cortex-M4 about 40 instructions a sample and 200 a channel at the end of a window (size-optimised; counted in the disassembly).
//! - **Timing:** depends on the samples, which are the device's own.

use zeroize::{Zeroize, ZeroizeOnDrop};

/// Codes of a channel.
pub const STATISTICS: usize = 5;

/// A window that is being filled, row by row. Windows that overlap are several of these, started a few rows apart.
///
/// ```
/// use symbolon_core::report::window::Window;
///
/// let mut window = Window::<1, 4>::new();
/// let mut ended = [[10], [14], [10], [14]].iter().filter_map(|row| window.push(row));
/// let [mean, deviation, least, greatest, change] = ended.next().unwrap();
/// assert_eq!([mean[0] - 0x8000, least[0] - 0x8000, greatest[0] - 0x8000], [12, 10, 14]);
/// assert_eq!([deviation[0], change[0]], [2 * 2, 4]); // deviation 2, in half steps
/// ```
#[derive(ZeroizeOnDrop)]
pub struct Window<const CHANNELS: usize, const ROWS: usize> {
    channels: [Channel; CHANNELS],
    rows: usize,
}

/// Sums over the codes so far. With at most 2^16 rows none of them, nor what is made of them, leaves its type.
#[derive(Clone, Copy, Zeroize)]
struct Channel {
    previous: u16,
    least: u16,
    greatest: u16,
    sum: u32,
    change: u32,
    squares: u64,
}

/// The code of a raw sample.
pub const fn code(sample: i16) -> u16 {
    sample.cast_unsigned() ^ 0x8000
}

impl<const CHANNELS: usize, const ROWS: usize> Window<CHANNELS, ROWS> {
    /// An empty window; of 2 to 2^16 rows, or it does not compile.
    pub const fn new() -> Self {
        const { assert!(ROWS >= 2 && ROWS <= 1 << 16, "a window has 2 to 65536 rows") };
        Self { channels: [Channel::EMPTY; CHANNELS], rows: 0 }
    }

    /// Takes a row. The last one of a window returns its features, a row a statistic (flattened, they are in the order of a record), and the next
    /// row begins another window.
    pub fn push(&mut self, row: &[i16; CHANNELS]) -> Option<[[u16; CHANNELS]; STATISTICS]> {
        let first = self.rows == 0;
        for (channel, sample) in self.channels.iter_mut().zip(row) {
            channel.push(code(*sample), first);
        }
        self.rows += 1;
        if self.rows < ROWS {
            return None;
        }
        let mut features = [[0; CHANNELS]; STATISTICS];
        for (i, channel) in self.channels.iter().enumerate() {
            for (statistic, code) in features.iter_mut().zip(channel.statistics::<ROWS>()) {
                statistic[i] = code;
            }
        }
        self.clear();
        Some(features)
    }

    /// Forgets the rows so far, as after a gap in the samples.
    pub fn clear(&mut self) {
        self.channels = [Channel::EMPTY; CHANNELS];
        self.rows = 0;
    }

    /// Rows so far.
    pub const fn rows(&self) -> usize {
        self.rows
    }
}

impl<const CHANNELS: usize, const ROWS: usize> Default for Window<CHANNELS, ROWS> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const CHANNELS: usize, const ROWS: usize> core::fmt::Debug for Window<CHANNELS, ROWS> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Window").field("rows", &self.rows).finish_non_exhaustive() // no samples
    }
}

impl Channel {
    const EMPTY: Self = Self { previous: 0, least: u16::MAX, greatest: 0, sum: 0, change: 0, squares: 0 };

    fn push(&mut self, code: u16, first: bool) {
        let wide = u32::from(code);
        if !first {
            self.change += u32::from(code.abs_diff(self.previous));
        }
        self.previous = code;
        self.least = self.least.min(code);
        self.greatest = self.greatest.max(code);
        self.sum += wide;
        self.squares += u64::from(wide * wide);
    }

    /// Generic over the rows, so that divisions are by constants: shifts, for a power of two.
    fn statistics<const ROWS: usize>(&self) -> [u16; STATISTICS] {
        let rows = const { rows::<ROWS>() };
        let n = u64::from(rows);
        let sum = u64::from(self.sum);
        // 4 variance <= (2^16 - 1)^2; the root of the floor has the same floor as the root.
        let four_variance = 4 * (n * self.squares - sum * sum) / (n * n);
        let deviation = u32::try_from(four_variance).unwrap_or(u32::MAX).isqrt();
        let nearest = |sum: u32, of: u32| (sum + of / 2) / of;
        let narrow = |code: u32| u16::try_from(code).unwrap_or(u16::MAX); // all fit
        let mean = nearest(self.sum, rows);
        let change = nearest(self.change, rows - 1);
        [narrow(mean), narrow(deviation), self.least, self.greatest, narrow(change)]
    }
}

#[expect(clippy::cast_possible_truncation, reason = "at most 2^16: `Window::new`")]
const fn rows<const ROWS: usize>() -> u32 {
    ROWS as u32
}
