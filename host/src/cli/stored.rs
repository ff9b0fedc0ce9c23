//! Jobs that learn from reports: from a job file to a job, with what the servers hold.

use super::{exit::Failure, roles::waiting};
use crate::{
    intake::{manifest::print_digest, wire::Wanted},
    job::{Draft, Job, Source},
    net::{ClientTls, Config, Role},
    schema::SchemaFile,
    session::reports,
};
use std::{cell::OnceCell, collections::BTreeMap};
use symbolon_core::report::{header::DeviceId, schema::Schema};

/// The job of a file, over the manifest of this digest, or over one that the servers make now.
pub(super) fn resolve(draft: Draft, config: &Config, manifest: Option<[u8; 32]>) -> Result<Job, Failure> {
    let Some(schema) = draft.schema() else { return Ok(draft.resolve(None)?) };
    let schema = SchemaFile::load(&schema)?;
    let labels = draft.label_schema().map(|file| SchemaFile::load(&file)).transpose()?;
    resolve_with(draft, &schema, labels.as_ref(), config, manifest)
}

/// The same, with the schemas that the job file names.
pub(super) fn resolve_with(
    draft: Draft,
    schema: &SchemaFile,
    labels: Option<&SchemaFile>,
    config: &Config,
    manifest: Option<[u8; 32]>,
) -> Result<Job, Failure> {
    let tls = ClientTls::new(&config.identity()?).telling(waiting);
    let manifest = match manifest {
        Some(digest) => reports::manifest(config, &tls, digest)?,
        None => {
            let wanted = Wanted { schema: schema.hash(), labels: labels.map(SchemaFile::hash) };
            reports::freeze(config, &tls, wanted)?
        }
    };
    let digest = manifest.digest();
    let mut counts: BTreeMap<u64, u64> = BTreeMap::new();
    for span in &manifest.spans {
        *counts.entry(span.device).or_default() += u64::from(span.count);
    }
    say!(
        "manifest {}: {} records of {} devices that both servers hold",
        print_digest(&digest),
        manifest.records(),
        counts.len()
    );
    // Asked for only if the job file has names.
    let names: OnceCell<BTreeMap<String, DeviceId>> = OnceCell::new();
    let named = |name: &str| {
        let names = names.get_or_init(|| {
            let known = reports::names(config, &tls, Role::Server0).unwrap_or_default();
            known.into_iter().map(|(device, name)| (name, DeviceId(device))).collect()
        });
        names.get(name).copied()
    };
    let senders = &mut manifest.senders();
    let resolve = |schema: Schema<'_>, label_schema: Option<Schema<'_>>| {
        draft.resolve(Some(Source { schema, label_schema, manifest: digest, senders, named: &named }))
    };
    Ok(match labels {
        Some(labels) => schema.borrow(|schema| labels.borrow(|labels| resolve(schema, Some(labels)))),
        None => schema.borrow(|schema| resolve(schema, None)),
    }?)
}
