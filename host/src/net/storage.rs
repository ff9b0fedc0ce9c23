//! The `[storage]`, `[models]` and `[jobs]` sections of a configuration.

use super::config_fault::ConfigFault;
use crate::storage::StorageConfig;
use schemars::JsonSchema;
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawStorage {
    /// Most MiB of a job's tables in memory, the smallest first; 512, if left out. The others go to
    /// scratch files.
    memory_mib: Option<u64>,
    /// The folder of scratch files; `$TMPDIR`, or `/var/tmp`, if left out.
    directory: Option<PathBuf>,
}

impl RawStorage {
    pub(super) fn check(self, beside: &Path) -> StorageConfig {
        let default = StorageConfig::default();
        StorageConfig {
            memory_bytes: self.memory_mib.map_or(default.memory_bytes, |mib| mib.saturating_mul(1 << 20)),
            directory: self.directory.map_or(default.directory, |directory| beside.join(directory)),
        }
    }
}

/// The folder and the limits of a server's model store.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ModelsConfig {
    /// The folder of shares and catalogue.
    pub directory: PathBuf,
    /// Largest number of kept versions of a client.
    pub most_versions: u64,
    /// Largest total of a client's shares and public parts, in bytes.
    pub most_bytes: u64,
}

/// `[models]` in a configuration file.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawModels {
    /// The folder of the server's shares of models; `models`, if left out.
    directory: Option<PathBuf>,
    /// Largest number of kept versions of a client; 256, if left out.
    most_versions: Option<u64>,
    /// Largest total of a client's shares and public parts, in MiB; 4096, if left out.
    most_mib: Option<u64>,
}

impl RawModels {
    pub(super) fn check(self, beside: &Path) -> ModelsConfig {
        ModelsConfig {
            directory: beside.join(self.directory.unwrap_or_else(|| "models".into())),
            most_versions: self.most_versions.unwrap_or(256),
            most_bytes: self.most_mib.unwrap_or(4096).saturating_mul(1 << 20),
        }
    }
}

/// The folder of a server's jobs and the rules of its queue; of a client, the folder of its jobs'
/// keys, and how long it seeks a lost server.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct JobsConfig {
    /// The folder of jobs.
    pub directory: PathBuf,
    /// Largest number of jobs that arrive or wait.
    pub queue: usize,
    /// Largest number of a client's jobs that have not ended or whose outputs wait.
    pub per_client: usize,
    /// Most bytes of memory for all jobs that run; `None` without limit.
    pub running_bytes: Option<u64>,
    /// The time for which a job that lost a peer is tried again.
    pub retry: Duration,
    /// The time for which an interrupted job, and an ended one's outputs, are stored.
    pub keep: Duration,
    /// The priority of each client, by the serial number of its certificate; 0 for others.
    pub priorities: BTreeMap<String, i32>,
}

/// `[jobs]` in a configuration file.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawJobs {
    /// The folder of a server's jobs, or of the keys of a client's jobs; `jobs`, if left out.
    directory: Option<PathBuf>,
    /// Largest number of jobs that arrive or wait at a server; 16, if left out.
    queue: Option<usize>,
    /// Largest number of a client's jobs at a server that have not ended or whose outputs wait; 32,
    /// if left out.
    per_client: Option<usize>,
    /// Most MiB of memory for all jobs that run at a server; without limit, if left out.
    running_memory_mib: Option<u64>,
    /// The time, in seconds, for which a server tries a job again that lost a peer, and a client
    /// seeks a lost server; 600, if left out; 0: neither does.
    retry_s: Option<u32>,
    /// The time, in days, for which an interrupted job, and the outputs of an ended one, are
    /// stored; 7, if left out.
    keep_days: Option<u16>,
    /// The priority of a client's jobs, by the serial number of its certificate; 0, if left out.
    /// Jobs with a greater one begin first, others in the order of their arrival.
    #[serde(default)]
    priorities: BTreeMap<String, i32>,
}

impl RawJobs {
    pub(super) fn check(self, beside: &Path) -> Result<JobsConfig, ConfigFault> {
        let (queue, per_client, days) =
            (self.queue.unwrap_or(16), self.per_client.unwrap_or(32), self.keep_days.unwrap_or(7));
        for (key, is_zero) in
            [("jobs.queue", queue == 0), ("jobs.per_client", per_client == 0), ("jobs.keep_days", days == 0)]
        {
            if is_zero {
                return Err(ConfigFault::Zero(key));
            }
        }
        if let Some(serial) = self.priorities.keys().find(|serial| !is_serial(serial)) {
            return Err(ConfigFault::Serial(serial.clone()));
        }
        Ok(JobsConfig {
            directory: beside.join(self.directory.unwrap_or_else(|| "jobs".into())),
            queue,
            per_client,
            running_bytes: self.running_memory_mib.map(|mib| mib.saturating_mul(1 << 20)),
            retry: Duration::from_secs(self.retry_s.unwrap_or(600).into()),
            keep: Duration::from_secs(u64::from(days) * 24 * 3600),
            priorities: self.priorities,
        })
    }
}

/// Most bytes of a certificate's serial number (RFC 5280, 4.1.2.2), with one of its sign.
const SERIAL_BYTES: usize = 21;

/// Returns whether `text` is a serial number as the ledger and the servers' logs print it.
pub(crate) fn is_serial(text: &str) -> bool {
    let digits = |byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    text.len().is_multiple_of(2) && (2..=2 * SERIAL_BYTES).contains(&text.len()) && text.bytes().all(digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(toml: &str) -> Option<String> {
        let raw: RawJobs = toml::from_str(toml).unwrap();
        raw.check(Path::new("")).err().map(|fault| fault.to_string())
    }

    #[test]
    fn numbers_that_stop_all_jobs_are_refused() {
        for key in ["queue", "per_client", "keep_days"] {
            let said = fault(&format!("{key} = 0"));
            assert_eq!(said, Some(format!("jobs.{key}: 0 is too few; give at least 1")));
            assert_eq!(fault(&format!("{key} = 1")), None);
        }
    }

    #[test]
    fn priorities_name_certificates() {
        let of = |serial: &str| fault(&format!("priorities = {{ {serial:?} = 1 }}"));
        for serial in ["5b", "00ff10", &"ab".repeat(SERIAL_BYTES)] {
            assert_eq!(of(serial), None);
        }
        for serial in ["", "5", "5B", "5b:1e", "0x5b", "client", &"ab".repeat(SERIAL_BYTES + 1)] {
            let said = of(serial).unwrap();
            assert!(said.starts_with(&format!("jobs.priorities: `{serial}` is")), "{said}");
            assert!(said.contains("lower case") && said.contains("openssl x509 -noout -serial"), "{said}");
        }
    }
}
