//! What the servers release, and to whom: the jobs that an operator allows, and the ledger in which
//! each server accounts for the outputs of jobs.
//!
//! | module | what |
//! | --- | --- |
//! | [`allowed`] | the list of jobs that an operator allows |
//! | [`schema`] | whole fields as features, declared labels |
//! | [`selection`] | the records that a job covers, and by how many two jobs' differ |
//! | [`ledger`] | durable: jobs, outputs and `ε` by client, manifest and day |
//!
//! The numbers themselves are in [`form`](crate::job::form), their noise in [`noise`](crate::noise).

pub mod allowed;
pub mod ledger;
pub mod schema;
pub mod selection;
