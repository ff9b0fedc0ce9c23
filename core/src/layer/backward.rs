//! The backward pass of a graph: gradients go through the same forms as values.

use super::{Backward, Graph, Input, Layer, NodeState, Origin, Pass, Takes, Tensor, forward::taken};
use crate::{link::Error, party::Party, protocol::masked::Masked, word::Word};
use core::ops::Range;

/// Names of the operations that join two forms of a gradient.
const GRADIENT: [&str; 2] = ["truncation backward", "open gradient"];

impl<L> Graph<'_, L> {
    /// The words of a gradient slab of `rows` rows where the gradient of the last output is
    /// expected, with the job's fraction bits.
    pub fn output_gradient(&self, rows: usize) -> Range<usize> {
        self.places.last().map_or(0..0, |place| place.gradient_words(rows))
    }

    /// Says that the gradient of the last output is in its place.
    pub fn begin_backward<W: Word>(&self, states: &mut [NodeState<'_, W>]) {
        if let Some(last) = states.last_mut() {
            last.gradient.frac_bits = self.frac_bits;
        }
    }

    /// Takes the gradients of the outputs of `nodes` to those of their inputs, last node first, in
    /// `slab`, which has [`gradient_words`](Graph::gradient_words). Where two nodes read one
    /// output, their gradients are added. Gradients that parameters need are opened in their
    /// states.
    ///
    /// # Errors
    ///
    /// The link's and the dealer's, and [`Error::Scratch`].
    ///
    /// # Panics
    ///
    /// If a buffer has another length, or the forward pass did not run.
    pub fn backward<W: Word>(
        &self,
        party: &mut Party<'_, W>,
        pass: &Pass<'_, W>,
        nodes: Range<usize>,
        slab: &mut [W],
        states: &mut [NodeState<'_, W>],
    ) -> Result<(), Error>
    where
        L: Backward<W>,
    {
        for i in nodes.rev().filter(|i| self.places[*i].trains) {
            let takes = self.nodes[i].layer.takes_gradient(self.places[i].inputs[0]);
            let words = &mut slab[self.places[i].gradient_words(pass.rows())];
            self.make_gradient_ready(party, i, takes, words, states)?;
            self.backward_through_time(party, pass, i, slab, states)?;
            for (input, origin) in self.nodes[i].origins().enumerate() {
                match origin {
                    Origin::Node(j) if self.places[usize::from(j)].trains => {
                        self.backward_edge(party, pass, (i, input, usize::from(j)), slab, states)?;
                    }
                    Origin::Node(_) | Origin::Data => {}
                }
            }
        }
        Ok(())
    }

    /// Brings the gradient of node `i`'s output, shares in `words`, into the form `takes`.
    pub(super) fn make_gradient_ready<W: Word>(
        &self,
        party: &mut Party<'_, W>,
        i: usize,
        takes: Takes,
        words: &mut [W],
        states: &mut [NodeState<'_, W>],
    ) -> Result<(), Error> {
        let names = (u16::try_from(i).unwrap_or(u16::MAX), GRADIENT);
        states[i].gradient.make_ready(party, names, takes, self.frac_bits, words)
    }

    /// Takes the gradient of node `i`'s output back through the layer's own steps, if it has any.
    fn backward_through_time<W: Word>(
        &self,
        party: &mut Party<'_, W>,
        pass: &Pass<'_, W>,
        i: usize,
        slab: &[W],
        states: &mut [NodeState<'_, W>],
    ) -> Result<(), Error>
    where
        L: Backward<W>,
    {
        let Some(layer) = self.nodes[i].layer.through_time() else { return Ok(()) };
        let (site, own) = (self.site(i, pass), &mut states[i]);
        party.trace.enter(site.node, "backward through steps");
        let dz = Input::Shares(&slab[self.places[i].gradient_words(pass.rows())], own.gradient.frac_bits);
        layer.backward_through_time(party, &site, dz, &mut own.saved)
    }

    /// The gradient of node `j`'s output as node `i`, whose input number `input` it is, passes it
    /// on.
    fn backward_edge<W: Word>(
        &self,
        party: &mut Party<'_, W>,
        pass: &Pass<'_, W>,
        (i, input, j): (usize, usize, usize),
        slab: &mut [W],
        states: &mut [NodeState<'_, W>],
    ) -> Result<(), Error>
    where
        L: Backward<W>,
    {
        let (layer, rows) = (&self.nodes[i].layer, pass.rows());
        let (from, to) = (&self.places[i], &self.places[j]);
        let site = self.site(i, pass);
        let [dz, dx] = slab
            .get_disjoint_mut([from.gradient_words(rows), to.gradient_words(rows)])
            .expect("gradients that live together lie apart");
        let (before, own) = states.split_at_mut(i);
        let (own, below) = (&own[0], &mut before[j]);
        let cols = from.output.words();
        let is_second = below.gradient.frac_bits > 0;
        let shape = from.inputs[0];
        let wants_shares = layer.takes_gradient(shape) != Takes::Masked;
        let lens = [
            if wants_shares && own.gradient.is_open() { rows * cols } else { 0 },
            if is_second { dx.len() } else { 0 },
        ];
        let ([share, other], mut party) = party.scratch(lens)?;
        let scale = own.gradient.frac_bits;
        let gradient = taken(&party, own.gradient.masked(dz, cols), wants_shares, (&*dz, scale), share);
        party.trace.enter(site.node, "backward");
        let x = below.value.kept_open(to.output.words());
        let frac_bits = layer.gives_gradient(shape, scale, self.frac_bits);
        if is_second {
            layer.backward(&mut party, &site, x, gradient, input, other, own.saved.kept())?;
            add(&party, (dx, &mut below.gradient), (other, frac_bits));
        } else {
            layer.backward(&mut party, &site, x, gradient, input, dx, own.saved.kept())?;
            below.gradient.frac_bits = frac_bits;
        }
        Ok(())
    }
}

/// `sum += other`, at the finer of both scales.
fn add<W: Word>(
    party: &Party<'_, W>,
    (sum, held): (&mut [W], &mut Tensor<'_, W>),
    (other, frac_bits): (&mut [W], u32),
) {
    let common = held.frac_bits.max(frac_bits);
    let raise = |words: &mut [W], by: u32| {
        if by > 0 {
            party.kernels.scale(words, W::from_u64(1).shl(by));
        }
    };
    raise(sum, common - held.frac_bits);
    raise(other, common - frac_bits);
    party.kernels.add(sum, other);
    held.frac_bits = common;
}

impl<'a, W: Word> NodeState<'a, W> {
    /// The output's and the gradient's openings, once they are there, where they have buffers of
    /// their own.
    pub fn opened(&self, cols: usize) -> [Option<Masked<'_, W>>; 2] {
        [self.value.kept_open(cols), self.gradient.kept_open(cols)]
    }
}

impl<L> Graph<'_, L> {
    /// Words between the passes of node `i` for `rows` rows.
    pub fn saved_words<W: Word>(&self, i: usize, pass: &Pass<'_, W>, rows: usize) -> usize
    where
        L: Layer<W>,
    {
        self.nodes[i].layer.saved(&self.site(i, pass), rows)
    }
}
