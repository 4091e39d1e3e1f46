//! How often something is called missing, lost, dropped or new that is not, and how often one is missed that is: a week of
//! 200 simulated stores in which nothing is wrong but what always is, and one in which a tenth of the stores has trouble.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tillwatch::aggregate::{Aggregator, Restored};
use tillwatch_model::event::{DropReading, EventReading, Example};
use tillwatch_model::journal_record_v1::Encoder;
use tillwatch_model::time::{DAY_MS, HOUR_MS, MINUTE_MS};
use tillwatch_model::{
    BatchHeader, Catalogue, Connection, EventKind, LossRow, LossState, Reading, Source,
};

use crate::support::records::{START_MS, fleet_page, settings, settled};

const STORES: usize = 200;
const MIDNIGHT_MS: i64 = START_MS / DAY_MS * DAY_MS;
const REPORT_EVERY_MS: i64 = 5 * MINUTE_MS;
/// On the first day no error is called new, so the week that counts comes after it.
const DAYS: i64 = 8;
const RELEASE: &str = "2.4.1";
/// Errors that every store has; the first of them come on the first day.
const KNOWN_ERRORS: u64 = 6;
/// New errors of the troubled week.
const NEW_ERRORS: u64 = 14;

/// What becomes of a batch.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Explained,
    Unexplained,
    Late,
}

struct Till {
    store: usize,
    number: usize,
    opens: i64,
    closes: i64,
    is_troubled: bool,
    seq: u64,
    /// Its last loss, as long as it is to be told.
    untold: Option<(u64, u64)>,
    losing: Option<(Fate, u64)>,
    /// What the collector should call missing: numbers below the highest that has come.
    missing: BTreeSet<u64>,
    unsent: BTreeSet<u64>,
    highest: u64,
}

/// A batch on its way.
struct Sent {
    till: usize,
    seq: u64,
    t_ms: i64,
    errors: Vec<u64>,
    told: Option<(u64, u64)>,
}

#[derive(Debug, Default)]
struct Claims {
    looks: u64,
    batches: u64,
    /// Ranges that are missing, dropped, or came late, as they should be told.
    losses: u64,
    false_losses: u64,
    missed_losses: u64,
    new_errors: u64,
    false_errors: u64,
    missed_errors: u64,
}

impl Till {
    fn queue(&self) -> [u8; 16] {
        let mut queue = [1; 16];
        queue[0] = u8::try_from(self.store).unwrap();
        queue[1] = u8::try_from(self.number).unwrap();
        queue
    }

    fn names(&self) -> (String, String) {
        (
            format!("store-{}", self.store),
            format!("till-{}", self.number),
        )
    }
}

