//! Looks at the stores that have reported, and tells those who read.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use serde_json::value::RawValue;

use crate::live::answer::{FleetAnswer, PipelineAnswer, Rows, Second};
use crate::live::board::{Board, Scope, Step};
use crate::live::changes::ChangesAnswer;
use crate::live::detail::Detail;
use crate::live::look::Looks;
use crate::live::packed::{Packed, event, push};
use crate::live::pulse::Counted;
use crate::live::{Live, OfRelease, Past};
use crate::self_metrics as names;
use crate::tasks::standing_back;

/// Stores that are looked at while the aggregate waits.
const PIECE: usize = 32;
/// All stores are looked at anew for an answer if that was longer ago. Unit: ms.
const WHOLE_AGE_MS: i64 = 1_000;
/// While somebody looks, each store is looked at after so many steps at the latest; there are four a second.
const TURNS: usize = 40;
/// While nobody looks there is one a second.
const TURNS_ALONE: usize = 15;
/// How long an answer waits for what has just been acknowledged to be applied.
const APPLIED_MAX: Duration = Duration::from_secs(1);

impl Live {
    /// Waits until somebody reads.
    pub async fn wanted(&self) {
        // Made before the look, so that nobody comes unnoticed in between.
        let comes = self.wanted.notified();
        if self.readers() == 0 {
            comes.await;
        }
    }

    /// Looks at the stores that have reported since, and at some of the others.
    pub async fn step(self: &Arc<Self>) {
        let live = Arc::clone(self);
        let work = move || {
            let mut board = live.board();
            // The first look is a whole one.
            let scope = if board.whole_ms == 0 {
                Scope::Whole
            } else {
                let turns = if live.readers() > 0 {
                    TURNS
                } else {
                    TURNS_ALONE
                };
                let others = board.all.stores.div_ceil(turns);
                Scope::Changed { others }
            };
            live.look(&mut board, scope);
        };
        self.jobs.run(work).await;
    }

    /// Notes what was counted on the path of batches by now.
    pub async fn beat(self: &Arc<Self>, counted: Counted) {
        let live = Arc::clone(self);
        let work = move || {
            let now_ms = live.clock.now_ms();
            let mut pulse = live.pulse.lock().unwrap_or_else(PoisonError::into_inner);
            pulse.note(now_ms, counted);
            let (count, latest) = (pulse.count, pulse.latest().cloned());
            drop(pulse);
            if live.readers() == 0 {
                return;
            }
            let Ok(series) = RawValue::from_string((live.series)()) else {
                return;
            };
            let mut text = String::new();
            let second = Second {
                t: now_ms,
                series: &series,
                points: latest.into_iter().collect(),
            };
            event(&mut text, "pipeline", &second);
            let packed = Packed::of(text);
            live.hub().pulse = Some((count, packed));
            live.bell.ring();
        };
        self.jobs.run(work).await;
    }

    /// Fills what is not known of the last hour's sparks.
    pub async fn fill(self: &Arc<Self>, past: Past) {
        let live = Arc::clone(self);
        let work = move || {
            let mut board = live.board();
            if board.fill(&past) && live.readers() > 0 {
                live.hub().begin_anew();
                live.bell.ring();
            }
        };
        self.jobs.run(work).await;
    }

    /// A word on a rollout was said.
    pub async fn tell(self: &Arc<Self>, of_release: OfRelease) {
        let live = Arc::clone(self);
        let work = move || {
            let mut board = live.board();
            let Some(change) = board.changes.tell(&of_release) else {
                return;
            };
            (live.keep)(&change);
            if live.readers() > 0 {
                let mut text = String::new();
                push(&mut text, "change", change.json.get());
                let packed = Packed::of(text);
                live.hub().push(packed);
                live.bell.ring();
            }
        };
        self.jobs.run(work).await;
    }

    /// The answer to `GET /api/v1/fleet`.
    pub async fn fleet(self: &Arc<Self>) -> Vec<u8> {
        self.catch_up().await;
        let live = Arc::clone(self);
        let work = move || {
            let mut board = live.board();
            live.look_for_answer(&mut board);
            let seq = live.hub().seq;
            standing_back(|| live.fleet_text(&board, seq)).into_bytes()
        };
        self.jobs.run(work).await
    }

    /// The answer to `GET /api/v1/changes`.
    pub async fn changes(self: &Arc<Self>, limit: usize) -> ChangesAnswer {
        let live = Arc::clone(self);
        self.jobs
            .run(move || live.board().changes.latest(limit))
            .await
    }

    /// The answer to `GET /api/v1/stores/{store_id}/now`; `None`: the store is not known.
    pub async fn detail(self: &Arc<Self>, store_id: &str) -> Option<Vec<u8>> {
        self.catch_up().await;
        let (live, store_id) = (Arc::clone(self), store_id.to_owned());
        let work = move || {
            let mut board = live.board();
            live.look_for_answer(&mut board);
            let detail = live.detail_of(&board, &store_id)?;
            serde_json::to_vec(&detail).ok()
        };
        self.jobs.run(work).await
    }

    /// The answer to `GET /api/v1/pipeline`.
    pub async fn pipeline(self: &Arc<Self>) -> Vec<u8> {
        let live = Arc::clone(self);
        self.jobs
            .run(move || live.pipeline_text().into_bytes())
            .await
    }

    pub(super) async fn catch_up(&self) {
        // An answer that is late is better than none.
        let applied = self.holdings.wait_applied((self.durable)());
        let _is_late = tokio::time::timeout(APPLIED_MAX, applied).await.is_err();
    }

