//! Clipping of the whole gradient by its norm, before the optimizer's step.

use super::{enter, step::GRAIN};
use crate::{alarms::ENOUGH, job::Job, lanes::Lanes};
use symbolon_core::{
    link::Error,
    optimizer::{NormClip, OpenedPart},
    protocol::alarm::check_kept,
    word::Word,
};

/// A lane's part of the gradient: its words, their openings, and, tile by tile, what is known of
/// them.
struct LaneGradient<'a, W> {
    gradient: &'a mut [W],
    open: &'a mut [W],
    tiles: Vec<OpenedPart<W>>,
}

/// Bytes of what is known of a job's tiles while their gradients are clipped by norm.
pub(super) fn tile_bytes<W: Word>(job: &Job) -> u64 {
    let tiles = job.parameters().div_ceil(job.lanes.tile) + usize::from(job.lanes.lanes);
    if job.refinements.clip_norm.is_some() { (tiles * size_of::<OpenedPart<W>>()) as u64 } else { 0 }
}

/// Scales `gradient` so that its norm is within the bound: each lane its range, tile by tile, but
/// for the scale, which the first lane computes.
pub(super) fn clip<W: Word>(
    lanes: &mut Lanes<'_, W>,
    clip: &NormClip,
    tile: usize,
    gradient: &mut [W],
) -> Result<(), Error> {
    let n = gradient.len();
    let mut words = vec![W::default(); n];
    let mut parts = Vec::new();
    let (mut rest, mut open) = (gradient, &mut words[..]);
    for i in 0..lanes.len() {
        let len = lanes.part(i, n, GRAIN).len();
        let (gradient, others) = rest.split_at_mut(len);
        let (own, others_open) = open.split_at_mut(len);
        (rest, open) = (others, others_open);
        parts.push(LaneGradient { gradient, open: own, tiles: Vec::new() });
    }
    lanes.each(parts.iter_mut().collect(), |party, part: &mut LaneGradient<'_, W>| {
        enter(party, 0, "clip by norm");
        for (gradient, open) in part.gradient.chunks_mut(tile).zip(part.open.chunks_mut(tile)) {
            part.tiles.push(clip.squares(party, gradient, open)?);
            check_kept(party, ENOUGH)?;
        }
        Ok(())
    })?;
    let all = parts.iter().flat_map(|part| &part.tiles);
    let sum = all.fold(W::default(), |sum, tile| sum.add(tile.sum));
    let mut scale = W::default();
    let first = std::iter::once(Some(&mut scale)).chain((1..lanes.len()).map(|_| None));
    lanes.each(first.collect(), |party, scale: Option<&mut W>| {
        if let Some(scale) = scale {
            enter(party, 0, "clip by norm");
            *scale = clip.scale(party, sum)?;
        }
        Ok(())
    })?;
    lanes.each(parts, |party, part| {
        enter(party, 0, "clip by norm");
        let tiles = part.gradient.chunks_mut(tile).zip(part.open.chunks(tile));
        for ((gradient, open), opened) in tiles.zip(&part.tiles) {
            clip.apply(party, (opened, open), scale, gradient)?;
        }
        Ok(())
    })
}
