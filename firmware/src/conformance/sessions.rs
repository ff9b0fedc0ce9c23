//! Vectors of sessions: a device and both servers, what they seal, answer and refuse.

use super::{
    Wrong,
    case::{Case, Words, hold},
    frames::{FRAME_BYTES, is_called},
    records::RECORD_BYTES,
};
use core::convert::Infallible;
use rand_core::{TryCryptoRng, TryRng};
use symbolon_core::report::{
    Reason,
    frame::{Frame, Part},
    header::{DeviceId, Header, ReportId, StartHeader},
    identity::{Identity, PublicKey, SecretKey},
    schema::Layout,
    session::{Receiver, SealError, Sender},
};

/// The device and the servers since the last `session`.
#[derive(Default)]
pub struct Sessions(Option<Session>);

struct Session {
    layout: Layout,
    secrets: [SecretKey; 2],
    sender: Sender,
    receivers: [Receiver; 2],
}

/// Plays given bytes in place of random ones; zeros at their end.
struct Given<'a>(&'a [u8]);

impl TryRng for Given<'_> {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        for out in out {
            *out = self.0.split_off_first().copied().unwrap_or(0);
        }
        Ok(())
    }
}

impl TryCryptoRng for Given<'_> {}

/// The frame that a vector names.
fn frame<'b>(case: &Case<'_>, buffer: &'b mut [u8; FRAME_BYTES]) -> Result<Frame<'b>, Wrong> {
    Frame::decode(case.read("frame", buffer)?).map_err(|_| Wrong::Vector)
}

/// Holds a frame against the one that a vector names.
fn expect(case: &Case<'_>, frame: &Frame<'_>) -> Result<(), Wrong> {
    let mut buffer = [0; FRAME_BYTES];
    case.expect("frame", frame.encode(&mut buffer).map_err(|_| Wrong::Result)?)
}

fn identity(case: &Case<'_>) -> Result<Identity, Wrong> {
    Identity::from_bytes(&case.bytes::<{ Identity::BYTES }>("file")?).map_err(|_| Wrong::Vector)
}

/// Holds a result against `ok` or the name of a reason.
fn verdict<T>(result: Result<T, Reason>, wanted: &str) -> Result<Option<T>, Wrong> {
    match result {
        Ok(value) => hold(wanted == "ok").map(|()| Some(value)),
        Err(reason) => hold(is_called(reason, wanted)).map(|()| None),
    }
}

impl Sessions {
    pub fn check(&mut self, case: &Case<'_>) -> Result<(), Wrong> {
        let mut head = case.head();
        let kind = head.word()?;
        match kind {
            "session" => {
                self.0 = None; // what follows fails if this does
                self.0 = Some(Session::start(case, head.number()?)?);
                return Ok(());
            }
            "no-session" => return no_session(case, head.word()?),
            _ => {}
        }
        let session = self.0.as_mut().ok_or(Wrong::Vector)?;
        match kind {
            "report" => session.report(case, &mut head),
            "no-report" => session.no_report(case, head.word()?),
            "accept" => session.accept(case, &mut head),
            "open" => session.open(case, &mut head),
            "ack" | "refuse" => session.says(case, kind, &mut head),
            "answer" => session.hears(case, &mut head),
            _ => Err(Wrong::Vector),
        }
    }
}

fn no_session(case: &Case<'_>, why: &str) -> Result<(), Wrong> {
    let random: [u8; 80] = case.bytes("random")?;
    let started = Sender::start(&identity(case)?, 1, &mut Given(&random));
    hold(why == "key" && matches!(started, Err(SealError::Key)))
}

impl Session {
    fn start(case: &Case<'_>, boot: u32) -> Result<Self, Wrong> {
        let (identity, random): (_, [u8; 80]) = (identity(case)?, case.bytes("random")?);
        let secrets = [SecretKey::from_bytes(&case.bytes("server0")?), SecretKey::from_bytes(&case.bytes("server1")?)];
        let started = Sender::start(&identity, boot, &mut Given(&random));
        let (sender, start) = started.map_err(|_| Wrong::Result)?;
        let frame = Frame::Start { header: &start.header, enc: start.enc, tags: start.tags };
        expect(case, &frame)?;
        let parts = frame.parts().ok_or(Wrong::Result)?;
        let device = identity.secret.public();
        let accept = |server: u8, part| {
            Receiver::accept(server, &secrets[usize::from(server)], &device, part).map_err(|_| Wrong::Result)
        };
        let receivers = [accept(0, &parts[0])?, accept(1, &parts[1])?];
        Ok(Self { layout: identity.layout, secrets, sender, receivers })
    }

