//! The outbox with rows of several tables, and one of the release that knew only one.
