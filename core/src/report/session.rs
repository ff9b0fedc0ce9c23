//! One HPKE session a boot and server, from which all keys of that boot's reports come.
//!
//! HPKE (RFC 9180), DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, **mode Auth, export-only**. `info` is `"symbolon report v1"`, the server's index and the whole
//! [`StartHeader`]: device, boot, schema and keys are bound to every key. From the exporter (section 5.3):
//!
//! | context | key |
//! | --- | --- |
//! | `start` | 16 bytes that show the server that the device has the session |
//! | `seal` | ChaCha20-Poly1305 (RFC 8439) of this server's parts; nonce: the sequence number, 4 bytes little-endian, 8 zeros; associated data: the [`Header`] |
//! | `share` | server 0 alone: seed of the stream that is its share, addressed by the sequence number |
//! | `answer` | HMAC-SHA256 of the server's answers, cut to 16 bytes; of a query's name in whole: the key that seals the answer to it |
//!
//! HPKE's own `Seal` counts messages in order (section 5.2); reports are lost, reordered, and sent again. So they are sealed under an exported key, with
//! their sequence number as nonce. [`Sender::seal`] numbers a boot's reports from 1, each once, and the sealed bytes are kept to be sent again: a nonce, and a
//! stretch of server 0's stream, serve one record. A repeated boot number does no harm to secrecy: each start draws fresh encapsulated keys and a fresh
//! [`StartHeader::session`], by which servers tell one start's reports from another's.
//!
//! Queries ([`QUERY`]) have numbers of their own above those of reports, so none can be replayed as
//! the other, and no nonce or stretch serves both. The server's part of an answer is sealed by
//! ChaCha20-Poly1305 under a key of that query alone. HMAC is a pseudorandom function of messages
//! that begin with their kind, so this key is independent of all tags; and a device that never asks
//! has neither code nor memory for it. The nonce is drawn for each answer: a server that lost its
//! memory and evaluates a query again seals other words under another nonce.
//!
//! - **Authentication of devices:** mode Auth, not signatures: it needs no second algorithm in flash, costs a device one curve product a server and boot instead of a signature, and
//!   adds no byte; a server that forged reports could only lie to itself. Who steals a *server's* key, and has the line, can read and change that server's parts and forge its answers: records
//!   are then wrong, and what the device counts as stored may not be. The other server's shares stay secret. There is no forward secrecy towards servers.
//! - **Adversary:** malicious devices and lines; semi-honest servers.
//! - **Cost:** for a record of `n` bytes `n + 32` and the header; a boot: 165 bytes. Seven curve products at the device, its own public key among them; three at a server.
//! - **Timing:** free of secrets, as far as the cipher crates are.

use super::{
    Reason,
    frame::{Ack, Part, Predicted, Refuse, TAG_BYTES, Tag},
    header::{DeviceId, Header, HeaderBytes, QUERY, ReportId, StartHeader},
    identity::{Identity, Kem, PublicKey, SecretKey},
    record,
    schema::Layout,
};
use crate::prg::{ChaCha20Prg, MaskId, Seed};
use chacha20poly1305::{AeadInOut, ChaCha20Poly1305, KeyInit};
use hkdf::hmac::{Hmac, Mac};
use hpke::{
    Deserializable as _, HpkeError, OpModeR, OpModeS, Serializable as _, setup_receiver, setup_sender_with_rng,
};
use rand_core::CryptoRng;
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

type Kdf = hpke::kdf::HkdfSha256;
type Aead = hpke::aead::ExportOnlyAead;
type EncappedKey = <Kem as hpke::Kem>::EncappedKey;

const LABEL: &[u8] = b"symbolon report v1";
/// Binds the streams of shares to their use; the seed binds the rest.
const SHARES: &[u8; 16] = b"symbolon reports";

/// What both ends of a session have.
struct Keys {
    server: u8,
    start: Tag,
    seal: ChaCha20Poly1305,
    answer: AnswerKey,
}

#[derive(Zeroize, ZeroizeOnDrop)]
struct AnswerKey([u8; 32]);

/// Reads keys off a session's exporter.
type Export<'a> = &'a dyn Fn(&[u8], &mut [u8]) -> Result<(), HpkeError>;

impl Keys {
    fn new(server: u8, export: Export<'_>) -> Result<Self, HpkeError> {
        let (mut start, mut seal, mut answer) = ([0; TAG_BYTES], Zeroizing::new([0; 32]), AnswerKey([0; 32]));
        export(b"start", &mut start)?;
        export(b"seal", &mut *seal)?;
        export(b"answer", &mut answer.0)?;
        Ok(Self { server, start, seal: ChaCha20Poly1305::new((&*seal).into()), answer })
    }

