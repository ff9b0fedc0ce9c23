//! Vectors of schemas, records and key files.

use super::{
    Wrong,
    case::{Case, Words, hold},
};
use symbolon_core::{
    prg::{ChaCha20Prg, MaskId, Seed},
    report::{
        header::DeviceId,
        identity::{Identity, IdentityError, PublicKey, SecretKey, ServerKey},
        record,
        schema::{Field, Kind, Layout, Place, Schema, SchemaError, Width},
        window::Window,
    },
};

/// Bytes of the longest record.
pub const RECORD_BYTES: usize = 384;
/// Fields of the largest schema.
const FIELDS: usize = 8;

pub fn schema(case: &Case<'_>) -> Result<(), Wrong> {
    let empty = Field { name: "", count: 0, kind: Kind::Label { bits: 0, classes: 0 } };
    let (mut fields, mut len) = ([empty; FIELDS], 0);
    for line in case.each("field") {
        *fields.get_mut(len).ok_or(Wrong::Vector)? = field(line)?;
        len += 1;
    }
    let schema = Schema { task: case.get("task")?, fields: &fields[..len] };
    case.expect("hash", &schema.hash())?;
    let layout = match schema.layout() {
        Ok(layout) => layout,
        Err(error) => return refused(case, error),
    };
    case.expect("layout", &layout.to_bytes())?;
    hold(Layout::from_bytes(&layout.to_bytes()) == Some(layout))?;
    let mut places = 0;
    for line in case.each("place") {
        let mut words = Words::of(line);
        let field = words.number()?;
        let place = Place { at_bit: words.number()?, bits: words.number()?, count: words.number()? };
        hold(schema.place(field) == Some(place))?;
        places += 1;
    }
    hold(places == len && schema.place(len).is_none())
}

/// `NAME COUNT reading WIDTH OFFSET STEP [UNIT]` or `NAME COUNT label BITS CLASSES`.
fn field(line: &str) -> Result<Field<'_>, Wrong> {
    let mut words = Words::of(line);
    let (name, count) = (words.word()?, words.number()?);
    let kind = match words.word()? {
        "reading" => Kind::Reading {
            width: Width::of(words.number()?).ok_or(Wrong::Vector)?,
            offset: f64::from_bits(words.bits()?),
            step: f64::from_bits(words.bits()?),
            unit: words.word().unwrap_or(""),
        },
        "label" => Kind::Label { bits: words.number()?, classes: words.number()? },
        _ => return Err(Wrong::Vector),
    };
    Ok(Field { name, count, kind })
}

fn refused(case: &Case<'_>, error: SchemaError) -> Result<(), Wrong> {
    let (name, field) = match error {
        SchemaError::Empty => ("empty", None),
        SchemaError::Count { field } => ("count", Some(field)),
        SchemaError::Label { field } => ("label", Some(field)),
        SchemaError::Scale { field } => ("scale", Some(field)),
        SchemaError::Labels => ("labels", None),
        SchemaError::Long => ("long", None),
    };
    let mut wanted = Words::of(case.get("error").map_err(|_| Wrong::Result)?);
    hold(wanted.word()? == name && wanted.number().ok() == field)
}

pub fn record(case: &Case<'_>) -> Result<(), Wrong> {
    let layout = Layout::from_bytes(&case.bytes("layout")?).ok_or(Wrong::Vector)?;
    let (mut first, mut second) = ([0; RECORD_BYTES], [0; RECORD_BYTES]);
    let len = layout.record_bytes();
    let first = first.get_mut(..len).ok_or(Wrong::Vector)?;
    match case.head().word()? {
        "pack" => {
            for line in case.each("code") {
                let mut words = Words::of(line);
                let (at_bit, bits) = (words.number()?, words.number()?);
                let code = u32::try_from(words.bits()?).map_err(|_| Wrong::Vector)?;
                record::put(first, at_bit, bits, code);
                hold(record::get(first, at_bit, bits) == code)?;
            }
            case.expect("record", first)
        }
        "split" => {
            let stream = ChaCha20Prg::new(&Seed::from_bytes(&case.bytes("seed")?), &case.bytes("session")?);
            let id = MaskId { lane: 0, request: Words::of(case.get("request")?).number()?, part: 0 };
            let second = case.read("record", &mut second)?;
            hold(second.len() == len)?;
            record::split(&layout, &stream, id, second);
            case.expect("share1", second)?;
            record::expand(&layout, &stream, id, first);
            case.expect("share0", first)?;
            record::join(&layout, first, second);
            case.expect("record", first)
        }
        "join" => {
            case.read("ours", first)?;
            let second = case.read("theirs", &mut second)?;
            hold(second.len() == len)?;
            record::join(&layout, first, second);
            case.expect("record", first)
        }
        _ => Err(Wrong::Vector),
    }
}

pub fn window(case: &Case<'_>) -> Result<(), Wrong> {
    hold(case.head().word()? == "window")?;
    let (mut window, mut codes) = (Window::<6, 128>::new(), None);
    for line in case.each("row") {
        let row: [u8; 12] = Words::of(line).bytes()?;
        let mut samples = [0; 6];
        for (sample, word) in samples.iter_mut().zip(row.as_chunks().0) {
            *sample = i16::from_le_bytes(*word);
        }
        codes = window.push(&samples);
    }
    let mut features = [[0; 2]; 30];
    for (word, code) in features.iter_mut().zip(codes.ok_or(Wrong::Vector)?.as_flattened()) {
        *word = code.to_le_bytes();
    }
    case.expect("features", features.as_flattened())
}

pub fn identity(case: &Case<'_>) -> Result<(), Wrong> {
    let mut head = case.head();
    let mut file = [0; Identity::BYTES + 1];
    let file = case.read("file", &mut file)?;
    let found = Identity::from_bytes(file);
    match head.word()? {
        "key-file" => {
            let mut servers = case.each("server").map(|line| {
                let mut words = Words::of(line);
                Ok(ServerKey { id: words.number()?, key: PublicKey(words.bytes()?) })
            });
            let mut server = || servers.next().ok_or(Wrong::Vector)?;
            let wanted = Identity {
                device: DeviceId(head.bits()?),
                secret: SecretKey::from_bytes(&case.bytes("secret")?),
                schema: case.bytes("schema")?,
                layout: Layout::from_bytes(&case.bytes("layout")?).ok_or(Wrong::Vector)?,
                servers: [server()?, server()?],
            };
            case.expect("file", &wanted.to_bytes())?;
            case.expect("public", &wanted.secret.public().0)?;
            let found = found.map_err(|_| Wrong::Result)?;
            case.expect("file", &found.to_bytes())?;
            hold(found.device == wanted.device && found.layout == wanted.layout && found.servers == wanted.servers)
        }
        "no-key-file" => {
            let why = match found {
                Ok(_) => return Err(Wrong::Result),
                Err(IdentityError::Length) => "length",
                Err(IdentityError::Magic) => "magic",
                Err(IdentityError::Crc) => "crc",
                Err(IdentityError::Layout) => "layout",
            };
            hold(case.get("why")? == why)
        }
        _ => Err(Wrong::Vector),
    }
}
