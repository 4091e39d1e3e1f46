//! Looks for records in a journal that may be in use, the newest segment first.
//!
//! What is being written at the moment may not be found, and segments may be taken back meanwhile: what is found is
//! intact and was written, nothing more.

use std::ops::ControlFlow;
use std::path::Path;

use super::Position;
use super::disk::Disk;
use super::error::OpenError;
use super::format::Kind;
use super::listing::{Listing, list, read_segment};
use super::reader::{Item, payload_at};

/// How often the folder is listed anew because a segment was taken back in the middle.
const TRIES_MAX: usize = 5;

/// Shows the records of the journal in `dir` to `visit`, until it has seen enough.
pub fn search(
    disk: &dyn Disk,
    dir: &Path,
    visit: &mut dyn FnMut(Position, &[u8]) -> ControlFlow<()>,
) -> Result<(), OpenError> {
    let listing = listed(disk, dir)?;
    for found in listing.segments.iter().rev() {
        // A segment that has been taken back holds nothing that is looked for any more.
        let Ok((bytes, scan)) = read_segment(disk, &found.path, found.sequence) else {
            continue;
        };
        for item in &scan.items {
            if let Item::Record { offset, header } = item
                && header.kind == Kind::Data
                && visit(
                    Position(header.position),
                    payload_at(&bytes, *offset, header),
                )
                .is_break()
            {
                return Ok(());
            }
        }
    }
    Ok(())
}

fn listed(disk: &dyn Disk, dir: &Path) -> Result<Listing, OpenError> {
    let mut tries = 1;
    loop {
        match list(disk, dir) {
            Err(_) if tries < TRIES_MAX => tries += 1,
            listed => return listed,
        }
    }
}
