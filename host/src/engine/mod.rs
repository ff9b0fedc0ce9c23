//! The engines: secure, clear and dry. All run the same job code ([`crate::train`]); they differ in the party's link and source of
//! correlated randomness.

pub mod clear;
pub mod dealer;
pub mod memory;
pub mod plan;
pub mod secure;