    fn report(&mut self, case: &Case<'_>, head: &mut Words<'_>) -> Result<(), Wrong> {
        let (time_ms, dropped) = (head.number()?, head.number()?);
        let about = match head.bits() {
            Ok(device) => Some(ReportId { device: DeviceId(device), boot: head.number()?, sequence: head.number()? }),
            Err(_) => None,
        };
        let mut record = [0; RECORD_BYTES];
        let record = case.read("record", &mut record)?;
        let sealed = self.sender.seal(time_ms, dropped, about, record).map_err(|_| Wrong::Result)?;
        let frame = Frame::Report { header: sealed.header.as_ref(), tags: sealed.tags, sealed: record };
        expect(case, &frame)?;
        let parts = frame.parts().ok_or(Wrong::Result)?;
        let StartHeader { device, boot, .. } = *self.sender.header();
        let id = ReportId { device, boot, sequence: sealed.sequence };
        for ((receiver, part), key) in self.receivers.iter().zip(&parts).zip(["share0", "share1"]) {
            let mut share = [0; RECORD_BYTES];
            let share = &mut share[..self.layout.record_bytes()];
            let header = receiver.open(&self.layout, part, share).map_err(|_| Wrong::Result)?;
            hold(header == Header { id, time_ms, dropped, about })?;
            case.expect(key, share)?;
        }
        Ok(())
    }

    fn no_report(&mut self, case: &Case<'_>, why: &str) -> Result<(), Wrong> {
        let mut record = [0; RECORD_BYTES];
        let sealed = self.sender.seal(0, 0, None, case.read("record", &mut record)?);
        hold(why == "length" && sealed == Err(SealError::Length))
    }

    fn accept(&self, case: &Case<'_>, head: &mut Words<'_>) -> Result<(), Wrong> {
        let mut buffer = [0; FRAME_BYTES];
        let (server, part) = part(&frame(case, &mut buffer)?, head)?;
        let secret = self.secrets.get(usize::from(server)).ok_or(Wrong::Vector)?;
        let device = PublicKey(case.bytes("device-key")?);
        verdict(Receiver::accept(server, secret, &device, &part), head.word()?).map(|_| ())
    }

    fn open(&self, case: &Case<'_>, head: &mut Words<'_>) -> Result<(), Wrong> {
        let mut buffer = [0; FRAME_BYTES];
        let (server, part) = part(&frame(case, &mut buffer)?, head)?;
        let receiver = self.receivers.get(usize::from(server)).ok_or(Wrong::Vector)?;
        let mut share = [0; RECORD_BYTES];
        let share = &mut share[..self.layout.record_bytes()];
        match verdict(receiver.open(&self.layout, &part, share), head.word()?)? {
            Some(_) => case.expect("share", share),
            None => Ok(()),
        }
    }

    fn says(&self, case: &Case<'_>, kind: &str, head: &mut Words<'_>) -> Result<(), Wrong> {
        let receiver = self.receivers.get(head.number::<usize>()?).ok_or(Wrong::Vector)?;
        let number = head.number()?;
        if kind == "ack" {
            return expect(case, &Frame::Ack(receiver.ack(number, head.number()?)));
        }
        let name = head.word()?;
        let reason = Reason::ALL.into_iter().find(|reason| is_called(*reason, name)).ok_or(Wrong::Vector)?;
        expect(case, &Frame::Refuse(receiver.refuse(number, reason)))
    }

    fn hears(&self, case: &Case<'_>, head: &mut Words<'_>) -> Result<(), Wrong> {
        let mut buffer = [0; FRAME_BYTES];
        let server: u8 = head.number()?;
        let authentic = match frame(case, &mut buffer)? {
            Frame::Ack(ack) => self.sender.is_authentic(server, &ack.message(), &ack.tag),
            Frame::Refuse(no) => self.sender.is_authentic(server, &no.message(), &no.tag),
            _ => return Err(Wrong::Vector),
        };
        hold(head.word()? == if authentic { "authentic" } else { "forged" })
    }
}

/// The server that is given a part, and the part.
fn part<'b>(frame: &Frame<'b>, head: &mut Words<'_>) -> Result<(u8, Part<'b>), Wrong> {
    let server = head.number()?;
    let parts = frame.parts().ok_or(Wrong::Vector)?;
    Ok((server, *parts.get(head.number::<usize>()?).ok_or(Wrong::Vector)?))
}
