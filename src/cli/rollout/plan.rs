//! `rollout plan`: what a release is judged by.

use std::fmt::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use tillwatch_model::Catalogue;

use crate::cli::{Failure, Outcome, say, table};
use crate::config::{Config, Flags};
use crate::rollout::{Look, Plan, looks, ranks, windows};

#[derive(Debug, Args)]
pub(in crate::cli) struct PlanFile {
    /// Plan (TOML). Without it, the default is printed, which is a file to begin with.
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// Stores of the fleet, for what its size allows.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    stores: u32,
    /// File with the settings (TOML): a plan may name metrics that it declares.
    #[arg(long, env = "TILLWATCH_CONFIG")]
    config: Option<PathBuf>,
    #[command(flatten)]
    flags: Flags,
}

impl PlanFile {
    pub(super) fn run(self) -> Outcome {
        let plan = match &self.file {
            None => Plan::default(),
            Some(path) => {
                let shown = path.display();
                let text = std::fs::read_to_string(path)
                    .map_err(|error| Failure(format!("could not read {shown}: {error}")))?;
                let config = Config::load(self.flags, self.config.as_deref());
                let config = config.map_err(|error| Failure::of(&error))?;
                let own = config.declared.own_metrics().cloned().collect();
                Plan::parse(&text, &Catalogue::with_own(own, Vec::new()))
                    .map_err(|error| Failure(format!("{shown}, {error}")))?
            }
        };
        say(&comes_to(&plan, self.stores as usize));
        Ok(ExitCode::SUCCESS)
    }
}

/// The plan as a file, with what follows from it as comments.
fn comes_to(plan: &Plan, stores: usize) -> String {
    let mut text = plan.to_string();
    let compared = plan.compared();
    let looks = looks::LOOK_HOURS.map(|hours| hours.to_string()).join(", ");
    let (fail, pass) = (100.0 * looks::FAIL_ERROR, 100.0 * looks::PASS_ERROR);
    let _written = write!(
        text,
        "\n# A step is looked at after {looks} h, then once a day. Over all its looks a good release fails with a\n\
         # probability of at most {fail} %, and one that is worse by the limit passes with at most {pass} %. The levels\n\
         # are those of one metric:\n"
    );
    let percent = |level: f64| format!("{:.3} %", 100.0 * level);
    let first_pass = Look::first_pass(plan.minimum_hours);
    // Up to the day after the one on which a pass is possible first.
    let shown = Look::first_pass(25).max(Look::after(Some(first_pass))).0 + 1;
    let rows: Vec<Vec<String>> = (0..shown)
        .map(Look)
        .map(|look| {
            let pass = look.pass_level(plan.minimum_hours);
            vec![
                format!("{} h", look.hours()),
                percent(look.fail_level(compared)),
                pass.map_or_else(|| "–".to_owned(), percent),
            ]
        })
        .collect();
    text.push_str(&commented(&table(
        &["look", "level of a failure", "of a pass"],
        &rows,
    )));
    let _written = write!(text, "#\n# With {stores} stores that all trade:\n");
    let rows: Vec<Vec<String>> = plan
        .steps
        .iter()
        .map(|percent| of_step(plan, stores, *percent))
        .collect();
    let head = ["step", "stores", "others", "can fail", "can pass"];
    text.push_str(&commented(&table(&head, &rows)));
    text.trim_end().to_owned()
}

/// What a step can find out at all.
fn of_step(plan: &Plan, stores: usize, percent: u32) -> Vec<String> {
    let with = windows::stores_of_step(stores, percent).min(stores);
    let without = stores - with;
    let pass = Look::first_pass(plan.minimum_hours);
    let can = |level: f64| with >= 3 && without >= 10 && ranks::critical(with, without, level) > 0;
    let yes = |is: bool| if is { "yes" } else { "no: too few stores" }.to_owned();
    let (fail, passes) = if percent >= 100 && without < 10 {
        (
            "by limits only".to_owned(),
            "weakly: nobody to be held against".to_owned(),
        )
    } else {
        (
            yes(can(pass.fail_level(plan.compared()))),
            yes(pass.pass_level(plan.minimum_hours).is_some_and(can)),
        )
    };
    vec![
        format!("{percent} %"),
        with.to_string(),
        without.to_string(),
        fail,
        passes,
    ]
}

fn commented(text: &str) -> String {
    text.lines()
        .map(|line| format!("#   {}\n", line.trim_end()))
        .collect()
}
