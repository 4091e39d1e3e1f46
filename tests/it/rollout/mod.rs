//! Rollouts: what the collector says of a release by itself, on fleets of which it is known what the release does.

mod shop;
mod verdicts;
