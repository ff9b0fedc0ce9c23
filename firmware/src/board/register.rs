//! Device registers.

#![allow(unsafe_code)]

use core::marker::PhantomData;

/// A device register of type `T` at a fixed address. For boards alone, and only for addresses of their own devices.
#[derive(Clone, Copy)]
pub(super) struct Register<T>(usize, PhantomData<fn(T)>);

impl<T: Copy> Register<T> {
    pub(super) const fn at(address: usize) -> Self {
        Self(address, PhantomData)
    }
    pub(super) fn read(self) -> T {
        // SAFETY: boards make registers of their devices' addresses alone, which any value may be read from.
        unsafe { core::ptr::with_exposed_provenance::<T>(self.0).read_volatile() }
    }
    pub(super) fn write(self, value: T) {
        // SAFETY: as above; no memory that Rust knows lies there.
        unsafe { core::ptr::with_exposed_provenance_mut::<T>(self.0).write_volatile(value) }
    }
}
