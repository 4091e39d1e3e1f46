//! The plan file, and the command that prints what it comes to.

use std::process::Command;

use tillwatch::rollout::Plan;
use tillwatch_model::Catalogue;

fn parse(text: &str) -> Result<Plan, String> {
    Plan::parse(text, &Catalogue::default()).map_err(|error| error.to_string())
}

#[test]
fn an_empty_file_is_the_default_and_a_printed_plan_reads_back() {
    assert_eq!(parse("").unwrap(), Plan::default());
    let mut plan = Plan {
        release: Some("2.5.0".to_owned()),
        against: Some("2.4.1".to_owned()),
        ..Plan::default()
    };
    plan.exclude
        .insert("store-013".to_owned(), "\"rebuilt\"\n\u{7}".to_owned());
    for plan in [plan, Plan::default()] {
        assert_eq!(parse(&plan.to_string()).unwrap(), plan);
    }
}

#[test]
fn what_a_file_names_is_all_that_counts() {
    let plan = parse(
        "release = \"2.5.0\"\nminimum = \"2d\"\n[duration.sync_duration_ms]\nrollback_over = 5000\n\
         [ratio.sync_success]\ngreen_over = 0.99\nrollback_under = 0.95\noptional = true\n",
    )
    .unwrap();
    assert_eq!(plan.values.len(), 1);
    let sync = &plan.values["sync_duration_ms"];
    assert_eq!(sync.worse_at_most, Some(1.2));
    assert_eq!(sync.rollback_over, Some(5_000.0));
    let success = &plan.ratios["sync_success"];
    assert_eq!((success.green, success.rollback), (0.01, Some(0.05)));
    assert!(success.is_optional && success.is_success);
    assert_eq!(plan.minimum_hours, 48);
    assert_eq!(plan.steps, [10, 25, 50, 75, 100]);
    // Lost data always counts, unless the file says otherwise.
    assert_eq!(plan.incidents.len(), 1);
    assert_eq!(parse("[incident]\n").unwrap().incidents.len(), 0);
}

/// A wrong plan, the line of its fault, and what is said of it.
const FAULTS: &[(&str, usize, &str)] = &[
    ("steps = [10, 5]", 1, "steps: write ascending percents"),
    ("\nsteps = []", 2, "steps: write ascending percents"),
    (
        "minimum = \"90m\"",
        1,
        "minimum: \"90m\" is no number of hours",
    ),
    ("minimum = \"soon\"", 1, "minimum: \"soon\""),
    ("step = [10]", 1, "unknown field `step`"),
    (
        "release = \"unknown\"",
        1,
        "release: \"unknown\" is no release",
    ),
    ("release = \"1\"\nagainst = \"1\"", 2, "against itself"),
    (
        "[duration.sync_duration_m]",
        1,
        "did you mean \"sync_duration_ms\"",
    ),
    (
        "[duration.memory_used_mb]",
        1,
        "write [level.memory_used_mb]",
    ),
    (
        "[level.sync_duration_ms]",
        1,
        "write [duration.sync_duration_ms]",
    ),
    ("[duration.sync_attempts]", 1, "[ratio.NAME]"),
    ("[level.memory_used_mb]", 1, "give worse_at_most"),
    (
        "\n[duration.sync_duration_ms]\nworse_at_most = 0.9",
        3,
        "duration.sync_duration_ms.worse_at_most: write a factor",
    ),
    (
        "[duration.sync_duration_ms]\nworse_at_most = nan",
        2,
        "write a factor",
    ),
    (
        "[duration.sync_duration_ms]\ngreen_under = 9\nrollback_over = 8",
        3,
        "rollback_over: it cannot be below green_under",
    ),
    (
        "[duration.sync_duration_ms]\nrollback_over = -1",
        2,
        "write a number over 0, in ms",
    ),
    (
        "[duration.sync_duration_ms]\nrolback_over = 1",
        2,
        "unknown field `rolback_over`",
    ),
    (
        "[ratio.sync_sucess]\ngreen_over = 0.9",
        1,
        "did you mean \"sync_success\"",
    ),
    (
        "[ratio.sync_success]",
        1,
        "ratio.sync_success.green_over is missing",
    ),
    (
        "[ratio.sync_success]\ngreen_over = 99",
        2,
        "write a share between 0 and 1",
    ),
    (
        "[ratio.sync_success]\ngreen_under = 0.01",
        2,
        "write green_over and rollback_under",
    ),
    (
        "[ratio.errors]\ngreen_over = 0.99",
        2,
        "write green_under and rollback_over",
    ),
    (
        "[ratio.sync_success]\ngreen_over = 0.9\nrollback_under = 0.95",
        3,
        "a pass would need less",
    ),
    (
        "[incident]\nlcp_ms = 0",
        2,
        "incident.lcp_ms: it is a distribution",
    ),
    ("[exclude]\n\"a b\" = \"c\"", 2, "no name of a store"),
    ("[exclude]\nstore-1 = \" \"", 2, "exclude.store-1: say why"),
    ("steps = ", 1, ""),
];

#[test]
fn a_fault_is_named_with_its_line_and_key() {
    for (text, line, words) in FAULTS {
        let said = parse(text).unwrap_err();
        assert!(
            said.starts_with(&format!("line {line}: ")),
            "{text}: {said}"
        );
        assert!(said.contains(words), "{text}: {said}");
    }
}

#[test]
fn the_command_prints_a_plan_and_refuses_a_wrong_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("plan.toml");
    let run = |text: &str| {
        std::fs::write(&path, text).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_tillwatch"));
        command.args(["rollout", "plan"]).arg(&path);
        command.output().unwrap()
    };
    let good = run("[duration.sync_duration_ms]\nworse_at_most = 1.3\n");
    let said = String::from_utf8(good.stdout).unwrap();
    assert_eq!(good.status.code(), Some(0), "{said}");
    assert!(said.contains("worse_at_most = 1.3"), "{said}");
    assert!(
        said.contains("of a pass") && said.contains("10 %"),
        "{said}"
    );
    let printed = parse(&said).unwrap();
    assert_eq!(printed.values["sync_duration_ms"].worse_at_most, Some(1.3));
    let bad = run("\n[duration.sync]\n");
    let said = String::from_utf8(bad.stderr).unwrap();
    assert_eq!(bad.status.code(), Some(1), "{said}");
    assert!(said.contains("plan.toml, line 2: duration.sync:"), "{said}");
}
