//! The data folder: who may look into it, and how much room is left.

use std::path::Path;

use super::Finding;
use crate::config::Config;
use crate::view::format;

/// Below this it is time to make room.
const LOW: u64 = 1 << 30;
/// Below this the next mails or prompts may not be kept.
const FULL: u64 = 100 << 20;

pub fn check(config: &Config) -> Vec<Finding> {
    let folder = &config.server.data_dir;
    if !folder.exists() {
        let words = format!("{} is not there yet; the first start makes it", folder.display());
        return vec![Finding::warn("data folder", words)];
    }
    let mut findings = vec![permissions(folder)];
    let key = folder.join("secret.key");
    if others_may(&key) {
        findings.push(Finding::fail(
            "secret key",
            format!("others can read it; run chmod 600 {}", key.display()),
        ));
    }
    findings.extend(free_bytes(folder).map(|free| space(folder, free)));
    findings
}

fn permissions(folder: &Path) -> Finding {
    let shown = folder.display();
    if !folder.is_dir() {
        return Finding::fail("data folder", format!("{shown} is no folder; set server.data_dir"));
    }
    if !writable(folder) {
        return Finding::fail("data folder", format!("this user may not write to {shown}; change its owner"));
    }
    if others_may(folder) {
        return Finding::warn(
            "data folder",
            format!("other users of this machine may look into {shown}; run chmod 700 {shown}"),
        );
    }
    Finding::ok("data folder", format!("{shown}, for its owner only"))
}

/// `free` bytes are left to this user.
fn space(folder: &Path, free: u64) -> Finding {
    let left = format::bytes(i64::try_from(free).unwrap_or(i64::MAX));
    let words = format!("{left} free for {}", folder.display());
    match free {
        ..FULL => Finding::fail("disk", format!("{words}; make room now, or nothing more can be kept")),
        FULL..LOW => Finding::warn("disk", format!("{words}; make room soon")),
        LOW.. => Finding::ok("disk", words),
    }
}

#[cfg(unix)]
fn others_may(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(path).is_ok_and(|meta| meta.permissions().mode() & 0o077 != 0)
}

#[cfg(not(unix))]
fn others_may(_: &Path) -> bool {
    false
}

#[cfg(unix)]
fn writable(folder: &Path) -> bool {
    use rustix::fs::Access;
    rustix::fs::access(folder, Access::WRITE_OK | Access::EXEC_OK).is_ok()
}

#[cfg(not(unix))]
fn writable(folder: &Path) -> bool {
    std::fs::metadata(folder).is_ok_and(|meta| !meta.permissions().readonly())
}

/// What is left to a user without privileges.
#[cfg(unix)]
fn free_bytes(folder: &Path) -> Option<u64> {
    let stat = rustix::fs::statvfs(folder).ok()?;
    Some(stat.f_bavail.saturating_mul(stat.f_frsize))
}

#[cfg(not(unix))]
fn free_bytes(_: &Path) -> Option<u64> {
    None
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn little_room_is_told_before_it_is_none() {
        let verdict = |free| space(Path::new("data"), free).verdict;
        assert_eq!(verdict(LOW), Verdict::Ok);
        assert_eq!(verdict(LOW - 1), Verdict::Warn);
        assert_eq!(verdict(FULL), Verdict::Warn);
        assert_eq!(verdict(FULL - 1), Verdict::Fail);
        assert!(free_bytes(&std::env::temp_dir()).is_some_and(|free| free > 0));
    }
}
