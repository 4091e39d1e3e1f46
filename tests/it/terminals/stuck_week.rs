//! How often the sales of a store are said to pile up or to be given up although they are not, and how often one is missed
//! whose sales are: a week of 200 simulated stores in which lines are gone for hours, as they always are, and one in which
//! a tenth of the stores has a till that synchronises nothing any more.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use tillwatch::aggregate::{Aggregator, Restored};
use tillwatch_model::journal_record_v1::Encoder;
use tillwatch_model::time::{DAY_MS, HOUR_MS, MINUTE_MS};
use tillwatch_model::{BatchHeader, Catalogue, Connection, Reading, Source};

use crate::support::Exposition;
use crate::support::records::{START_MS, fleet_page, settings, settled};

const STORES: usize = 200;
const DAYS: i64 = 7;
const MIDNIGHT_MS: i64 = START_MS / DAY_MS * DAY_MS;
const REPORT_EVERY_MS: i64 = 5 * MINUTE_MS;
/// Two posts of a till overtake each other by less than this.
const OVERTAKING_MS: i64 = 7 * MINUTE_MS;
/// For so long a till's last level is shown.
const SHOWN_MS: i64 = 10 * MINUTE_MS;
/// The limit of `PosStorePendingTransactionsHigh`.
const PENDING_LIMIT: u64 = 800;
/// A till that crossed the limit within this time may be said to be over it or not.
const SETTLED_MS: i64 = SHOWN_MS + OVERTAKING_MS;
/// The window of `PosStoreDeadLetters`, in looks.
const DEAD_LETTER_LOOKS: usize = 6;

struct Till {
    store: usize,
    number: usize,
    opens: i64,
    closes: i64,
    /// While it synchronises nothing, and whether it gives up what it tried ten times.
    stuck: Option<(i64, i64, bool)>,
    /// Today without a line.
    cut_off: (i64, i64),
    seq: u64,
    pending: u64,
    /// What waited in it, by time, for as long as a look may ask for it.
    history: VecDeque<(i64, u64)>,
}

struct Sent {
    till: usize,
    seq: u64,
    t_ms: i64,
    pending: u64,
    given_up: u64,
}

#[derive(Debug, Default)]
struct Claims {
    batches: u64,
    looks: u64,
    /// Looks at stores over the limit, and what was said of them.
    piled_up: u64,
    false_piled_up: u64,
    missed_piled_up: u64,
    /// Tills that were ever over the limit.
    tills_over: u64,
    given_up: u64,
    false_given_up: u64,
    missed_given_up: u64,
    /// Looks at which `PosStoreDeadLetters` held for a store.
    dead_letter_looks: u64,
    false_dead_letter_looks: u64,
    missed_dead_letter_looks: u64,
    most_without_trouble: u64,
}

fn store_id(store: usize) -> String {
    format!("store-{store}")
}

fn tills(random: &mut fastrand::Rng, is_troubled: bool) -> Vec<Till> {
    let mut tills = Vec::new();
    for store in 0..STORES {
        let (opens, closes) = (random.i64(7 * 60..10 * 60), random.i64(18 * 60..21 * 60));
        let count = random.usize(2..6);
        let begins_ms = MIDNIGHT_MS + random.i64(8 * HOUR_MS..5 * DAY_MS);
        let stuck = (
            begins_ms,
            begins_ms + random.i64(6 * HOUR_MS..40 * HOUR_MS),
            random.bool(),
        );
        let is_stuck = |number| is_troubled && store.is_multiple_of(10) && number == 0;
        tills.extend((0..count).map(|number| Till {
            store,
            number,
            opens,
            closes,
            stuck: is_stuck(number).then_some(stuck),
            cut_off: (0, 0),
            seq: 0,
            pending: 0,
            history: VecDeque::new(),
        }));
    }
    tills
}

impl Till {
    fn is_open(&self, at_ms: i64) -> bool {
        let minute = at_ms.rem_euclid(DAY_MS) / MINUTE_MS;
        (self.opens..self.closes).contains(&minute)
    }

    fn is_cut_off(&self, at_ms: i64) -> bool {
        (self.cut_off.0..self.cut_off.1).contains(&at_ms)
    }

    /// Five minutes of sales: what waits after them, and what was given up.
    fn sell(&mut self, t_ms: i64, random: &mut fastrand::Rng) -> (u64, u64) {
        let stuck = self
            .stuck
            .filter(|(from, to, _)| (*from..*to).contains(&t_ms));
        self.pending += random.u64(5..15);
        if stuck.is_none() && !self.is_cut_off(t_ms) {
            self.pending = random.u64(0..4);
        }
        let gives_up = stuck.is_some_and(|(_, _, gives_up)| gives_up) && random.f64() < 0.2;
        let given_up = if gives_up {
            self.pending.min(random.u64(1..4))
        } else {
            0
        };
        self.pending -= given_up;
        self.history.push_back((t_ms, self.pending));
        self.history.retain(|(at_ms, _)| *at_ms > t_ms - HOUR_MS);
        (self.pending, given_up)
    }

