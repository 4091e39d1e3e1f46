//! The routes, by what they are about.

use crate::admin::openapi::operation::Operation;
use crate::admin::openapi::{
    acts, batches, live, percentiles, rollouts, session, stores, troubles,
};

/// Every route.
pub(super) fn all() -> Vec<Operation> {
    vec![
        percentiles::percentiles(),
        percentiles::summaries(),
        percentiles::metrics(),
        live::fleet(),
        live::store(),
        live::live(),
        live::changes(),
        live::pipeline(),
        stores::stores(),
        stores::terminals(),
        stores::silent(),
        stores::session(),
        troubles::errors(),
        troubles::error(),
        troubles::losses(),
        rollouts::rollout(),
        rollouts::rollout_check(),
        batches::by_number(),
        batches::by_key(),
        batches::by_request(),
        batches::tap(),
        acts::clock(),
        acts::accept_clock(),
        acts::retire_store(),
        acts::retire_terminal(),
        acts::seal(),
        session::about(),
        session::sign_in(),
        session::sign_out(),
        session::settings(),
        acts::openapi(),
    ]
}
