//! The meeting of the rows of a batch: what a layer computes from all of them together.
//!
//! Lanes have some rows each. A layer whose rows meet cuts its work in two: each lane sums over its
//! own rows, then one lane takes the sums of all and finds the few words that every row needs. The
//! caller adds the lanes' sums between, which is local: a party's lanes share its memory.

use super::{Backward, Describe, Graph, Node, NodeState, Origin, Pass, Site, Takes};
use crate::{
    correlation::{Mask, View},
    link::Error,
    party::Party,
    protocol::masked::Masked,
    word::Word,
};
use core::ops::Range;

/// The words that a meeting left for all rows: shares, and open words with the names of their
/// masks. The layer knows their order.
#[derive(Clone, Copy)]
pub struct Met<'a, W> {
    /// The words.
    pub words: &'a [W],
    /// The names of the masks.
    pub masks: &'a [View<'static>],
    /// Whether the layer before has parameters with this layer [folded](Meets::fold) into them: in
    /// inference alone.
    pub is_folded: bool,
}

impl<W> Default for Met<'_, W> {
    fn default() -> Self {
        Self { words: &[], masks: &[], is_folded: false }
    }
}

/// As [`Met`], for the meeting that writes it.
///
/// All lanes use the masks, so their names come from the caller: a lane knows no other lane's
/// request numbers.
pub struct Meeting<'a, W> {
    /// The words.
    pub words: &'a mut [W],
    /// Unused masks; opening a word consumes its mask and leaves it empty.
    pub rights: &'a mut [Mask],
    /// The names of the masks.
    pub masks: &'a [View<'static>],
}

/// Number of masks of a meeting; a layer may leave some empty.
pub const MASKS: usize = 4;

/// The lengths of a meeting's buffers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct MeetingLens {
    /// Words that each lane sums.
    pub sums: usize,
    /// Words of [`Met`].
    pub words: usize,
    /// Words of each mask of [`Met`]; fresh ones for each [`Meets::meet`] and [`Meets::settle`].
    pub masks: [usize; MASKS],
}

