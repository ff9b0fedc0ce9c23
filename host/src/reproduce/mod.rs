//! Published tables beside ours: what to run, and how to print it.
//!
//! | module | what |
//! | --- | --- |
//! | [`study`] | the file of a table, `host/reproduce/NAME.toml`: jobs and published figures |
//! | [`generated`] | records that a study makes itself |
//! | [`result`] | our figures beside the published ones, as JSON and as a table of text |
//! | [`page`] | the same as one page of HTML with charts |
//!
//! A study names job files of `host/jobs` and changes keys in them, so that a row of a table is a
//! job that `symbolon train` runs as well. The command line runs them.

pub mod generated;
pub mod page;
pub mod result;
pub mod study;

pub use generated::Generated;
pub use result::{Figure, Measured, Reproduction, Row};
pub use study::{Published, Run, Study, StudyError};
