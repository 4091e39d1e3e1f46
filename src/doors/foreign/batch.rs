//! What a foreign payload brings of one terminal.

use std::borrow::Cow;

use tillwatch_model::{Reason, Source};

use crate::auth::Who;
use crate::doors::foreign::Rule;
use crate::doors::trace::Sender;
use crate::intake::Offer;
use crate::intake::offer::{Event, Field, Histogram, Mark, Sample, Summary};

/// One terminal's part of a payload.
#[derive(Debug, Default)]
pub struct Batch<'b> {
    store_id: Named<'b>,
    terminal_id: Named<'b>,
    release: Named<'b>,
    session_id: Named<'b>,
    consent: Option<bool>,
    /// Single values.
    pub samples: Vec<Sample<'b>>,
    /// Many values in one.
    pub histograms: Vec<Histogram<'b>>,
    /// What the client has summed up itself.
    pub summaries: Vec<Summary<'b>>,
    /// What has happened.
    pub events: Vec<Event<'b>>,
    /// How many values it brought that its door knows to have been counted before.
    pub repeated: u64,
}

/// Who a batch is of: batches of the same names are one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Names<'b>([Option<Cow<'b, str>>; 4], Option<bool>);

/// A name that several attributes may give. The one that stands first in its list counts.
#[derive(Debug, Clone, Default)]
struct Named<'b>(Option<(usize, Cow<'b, str>)>);

impl<'b> Named<'b> {
    fn take(&mut self, rank: usize, value: Cow<'b, str>) {
        if !value.is_empty() && self.0.as_ref().is_none_or(|(taken, _)| rank < *taken) {
            self.0 = Some((rank, value));
        }
    }

    fn inherit(&mut self, above: &Self) {
        if self.0.is_none() {
            self.clone_from(above);
        }
    }

    fn text(&self) -> Option<&str> {
        self.0.as_ref().map(|(_, text)| &**text)
    }
}

/// Whoever visits a page.
#[derive(Debug, Clone, Copy)]
pub struct Visitor<'r> {
    /// The store.
    pub store_id: &'r str,
    /// The terminal.
    pub terminal_id: &'r str,
    /// The session, or nothing.
    pub session_id: &'r str,
}

/// The attributes that name a store, in the order in which they count.
const STORE: [&str; 2] = ["store.id", "store_id"];
const TERMINAL: [&str; 3] = ["service.instance.id", "terminal.id", "terminal_id"];
const RELEASE: [&str; 2] = ["service.version", "app.version"];
const SESSION: [&str; 2] = ["session.id", "session_id"];
const CONSENT: &str = "consent";

fn rank(names: &[&str], name: &str) -> Option<usize> {
    names.iter().position(|known| *known == name)
}

impl<'b> Batch<'b> {
    /// Takes an attribute, if it says who posts. `false`: it says something else.
    pub fn name(&mut self, attribute: &str, value: Cow<'b, str>) -> bool {
        let places: [(&[&str], &mut Named<'b>); 4] = [
            (&STORE, &mut self.store_id),
            (&TERMINAL, &mut self.terminal_id),
            (&RELEASE, &mut self.release),
            (&SESSION, &mut self.session_id),
        ];
        for (names, named) in places {
            if let Some(rank) = rank(names, attribute) {
                named.take(rank, value);
                return true;
            }
        }
        if attribute == CONSENT {
            self.consent = Some(matches!(&*value, "true" | "1" | "yes" | "granted"));
        }
        attribute == CONSENT
    }

    /// Gives names where the payload has words of its own for them, which no attribute has given.
    pub fn name_else(
        &mut self,
        terminal_id: Option<Cow<'b, str>>,
        release: Option<Cow<'b, str>>,
        session_id: Option<Cow<'b, str>>,
    ) {
        for (named, text) in [
            (&mut self.terminal_id, terminal_id),
            (&mut self.release, release),
            (&mut self.session_id, session_id),
        ] {
            if let Some(text) = text {
                named.take(usize::MAX, text);
            }
        }
    }

    /// Takes from what it is part of the names that it does not have itself.
    pub fn inherit(&mut self, above: &Self) {
        self.store_id.inherit(&above.store_id);
        self.terminal_id.inherit(&above.terminal_id);
        self.release.inherit(&above.release);
        self.session_id.inherit(&above.session_id);
        self.consent = self.consent.or(above.consent);
    }

    /// Who it is of.
    pub fn names(&self) -> Names<'b> {
        let names = [
            &self.store_id,
            &self.terminal_id,
            &self.release,
            &self.session_id,
        ];
        let text = |named: &Named<'b>| named.0.as_ref().map(|(_, text)| text.clone());
        Names(names.map(text), self.consent)
    }

