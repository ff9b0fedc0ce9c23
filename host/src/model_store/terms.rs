//! The terms on which a published model answers predictions.

use crate::{
    job::Job,
    net::is_serial,
    train::{AnswerKind, NotServed, Serving},
};
use serde::{Deserialize, Serialize};
use symbolon_core::report::question::MAX_WORDS;

/// The terms on which a published model answers predictions: the same at both servers.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Terms {
    /// The kind of answer to a row.
    pub answer: AnswerKind,
    /// Most rows that a client or a device may ask about in a day of UTC.
    pub per_day: Option<u32>,
    /// The clients, or the devices, that may ask.
    pub askers: Askers,
}

/// The askers of a model: clients by the serial numbers of their certificates, or devices.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub enum Askers {
    /// Its owner alone.
    Owner,
    /// These clients, and its owner.
    Listed(Vec<String>),
    /// Each client of the deployment.
    All,
    /// The devices of the schema that the model learned from; no client.
    Devices,
}

/// Most clients in a list of [`Askers`].
const MOST_ASKERS: usize = 256;

impl Terms {
    /// Checks that a model of `job` can answer so.
    ///
    /// # Errors
    ///
    /// [`NotServed`].
    pub fn check(&self, job: &Job) -> Result<(), NotServed> {
        let are_few = |listed: &[String]| listed.len() <= MOST_ASKERS && listed.iter().all(|serial| is_serial(serial));
        if matches!(&self.askers, Askers::Listed(listed) if !are_few(listed)) {
            return Err(NotServed::Askers { most: MOST_ASKERS });
        }
        match (job.data.is_stored(), self.askers == Askers::Devices) {
            (true, false) => return Err(NotServed::Reports),
            (false, true) => return Err(NotServed::Files),
            _ => {}
        }
        let got = self.answer.words(job);
        if self.askers == Askers::Devices && got > MAX_WORDS {
            return Err(NotServed::DeviceAnswer { got, most: MAX_WORDS });
        }
        Serving { answer: self.answer, batches: vec![1] }.check(job)
    }

    /// Returns whether `client` may ask the model of `owner`.
    #[must_use]
    pub fn admits(&self, client: &str, owner: &str) -> bool {
        match &self.askers {
            Askers::Devices => false,
            _ if client == owner => true,
            Askers::Owner => false,
            Askers::Listed(listed) => listed.iter().any(|own| own == client),
            Askers::All => true,
        }
    }
}
