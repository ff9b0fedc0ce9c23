//! Two-server training on a host: jobs, data, engines, sessions over TLS, and the `symbolon` program.
//!
//! `symbolon_core` has the protocols; this crate runs them for the program. The README says how to use that; [`cli`] is where
//! its code begins.
//!
//! Lower never imports higher:
//!
//! | module | what |
//! | --- | --- |
//! | [`secret`], [`kernel`] | buffers that are wiped; the heavy loops for this processor |
//! | [`storage`] | tables in memory or in scratch files |
//! | [`plain`], `time` | text made safe for a terminal; moments as files write them |
//! | [`noise`] | two-sided geometric noise, exact |
//! | [`job`] | what is trained, on what, in which numbers, what is revealed |
//! | [`schema`] | schemas as files; reals as codes |
//! | [`data`] | CSV, IDX, NPY, NPZ and CIFAR files, checked against the job, scaled |
//! | [`report`] | progress, learning curve, summary, the model's file |
//! | [`onnx`] | networks as ONNX files, both ways |
//! | [`net`] | TLS between roles, certificates, configurations, policies |
//! | [`alarms`] | words that left their range: sums over subsets, a sample |
//! | [`lanes`] | a tensor's tiles side by side |
//! | [`train`] | training and evaluation: one code for all engines |
//! | [`engine`] | secure, clear, dry; the dealer's end and the auditor's hashes; the plan |
//! | [`intake`] | sealed reports in, stored shares, manifests |
//! | [`release`] | the jobs that an operator allows; the ledger of outputs |
//! | [`job_store`] | a server's jobs on its disk, so that they outlive connections |
//! | [`model_store`] | trained models, kept on the servers as shares |
//! | [`device`], [`provision`] | a host as a device; keys of devices and servers |
//! | [`backup`] | encrypted backups of a server, whose key may be split among keepers |
//! | [`gateway`] | devices' lines in, the two servers out; parts wait on disk |
//! | [`session`] | a job between processes: client, server, dealer, auditor |
//! | [`cli`] | the command line |
//!
//! **Adversary:** semi-honest and static, at most one of {server 0, server 1, dealer}. Shapes and parameters are public.

pub mod alarms;
pub mod backup;
pub mod cli;
pub mod data;
pub mod device;
pub mod engine;
pub mod gateway;
pub mod intake;
pub mod job;
pub mod job_store;
pub mod kernel;
pub mod lanes;
pub mod model_store;
pub mod net;
pub mod noise;
pub mod onnx;
pub mod plain;
pub mod provision;
pub mod release;
pub mod report;
pub mod reproduce;
pub mod schema;
pub mod secret;
pub mod session;
pub mod storage;
mod time;
pub mod train;
mod values;
