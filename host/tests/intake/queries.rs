//! Devices' queries: handed over once, answered as often as they are sent, stored never.

use crate::harness::{Device, Heard, OCCUPANCY, World, refused, stored};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};
use symbolon::intake::{
    Intake,
    queries::{Answer, Outcome, Predictions, Query},
};
use symbolon_core::report::{
    Reason,
    header::{QUERY, ReportId},
};
use zeroize::Zeroizing;

/// Answers as a test says.
#[derive(Default)]
struct Model {
    asked: Mutex<Vec<Query>>,
    outcomes: Mutex<BTreeMap<ReportId, Result<Vec<u8>, Reason>>>,
}

impl Predictions for Model {
    fn ask(&self, query: Query) {
        self.asked.lock().unwrap().push(query);
    }

    fn outcome(&self, id: &ReportId) -> Option<Outcome> {
        self.asked.lock().unwrap().iter().find(|query| query.id == *id)?;
        Some(match self.outcomes.lock().unwrap().get(id) {
            None => Outcome::Waits,
            Some(Err(reason)) => Outcome::Refused(*reason),
            Some(Ok(part)) => Outcome::Answered(Answer { nonce: [4; 12], part: Zeroizing::new(part.clone()) }),
        })
    }
}

/// Server 1's intake with a model, and a device whose start it has.
fn started(world: &World) -> (Intake, Arc<Model>, Device) {
    let (intake, model, device) = (world.intake(1), Arc::new(Model::default()), world.device(1, 1, OCCUPANCY));
    intake.answer_by(model.clone());
    intake.batch(&[&device.start()[1]], 1000);
    (intake, model, device)
}

fn send(intake: &Intake, device: &Device, part: &[u8]) -> Heard {
    device.hear(&intake.batch(&[part], 2000))
}

#[test]
fn a_query_is_handed_over_once_and_answered_as_often_as_it_comes() {
    let world = World::new(1);
    let (intake, model, mut device) = started(&world);
    let query = device.query();
    let part = &query.parts()[1];
    assert_eq!(send(&intake, &device, part), Heard::default());
    assert_eq!(device.hear(&intake.batch(&[part, part], 2000)), Heard::default(), "while it waits");
    {
        let asked = model.asked.lock().unwrap();
        let Query { id, started, schema, share } = &asked[0];
        assert_eq!((asked.len(), *id, *started), (1, query.id, device.sender.header().session));
        assert_eq!((schema, share.len()), (&device.schema.hash(), query.record.len()));
        assert_eq!(query.id.sequence, QUERY + 1);
    }
    model.outcomes.lock().unwrap().insert(query.id, Ok(vec![1, 2, 3]));
    let answered = Heard { predicted: vec![(query.id.sequence, vec![1, 2, 3])], ..Heard::default() };
    assert_eq!(send(&intake, &device, part), answered);
    assert_eq!(intake.batch(&[part], 1), intake.batch(&[part], 2), "the same bytes");
    // It is no record, and its number leaves no gap.
    let report = device.report();
    assert_eq!(send(&intake, &device, &report.parts()[1]), Heard::held([0, 1]));
    let devices = intake.devices().unwrap().devices;
    assert_eq!((stored(&intake, 1), devices[0].missing, devices[0].refused.len()), (1, 0, 0));
    model.outcomes.lock().unwrap().insert(query.id, Err(Reason::NoModel));
    assert_eq!(send(&intake, &device, part), Heard::refused(query.id.sequence, Reason::NoModel, true));
}

#[test]
fn a_replayed_query_is_refused_and_counted_after_a_restart_too() {
    let world = World::new(1);
    let (intake, model, mut device) = started(&world);
    let [old, new] = [device.query(), device.query()];
    let replayed = |query: &crate::harness::Report| Heard::refused(query.id.sequence, Reason::ReplayedQuery, true);
    // Twice in a batch it is one query.
    let (old_part, new_part) = (&old.parts()[1], &new.parts()[1]);
    assert_eq!(device.hear(&intake.batch(&[new_part, new_part], 2000)), Heard::default());
    assert_eq!(send(&intake, &device, old_part), replayed(&old), "older than the newest");
    model.outcomes.lock().unwrap().insert(new.id, Ok(vec![1]));
    assert_eq!(send(&intake, &device, new_part).predicted.len(), 1);
    drop(intake);
    let intake = world.intake(1);
    let hint = Heard::refused(new.id.sequence, Reason::NoModel, true);
    assert_eq!(send(&intake, &device, new_part), hint, "a server without models");
    let forgetful = Arc::new(Model::default());
    intake.answer_by(forgetful.clone());
    assert_eq!(send(&intake, &device, new_part), replayed(&new), "forgotten");
    assert_eq!(send(&intake, &device, old_part), replayed(&old));
    assert!(forgetful.asked.lock().unwrap().is_empty(), "no query is evaluated twice");
    assert_eq!((refused(&intake, 1, Reason::ReplayedQuery), refused(&intake, 1, Reason::NoModel)), (3, 1));
    // A later boot goes on, and leaves the earlier one's queries behind.
    let mut next = world.device(1, 2, OCCUPANCY);
    let query = next.query();
    intake.batch(&[&next.start()[1], &query.parts()[1]], 3000);
    assert_eq!(forgetful.asked.lock().unwrap().len(), 1);
    assert_eq!(send(&intake, &device, new_part), replayed(&new));
}

#[test]
fn what_is_forged_or_beyond_the_quota_reaches_no_model() {
    let mut world = World::new(1);
    world.entries[0].more = "reports_per_hour = 2"; // the start is one of them
    world.register();
    let (intake, model, mut device) = started(&world);
    let query = device.query();
    let mut forged = query.clone();
    forged.share[0] ^= 1;
    assert_eq!(send(&intake, &device, &forged.parts()[1]), Heard::refused(query.id.sequence, Reason::Forged, false));
    // A report's seal fits no query, nor the reverse.
    let report = device.report();
    for (mut one, other) in [(query.clone(), &report), (report.clone(), &query)] {
        one.sealed.header = other.sealed.header;
        assert_eq!(send(&intake, &device, &one.parts()[1]), Heard::refused(other.id.sequence, Reason::Forged, false));
    }
    let stranger = world.device_with(1, [9; 32], 1, OCCUPANCY, 1).query();
    assert_eq!(send(&intake, &device, &stranger.parts()[1]).refused[0].1, Reason::Forged);
    assert_eq!(send(&intake, &device, &query.parts()[1]), Heard::default());
    let next = device.query();
    assert_eq!(send(&intake, &device, &next.parts()[1]), Heard::refused(next.id.sequence, Reason::Quota, true));
    assert_eq!((model.asked.lock().unwrap().len(), stored(&intake, 1)), (1, 0));
    let [lost_start, _] = [world.device(1, 7, OCCUPANCY).query(), device.query()];
    let heard = intake.batch(&[&lost_start.parts()[1]], 2000);
    assert_eq!(world.device(1, 7, OCCUPANCY).hear(&heard).refused[0].1, Reason::NoSession);
}
