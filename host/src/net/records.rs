//! TLS records without IO.
//!
//! rustls' unbuffered interface lets this crate own the buffers: records arrive in large reads, are decrypted where they
//! lie and handed on as they come; what is sent is encrypted once, into the buffer that the socket reads from.

use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus};
use rustls::{CommonState, Error};
use zeroize::Zeroizing;

/// Plaintext bytes of a full record.
pub(super) const RECORD: usize = 16 * 1024;
/// Header, inner content type and tag of a record.
const OVERHEAD: usize = 5 + 1 + 16;
/// Plaintext encrypted in one go. A multiple of `RECORD`, so that none but the last record of a transfer is short; small
/// enough that it stays in the second-level cache on its way.
pub(super) const CHUNK: usize = 4 * RECORD;
/// Room for received records: several full ones, so that a read is worth its system call.
const INBOX: usize = 4 * (RECORD + 256);

/// Received records. They are decrypted where they lie, so the buffer is wiped when dropped.
pub(super) struct Inbox {
    buf: Zeroizing<Vec<u8>>,
    start: usize,
    end: usize,
}

impl Inbox {
    pub(super) fn new() -> Self {
        Self { buf: Zeroizing::new(vec![0; INBOX]), start: 0, end: 0 }
    }

    /// Where the next bytes go. Empty only if a single message fills the whole buffer.
    pub(super) fn room(&mut self) -> &mut [u8] {
        if self.start > 0 {
            self.buf.copy_within(self.start..self.end, 0); // at most part of a record
            (self.start, self.end) = (0, self.end - self.start);
        }
        &mut self.buf[self.end..]
    }

    /// Counts `len` bytes of `room` as received.
    pub(super) fn filled(&mut self, len: usize) {
        self.end += len;
    }

    fn pending(&mut self) -> &mut [u8] {
        &mut self.buf[self.start..self.end]
    }

    fn discard(&mut self, len: usize) {
        self.start += len;
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
    }
}

/// Records to be sent.
pub(super) struct Outbox {
    buf: Vec<u8>,
    start: usize,
    end: usize,
}

impl Outbox {
    pub(super) fn new() -> Self {
        let len = CHUNK / RECORD * (RECORD + OVERHEAD) + RECORD;
        Self { buf: vec![0; len], start: 0, end: 0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// What is to be sent next.
    pub(super) fn pending(&self) -> &[u8] {
        &self.buf[self.start..self.end]
    }

    /// Counts `len` bytes of `pending` as sent.
    pub(super) fn sent(&mut self, len: usize) {
        self.start += len;
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
    }

    /// Appends what `write` puts into the room left; `write` returns its length, or the room that it needs.
    fn append(&mut self, mut write: impl FnMut(&mut [u8]) -> Result<usize, Need>) -> Result<(), Error> {
        loop {
            match write(&mut self.buf[self.end..]) {
                Ok(len) => {
                    self.end += len;
                    return Ok(());
                }
                Err(Need::Room(len)) => self.buf.resize(self.end + len, 0),
                Err(Need::Error(error)) => return Err(error),
            }
        }
    }
}

enum Need {
    Room(usize),
    Error(Error),
}

impl From<EncodeError> for Need {
    fn from(error: EncodeError) -> Self {
        match error {
            EncodeError::InsufficientSize(size) => Self::Room(size.required_size),
            EncodeError::AlreadyEncoded => Self::Error(Error::General(error.to_string())),
        }
    }
}

impl From<EncryptError> for Need {
    fn from(error: EncryptError) -> Self {
        match error {
            EncryptError::InsufficientSize(size) => Self::Room(size.required_size),
            EncryptError::EncryptExhausted => Self::Error(Error::EncryptError),
        }
    }
}

/// What is to be encrypted.
#[derive(Clone, Copy)]
pub(super) enum Outgoing<'a> {
    Nothing,
    Plain(&'a [u8]),
    CloseNotify,
}

/// Where a session stands when all that was received is decrypted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Standing {
    /// More must be received before anything can be sent.
    Handshaking,
    /// Both ends are authenticated.
    Open,
    /// Both ends said goodbye.
    Closed,
}

/// One end of a TLS session.
pub(super) trait Records: Send {
    /// Decrypts every complete record in `inbox` into `sink`, then encrypts `outgoing`, if the session is open.
    ///
    /// # Errors
    ///
    /// rustls' own; the session is over then, and [`Records::alert`] says so to the peer.
    fn drive(
        &mut self,
        inbox: &mut Inbox,
        outbox: &mut Outbox,
        outgoing: Outgoing<'_>,
        sink: &mut dyn FnMut(&[u8]),
    ) -> Result<Standing, Error>;

