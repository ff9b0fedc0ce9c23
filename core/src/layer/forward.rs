//! The forward pass of a graph: the one place where two forms of a value are joined.

use super::{Graph, Input, Layer, Met, Origin, PublicStream, RowLengths, Saved, Site, Takes};
use crate::{
    correlation::{Mask, View},
    link::Error,
    party::Party,
    protocol::{
        masked::{Masked, mask_and_open},
        truncate::truncate,
    },
    word::Word,
};
use core::ops::Range;

/// The flat parameters of a network: shares, and masked and open.
#[derive(Clone, Copy)]
pub struct Model<'a, W> {
    /// Shares, with the job's fraction bits.
    pub shares: &'a [W],
    /// The same parameters, opened under one flat mask.
    pub open: Masked<'a, W>,
}

/// The public randomness of a training step.
#[derive(Clone, Copy)]
pub struct Moment<'a> {
    /// A public stream, the same at all parties.
    pub stream: PublicStream<'a>,
    /// Number of the step.
    pub step: u32,
    /// Placement of the pass's first row in the batch.
    pub row: usize,
}

/// The inputs of a pass over some rows.
#[derive(Clone, Copy)]
pub struct Pass<'a, W> {
    /// The parameters.
    pub model: Model<'a, W>,
    /// The records, masked and open, as a matrix of the rows.
    pub data: Masked<'a, W>,
    /// The randomness of a training step; `None` in inference.
    pub moment: Option<Moment<'a>>,
    /// The words of each node's meeting; empty if no node's rows meet.
    pub met: &'a [Met<'a, W>],
    /// The length of each row's sequence, in steps of the records: an entry a row. `None` where all
    /// steps count, and in dry runs. The inputs of recurrent layers must then be steps of the
    /// records, whole or behind slices.
    pub lengths: Option<&'a [u16]>,
}

impl<W> Pass<'_, W> {
    /// Rows of the pass.
    pub fn rows(&self) -> usize {
        self.data.mask.rows.len()
    }

    /// Whether node `i` is folded into the parameters of the node before it.
    pub fn is_folded(&self, i: usize) -> bool {
        self.met.get(i).is_some_and(|met| met.is_folded)
    }
}

/// A value or a gradient of a node: its scale, and where and whether it is open.
#[derive(Default)]
pub struct Tensor<'a, W> {
    /// A buffer with the right to hide the value, for values that outlive the pass; `None` to open
    /// the value where it lies.
    own: Option<(&'a mut [W], Option<Mask>)>,
    /// The mask's name, once the value is open.
    mask: Option<View<'static>>,
    /// Fraction bits of the shares; 0 before there is a value.
    pub(super) frac_bits: u32,
}

impl<'a, W: Word> Tensor<'a, W> {
    /// A value to be opened in `words` under `mask`, where the caller keeps it.
    pub fn kept(words: &'a mut [W], mask: Mask) -> Self {
        Self { own: Some((words, Some(mask))), mask: None, frac_bits: 0 }
    }

    /// Whether the value is open.
    pub(super) fn is_open(&self) -> bool {
        self.mask.is_some()
    }

    /// Brings the value, shares in `words`, into the form that a layer takes.
    pub(super) fn make_ready(
        &mut self,
        party: &mut Party<'_, W>,
        (node, names): (u16, [&'static str; 2]),
        takes: Takes,
        frac_bits: u32,
        words: &mut [W],
    ) -> Result<(), Error> {
        if takes == Takes::Any || self.is_open() {
            return Ok(());
        }
        if self.frac_bits > frac_bits {
            party.trace.enter(node, names[0]);
            truncate(party, words, self.frac_bits - frac_bits)?;
            self.frac_bits = frac_bits;
        }
        if takes == Takes::Masked {
            party.trace.enter(node, names[1]);
            self.mask = Some(match &mut self.own {
                None => {
                    let mask = party.draw()?.mask(words.len());
                    mask_and_open(party, words, mask)?
                }
                Some((own, mask)) => {
                    own.copy_from_slice(words);
                    mask_and_open(party, own, mask.take().expect("a value is opened once"))?
                }
            });
        }
        Ok(())
    }

    /// The open value as a matrix of `cols` columns, if it is open in a buffer of its own.
    pub(super) fn kept_open(&self, cols: usize) -> Option<Masked<'_, W>> {
        self.own.as_ref().and_then(|_| self.masked(&[], cols))
    }

    /// The open value as a matrix of `cols` columns, if it is open; `words` is where it lies if it
    /// has no buffer of its own.
    pub(super) fn masked<'v>(&'v self, words: &'v [W], cols: usize) -> Option<Masked<'v, W>> {
        let words = self.own.as_ref().map_or(words, |(own, _)| own);
        self.mask.map(|mask| Masked { words, mask: mask.matrix(cols) })
    }
}

/// The state of a node in a pass.
#[derive(Default)]
pub struct NodeState<'a, W> {
    /// Its output.
    pub value: Tensor<'a, W>,
    /// The gradient of its output.
    pub gradient: Tensor<'a, W>,
    /// Words between the passes; empty in inference.
    pub saved: Saved<'a, W>,
}

