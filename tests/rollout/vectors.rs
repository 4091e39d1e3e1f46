//! The numbers of `tests/fixtures/rollout.json`, which `vectors.py` computes from exact fractions and plain sorting.

use serde_json::Value;
use tillwatch::rollout::evidence::Count;
use tillwatch::rollout::probability::{
    binomial_upper, fisher_upper, normal_quantile, student_quantile,
};
use tillwatch::rollout::ranks::{Levels, Shift, arrangements, critical, shift};
use tillwatch::rollout::{Look, single, within};
use tillwatch_model::SparseHistogram;

fn vectors() -> Value {
    serde_json::from_str(include_str!("../fixtures/rollout.json")).unwrap()
}

fn rows(name: &str) -> Vec<Value> {
    let rows = vectors()[name].as_array().unwrap().clone();
    assert!(!rows.is_empty());
    rows
}

fn number(row: &Value, key: &str) -> f64 {
    row[key].as_f64().unwrap()
}

fn whole(row: &Value, key: &str) -> u64 {
    row[key].as_u64().unwrap()
}

fn count(row: &Value, key: &str) -> usize {
    usize::try_from(whole(row, key)).unwrap()
}

fn numbers(value: &Value) -> Vec<f64> {
    let values = value.as_array().unwrap().iter();
    values.map(|value| value.as_f64().unwrap()).collect()
}

#[track_caller]
fn is_close(ours: f64, theirs: f64, tolerance: f64) {
    let far = (ours - theirs).abs() / theirs.abs().max(1e-300);
    assert!(far <= tolerance, "{ours} for {theirs}");
}

fn levels(row: &Value) -> Levels {
    Levels {
        fail: number(row, "fail"),
        pass: number(row, "pass"),
    }
}

#[track_caller]
fn is_shift(ours: Option<Shift>, theirs: &Value, tolerance: f64) {
    let ours = ours.unwrap();
    let bounds = [
        (Some(ours.estimate), &theirs["estimate"]),
        (ours.low, &theirs["low"]),
        (ours.high, &theirs["high"]),
    ];
    for (ours, theirs) in bounds {
        assert_eq!(ours.is_some(), !theirs.is_null());
        if let (Some(ours), Some(theirs)) = (ours, theirs.as_f64()) {
            assert!((ours - theirs).abs() <= tolerance, "{ours} for {theirs}");
        }
    }
}

#[test]
fn arrangements_are_counted_exactly() {
    for row in rows("arrangements") {
        let (n1, n0) = (count(&row, "n1"), count(&row, "n0"));
        assert_eq!(arrangements(n1, n0), numbers(&row["counts"]), "{n1} {n0}");
        assert_eq!(arrangements(n0, n1), numbers(&row["counts"]), "{n0} {n1}");
    }
}

#[test]
fn the_rank_of_a_bound_is_the_exact_one() {
    for row in rows("critical") {
        let (n1, n0) = (count(&row, "n1"), count(&row, "n0"));
        let c = critical(n1, n0, number(&row, "level"));
        assert_eq!(c, count(&row, "c"), "{row}");
    }
}

#[test]
fn shifts_and_their_bounds_are_those_of_all_sorted_differences() {
    for row in rows("shifts") {
        let (one, other) = (numbers(&row["candidates"]), numbers(&row["controls"]));
        is_shift(shift(&one, &other, levels(&row)), &row["expected"], 1e-12);
    }
}

#[test]
fn tails_and_quantiles_are_right() {
    for row in rows("fisher") {
        let [a, n1, b, n0] = ["a", "n1", "b", "n0"].map(|key| whole(&row, key));
        is_close(fisher_upper(a, n1, b, n0), number(&row, "p"), 1e-9);
    }
    for row in rows("binomial") {
        let ours = binomial_upper(whole(&row, "k"), whole(&row, "n"), number(&row, "p"));
        is_close(ours, number(&row, "upper"), 1e-9);
    }
    for row in rows("normal") {
        let ours = normal_quantile(number(&row, "p"));
        assert!((ours - number(&row, "z")).abs() < 1e-13, "{row}");
    }
    for row in rows("student") {
        let ours = student_quantile(number(&row, "upper"), count(&row, "degrees"));
        is_close(ours, number(&row, "t"), 1e-6);
    }
}

#[test]
fn looks_have_the_shares_of_the_error_that_the_method_gives_them() {
    let looks = (0_u32..).map(Look);
    for (look, level) in looks.clone().zip(rows("fail_levels")) {
        is_close(look.fail_level(3), level.as_f64().unwrap(), 1e-12);
    }
    for (look, level) in looks.zip(rows("silence_levels")) {
        is_close(look.silence_level(), level.as_f64().unwrap(), 1e-12);
    }
    for (number, level) in rows("pass_levels").iter().enumerate() {
        let look = Look(5 + u32::try_from(number).unwrap());
        is_close(look.pass_level(24).unwrap(), level.as_f64().unwrap(), 1e-12);
    }
}

#[test]
fn single_stores_are_far_off_where_their_own_week_makes_it_unlikely() {
    for row in rows("single") {
        let days = row["days"].as_array().unwrap().iter();
        let days: Vec<Vec<Option<f64>>> = days
            .map(|days| numbers(days).into_iter().map(Some).collect())
            .collect();
        let usual = single::usual(&days);
        is_close(usual.edge, number(&row, "edge"), 1e-12);
        is_close(usual.share, number(&row, "share"), 1e-12);
        let far: Vec<f64> = single::far(&numbers(&row["changes"]), usual)
            .into_iter()
            .map(|at| at as f64)
            .collect();
        assert_eq!(far, numbers(&row["far"]));
    }
}

#[test]
fn mixed_stores_are_compared_by_the_jackknife() {
    let all = vectors();
    let row = &all["within_values"];
    let histogram = |values: &Value| {
        let mut histogram = SparseHistogram::default();
        for value in values.as_array().unwrap() {
            histogram.record(value.as_u64().unwrap());
        }
        histogram
    };
    let stores = row["stores"].as_array().unwrap().iter();
    let stores: Vec<_> = stores
        .map(|pair| (histogram(&pair[0]), histogram(&pair[1])))
        .collect();
    let pairs: Vec<_> = stores.iter().map(|(one, other)| (one, other)).collect();
    is_shift(
        within::shift_of_values(&pairs, levels(row)),
        &row["expected"],
        1e-6,
    );
    let row = &all["within_counts"];
    let count = |pair: &Value| Count {
        bad: pair[0].as_u64().unwrap(),
        all: pair[1].as_u64().unwrap(),
    };
    let stores = row["stores"].as_array().unwrap().iter();
    let stores: Vec<_> = stores
        .map(|pair| (count(&pair[0]), count(&pair[1])))
        .collect();
    is_shift(
        within::shift_of_counts(&stores, levels(row)),
        &row["expected"],
        1e-9,
    );
}
