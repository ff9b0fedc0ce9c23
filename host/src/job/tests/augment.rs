//! `data.augment`: what it may say, and the rows that epochs take.

use super::*;
use crate::train::batch_order;

const IMAGES: &str = "data.shape = [1, 4, 4]\nnetwork.layers = [{ kind = 'flatten' }, { kind = 'dense', units = 3 }]";

fn with(augment: &str) -> String {
    format!("{IMAGES}\ndata.augment = {augment}")
}

#[test]
fn epochs_take_the_copies_in_turn() {
    let job = parse(&edited(&with("{ copies = 3, flip = true, shift = 1 }"))).unwrap();
    assert_eq!(job.data.augment, Some(Augment { copies: 3, flip: true, shift: 1 }));
    assert_eq!((job.data.train_rows(), job.steps_per_epoch()), (240, 5));
    assert_eq!(Job::decode(&job.encode().unwrap()).unwrap(), job);
    for (epoch, first) in [(1, 0), (2, 80), (3, 160), (4, 0), (300, 160)] {
        let mut order = batch_order(&job, epoch);
        order.sort_unstable();
        assert_eq!(order, (first..first + 80).collect::<Vec<u32>>(), "epoch {epoch}");
    }
}

#[test]
fn augmentation_follows_its_rules() {
    for (augment, key, want) in [
        ("{ copies = 0 }", "data.augment.copies", "1 to 256"),
        ("{ copies = 2, shift = 4 }", "data.augment.shift", "0 to 3"),
    ] {
        let Invalid { key: got, rule } = invalid(&with(augment));
        assert_eq!(got, key);
        assert!(rule.to_string().contains(want), "{rule}");
    }
    let Invalid { key, rule } = invalid("data.augment = { copies = 2, flip = true }");
    assert_eq!(key, "data.augment.flip");
    assert!(rule.to_string().contains("data.shape"), "{rule}");
}
