//! IDX files: two zero bytes, an element type, the number of dimensions, their sizes (big-endian `u32`), the elements.

use super::array::{Array, Element, Kind, fill};
use super::{DataError, Source};

/// Element types of the format; all big-endian.
fn element(code: u8) -> Option<Element> {
    let kind = match code {
        0x08 => Kind::U8,
        0x09 => Kind::I8,
        0x0b => Kind::I16,
        0x0c => Kind::I32,
        0x0d => Kind::F32,
        0x0e => Kind::F64,
        _ => return None,
    };
    Some(Element { kind, big_endian: true })
}

/// Reads the header; memory for a record is taken with the first.
pub(crate) fn open(mut source: Source) -> Result<Array, DataError> {
    let mut magic = [0; 4];
    fill(&mut source, &mut magic, 0, 0)?;
    let element = match magic {
        [0, 0, code, 1..=8] => element(code),
        _ => None,
    };
    let Some(element) = element else {
        return Err(DataError::IdxMagic { path: source.path, got: magic });
    };
    let mut sizes = [0; 4 * 8];
    let sizes = &mut sizes[..4 * usize::from(magic[3])];
    fill(&mut source, sizes, 0, 0)?;
    let sizes: Vec<u64> = sizes.as_chunks::<4>().0.iter().map(|size| u64::from(u32::from_be_bytes(*size))).collect();
    Ok(Array::new(source, element, &sizes, false))
}
