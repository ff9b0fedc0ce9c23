//! The `[serve]` section of a server's configuration: predictions.

use schemars::JsonSchema;
use serde::Deserialize;
use std::time::Duration;

/// How a server answers predictions.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ServeConfig {
    /// Rows whose correlated randomness a server receives ahead for each model.
    pub pool_rows: u64,
    /// Rows of a batch, lane by lane, as server 1 proposes them.
    pub batches: Vec<u16>,
    /// The time for which rows wait for others, at server 1.
    pub wait: Duration,
    /// Most models that answer predictions at a time.
    pub most_models: usize,
}

impl Default for ServeConfig {
    fn default() -> Self {
        Self { pool_rows: 512, batches: vec![1, 1, 16, 128], wait: Duration::ZERO, most_models: 4 }
    }
}

/// `[serve]` in a configuration file.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawServe {
    /// Rows of each model whose correlated randomness the server receives ahead of the requests, in
    /// memory; 512, if left out.
    pool_rows: Option<u32>,
    /// Rows of a batch, lane by lane: lanes work side by side, each at one batch at a time, and
    /// fill what rows leave empty. At server 1; [1, 1, 16, 128], if left out.
    batches: Option<Vec<u16>>,
    /// The time, in milliseconds, for which rows wait for others to fill a batch. At server 1; 0,
    /// if left out.
    wait_ms: Option<u16>,
    /// Most models that answer predictions at a time; 4, if left out.
    models: Option<u16>,
}

impl RawServe {
    pub(super) fn check(self) -> ServeConfig {
        let default = ServeConfig::default();
        ServeConfig {
            pool_rows: self.pool_rows.map_or(default.pool_rows, u64::from),
            batches: self.batches.unwrap_or(default.batches),
            wait: Duration::from_millis(self.wait_ms.unwrap_or(0).into()),
            most_models: self.models.map_or(default.most_models, usize::from),
        }
    }
}
