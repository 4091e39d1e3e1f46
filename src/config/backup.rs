//! Which settings of scheduled backups can be right.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::layers::Fault;
use super::{Config, Span};

/// More backups would take longer to look through than to make.
const KEEP_MAX: usize = 1_000;
const INTERVAL_MIN: Duration = Duration::from_secs(60);
const INTERVAL_MAX: Duration = Duration::from_secs(90 * 24 * 3_600);

impl Config {
    pub(super) fn check_backup(&self) -> Result<(), Fault> {
        let backup = &self.backup;
        if !(INTERVAL_MIN..=INTERVAL_MAX).contains(&backup.interval.0) {
            let (least, most) = (Span(INTERVAL_MIN), Span(INTERVAL_MAX));
            let message = format!("must be between {least} and {most}");
            return Err(Fault::new("backup_interval", message));
        }
        if !(1..=KEEP_MAX).contains(&backup.keep) {
            let message = format!("must be between 1 and {KEEP_MAX}");
            return Err(Fault::new("backup_keep", message));
        }
        let Some(dir) = &backup.dir else {
            return Ok(());
        };
        if absolute(dir).starts_with(absolute(&self.data.dir)) {
            let message = format!(
                "lies in data_dir, {}, and would be lost with it; choose a folder on another disk",
                self.data.dir.display()
            );
            return Err(Fault::new("backup_dir", message));
        }
        Ok(())
    }
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_no_working_folder| path.to_owned())
}
