//! IDX files: two zero bytes, an element type, the number of dimensions, their sizes (big-endian `u32`), the elements.

use super::array::{Array, Arrays, Element, Kind, fill};
use super::{DataError, Opener, ReadCounts, RecordBlocks, Source, array};
use crate::job::{Data, Idx};

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

/// Reads both sets.
pub(super) fn load(
    data: &Data,
    files: &Idx,
    open: Opener<'_>,
    [train, test]: [&mut RecordBlocks<'_>; 2],
) -> Result<[ReadCounts; 2], DataError> {
    let pair = |[features, labels]: [&String; 2]| {
        let (features, labels) = (self::open(open(features)?)?, self::open(open(labels)?)?);
        Ok(Arrays { features, labels, lengths: [None, None] })
    };
    let arrays = pair([&files.train_images, &files.train_labels])?;
    let train = array::load(data, train, (data.train_records, "data.train_records"), arrays)?;
    let arrays = pair([&files.test_images, &files.test_labels])?;
    Ok([train, array::load(data, test, (data.test_records, "data.test_records"), arrays)?])
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