    /// Makes another batch of the same terminal, for what one may not hold.
    pub fn another(&self) -> Self {
        Self {
            store_id: self.store_id.clone(),
            terminal_id: self.terminal_id.clone(),
            release: self.release.clone(),
            session_id: self.session_id.clone(),
            consent: self.consent,
            ..Self::default()
        }
    }

    /// How many samples, histograms, summaries and events it brings.
    pub fn len(&self) -> usize {
        self.samples.len() + self.histograms.len() + self.summaries.len() + self.events.len()
    }

    /// Whose page visits its values are of: the store, and the session or else the terminal.
    pub(super) fn visitor<'r>(
        &'r self,
        who: &'r Who,
        rule: &'r Rule,
        nameless: &'static str,
    ) -> Visitor<'r> {
        let (proven_store, proven_terminal) = match who {
            Who::Bearer(bearer) => (Some(&*bearer.store_id), bearer.terminal_id.as_deref()),
            Who::App(key) => (None, Some(&*key.name)),
            Who::Anybody | Who::Server(_) => (None, None),
        };
        let store_id = proven_store.or(self.store_id.text());
        let terminal_id = proven_terminal.or(self.terminal_id.text());
        Visitor {
            store_id: store_id.or(rule.store.as_deref()).unwrap_or_default(),
            terminal_id: terminal_id.unwrap_or(nameless),
            session_id: self.session_id.text().unwrap_or_default(),
        }
    }

    /// Takes out of errors what may name a person, ahead of time.
    pub fn scrub(&mut self) {
        self.events.iter_mut().for_each(Event::scrub);
    }

    /// Makes the offer of the batch. A payload that names no terminal is of the one called `nameless`.
    pub(in crate::doors) fn offer<'r>(
        &'r self,
        who: &Who,
        rule: &'r Rule,
        nameless: &'static str,
        mark: Mark<'r>,
    ) -> Offer<'r> {
        let store_id = self.store_id.text().or(rule.store.as_deref());
        let is_known = matches!(who, Who::Bearer(_));
        let terminal_id = self.terminal_id.text();
        let is_terminal_known = matches!(who, Who::Bearer(bearer) if bearer.terminal_id.is_some())
            || matches!(who, Who::App(_));
        let text = |named: &'r Named<'b>| named.text().map_or(Field::Absent, Field::Is);
        Offer {
            unreadable: (store_id.is_none() && !is_known).then_some(Reason::NoStore),
            store_id,
            terminal_id: terminal_id.or((!is_terminal_known).then_some(nameless)),
            mark: Ok(mark),
            release: text(&self.release),
            source: Source::Rum,
            has_consent: self.consent.unwrap_or(rule.is_consent_assumed),
            session_id: text(&self.session_id),
            samples: &self.samples,
            histograms: &self.histograms,
            summaries: &self.summaries,
            events: &self.events,
            drops: &[],
        }
    }

    pub(super) fn sender(&self) -> Sender<'_> {
        Sender {
            store_id: self.store_id.text(),
            terminal_id: self.terminal_id.text(),
            release: self.release.text(),
            seq: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_names_the_first_of_its_list_counts_in_whatever_order_they_come() {
        for names in [
            ["store.id", "store_id", "app.version", "service.version"],
            ["store_id", "store.id", "service.version", "app.version"],
        ] {
            let mut batch = Batch::default();
            for name in names {
                assert!(batch.name(name, Cow::Borrowed(name)));
            }
            batch.name_else(Some("page".into()), Some("page".into()), None);
            assert_eq!(batch.store_id.text(), Some("store.id"));
            assert_eq!(batch.release.text(), Some("service.version"));
            assert_eq!(batch.terminal_id.text(), Some("page"));
        }
    }

    #[test]
    fn without_a_store_nothing_is_offered_and_without_a_word_there_is_no_consent() {
        let mut batch = Batch::default();
        let rule = Rule::default();
        let mark = Mark::Content(b"");
        let offer = batch.offer(&Who::Anybody, &rule, "faro", mark);
        assert_eq!(offer.unreadable, Some(Reason::NoStore));
        assert_eq!(
            (offer.terminal_id, offer.has_consent),
            (Some("faro"), false)
        );
        let assumed = Rule {
            is_consent_assumed: true,
            store: Some("store-1".into()),
        };
        let offer = batch.offer(&Who::Anybody, &assumed, "faro", mark);
        assert_eq!((offer.unreadable, offer.has_consent), (None, true));
        assert!(batch.name("consent", "false".into()));
        let offer = batch.offer(&Who::Anybody, &assumed, "faro", mark);
        assert!(!offer.has_consent);
        assert!(!batch.name("browser", "Chromium".into()));
    }
}
