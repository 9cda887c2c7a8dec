//! What object lock lets happen. Source: "Locking objects with Object Lock", Amazon S3 User Guide.

use crate::format::record::{Lock, Mode, Retention};

/// Why a version may not be ended or written over now; `None` if it may.
pub fn held(lock: Lock, now_ms: u64, bypass_governance: bool) -> Option<&'static str> {
    if lock.legal_hold {
        return Some("it is under a legal hold");
    }
    match lock.retention.filter(|retention| is_active(*retention, now_ms)) {
        Some(Retention { mode: Mode::Compliance, .. }) => Some("its compliance retention has not ended"),
        Some(Retention { mode: Mode::Governance, .. }) if !bypass_governance => {
            Some("its governance retention has not ended")
        }
        _ => None,
    }
}

/// Why the retention may not become `next`; `None` if it may. Longer is always allowed, shorter or otherwise only for
/// governance and with the bypass.
pub fn retention_held(
    now: Option<Retention>,
    next: Option<Retention>,
    now_ms: u64,
    bypass_governance: bool,
) -> Option<&'static str> {
    let now = now.filter(|retention| is_active(*retention, now_ms))?;
    if next.is_some_and(|next| next.mode == now.mode && next.until_ms >= now.until_ms) {
        return None;
    }
    held(Lock { retention: Some(now), legal_hold: false }, now_ms, bypass_governance)
}

fn is_active(retention: Retention, now_ms: u64) -> bool {
    retention.until_ms > now_ms
}

#[cfg(test)]
mod tests {
    use super::*;

    fn retention(mode: Mode, until_ms: u64) -> Option<Retention> {
        Some(Retention { mode, until_ms })
    }

    #[test]
    fn a_lock_holds_until_its_time_or_its_bypass() {
        let lock = |retention, legal_hold| Lock { retention, legal_hold };
        let governance = retention(Mode::Governance, 10);
        let compliance = retention(Mode::Compliance, 10);
        for (lock, now_ms, bypass, is_held) in [
            (lock(None, false), 5, false, false),
            (lock(None, true), 5, true, true),
            (lock(governance, false), 5, false, true),
            (lock(governance, false), 5, true, false),
            (lock(governance, true), 5, true, true),
            (lock(governance, false), 10, false, false),
            (lock(compliance, false), 5, true, true),
            (lock(compliance, false), 10, false, false),
            // A clock that went back lets nothing go early.
            (lock(compliance, false), 0, true, true),
        ] {
            assert_eq!(held(lock, now_ms, bypass).is_some(), is_held, "{lock:?} at {now_ms}, bypass {bypass}");
        }
    }

    #[test]
    fn a_retention_may_grow_and_shrinks_only_with_the_bypass() {
        let (governance, compliance) =
            (|until| retention(Mode::Governance, until), |until| retention(Mode::Compliance, until));
        for (now, next, bypass, is_held) in [
            (None, governance(1), false, false),
            (governance(10), governance(11), false, false),
            (governance(10), governance(10), false, false),
            (governance(10), governance(9), false, true),
            (governance(10), governance(9), true, false),
            (governance(10), None, false, true),
            (governance(10), None, true, false),
            (governance(10), compliance(20), false, true),
            (governance(10), compliance(20), true, false),
            (compliance(10), compliance(20), false, false),
            (compliance(10), compliance(9), true, true),
            (compliance(10), governance(20), true, true),
            (compliance(10), None, true, true),
            // It has ended.
            (compliance(4), None, false, false),
        ] {
            assert_eq!(retention_held(now, next, 5, bypass).is_some(), is_held, "{now:?} to {next:?}, bypass {bypass}");
        }
    }
}
