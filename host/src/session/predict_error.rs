//! Errors of predictions, each with a code that does not change.

use super::message::{MAX_QUERY_BYTES, MAX_QUERY_ROWS};
use crate::model_store::ModelVersion;
use std::fmt;

/// The reason why rows are not answered.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum PredictError {
    /// The model is not published for predictions, or not to this client.
    Unserved(ModelVersion),
    /// Servers and dealer have not yet begun its session, or have lost each other.
    Waits(ModelVersion),
    /// The client has asked about as many records today as the model's terms permit.
    Quota {
        /// The limit.
        per_day: u32,
        /// Records that it may still ask about.
        left: u32,
    },
    /// As many models answer predictions as the server lets.
    Places {
        /// The limit.
        most: usize,
    },
    /// The same rows wait already.
    Repeated,
    /// Too many rows wait at the server.
    Full,
    /// The other server's half of the rows did not come, or they were not reached in time.
    Late,
    /// The session has ended: the model was retired, or a peer was lost.
    Ended,
    /// More rows than are taken at once, or none.
    Rows {
        /// Those that were sent.
        got: u32,
    },
}

impl PredictError {
    /// Returns whether asking again changes nothing.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        !matches!(self, Self::Waits(_) | Self::Full | Self::Ended | Self::Late)
    }
}

impl fmt::Display for PredictError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unserved(model) => write!(
                f,
                "predict-unserved: {model} is not published for predictions to this client; its owner does that with `symbolon \
                 models publish {model} --answer ...`"
            ),
            Self::Waits(model) => {
                write!(f, "predict-waits: servers and dealer are still beginning the predictions of {model}; ask again")
            }
            Self::Quota { per_day, left } => write!(
                f,
                "predict-quota: this client may ask the model about {per_day} rows a day, and {left} are left; ask about the \
                 others tomorrow (UTC)"
            ),
            Self::Places { most } => write!(
                f,
                "predict-places: {most} models answer predictions, the limit of this server (serve.models); retire one, or raise the limit in \
                 its configuration"
            ),
            Self::Late => f.write_str(
                "predict-late: the other server has not received these rows, or both have too much to do; ask again",
            ),
            Self::Repeated => f.write_str("predict-repeated: a request with this number already waits at the server; send a new one"),
            Self::Full => f.write_str("predict-full: too many rows wait at the server; ask again"),
            Self::Ended => f.write_str("predict-ended: the session has ended: the model was retired or published again, or a peer was lost. Ask again if the model is still published"),
            Self::Rows { got } => write!(
                f,
                "predict-rows: {got} rows; 1 to {MAX_QUERY_ROWS} are taken at once, of at most {} MiB together",
                MAX_QUERY_BYTES >> 20
            ),
        }
    }
}

impl std::error::Error for PredictError {}
