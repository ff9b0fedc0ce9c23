//! Maximum (in progress).