/// A layer whose rows meet. In training the caller runs, for each batch of `batch` rows:
/// [`Meets::sums`] on each lane, [`Meets::meet`] on one, and the layer's forward pass; later
/// [`Meets::backward_sums`] on each lane, [`Meets::meet_backward`] on one, and the backward pass.
/// In inference it runs [`Meets::settle`] once for all rows, then [`Meets::fold`] where the layer
/// before may take it.
pub trait Meets<W: Word>: Sync {
    /// The lengths of the buffers.
    fn lens(&self, site: &Site<'_, W>) -> MeetingLens;

    /// Sums over some rows `x` of the input.
    ///
    /// # Errors
    ///
    /// The link's and the dealer's, and [`Error::Scratch`].
    fn sums(
        &self,
        party: &mut Party<'_, W>,
        site: &Site<'_, W>,
        batch: usize,
        x: Masked<'_, W>,
        sums: &mut [W],
    ) -> Result<(), Error>;

    /// Computes the words that all rows need in the forward pass. Overwrites `sums`, the sums over
    /// the batch; updates the running statistics.
    ///
    /// # Errors
    ///
    /// As [`Meets::sums`].
    fn meet(
        &self,
        party: &mut Party<'_, W>,
        site: &Site<'_, W>,
        batch: usize,
        sums: &mut [W],
        statistics: &mut [W],
        met: &mut Meeting<'_, W>,
    ) -> Result<(), Error>;

    /// Sums over some rows of the input `x` and of the gradient `dz` of the result.
    ///
    /// # Errors
    ///
    /// As [`Meets::sums`].
    fn backward_sums(
        &self,
        party: &mut Party<'_, W>,
        site: &Site<'_, W>,
        x: Masked<'_, W>,
        dz: Masked<'_, W>,
        sums: &mut [W],
    ) -> Result<(), Error>;

    /// Computes the words that all rows need in the backward pass, beside those of
    /// [`Meets::meet`], and the parameters' gradient. Overwrites `sums`.
    ///
    /// # Errors
    ///
    /// As [`Meets::sums`].
    fn meet_backward(
        &self,
        party: &mut Party<'_, W>,
        site: &Site<'_, W>,
        batch: usize,
        sums: &mut [W],
        met: &mut Meeting<'_, W>,
    ) -> Result<(), Error>;

    /// Computes the words that all rows need in inference, from the running statistics.
    ///
    /// # Errors
    ///
    /// As [`Meets::sums`].
    fn settle(
        &self,
        party: &mut Party<'_, W>,
        site: &Site<'_, W>,
        statistics: &[W],
        met: &mut Meeting<'_, W>,
    ) -> Result<(), Error>;

    /// Whether folded parameters fit into the ring at `frac_bits` fraction bits.
    fn folds(&self, frac_bits: u32) -> bool;

    /// Folds this layer, which has [settled](Meets::settle), into parameters of the layer before:
    /// rows of words of the channels `channels`, some words each. Then the forward pass takes that
    /// layer's output as it is, with the fraction bits of this layer's.
    ///
    /// # Errors
    ///
    /// As [`Meets::sums`].
    fn fold(
        &self,
        party: &mut Party<'_, W>,
        site: &Site<'_, W>,
        channels: Range<usize>,
        parameters: Masked<'_, W>,
        out: &mut [W],
    ) -> Result<(), Error>;
}

impl<L> Graph<'_, L> {
    /// The sums of node `i`, whose rows meet, over the rows of `pass`, of a batch of `batch` rows.
    /// The nodes before it have passed; `slab` and `states` are those of
    /// [`forward`](Graph::forward).
    ///
    /// # Errors
    ///
    /// The link's and the dealer's, and [`Error::Scratch`].
    ///
    /// # Panics
    ///
    /// If the rows of the node do not meet, or a buffer has another length.
    #[allow(clippy::too_many_arguments)] // those of a pass, and what is asked for
    pub fn sums<W: Word>(
        &self,
        party: &mut Party<'_, W>,
        pass: &Pass<'_, W>,
        (i, batch): (usize, usize),
        slab: &mut [W],
        states: &mut [NodeState<'_, W>],
        sums: &mut [W],
    ) -> Result<(), Error>
    where
        L: Backward<W>,
    {
        self.make_ready(party, i, pass.rows(), slab, states)?;
        let (meets, site) = (self.meeting(i), self.site(i, pass));
        party.trace.enter(site.node, "batch sums");
        meets.sums(party, &site, batch, self.open_input(i, pass, slab, states), sums)
    }

    /// The sums of node `i`, as [`sums`](Graph::sums), in the backward pass. The nodes behind it
    /// have passed; `slab` holds the gradients.
    ///
    /// # Errors
    ///
    /// As [`sums`](Graph::sums).
    ///
    /// # Panics
    ///
    /// As [`sums`](Graph::sums), or if the input is not open in a buffer of its own.
    pub fn backward_sums<W: Word>(
        &self,
        party: &mut Party<'_, W>,
        pass: &Pass<'_, W>,
        i: usize,
        slab: &mut [W],
        states: &mut [NodeState<'_, W>],
        sums: &mut [W],
    ) -> Result<(), Error>
    where
        L: Backward<W>,
    {
        let (meets, site, words) = (self.meeting(i), self.site(i, pass), self.places[i].gradient_words(pass.rows()));
        self.make_gradient_ready(party, i, Takes::Masked, &mut slab[words.clone()], states)?;
        party.trace.enter(site.node, "batch sums backward");
        let dz = states[i].gradient.masked(&slab[words], self.places[i].output.words());
        let Some(dz) = dz else { panic!("a gradient that was opened") };
        meets.backward_sums(party, &site, self.open_input(i, pass, &[], states), dz, sums)
    }

    /// The node before node `i`, if node `i` may be [folded](Meets::fold) into its parameters: no
    /// other node reads its output or has the same parameters.
    pub fn folds_into(&self, i: usize) -> Option<usize>
    where
        L: Describe,
    {
        let Origin::Node(before) = self.nodes[i].input else { return None };
        let reads = self.nodes.iter().flat_map(Node::origins).filter(|origin| *origin == Origin::Node(before));
        let is_tied =
            self.nodes[usize::from(before)].tied.is_some() || self.nodes.iter().any(|node| node.tied == Some(before));
        let folds = self.nodes[usize::from(before)].layer.is_affine();
        (folds && !is_tied && reads.count() == 1).then_some(before.into())
    }

    /// Node `i` as a layer whose rows meet.
    fn meeting<W: Word>(&self, i: usize) -> &dyn Meets<W>
    where
        L: Backward<W>,
    {
        let Some(meets) = self.nodes[i].layer.meets() else { panic!("the rows of the node do not meet") };
        meets
    }

    /// The open input of node `i`; `slab` may be empty if it has a buffer of its own.
    fn open_input<'v, W: Word>(
        &self,
        i: usize,
        pass: &Pass<'v, W>,
        slab: &'v [W],
        states: &'v [NodeState<'_, W>],
    ) -> Masked<'v, W> {
        let Origin::Node(j) = self.nodes[i].input else { return pass.data };
        let (place, value) = (&self.places[usize::from(j)], &states[usize::from(j)].value);
        let words = if slab.is_empty() { slab } else { &slab[place.words(pass.rows())] };
        let Some(open) = value.masked(words, place.output.words()) else { panic!("an input that was opened") };
        open
    }
}
