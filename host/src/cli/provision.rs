//! `symbolon provision` and `symbolon key`.

use super::exit::Failure;
use crate::{
    device::{BootCounter, DeviceError, KeyFile},
    intake::{
        hex,
        validity::{UnixSeconds, Validity},
    },
    net::{Config, IntakeFiles, Role},
    provision::{NewDevice, ProvisionError, ServersFile, append, check_free, new_key, register, write_new},
    schema::{SchemaFile, SchemaFileError},
};
use std::{
    fs,
    path::{Path, PathBuf},
};
use symbolon_core::report::{header::DeviceId, identity::Identity};

impl From<ProvisionError> for Failure {
    fn from(error: ProvisionError) -> Self {
        let text = error.to_string();
        match error {
            ProvisionError::Randomness => Self::Other(text),
            _ => Self::Input(text),
        }
    }
}

impl From<DeviceError> for Failure {
    fn from(error: DeviceError) -> Self {
        let text = error.to_string();
        match error {
            DeviceError::Refused { .. } => Self::Refused(text),
            DeviceError::Stalled { last: Some(_), connection: None, .. } => Self::Refused(text),
            DeviceError::Stalled { .. } => Self::Network(text),
            DeviceError::Randomness => Self::Other(text),
            _ => Self::Input(text),
        }
    }
}

impl From<SchemaFileError> for Failure {
    fn from(error: SchemaFileError) -> Self {
        Self::Input(error.to_string())
    }
}

/// Arguments of `symbolon provision`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Name of the device: letters, digits, `-`, `_`, `.`
    name: String,
    /// What its records hold
    #[arg(long, value_name = "FILE")]
    schema: PathBuf,
    /// Public keys of the servers: `servers.toml`, as `init` writes it for the client
    #[arg(long, value_name = "FILE")]
    servers: PathBuf,
    /// Where its files are written
    #[arg(long, value_name = "DIR", default_value = ".")]
    out: PathBuf,
    /// Its id, 16 hexadecimal digits; drawn at random if not given
    #[arg(long, value_name = "ID", value_parser = device_id)]
    id: Option<DeviceId>,
    /// It is a data owner that labels other devices' reports
    #[arg(long)]
    labels: bool,
    /// Most reports that it may add an hour; any number if not given
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    reports_per_hour: Option<u32>,
    /// Register it with the server of this configuration, on this machine; may be given twice
    #[arg(long, value_name = "FILE")]
    register: Vec<PathBuf>,
}

/// Reads a device's id.
pub(super) fn device_id(text: &str) -> Result<DeviceId, String> {
    let id = hex::parse(text).map(|bytes| DeviceId(u64::from_be_bytes(bytes)));
    id.ok_or_else(|| "an id has 16 hexadecimal digits".to_owned())
}

/// `symbolon provision`.
pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let schema = SchemaFile::load(&args.schema)?;
    let servers = ServersFile::load(&args.servers)?;
    let register_at = args.register.iter().map(|config| intake(config)).collect::<Result<Vec<_>, _>>()?;
    let Args { name, id, labels, reports_per_hour, .. } = args;
    let device = NewDevice { name, id: *id, schema: &schema, labels: *labels, reports_per_hour: *reports_per_hour };
    let (identity, entry) = device.provision(&servers, UnixSeconds::now())?;
    register_at.iter().try_for_each(|files| check_free(files, &entry))?;
    std::fs::create_dir_all(&args.out).map_err(|error| Failure::write(&args.out, &error))?;
    let key = args.out.join(format!("{name}.key"));
    if key.exists() {
        let key = key.display();
        return Err(Failure::Input(format!(
            "{key} is there already: that device keeps its key; choose another name, or --out"
        )));
    }
    KeyFile::write(&key, &identity)?;
    BootCounter::beside(&key).create()?;
    let entry_file = args.out.join(format!("{name}.device.toml"));
    write_new(&entry_file, entry.as_bytes())?;
    for files in &register_at {
        register(files, &entry, &schema, &args.schema)?;
    }
    say!(
        "device {} ({name}), task {}, {} bytes a record",
        identity.device,
        schema.task(),
        schema.layout().record_bytes()
    );
    say!("{}: secret; flash its {} bytes, or give it to `symbolon share`", key.display(), Identity::BYTES);
    say!(
        "  nRF52840: probe-rs download --chip nRF52840_xxAA --binary-format bin --base-address 0xfd000 {}",
        key.display()
    );
    for config in &args.register {
        say!("registered with the server of {}", config.display());
    }
    if register_at.is_empty() {
        say!("{}: public; append it to devices.toml at both servers", entry_file.display());
        say!("{}: public; copy it to schemas/ at both servers", args.schema.display());
    }
    Ok(())
}

/// Where the server of a configuration keeps its files.
fn intake(config: &Path) -> Result<IntakeFiles, Failure> {
    let config = Config::load(config, &[Role::Server0, Role::Server1])?;
    let none =
        || Failure::Input(format!("{}: this server takes no reports; give it an [intake]", config.file.display()));
    config.intake.clone().ok_or_else(none)
}

/// Arguments of `symbolon key`.
#[derive(Debug, clap::Args)]
pub(super) struct KeyArgs {
    /// The server's configuration
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Days from now on that the key serves; without end if not given
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=36_500))]
    days: Option<u32>,
    /// Append the public half to this `servers.toml`
    #[arg(long, value_name = "FILE")]
    servers: Option<PathBuf>,
}

/// `symbolon key`: the first half of a rotation. The older key serves on until its end, or until its file is removed.
pub(super) fn key(args: &KeyArgs) -> Result<(), Failure> {
    let files = intake(&args.config)?;
    let role = Config::load(&args.config, &[Role::Server0, Role::Server1])?.role;
    let highest = fs::read_dir(&files.keys).into_iter().flatten().flatten().filter_map(|entry| {
        let path = entry.path();
        path.file_stem()?.to_str()?.parse::<u32>().ok()
    });
    let id = highest
        .max()
        .unwrap_or(0)
        .checked_add(1)
        .ok_or_else(|| Failure::Input("no number is left for a key".to_owned()))?;
    let end = |days: u32| UnixSeconds(UnixSeconds::now().0 + i64::from(days) * 24 * 3600);
    let validity = Validity { not_before: None, not_after: args.days.map(end) };
    let entry = new_key(&files, u8::from(role == Role::Server1), id, validity)?;
    if let Some(file) = &args.servers {
        append(file, &format!("\n{}", entry.to_toml()))?;
    }
    say!("# {}: key {id}; the server reads it while it runs. For servers.toml:", files.keys.display());
    say!("{}", entry.to_toml().trim_end());
    Ok(())
}
