//! The same journal gives the same rows, wherever it is sealed and however often it is started again.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use tillwatch::aggregate::{Aggregator, Restored};
use tillwatch::persist::rows::{self, RowOrigin};
use tillwatch::persist::{SideTable, State, side_tables};
use tillwatch::world::World;
use tillwatch_model::{
    Catalogue, EventGroupKey, EventSums, FirstResult, KeyId, LossState, RollupKey, Scalars,
    SeqWindow, SessionDayKey, SessionSums, Summary, TerminalHourKey,
};
use uuid::Uuid;

use crate::support::records::{
    START_MS, aggregator, fleet_page, one_keyed_sample, one_sample, random_records, settled,
};

const SEEDS: std::ops::Range<u64> = 0..40;

/// The rows of these tables: one minute, by terminal, by session, by event, of losses.
fn encode(aggregator: &mut Aggregator, epoch: u64) -> [Vec<u8>; 5] {
    let cut = aggregator.take();
    let origin = RowOrigin {
        collector_id: Uuid::from_u128(1),
        epoch,
        received_at_ms: cut.journal_ms,
    };
    let hours = cut.terminal_hours.into_rows(&cut.tables);
    let sessions = cut.sessions.into_rows(&cut.tables);
    let groups = cut.event_groups.into_rows(&cut.tables);
    [
        rows::encode(cut.windows.into_rows(&cut.tables), origin).bytes,
        side_tables::encode_terminal_hours(&hours, origin).bytes,
        side_tables::encode_sessions(&sessions, origin).bytes,
        side_tables::encode_event_groups(&groups, origin).bytes,
        side_tables::encode_losses(&cut.losses.into_rows(), origin).bytes,
    ]
}

/// What rows of every table add up to.
#[derive(Debug, Default, PartialEq)]
struct Sums {
    rollups: BTreeMap<RollupKey, Summary>,
    hours: BTreeMap<TerminalHourKey, Scalars>,
    sessions: BTreeMap<SessionDayKey, SessionSums>,
    groups: BTreeMap<EventGroupKey, EventSums>,
    /// Batches and samples by terminal, queue, state, reason and beginning.
    losses: BTreeMap<(Box<str>, Box<str>, [u8; 16], LossState, Box<str>, i64), (u64, u64)>,
}

impl Sums {
    fn add(&mut self, [rollups, hours, sessions, groups, losses]: [&[u8]; 5]) {
        let catalogue = Catalogue::default();
        for mut row in rows::decode(rollups, &catalogue, |_, _, _| true).unwrap() {
            let sum = self.rollups.entry(row.key).or_default();
            sum.merge(&mut row.summary);
        }
        for row in side_tables::decode_terminal_hours(hours, &catalogue, |_, _| true).unwrap() {
            self.hours.entry(row.key).or_default().merge(&row.scalars);
        }
        for row in side_tables::decode_sessions(sessions, |_| true).unwrap() {
            self.sessions.entry(row.key).or_default().merge(&row.sums);
        }
        for row in side_tables::decode_event_groups(groups, |_, _| true).unwrap() {
            // The first row has the example.
            match self.groups.entry(row.key) {
                Entry::Occupied(mut known) => known.get_mut().merge(&row.sums),
                Entry::Vacant(free) => drop(free.insert(row.sums)),
            }
        }
        for row in side_tables::decode_losses(losses, |_, _| true).unwrap() {
            let who = (row.store_id, row.terminal_id, row.queue);
            let what = (row.state, row.reason, row.opened_at_ms);
            let key = (who.0, who.1, who.2, what.0, what.1, what.2);
            let sums = self.losses.entry(key).or_default();
            *sums = (sums.0 + row.batches, sums.1 + row.samples);
        }
    }

    fn seal(&mut self, aggregator: &mut Aggregator) {
        let encoded = encode(aggregator, 1);
        self.add(encoded.each_ref().map(Vec::as_slice));
    }
}

fn apply(aggregator: &mut Aggregator, first: u64, records: &[Vec<u8>]) {
    for (position, record) in (first..).zip(records) {
        aggregator.apply(position, record).unwrap();
    }
}

/// Where to seal: ascending positions.
fn random_cuts(random: &mut fastrand::Rng, records: usize) -> Vec<usize> {
    let mut cuts: Vec<usize> = (0..random.usize(1..8))
        .map(|_| random.usize(0..=records))
        .collect();
    cuts.sort_unstable();
    cuts
}

