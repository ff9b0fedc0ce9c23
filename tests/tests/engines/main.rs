//! Whole jobs on the three engines, in one process: the secure engine equals the clear one bit for
//! bit and costs what the plan says.

mod adam;
mod alarms;
mod begin;
mod equal;
mod layers;
mod losses;
mod metrics;
mod network;
mod outputs;
mod predict;
mod resume;
