//! The dealer's end: every request of a dry run is evaluated on whole masks, and the corrections go to server 1.

use super::secure::Fault;
use crate::{net::Connection, secret::Secret};
use symbolon_core::{
    correlation::{Request, Sink},
    kernel::Kernels,
    link::{Error, Peer},
    prg::{MaskId, Prg},
    word::Word,
};

/// Evaluates the requests of one lane and streams their corrections to server 1. Holds one
/// request's values at a time. The connection's buffers are the stream's back-pressure.
pub struct Dealing<'a, W: Word> {
    prgs: [&'a dyn Prg; 2],
    kernels: &'a dyn Kernels<W>,
    /// Whole masks and values pass through here.
    buffer: Secret<W>,
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
        Self { prgs, kernels, buffer: Secret::zeros(0), connection, fault }
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

impl<W: Word> Sink for Dealing<'_, W> {
    fn request(&mut self, first: MaskId, request: &Request<'_>) -> Result<(), Error> {
        let Self { prgs, kernels, buffer, connection, fault } = self;
        let need = request.deal_words::<W>();
        if buffer.len() < need {
            *buffer = Secret::zeros(need);
        }
        request.deal(first, *prgs, *kernels, buffer, |_, wire| {
            connection.buffer_bytes(W::bytes(wire)).map_err(|error| {
                fault.keep(error);
                Error::Lost(Peer::Server)
            })
        })
    }
}
