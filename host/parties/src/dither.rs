//! Lets the clear engine round as two servers did.
//!
//! The dither of a truncation is what server 0 drops of its share. The clear engine has no shares:
//! it draws its own, the bits of a mask that hide nothing.
//! [`DitherRecorder`] stores what server 0 drops in [`Dithers`], under the names of masks, and
//! [`DitherReplay`] writes it into the clear engine's masks. The protocols have no part in it:
//! server 0 runs on streams that record which mask was expanded last, and on kernels that record
//! what is dropped.

use std::{
    cell::Cell,
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};
use symbolon_core::{
    correlation::{Correlations, Draw, Request, View},
    kernel::Kernels,
    link::Error,
    prg::{MaskId, Prg},
    with_kernels,
    word::Word,
};

thread_local! {
    /// The mask that this thread expanded last.
    static LAST: Cell<MaskId> = const { Cell::new(MaskId { lane: 0, request: 0, part: 0 }) };
}

/// Bits that server 0 dropped of each word, under the name of the mask that hid the rest.
#[derive(Debug, Default)]
pub struct Dithers(Mutex<HashMap<MaskId, Dropped>>);

/// Bits of each word.
#[derive(Debug)]
struct Dropped {
    bits: u32,
    words: Vec<u64>,
}

impl Dithers {
    fn of_masks(&self) -> MutexGuard<'_, HashMap<MaskId, Dropped>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All that was dropped of words of which `bits` bits were, in no order.
    #[must_use]
    pub fn of(&self, bits: u32) -> Vec<u64> {
        self.of_masks().values().filter(|dropped| dropped.bits == bits).flat_map(|d| d.words.iter().copied()).collect()
    }
}

/// Server 0's streams.
pub struct MaskTracker<'a>(pub &'a dyn Prg);

impl Prg for MaskTracker<'_> {
    fn fill_bytes(&self, id: MaskId, at: u64, out: &mut [u8]) {
        LAST.set(id);
        self.0.fill_bytes(id, at, out);
    }
}

/// Server 0's kernels.
pub struct DitherRecorder<'a, W> {
    /// The kernels that compute.
    pub inner: &'a dyn Kernels<W>,
    /// Where to write.
    pub dithers: &'a Dithers,
}

impl<W: Word> DitherRecorder<'_, W> {
    fn record(&self, z: &[W], offset: W, bits: u32) {
        let dropped = |z: &W| number(z.add(offset).and(W::low_mask(bits)));
        if bits > 0 {
            let dropped = Dropped { bits, words: z.iter().map(dropped).collect() };
            self.dithers.of_masks().insert(LAST.get(), dropped);
        }
    }
}

fn number<W: Word>(word: W) -> u64 {
    let mut bytes = [0; 8];
    let word = [word];
    bytes[..W::bytes(&word).len()].copy_from_slice(W::bytes(&word));
    u64::from_le_bytes(bytes)
}

/// Records the arguments of `blind`, and nothing of other kernels.
macro_rules! look {
    ($self:ident blind $c:ident $z:ident $offset:ident $shift:ident) => {
        $self.record($z, $offset, $shift)
    };
    ($self:ident $name:ident $($arg:ident)*) => {};
}

macro_rules! define {
    ($(fn $name:ident($($arg:ident: $ty:ty),*);)*) => {
        impl<W: Word> Kernels<W> for DitherRecorder<'_, W> {
            $(fn $name(&self, $($arg: $ty),*) {
                look!(self $name $($arg)*);
                self.inner.$name($($arg),*);
            })*
        }
    };
}
with_kernels!(define);

/// The clear engine's source, with the servers' dithers.
pub struct DitherReplay<'a, C> {
    /// Whole masks.
    pub inner: C,
    /// Bits that server 0 dropped.
    pub dithers: &'a Dithers,
}

impl<W: Word, C: Correlations<W>> Correlations<W> for DitherReplay<'_, C> {
    fn draw(&mut self) -> Result<Draw, Error> {
        self.inner.draw()
    }
    fn expand(&self, view: View<'_>, out: &mut [W]) {
        self.inner.expand(view, out);
        let masks = self.dithers.of_masks();
        let Some(Dropped { bits, words }) = masks.get(&view.id) else { return };
        let places =
            view.rows.iter().flat_map(|row| view.at + row * view.stride..view.at + row * view.stride + view.cols);
        let low = W::low_mask(W::BITS - bits);
        for (out, at) in out.iter_mut().zip(places) {
            *out = out.and(low).or(W::from_u64(words[at]).shl(W::BITS - bits));
        }
    }
    fn expand_bits(&self, view: View<'_>, out: &mut [W]) {
        self.inner.expand_bits(view, out);
    }
    fn take(
        &mut self,
        draw: &mut Draw,
        request: &Request<'_>,
        out: &mut [&mut [W]],
        scratch: &mut [W],
    ) -> Result<(), Error> {
        self.inner.take(draw, request, out, scratch)
    }
}
