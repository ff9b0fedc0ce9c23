//! Height and width as one number or two, and the windows that they make.

use super::{Misfit, Shape, between};
use crate::kernel::Windows;
use core::fmt;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Height and width. In files one number stands for both.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Size(pub [u16; 2]);

impl Size {
    /// One unit each way.
    pub const ONE: Self = Self([1; 2]);
    /// No unit either way.
    pub const ZERO: Self = Self([0; 2]);

    /// From larger numbers.
    pub(super) fn of([height, width]: [u32; 2]) -> Result<Self, Misfit> {
        let number = |key, got: u32| u16::try_from(got).map_err(|_| Misfit::Number { key, got, min: 1, max: MAX });
        Ok(Self([number("height", height)?, number("width", width)?]))
    }

    fn words(self) -> [usize; 2] {
        self.0.map(usize::from)
    }

    fn numbers(self) -> [u32; 2] {
        self.0.map(u32::from)
    }
}

/// The largest height or width.
const MAX: u32 = u16::MAX as u32;

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self([height, width]) = self;
        if serializer.is_human_readable() && height == width {
            return height.serialize(serializer);
        }
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            return deserializer.deserialize_any(OneOrTwo);
        }
        <[u16; 2]>::deserialize(deserializer).map(Self)
    }
}

/// Reads a number or a list of two.
struct OneOrTwo;

impl<'de> de::Visitor<'de> for OneOrTwo {
    type Value = Size;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number up to 65535, or a list of two: height and width")
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Size, E> {
        let number = u16::try_from(number).map_err(|_| E::invalid_value(de::Unexpected::Unsigned(number), &self))?;
        Ok(Size([number; 2]))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Size, E> {
        match u64::try_from(number) {
            Ok(number) => self.visit_u64(number),
            Err(_) => Err(E::invalid_value(de::Unexpected::Signed(number), &self)),
        }
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut list: A) -> Result<Size, A::Error> {
        let mut next = |at| list.next_element()?.ok_or_else(|| de::Error::invalid_length(at, &"two numbers"));
        Ok(Size([next(0)?, next(1)?]))
    }
}

#[cfg(feature = "files")]
impl schemars::JsonSchema for Size {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Size".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let (one, two) = (generator.subschema_for::<u16>(), generator.subschema_for::<[u16; 2]>());
        schemars::json_schema!({ "anyOf": [one, two] })
    }
}

/// Windows over images of the shape `input`.
pub(super) fn windows(input: Shape, window: Size, stride: Size, padding: Size) -> Result<Windows, Misfit> {
    for (number, stride) in window.numbers().into_iter().zip(stride.numbers()) {
        between("window", number, 1, MAX)?;
        between("stride", stride, 1, MAX)?;
    }
    for (padding, window) in padding.numbers().into_iter().zip(window.numbers()) {
        between("padding", padding, 0, window - 1)?;
    }
    let image = input.image();
    let ([height, width], [above, beside]) = ([input.0[1], input.0[2]], padding.numbers());
    let padded = Shape([input.0[0], height.saturating_add(2 * above), width.saturating_add(2 * beside)]);
    let numbers = window.numbers();
    if numbers[0] > padded.0[1] || numbers[1] > padded.0[2] {
        return Err(Misfit::Window { window: numbers, got: padded });
    }
    Ok(Windows {
        channels: input.channels(),
        image,
        window: window.words(),
        stride: stride.words(),
        padding: padding.words(),
    })
}

/// The shape of `channels` words a window.
pub(super) fn output(channels: u32, windows: &Windows) -> Shape {
    let [down, across] = windows.output().map(|n| u32::try_from(n).unwrap_or(u32::MAX));
    Shape([channels, down, across])
}
