//! Puts the intake together from what it leans on.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use arc_swap::ArcSwap;
use tillwatch_journal::Journal;
use tillwatch_model::Catalogue;

use crate::clock::Clock;
use crate::intake::acknowledge::Acknowledgement;
use crate::intake::books::Books;
use crate::intake::limits::{Class, SenderLimits};
use crate::intake::rates::Rates;
use crate::intake::refusal::Refusal;
use crate::intake::session::Pseudonyms;
use crate::intake::settings::Settings;

/// Takes offers in: `submit`, in `submission.rs`, is its one entry.
#[derive(Debug)]
pub struct Intake {
    /// The clock that the terminals' clocks are a witness of.
    pub(super) clock: Clock,
    pub(super) settings: ArcSwap<Settings>,
    pub(super) catalogue: Arc<Catalogue>,
    pub(super) rates: Rates,
    pub(super) limits: SenderLimits,
    pub(super) books: Arc<Books>,
    pub(super) journal: Journal<Acknowledgement>,
    pub(super) pseudonyms: Pseudonyms,
    /// Set while the outbox is over its budget.
    pub(super) is_outbox_full: Arc<AtomicBool>,
}

/// What an intake leans on.
#[derive(Debug)]
pub struct Parts {
    /// The clock that the terminals' clocks are a witness of.
    pub clock: Clock,
    /// The metrics that are known.
    pub catalogue: Arc<Catalogue>,
    /// What is known of batches.
    pub books: Books,
    /// The journal in which records become durable.
    pub journal: Journal<Acknowledgement>,
    /// The maker of session pseudonyms.
    pub pseudonyms: Pseudonyms,
    /// Set while the outbox is over its budget.
    pub is_outbox_full: Arc<AtomicBool>,
}

impl Intake {
    /// The metrics that are known.
    #[must_use]
    pub fn catalogue(&self) -> &Catalogue {
        &self.catalogue
    }

    /// Makes an intake within these limits.
    #[must_use]
    pub fn new(settings: Settings, parts: Parts) -> Self {
        Self {
            clock: parts.clock,
            rates: Rates::new(settings.rates),
            limits: SenderLimits::new(settings.limits.clone()),
            settings: ArcSwap::from_pointee(settings),
            catalogue: parts.catalogue,
            books: Arc::new(parts.books),
            journal: parts.journal,
            pseudonyms: parts.pseudonyms,
            is_outbox_full: parts.is_outbox_full,
        }
    }

    /// Takes other limits from now on; requests under way end under the old ones or the new.
    pub fn reload(&self, settings: Settings) {
        self.rates.set(settings.rates);
        self.limits.set(settings.limits.clone());
        self.settings.store(Arc::new(settings));
    }

    /// What is known of batches.
    #[must_use]
    pub fn books(&self) -> &Books {
        &self.books
    }

    /// The same, for a thread of its own.
    #[must_use]
    pub fn shared_books(&self) -> Arc<Books> {
        Arc::clone(&self.books)
    }

    /// Takes one request from the buckets of whoever has shown a credential.
    ///
    /// # Errors
    /// [`Refusal::RateLimited`] when a bucket is empty.
    pub fn pass(
        &self,
        store_id: &str,
        terminal_id: Option<&str>,
        class: Class,
    ) -> Result<(), Refusal> {
        let terminals = || self.books.dedup.terminals_of(store_id);
        self.limits.pass(store_id, terminal_id, class, terminals)
    }

    /// How often whoever has shown a credential may post, and how often an address may.
    #[must_use]
    pub fn limits(&self) -> &SenderLimits {
        &self.limits
    }

    /// The stores' rates.
    #[must_use]
    pub fn rates(&self) -> &Rates {
        &self.rates
    }

    /// The maker of session pseudonyms.
    #[must_use]
    pub fn pseudonyms(&self) -> &Pseudonyms {
        &self.pseudonyms
    }
}