    /// Appends the alert that tells the peer why the session failed.
    fn alert(&mut self, inbox: &mut Inbox, outbox: &mut Outbox);

    /// Whether the peer said that it sends no more.
    fn peer_closed(&self) -> bool;

    /// What rustls knows about the session.
    fn common(&self) -> &CommonState;
}

/// A client or server session of rustls.
pub(super) struct Session<S> {
    inner: S,
    peer_closed: bool,
}

impl<S> Session<S> {
    pub(super) fn new(inner: S) -> Self {
        Self { inner, peer_closed: false }
    }
}

/// What rustls' two kinds of session have in common.
pub(super) trait Side: Send {
    type Data;

    fn process<'c, 'i>(&'c mut self, incoming: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data>;

    fn common(&self) -> &CommonState;
}

impl Side for UnbufferedClientConnection {
    type Data = ClientConnectionData;

    fn process<'c, 'i>(&'c mut self, incoming: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(incoming)
    }

    fn common(&self) -> &CommonState {
        self
    }
}

impl Side for UnbufferedServerConnection {
    type Data = ServerConnectionData;

    fn process<'c, 'i>(&'c mut self, incoming: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(incoming)
    }

    fn common(&self) -> &CommonState {
        self
    }
}

impl<S: Side> Records for Session<S> {
    fn drive(
        &mut self,
        inbox: &mut Inbox,
        outbox: &mut Outbox,
        outgoing: Outgoing<'_>,
        sink: &mut dyn FnMut(&[u8]),
    ) -> Result<Standing, Error> {
        loop {
            let UnbufferedStatus { mut discard, state } = self.inner.process(inbox.pending());
            let standing = match state? {
                ConnectionState::ReadTraffic(mut traffic) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record?;
                        discard += record.discard;
                        sink(record.payload);
                    }
                    None
                }
                ConnectionState::EncodeTlsData(mut data) => {
                    outbox.append(|room| data.encode(room).map_err(Need::from))?;
                    None
                }
                // The outbox keeps the order, so this counts as sent.
                ConnectionState::TransmitTlsData(data) => {
                    data.done();
                    None
                }
                ConnectionState::PeerClosed => {
                    self.peer_closed = true;
                    None
                }
                ConnectionState::Closed => Some(Standing::Closed),
                ConnectionState::BlockedHandshake => Some(Standing::Handshaking),
                ConnectionState::WriteTraffic(mut traffic) => {
                    match outgoing {
                        Outgoing::Nothing => {}
                        Outgoing::Plain(plain) => {
                            outbox.append(|room| traffic.encrypt(plain, room).map_err(Need::from))?;
                        }
                        Outgoing::CloseNotify => {
                            outbox.append(|room| traffic.queue_close_notify(room).map_err(Need::from))?;
                        }
                    }
                    Some(Standing::Open)
                }
                other => return Err(Error::General(format!("unexpected state {other:?}"))),
            };
            inbox.discard(discard);
            if let Some(standing) = standing {
                return Ok(standing);
            }
        }
    }

