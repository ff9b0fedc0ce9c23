//! The meetings of a step: lanes sum over their rows, one lane finds what all rows need.

use crate::{job::Laid, lanes::Lanes, secret::Secret};
use symbolon_core::{
    correlation::{Mask, View},
    fixed::encode,
    layer::{AnyLayer, Backward, Graph, Init, MASKS, Meeting, MeetingLens, Meets, Met, Pass},
    link::Error,
    party::Role,
    word::Word,
};

/// One node's meeting.
struct Own<W: Word> {
    /// The words that it left for all rows.
    words: Secret<W>,
    rights: [Mask; MASKS],
    masks: [View<'static>; MASKS],
    /// Each lane's sums.
    sums: Vec<Secret<W>>,
}

impl<W: Word> Own<W> {
    fn met(&self) -> Met<'_, W> {
        Met { words: &self.words, masks: &self.masks, is_folded: false }
    }

    /// Draws fresh masks, which all lanes know.
    fn renew(&mut self, lanes: &mut Lanes<'_, W>, lens: MeetingLens) -> Result<(), Error> {
        let mut draw = lanes.draw()?;
        self.rights = lens.masks.map(|words| draw.mask(words));
        self.masks = self.rights.each_ref().map(Mask::view);
        Ok(())
    }
}

/// The meetings of all nodes whose rows meet, and the running statistics.
pub(super) struct Meetings<W: Word> {
    nodes: Vec<Option<Own<W>>>,
    statistics: Secret<W>,
}

/// Node `i` as a layer whose rows meet.
fn meets<'a, W: Word>(graph: &Graph<'a, AnyLayer>, i: usize) -> Option<&'a dyn Meets<W>> {
    graph.nodes[i].layer.meets()
}

fn lens<W: Word>(graph: &Graph<'_, AnyLayer>, pass: &Pass<'_, W>, i: usize) -> Option<MeetingLens> {
    meets(graph, i).map(|meets| meets.lens(&graph.site(i, pass)))
}

/// Words that [`Meetings`] keep.
pub(super) fn words<W: Word>(laid: &Laid, pass: &Pass<'_, W>, lanes: usize) -> usize {
    let graph = laid.graph();
    let all = (0..graph.nodes.len()).filter_map(|i| lens(&graph, pass, i));
    graph.statistics() + all.map(|lens| lens.words + lanes * lens.sums).sum::<usize>()
}

impl<W: Word> Meetings<W> {
    /// Before the first step: statistics have their initial values.
    pub(super) fn new(laid: &Laid, pass: &Pass<'_, W>, lanes: &Lanes<'_, W>) -> Self {
        let graph = laid.graph();
        let own = |lens: MeetingLens| Own {
            words: Secret::zeros(lens.words),
            rights: [(); MASKS].map(|()| Mask::empty()),
            masks: [Mask::empty().view(); MASKS],
            sums: (0..lanes.len()).map(|_| Secret::zeros(lens.sums)).collect(),
        };
        let nodes = (0..graph.nodes.len()).map(|i| lens(&graph, pass, i).map(own)).collect();
        Self { nodes, statistics: initial(&graph, lanes.role()) }
    }

    /// Returns the words of each node's latest meeting.
    pub(super) fn met(&self) -> Vec<Met<'_, W>> {
        self.nodes.iter().map(|own| own.as_ref().map(Own::met).unwrap_or_default()).collect()
    }

    /// The nodes whose rows meet, in order.
    pub(super) fn nodes(&self) -> Vec<usize> {
        (0..self.nodes.len()).filter(|i| self.nodes[*i].is_some()).collect()
    }

    /// Returns the same, and each lane's buffer for the sums of node `i`.
    pub(super) fn met_and_sums(&mut self, i: Option<usize>) -> (Vec<Met<'_, W>>, Vec<&mut [W]>) {
        let (mut met, mut buffers) = (Vec::new(), Vec::new());
        for (j, own) in self.nodes.iter_mut().enumerate() {
            let Some(Own { words, masks, sums, .. }) = own else {
                met.push(Met::default());
                continue;
            };
            met.push(Met { words, masks, is_folded: false });
            if Some(j) == i {
                buffers.extend(sums.iter_mut().map(|sums| &mut sums[..]));
            }
        }
        (met, buffers)
    }

    /// Adds the lanes' sums of node `i` over a batch of `batch` rows, and runs its meeting on the
    /// first lane, forward or backward.
    pub(super) fn meet(
        &mut self,
        lanes: &mut Lanes<'_, W>,
        graph: &Graph<'_, AnyLayer>,
        pass: &Pass<'_, W>,
        (i, batch): (usize, usize),
        is_forward: bool,
    ) -> Result<(), Error> {
        let (Some(own), Some(meets)) = (&mut self.nodes[i], meets(graph, i)) else { return Ok(()) };
        let (site, statistics) = (graph.site(i, pass), &mut self.statistics[graph.places[i].statistics_range()]);
        if is_forward {
            own.renew(lanes, meets.lens(&site))?;
        }
        let Some((first, others)) = own.sums.split_first_mut() else { return Ok(()) };
        others.iter().for_each(|other| lanes.kernels().add(first, other));
        let met = Meeting { words: &mut own.words, rights: &mut own.rights, masks: &own.masks };
        lanes.on_first((&mut first[..], statistics, met), |party, (sums, statistics, mut met)| {
            if is_forward {
                party.trace.enter(site.node, "batch statistics");
                meets.meet(party, &site, batch, sums, statistics, &mut met)
            } else {
                party.trace.enter(site.node, "batch statistics backward");
                meets.meet_backward(party, &site, batch, sums, &mut met)
            }
        })
    }

    /// Takes what all rows need in inference from the running statistics.
    pub(super) fn settle(
        &mut self,
        lanes: &mut Lanes<'_, W>,
        graph: &Graph<'_, AnyLayer>,
        pass: &Pass<'_, W>,
    ) -> Result<(), Error> {
        for (i, own) in self.nodes.iter_mut().enumerate() {
            let (Some(own), Some(meets)) = (own, meets(graph, i)) else { continue };
            let (site, statistics) = (graph.site(i, pass), &self.statistics[graph.places[i].statistics_range()]);
            own.renew(lanes, meets.lens(&site))?;
            let met = Meeting { words: &mut own.words, rights: &mut own.rights, masks: &own.masks };
            lanes.on_first(met, |party, mut met| {
                party.trace.enter(site.node, "running statistics");
                meets.settle(party, &site, statistics, &mut met)
            })?;
        }
        Ok(())
    }

    /// This party's shares of the running statistics, for checkpoints.
    pub(super) fn statistics_mut(&mut self) -> &mut [W] {
        &mut self.statistics
    }

    /// This party's shares of the running statistics.
    pub(super) fn into_statistics(self) -> Secret<W> {
        self.statistics
    }
}

/// This party's shares of the statistics before the first step.
fn initial<W: Word>(graph: &Graph<'_, AnyLayer>, role: Role) -> Secret<W> {
    let mut statistics = Secret::zeros(graph.statistics());
    for i in 0..graph.nodes.len() {
        graph.statistics_of(i, |statistic, range| {
            let value = if statistic.init == Init::One { 1.0 } else { 0.0 };
            let word = encode(value, graph.frac_bits + statistic.extra_bits).expect("one is small");
            statistics[range].fill(role.first(word));
        });
    }
    statistics
}
