//! Devices on a serial port: frames in COBS. A port whose device vanishes is opened again when it is back.

use super::{
    Shared,
    ingress::{Stream, gather},
    news::News,
    pool::Source,
    routes::Answer,
};
use crate::net::SerialLine;
use serial2_tokio::SerialPort;
use std::{io, sync::Arc, time::Duration};
use tokio::sync::mpsc::Receiver;

const READ_BYTES: usize = 4 << 10;
const AGAIN: Duration = Duration::from_secs(1);

/// Serves the port for ever.
pub(super) async fn serve(line: SerialLine, source: Source, shared: Arc<Shared>) {
    let mut told = false;
    loop {
        let error = match SerialPort::open(&line.path, line.baud) {
            Ok(port) => {
                (shared.tell)(News::SerialHere(line.path.clone()));
                told = false;
                let (stream, answers) = Stream::open(&shared, source);
                let ended = tokio::select! {
                    ended = read(&port, stream) => ended,
                    ended = write(&port, answers) => ended,
                };
                ended.err().unwrap_or_else(|| io::ErrorKind::UnexpectedEof.into())
            }
            Err(error) => error,
        };
        if !std::mem::replace(&mut told, true) {
            (shared.tell)(News::SerialAway { path: line.path.clone(), error });
        }
        tokio::time::sleep(AGAIN).await;
    }
}

async fn read(port: &SerialPort, mut stream: Stream) -> io::Result<()> {
    let mut bytes = [0; READ_BYTES];
    loop {
        match port.read(&mut bytes).await? {
            0 => return Ok(()),
            len => drop(stream.take(&bytes[..len])),
        }
    }
}

async fn write(port: &SerialPort, mut answers: Receiver<Answer>) -> io::Result<()> {
    let mut out = Vec::new();
    while gather(&mut answers, &mut out).await {
        port.write_all(&out).await?;
    }
    Ok(())
}
