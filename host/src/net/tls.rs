//! TLS 1.3 with certificates on both ends, and nothing else.
//!
//! A certificate certifies a role: its alternative name is `server0`, `server1`, `dealer`,
//! `auditor`, `client` or `gateway`. The connecting end asks for the role that it wants to reach;
//! the accepting end learns from the certificate which role it talks to. Neither looks at host
//! names, so addresses may change without new certificates.
//!
//! AES-128-GCM comes first: the fastest where the processor has AES, and the plan counts its overhead. There is no early
//! data and no resumption: a session's keys are used once.

use std::sync::Arc;

use rustls::client::{Resumption, verify_server_name};
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::{cipher_suite, default_provider};
use rustls::server::{NoServerSessionStorage, ParsedCertificate, WebPkiClientVerifier};
use rustls::sign::SingleCertAndKey;
use rustls::version::TLS13;
use rustls::{CertificateError, ClientConfig, Error, RootCertStore, ServerConfig};
use rustls_pki_types::{CertificateDer, ServerName};

use super::error::{Cause, CertificateFault};
use super::identity::Identity;
use super::role::Role;

/// What a role needs to connect to others.
#[derive(Clone, Debug)]
pub struct ClientTls {
    pub(super) config: Arc<ClientConfig>,
    pub(super) role: Role,
    /// Told of whom [`connect`](super::connect) waits for, and where, once it has waited a while.
    pub(super) waiting: fn(Role, &str),
    deployment: [u8; 32],
}

impl ClientTls {
    /// Connects as the role of `identity`.
    #[must_use]
    pub fn new(identity: &Identity) -> Self {
        let resolver = Arc::new(SingleCertAndKey::from(Arc::clone(identity.certified_key())));
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13])
            .expect("the provider has TLS 1.3 suites")
            .with_root_certificates(Arc::clone(identity.roots()))
            .with_client_cert_resolver(resolver);
        config.resumption = Resumption::disabled();
        config.enable_sni = false; // Who is asked for stays inside the tunnel.
        Self { config: Arc::new(config), role: identity.role(), waiting: |_, _| {}, deployment: identity.deployment() }
    }

    /// The same; `waiting` is told once of each peer that is not there at once, and where it should be.
    #[must_use]
    pub fn telling(self, waiting: fn(Role, &str)) -> Self {
        Self { waiting, ..self }
    }

    /// As [`Identity::deployment`].
    #[must_use]
    pub fn deployment(&self) -> [u8; 32] {
        self.deployment
    }
}

/// What a role needs to be connected to.
#[derive(Clone, Debug)]
pub struct ServerTls {
    pub(super) config: Arc<ServerConfig>,
    pub(super) accepted: Vec<Role>,
}

impl ServerTls {
    /// Accepts connections as the role of `identity`, from the roles in `accepted`.
    #[must_use]
    pub fn new(identity: &Identity, accepted: &[Role]) -> Self {
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::clone(identity.roots()), provider())
            .build()
            .expect("an identity holds at least one authority");
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13])
            .expect("the provider has TLS 1.3 suites")
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(identity.certified_key()))));
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        config.max_early_data_size = 0;
        Self { config: Arc::new(config), accepted: accepted.to_vec() }
    }
}

/// ring, with AES-128-GCM first.
pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider {
        cipher_suites: vec![
            cipher_suite::TLS13_AES_128_GCM_SHA256,
            cipher_suite::TLS13_AES_256_GCM_SHA384,
            cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
        ],
        ..default_provider()
    })
}

/// The name that certifies `role`.
pub(super) fn role_name(role: Role) -> ServerName<'static> {
    ServerName::try_from(role.name()).expect("role names are DNS names")
}

/// The one role that a certificate certifies. Does not verify the chain.
///
/// # Errors
///
/// If it does not parse, or certifies no role, or several.
pub(super) fn certified_role(certificate: &CertificateDer<'_>) -> Result<Role, CertificateFault> {
    let parsed = ParsedCertificate::try_from(certificate)
        .map_err(|_| CertificateFault::Invalid(CertificateError::BadEncoding))?;
    let mut roles = Role::ALL.into_iter().filter(|role| verify_server_name(&parsed, &role_name(*role)).is_ok());
    match (roles.next(), roles.next()) {
        (Some(role), None) => Ok(role),
        (None, _) => Err(CertificateFault::NoRole),
        (Some(_), Some(_)) => Err(CertificateFault::SeveralRoles),
    }
}

/// Returns the serial number of a certificate, in hexadecimal: its name within its authority.
///
/// # Errors
///
/// If the certificate cannot be parsed.
pub(super) fn serial(certificate: &CertificateDer<'_>) -> Result<String, CertificateFault> {
    let parsed = webpki::EndEntityCert::try_from(certificate)
        .map_err(|_| CertificateFault::Invalid(CertificateError::BadEncoding))?;
    Ok(crate::intake::hex::print(parsed.serial()))
}

/// Verifies, as a peer would, that `chain` is `role`'s, now.
pub(super) fn verify(
    roots: &Arc<RootCertStore>,
    chain: &[CertificateDer<'_>],
    role: Role,
) -> Result<(), CertificateFault> {
    use rustls::client::WebPkiServerVerifier;
    use rustls::client::danger::ServerCertVerifier;

    let invalid = |error| match error {
        Error::InvalidCertificate(error) => CertificateFault::new(error, Some(role)),
        _ => CertificateFault::Invalid(CertificateError::BadEncoding),
    };
    let (leaf, rest) = chain.split_first().ok_or(CertificateFault::Invalid(CertificateError::BadEncoding))?;
    WebPkiServerVerifier::builder_with_provider(Arc::clone(roots), provider())
        .build()
        .map_err(|_| CertificateFault::UnknownCa)?
        .verify_server_cert(leaf, rest, &role_name(role), &[], rustls_pki_types::UnixTime::now())
        .map(|_| ())
        .map_err(invalid)
}

/// The cause behind an error of rustls; `wanted` is the role that the peer should have.
pub(super) fn cause(error: Error, wanted: Option<Role>) -> Cause {
    match error {
        Error::InvalidCertificate(error) => Cause::Certificate(CertificateFault::new(error, wanted)),
        Error::AlertReceived(alert) => Cause::Refused(alert),
        other => Cause::Tls(other),
    }
}