    pub(super) fn look_for_answer(&self, board: &mut Board) {
        let is_old = self.clock.now_ms() - board.whole_ms > WHOLE_AGE_MS;
        let scope = if is_old {
            Scope::Whole
        } else {
            Scope::Changed { others: 0 }
        };
        self.look(board, scope);
    }

    /// Looks, and tells whoever reads. The board is locked all the while, so that frames come in order.
    fn look(&self, board: &mut Board, scope: Scope) {
        let began = Instant::now();
        let silence = self.watch.at(self.clock.now_ms());
        let (due, gone) = self
            .holdings
            .read(|aggregator| board.due(aggregator, scope));
        let mut looks = Looks::default();
        let mut pieces = due.chunks(PIECE).peekable();
        if !due.is_empty() {
            self.holdings.read_in_pieces(|aggregator| {
                for number in pieces.next().unwrap_or_default() {
                    looks.add(aggregator, *number, &silence, &board.shown);
                }
                pieces.peek().is_some()
            });
        }
        // Whoever adds a frame has the board, so the number is the next one, unless the last reader leaves meanwhile: whoever
        // comes then is given all. It is packed before the hub is locked, because those who read must not wait for that.
        let seq = self.hub().seq + 1;
        let has_readers = self.readers() > 0;
        let (step, packed) = standing_back(|| {
            let step = board.take(std::mem::take(&mut looks), &gone, silence.now_ms);
            let packed = has_readers.then(|| frame(board, &step, seq, silence.now_ms));
            (step, packed.flatten())
        });
        if matches!(scope, Scope::Whole) {
            board.whole_ms = silence.now_ms;
        }
        for change in &step.changes {
            (self.keep)(change);
        }
        if has_readers {
            self.say(board, packed, silence.now_ms);
        }
        metrics::histogram!(names::LIVE_LOOK_SECONDS).record(began.elapsed());
    }

    fn say(&self, board: &Board, packed: Option<Packed>, now_ms: i64) {
        let watched: Vec<String> = {
            let mut hub = self.hub();
            packed.into_iter().for_each(|packed| hub.push(packed));
            hub.stores.keys().cloned().collect()
        };
        for store_id in watched {
            self.say_store(board, &store_id, now_ms);
        }
        self.bell.ring();
    }

    /// Tells whoever looks at a store, if anything of it is another.
    pub(super) fn say_store(&self, board: &Board, store_id: &str, now_ms: i64) {
        let detail = self.detail_of(board, store_id);
        let Ok(said) = serde_json::to_string(&detail) else {
            return;
        };
        let is_said = {
            let hub = self.hub();
            let topic = hub.stores.get(store_id);
            topic.is_none_or(|topic| topic.packed.is_some() && topic.said == said)
        };
        if is_said {
            return;
        }
        let mut text = String::new();
        let data = format!("{{\"t\":{now_ms},\"store\":{said}}}");
        push(&mut text, "store", &data);
        let packed = Packed::of(text);
        // The last reader may have left meanwhile.
        if let Some(topic) = self.hub().stores.get_mut(store_id) {
            topic.version += 1;
            topic.said = said;
            topic.packed = Some(packed);
        }
    }

    fn detail_of(&self, board: &Board, store_id: &str) -> Option<Detail> {
        let (number, held) = board.find(store_id)?;
        let now_ms = self.clock.now_ms();
        Some(self.holdings.read(|aggregator| {
            let store = (number, &held.row);
            Detail::of(aggregator, store, &board.shown, now_ms, self.started_ms)
        }))
    }

    /// `seq` is of the last frame that is in it.
    pub(super) fn fleet_text(&self, board: &Board, seq: u64) -> String {
        let t = self.clock.now_ms();
        let rows = RawValue::from_string(board.rows());
        let answer = rows.map(|stores| {
            let answer = FleetAnswer {
                seq,
                t,
                complete_to: t,
                stores: &stores,
                all: &board.all,
                sparks: board.sparks(),
            };
            serde_json::to_string(&answer).unwrap_or_default()
        });
        answer.unwrap_or_default()
    }

    pub(super) fn pipeline_text(&self) -> String {
        let Ok(series) = RawValue::from_string((self.series)()) else {
            return String::new();
        };
        let pulse = self.pulse.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = PipelineAnswer {
            t: self.clock.now_ms(),
            started_at: self.started_ms,
            version: env!("CARGO_PKG_VERSION"),
            series: &series,
            points: pulse.points().iter().collect(),
        };
        serde_json::to_string(&answer).unwrap_or_default()
    }
}

/// What a look has brought, for those who read; `None`: nothing.
fn frame(board: &Board, step: &Step, seq: u64, now_ms: i64) -> Option<Packed> {
    let mut text = String::new();
    let is_any = !step.rows.is_empty() || !step.gone.is_empty() || step.is_all_new;
    if is_any && let Ok(stores) = RawValue::from_string(board.some(&step.rows)) {
        let rows = Rows {
            seq,
            t: now_ms,
            stores: &stores,
            gone: &step.gone,
            all: &board.all,
        };
        event(&mut text, "rows", &rows);
    }
    if let Some(sparks) = &step.sparks {
        event(&mut text, "sparks", sparks);
    }
    for change in &step.changes {
        push(&mut text, "change", change.json.get());
    }
    (!text.is_empty()).then(|| Packed::of(text))
}
