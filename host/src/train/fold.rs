//! Inference with layers folded into the parameters of the layer before: batch normalisation by
//! running statistics is an affine function of each channel, which costs nothing there.
//!
//! The folded parameters are shares and openings of their own, made anew for each evaluation, since
//! parameters and statistics have moved.

use super::{
    enter,
    meetings::Meetings,
    step::{GRAIN, open_tile},
    tape::{described, split},
};
use crate::{alarms::ENOUGH, job::Laid, lanes::Lanes, secret::Secret};
use std::ops::Range;
use symbolon_core::{
    correlation::View,
    layer::{AnyLayer, Backward, Describe, Graph, Met, Model, Pass},
    link::Error,
    protocol::{alarm::check_kept, masked::Masked},
    word::Word,
};

/// Parameters of inference: shares, and the same, masked and open.
pub(super) struct OpenParameters<W: Word> {
    shares: Secret<W>,
    open: Vec<W>,
    mask: View<'static>,
}

impl<W: Word> OpenParameters<W> {
    /// Opens parameters under a fresh mask: each lane its range, in tiles.
    pub(super) fn new(
        lanes: &mut Lanes<'_, W>,
        (name, tile): (&'static str, usize),
        shares: Secret<W>,
    ) -> Result<Self, Error> {
        let n = shares.len();
        let mask = lanes.draw()?.mask(n);
        let view = mask.view();
        let mut open = vec![W::default(); n];
        let parts: Vec<Range<usize>> = (0..lanes.len()).map(|i| lanes.part(i, n, GRAIN)).collect();
        let own = parts.iter().map(|part| &shares[part.clone()]);
        let work = own.zip(split(&mut open, mask, parts.iter().map(Range::len))).collect();
        lanes.each(work, |party, (shares, (open, mut mask))| {
            enter(party, 0, name);
            for (shares, open) in shares.chunks(tile).zip(open.chunks_mut(tile)) {
                mask = open_tile(party, shares, open, mask)?;
            }
            Ok(())
        })?;
        Ok(Self { shares, open, mask: view })
    }

    /// As passes take them.
    pub(super) fn model(&self) -> Model<'_, W> {
        Model { shares: &self.shares, open: Masked { words: &self.open, mask: self.mask } }
    }
}

/// Parameters that are multiplied together.
struct Block {
    /// The node that is folded.
    node: usize,
    /// The parameters in the flat buffer.
    range: Range<usize>,
    rows: usize,
    channels: Range<usize>,
}

/// The node that node `i` is folded into, if it is folded.
pub(super) fn target<W: Word>(graph: &Graph<'_, AnyLayer>, i: usize) -> Option<usize> {
    let meets = Backward::<W>::meets(&graph.nodes[i].layer)?;
    graph.folds_into(i).filter(|_| meets.folds(graph.frac_bits))
}

/// Whether any node of the network is folded.
pub(super) fn folds<W: Word>(laid: &Laid) -> bool {
    let graph = laid.graph();
    (0..graph.nodes.len()).any(|i| target::<W>(&graph, i).is_some())
}

/// Cuts the parameters that change into blocks of about `tile` words, in flat order.
fn blocks<W: Word>(graph: &Graph<'_, AnyLayer>, tile: usize) -> Vec<Block> {
    let mut blocks = Vec::new();
    for node in 0..graph.nodes.len() {
        let Some(before) = target::<W>(graph, node) else { continue };
        let place = &graph.places[before];
        let mut at = place.parameter;
        graph.nodes[before].layer.parameters(place.inputs[0], &mut |tensor| {
            let [rows, channels] = tensor.rows_and_channels();
            let width = tensor.words() / (rows * channels).max(1);
            // Whole rows, or channels of the one row.
            let (units, words) = if rows > 1 { (rows, channels * width) } else { (channels, width) };
            let most = (tile / words.max(1)).max(1);
            for start in (0..units).step_by(most) {
                let unit = start..units.min(start + most);
                let range = at + unit.start * words..at + unit.end * words;
                let (rows, channels) = if rows > 1 { (unit.len(), 0..channels) } else { (1, unit) };
                blocks.push(Block { node, range, rows, channels });
            }
            at += tensor.words();
        });
    }
    blocks.sort_by_key(|block| block.range.start);
    blocks
}

/// Folds what can be; `None` if nothing can. The statistics have settled.
pub(super) fn fold<W: Word>(
    lanes: &mut Lanes<'_, W>,
    tile: usize,
    (laid, model): (&Laid, Model<'_, W>),
    meetings: &Meetings<W>,
) -> Result<Option<OpenParameters<W>>, Error> {
    if !folds::<W>(laid) {
        return Ok(None);
    }
    let (graph, met) = (laid.graph(), meetings.met());
    let mut shares = Secret::zeros(model.shares.len());
    shares.copy_from_slice(model.shares);
    let blocks = blocks::<W>(&graph, tile);
    let (mut rest, mut at) = (&mut shares[..], 0);
    let mut pieces = Vec::new();
    for block in &blocks {
        let (_, others) = std::mem::take(&mut rest).split_at_mut(block.range.start - at);
        let (own, others) = others.split_at_mut(block.range.len());
        (rest, at) = (others, block.range.end);
        pieces.push((block, own));
    }
    let mut work = Vec::new();
    for lane in (0..lanes.len()).rev() {
        work.push(pieces.split_off(lanes.part(lane, blocks.len(), 1).start));
    }
    work.reverse();
    lanes.each(work, |party, pieces| {
        for (Block { node, range, rows, channels }, out) in pieces {
            let site = graph.site(*node, &Pass { model, met: &met, ..described(model.shares) });
            let mask = model.open.mask.slice(range.start, range.len()).matrix(range.len() / rows);
            let parameters = Masked { words: &model.open.words[range.clone()], mask };
            enter(party, *node, "fold");
            let Some(meets) = Backward::<W>::meets(&graph.nodes[*node].layer) else { panic!("a node that is folded") };
            meets.fold(party, &site, channels.clone(), parameters, out)?;
            check_kept(party, ENOUGH)?;
        }
        Ok(())
    })?;
    OpenParameters::new(lanes, ("open folded weights", tile), shares).map(Some)
}

/// The words of each node's latest meeting, with those that are folded marked.
pub(super) fn met<'a, W: Word>(laid: &Laid, meetings: &'a Meetings<W>) -> Vec<Met<'a, W>> {
    let (graph, mut met) = (laid.graph(), meetings.met());
    for (i, met) in met.iter_mut().enumerate() {
        met.is_folded = target::<W>(&graph, i).is_some();
    }
    met
}
