//! Fills both servers' stores without a network: the same parts, verified and stored as those of a gateway.

use crate::{
    cli::exit::Failure,
    device::system_rng,
    intake::{Intake, validity::UnixSeconds, wire::MAX_PARTS},
    net::{IntakeFiles, Role},
    schema::SchemaFile,
};
use std::{fmt::Display, thread, time::Instant};
use symbolon_core::report::{frame::Frame, identity::Identity, session::Sender};

/// Both servers' parts.
type Batch = [Vec<Vec<u8>>; 2];

fn failed(error: &dyn Display) -> Failure {
    Failure::Other(error.to_string())
}

/// Stores `records` records of these devices' first boot, in turn; says how many a second each server stored.
pub(super) fn fill(
    files: &[IntakeFiles; 2],
    identities: &[Identity],
    schema: &SchemaFile,
    records: u32,
) -> Result<[f64; 2], Failure> {
    let open = |server: usize| Intake::open(&files[server], [Role::Server0, Role::Server1][server]);
    let intakes = [open(0).map_err(|error| failed(&error))?, open(1).map_err(|error| failed(&error))?];
    let (mut rng, mut batch, mut senders) = (system_rng()?, Batch::default(), Vec::new());
    for identity in identities {
        let (sender, start) = Sender::start(identity, 1, &mut rng).map_err(|error| failed(&error))?;
        add(&mut batch, &Frame::Start { header: &start.header, enc: start.enc, tags: start.tags });
        senders.push(sender);
    }
    store(&intakes, &mut batch);
    let (mut seconds, mut stored) = ([0.0; 2], 0);
    while stored < records {
        for sender in senders.iter_mut().take((records - stored) as usize) {
            let mut record = vec![0; schema.layout().record_bytes()];
            record[..4].copy_from_slice(&stored.to_le_bytes());
            let sealed = sender.seal(0, 0, None, &mut record).map_err(|error| failed(&error))?;
            add(&mut batch, &Frame::Report { header: sealed.header.as_ref(), tags: sealed.tags, sealed: &record });
            stored += 1;
        }
        if batch[0].len() + senders.len() > MAX_PARTS || stored == records {
            let took = store(&intakes, &mut batch);
            seconds = [seconds[0] + took[0], seconds[1] + took[1]];
        }
    }
    Ok(seconds.map(|seconds| f64::from(records) / seconds))
}

fn add(batch: &mut Batch, frame: &Frame<'_>) {
    for (parts, part) in batch.iter_mut().zip(frame.parts().iter().flatten()) {
        // Into memory that grows: nothing of a part fails to encode.
        parts.push(postcard::to_stdvec(part).unwrap_or_default());
    }
}

/// Stores a batch at both servers at once and empties it; says the seconds that each took.
fn store(intakes: &[Intake; 2], batch: &mut Batch) -> [f64; 2] {
    let now_ms = u64::try_from(UnixSeconds::now().0).unwrap_or(0) * 1000;
    let take = |intake: &Intake, parts: &mut Vec<Vec<u8>>| {
        let started = Instant::now();
        intake.batch(parts, now_ms);
        parts.clear();
        started.elapsed().as_secs_f64()
    };
    let [one, two] = batch;
    thread::scope(|scope| {
        let other = scope.spawn(|| take(&intakes[1], two));
        [take(&intakes[0], one), other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))]
    })
}