/// Names of the operations that join two forms of a value.
const VALUE: [&str; 2] = ["truncation", "open activations"];

impl<'a, L> Graph<'_, L> {
    /// The site of node `i`.
    pub fn site<W: Word>(&self, i: usize, pass: &Pass<'a, W>) -> Site<'a, W> {
        let place = &self.places[i];
        let (range, Model { shares, open }) = (place.range(), pass.model);
        Site {
            node: u16::try_from(i).unwrap_or(u16::MAX),
            inputs: place.inputs,
            output: place.output,
            shares: &shares[range.clone()],
            open: Masked { words: &open.words[range.clone()], mask: open.mask.slice(range.start, range.len()) },
            frac_bits: self.frac_bits,
            moment: pass.moment,
            met: pass.met.get(i).copied().unwrap_or_default(),
            lengths: pass.lengths.map(|rows| RowLengths { rows, first_step: place.first_step }),
        }
    }

    /// Computes the outputs of the nodes `nodes` in `slab`, which has
    /// [`slab_words`](Graph::slab_words); those before them are there. The states hold the state of
    /// all nodes, one each.
    ///
    /// # Errors
    ///
    /// The link's and the dealer's, and [`Error::Scratch`].
    ///
    /// # Panics
    ///
    /// If a buffer has another length.
    pub fn forward<W: Word>(
        &self,
        party: &mut Party<'_, W>,
        pass: &Pass<'_, W>,
        nodes: Range<usize>,
        slab: &mut [W],
        states: &mut [NodeState<'_, W>],
    ) -> Result<(), Error>
    where
        L: Layer<W>,
    {
        nodes.into_iter().try_for_each(|i| {
            if !pass.is_folded(i) {
                self.make_ready(party, i, pass.rows(), slab, states)?;
            }
            self.forward_node(party, pass, i, slab, states)
        })
    }

    /// Brings the inputs of node `i` into the form that it takes.
    pub(super) fn make_ready<W: Word>(
        &self,
        party: &mut Party<'_, W>,
        i: usize,
        rows: usize,
        slab: &mut [W],
        states: &mut [NodeState<'_, W>],
    ) -> Result<(), Error>
    where
        L: Layer<W>,
    {
        let takes = self.nodes[i].layer.takes(self.places[i].inputs[0]);
        for origin in self.nodes[i].origins() {
            let Origin::Node(j) = origin else { continue };
            let (value, words) =
                (&mut states[usize::from(j)].value, &mut slab[self.places[usize::from(j)].words(rows)]);
            value.make_ready(party, (j, VALUE), takes, self.frac_bits, words)?;
        }
        Ok(())
    }

    fn forward_node<W: Word>(
        &self,
        party: &mut Party<'_, W>,
        pass: &Pass<'_, W>,
        i: usize,
        slab: &mut [W],
        states: &mut [NodeState<'_, W>],
    ) -> Result<(), Error>
    where
        L: Layer<W>,
    {
        let (node, place, rows) = (&self.nodes[i], &self.places[i], pass.rows());
        let (site, (before, own)) = (self.site(i, pass), states.split_at_mut(i));
        let (second, own) = (node.second.unwrap_or(node.input), &mut own[0]);
        let range = |origin| match origin {
            Origin::Node(j) => self.places[usize::from(j)].words(rows),
            Origin::Data => 0..0,
        };
        let ranges = [range(node.input), if node.second.is_some() { range(second) } else { 0..0 }, place.words(rows)];
        let Ok([a, b, z]) = slab.get_disjoint_mut(ranges) else { panic!("values that live together lie apart") };
        // Shares of inputs that are open already.
        let is_any = node.layer.takes(place.inputs[0]) != Takes::Masked || pass.is_folded(i);
        let open = |origin| match origin {
            Origin::Node(j) => before[usize::from(j)].value.is_open(),
            Origin::Data => true,
        };
        let words = |origin| if is_any && open(origin) { rows * self.shape_words(origin) } else { 0 };
        let saved = if own.saved.words.is_empty() { node.layer.inference_words(&site, rows) } else { 0 };
        let second_words = if node.second.is_some() { words(second) } else { 0 };
        let ([first_share, second_share, scratch], mut party) =
            party.scratch([words(node.input), second_words, saved])?;
        let input = |party: &Party<'_, W>, origin: Origin, words, share| {
            let (value, open) = match origin {
                Origin::Data => (None, Some(pass.data)),
                Origin::Node(j) => {
                    let value = &before[usize::from(j)].value;
                    (Some(value), value.masked(words, self.shape_words(origin)))
                }
            };
            taken(party, open, is_any, (words, value.map_or(self.frac_bits, |v| v.frac_bits)), share)
        };
        let first = input(&party, node.input, &*a, first_share);
        let inputs = [first, if node.second.is_some() { input(&party, second, &*b, second_share) } else { first }];
        let inputs = &inputs[..1 + usize::from(node.second.is_some())];
        let site_node = site.node;
        party.trace.enter(site_node, "forward");
        own.value.frac_bits = place.frac_bits;
        if saved > 0 {
            let mut saved = Saved { words: scratch, masks: [None; 2] };
            return node.layer.forward(&mut party, &site, inputs, z, &mut saved);
        }
        node.layer.forward(&mut party, &site, inputs, z, &mut own.saved)
    }

    fn shape_words(&self, origin: Origin) -> usize {
        match origin {
            Origin::Data => self.input.words(),
            Origin::Node(j) => self.places[usize::from(j)].output.words(),
        }
    }

    /// Outputs of the network for the records of `pass`, with
    /// [`output_frac_bits`](Graph::output_frac_bits). Takes a slab from the arena; `states` are
    /// fresh, one a node.
    ///
    /// # Errors
    ///
    /// As [`Graph::forward`].
    ///
    /// # Panics
    ///
    /// If lengths do not fit.
    pub fn infer<W: Word>(
        &self,
        party: &mut Party<'_, W>,
        pass: &Pass<'_, W>,
        states: &mut [NodeState<'_, W>],
        out: &mut [W],
    ) -> Result<(), Error>
    where
        L: Layer<W>,
    {
        let rows = pass.rows();
        let ([slab], mut party) = party.scratch([self.slab_words(rows)])?;
        self.forward(&mut party, pass, 0..self.nodes.len(), slab, states)?;
        out.copy_from_slice(&slab[self.output_words(rows)]);
        Ok(())
    }

    /// The words of a slab of `rows` rows that hold the last output.
    pub fn output_words(&self, rows: usize) -> Range<usize> {
        self.places.last().map_or(0..0, |place| place.words(rows))
    }
}

/// A value as a layer takes it: `open`, or shares; those of an open value are made in `share`.
pub(super) fn taken<'v, W: Word>(
    party: &Party<'_, W>,
    open: Option<Masked<'v, W>>,
    wants_shares: bool,
    (words, frac_bits): (&'v [W], u32),
    share: &'v mut [W],
) -> Input<'v, W> {
    match open {
        Some(open) if wants_shares => {
            open.share(party, share);
            Input::Shares(share, frac_bits)
        }
        Some(open) => Input::Masked(open),
        None => Input::Shares(words, frac_bits),
    }
}
