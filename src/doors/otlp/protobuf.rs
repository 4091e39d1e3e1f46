//! Reads a request in protobuf. The numbers of the fields are those of `opentelemetry/proto/metrics/v1/metrics.proto`.

use std::borrow::Cow;

use super::gather::{Gather, Scope};
use super::point::{Attributes, Buckets, Instrument, Kind, Point};
use super::wire::{Fields, Wire};
use crate::doors::foreign::whole;
use crate::doors::refusal::Refusal;
use crate::intake::offer::Number;

/// Reads an `ExportMetricsServiceRequest`.
pub(super) fn read<'b>(body: &'b [u8], gather: &mut Gather<'b, '_>) -> Result<(), Refusal> {
    each(Fields(body), 1, |resource| read_resource(resource, gather))
}

/// Goes over the messages that a message holds under one number.
fn each<'b>(
    mut message: Fields<'b>,
    wanted: u64,
    mut take: impl FnMut(Fields<'b>) -> Result<(), Refusal>,
) -> Result<(), Refusal> {
    while let Some((number, value)) = message.next()? {
        if number == wanted {
            take(value.message()?)?;
        }
    }
    Ok(())
}

/// Reads `ResourceMetrics`. Who it is may stand behind what was measured, so that it is searched for first.
fn read_resource<'b>(message: Fields<'b>, gather: &mut Gather<'b, '_>) -> Result<(), Refusal> {
    let mut attributes = Attributes::default();
    each(message, 1, |resource| {
        each(resource, 1, |pair| attribute(pair, &mut attributes))
    })?;
    let resource = Scope::default().within(&attributes);
    each(message, 2, |scope| read_scope(scope, &resource, gather))
}

fn read_scope<'b>(
    message: Fields<'b>,
    resource: &Scope<'b>,
    gather: &mut Gather<'b, '_>,
) -> Result<(), Refusal> {
    let mut attributes = Attributes::default();
    each(message, 1, |scope| {
        each(scope, 3, |pair| attribute(pair, &mut attributes))
    })?;
    let mut scope = resource.within(&attributes);
    each(message, 2, |metric| read_metric(metric, &mut scope, gather))
}

fn read_metric<'b>(
    message: Fields<'b>,
    scope: &mut Scope<'b>,
    gather: &mut Gather<'b, '_>,
) -> Result<(), Refusal> {
    let mut instrument = Instrument::default();
    let mut data = None;
    let mut fields = message;
    while let Some((number, value)) = fields.next()? {
        let kind = match number {
            1 => {
                instrument.name = Cow::Borrowed(value.text()?);
                continue;
            }
            3 => {
                instrument.unit = Cow::Borrowed(value.text()?);
                continue;
            }
            5 => Kind::Gauge,
            7 => Kind::Sum,
            9 => Kind::Histogram,
            10 => Kind::Exponential,
            11 => Kind::Summary,
            _ => continue,
        };
        instrument.kind = kind;
        data = Some(value.message()?);
    }
    // A metric of a kind that is not known holds nothing that could be counted.
    let Some(data) = data else { return Ok(()) };
    let mut fields = data;
    while let Some((number, value)) = fields.next()? {
        match number {
            2 => instrument.temporality = value.varint()?,
            3 => instrument.is_monotonic = value.varint()? != 0,
            _ => {}
        }
    }
    let instrument = gather.instrument(instrument);
    each(data, 1, |message| {
        let point = match instrument.kind() {
            Kind::Gauge | Kind::Sum => read_number(message)?,
            Kind::Histogram => read_histogram(message)?,
            Kind::Exponential => read_exponential(message)?,
            Kind::Summary => read_summary(message)?,
        };
        gather.point(scope, &instrument, &point)
    })
}

/// Reads a `KeyValue`, if its value is one that a name can be.
fn attribute<'b>(mut pair: Fields<'b>, attributes: &mut Attributes<'b>) -> Result<(), Refusal> {
    let (mut key, mut text) = ("", None);
    while let Some((number, value)) = pair.next()? {
        match number {
            1 => key = value.text()?,
            2 => {
                let mut any = value.message()?;
                while let Some((number, value)) = any.next()? {
                    text = scalar(number, value)?;
                }
            }
            _ => {}
        }
    }
    if let Some(text) = text {
        attributes.add(Cow::Borrowed(key), text);
    }
    Ok(())
}

