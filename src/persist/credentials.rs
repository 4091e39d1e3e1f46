//! Static keys and revoked tokens, in the state file.
//!
//! An act is durable when its function returns. The first revocation demands of whatever opens the file from then on
//! that it knows revocations, in the same transaction: an earlier release would let the tokens in again.

use rusqlite::{Connection, params};

use crate::auth::{
    KEPT_MS, REVOCATIONS_MAX, Revocation, Revoked, STATIC_KEYS_MAX, Scope, StaticKey,
};
use crate::persist::error::StateError;
use crate::persist::layout::demand_revocations;
use crate::persist::state::State;

/// The columns of a revocation that tell it from others: kind, name, terminal.
fn columns(revoked: &Revoked) -> (&'static str, &str, &str) {
    match revoked {
        Revoked::Family(family) => ("family", family, ""),
        Revoked::Store(store_id) => ("store", store_id, ""),
        Revoked::Terminal(store_id, terminal_id) => ("terminal", store_id, terminal_id),
    }
}

impl State {
    /// Ends tokens; of two revocations of one store the later time counts. Those that nothing can fall under any more are
    /// forgotten if `may_forget`.
    ///
    /// # Errors
    /// [`StateError::Full`] when there are too many; else when the file cannot be written.
    pub fn revoke(
        &self,
        revocation: &Revocation,
        now_ms: i64,
        may_forget: bool,
    ) -> Result<(), StateError> {
        let Revocation { revoked, before_ms } = revocation;
        let (kind, name, terminal_id) = columns(revoked);
        let mut writer = self.writer();
        let transaction = writer.transaction()?;
        if may_forget {
            transaction.execute("DELETE FROM revocation WHERE kept_until_ms < ?1", [now_ms])?;
        }
        demand_revocations(&transaction)?;
        transaction.execute(
            "INSERT INTO revocation VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO UPDATE SET
             before_ms = max(before_ms, excluded.before_ms), kept_until_ms = max(kept_until_ms, excluded.kept_until_ms)",
            params![kind, name, terminal_id, before_ms, now_ms.saturating_add(KEPT_MS)],
        )?;
        if count(&transaction, "SELECT count(*) FROM revocation")? > REVOCATIONS_MAX {
            return Err(StateError::Full("revocations", REVOCATIONS_MAX));
        }
        transaction.commit()?;
        Ok(())
    }