    fn answer_tag(&self, message: &[u8]) -> Tag {
        let whole = self.answer_mac(message);
        let mut tag = [0; TAG_BYTES];
        tag.copy_from_slice(&whole[..TAG_BYTES]);
        tag
    }

    /// The cipher of the answer to a query.
    fn answer_seal(&self, query: &ReportId) -> ChaCha20Poly1305 {
        let mut message = [0; 18];
        (message[0], message[1]) = (2, self.server); // 0 and 1: `Ack`, `Refuse`
        message[2..].copy_from_slice(&query.to_bytes());
        ChaCha20Poly1305::new((&*Zeroizing::new(self.answer_mac(&message))).into())
    }

    fn answer_mac(&self, message: &[u8]) -> [u8; 32] {
        // HMAC fills a short key up with zeros to its block (RFC 2104).
        let mut key = Zeroizing::new([0; 64]);
        key[..32].copy_from_slice(&self.answer.0);
        let mut mac = <Hmac<Sha256> as KeyInit>::new((&*key).into());
        mac.update(message);
        mac.finalize().into_bytes().into()
    }
}

/// The stream of server 0's shares.
fn shares(export: Export<'_>) -> Result<ChaCha20Prg, HpkeError> {
    let mut seed = Zeroizing::new([0; 32]);
    export(b"share", &mut *seed)?;
    Ok(ChaCha20Prg::new(&Seed::from_bytes(&seed), SHARES))
}

/// A report's stretch of the stream of shares.
fn stretch(sequence: u32) -> MaskId {
    MaskId { lane: 0, request: sequence, part: 0 }
}

fn nonce(sequence: u32) -> chacha20poly1305::Nonce {
    let mut nonce = [0; 12];
    nonce[..4].copy_from_slice(&sequence.to_le_bytes());
    nonce.into()
}

/// `info` of the session with server `server`.
fn info(server: u8, header: &[u8; StartHeader::BYTES]) -> [u8; LABEL.len() + 1 + StartHeader::BYTES] {
    let mut info = [0; LABEL.len() + 1 + StartHeader::BYTES];
    info[..LABEL.len()].copy_from_slice(LABEL);
    info[LABEL.len()] = server;
    info[LABEL.len() + 1..].copy_from_slice(header);
    info
}

/// Why a device cannot start a session, or seal.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum SealError {
    /// A key that is none: the key file is wrong.
    Key,
    /// All sequence numbers of this boot are used: start again, with the next boot.
    Spent,
    /// The record is not as long as the schema says.
    Length,
}

impl core::fmt::Display for SealError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Key => "a server's key is none; provision the device again",
            Self::Spent => "all sequence numbers of this boot are used; start the device again",
            Self::Length => "the record is not as long as the schema says",
        })
    }
}

impl core::error::Error for SealError {}

/// What a device says at the start of its sessions. Public; kept to be said again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Start {
    /// Encoded [`StartHeader`].
    pub header: [u8; StartHeader::BYTES],
    /// HPKE's encapsulated keys.
    pub enc: [[u8; 32]; 2],
    /// Proofs.
    pub tags: [Tag; 2],
}

/// A device's end of its two sessions of one boot.
pub struct Sender {
    header: StartHeader,
    layout: Layout,
    keys: [Keys; 2],
    shares: ChaCha20Prg,
    /// The next report's number.
    next: u32,
    /// The last query's number.
    asked: u32,
}

/// What is sent of a report beside its header and sealed share.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Sealed {
    /// The header that is sealed.
    pub header: HeaderBytes,
    /// Number of the report.
    pub sequence: u32,
    /// Of each server's part.
    pub tags: [Tag; 2],
}

