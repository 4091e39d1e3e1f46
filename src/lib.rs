//! tillwatch turns the batches that terminals post into true percentiles.
//!
//! First come the modules that all others lean on, then the others in the order in which a batch meets them.

pub mod listed;
pub mod clock;
pub mod chance;
pub mod tasks;
pub mod world;

pub mod auth;
pub mod mapping;
pub mod tap;
pub mod config;
pub mod logging;
pub mod throttle;
pub mod audit_log;
pub mod request_id;
pub mod health;
pub mod recorder;
pub mod self_metrics;
pub mod hosts;
pub mod peer;
pub mod surface;
pub mod listener;
pub mod progress;
pub mod room;
pub mod sdk;
pub mod console;

pub mod doors;
pub mod intake;
pub mod aggregate;
pub mod persist;
pub mod credentials;

pub mod holdings;
pub mod fleet;
pub mod rollout;
pub mod source_maps;
pub mod query;
pub mod export;
pub mod live;
pub mod admin;

pub mod pipeline;

pub mod cli;