    /// Whether it was over the limit at any time, and all the time, between two times.
    fn over_limit(&self, from_ms: i64, to_ms: i64) -> (bool, bool) {
        let between = || {
            let of_history = self.history.iter();
            of_history.filter(|(at_ms, _)| (from_ms..=to_ms).contains(at_ms))
        };
        let is_over = |(_, pending): &(i64, u64)| *pending > PENDING_LIMIT;
        (
            between().any(is_over),
            between().count() > 0 && between().all(is_over),
        )
    }

    /// Whether what it reported between two times has come.
    fn is_heard(&self, from_ms: i64, to_ms: i64) -> bool {
        let is_open = self.is_open(from_ms) && self.is_open(to_ms);
        let (gone_ms, back_ms) = self.cut_off;
        is_open && (back_ms + OVERTAKING_MS <= from_ms || gone_ms > to_ms)
    }
}

fn record(till: &Till, sent: &Sent, received_at_ms: i64) -> Vec<u8> {
    let catalogue = Catalogue::default();
    let (store_id, terminal_id) = (store_id(till.store), format!("till-{}", till.number));
    let mut queue = [1; 16];
    queue[0] = u8::try_from(till.store).unwrap();
    queue[1] = u8::try_from(till.number).unwrap();
    let header = BatchHeader {
        received_at_ms,
        offset_ms: 0,
        applied_offset_ms: 0,
        store_id: &store_id,
        terminal_id: &terminal_id,
        queue,
        seq: sent.seq,
        is_keyed: false,
        browser: None,
        release: "2.4.1",
        source: Source::Rum,
        session: None,
    };
    let reading = |metric: &str| Reading {
        metric: catalogue.named(metric).unwrap().code,
        label: 0,
        connection: Connection::Online,
        t_raw_ms: sent.t_ms,
    };
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, &header);
    encoder.sample(&reading("pending_transactions"), sent.pending);
    if sent.given_up > 0 {
        encoder.sample(&reading("sync_dead_letters"), sent.given_up);
    }
    bytes
}

fn given_up_by_store(page: &Exposition) -> BTreeMap<String, f64> {
    let mut by_store = BTreeMap::new();
    let from = "pos_sync_dead_letters_total{".to_owned();
    for (series, value) in page.lines.range(from..) {
        let Some(labels) = series.strip_prefix("pos_sync_dead_letters_total{") else {
            break;
        };
        let of_store = labels
            .split("store_id=\"")
            .nth(1)
            .unwrap()
            .split('"')
            .next()
            .unwrap();
        *by_store.entry(of_store.to_owned()).or_default() += value;
    }
    by_store
}

/// Holds what the page of a look says of each store against what is.
fn look(
    page: &Exposition,
    now_ms: i64,
    tills: &[Till],
    arrived: &[VecDeque<u64>],
    totals: &mut [VecDeque<f64>],
    claims: &mut Claims,
) {
    claims.looks += 1;
    let value = |series: &str| page.lines.get(series).copied().unwrap_or(0.0);
    let given_up = given_up_by_store(page);
    for store in 0..STORES {
        let of_store = store_id(store);
        let shown = value(&format!(
            "pos_pending_transactions{{store_id=\"{of_store}\",stat=\"max\"}}"
        ));
        let is_said = shown > tillwatch_model::metric::to_float(PENDING_LIMIT);
        let since_ms = now_ms - SETTLED_MS;
        let own = || tills.iter().filter(|till| till.store == store);
        let may_be = own().any(|till| till.over_limit(since_ms, now_ms).0);
        let must_be = own()
            .any(|till| till.is_heard(since_ms, now_ms) && till.over_limit(since_ms, now_ms).1);
        claims.piled_up += u64::from(is_said && may_be);
        claims.false_piled_up += u64::from(is_said && !may_be);
        claims.missed_piled_up += u64::from(must_be && !is_said);

        let total = given_up.get(&of_store).copied().unwrap_or(0.0);
        let seen = &mut totals[store];
        let rise = total - seen.back().copied().unwrap_or(0.0);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a small count"
        )]
        let rise = rise as u64;
        let came = arrived[store].back().copied().unwrap_or(0);
        claims.given_up += came;
        claims.false_given_up += rise.saturating_sub(came);
        claims.missed_given_up += came.saturating_sub(rise);
        // The window of the rule also holds the value at its beginning.
        seen.push_back(total);
        while seen.len() > DEAD_LETTER_LOOKS + 1 {
            seen.pop_front();
        }
        let lowest = seen.iter().copied().fold(f64::INFINITY, f64::min);
        let is_firing = total - lowest >= 1.0;
        let is_true = arrived[store].iter().sum::<u64>() > 0;
        claims.dead_letter_looks += u64::from(is_firing && is_true);
        claims.false_dead_letter_looks += u64::from(is_firing && !is_true);
        claims.missed_dead_letter_looks += u64::from(!is_firing && is_true);
    }
}

