//! The dealer's end: every request of a dry run is evaluated on whole masks, and the corrections go to server 1.

use super::secure::Fault;
use crate::{net::Connection, secret::Secret};
use symbolon_core::{
    correlation::{Request, Sink, WholeMasks, correct},
    kernel::Kernels,
    link::{Error, Peer},
    prg::{MaskId, Prg},
    word::Word,
};

/// Turns requests into corrections. Holds one request's values at a time.
pub(super) struct Corrector<'a, W: Word> {
    prgs: [&'a dyn Prg; 2],
    kernels: &'a dyn Kernels<W>,
    /// Whole masks and values pass through here.
    buffer: Secret<W>,
}

/// Evaluates the requests of one lane and streams their corrections to server 1. The connection's buffers are the stream's
/// back-pressure.
pub struct Dealing<'a, W: Word> {
    corrector: Corrector<'a, W>,
    connection: &'a mut Connection,
    fault: Fault,
}

impl<'a, W: Word> Dealing<'a, W> {
    /// Deals to server 1 over `connection`.
    pub fn new(
        prgs: [&'a dyn Prg; 2],
        kernels: &'a dyn Kernels<W>,
        connection: &'a mut Connection,
        fault: Fault,
    ) -> Self {
        Self { corrector: Corrector::new(prgs, kernels), connection, fault }
    }

    /// Sends what is still gathered.
    ///
    /// # Errors
    ///
    /// [`Error::Lost`] of server 1.
    pub fn finish(self) -> Result<(), Error> {
        self.connection.flush().map_err(|error| {
            self.fault.keep(error);
            Error::Lost(Peer::Server)
        })
    }
}

impl<'a, W: Word> Corrector<'a, W> {
    pub(super) fn new(prgs: [&'a dyn Prg; 2], kernels: &'a dyn Kernels<W>) -> Self {
        Self { prgs, kernels, buffer: Secret::zeros(0) }
    }

    /// Evaluates `request` and sends the correction of each of its values, in order.
    pub(super) fn correct(
        &mut self,
        first: MaskId,
        request: &Request<'_>,
        mut send: impl FnMut(&[W]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let dealt = request.dealt::<W>();
        let lens = dealt.map(|d| d.map_or(0, |d| d.len()));
        let longest = lens[0].max(lens[1]);
        let wire_len = dealt.iter().flatten().map(|d| d.wire_words::<W>()).max().unwrap_or(0);
        let scratch_len = request.scratch::<W>().max(longest);
        let need = lens[0] + lens[1] + wire_len + scratch_len;
        if self.buffer.len() < need {
            self.buffer = Secret::zeros(need);
        }
        let (a, rest) = self.buffer.split_at_mut(lens[0]);
        let (b, rest) = rest.split_at_mut(lens[1]);
        let (wire, scratch) = rest.split_at_mut(wire_len);
        let masks = WholeMasks(self.prgs);
        match dealt[1] {
            None => request.evaluate(&masks, self.kernels, scratch, &mut [&mut *a]),
            Some(_) => request.evaluate(&masks, self.kernels, scratch, &mut [&mut *a, &mut *b]),
        }
        for (i, (dealt, values)) in (0u16..).zip(dealt.into_iter().flatten().zip([a, b])) {
            let wire = &mut wire[..dealt.wire_words::<W>()];
            let id = MaskId { part: first.part + i, ..first };
            correct(dealt, id, self.prgs[0], self.kernels, values, wire, scratch);
            send(wire)?;
        }
        Ok(())
    }
}

impl<W: Word> Sink for Dealing<'_, W> {
    fn request(&mut self, first: MaskId, request: &Request<'_>) -> Result<(), Error> {
        let Self { corrector, connection, fault } = self;
        corrector.correct(first, request, |wire| {
            connection.buffer_bytes(W::bytes(wire)).map_err(|error| {
                fault.keep(error);
                Error::Lost(Peer::Server)
            })
        })
    }
}
