//! `symbolon gateway`.

use super::{
    exit::Failure,
    roles::{Args, stop_on_interrupt},
};
use crate::{
    gateway::{Gateway, GatewayError, news::News},
    net::{Config, Role},
};
use std::io::Write as _;

impl From<GatewayError> for Failure {
    fn from(error: GatewayError) -> Self {
        let text = error.to_string();
        match error {
            GatewayError::Config(_) | GatewayError::Password(..) => Self::Input(text),
            GatewayError::Listen(..) => Self::Network(text),
            _ => Self::Other(text),
        }
    }
}

/// `symbolon gateway`: runs until interrupted.
pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let config = Config::load(&args.config, &[Role::Gateway])?;
    let gateway = Gateway::open(&config, &config.identity()?, tell)?;
    let stop = gateway.stop_handle();
    stop_on_interrupt(args, move || stop.stop());
    Ok(gateway.run()?)
}

/// Where it listens, and figures, are what was asked for; changes of state are for the log.
fn tell(news: News) {
    match news {
        News::Listening(_) | News::Status(_) => {
            log!("{news}");
            // A parent reads this line through a pipe; one that has gone needs it no more.
            let _ = std::io::stdout().flush();
        }
        news => log_error!("gateway: {news}"),
    }
}