fn week(seed: u64, is_troubled: bool) -> Claims {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut tills = tills(&mut random, is_troubled);
    let catalogue = Arc::new(Catalogue::default());
    let mut aggregator = Aggregator::new(catalogue, settings(), Restored::default());
    let mut claims = Claims::default();
    let mut on_way: BTreeMap<(i64, u64), Sent> = BTreeMap::new();
    let mut arrived = vec![VecDeque::from([0; DEAD_LETTER_LOOKS]); STORES];
    let mut totals: Vec<VecDeque<f64>> = vec![VecDeque::new(); STORES];
    let mut over = std::collections::BTreeSet::new();
    let (mut position, mut number) = (0, 0);
    for hour in 0..DAYS * 24 {
        let (from_ms, now_ms) = (
            MIDNIGHT_MS + hour * HOUR_MS,
            MIDNIGHT_MS + (hour + 1) * HOUR_MS,
        );
        position += 1;
        aggregator.apply(position, &settled(from_ms)).unwrap();
        for (at, till) in tills.iter_mut().enumerate() {
            if hour % 24 == 0 {
                // One in twenty has no line for up to five hours, in which 700 sales may pile up.
                let gone_ms = from_ms + random.i64(till.opens..till.closes) * MINUTE_MS;
                let back_ms = gone_ms + random.i64(10..5 * 60) * MINUTE_MS;
                let is_cut_off = random.f64() < 0.05;
                till.cut_off = if is_cut_off {
                    (gone_ms, back_ms)
                } else {
                    (0, 0)
                };
            }
            for t_ms in (from_ms..now_ms).step_by(usize::try_from(REPORT_EVERY_MS).unwrap()) {
                if !till.is_open(t_ms) {
                    continue;
                }
                let (pending, given_up) = till.sell(t_ms, &mut random);
                if pending > PENDING_LIMIT {
                    over.insert(at);
                }
                if till.stuck.is_none() {
                    claims.most_without_trouble = claims.most_without_trouble.max(pending);
                }
                let leaves_ms = if till.is_cut_off(t_ms) {
                    till.cut_off.1
                } else {
                    t_ms
                };
                let seq = till.seq;
                till.seq += 1;
                number += 1;
                let sent = Sent {
                    till: at,
                    seq,
                    t_ms,
                    pending,
                    given_up,
                };
                on_way.insert((leaves_ms + random.i64(0..OVERTAKING_MS), number), sent);
            }
        }
        for of_store in &mut arrived {
            of_store.pop_front();
            of_store.push_back(0);
        }
        while let Some(entry) = on_way.first_entry() {
            let (arrives_ms, _) = *entry.key();
            if arrives_ms > now_ms {
                break;
            }
            let sent = entry.remove();
            let till = &tills[sent.till];
            position += 1;
            claims.batches += 1;
            let record = record(till, &sent, arrives_ms);
            aggregator.apply(position, &record).unwrap();
            arrived[till.store][DEAD_LETTER_LOOKS - 1] += sent.given_up;
        }
        let page = Exposition::parse(&fleet_page(&aggregator, now_ms));
        look(&page, now_ms, &tills, &arrived, &mut totals, &mut claims);
    }
    claims.tills_over = over.len() as u64;
    claims
}

/// The figures are in `docs/figures.md`.
#[test]
fn a_week_of_stuck_tills_is_claimed_as_it_is_and_a_healthy_one_has_no_claims() {
    for (name, seed, is_troubled) in [("healthy", 3, false), ("troubled", 4, true)] {
        let claims = week(seed, is_troubled);
        println!("{name}: {claims:?}");
        let wrong = [
            claims.false_piled_up,
            claims.missed_piled_up,
            claims.false_given_up,
            claims.missed_given_up,
            claims.false_dead_letter_looks,
            claims.missed_dead_letter_looks,
        ];
        assert_eq!(wrong, [0; 6], "{name}");
        let happened = [claims.piled_up, claims.given_up, claims.tills_over];
        assert_eq!(
            happened.iter().all(|count| *count > 10),
            is_troubled,
            "{name}"
        );
        assert_eq!(
            happened.iter().any(|count| *count > 0),
            is_troubled,
            "{name}"
        );
    }
}
