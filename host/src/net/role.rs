//! The parties of a deployment.

use core::fmt;
use core::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A party of a deployment. Its name is what its certificate certifies.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Holds the first share of every value.
    Server0,
    /// Holds the second share of every value.
    Server1,
    /// Deals correlated randomness.
    Dealer,
    /// Evaluates the dealer's corrections again, and gives the servers their hash.
    Auditor,
    /// Owns the data, orders jobs, receives what they reveal.
    Client,
    /// Passes sealed reports from devices to the servers, and their answers back.
    Gateway,
}

impl Role {
    /// All roles.
    pub const ALL: [Self; 6] = [Self::Server0, Self::Server1, Self::Dealer, Self::Auditor, Self::Client, Self::Gateway];

    /// The name in certificates, configuration files and messages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Server0 => "server0",
            Self::Server1 => "server1",
            Self::Dealer => "dealer",
            Self::Auditor => "auditor",
            Self::Client => "client",
            Self::Gateway => "gateway",
        }
    }

    /// Whether this is one of the two servers.
    #[must_use]
    pub const fn is_server(self) -> bool {
        matches!(self, Self::Server0 | Self::Server1)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that no role has.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct UnknownRole;

impl fmt::Display for UnknownRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("roles are server0, server1, dealer, auditor, client and gateway")
    }
}

impl core::error::Error for UnknownRole {}

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(name: &str) -> Result<Self, UnknownRole> {
        Self::ALL.into_iter().find(|role| role.name() == name).ok_or(UnknownRole)
    }
}