    /// Every revocation that a valid token could fall under.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn revocations(&self) -> Result<Vec<Revocation>, StateError> {
        let reader = self.reader();
        let mut statement =
            reader.prepare("SELECT kind, name, terminal_id, before_ms FROM revocation")?;
        let rows = statement.query_map([], |row| {
            let kind: String = row.get(0)?;
            let name: Box<str> = row.get(1)?;
            let revoked = match kind.as_str() {
                "family" => Revoked::Family(name),
                "store" => Revoked::Store(name),
                // A kind of a later release ends more than this one can know: that release demands its own reader.
                _ => Revoked::Terminal(name, row.get(2)?),
            };
            Ok(Revocation {
                revoked,
                before_ms: row.get(3)?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Notes a static key.
    ///
    /// # Errors
    /// [`StateError::Full`] when there are too many; else when the file cannot be written.
    pub fn add_static_key(&self, key: &StaticKey) -> Result<(), StateError> {
        let mut writer = self.writer();
        let transaction = writer.transaction()?;
        let scopes: Vec<&str> = key.scopes.iter().map(|scope| scope.name()).collect();
        let stores = key.stores.as_deref().unwrap_or_default().join(" ");
        transaction.execute(
            "INSERT INTO static_key VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![
                key.id,
                key.digest,
                scopes.join(" "),
                stores,
                key.name,
                key.created_at_ms
            ],
        )?;
        if count(&transaction, "SELECT count(*) FROM static_key")? > STATIC_KEYS_MAX {
            return Err(StateError::Full("static keys", STATIC_KEYS_MAX));
        }
        transaction.commit()?;
        Ok(())
    }

    /// Takes a static key away; says whether it was there.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn remove_static_key(&self, id: &str) -> Result<bool, StateError> {
        let removed = self
            .writer()
            .execute("DELETE FROM static_key WHERE id = ?1", [id])?;
        Ok(removed > 0)
    }

    /// Every static key, the oldest first.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn static_keys(&self) -> Result<Vec<StaticKey>, StateError> {
        let reader = self.reader();
        let mut statement = reader.prepare(
            "SELECT id, digest, scopes, stores, name, created_at_ms FROM static_key ORDER BY created_at_ms, id",
        )?;
        let rows = statement.query_map([], |row| {
            let (scopes, stores): (String, String) = (row.get(2)?, row.get(3)?);
            let stores: Vec<Box<str>> = stores.split_whitespace().map(Into::into).collect();
            Ok(StaticKey {
                id: row.get(0)?,
                digest: row.get(1)?,
                // One that only a later release knows gives no right here.
                scopes: scopes
                    .split_whitespace()
                    .filter_map(Scope::of_name)
                    .collect(),
                stores: (!stores.is_empty()).then_some(stores),
                name: row.get(4)?,
                created_at_ms: row.get(5)?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

fn count(connection: &Connection, sql: &str) -> Result<usize, StateError> {
    let count: i64 = connection.query_row(sql, [], |row| row.get(0))?;
    Ok(usize::try_from(count).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::persist::layout::OLDEST_READER;
    use crate::world::World;

    const NOW_MS: i64 = 1_795_900_000_000;

    fn needs(folder: &std::path::Path) -> i64 {
        let file = Connection::open(folder.join("state.sqlite")).unwrap();
        file.pragma_query_value(None, "user_version", |row| row.get(0))
            .unwrap()
    }

    #[test]
    fn revocations_are_found_again_demand_their_reader_and_are_forgotten_when_nothing_can_fall_under_them()
     {
        let folder = tempfile::tempdir().unwrap();
        let open = || State::open(folder.path(), &World::of_machine()).unwrap();
        let state = open();
        assert_eq!(needs(folder.path()), OLDEST_READER);
        let revoke = |revoked, before_ms, now_ms| {
            let revocation = Revocation { revoked, before_ms };
            state.revoke(&revocation, now_ms, true).unwrap();
        };
        revoke(Revoked::Family("f".into()), 0, NOW_MS);
        assert_eq!(needs(folder.path()), 7);
        let of_store = || Revoked::Store("s".into());
        revoke(of_store(), 2_000, NOW_MS + 1);
        revoke(of_store(), 1_000, NOW_MS + 2);
        revoke(Revoked::Terminal("s".into(), "t".into()), 5, NOW_MS + 3);
        drop(open().revocations().unwrap());
        let mut found = open().revocations().unwrap();
        found.sort_by(|one, other| one.revoked.cmp(&other.revoked));
        let before: Vec<i64> = found.iter().map(|one| one.before_ms).collect();
        assert_eq!(before, [0, 2_000, 5]);
        revoke(Revoked::Family("g".into()), 0, NOW_MS + KEPT_MS + 3);
        assert_eq!(
            state.revocations().unwrap().len(),
            2,
            "the oldest two are over"
        );
    }

    #[test]
    fn static_keys_are_found_again_without_their_secret() {
        let folder = tempfile::tempdir().unwrap();
        let state = State::open(folder.path(), &World::of_machine()).unwrap();
        let key = |id: &str, stores: Option<&[&str]>| StaticKey {
            id: id.into(),
            digest: [7; 32],
            scopes: vec![Scope::Post, Scope::Read],
            stores: stores.map(|stores| stores.iter().map(|store| (*store).into()).collect()),
            name: "the nightly import".into(),
            created_at_ms: NOW_MS,
        };
        let keys = [key("a", None), key("b", Some(&["s1", "s2"]))];
        for key in &keys {
            state.add_static_key(key).unwrap();
        }
        assert_eq!(state.static_keys().unwrap(), keys);
        assert!(state.add_static_key(&keys[0]).is_err(), "the id is taken");
        assert!(state.remove_static_key("a").unwrap());
        assert!(!state.remove_static_key("a").unwrap());
        assert_eq!(state.static_keys().unwrap(), keys[1..]);
        assert_eq!(needs(folder.path()), OLDEST_READER);
    }
}
