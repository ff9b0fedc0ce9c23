//! Vectors of frames: whole ones, damaged ones, and byte streams.

use super::{
    Wrong,
    case::{Case, Words, hold, same},
};
use symbolon_core::report::{
    Reason,
    frame::{Ack, DELIMITER, Damage, Decoder, Frame, Refuse},
};

/// Bytes of the longest frame here, on a byte stream too.
pub const FRAME_BYTES: usize = 320;

pub fn frame(case: &Case<'_>) -> Result<(), Wrong> {
    let mut head = case.head();
    let (mut header, mut sealed) = ([0; 80], [0; 256]);
    let frame = match head.word()? {
        "start" => Frame::Start {
            header: case.read("header", &mut header)?,
            enc: [case.bytes("enc0")?, case.bytes("enc1")?],
            tags: [case.bytes("tag0")?, case.bytes("tag1")?],
        },
        "report" => Frame::Report {
            header: case.read("header", &mut header)?,
            tags: [case.bytes("tag0")?, case.bytes("tag1")?],
            sealed: case.read("sealed", &mut sealed)?,
        },
        "ack" => Frame::Ack(Ack {
            server: head.number()?,
            device: head.number()?,
            boot: head.number()?,
            from: head.number()?,
            held: head.number()?,
            tag: case.bytes("tag")?,
        }),
        "refuse" => Frame::Refuse(Refuse {
            server: head.number()?,
            device: head.number()?,
            boot: head.number()?,
            sequence: head.number()?,
            reason: head.number()?,
            tag: case.bytes("tag")?,
        }),
        "reason" => return reason(&mut head),
        "damaged" => return damaged(case, head.word()?),
        "stream" => return stream(case),
        _ => return Err(Wrong::Vector),
    };
    whole(case, &frame)
}

/// Both ways, as a datagram and on a byte stream; and buffers that are a byte too short.
fn whole(case: &Case<'_>, frame: &Frame<'_>) -> Result<(), Wrong> {
    let (mut scratch, mut buffer) = ([0; FRAME_BYTES], [0; FRAME_BYTES]);
    let encoded = frame.encode(&mut buffer).map_err(|_| Wrong::Result)?;
    case.expect("datagram", encoded)?;
    hold(Frame::decode(encoded) == Ok(*frame))?;
    let len = encoded.len();
    hold(frame.encode(&mut scratch[..len - 1]) == Err(Damage::Long))?;

    let line = frame.encode_stream(&mut scratch[..len], &mut buffer).map_err(|_| Wrong::Result)?;
    case.expect("stream", line)?;
    let mut decoder = Decoder::<FRAME_BYTES>::new();
    let (delimiter, body) = line.split_last().ok_or(Wrong::Result)?;
    hold(*delimiter == DELIMITER && body.iter().all(|byte| decoder.push(*byte).is_none()))?;
    hold(decoder.push(*delimiter) == Some(Ok(*frame)))?;
    let len = line.len();
    hold(frame.encode_stream(&mut scratch, &mut buffer[..len - 1]) == Err(Damage::Long))
}

fn reason(head: &mut Words<'_>) -> Result<(), Wrong> {
    let (code, name) = (head.number()?, head.word()?);
    match Reason::from_code(code) {
        Some(reason) => hold(is_called(reason, name) && reason.code() == code),
        None => hold(name == "none"),
    }
}

/// Whether a reason has this name.
pub fn is_called(reason: Reason, name: &str) -> bool {
    struct Rest<'a>(&'a str);
    impl core::fmt::Write for Rest<'_> {
        fn write_str(&mut self, part: &str) -> core::fmt::Result {
            self.0 = self.0.strip_prefix(part).ok_or(core::fmt::Error)?;
            Ok(())
        }
    }
    let mut rest = Rest(name);
    core::fmt::write(&mut rest, format_args!("{reason}")).is_ok() && rest.0.is_empty()
}

fn name(damage: Damage) -> &'static str {
    match damage {
        Damage::Long => "long",
        Damage::Short => "short",
        Damage::Cobs => "cobs",
        Damage::Crc => "crc",
        Damage::Unknown => "unknown",
    }
}

fn damaged(case: &Case<'_>, wanted: &str) -> Result<(), Wrong> {
    let mut buffer = [0; FRAME_BYTES];
    match Frame::decode(case.read("datagram", &mut buffer)?) {
        Ok(_) => Err(Wrong::Result),
        Err(damage) => hold(name(damage) == wanted),
    }
}

fn stream(case: &Case<'_>) -> Result<(), Wrong> {
    let mut line = [0; 2 * FRAME_BYTES];
    let mut decoder = Decoder::<FRAME_BYTES>::new();
    let mut wanted = case.lines().filter(|(key, _)| *key != "bytes");
    for byte in case.read("bytes", &mut line)? {
        let Some(found) = decoder.push(*byte) else { continue };
        match (wanted.next().ok_or(Wrong::Result)?, found) {
            (("damage", wanted), Err(damage)) => hold(name(damage) == wanted)?,
            (("datagram", wanted), Ok(frame)) => {
                let mut again = [0; FRAME_BYTES];
                same(wanted, frame.encode(&mut again).map_err(|_| Wrong::Result)?)?;
            }
            _ => return Err(Wrong::Result),
        }
    }
    hold(wanted.next().is_none())
}
