//! The layout of the state file, and how an earlier one is brought forward.

use rusqlite::Transaction;

use crate::persist::error::StateError;
use crate::persist::marks::uncheck_unmarked;
use crate::persist::tables::{get_meta, put_meta};

/// Layout of the file; an earlier one is brought forward in `LAYOUTS`. A later one may have more: each
/// step only adds, and what it adds an earlier release leaves alone.
pub(super) const LAYOUT: i64 = 10;

/// The oldest layout whose releases may use a file of this one, so that a release can be rolled back.
/// A step that they could not live with raises it to its own number.
pub(super) const OLDEST_READER: i64 = 1;

/// What brings a file from layout n to n + 1.
pub(super) const LAYOUTS: [&str; 10] = ["
    CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
    -- The ledger of epochs: one row a seal, kept 97 days.
    CREATE TABLE epoch (
        epoch INTEGER PRIMARY KEY, collector_id TEXT NOT NULL, sealed_at_ms INTEGER NOT NULL, first_position INTEGER NOT NULL,
        applied_position INTEGER NOT NULL, received_at_ms INTEGER NOT NULL, confirmed_at_ms INTEGER);
    CREATE TABLE epoch_day (
        epoch INTEGER NOT NULL, day INTEGER NOT NULL, row_count INTEGER NOT NULL,
        samples INTEGER NOT NULL, hash_sum INTEGER NOT NULL, PRIMARY KEY (epoch, day)) WITHOUT ROWID;
    -- RowBinary under zstd, exactly the rows to insert.
    CREATE TABLE outbox (epoch INTEGER PRIMARY KEY, plain_bytes INTEGER NOT NULL, blob BLOB NOT NULL);
    CREATE TABLE queue (
        store_id TEXT NOT NULL, terminal_id TEXT NOT NULL, queue BLOB NOT NULL, window BLOB NOT NULL,
        PRIMARY KEY (store_id, terminal_id, queue)) WITHOUT ROWID;
    CREATE TABLE terminal (
        store_id TEXT NOT NULL, terminal_id TEXT NOT NULL, state TEXT NOT NULL,
        PRIMARY KEY (store_id, terminal_id)) WITHOUT ROWID;
    -- kind: store or release.
    CREATE TABLE name (
        kind TEXT NOT NULL, name TEXT NOT NULL, ordinal INTEGER NOT NULL, last_seen_ms INTEGER NOT NULL,
        PRIMARY KEY (kind, name)) WITHOUT ROWID;
    CREATE TABLE series (
        kind TEXT NOT NULL, name TEXT NOT NULL, state TEXT NOT NULL, PRIMARY KEY (kind, name)) WITHOUT ROWID;
    CREATE TABLE session_key (day INTEGER PRIMARY KEY, key BLOB NOT NULL);
", "
    -- What the first post of a keyed batch came to; kept 25 hours.
    CREATE TABLE IF NOT EXISTS idempotency_key (
        id BLOB PRIMARY KEY, received_at_ms INTEGER NOT NULL, accepted INTEGER NOT NULL, rejected INTEGER NOT NULL) WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS idempotency_key_received ON idempotency_key (received_at_ms);
", "
    -- Hours of stores (hours since 1970) that rollup_1h does not hold in full, and the last epoch with rows of them.
    CREATE TABLE IF NOT EXISTS dirty_hour (
        hour INTEGER NOT NULL, store_id TEXT NOT NULL, epoch INTEGER NOT NULL,
        since_ms INTEGER NOT NULL, touched_ms INTEGER NOT NULL, PRIMARY KEY (hour, store_id)) WITHOUT ROWID;
    -- Days of which that is not known, until the epoch is confirmed and they are looked at.
    CREATE TABLE IF NOT EXISTS unchecked_day (day INTEGER PRIMARY KEY, epoch INTEGER NOT NULL);
", "
    -- An epoch's rows for the tables beside rollup_1m, as in `outbox` and `epoch_day`. A release that knows
    -- nothing of them confirms an epoch without them: so they say themselves whether they are.
    CREATE TABLE IF NOT EXISTS side_outbox (
        epoch INTEGER NOT NULL, table_name TEXT NOT NULL, plain_bytes INTEGER NOT NULL, blob BLOB NOT NULL,
        confirmed_at_ms INTEGER, PRIMARY KEY (epoch, table_name));
    CREATE TABLE IF NOT EXISTS epoch_side_day (
        epoch INTEGER NOT NULL, table_name TEXT NOT NULL, day INTEGER NOT NULL, row_count INTEGER NOT NULL,
        hash_sum INTEGER NOT NULL, PRIMARY KEY (epoch, table_name, day)) WITHOUT ROWID;
", "
    -- What was found missing from the journal, until a person has seen it, and for as long as the ledger.
    CREATE TABLE IF NOT EXISTS journal_loss (
        id INTEGER PRIMARY KEY, kind TEXT NOT NULL, first_position INTEGER, last_position INTEGER,
        records INTEGER NOT NULL, bytes INTEGER NOT NULL, segment INTEGER NOT NULL,
        found_at_ms INTEGER NOT NULL, accepted_at_ms INTEGER);
", "
    -- How many keys of each store came in each hour (since 1970); an empty store stands for those without series.
    CREATE TABLE IF NOT EXISTS key_count (
        hour INTEGER NOT NULL, store_id TEXT NOT NULL, key_count INTEGER NOT NULL,
        PRIMARY KEY (hour, store_id)) WITHOUT ROWID;
", "
    -- Tokens that were ended before their time: kind family (name), store (name), terminal (name, terminal_id).
    CREATE TABLE IF NOT EXISTS revocation (
        kind TEXT NOT NULL, name TEXT NOT NULL, terminal_id TEXT NOT NULL, before_ms INTEGER NOT NULL,
        kept_until_ms INTEGER NOT NULL, PRIMARY KEY (kind, name, terminal_id)) WITHOUT ROWID;
    -- Keys that do not expire: of each the SHA-256. Scopes and stores with spaces between them; no stores: all.
    CREATE TABLE IF NOT EXISTS static_key (
        id TEXT PRIMARY KEY, digest BLOB NOT NULL, scopes TEXT NOT NULL, stores TEXT NOT NULL, name TEXT NOT NULL,
        created_at_ms INTEGER NOT NULL) WITHOUT ROWID;
", "
    -- Metrics of the shop's own that were ever used: what of them may not change. Values of the label with spaces between.
    CREATE TABLE IF NOT EXISTS own_metric (
        name TEXT PRIMARY KEY, kind TEXT NOT NULL, unit TEXT NOT NULL, label_key TEXT, label_values TEXT NOT NULL,
        threshold_low INTEGER, threshold_high INTEGER, per_terminal INTEGER NOT NULL) WITHOUT ROWID;
", "
    -- What was said of a release at each look. `kind` is step (one was reached), look (the first word on it), arrived (data that were awaited have come),
    -- revised (late data that nobody awaited changed the word) or incident; none is ever written over. `counts` (samples in
    -- its hours) and `inputs_hash` say on which data, `checked_counts` and `checked_at_ms` when it was looked at again last.
    CREATE TABLE IF NOT EXISTS rollout_verdict (
        id INTEGER PRIMARY KEY, release TEXT NOT NULL, against TEXT NOT NULL, step INTEGER NOT NULL,
        look INTEGER, kind TEXT NOT NULL, judged_at_ms INTEGER NOT NULL, epoch INTEGER NOT NULL, start_hour INTEGER NOT NULL,
        until_hour INTEGER NOT NULL, counts INTEGER NOT NULL, inputs_hash TEXT NOT NULL,
        checked_counts INTEGER NOT NULL, checked_at_ms INTEGER NOT NULL, verdict TEXT NOT NULL, is_awaiting INTEGER NOT NULL, result TEXT NOT NULL);
    CREATE INDEX IF NOT EXISTS rollout_verdict_release ON rollout_verdict (release, id);
", "
    -- The last changes that people are told of: a store that came into trouble or out of it, or (store_id is empty) a word
    -- on a rollout. `change` is what is told, as JSON.
    CREATE TABLE IF NOT EXISTS fleet_change (
        id INTEGER PRIMARY KEY, t_ms INTEGER NOT NULL, store_id TEXT NOT NULL, to_state TEXT NOT NULL, change TEXT NOT NULL);
"];

/// The first layout whose releases ask for revocations. Whoever has revoked something must not have it undone by an
/// earlier release, which would let the tokens in again.
const FIRST_TO_REVOKE: i64 = 7;

/// Demands of whatever opens the file from now on that it knows revocations.
pub(super) fn demand_revocations(transaction: &Transaction<'_>) -> Result<(), StateError> {
    let needs: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    transaction.pragma_update(None, "user_version", needs.max(FIRST_TO_REVOKE))?;
    Ok(())
}

/// Makes the tables, or brings them forward. `PRAGMA user_version` is the oldest layout whose releases may
/// use the file, `layout` in `meta` is its own; a file of the first release has only the former.
pub(super) fn bring_forward(transaction: &Transaction<'_>, now_ms: i64) -> Result<(), StateError> {
    let pragma = |name| transaction.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let needs = pragma("user_version")?;
    if needs > LAYOUT {
        return Err(StateError::Later {
            found: needs,
            known: LAYOUT,
        });
    }
    let noted = if needs == 0 {
        None
    } else {
        get_meta(transaction, "layout")?
    };
    let found = noted.and_then(|text| text.parse().ok()).unwrap_or(needs);
    for step in LAYOUTS.iter().skip(usize::try_from(found).unwrap_or(0)) {
        transaction.execute_batch(step)?;
    }
    put_meta(transaction, "layout", &found.max(LAYOUT).to_string())?;
    transaction.pragma_update(None, "user_version", needs.max(OLDEST_READER))?;
    uncheck_unmarked(transaction, now_ms)
}
