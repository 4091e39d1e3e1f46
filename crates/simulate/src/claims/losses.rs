//! Judges the ledger of losses: number by number, because what is missing side by side is one line.

use std::collections::{BTreeMap, BTreeSet};

use crate::claims::Judged;
use crate::claims::ask::{Answers, LossLine};
use crate::terminal::{Fate, Range};
use crate::truth::{Till, Truth};

/// Numbers from the first to the last.
type Numbers = (u64, u64);

/// What the ledger says of one queue.
#[derive(Debug, Default)]
struct OfQueue {
    /// Missing still, or given up.
    missing: Vec<Numbers>,
    /// What its terminal has dropped, and how many samples that were.
    explained: BTreeSet<(u64, u64, u64)>,
    /// What has come since, and how many of the numbers that is.
    closed: Vec<(u64, u64, u64)>,
}

/// Holds the ledger against what was lost.
pub fn judge(answers: &Answers, truth: &Truth) -> Judged {
    let mut judged = Judged::of("lost");
    let mut ledger: BTreeMap<String, OfQueue> = BTreeMap::new();
    let tills = truth.tills.iter();
    let ours: BTreeSet<(&str, &str)> = tills
        .map(|till| (&*till.store_id, &*till.terminal_id))
        .collect();
    for line in &answers.losses {
        match (&line.queue, line.from_seq.zip(line.to_seq)) {
            (Some(queue), Some(numbers)) => {
                ledger.entry(queue.clone()).or_default().add(line, numbers)
            }
            _ if ours.contains(&(&*line.store_id, &*line.terminal_id)) => {
                let (store, terminal) = (&line.store_id, &line.terminal_id);
                judged.is_false(format!(
                    "{store} {terminal} dropped {} samples without a number",
                    line.samples
                ));
            }
            _ => {}
        }
    }
    if answers.are_losses_cut {
        judged
            .note("a store has more lines than an answer holds, so what was missed is not judged");
    }
    for till in &truth.tills {
        let of_queue = ledger.remove(&till.queue.to_string()).unwrap_or_default();
        judge_till(&mut judged, till, &of_queue, answers.are_losses_cut);
    }
    judged
}

impl OfQueue {
    fn add(&mut self, line: &LossLine, (from, to): Numbers) {
        match &*line.state {
            "explained" => {
                self.explained.insert((from, to, line.samples));
            }
            "closed" => self.closed.push((from, to, line.batches)),
            _ => self.missing.push((from, to)),
        }
    }

    fn is_missing(&self, number: u64) -> bool {
        let mut missing = self.missing.iter();
        missing.any(|(from, to)| (*from..=*to).contains(&number))
    }
}

/// What should be said of a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Missing,
    Explained,
    Nothing,
    /// Nobody can know yet.
    Unknown(&'static str),
}

fn wanted(till: &Till, range: &Range) -> Wanted {
    let is_noticeable = till.story.highest > Some(range.to);
    match range.fate {
        Fate::Explained if range.is_told => Wanted::Explained,
        Fate::Late if range.came_at_ms.is_some() => Wanted::Nothing,
        Fate::Late => Wanted::Unknown("some late batches were not delivered when the run ended"),
        Fate::Explained | Fate::Unexplained if is_noticeable => Wanted::Missing,
        Fate::Explained | Fate::Unexplained => {
            Wanted::Unknown("after some losses no later batch came, so nobody can notice them")
        }
    }
}

fn judge_till(judged: &mut Judged, till: &Till, ledger: &OfQueue, is_cut: bool) {
    let story = &till.story;
    let name = |what: &str, from: u64, to: u64| {
        let (store, terminal) = (&till.store_id, &till.terminal_id);
        format!("{store} {terminal} {from}..{to} {what}")
    };
    let mut may_be_missing = story.unsettled.clone();
    let mut told = BTreeSet::new();
    for range in &story.ranges {
        let numbers = range.from..=range.to;
        let wanted = wanted(till, range);
        let is_claimed = match wanted {
            Wanted::Missing => numbers.clone().all(|number| ledger.is_missing(number)),
            Wanted::Explained => {
                told.insert((range.from, range.to, range.samples));
                ledger
                    .explained
                    .contains(&(range.from, range.to, range.samples))
            }
            // That nothing is claimed shows below.
            Wanted::Nothing => true,
            Wanted::Unknown(_) => false,
        };
        if matches!(wanted, Wanted::Missing | Wanted::Unknown(_)) {
            may_be_missing.extend(numbers);
        }
        match wanted {
            Wanted::Unknown(why) => judged.cannot_judge(why),
            Wanted::Nothing => {}
            _ if is_claimed => judged.right += 1,
            _ if is_cut => judged.not_judged += 1,
            Wanted::Explained => judged.misses(name("was told as dropped", range.from, range.to)),
            Wanted::Missing => judged.misses(name("never came", range.from, range.to)),
        }
    }
    for (from, to) in &ledger.missing {
        if !(*from..=*to).all(|number| may_be_missing.contains(&number)) {
            judged.is_false(name("is called missing", *from, *to));
        }
    }
    for (from, to, samples) in ledger.explained.difference(&told) {
        judged.is_false(name(
            &format!("is called dropped ({samples} samples)"),
            *from,
            *to,
        ));
    }
    for (from, to, batches) in &ledger.closed {
        let came = (*from..=*to).filter(|number| !may_be_missing.contains(number));
        if (came.count() as u64) < *batches {
            judged.is_false(name("is called closed", *from, *to));
        }
    }
}