impl Sender {
    /// Starts both sessions, with 16 bytes of `rng` that name them and 32 for each server's encapsulated key. `boot` must be greater than any that this device used before; `rng` must be seeded by hardware or by the system.
    ///
    /// # Errors
    ///
    /// [`SealError::Key`].
    pub fn start(identity: &Identity, boot: u32, rng: &mut impl CryptoRng) -> Result<(Self, Start), SealError> {
        let keys = identity.servers.map(|server| server.id);
        let mut session = [0; 16];
        rng.fill_bytes(&mut session);
        let header = StartHeader { device: identity.device, boot, schema: identity.schema, keys, session };
        let bytes = header.to_bytes();
        let secret = identity.secret.hpke().ok_or(SealError::Key)?;
        let public = identity.secret.public().hpke().ok_or(SealError::Key)?;
        let mode = OpModeS::<Kem>::Auth((secret, public));
        let mut open = |server: u8| {
            let peer = identity.servers[usize::from(server)].key.hpke().ok_or(SealError::Key)?;
            let info = info(server, &bytes);
            let (enc, session) =
                setup_sender_with_rng::<Aead, Kdf, Kem>(&mode, &peer, &info, rng).map_err(|_| SealError::Key)?;
            let mut sent = [0; 32];
            enc.write_exact(&mut sent);
            let keys = Keys::new(server, &|context, out| session.export(context, out)).map_err(|_| SealError::Key)?;
            Ok((sent, keys, session))
        };
        let (enc0, keys0, session0) = open(0)?;
        let (enc1, keys1, _) = open(1)?;
        let shares = shares(&|context, out| session0.export(context, out)).map_err(|_| SealError::Key)?;
        let start = Start { header: bytes, enc: [enc0, enc1], tags: [keys0.start, keys1.start] };
        Ok((Self { header, layout: identity.layout, keys: [keys0, keys1], shares, next: 1, asked: QUERY }, start))
    }

    /// Whose sessions, of which boot.
    pub fn header(&self) -> &StartHeader {
        &self.header
    }

    /// Bytes of a record.
    pub fn record_bytes(&self) -> usize {
        self.layout.record_bytes()
    }

    /// Numbers, splits and seals a record of packed codes: what is left in place is server 1's sealed share.
    ///
    /// # Errors
    ///
    /// [`SealError::Length`], [`SealError::Spent`].
    #[inline(never)] // its instructions are counted
    pub fn seal(
        &mut self,
        time_ms: u64,
        dropped: u32,
        about: Option<ReportId>,
        record: &mut [u8],
    ) -> Result<Sealed, SealError> {
        if record.len() != self.record_bytes() {
            return Err(SealError::Length);
        }
        let sequence = self.next;
        if sequence >= QUERY {
            return Err(SealError::Spent);
        }
        self.next = sequence + 1;
        self.seal_as(sequence, (time_ms, dropped, about), record)
    }

    /// Numbers, splits and seals a record from which the servers are to predict: as [`Self::seal`].
    ///
    /// # Errors
    ///
    /// [`SealError::Length`], [`SealError::Spent`].
    pub fn seal_query(&mut self, time_ms: u64, record: &mut [u8]) -> Result<Sealed, SealError> {
        if record.len() != self.record_bytes() {
            return Err(SealError::Length);
        }
        self.asked = self.asked.checked_add(1).ok_or(SealError::Spent)?;
        self.seal_as(self.asked, (time_ms, 0, None), record)
    }

    /// Splits and seals the record of a number that no other record has.
    fn seal_as(
        &self,
        sequence: u32,
        (time_ms, dropped, about): (u64, u32, Option<ReportId>),
        record: &mut [u8],
    ) -> Result<Sealed, SealError> {
        let StartHeader { device, boot, .. } = self.header;
        let id = ReportId { device, boot, sequence };
        let header = Header { id, time_ms, dropped, about }.to_bytes();
        record::split(&self.layout, &self.shares, stretch(sequence), record);
        let seal = |keys: &Keys, part: &mut [u8]| {
            let tag = keys.seal.encrypt_inout_detached(&nonce(sequence), header.as_ref(), part.into());
            tag.map(Tag::from).map_err(|_| SealError::Length)
        };
        let [keys0, keys1] = &self.keys;
        Ok(Sealed { header, sequence, tags: [seal(keys0, &mut [])?, seal(keys1, record)?] })
    }

    /// Opens a server's part of the answer to a query of this boot into `part`. Returns whether it
    /// is authentic; `part` is meaningless if it is not.
    ///
    /// # Panics
    ///
    /// If `part` and the sealed words differ in length.
    pub fn open_answer(&self, answer: &Predicted<'_>, part: &mut [u8]) -> bool {
        let Some(keys) = self.keys.get(usize::from(answer.server)) else { return false };
        let StartHeader { device, boot, .. } = self.header;
        let seal = keys.answer_seal(&ReportId { device, boot, sequence: answer.sequence });
        part.copy_from_slice(answer.sealed);
        seal.decrypt_inout_detached(&answer.nonce.into(), &[], part.into(), &answer.tag.into()).is_ok()
    }

    /// Whether a server of this boot's sessions said so.
    pub fn is_authentic(&self, server: u8, message: &[u8], tag: &Tag) -> bool {
        self.keys.get(usize::from(server)).is_some_and(|keys| keys.answer_tag(message).ct_eq(tag).into())
    }
}

/// A server's end of a device's session of one boot.
pub struct Receiver {
    keys: Keys,
    /// Server 0's.
    shares: Option<ChaCha20Prg>,
    device: DeviceId,
    boot: u32,
}

