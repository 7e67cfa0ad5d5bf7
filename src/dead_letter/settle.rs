//! What has become of letters that were sent again: removed, still there, or dropped by somebody
//! else meanwhile. Written in one transaction with the report that says so.

use rusqlite::{Connection, TransactionBehavior};

use crate::record::Returned;
use crate::state::Durability;

use super::requests::{Part, Report, tell};
use super::sqlite::{LetterStore, LetterStoreError};

impl LetterStore {
    /// Removes the letters that have ended well, adds all that have ended to `report`, and writes
    /// that down for whoever asked; durable when a letter has ended. Returns the report, and
    /// whether the replay is still wanted.
    ///
    /// # Errors
    /// Nothing was removed or written.
    pub fn settle_blocking(
        &self,
        ended: &[Returned],
        report: &Report,
        of: Option<&Part>,
    ) -> Result<(Report, bool), LetterStoreError> {
        let durability = if ended.is_empty() { Durability::Normal } else { Durability::Full };
        let settled = self.state.call_blocking(durability, |connection| {
            let transaction =
                connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let mut report = report.clone();
            ended.iter().try_for_each(|letter| settle(&transaction, *letter, &mut report))?;
            let is_wanted = match of {
                Some(part) => tell(&transaction, part.number, &report.after(&part.done))?,
                None => true,
            };
            transaction.commit()?;
            Ok((report, is_wanted))
        });
        settled.map_err(|source| LetterStoreError::State { source })
    }
}

fn settle(connection: &Connection, letter: Returned, report: &mut Report) -> rusqlite::Result<()> {
    let number = [letter.number];
    let was_there = match letter.kept {
        None => {
            let sql = "DELETE FROM dead_letters WHERE number = ?";
            connection.prepare_cached(sql)?.execute(number)? > 0
        }
        Some(_) => {
            let sql = "SELECT 1 FROM dead_letters WHERE number = ?";
            connection.prepare_cached(sql)?.exists(number)?
        }
    };
    match letter.kept {
        _ if !was_there => report.dropped += 1,
        None => report.removed += 1,
        Some(reason) => *report.kept.entry(reason).or_default() += 1,
    }
    Ok(())
}
