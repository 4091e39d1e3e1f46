//! From a sample with a foreign name to one of the metric that is meant.

use std::borrow::Cow;

use crate::intake::offer::{Field, Number, Sample};
use crate::mapping::Lookup;

/// Gives a sample the name, the label and the unit that the rules know for its name; `attribute` finds what else the
/// payload says of it. Gives back what its numbers were multiplied by. A name that means nothing stays as it is.
pub fn map<'b>(
    lookup: Lookup<'_>,
    sample: &mut Sample<'b>,
    attribute: impl Fn(&str) -> Option<Cow<'b, str>>,
) -> f64 {
    let Some(name) = sample.metric.value() else {
        return 1.0;
    };
    let Some(meaning) = lookup.find(name) else {
        return 1.0;
    };
    // The metric's own name, or another that the catalogue has for it, is looked up once more by the intake.
    if meaning.rule.is_none() && lookup.catalogue.find(name).is_some() {
        return 1.0;
    }
    sample.metric = Field::Is(Cow::Borrowed(meaning.metric.name));
    if meaning.rule.is_some() {
        if let Some(connection) = meaning.connection_from().and_then(&attribute) {
            sample.connection = Field::Is(connection);
        }
        if let Some(label) = meaning.label_of(&attribute) {
            sample.label = Field::Is(label);
        }
    }
    if sample.label == Field::Absent
        && let Some(label) = &meaning.label
    {
        sample.label = Field::Is(Cow::Owned(label.clone()));
    }
    let factor = meaning.factor("");
    scale(&mut sample.v, factor);
    factor
}

/// Multiplies a number. A factor of one leaves all digits of a whole number.
pub fn scale(number: &mut Field<Number>, factor: f64) {
    #[expect(
        clippy::float_cmp,
        reason = "the factor of what is not converted is exactly one"
    )]
    let is_same = factor == 1.0;
    if let Field::Is(value) = number
        && !is_same
    {
        *value = Number::Float(value.as_f64() * factor);
    }
}
