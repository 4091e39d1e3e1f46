//! The catalogue that a collector runs with: the metrics of this release, and those that its settings declare.

use tillwatch_model::{Catalogue, OwnMetric};

use crate::config::Declarations;
use crate::persist::State;
use crate::pipeline::error::ServeError;

/// Makes the catalogue. What was declared once is held against what the state file knows of it.
///
/// # Errors
/// When the state file cannot be used, or a metric has become something else.
pub(super) fn of(declared: &Declarations, state: &State) -> Result<Catalogue, ServeError> {
    let own: Vec<OwnMetric> = declared.own_metrics().cloned().collect();
    let changed = match state.keep_own_metrics(&own)? {
        Ok(retired) => return Ok(Catalogue::with_own(own, retired)),
        Err(changed) => changed,
    };
    let mut all = declared.metrics.iter();
    let (path, line) = all
        .find(|declared| declared.metric.name == changed.name)
        .map(|declared| (declared.path.clone(), declared.line))
        .unwrap_or_default();
    Err(ServeError::MetricChanged {
        path,
        line,
        name: changed.name,
        what: changed.what,
    })
}