fn record(till: &Till, sent: &Sent, received_at_ms: i64) -> Vec<u8> {
    let catalogue = Catalogue::default();
    let (store_id, terminal_id) = till.names();
    let header = BatchHeader {
        received_at_ms,
        offset_ms: 0,
        applied_offset_ms: 0,
        store_id: &store_id,
        terminal_id: &terminal_id,
        queue: till.queue(),
        seq: sent.seq,
        is_keyed: false,
        browser: None,
        release: RELEASE,
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
    encoder.sample(&reading("lcp_ms"), 1_000);
    for fingerprint in &sent.errors {
        encoder.sample(&reading("errors"), 1);
        encoder.event(&EventReading {
            kind: EventKind::Error,
            is_fatal: false,
            t_raw_ms: sent.t_ms,
            count: 1,
            fingerprint: *fingerprint,
            name: "".into(),
            example: Example::default(),
        });
    }
    if let Some((from, to)) = sent.told {
        let samples = to - from + 1;
        encoder.sample(&reading("dropped_samples"), samples);
        encoder.drop(&DropReading {
            queue: till.queue(),
            from,
            to,
            samples,
            reason: 0,
            t_raw_ms: sent.t_ms,
        });
    }
    bytes
}

fn tills(random: &mut fastrand::Rng, is_troubled: bool) -> Vec<Till> {
    let mut tills = Vec::new();
    for store in 0..STORES {
        let opens = random.i64(7 * 60..10 * 60);
        let closes = random.i64(18 * 60..21 * 60);
        for number in 0..random.usize(2..6) {
            tills.push(Till {
                store,
                number,
                opens,
                closes,
                is_troubled: is_troubled && store.is_multiple_of(10),
                seq: 0,
                untold: None,
                losing: None,
                missing: BTreeSet::new(),
                unsent: BTreeSet::new(),
                highest: 0,
            });
        }
    }
    tills
}

/// What a till makes at a time: the batch with when it arrives, if it does.
fn make(
    (at, till): (usize, &mut Till),
    t_ms: i64,
    offline_until_ms: i64,
    errors: Vec<u64>,
    random: &mut fastrand::Rng,
) -> Option<(i64, Sent)> {
    let seq = till.seq;
    till.seq += 1;
    if till.losing.is_none()
        && till.is_troubled
        && till.untold.is_none()
        && seq > 3
        && random.f64() < 0.01
    {
        let fate = *random
            .choice(&[Fate::Explained, Fate::Unexplained, Fate::Late])
            .unwrap();
        till.losing = Some((fate, random.u64(1..5)));
    }
    let fate = till.losing.map(|(fate, _)| fate);
    if let Some((fate, left)) = till.losing {
        till.losing = (left > 1).then_some((fate, left - 1));
        if fate == Fate::Explained {
            let from = till.untold.map_or(seq, |(from, _)| from);
            till.untold = Some((from, seq));
        }
    }
    till.unsent.insert(seq);
    // Two posts overtake each other, and a line is gone for a while.
    let arrives_ms = match fate {
        Some(Fate::Explained | Fate::Unexplained) => return None,
        Some(Fate::Late) => t_ms + random.i64(20 * MINUTE_MS..3 * DAY_MS),
        None => t_ms.max(offline_until_ms) + random.i64(0..7 * MINUTE_MS),
    };
    let told = till.untold.take_if(|_| till.losing.is_none());
    let sent = Sent {
        till: at,
        seq,
        t_ms,
        errors,
        told,
    };
    Some((arrives_ms, sent))
}

/// What the truth is, once a batch has arrived.
fn arrive(till: &mut Till, sent: &Sent) {
    till.unsent.remove(&sent.seq);
    till.missing.remove(&sent.seq);
    if sent.seq >= till.highest {
        till.highest = sent.seq;
        let below: Vec<u64> = till.unsent.range(..sent.seq).copied().collect();
        till.missing.extend(below);
    }
    if let Some((from, to)) = sent.told {
        for seq in from..=to {
            till.missing.remove(&seq);
            till.unsent.remove(&seq);
        }
    }
}

/// Holds what the collector calls missing against what is.
fn look_at_losses(aggregator: &Aggregator, tills: &[Till], claims: &mut Claims) {
    let mut called: BTreeMap<(String, String), BTreeSet<u64>> = BTreeMap::new();
    for store in aggregator.terminals().stores() {
        for (terminal_id, terminal) in store.iter() {
            let of_terminal = called
                .entry((store.store_id().to_string(), terminal_id.to_owned()))
                .or_default();
            for (_, window) in &terminal.queues {
                for (from, to, _) in window.missing_ranges() {
                    of_terminal.extend(from..=to);
                }
            }
        }
    }
    for till in tills {
        let called = called.remove(&till.names()).unwrap_or_default();
        claims.false_losses += called.difference(&till.missing).count() as u64;
        claims.missed_losses += till.missing.difference(&called).count() as u64;
    }
    claims.looks += 1;
}

fn called_new(page: &str) -> u64 {
    let lines = page
        .lines()
        .filter(|line| line.starts_with("pos_errors_new{"));
    let values = lines.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap());
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a handful"
    )]
    let sum = values.sum::<f64>() as u64;
    sum
}

/// When each new error begins, and in which store.
fn outbreaks(random: &mut fastrand::Rng, is_troubled: bool) -> Vec<(u64, i64, usize)> {
    let count = if is_troubled { NEW_ERRORS } else { 0 };
    let outbreak = |number: u64| {
        let day = 1 + i64::try_from(number).unwrap() % 7;
        let begins_ms = MIDNIGHT_MS + day * DAY_MS + random.i64(10 * HOUR_MS..16 * HOUR_MS);
        (1_000 + number, begins_ms, random.usize(0..STORES))
    };
    (0..count).map(outbreak).collect()
}

/// Errors of a till's five minutes.
fn errors_of(
    till: &Till,
    t_ms: i64,
    outbreaks: &[(u64, i64, usize)],
    random: &mut fastrand::Rng,
) -> Vec<u64> {
    let mut errors = Vec::new();
    if random.f64() < 0.02 {
        errors.push(1 + random.u64(0..KNOWN_ERRORS));
    }
    for (fingerprint, begins_ms, first) in outbreaks {
        // A store more every quarter of an hour, up to fifty, on every other till.
        let distance = i64::try_from((till.store + STORES - first) % STORES).unwrap();
        let begins_ms = begins_ms + distance * 15 * MINUTE_MS;
        let is_reached = distance < 50 && t_ms >= begins_ms && till.number.is_multiple_of(2);
        if is_reached && random.f64() < 0.3 {
            errors.push(*fingerprint);
        }
    }
    errors
}