#[test]
fn the_same_records_sealed_at_the_same_places_are_the_same_bytes() {
    for seed in SEEDS {
        let mut random = fastrand::Rng::with_seed(seed);
        let (records, _) = random_records(&mut random, 120);
        let cuts = random_cuts(&mut random, records.len());
        let run = || {
            let mut aggregator = aggregator(Restored::default());
            let mut from = 0;
            let mut epochs = Vec::new();
            for (epoch, to) in (1..).zip(cuts.iter().chain([&records.len()])) {
                apply(&mut aggregator, from as u64 + 1, &records[from..*to]);
                epochs.push(encode(&mut aggregator, epoch));
                from = *to;
            }
            epochs
        };
        assert_eq!(run(), run(), "seed {seed}");
    }
}

#[test]
fn rows_sealed_at_other_places_add_up_to_the_same() {
    let (mut overflows, mut groups) = (0, 0);
    for seed in SEEDS {
        let mut random = fastrand::Rng::with_seed(seed);
        let (records, _) = random_records(&mut random, 150);
        let mut whole = aggregator(Restored::default());
        apply(&mut whole, 1, &records);
        let mut expected = Sums::default();
        expected.seal(&mut whole);
        assert!(!expected.hours.is_empty() && !expected.sessions.is_empty());
        assert!(!expected.losses.is_empty());
        groups += expected.groups.len();
        // Terminals of stores past the cap are one.
        let is_overflow = |name: &str| name == "__overflow__";
        for key in expected.hours.keys() {
            let names = [&key.store_id, &key.terminal_id].map(|name| is_overflow(name));
            assert_eq!(names[0], names[1], "{key:?}");
            overflows += usize::from(names[0]);
        }

        let mut parts = aggregator(Restored::default());
        let mut found = Sums::default();
        let mut from = 0;
        for to in random_cuts(&mut random, records.len())
            .into_iter()
            .chain([records.len()])
        {
            apply(&mut parts, from as u64 + 1, &records[from..to]);
            found.seal(&mut parts);
            from = to;
        }
        assert_eq!(found, expected, "seed {seed}");
        assert_eq!(parts.totals(), whole.totals(), "seed {seed}");
    }
    assert!(overflows > 0 && groups > 0);
}

/// The page of `/metrics/fleet` but for the window gauges: their minutes are not kept over a restart, and
/// begin anew with what the journal brings.
fn page(aggregator: &Aggregator, now_ms: i64) -> String {
    let text = fleet_page(aggregator, now_ms);
    // Stores and releases stand in the order in which this process met them.
    let mut lines: Vec<&str> = text.lines().collect();
    let all = lines.len();
    lines.retain(|line| !line.contains("_window"));
    assert!(lines.len() < all, "the page has window gauges");
    lines.sort_unstable();
    lines.join("\n")
}

/// What is counted as records come is what counting anew gives.
fn running_counts_are_right(aggregator: &Aggregator) {
    let terminals = aggregator.terminals();
    let (mut count, mut missing, mut lost) = (0, 0, 0);
    for store in terminals.stores() {
        let windows = store.iter().flat_map(|(_, terminal)| &terminal.queues);
        let of_store = windows.fold((0, 0), |(missing, lost), (_, window)| {
            (missing + window.open_gaps(), lost + window.lost())
        });
        assert_eq!((store.gaps().missing, store.gaps().lost), of_store);
        let active = store.iter().filter(|(_, terminal)| !terminal.is_retired);
        assert_eq!(store.active(), active.count());
        count += store.len();
        missing += of_store.0;
        lost += of_store.1;
    }
    assert_eq!(terminals.len(), count);
    assert_eq!(
        (terminals.gaps().missing, terminals.gaps().lost),
        (missing, lost)
    );
}

type Queues = BTreeMap<(String, String, [u8; 16]), SeqWindow>;

fn queues(aggregator: &Aggregator) -> Queues {
    let all = aggregator.terminals().iter().flat_map(|(key, terminal)| {
        terminal.queues.iter().map(|(queue, window)| {
            (
                (
                    key.store_id.to_string(),
                    key.terminal_id.to_string(),
                    *queue,
                ),
                window.clone(),
            )
        })
    });
    all.collect()
}

