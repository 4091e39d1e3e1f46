//! The journal's bytes change on disk while nobody looks.

use std::path::{Path, PathBuf};

use crate::support::{CELLS, Server, Terminal, assert_exactly, data, found_samples, sql};

const NEVER: (&str, &str) = ("TILLWATCH_SEAL_INTERVAL", "1h");
const SOON: (&str, &str) = ("TILLWATCH_SEAL_INTERVAL", "200ms");

/// The segments, oldest first.
fn segments(data: &Path) -> Vec<PathBuf> {
    let all = std::fs::read_dir(data.join("journal"))
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let is_segment = |path: &PathBuf| {
        path.file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .starts_with("j-")
    };
    let mut segments: Vec<PathBuf> = all.filter(is_segment).collect();
    segments.sort();
    segments
}

/// Where the records of a segment's bytes begin: each by its length and position, one behind the other.
fn records(bytes: &[u8]) -> Vec<std::ops::Range<usize>> {
    let mut records = Vec::new();
    let mut at = 4_096;
    while let Some(head) = bytes.get(at..at + 40) {
        let length = u32::from_le_bytes(head[..4].try_into().unwrap()) as usize;
        let position = u64::from_le_bytes(head[8..16].try_into().unwrap());
        if position == 0 {
            break;
        }
        let end = at + (40 + length).next_multiple_of(8);
        // A mark has no payload.
        if length > 0 {
            records.push(at..end);
        }
        at = end;
    }
    records
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damage_to_acknowledged_records_is_counted_set_aside_and_costs_only_them() {
    let folder = tempfile::tempdir().unwrap();
    let mut terminals = vec![Terminal::new("store-a")];
    let server = Server::start_on(folder.path(), &[NEVER]).await;
    terminals[0].post_fresh(&server, 40, 3).await;
    let data_folder = data(&server);
    server.kill();

    let segment = segments(&data_folder).pop().unwrap();
    let mut bytes = std::fs::read(&segment).unwrap();
    let before = bytes.clone();
    let records = records(&bytes);
    assert_eq!(records.len(), 40);
    // One byte in the payloads of two records in the middle.
    for damaged in [12, 25] {
        bytes[records[damaged].end - 12] ^= 0x20;
    }
    std::fs::write(&segment, &bytes).unwrap();

    let server = Server::start_on(folder.path(), &[SOON]).await;
    let page = server.metrics().await;
    assert_eq!(
        page.value("tillwatch_recovery_damaged_records", &[])
            .to_bits(),
        2.0_f64.to_bits()
    );
    assert_eq!(
        page.value("tillwatch_recovery_torn_records", &[]).to_bits(),
        0
    );
    assert!(server.log().contains("quarantine"), "{}", server.log());
    let quarantined = data_folder
        .join("journal/quarantine")
        .join(segment.file_name().unwrap());
    let kept = std::fs::read(quarantined).unwrap();
    assert!(
        kept == bytes && kept != before,
        "the damaged bytes are kept as they were found"
    );
    server.wait_confirmed().await;
    // All but the two are there; nothing that was not sent is.
    let lost = [
        terminals[0].acknowledged.remove(25),
        terminals[0].acknowledged.remove(12),
    ];
    assert_exactly(&terminals, &sql(&data_folder, CELLS).await);
    // The lost batches' numbers are free: a terminal that still has them may send them.
    for marked in lost {
        terminals[0].open.push(marked);
    }
    terminals[0].post_open(&server).await;
    terminals[0].post_fresh(&server, 5, 3).await;
    server.wait_confirmed().await;
    assert_exactly(&terminals, &sql(&data_folder, CELLS).await);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_torn_tail_that_nobody_was_told_of_is_cut_without_an_alarm() {
    let folder = tempfile::tempdir().unwrap();
    let mut terminals = vec![Terminal::new("store-a")];
    let server = Server::start_on(folder.path(), &[NEVER]).await;
    terminals[0].post_fresh(&server, 20, 3).await;
    let data_folder = data(&server);
    server.kill();

    // A write that the power cut short: the head of a record and half of its payload.
    let segment = segments(&data_folder).pop().unwrap();
    let mut bytes = std::fs::read(&segment).unwrap();
    let last = records(&bytes).pop().unwrap();
    let mut end = last.end;
    // Behind the marks that may follow.
    while bytes[end + 8..end + 16] != [0; 8] {
        end += 40;
    }
    let mut torn = bytes[last.clone()].to_vec();
    let position = u64::from_le_bytes(torn[8..16].try_into().unwrap()) + 1;
    torn[8..16].copy_from_slice(&position.to_le_bytes());
    let half = torn.len() / 2;
    bytes[end..end + half].copy_from_slice(&torn[..half]);
    std::fs::write(&segment, &bytes).unwrap();

    let server = Server::start_on(folder.path(), &[SOON]).await;
    let page = server.metrics().await;
    assert_eq!(
        page.value("tillwatch_recovery_damaged_records", &[])
            .to_bits(),
        0
    );
    assert_eq!(
        page.value("tillwatch_recovery_torn_records", &[]).to_bits(),
        1.0_f64.to_bits()
    );
    assert!(
        !data_folder.join("journal/quarantine").exists(),
        "{}",
        server.log()
    );
    server.wait_confirmed().await;
    terminals[0].post_again(&server, 1).await;
    terminals[0].post_fresh(&server, 5, 3).await;
    server.wait_confirmed().await;
    let tsv = sql(&data_folder, CELLS).await;
    assert_exactly(&terminals, &tsv);
    assert_eq!(found_samples(&tsv), 75);
    server.stop().await;
}
