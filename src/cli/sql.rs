//! `sql`: a statement to the engine of a running `serve`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::cli::{Failure, Outcome};
use crate::pipeline::read_endpoint_file;

#[derive(Debug, Args)]
pub(super) struct Sql {
    /// The statement. Tables are those of the database tillwatch, such as v_rollup_1m, v_rollup_terminal_1h, v_session, v_error_group_1h, v_summary_1m and v_loss.
    statement: String,
    /// Data folder of the running collector (`make run`: data/run).
    #[arg(
        long,
        env = "TILLWATCH_DATA_DIR",
        default_value = "tillwatch-data",
        value_name = "DIR"
    )]
    data_dir: PathBuf,
    /// Output format, any of ClickHouse's.
    #[arg(long, default_value = "PrettyCompactMonoBlock")]
    format: String,
}

impl Sql {
    pub(super) async fn run(self) -> Outcome {
        let endpoint = read_endpoint_file(&self.data_dir).ok_or_else(|| {
            Failure(format!(
                "no engine runs on {}: start `tillwatch serve --data-dir {0}` without --clickhouse-url",
                self.data_dir.display()
            ))
        })?;
        let request = reqwest::Client::new()
            .post(&endpoint.url)
            .query(&[("database", "tillwatch"), ("default_format", &self.format)])
            .header("X-ClickHouse-User", endpoint.user)
            .header("X-ClickHouse-Key", endpoint.password)
            .body(self.statement);
        let mut response = request.send().await.map_err(|error| Failure::of(&error))?;
        if !response.status().is_success() {
            let text = response.text().await.map_err(|error| Failure::of(&error))?;
            return Err(Failure(text.trim().to_owned()));
        }
        while let Some(piece) = response
            .chunk()
            .await
            .map_err(|error| Failure::of(&error))?
        {
            use std::io::Write;
            if std::io::stdout().lock().write_all(&piece).is_err() {
                break;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