#[test]
fn restarts_at_any_place_change_neither_rows_nor_counters_nor_what_has_been_seen() {
    for seed in SEEDS {
        let mut random = fastrand::Rng::with_seed(seed);
        let (records, now_ms) = random_records(&mut random, 150);
        let mut whole = aggregator(Restored::default());
        apply(&mut whole, 1, &records);

        let folder = tempfile::tempdir().unwrap();
        let mut state = State::open(folder.path(), &World::of_machine()).unwrap();
        let mut found = Sums::default();
        let mut restarted = aggregator(state.restore().unwrap());
        let mut from = 0;
        for to in random_cuts(&mut random, records.len()) {
            apply(&mut restarted, from as u64 + 1, &records[from..to]);
            from = to;
            if to as u64 > state.restore().unwrap().applied && random.bool() {
                let sealing = state
                    .encode(restarted.take(), state.last_epoch().unwrap() + 1)
                    .unwrap();
                state.seal(&sealing, now_ms).unwrap();
                let side = |table| sealing.side_bytes(table);
                found.add([
                    sealing.row_bytes(),
                    side(SideTable::TerminalHour),
                    side(SideTable::Session),
                    side(SideTable::EventGroup),
                    side(SideTable::Loss),
                ]);
            }
            if random.bool() {
                // Killed: what is not sealed comes from the journal once more.
                drop(state);
                state = State::open(folder.path(), &World::of_machine()).unwrap();
                let restored = state.restore().unwrap();
                let sealed = usize::try_from(restored.applied).unwrap();
                restarted = aggregator(restored);
                apply(&mut restarted, sealed as u64 + 1, &records[sealed..from]);
            }
        }
        apply(&mut restarted, from as u64 + 1, &records[from..]);
        assert_eq!(restarted.totals(), whole.totals(), "seed {seed}");
        assert_eq!(queues(&restarted), queues(&whole), "seed {seed}");
        for aggregator in [&restarted, &whole] {
            running_counts_are_right(aggregator);
        }
        let (after, before) = (page(&restarted, now_ms), page(&whole, now_ms));
        let only = |left: &str, right: &str| {
            let right: BTreeSet<&str> = right.lines().collect();
            left.lines()
                // How many terminals had trouble in the last ten minutes is not kept over a restart.
                .filter(|line| !line.starts_with("pos_terminals_sync_"))
                .filter(|line| !right.contains(line))
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        let (more, fewer) = (only(&after, &before), only(&before, &after));
        assert!(
            more.is_empty() && fewer.is_empty(),
            "seed {seed}: {more:#?} instead of {fewer:#?}"
        );
        found.seal(&mut restarted);
        let mut expected = Sums::default();
        expected.seal(&mut whole);
        assert!(!expected.hours.is_empty() && !expected.sessions.is_empty());
        assert_eq!(found, expected, "seed {seed}");
    }
}

#[test]
fn a_record_of_a_batch_applied_before_counts_once_also_days_and_restarts_later() {
    const DAY_MS: i64 = 86_400_000;
    let folder = tempfile::tempdir().unwrap();
    let mut first = aggregator(Restored::default());
    for seq in [1, 2, 4, 5] {
        first
            .apply(seq, &one_sample("store-1", (seq, START_MS), seq))
            .unwrap();
    }
    let state = State::open(folder.path(), &World::of_machine()).unwrap();
    let sealing = state.encode(first.take(), 1).unwrap();
    state.seal(&sealing, START_MS).unwrap();
    drop(state);

    let state = State::open(folder.path(), &World::of_machine()).unwrap();
    let mut second = aggregator(state.restore().unwrap());
    let accepted = second.totals().accepted;
    assert_eq!(accepted, 4);
    for (position, seq) in [(6, 1), (7, 4), (8, 5)] {
        second
            .apply(
                position,
                &one_sample("store-1", (seq, START_MS + 8 * DAY_MS), 99),
            )
            .unwrap();
    }
    assert_eq!(
        (
            second.totals().accepted,
            second.totals().repeated,
            second.rows()
        ),
        (4, 3, 0)
    );
    // The one that was missing still counts, once.
    for position in [9, 10] {
        second
            .apply(
                position,
                &one_sample("store-1", (3, START_MS + 8 * DAY_MS), 3),
            )
            .unwrap();
    }
    assert_eq!((second.totals().accepted, second.totals().repeated), (5, 4));
}

#[test]
fn a_keyed_record_counts_once_and_its_key_is_sealed_with_it() {
    const DAY_MS: i64 = 86_400_000;
    let folder = tempfile::tempdir().unwrap();
    let state = State::open(folder.path(), &World::of_machine()).unwrap();
    let mut aggregator = aggregator(Restored::default());
    let ids: Vec<KeyId> = (0..40).map(|number| [number; 16]).collect();
    // More keys than a terminal may have queues, all of them "number 0"; each record twice.
    for (position, id) in (1..).zip(ids.iter().chain(&ids)) {
        let record = one_keyed_sample("store-1", (*id, START_MS), 7);
        aggregator.apply(position, &record).unwrap();
    }
    let totals = aggregator.totals();
    assert_eq!((totals.accepted, totals.repeated), (40, 40));
    let terminals: Vec<_> = aggregator.terminals().iter().collect();
    assert_eq!((terminals.len(), terminals[0].1.queues.len()), (1, 0));
    assert_eq!(aggregator.keys().count(), 40);

    let sealing = state.encode(aggregator.take(), 1).unwrap();
    assert!(
        state.find_keys(&ids).unwrap().is_empty(),
        "not before the seal"
    );
    state.seal(&sealing, START_MS).unwrap();
    drop(state);
    let state = State::open(folder.path(), &World::of_machine()).unwrap();
    let found = state.find_keys(&ids).unwrap();
    let first = FirstResult {
        received_at_ms: START_MS,
        accepted: 1,
        rejected: 0,
    };
    assert_eq!(found, ids.iter().map(|id| (*id, first)).collect::<Vec<_>>());
    assert_eq!(sealing.keys(), found);
    assert_eq!(aggregator.keys().count(), 0);

    // A terminal without queues is known for nine days, as one with them is.
    let quiet = |aggregator: &mut Aggregator, days: i64| {
        let position = 100 + 2 * u64::try_from(days).unwrap();
        let at_ms = START_MS + days * DAY_MS;
        let record = one_sample("store-2", (position, at_ms), 1);
        aggregator.apply(position, &record).unwrap();
        let all = aggregator.terminals().iter();
        let before = all.filter(|(key, _)| *key.store_id == *"store-1").count();
        assert_eq!(before, 1, "no batch's time is reason enough");
        aggregator.apply(position + 1, &settled(at_ms)).unwrap();
        let all = aggregator.terminals().iter();
        all.filter(|(key, _)| *key.store_id == *"store-1").count()
    };
    assert_eq!(quiet(&mut aggregator, 9), 1);
    assert_eq!(quiet(&mut aggregator, 10), 0);
}

#[test]
fn a_seal_that_fails_leaves_everything_as_it_was_and_can_be_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut random = fastrand::Rng::with_seed(5);
    let (records, now_ms) = random_records(&mut random, 80);
    let mut aggregator = aggregator(Restored::default());
    let state = State::open(folder.path(), &World::of_machine()).unwrap();
    apply(&mut aggregator, 1, &records[..40]);
    let first = state.encode(aggregator.take(), 1).unwrap();
    state.seal(&first, now_ms).unwrap();
    let image = || {
        let restored = state.restore().unwrap();
        (
            format!("{restored:?}"),
            state.ledger(0).unwrap(),
            state.outbox_totals().unwrap(),
            state.last_epoch().unwrap(),
        )
    };
    let before = image();
    // Sealing the first cut again, as after an answer that was lost, fails and changes nothing.
    assert!(state.seal(&first, now_ms + 1).is_err());
    assert_eq!(image(), before);

    apply(&mut aggregator, 41, &records[40..]);
    let second = state.encode(aggregator.take(), 2).unwrap();
    let other = rusqlite::Connection::open(folder.path().join("state.sqlite")).unwrap();
    // The disk refuses: at the first table a seal writes, in the middle, and at the last.
    for table in [
        "epoch",
        "epoch_day",
        "outbox",
        "epoch_side_day",
        "side_outbox",
        "name",
        "series",
        "terminal",
        "queue",
        "meta",
    ] {
        let trigger = format!(
            "CREATE TRIGGER refuse BEFORE INSERT ON {table} BEGIN SELECT RAISE(ABORT, 'no room'); END"
        );
        other.execute_batch(&trigger).unwrap();
        assert!(state.seal(&second, now_ms).is_err(), "{table}");
        assert_eq!(image(), before, "{table}");
        other.execute_batch("DROP TRIGGER refuse").unwrap();
    }
    state.seal(&second, now_ms).unwrap();
    assert_eq!(state.restore().unwrap().applied, 80);
    assert_eq!(state.last_epoch().unwrap(), 2);
    let rows = state.rows_of(2).unwrap().unwrap();
    assert_eq!(rows, second.row_bytes());
    for table in SideTable::ALL {
        let rows = state.side_rows_of(2, table).unwrap().unwrap();
        assert_eq!(rows, second.side_bytes(table));
    }
}