    fn alert(&mut self, inbox: &mut Inbox, outbox: &mut Outbox) {
        // Only as long as there is something queued: a failed session must not look at what it received again.
        while self.inner.common().wants_write() {
            let UnbufferedStatus { discard, state } = self.inner.process(inbox.pending());
            let Ok(ConnectionState::EncodeTlsData(mut data)) = state else { return };
            if outbox.append(|room| data.encode(room).map_err(Need::from)).is_err() {
                return;
            }
            inbox.discard(discard);
        }
    }

    fn peer_closed(&self) -> bool {
        self.peer_closed
    }

    fn common(&self) -> &CommonState {
        self.inner.common()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::Arc;
    use std::time::SystemTime;

    use super::super::deployment::{Deployment, Hosts};
    use super::super::role::Role;
    use super::super::tls::{ClientTls, ServerTls, role_name};
    use super::*;

    struct End<S> {
        session: Session<S>,
        inbox: Inbox,
        outbox: Outbox,
        got: Vec<u8>,
    }

    impl<S: Side> End<S> {
        fn new(inner: S) -> Self {
            Self { session: Session::new(inner), inbox: Inbox::new(), outbox: Outbox::new(), got: Vec::new() }
        }

        fn drive(&mut self, outgoing: Outgoing<'_>) -> Result<Standing, Error> {
            let Self { session, inbox, outbox, got } = self;
            session.drive(inbox, outbox, outgoing, &mut |plain| got.extend_from_slice(plain))
        }

        /// Moves what is sent to `other`, `step` bytes at a time.
        fn deliver<T: Side>(&mut self, other: &mut End<T>, step: usize) -> Result<(), Error> {
            while !self.outbox.is_empty() {
                let len = step.min(self.outbox.pending().len());
                other.inbox.room()[..len].copy_from_slice(&self.outbox.pending()[..len]);
                other.inbox.filled(len);
                self.outbox.sent(len);
                other.drive(Outgoing::Nothing)?;
            }
            Ok(())
        }
    }

    fn ends() -> (End<UnbufferedClientConnection>, End<UnbufferedServerConnection>) {
        let deployment = Deployment::generate(&Hosts::default(), SystemTime::now(), 1).unwrap();
        let [client, server] = [Role::Server0, Role::Dealer].map(|role| deployment.identity(role).unwrap());
        let client = Arc::clone(&ClientTls::new(&client).config);
        let server = Arc::clone(&ServerTls::new(&server, &Role::ALL).config);
        (
            End::new(UnbufferedClientConnection::new(client, role_name(Role::Dealer)).unwrap()),
            End::new(UnbufferedServerConnection::new(server).unwrap()),
        )
    }

    fn open() -> (End<UnbufferedClientConnection>, End<UnbufferedServerConnection>) {
        let (mut client, mut server) = ends();
        for _ in 0..3 {
            client.drive(Outgoing::Nothing).unwrap();
            client.deliver(&mut server, 100).unwrap();
            server.deliver(&mut client, 1).unwrap();
        }
        assert_eq!(client.drive(Outgoing::Nothing).unwrap(), Standing::Open);
        assert_eq!(server.drive(Outgoing::Nothing).unwrap(), Standing::Open);
        (client, server)
    }

    #[test]
    fn tls_1_3_with_the_fast_suite_is_chosen() {
        let (client, server) = open();
        for common in [client.session.common(), server.session.common()] {
            assert_eq!(common.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_3));
            let suite = common.negotiated_cipher_suite().unwrap().suite();
            assert_eq!(suite, rustls::CipherSuite::TLS13_AES_128_GCM_SHA256);
        }
    }

    #[test]
    fn records_arrive_in_any_pieces() {
        let (mut client, mut server) = open();
        let plain: Vec<u8> = (0..CHUNK).map(|i| (i % 251).to_le_bytes()[0]).collect();
        for step in [7919, 16_384, usize::MAX] {
            client.drive(Outgoing::Plain(&plain)).unwrap();
            assert_eq!(client.outbox.pending().len(), CHUNK / RECORD * (RECORD + OVERHEAD));
            client.deliver(&mut server, step).unwrap();
            assert!(std::mem::take(&mut server.got) == plain);
        }
    }

