//! Who this end is: a certificate, its key, and the authority of the deployment, read from PEM files.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::CertificateFault;
use super::role::Role;
use super::tls;
use crate::secret::{PrivateFileError, read_private};
use rustls::RootCertStore;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest, Sha256};

/// Where the PEM files of an identity are.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct IdentityFiles {
    /// The certificate, followed by those between it and the authority, if any.
    pub certificate: PathBuf,
    /// The certificate's private key. Others on the machine must not be able to read it.
    pub key: PathBuf,
    /// The certificate of the deployment's authority.
    pub ca: PathBuf,
}

/// What a role proves itself with, and what it accepts as proof from others.
#[derive(Clone)]
pub struct Identity {
    role: Role,
    certified: Arc<CertifiedKey>,
    roots: Arc<RootCertStore>,
    deployment: [u8; 32],
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("role", &self.role).finish_non_exhaustive()
    }
}

impl Identity {
    /// Reads the files and checks, as a peer would, that they are good now.
    ///
    /// # Errors
    ///
    /// If a file cannot be read or parsed; if others can read the key, or it is not the certificate's; if the certificate
    /// names no role, is expired, or is not from the authority.
    pub fn load(files: &IdentityFiles) -> Result<Self, IdentityError> {
        let read =
            |part, path: &Path| fs::read(path).map_err(|error| IdentityError::new(part, IdentityProblem::Read(error)));
        let parse = || {
            let certificate = read(Part::Certificate, &files.certificate)?;
            let key = read_private(&files.key).map_err(|error| {
                IdentityError::new(
                    Part::Key,
                    match error {
                        PrivateFileError::Read(error) => IdentityProblem::Read(error),
                        PrivateFileError::Exposed => IdentityProblem::Exposed,
                    },
                )
            })?;
            let ca = read(Part::Ca, &files.ca)?;
            let identity = Self::from_pem(&certificate, &key, &ca)?;
            identity.check()?;
            Ok(identity)
        };
        parse().map_err(|error: IdentityError| {
            let file = match error.part {
                Part::Certificate => &files.certificate,
                Part::Key => &files.key,
                Part::Ca => &files.ca,
            };
            IdentityError { file: Some(file.clone()), ..error }
        })
    }

    /// Parses the contents of the files. Does not look at the time or the chain: [`check`](Self::check) does.
    ///
    /// # Errors
    ///
    /// If a part does not parse, the key is not the certificate's, or the certificate names no role.
    pub fn from_pem(certificate: &[u8], key: &[u8], ca: &[u8]) -> Result<Self, IdentityError> {
        let chain = certificates(Part::Certificate, certificate)?;
        let key_der = PrivateKeyDer::from_pem_slice(key).map_err(|error| IdentityError::pem(Part::Key, error))?;
        let mut roots = RootCertStore::empty();
        let authorities = certificates(Part::Ca, ca)?;
        let mut hashes: Vec<[u8; 32]> = authorities.iter().map(|authority| Sha256::digest(authority).into()).collect();
        hashes.sort_unstable();
        hashes.dedup();
        let deployment = Sha256::digest(hashes.concat()).into();
        for root in authorities {
            roots.add(root).map_err(|_| IdentityError::new(Part::Ca, IdentityProblem::Malformed))?;
        }
        let role = tls::certified_role(&chain[0])
            .map_err(|fault| IdentityError::new(Part::Certificate, IdentityProblem::Certificate(fault)))?;
        let certified = CertifiedKey::from_der(chain, key_der, &tls::provider())
            .map_err(|error| IdentityError::new(Part::Key, IdentityProblem::Key(error)))?;
        Ok(Self { role, certified: Arc::new(certified), roots: Arc::new(roots), deployment })
    }

    /// Checks, as a peer would, that the certificate is good now.
    ///
    /// # Errors
    ///
    /// If it is expired or not valid yet, is not from the authority, or is not for TLS on both ends.
    pub fn check(&self) -> Result<(), IdentityError> {
        tls::verify(&self.roots, &self.certified.cert, self.role)
            .map_err(|fault| IdentityError::new(Part::Certificate, IdentityProblem::Certificate(fault)))
    }

    /// The role that the certificate names.
    #[must_use]
    pub fn role(&self) -> Role {
        self.role
    }

    /// The deployment that the role belongs to: SHA-256 of the sorted hashes of its
    /// authorities' certificates.
    #[must_use]
    pub fn deployment(&self) -> [u8; 32] {
        self.deployment
    }

    pub(super) fn certified_key(&self) -> &Arc<CertifiedKey> {
        &self.certified
    }

    pub(super) fn roots(&self) -> &Arc<RootCertStore> {
        &self.roots
    }
}

/// The certificates in `pem`, at least one.
fn certificates(part: Part, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
    let certificates = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| IdentityError::pem(part, error))?;
    if certificates.is_empty() { Err(IdentityError::new(part, IdentityProblem::Empty)) } else { Ok(certificates) }
}

/// A part of an identity.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Part {
    /// The certificate and those behind it.
    Certificate,
    /// The private key.
    Key,
    /// The authority's certificate.
    Ca,
}

/// An identity that cannot be used.
#[derive(Debug)]
pub struct IdentityError {
    /// The part at fault.
    pub part: Part,
    /// Its file, if it came from one.
    pub file: Option<PathBuf>,
    /// What is wrong.
    pub problem: IdentityProblem,
}

/// What is wrong with a part of an identity.
#[derive(Debug)]
#[non_exhaustive]
pub enum IdentityProblem {
    /// The file cannot be read.
    Read(io::Error),
    /// Not PEM.
    Pem(pem::Error),
    /// PEM without what is due.
    Empty,
    /// A certificate that does not parse.
    Malformed,
    /// Every user of the machine can read the key.
    Exposed,
    /// The key is of an unknown kind, or not the certificate's.
    Key(rustls::Error),
    /// The certificate does not do.
    Certificate(CertificateFault),
}

impl IdentityError {
    fn new(part: Part, problem: IdentityProblem) -> Self {
        Self { part, file: None, problem }
    }

    fn pem(part: Part, error: pem::Error) -> Self {
        match error {
            pem::Error::NoItemsFound => Self::new(part, IdentityProblem::Empty),
            error => Self::new(part, IdentityProblem::Pem(error)),
        }
    }
}

impl fmt::Display for IdentityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{}: ", file.display())?;
        }
        let part = match self.part {
            Part::Certificate => "certificate",
            Part::Key => "private key",
            Part::Ca => "authority's certificate",
        };
        match &self.problem {
            IdentityProblem::Read(error) => write!(f, "cannot read the {part}: {error}"),
            IdentityProblem::Pem(error) => write!(f, "the {part} is not valid PEM: {error}"),
            IdentityProblem::Empty => write!(f, "holds no {part} in PEM"),
            IdentityProblem::Malformed => write!(f, "the {part} does not parse"),
            IdentityProblem::Exposed => f.write_str("every user can read the private key; `chmod 600` it"),
            IdentityProblem::Key(error) => write!(f, "the private key does not fit the certificate: {error}"),
            IdentityProblem::Certificate(fault) => write!(f, "the {part} {fault}"),
        }
    }
}

impl std::error::Error for IdentityError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.problem {
            IdentityProblem::Read(error) => Some(error),
            IdentityProblem::Pem(error) => Some(error),
            IdentityProblem::Key(error) => Some(error),
            _ => None,
        }
    }
}
