//! From a page's own report of many values to the sample that counts it, and to what is kept beside that.

use tillwatch_model::journal_record_v1::Encoder;
use tillwatch_model::metric::{label_code, to_float};
use tillwatch_model::summary::{COUNT_MAX, SUMMARIES, SummaryReading};
use tillwatch_model::{Kind, Reading, Reason};

use crate::intake::offer::{Field, Number, Offer, Summary};
use crate::intake::report::Report;
use crate::intake::validate::{Last, Writer, Written, connection_of};

/// Pages round averages: by so much may a sum be outside of what count, minimum and maximum allow.
const ROUNDING: f64 = 0.01;

impl Writer<'_> {
    /// Writes a batch's summaries, each behind the sample that it is.
    pub(super) fn write_summaries(
        &self,
        encoder: &mut Encoder<'_>,
        batch: &Offer<'_>,
        written: &mut Written,
        report: &mut Report,
    ) {
        let mut last = Last::default();
        let before = batch.samples.len() + batch.histograms.len();
        for (index, summary) in batch.summaries.iter().enumerate() {
            let place = self.place.sample(before + index);
            match self.summary(summary, &mut last) {
                Ok((reading, said)) => {
                    encoder.sample(&reading, 1);
                    encoder.summary(&said);
                    written.accepted += 1;
                    let connection = &summary.sample.connection;
                    written.ignore_of(connection, &reading, report, place);
                }
                Err(reason) => written.reject(reason, 1, report, place),
            }
        }
    }

    fn summary<'m>(
        &'m self,
        summary: &'m Summary<'_>,
        last: &mut Last<'m>,
    ) -> Result<(Reading, SummaryReading), Reason> {
        let sample = &summary.sample;
        let (metric, _) = self.metric(sample, last)?;
        if metric.kind == Kind::Counter {
            return Err(Reason::NotADistribution);
        }
        let t_raw_ms = sample.millis().ok_or(Reason::InvalidTime)?;
        self.time.corrected(t_raw_ms)?;
        let count = summary.count.value().and_then(|count| count.whole());
        let count = count.filter(|count| (1..=COUNT_MAX).contains(count));
        let count = count.ok_or(Reason::InvalidSummary)?;
        let greatest = metric.unit.to_wire(metric.value_max);
        let value = |field: &Field<Number>| {
            let value = field.value().map(|number| number.as_f64());
            value.filter(|value| (0.0..=greatest).contains(value))
        };
        let min = value(&summary.min).ok_or(Reason::InvalidSummary)?;
        let max = value(&summary.max).ok_or(Reason::InvalidSummary)?;
        let sum = summary.sum.value().map(|number| number.as_f64());
        let values = to_float(count);
        let (least, most) = (min * values, max * values);
        let slack = ROUNDING * (most + values);
        let fits = |sum: &f64| (least - slack..=most + slack).contains(sum);
        let sum = sum.filter(fits).ok_or(Reason::InvalidSummary)?;
        if min > max {
            return Err(Reason::InvalidSummary);
        }
        let counted = self.catalogue.named(SUMMARIES);
        let counted = counted.ok_or(Reason::UnknownMetric)?;
        let label = label_code(counted, None).map_err(|_missing| Reason::UnknownLabel)?;
        let connection = connection_of(&sample.connection);
        let reading = Reading {
            metric: counted.code,
            label,
            connection,
            t_raw_ms,
        };
        let said = SummaryReading {
            metric: metric.code,
            connection,
            t_raw_ms,
            count,
            sum,
            min,
            max,
            percentiles: summary
                .percentiles
                .map(|percentile| value(&percentile).unwrap_or(f64::NAN)),
        };
        Ok((reading, said))
    }
}
