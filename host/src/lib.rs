//! Symbolon on the host.