/// The value of an `AnyValue`. Lists and maps are not looked into, however deep they are.
fn scalar(number: u64, value: Wire<'_>) -> Result<Option<Cow<'_, str>>, Refusal> {
    Ok(match number {
        1 => Some(Cow::Borrowed(value.text()?)),
        2 => Some(Cow::Borrowed(if value.varint()? == 0 {
            "false"
        } else {
            "true"
        })),
        3 => Some(Cow::Owned(value.varint()?.cast_signed().to_string())),
        4 => Some(Cow::Owned(value.double()?.to_string())),
        _ => None,
    })
}

fn read_number(mut message: Fields<'_>) -> Result<Point<'_>, Refusal> {
    let mut point = Point::default();
    while let Some((number, value)) = message.next()? {
        match number {
            2 => point.start_ns = value.fixed64()?,
            3 => point.time_ns = value.fixed64()?,
            4 => point.number = Some(Number::Float(value.double()?)),
            6 => point.number = Some(whole(value.fixed64()?.cast_signed())),
            7 => attribute(value.message()?, &mut point.attributes)?,
            8 => point.flags = value.varint()?,
            _ => {}
        }
    }
    Ok(point)
}

fn read_histogram(mut message: Fields<'_>) -> Result<Point<'_>, Refusal> {
    let mut point = Point::default();
    while let Some((number, value)) = message.next()? {
        let Point {
            spread, explicit, ..
        } = &mut point;
        match number {
            2 => point.start_ns = value.fixed64()?,
            3 => point.time_ns = value.fixed64()?,
            4 => spread.count = value.fixed64()?,
            5 => spread.sum = Some(value.double()?),
            6 => value.add_fixed64(&mut explicit.counts, |count| count)?,
            7 => value.add_fixed64(&mut explicit.bounds, f64::from_bits)?,
            9 => attribute(value.message()?, &mut point.attributes)?,
            10 => point.flags = value.varint()?,
            11 => spread.min = Some(value.double()?),
            12 => spread.max = Some(value.double()?),
            _ => {}
        }
    }
    Ok(point)
}

fn read_exponential(mut message: Fields<'_>) -> Result<Point<'_>, Refusal> {
    let mut point = Point::default();
    while let Some((number, value)) = message.next()? {
        let Point {
            spread,
            exponential,
            ..
        } = &mut point;
        match number {
            1 => attribute(value.message()?, &mut point.attributes)?,
            2 => point.start_ns = value.fixed64()?,
            3 => point.time_ns = value.fixed64()?,
            4 => spread.count = value.fixed64()?,
            5 => spread.sum = Some(value.double()?),
            6 => exponential.scale = value.zigzag()?,
            7 => exponential.zero_count = value.fixed64()?,
            8 => read_buckets(value.message()?, &mut exponential.positive)?,
            9 => read_buckets(value.message()?, &mut exponential.negative)?,
            10 => point.flags = value.varint()?,
            12 => spread.min = Some(value.double()?),
            13 => spread.max = Some(value.double()?),
            14 => exponential.zero_threshold = value.double()?,
            _ => {}
        }
    }
    Ok(point)
}

fn read_buckets(mut message: Fields<'_>, buckets: &mut Buckets) -> Result<(), Refusal> {
    while let Some((number, value)) = message.next()? {
        match number {
            1 => buckets.offset = value.zigzag()?,
            2 => value.add_varints(&mut buckets.counts)?,
            _ => {}
        }
    }
    Ok(())
}

fn read_summary(mut message: Fields<'_>) -> Result<Point<'_>, Refusal> {
    let mut point = Point::default();
    while let Some((number, value)) = message.next()? {
        match number {
            2 => point.start_ns = value.fixed64()?,
            3 => point.time_ns = value.fixed64()?,
            4 => point.spread.count = value.fixed64()?,
            5 => point.spread.sum = Some(value.double()?),
            7 => attribute(value.message()?, &mut point.attributes)?,
            8 => point.flags = value.varint()?,
            _ => {}
        }
    }
    Ok(point)
}
