//! Control of released outputs: the jobs that an operator allows, and the ledger in which each
//! server accounts for the outputs of jobs.
//!
//! | module | what |
//! | --- | --- |
//! | `database` | the database under the ledger and under the catalogue of models |
//! | [`allowed`] | the list of jobs that an operator allows |
//! | [`schema`] | the check of a job against its schema: whole fields, declared labels |
//! | [`selection`] | the records that a job covers, and the difference between two jobs' records |
//! | [`ledger`] | the account of jobs, outputs and `ε`, by client, manifest, schema and day |
//!
//! The numbers themselves are in [`form`](crate::job::form), their noise in
//! [`noise`](crate::noise).

pub mod allowed;
pub(crate) mod database;
pub mod ledger;
pub mod schema;
pub mod selection;
