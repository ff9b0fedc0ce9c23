//! Quotas of predictions, reserved in durable blocks, so that most requests wait for no disk.

use super::{Ledger, SPENT, UnixSeconds, begin_durable, day};
use crate::intake::store::StoreError;
use redb::{ReadableDatabase, ReadableTable};
use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

/// Records that are reserved together. Any stop of the server forfeits the rest of a block.
const BLOCK: u64 = 256;

/// A client and the digest of a model.
type Key = (String, [u8; 32]);

/// The rest of each client's block, by model, and its day.
#[derive(Default)]
pub struct Quotas(Mutex<HashMap<Key, (i64, u64)>>);

impl Quotas {
    /// Takes `rows` records of a client's `per_day` for today; returns whether they are granted, or
    /// how many are left.
    ///
    /// # Errors
    ///
    /// If the ledger cannot be used; nothing is granted then.
    pub fn take(
        &self,
        ledger: &Ledger,
        (client, model): (&str, &[u8; 32]),
        (rows, per_day): (u64, u64),
        now: UnixSeconds,
    ) -> Result<Result<(), u64>, StoreError> {
        let mut blocks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let today = day(now.0);
        blocks.retain(|_, (day, _)| *day == today);
        let (_, left) = blocks.entry((client.to_owned(), *model)).or_insert((today, 0));
        if *left < rows {
            let wanted = (rows - *left).max(BLOCK);
            *left += ledger.reserve(&name(client, model, today), wanted, per_day)?;
        }
        if *left < rows {
            return Ok(Err(*left));
        }
        *left -= rows;
        Ok(Ok(()))
    }

    /// Gives back rows that were taken today and not answered.
    pub fn give_back(&self, (client, model): (&str, &[u8; 32]), rows: u64, now: UnixSeconds) {
        let mut blocks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match blocks.get_mut(&(client.to_owned(), *model)) {
            Some((of, left)) if *of == day(now.0) => *left += rows,
            _ => {} // the day is over
        }
    }
}

fn name(client: &str, model: &[u8; 32], day: i64) -> String {
    format!("predictions {client} {} {day}", crate::intake::hex::print(model))
}

impl Ledger {
    /// Spends up to `wanted` of a budget of `most`, durably; returns how much.
    fn reserve(&self, name: &str, wanted: u64, most: u64) -> Result<u64, StoreError> {
        let database = self.database.get()?;
        // A spent budget costs no write.
        let spent = database.begin_read()?.open_table(SPENT)?.get(name)?.map_or(0, |spent| spent.value());
        if spent >= most {
            return Ok(0);
        }
        let transaction = begin_durable(&database)?;
        let granted = {
            let mut table = transaction.open_table(SPENT)?;
            let spent = table.get(name)?.map_or(0, |spent| spent.value());
            let granted = wanted.min(most.saturating_sub(spent));
            table.insert(name, spent + granted)?;
            granted
        };
        transaction.commit()?;
        Ok(granted)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const DAY: i64 = 24 * 3600;

    #[test]
    fn a_quota_is_spent_once_a_day_whatever_crashes() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(&dir.path().join("releases.redb")).unwrap();
        let mut quotas = Quotas::default();
        let take = |quotas: &Quotas, client: &str, rows, at| {
            quotas.take(&ledger, (client, &[1; 32]), (rows, 1000), UnixSeconds(at)).unwrap()
        };
        assert_eq!(take(&quotas, "a", 200, 5), Ok(()));
        assert_eq!(take(&quotas, "a", 56, 6), Ok(()));
        assert_eq!(take(&quotas, "a", 1, 7), Ok(()));
        quotas = Quotas::default(); // a crash: 255 of the second block are forfeited
        assert_eq!(take(&quotas, "a", 489, 8), Err(488));
        assert_eq!(take(&quotas, "b", 1000, 8), Ok(()));
        assert_eq!(take(&quotas, "b", 1, 8), Err(0));
        assert_eq!(take(&quotas, "a", 488, 9), Ok(()));
        assert_eq!(take(&quotas, "a", 1, 9), Err(0));
        quotas.give_back(("a", &[1; 32]), 5, UnixSeconds(10));
        assert_eq!(take(&quotas, "a", 5, 10), Ok(()));
        quotas.give_back(("a", &[1; 32]), 5, UnixSeconds(DAY)); // yesterday's
        assert_eq!(take(&quotas, "a", 1000, DAY), Ok(()));
        assert_eq!(take(&quotas, "a", 1, DAY + 1), Err(0));
    }
}
