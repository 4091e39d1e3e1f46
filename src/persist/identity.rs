//! What a state file belongs with: the journal whose positions it knows.

use uuid::Uuid;

use crate::persist::error::StateError;
use crate::persist::state::State;
use crate::persist::tables::{get_meta, put_meta};

impl State {
    /// The journal whose positions this file knows; `None` before the first start, and after a restore.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn journal_id(&self) -> Result<Option<u128>, StateError> {
        let text: Option<String> = get_meta(&self.reader(), "journal_id")?;
        text.map(|text| {
            let id =
                Uuid::parse_str(&text).map_err(|_not_a_uuid| StateError::Damaged("journal id"))?;
            Ok(id.as_u128())
        })
        .transpose()
    }

    /// Notes which journal this file goes with.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn note_journal_id(&self, id: u128) -> Result<(), StateError> {
        let text = Uuid::from_u128(id).to_string();
        put_meta(&self.writer(), "journal_id", &text)
    }
}
