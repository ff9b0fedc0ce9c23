//! Constants of a graph that is read.

use super::{
    OnnxError,
    proto::{TensorProto, data_type},
};

/// A constant tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct Constant {
    pub(super) dims: Vec<usize>,
    pub(super) values: Values,
}

/// The elements of a constant.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// Floats; doubles are rounded to them.
    Floats(Vec<f32>),
    /// Integers and truth values.
    Ints(Vec<i64>),
    /// Texts, of classes.
    Texts(Vec<String>),
}

impl Values {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Floats(values) => values.len(),
            Self::Ints(values) => values.len(),
            Self::Texts(values) => values.len(),
        }
    }
}

impl Constant {
    /// Reads a tensor.
    ///
    /// # Errors
    ///
    /// [`OnnxError::External`], [`OnnxError::Tensor`].
    #[allow(clippy::cast_possible_truncation)] // doubles are rounded to 32-bit floats
    pub(super) fn read(tensor: &TensorProto) -> Result<Self, OnnxError> {
        let fault = || OnnxError::Tensor { tensor: tensor.name.clone() };
        if tensor.data_location != 0 {
            return Err(OnnxError::External { tensor: tensor.name.clone() });
        }
        let dims: Vec<usize> =
            tensor.dims.iter().map(|dim| usize::try_from(*dim)).collect::<Result<_, _>>().map_err(|_| fault())?;
        let raw = tensor.raw_data.as_deref().filter(|raw| !raw.is_empty());
        let ints = |values: &[i32]| values.iter().copied().map(i64::from).collect();
        let values = match (tensor.data_type, raw) {
            (data_type::FLOAT, None) => Values::Floats(tensor.float_data.clone()),
            (data_type::FLOAT, Some(raw)) => Values::Floats(words(raw, f32::from_le_bytes).ok_or_else(fault)?),
            (data_type::DOUBLE, None) => Values::Floats(tensor.double_data.iter().map(|x| *x as f32).collect()),
            (data_type::DOUBLE, Some(raw)) => {
                Values::Floats(words(raw, |bytes| f64::from_le_bytes(bytes) as f32).ok_or_else(fault)?)
            }
            (data_type::INT64, None) => Values::Ints(tensor.int64_data.clone()),
            (data_type::INT64, Some(raw)) => Values::Ints(words(raw, i64::from_le_bytes).ok_or_else(fault)?),
            (data_type::INT32 | data_type::BOOL, None) => Values::Ints(ints(&tensor.int32_data)),
            (data_type::INT32, Some(raw)) => {
                Values::Ints(words(raw, |bytes| i32::from_le_bytes(bytes).into()).ok_or_else(fault)?)
            }
            (data_type::BOOL, Some(raw)) => Values::Ints(raw.iter().copied().map(i64::from).collect()),
            (data_type::STRING, None) => Values::Texts(texts(&tensor.string_data)),
            _ => return Err(fault()),
        };
        let want = dims.iter().try_fold(1usize, |n, dim| n.checked_mul(*dim));
        if want != Some(values.len()) {
            return Err(fault());
        }
        Ok(Self { dims, values })
    }

    pub(super) fn floats(&self) -> Option<&[f32]> {
        match &self.values {
            Values::Floats(values) => Some(values),
            _ => None,
        }
    }

    pub(super) fn ints(&self) -> Option<&[i64]> {
        match &self.values {
            Values::Ints(values) => Some(values),
            _ => None,
        }
    }

    /// The one float that the constant is.
    pub(super) fn one(&self) -> Option<f32> {
        match self.floats() {
            Some(&[value]) => Some(value),
            _ => None,
        }
    }

    /// The rows of a matrix as columns.
    pub(super) fn transposed(&self) -> Option<Self> {
        let (&[rows, cols], values) = (&self.dims[..], self.floats()?) else { return None };
        let values = (0..cols).flat_map(|col| values.iter().skip(col).step_by(cols.max(1)).copied()).collect();
        Some(Self { dims: vec![cols, rows], values: Values::Floats(values) })
    }
}

/// Bytes as texts.
pub fn texts(strings: &[prost::bytes::Bytes]) -> Vec<String> {
    strings.iter().map(|text| String::from_utf8_lossy(text).into_owned()).collect()
}

fn words<const N: usize, T>(raw: &[u8], word: impl Fn([u8; N]) -> T) -> Option<Vec<T>> {
    let (words, rest) = raw.as_chunks::<N>();
    rest.is_empty().then(|| words.iter().map(|bytes| word(*bytes)).collect())
}
