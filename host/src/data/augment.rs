//! Moved and mirrored copies of images: [`Augment`](crate::job::Augment).

use crate::job::{Augment, Job};
use symbolon_core::prg::{ChaCha20Prg, MaskId, Prg};

/// How one copy of a record differs from it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Change {
    is_mirrored: bool,
    /// Rows and columns that it is moved by, down and to the right.
    by: [isize; 2],
}

impl Change {
    /// The change that 8 public random bytes choose.
    fn chosen(augment: &Augment, random: [u8; 8]) -> Self {
        let places = 2 * u32::from(augment.shift) + 1;
        let [a, b, c, d, e, f, mirror, _] = random;
        let moved = |bytes: [u8; 3]| {
            // The bias of 24 bits is below 1 % of a place's chance, for images of 2^16 rows.
            let random = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], 0]);
            // 24 bits at most, so both fit.
            let [to, shift] = [random % places, augment.shift.into()].map(|n| isize::try_from(n).unwrap_or(0));
            to - shift
        };
        Self { is_mirrored: augment.flip && mirror & 1 == 1, by: [moved([a, b, c]), moved([d, e, f])] }
    }

    /// Writes the changed `image`, channels of `height` by `width` pixels; pixels from outside are
    /// 0.
    fn write(self, image: &[f32], [height, width]: [usize; 2], out: &mut [f32]) {
        let inside = |at: usize, by: isize, len: usize| at.checked_add_signed(-by).filter(|at| *at < len);
        let channels = image.chunks_exact(height * width).zip(out.chunks_exact_mut(height * width));
        for (from, to) in channels {
            for (y, to) in to.chunks_exact_mut(width).enumerate() {
                let Some(y) = inside(y, self.by[0], height) else {
                    to.fill(0.0);
                    continue;
                };
                let from = &from[y * width..][..width];
                for (x, to) in to.iter_mut().enumerate() {
                    let x = if self.is_mirrored { width - 1 - x } else { x };
                    *to = inside(x, self.by[1], width).map_or(0.0, |x| from[x]);
                }
            }
        }
    }
}

/// The copies of a job's training records.
pub(crate) struct Copies {
    augment: Augment,
    image: [usize; 2],
    stream: ChaCha20Prg,
}

impl Copies {
    /// `None` if the job has no copies.
    pub(crate) fn of(job: &Job) -> Option<Self> {
        let stream = ChaCha20Prg::new(&job.public_seed(), b"public, augment.");
        job.data.augment.map(|augment| Self { augment, image: job.data.shape.image(), stream })
    }

    /// Writes copy `copy` of record `record`, whose features are `from`.
    pub(crate) fn write(&self, copy: u32, record: usize, from: &[f32], to: &mut [f32]) {
        let mut random = [0; 8];
        self.stream.fill_bytes(MaskId { lane: 0, request: copy, part: 0 }, 8 * record as u64, &mut random);
        Change::chosen(&self.augment, random).write(from, self.image, to);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use symbolon_core::prg::Seed;

    #[test]
    fn images_are_moved_and_mirrored_channel_by_channel() {
        let image: Vec<f32> = (1u8..=12).map(f32::from).collect(); // two channels of 2 by 3
        let changed = |is_mirrored, by| {
            let mut out = vec![-1.0; 12];
            Change { is_mirrored, by }.write(&image, [2, 3], &mut out);
            out
        };
        assert_eq!(changed(false, [0, 0]), image);
        assert_eq!(changed(true, [0, 0]), [3., 2., 1., 6., 5., 4., 9., 8., 7., 12., 11., 10.]);
        assert_eq!(changed(false, [1, 0]), [0., 0., 0., 1., 2., 3., 0., 0., 0., 7., 8., 9.]);
        assert_eq!(changed(false, [0, -1]), [2., 3., 0., 5., 6., 0., 8., 9., 0., 11., 12., 0.]);
        assert_eq!(changed(true, [-1, 2]), [4., 0., 0., 0., 0., 0., 10., 0., 0., 0., 0., 0.]);
    }

    #[test]
    fn choices_are_uniform_over_all_places() {
        let augment = Augment { copies: 1, flip: true, shift: 2 };
        let stream = ChaCha20Prg::new(&Seed::from_bytes(&[1; 32]), &[0; 16]);
        let mut bytes = vec![0; 8 * 50_000];
        stream.fill_bytes(MaskId { lane: 0, request: 0, part: 0 }, 0, &mut bytes);
        let mut counts = std::collections::BTreeMap::new();
        for random in bytes.as_chunks::<8>().0 {
            let Change { is_mirrored, by } = Change::chosen(&augment, *random);
            *counts.entry((is_mirrored, by)).or_insert(0) += 1;
        }
        assert_eq!(counts.len(), 50);
        assert!(counts.values().all(|count| (800..1200).contains(count)), "{counts:?}");
        let still = Augment { flip: false, shift: 0, ..augment };
        assert_eq!(Change::chosen(&still, [255; 8]), Change::default());
    }
}
