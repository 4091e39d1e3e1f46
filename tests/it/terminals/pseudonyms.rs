//! `tillwatch pseudonym`: of days with a key, without one, and with one that is no more.

use tillwatch::persist::State;
use tillwatch::world::World;

use crate::support::{now_ms, run, run_with_input};

const DAY_MS: i64 = 86_400_000;

#[tokio::test]
async fn an_operator_gets_pseudonyms_of_kept_days_and_is_told_of_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let today = i32::try_from(now_ms() / DAY_MS).unwrap();
    {
        let state = State::open(folder.path(), &World::of_machine()).unwrap();
        for day in [today - 100, today - 3] {
            state.session_key(day).unwrap();
        }
        state.expire(now_ms()).unwrap();
    }
    let arguments = |day: i32, more: &[&str]| {
        let date = jiff::Timestamp::from_millisecond(i64::from(day) * DAY_MS).unwrap();
        let mut arguments = vec![
            "--day".to_owned(),
            date.strftime("%Y-%m-%d").to_string(),
            "--data-dir".to_owned(),
            folder.path().display().to_string(),
        ];
        arguments.extend(more.iter().map(|text| (*text).to_owned()));
        arguments
    };
    let given = run("pseudonym", arguments(today - 3, &["a b", "ü"])).await;
    assert!(given.status.success());
    let input = "a b\nü\r\n\n".to_owned();
    let read = run_with_input("pseudonym", &arguments(today - 3, &[]), input).await;
    assert!(read.status.success());
    assert_eq!(read.stdout, given.stdout);
    let said = String::from_utf8(read.stdout).unwrap();
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), 2);
    assert_ne!(lines[0], lines[1]);
    let is_hex = |text: &str| text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    assert!(lines.iter().all(|line| is_hex(line)), "{said}");
    assert!(!said.contains("a b"));

    for (day, reason) in [
        (today - 100, "has been destroyed"),
        (today - 2, "there has never been a key"),
    ] {
        let output = run("pseudonym", arguments(day, &["secret-id"])).await;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && output.stdout.is_empty());
        assert!(
            said.contains(reason) && !said.contains("secret-id"),
            "{said}"
        );
    }
    // Asking makes no key.
    let state = State::open(folder.path(), &World::of_machine()).unwrap();
    assert_eq!(
        state.find_session_key(today - 2).unwrap(),
        tillwatch::persist::session_keys::KeyOfDay::NeverMade
    );
}