impl Receiver {
    /// Accepts a start that was sealed to `secret`, the key of this server (0 or 1) that the header names, by the device whose key is `device_key`. Whether device, schema,
    /// key and boot are permitted is the caller's to check.
    ///
    /// # Errors
    ///
    /// [`Reason::OtherServer`], [`Reason::Forged`], and what [`StartHeader::parse`] finds.
    pub fn accept(server: u8, secret: &SecretKey, device_key: &PublicKey, start: &Part<'_>) -> Result<Self, Reason> {
        let Part::Start { server: to, header, enc, tag } = start else { return Err(Reason::Malformed) };
        if *to != server {
            return Err(Reason::OtherServer);
        }
        let header = StartHeader::parse(header)?;
        let forged = |_| Reason::Forged;
        let secret = secret.hpke().ok_or(Reason::Key)?;
        let mode = OpModeR::<Kem>::Auth(device_key.hpke().ok_or(Reason::Forged)?);
        let enc = EncappedKey::from_bytes(enc).map_err(forged)?;
        let info = info(server, &header.to_bytes());
        let session = setup_receiver::<Aead, Kdf, Kem>(&mode, &secret, &enc, &info).map_err(forged)?;
        let export: Export<'_> = &|context, out| session.export(context, out);
        let keys = Keys::new(server, export).map_err(forged)?;
        if !bool::from(keys.start.ct_eq(tag)) {
            return Err(Reason::Forged);
        }
        let shares = if server == 0 { Some(shares(export).map_err(forged)?) } else { None };
        Ok(Self { keys, shares, device: header.device, boot: header.boot })
    }

    /// Opens this server's part of a report into `share`, which is as long as the layout's records.
    ///
    /// # Errors
    ///
    /// [`Reason::OtherServer`], [`Reason::Length`], [`Reason::Forged`], and what [`Header::parse`] finds. `share` then holds nothing of use.
    pub fn open(&self, layout: &Layout, report: &Part<'_>, share: &mut [u8]) -> Result<Header, Reason> {
        let Part::Report { server, header: bytes, tag, sealed } = report else { return Err(Reason::Malformed) };
        if *server != self.keys.server {
            return Err(Reason::OtherServer);
        }
        let header = Header::parse(bytes)?;
        if header.id.device != self.device || header.id.boot != self.boot {
            return Err(Reason::NoSession);
        }
        let wanted = if self.shares.is_some() { 0 } else { layout.record_bytes() };
        if sealed.len() != wanted || share.len() != layout.record_bytes() {
            return Err(Reason::Length);
        }
        share[..wanted].copy_from_slice(sealed);
        let part = &mut share[..wanted];
        let sequence = header.id.sequence;
        let opened = self.keys.seal.decrypt_inout_detached(&nonce(sequence), bytes, part.into(), &(*tag).into());
        opened.map_err(|_| Reason::Forged)?;
        if let Some(stream) = &self.shares {
            record::expand(layout, stream, stretch(sequence), share);
        }
        Ok(header)
    }

    /// Says that the start, and the reports `from + i` for each bit `i` of `held`, are durably stored.
    pub fn ack(&self, from: u32, held: u64) -> Ack {
        let (server, device, boot) = (self.keys.server, self.device.0, self.boot);
        let mut ack = Ack { server, device, boot, from, held, tag: [0; TAG_BYTES] };
        ack.tag = self.keys.answer_tag(&ack.message());
        ack
    }

    /// Seals this server's part of the answer to query `sequence`, in place. A nonce is random and
    /// serves one part, however often that is sent.
    pub fn predicted<'a>(&self, sequence: u32, nonce: [u8; 12], part: &'a mut [u8]) -> Predicted<'a> {
        let (server, device, boot) = (self.keys.server, self.device, self.boot);
        let seal = self.keys.answer_seal(&ReportId { device, boot, sequence });
        let tag = seal.encrypt_inout_detached(&nonce.into(), &[], (&mut *part).into());
        // A part is far shorter than the cipher's limit; without its tag no device takes it.
        let tag = tag.map_or([0; TAG_BYTES], Tag::from);
        Predicted { server, device: device.0, boot, sequence, nonce, tag, sealed: part }
    }

    /// Says that a report of this session is not taken.
    pub fn refuse(&self, sequence: u32, reason: Reason) -> Refuse {
        let (server, device, boot) = (self.keys.server, self.device.0, self.boot);
        let mut refuse = Refuse { server, device, boot, sequence, reason: reason.code(), tag: [0; TAG_BYTES] };
        refuse.tag = self.keys.answer_tag(&refuse.message());
        refuse
    }
}