    #[test]
    fn keys_are_renewed_under_way() {
        let (mut client, mut server) = open();
        for _ in 0..3 {
            let state = client.session.inner.process(client.inbox.pending()).state.unwrap();
            let ConnectionState::WriteTraffic(traffic) = state else { panic!("{state:?}") };
            traffic.refresh_traffic_keys().unwrap();
            client.drive(Outgoing::Plain(b"new keys")).unwrap();
            client.deliver(&mut server, 3).unwrap(); // the answer waits in the outbox
            server.drive(Outgoing::Plain(b"so here")).unwrap();
            server.deliver(&mut client, 3).unwrap();
        }
        assert_eq!(server.got, b"new keys".repeat(3));
        assert_eq!(client.got, b"so here".repeat(3));
    }

    /// Flips a bit of what `from` sends, delivers it, and lets `to` complain. Spares the version in the first header,
    /// which TLS 1.3 leaves unprotected.
    fn tamper<S: Side, T: Side>(from: &mut End<S>, to: &mut End<T>, position: usize) -> Result<(), Error> {
        let sent = &mut from.outbox.buf[from.outbox.start..from.outbox.end];
        match position % sent.len() {
            1 | 2 => sent[0] ^= 0x80,
            at => sent[at] ^= 0x80 >> (position % 8),
        }
        let result = from.deliver(to, usize::MAX);
        if result.is_err() {
            to.session.alert(&mut to.inbox, &mut to.outbox);
        }
        result
    }

    #[test]
    fn altered_handshakes_never_open_a_session() {
        for position in (0..2000).step_by(7) {
            let (mut client, mut server) = ends();
            client.drive(Outgoing::Nothing).unwrap();
            let _ = tamper(&mut client, &mut server, position);
            let _ = server.deliver(&mut client, usize::MAX);
            let _ = client.deliver(&mut server, usize::MAX);
            assert!(server.session.common().is_handshaking(), "hello altered at {position}");
        }
    }

    #[test]
    fn altered_answers_end_without_panic() {
        for position in (0..2000).step_by(7) {
            let (mut client, mut server) = ends();
            client.drive(Outgoing::Nothing).unwrap();
            client.deliver(&mut server, usize::MAX).unwrap();
            // Unless a later header's version was hit, or a length: then more may come.
            if tamper(&mut server, &mut client, position).is_err() {
                let _ = client.deliver(&mut server, usize::MAX);
                assert!(server.session.common().is_handshaking(), "answer altered at {position}");
            }
        }
    }

    #[test]
    fn altered_records_are_never_handed_on() {
        let (mut client, mut server) = open();
        client.drive(Outgoing::Plain(&[1; 10])).unwrap();
        let len = client.outbox.pending().len();
        client.deliver(&mut server, usize::MAX).unwrap();
        for position in 0..8 * len {
            let (mut client, mut server) = open();
            client.drive(Outgoing::Plain(&[1; 10])).unwrap();
            // A length may have grown: then more may come.
            assert!(
                tamper(&mut client, &mut server, position).is_err() || matches!(position % len, 3 | 4),
                "{position}"
            );
            assert!(server.got.is_empty());
        }
    }

    #[test]
    fn a_goodbye_is_heard() {
        let (mut client, mut server) = open();
        client.drive(Outgoing::Plain(b"last")).unwrap();
        client.drive(Outgoing::CloseNotify).unwrap();
        client.deliver(&mut server, usize::MAX).unwrap();
        assert_eq!((server.got.as_slice(), server.session.peer_closed()), (&b"last"[..], true));
        assert!(!client.session.peer_closed());
        server.drive(Outgoing::CloseNotify).unwrap();
        server.deliver(&mut client, usize::MAX).unwrap();
        assert_eq!(client.drive(Outgoing::Nothing).unwrap(), Standing::Closed);
    }
}
