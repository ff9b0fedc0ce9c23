//! The fields of a record: names, widths, meaning; where each code stands; a hash that sessions bind.
//!
//! A *reading* is an unsigned code of 1, 8, 16 or 32 bits and stands for `offset + step * code`, in its unit. A *label* is an index of up to 8 bits; codes
//! past the last class are no class. A record holds its codes packed, little-endian: all readings of 32 bits, of 16, of 8, the labels (a byte
//! each), then the readings of one bit, from each byte's lowest bit up; within a width in the order of the fields.

use sha2::{Digest, Sha256};

/// Labels that a record may have.
pub const MAX_LABELS: usize = 4;
/// Bytes of the longest record.
pub const MAX_RECORD_BYTES: usize = 4096;

/// Names a schema: devices, servers and jobs that agree on it agree on every field.
pub type SchemaHash = [u8; 32];

/// What a record holds. Public.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schema<'a> {
    /// Name of the task that the records are for.
    pub task: &'a str,
    /// The fields.
    pub fields: &'a [Field<'a>],
}

/// A field: one code, or several of a kind in a row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Field<'a> {
    /// Its name.
    pub name: &'a str,
    /// How many codes, at least one.
    pub count: u16,
    /// What they are.
    pub kind: Kind<'a>,
}

/// What a code stands for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind<'a> {
    /// A measured value, `offset + step * code`.
    Reading {
        /// Bits of the code.
        width: Width,
        /// Value of code 0.
        offset: f64,
        /// From one code to the next.
        step: f64,
        /// Of the value.
        unit: &'a str,
    },
    /// An index of a class.
    Label {
        /// Bits of the code, 1 to 8.
        bits: u8,
        /// Classes; codes from here on are none.
        classes: u16,
    },
}

/// Bits of a reading.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Width {
    /// Yes or no.
    Bit,
    /// 8 bits.
    Byte,
    /// 16 bits.
    Half,
    /// 32 bits.
    Word,
}

impl Width {
    /// The width of `bits` bits.
    pub const fn of(bits: u32) -> Option<Self> {
        match bits {
            1 => Some(Self::Bit),
            8 => Some(Self::Byte),
            16 => Some(Self::Half),
            32 => Some(Self::Word),
            _ => None,
        }
    }

    /// Its bits.
    pub const fn bits(self) -> u32 {
        match self {
            Self::Bit => 1,
            Self::Byte => 8,
            Self::Half => 16,
            Self::Word => 32,
        }
    }
}

/// What is wrong with a schema.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum SchemaError {
    /// It has no field.
    Empty,
    /// Field `field` has no code, or a label that is repeated.
    Count {
        /// Which, from 0.
        field: usize,
    },
    /// A label of no bits, more than 8, or with fewer codes than classes.
    Label {
        /// Which, from 0.
        field: usize,
    },
    /// Offset or step is no number, or the step is 0.
    Scale {
        /// Which, from 0.
        field: usize,
    },
    /// More than [`MAX_LABELS`].
    Labels,
    /// A record would be longer than [`MAX_RECORD_BYTES`].
    Long,
}

impl core::fmt::Display for SchemaError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Empty => f.write_str("a schema needs a field"),
            Self::Count { field } => write!(f, "field {field}: a count is at least 1, and 1 for a label"),
            Self::Label { field } => write!(f, "field {field}: a label has 1 to 8 bits and 2 to 2^bits classes"),
            Self::Scale { field } => write!(f, "field {field}: offset and step must be finite, and the step not 0"),
            Self::Labels => write!(f, "a record has at most {MAX_LABELS} labels"),
            Self::Long => write!(f, "a record has at most {MAX_RECORD_BYTES} bytes"),
        }
    }
}

impl core::error::Error for SchemaError {}

