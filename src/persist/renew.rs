//! A new collector id for a state file that is an older copy of itself.

use rusqlite::params;
use uuid::Uuid;

use crate::persist::error::StateError;
use crate::persist::marks::uncheck_all;
use crate::persist::rows;
use crate::persist::side_outbox;
use crate::persist::signed::{signed, unsigned};
use crate::persist::state::{State, new_collector_id};

impl State {
    /// Gives this state file a new number, so that its epochs cannot meet those of the old one. Of what
    /// is unconfirmed, the epochs in `used` meet other rows under the old number: they move to the new
    /// one. The others are shipped as they are, so that what has arrived of them is not there twice.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn renew_collector_id(&self, used: &[u64]) -> Result<Uuid, StateError> {
        let mut blobs = Vec::new();
        for epoch in used {
            let rows = self.rows_of(*epoch)?;
            let gone = StateError::BlobGone {
                epoch: *epoch,
                table: "rollup_1m",
            };
            blobs.push((*epoch, rows.ok_or(gone)?));
        }
        let mut writer = self.writer();
        let transaction = writer.transaction()?;
        let id = new_collector_id(&transaction, self.chance())?;
        // Another copy of this file has shipped epochs that this one knows nothing of.
        uncheck_all(&transaction, self.now_ms())?;
        for (epoch, bytes) in blobs {
            let stamped = rows::restamp(&bytes, id).ok_or(StateError::Damaged("outbox blob"))?;
            let blob = zstd::bulk::compress(&stamped.bytes, 1).map_err(StateError::Blob)?;
            let epoch = signed(epoch);
            transaction.execute(
                "UPDATE epoch SET collector_id = ?2 WHERE epoch = ?1",
                params![epoch, id.to_string()],
            )?;
            transaction.execute(
                "UPDATE outbox SET blob = ?2 WHERE epoch = ?1",
                params![epoch, blob],
            )?;
            side_outbox::restamp(&transaction, unsigned(epoch), id)?;
            for (day, ledger) in stamped.days {
                transaction.execute(
                    "UPDATE epoch_day SET hash_sum = ?3 WHERE epoch = ?1 AND day = ?2",
                    params![epoch, day, signed(ledger.hash_sum)],
                )?;
            }
        }
        transaction.commit()?;
        Ok(id)
    }
}