fn week(seed: u64, is_troubled: bool) -> Claims {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut tills = tills(&mut random, is_troubled);
    let outbreaks = outbreaks(&mut random, is_troubled);
    let mut aggregator = Aggregator::new(
        Arc::new(Catalogue::default()),
        settings(),
        Restored::default(),
    );
    let mut claims = Claims::default();
    let mut on_way: BTreeMap<(i64, u64), Sent> = BTreeMap::new();
    let (mut position, mut number) = (0, 0);
    let mut first_seen: BTreeMap<u64, i64> = BTreeMap::new();
    let (mut told, mut came_late): (BTreeSet<_>, u64) = (BTreeSet::new(), 0);
    let mut rows: Vec<LossRow> = Vec::new();
    for day in 0..DAYS {
        let midnight_ms = MIDNIGHT_MS + day * DAY_MS;
        position += 1;
        aggregator.apply(position, &settled(midnight_ms)).unwrap();
        for (at, till) in tills.iter_mut().enumerate() {
            let mut t_ms = midnight_ms + till.opens * MINUTE_MS;
            let outage_ms = midnight_ms + random.i64(till.opens..till.closes) * MINUTE_MS;
            let is_cut_off = random.f64() < 0.05;
            let back_ms = outage_ms + random.i64(10..50) * MINUTE_MS;
            while t_ms < midnight_ms + till.closes * MINUTE_MS {
                let is_offline = is_cut_off && (outage_ms..back_ms).contains(&t_ms);
                let until_ms = if is_offline { back_ms } else { t_ms };
                let errors = errors_of(till, t_ms, &outbreaks, &mut random);
                if let Some((arrives_ms, sent)) =
                    make((at, till), t_ms, until_ms, errors, &mut random)
                {
                    number += 1;
                    on_way.insert((arrives_ms, number), sent);
                }
                t_ms += REPORT_EVERY_MS;
            }
        }
        for hour in 1..=24 {
            let now_ms = midnight_ms + hour * HOUR_MS;
            while let Some(entry) = on_way.first_entry() {
                let (arrives_ms, _) = *entry.key();
                if arrives_ms > now_ms {
                    break;
                }
                let sent = entry.remove();
                let till = &mut tills[sent.till];
                position += 1;
                claims.batches += 1;
                aggregator
                    .apply(position, &record(till, &sent, arrives_ms))
                    .unwrap();
                for fingerprint in &sent.errors {
                    first_seen.entry(*fingerprint).or_insert(arrives_ms);
                }
                came_late += u64::from(arrives_ms - sent.t_ms > HOUR_MS);
                told.extend(sent.told.map(|(from, to)| (till.names(), from, to)));
                arrive(till, &sent);
            }
            look_at_losses(&aggregator, &tills, &mut claims);
            let is_new = |first_ms: &&i64| {
                now_ms - **first_ms < HOUR_MS && **first_ms > MIDNIGHT_MS + DAY_MS
            };
            let new = first_seen.values().filter(is_new).count() as u64;
            let called = called_new(&fleet_page(&aggregator, now_ms));
            if day > 0 {
                claims.new_errors += new;
                claims.false_errors += called.saturating_sub(new);
                claims.missed_errors += new.saturating_sub(called);
            }
        }
        rows.extend(aggregator.take().losses.into_rows());
    }
    let never_came: u64 = tills.iter().map(|till| till.missing.len() as u64).sum();
    claims.losses = told.len() as u64 + never_came + came_late;
    judge_rows(&rows, &told, &mut claims);
    claims
}

type Told = BTreeSet<((String, String), u64, u64)>;

/// What was told as dropped is a row each, and nothing else is; nothing is lost within a week.
fn judge_rows(rows: &[LossRow], told: &Told, claims: &mut Claims) {
    let of_state = |state: LossState| rows.iter().filter(move |row| row.state == state);
    let explained: Told = of_state(LossState::Explained)
        .map(|row| {
            (
                (row.store_id.to_string(), row.terminal_id.to_string()),
                row.from,
                row.to,
            )
        })
        .collect();
    claims.false_losses += explained.difference(told).count() as u64;
    claims.missed_losses += told.difference(&explained).count() as u64;
    claims.false_losses += of_state(LossState::Lost).count() as u64;
}

/// The figures are in `docs/figures.md`.
#[test]
fn a_week_of_trouble_is_claimed_as_it_is_and_a_healthy_one_has_no_claims() {
    for (name, seed, is_troubled) in [("healthy", 1, false), ("troubled", 2, true)] {
        let claims = week(seed, is_troubled);
        println!("{name}: {claims:?}");
        let wrong = [
            claims.false_losses,
            claims.missed_losses,
            claims.false_errors,
            claims.missed_errors,
        ];
        assert_eq!(wrong, [0; 4], "{name}");
        assert_eq!(
            claims.new_errors,
            if is_troubled { NEW_ERRORS } else { 0 },
            "{name}"
        );
        assert_eq!(claims.losses > 100, is_troubled, "{name}");
    }
}