impl Schema<'_> {
    /// SHA-256 of everything that the schema says: `symbolon schema v1`, the task, then each field's name, count (2 bytes), and for a reading 0, width (4), bits of
    /// offset and step as doubles (8 each) and unit; for a label 1, bits (1), classes (2). Little-endian; texts after their length (8 bytes).
    pub fn hash(&self) -> SchemaHash {
        let mut hash = Sha256::new_with_prefix(b"symbolon schema v1");
        let text = |hash: &mut Sha256, text: &str| {
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text);
        };
        text(&mut hash, self.task);
        for field in self.fields {
            text(&mut hash, field.name);
            hash.update(field.count.to_le_bytes());
            match field.kind {
                Kind::Reading { width, offset, step, unit } => {
                    hash.update([0]);
                    hash.update(width.bits().to_le_bytes());
                    hash.update(offset.to_bits().to_le_bytes());
                    hash.update(step.to_bits().to_le_bytes());
                    text(&mut hash, unit);
                }
                Kind::Label { bits, classes } => {
                    hash.update([1, bits]);
                    hash.update(classes.to_le_bytes());
                }
            }
        }
        hash.finalize().into()
    }

    /// Checks the schema and says how its records are laid out.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong.
    pub fn layout(&self) -> Result<Layout, SchemaError> {
        let mut layout = Layout::default();
        if self.fields.is_empty() {
            return Err(SchemaError::Empty);
        }
        let mut labels = layout.labels.iter_mut();
        for (i, field) in self.fields.iter().enumerate() {
            if field.count == 0 {
                return Err(SchemaError::Count { field: i });
            }
            match field.kind {
                Kind::Reading { width, offset, step, .. } => {
                    if !offset.is_finite() || !step.is_finite() || step == 0.0 {
                        return Err(SchemaError::Scale { field: i });
                    }
                    let codes = match width {
                        Width::Word => &mut layout.words,
                        Width::Half => &mut layout.halves,
                        Width::Byte => &mut layout.bytes,
                        Width::Bit => &mut layout.bits,
                    };
                    *codes = codes.checked_add(field.count).ok_or(SchemaError::Long)?;
                }
                Kind::Label { bits, classes } => {
                    if field.count != 1 {
                        return Err(SchemaError::Count { field: i });
                    }
                    if bits == 0 || bits > 8 || classes < 2 || u32::from(classes) > 1 << bits {
                        return Err(SchemaError::Label { field: i });
                    }
                    *labels.next().ok_or(SchemaError::Labels)? = bits;
                }
            }
        }
        if layout.record_bytes() > MAX_RECORD_BYTES {
            return Err(SchemaError::Long);
        }
        Ok(layout)
    }

    /// Where the first code of field `field` stands and how wide each is; the others of the field follow it. `None` if there is no such field, or if
    /// the schema has no layout.
    pub fn place(&self, field: usize) -> Option<Place> {
        let layout = self.layout().ok()?;
        let wanted = self.fields.get(field)?;
        let before = self.fields[..field].iter();
        let same = before.filter(|f| match (f.kind, wanted.kind) {
            (Kind::Reading { width: a, .. }, Kind::Reading { width: b, .. }) => a == b,
            (Kind::Label { .. }, Kind::Label { .. }) => true,
            _ => false,
        });
        let earlier: usize = same.map(|f| usize::from(f.count)).sum();
        let regions = layout.regions();
        let (region, bits, stride) = match wanted.kind {
            Kind::Reading { width: Width::Word, .. } => (0, 32, 32),
            Kind::Reading { width: Width::Half, .. } => (1, 16, 16),
            Kind::Reading { width: Width::Byte, .. } => (2, 8, 8),
            Kind::Label { bits, .. } => (3, u32::from(bits), 8),
            Kind::Reading { width: Width::Bit, .. } => (4, 1, 1),
        };
        Some(Place { at_bit: 8 * regions[region].start + earlier * stride, bits, count: usize::from(wanted.count) })
    }
}

/// Where codes of a field stand in a record.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Place {
    /// First bit of the first code, counted from the lowest bit of the record's first byte.
    pub at_bit: usize,
    /// Bits of a code.
    pub bits: u32,
    /// Codes, each after the other.
    pub count: usize,
}

/// How many codes of each width a record has: all that a device needs to know of a schema.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Layout {
    /// Readings of 32 bits.
    pub words: u16,
    /// Readings of 16 bits.
    pub halves: u16,
    /// Readings of 8 bits.
    pub bytes: u16,
    /// Bits of each label; 0 where there is none (any more).
    pub labels: [u8; MAX_LABELS],
    /// Readings of one bit.
    pub bits: u16,
}

impl Layout {
    /// Bytes of an encoded layout.
    pub const ENCODED_BYTES: usize = 8 + MAX_LABELS;

    /// Byte ranges of the readings of 32, 16 and 8 bits, the labels, and the readings of one bit.
    pub fn regions(&self) -> [core::ops::Range<usize>; 5] {
        let labels = self.labels.iter().take_while(|bits| **bits != 0).count();
        let [words, halves, bytes, bits] = [self.words, self.halves, self.bytes, self.bits].map(usize::from);
        let mut at = 0;
        [4 * words, 2 * halves, bytes, labels, bits.div_ceil(8)].map(|len| {
            at += len;
            at - len..at
        })
    }

    /// Bytes of a record.
    pub fn record_bytes(&self) -> usize {
        let [.., last] = self.regions();
        last.end
    }

    /// For the key file: counts of readings of 32, 16, 8 bits and 1 bit (2 bytes each, little-endian), then the bits of each label.
    pub fn to_bytes(&self) -> [u8; Self::ENCODED_BYTES] {
        let mut out = [0; Self::ENCODED_BYTES];
        for (out, n) in out.chunks_exact_mut(2).zip([self.words, self.halves, self.bytes, self.bits]) {
            out.copy_from_slice(&n.to_le_bytes());
        }
        out[8..].copy_from_slice(&self.labels);
        out
    }

    /// From the key file; `None` if no schema has this layout.
    pub fn from_bytes(bytes: &[u8; Self::ENCODED_BYTES]) -> Option<Self> {
        let n = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        let mut labels = [0; MAX_LABELS];
        labels.copy_from_slice(&bytes[8..]);
        let layout = Self { words: n(0), halves: n(2), bytes: n(4), bits: n(6), labels };
        let ended = labels.iter().skip_while(|bits| **bits != 0).all(|bits| *bits == 0);
        let fits = labels.iter().all(|bits| *bits <= 8) && (1..=MAX_RECORD_BYTES).contains(&layout.record_bytes());
        (ended && fits).then_some(layout)
    }
}
