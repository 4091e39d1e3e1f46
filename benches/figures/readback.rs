//! Reading back an epoch and the guard before shipping, over ninety days of rows: by the sums that parts keep by
//! epoch, and row by row as releases before them did.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tillwatch::persist::clickhouse::OneNumber;
use tillwatch::persist::migrate::migrate;
use tillwatch::persist::rows::DayLedger;
use tillwatch::persist::{ClickHouse, Endpoint, EpochInfo, audit, by_epoch};
use uuid::Uuid;

use crate::median;

const DAYS: u32 = 90;
const ROWS_A_DAY: u32 = 200_000;
/// A seal every five minutes.
const EPOCHS_A_DAY: u32 = 288;
const COLLECTOR: Uuid = Uuid::from_u128(1);
const ROUNDS: usize = 5;

/// An engine of its own, without a collector.
struct Engine {
    process: Child,
    url: String,
    _folder: tempfile::TempDir,
}

impl Drop for Engine {
    fn drop(&mut self) {
        let _killed = self.process.kill();
        let _ended = self.process.wait();
    }
}

impl Engine {
    fn start() -> Self {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
        let mut process = Command::new(env!("CARGO_BIN_EXE_tillwatch"))
            .args(["clickhouse", "--listen", "127.0.0.1:0", "--path"])
            .arg(folder.path().join("engine"))
            .stdout(Stdio::piped())
            .spawn()
            .expect("the engine");
        let mut line = String::new();
        let output = process.stdout.as_mut().expect("a pipe");
        BufReader::new(output)
            .read_line(&mut line)
            .expect("the ready line");
        let address = line.trim().rsplit("http://").next().unwrap_or_default();
        Self {
            url: format!("http://{address}"),
            process,
            _folder: folder,
        }
    }
}

/// One day's rows: 98 % of the day itself, the rest late, of the eight days before.
async fn insert(clickhouse: &ClickHouse, days_ago: u32) {
    let first_epoch = 1 + u64::from(DAYS - days_ago) * u64::from(EPOCHS_A_DAY);
    let rows_an_epoch = ROWS_A_DAY / EPOCHS_A_DAY;
    clickhouse
        .execute(&format!(
            "INSERT INTO rollup_1m SELECT 'sync_duration_ms', '', concat('store-', toString(number % 2000)), '2.4.1', 'online', 'rum', \
             toStartOfDay(now()) - 86400 * {days_ago} + intDiv(number, {rows_an_epoch}) * 300 + number % 5 * 60 \
                 - if(number % 50 = 0, 86400 * (1 + cityHash64(number) % 8), 0), \
             60, '{COLLECTOR}', {first_epoch} + intDiv(number, {rows_an_epoch}), ([9000 + number % 97], [1]), \
             1, 100000000, 1000, 9000000, 10, 1, now64(3), cityHash64(number, {days_ago}) FROM numbers({ROWS_A_DAY})"
        ))
        .await
        .expect("rows");
}

/// What read back an epoch before there were sums.
async fn row_by_row(clickhouse: &ClickHouse, epoch: u64, days: &[u32]) {
    let sql = "SELECT sum(row_count) AS number FROM (
            SELECT epoch, of_day, count() AS row_count, sum(samples), sum(row_hash), sum(copies) FROM (
                SELECT epoch, toUInt32(toRelativeDayNum(window_start)) AS of_day, row_hash, any(count) AS samples, count() AS copies
                FROM rollup_1m
                WHERE collector_id = {id:UUID} AND epoch BETWEEN {epoch:UInt64} AND {epoch:UInt64}
                  AND has({days:Array(UInt32)}, toUInt32(toRelativeDayNum(window_start)))
                  AND toDate(window_start) BETWEEN toDate({first:UInt32}) AND toDate({last:UInt32})
                GROUP BY epoch, of_day, row_hash)
            GROUP BY epoch, of_day)";
    let found: Vec<OneNumber> = clickhouse
        .fetch(sql, |query| {
            let query = query.param("id", COLLECTOR.to_string());
            let (first, last) = (days.first(), days.last());
            query
                .param("epoch", epoch)
                .param("days", days)
                .param("first", first)
                .param("last", last)
        })
        .await
        .expect("an answer");
    assert!(found[0].number > 0, "rows of the epoch");
}

/// The guard before there were sums.
async fn highest_row(clickhouse: &ClickHouse) -> u64 {
    let sql = "SELECT max(epoch) AS number FROM rollup_1m WHERE collector_id = {id:UUID}";
    let found: Vec<OneNumber> = clickhouse
        .fetch(sql, |query| query.param("id", COLLECTOR.to_string()))
        .await
        .expect("an answer");
    found[0].number
}

async fn time(name: &str, mut work: impl AsyncFnMut()) {
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        let started = Instant::now();
        work().await;
        times.push(started.elapsed().as_secs_f64() * 1e3);
    }
    let (middle, least, most) = median(times);
    println!("{name:<44} {middle:>9.1} ms ({least:.1} to {most:.1})");
}

/// What the ledger would say of an epoch with rows on these days.
async fn ledger(clickhouse: &ClickHouse, epoch: u64, days: &[u32]) -> EpochInfo {
    let empty = days.iter().map(|day| (*day, DayLedger::default()));
    let mut info = EpochInfo {
        epoch,
        collector_id: COLLECTOR,
        sealed_at_ms: 0,
        confirmed_at_ms: None,
        days: empty.collect(),
        sides: BTreeMap::new(),
    };
    let held = audit::held(clickhouse, std::slice::from_ref(&info)).await;
    for ((_, day), held) in held.expect("an answer").rollups {
        info.days.insert(day, held.ledger);
    }
    info
}

pub fn readback() {
    println!("\n== readback: {DAYS} days, {ROWS_A_DAY} rows a day, {EPOCHS_A_DAY} epochs a day");
    let engine = Engine::start();
    let endpoint = Endpoint {
        url: engine.url.clone(),
        user: "default".to_owned(),
        password: String::new(),
    };
    let clickhouse = ClickHouse::fixed(endpoint, Duration::from_secs(600));
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        migrate(&clickhouse).await.expect("tables");
        let started = Instant::now();
        for days_ago in (1..=DAYS).rev() {
            insert(&clickhouse, days_ago).await;
        }
        println!("inserted in {:.0} s", started.elapsed().as_secs_f64());
        let last = u64::from(DAYS) * u64::from(EPOCHS_A_DAY);
        let today = u32::try_from(tillwatch_model::time::wall_ms() / 86_400_000).expect("a day");
        let one_day = [today - 1];
        let with_late: Vec<u32> = (today - 9..today).collect();
        for (name, days) in [
            ("at a day's end", &one_day[..]),
            ("with data of eight days", &with_late),
        ] {
            let info = ledger(&clickhouse, last, days).await;
            time(&format!("read-back {name}, row by row"), async || {
                row_by_row(&clickhouse, last, days).await;
            })
            .await;
            time(&format!("read-back {name}, by sums"), async || {
                let held = audit::held(&clickhouse, std::slice::from_ref(&info)).await;
                assert!(audit::is_complete(&info, &held.expect("an answer"), 0));
            })
            .await;
        }
        let highest = highest_row(&clickhouse).await;
        time("guard over all days, row by row", async || {
            assert_eq!(highest_row(&clickhouse).await, highest);
        })
        .await;
        time("guard over all days and tables, by sums", async || {
            let found = by_epoch::highest(&clickhouse, COLLECTOR).await;
            assert_eq!(found.expect("an answer"), highest);
        })
        .await;
    });
}
