//! A judgement in about ten lines, for a person in a terminal.

use std::fmt::Write;

use super::verdict::{Finding, Judgement, Kind, Method, Note, State, Worse};

/// Lines of a judgement: the verdict, why, the stores, and a row for each metric.
impl Judgement {
    /// The judgement as text, without a newline at its end.
    #[must_use]
    pub fn explained(&self) -> String {
        let mut lines = vec![self.headline()];
        lines.extend(self.reasons.iter().map(|reason| format!("      {reason}")));
        lines.push(self.population());
        let notes = self.notes.iter().map(|(store, note)| {
            let what = match note {
                Note::MovedBack => "moved back; it counts with the hours it had".to_owned(),
                Note::OtherKind => "left out: only some of its terminals have the release, or all where others are mixed".to_owned(),
                Note::Excluded(reason) => format!("left out: {reason}"),
            };
            format!("      {store}: {what}")
        });
        lines.extend(notes);
        if !self.findings.is_empty() {
            lines.extend(table(&self.findings));
        }
        lines.join("\n")
    }

    fn headline(&self) -> String {
        let word = self.verdict.name().replace('_', " ").to_uppercase();
        let against = self.against.as_deref().unwrap_or("nothing");
        let look = self.look.map_or_else(
            || "before the first look".to_owned(),
            |look| format!("look {} h", look.hours()),
        );
        let (release, percent) = (&self.release, self.step_percent);
        let next = self.next_look.hours();
        format!("{word}  {release} against {against}, step {percent} %, {look}, next at {next} h")
    }

    fn population(&self) -> String {
        let [candidates, ..] = self.terminals;
        let mut line = format!(
            "stores {} against {}, terminals {candidates}, {} silent",
            self.candidates,
            self.controls,
            self.silent.len()
        );
        let names = self.silent.iter().take(3);
        let names: Vec<String> = names
            .map(|silent| format!("{} in {}", silent.terminal, silent.store))
            .collect();
        if !names.is_empty() {
            let _written = write!(line, " ({})", names.join(", "));
        }
        match self.method {
            Method::Ranks => {}
            Method::Within => line.push_str("; within mixed stores"),
            Method::Alone => line.push_str("; weak: nobody is left to be held against"),
        }
        line
    }
}

fn table(findings: &[Finding]) -> Vec<String> {
    let head = [
        "metric",
        "before→now",
        "others",
        "worse by (interval)",
        "evidence",
        "verdict",
    ];
    let mut rows = vec![head.map(str::to_owned)];
    rows.extend(findings.iter().map(row));
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or_default()
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |row: &[String; 6]| {
        let cells = row.iter().zip(&widths);
        let padded = cells.map(|(cell, width)| format!("{cell:<width$}"));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

fn row(finding: &Finding) -> [String; 6] {
    let kind = finding.kind;
    let name = match kind {
        Kind::Duration(_) | Kind::Level(_) => format!("{} p95", finding.metric),
        Kind::Success | Kind::Failure | Kind::Volume => finding.metric.clone(),
    };
    let limit = finding
        .limits
        .worse_at_most
        .map_or_else(String::new, |most| format!(" <{most:.2}"));
    let worse = finding
        .worse
        .map_or_else(|| "–".to_owned(), |worse| interval(kind, worse) + &limit);
    [
        name,
        change(kind, finding.before, finding.now),
        change(kind, finding.others_before, finding.others_now),
        worse,
        format!("{} st. {}", finding.candidates, finding.samples),
        verdict(finding),
    ]
}

fn change(kind: Kind, before: Option<f64>, now: Option<f64>) -> String {
    let shown = |value: Option<f64>| {
        let Some(value) = value else {
            return "–".to_owned();
        };
        match kind {
            Kind::Success => format!("{:.2}", 100.0 * (1.0 - value)),
            Kind::Failure => format!("{:.3}", 100.0 * value),
            Kind::Duration(_) | Kind::Level(_) | Kind::Volume if value >= 100.0 => {
                format!("{value:.0}")
            }
            Kind::Duration(_) | Kind::Level(_) | Kind::Volume => format!("{value:.3}"),
        }
    };
    if before.is_none() && now.is_none() {
        return "–".to_owned();
    }
    let unit = match kind {
        Kind::Duration(unit) | Kind::Level(unit) => unit.name(),
        Kind::Success | Kind::Failure => "%",
        Kind::Volume => "",
    };
    format!("{}→{} {unit}", shown(before), shown(now))
}

fn interval(kind: Kind, worse: Worse) -> String {
    let Worse {
        estimate,
        low,
        high,
    } = worse;
    let bound = |bound: Option<f64>, shown: &dyn Fn(f64) -> String| {
        bound.map_or_else(|| "?".to_owned(), shown)
    };
    match kind {
        Kind::Duration(_) | Kind::Level(_) | Kind::Volume => {
            let factor = |value: f64| format!("{value:.2}");
            format!(
                "×{estimate:.2} ({}–{})",
                bound(low, &factor),
                bound(high, &factor)
            )
        }
        // A share of bad ones that rises is shown as success that falls.
        Kind::Success => {
            let points = |value: f64| format!("{:+.2}", -100.0 * value);
            format!(
                "{} pt ({} to {})",
                points(estimate),
                bound(high, &points),
                bound(low, &points)
            )
        }
        Kind::Failure => {
            let points = |value: f64| format!("{:+.3}", 100.0 * value);
            format!(
                "{} pt ({} to {})",
                points(estimate),
                bound(low, &points),
                bound(high, &points)
            )
        }
    }
}

fn verdict(finding: &Finding) -> String {
    let limits = finding.limits;
    let broken = match (
        limits.is_rollback_broken_before,
        limits.is_green_broken_before,
    ) {
        (true, _) => limits.rollback.map(|limit| (limit, "rollback")),
        (false, true) => limits.green.map(|limit| (limit, "pass")),
        (false, false) => None,
    };
    let word = match finding.state {
        State::Worse => "worse",
        State::PastLimit => "past the limit",
        State::Good => "good so far",
        State::Undecided => "undecided",
        State::BetweenLimits => "between the limits",
        State::Compared => "compared",
        State::TooFewStores => "too few stores",
        State::TooFewSamples => "too few samples",
        State::Absent => "absent",
    };
    let broken = broken.map_or_else(String::new, |(limit, which)| {
        let limit = match finding.kind {
            Kind::Success => format!("{:.2} %", 100.0 * (1.0 - limit)),
            Kind::Failure => format!("{:.2} %", 100.0 * limit),
            Kind::Duration(_) | Kind::Level(_) | Kind::Volume => limit.to_string(),
        };
        format!(", limit {limit} ({which}) broken before")
    });
    format!("{word}{broken}")
}
