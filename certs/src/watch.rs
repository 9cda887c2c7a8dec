//! When the directory is loaded again. It is looked at two and a half times a second from outside (`load::look`), and its content is
//! compared once a minute. A look follows symbolic links wherever they lead, sees Kubernetes' flip, works on every file system
//! and survives a directory that is removed and made again; a kernel's watch does none of the last three.

use crate::edge::Edge;
use crate::limits::{FAULT_GRACE, LOOK_EVERY, POLL_EVERY, SETTLE, SETTLE_MAX};
use crate::load::Hash;
use serde::Serialize;
use std::sync::Arc;
use std::time::Duration;

/// What made the certificates load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Reason {
    Start,
    Watch,
    Poll,
    Signal,
    Api,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    Rest(Duration),
    Load(Reason),
}

/// The decision, without a clock and a directory.
#[derive(Debug, Default)]
pub struct Watch {
    loaded: Option<Hash>,
    /// A look that differs from what is loaded, and when the first one did.
    changing: Option<(Hash, u64)>,
    loaded_ms: u64,
    /// Something was wrong with what was loaded last, and is not reported yet.
    has_held_fault: bool,
}

impl Watch {
    /// `look` was taken at the start.
    pub fn new(look: Hash, now_ms: u64) -> Self {
        Self { loaded: Some(look), loaded_ms: now_ms, ..Self::default() }
    }

    pub fn step(&mut self, look: Hash, now_ms: u64) -> Step {
        // Clocks are set; what seems to be ahead is due.
        let since = |then_ms: u64| Duration::from_millis(now_ms.abs_diff(then_ms));
        if self.loaded != Some(look) {
            match self.changing {
                Some((seen, first_ms)) if seen == look || since(first_ms) >= SETTLE_MAX => {
                    return self.load(look, now_ms, Reason::Watch);
                }
                Some((_, first_ms)) => self.changing = Some((look, first_ms)),
                None => self.changing = Some((look, now_ms)),
            }
            return Step::Rest(SETTLE);
        }
        self.changing = None;
        if self.has_held_fault && since(self.loaded_ms) >= FAULT_GRACE / 10 {
            return self.load(look, now_ms, Reason::Watch);
        }
        if since(self.loaded_ms) >= POLL_EVERY {
            return self.load(look, now_ms, Reason::Poll);
        }
        Step::Rest(LOOK_EVERY)
    }

    pub fn loaded(&mut self, has_held_fault: bool) {
        self.has_held_fault = has_held_fault;
    }

    fn load(&mut self, look: Hash, now_ms: u64, reason: Reason) -> Step {
        (self.loaded, self.changing, self.loaded_ms) = (Some(look), None, now_ms);
        Step::Load(reason)
    }
}

/// How long something is wrong before it is reported: a pair is written in two steps.
#[derive(Debug, Default)]
pub struct Grace {
    since_ms: Option<u64>,
}

impl Grace {
    /// Whether faults of this load are reported.
    pub fn reports(&mut self, has_faults: bool, reason: Reason, now_ms: u64) -> bool {
        if !has_faults {
            self.since_ms = None;
            return true;
        }
        let since_ms = *self.since_ms.get_or_insert(now_ms);
        let is_over = u128::from(now_ms.abs_diff(since_ms)) >= FAULT_GRACE.as_millis();
        // Whoever asks wants to know now.
        is_over || matches!(reason, Reason::Start | Reason::Signal | Reason::Api)
    }
}

/// Loads when it is time, until `stop`.
pub async fn run(edge: Arc<Edge>, stop: impl Future<Output = ()>) {
    tokio::pin!(stop);
    let mut watch = Watch::new(edge.first_look(), edge.now_ms());
    loop {
        let asked = edge.clone();
        let Ok((look, now_ms)) = tokio::task::spawn_blocking(move || (asked.look(), asked.now_ms())).await else {
            return;
        };
        let rest = match watch.step(look, now_ms) {
            Step::Rest(rest) => rest,
            Step::Load(reason) => {
                let asked = edge.clone();
                let Ok(report) = tokio::task::spawn_blocking(move || asked.reload(reason)).await else { return };
                watch.loaded(report.is_held);
                SETTLE
            }
        };
        tokio::select! {
            () = tokio::time::sleep(rest) => {}
            () = &mut stop => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Hash = [1; 32];
    const B: Hash = [2; 32];
    const C: Hash = [3; 32];

    #[test]
    fn a_change_is_loaded_when_it_has_settled() {
        let mut watch = Watch::new(A, 0);
        assert_eq!(watch.step(A, 400), Step::Rest(LOOK_EVERY));
        assert_eq!(watch.step(B, 800), Step::Rest(SETTLE));
        assert_eq!(watch.step(C, 1000), Step::Rest(SETTLE), "still going on");
        assert_eq!(watch.step(C, 1200), Step::Load(Reason::Watch));
        assert_eq!(watch.step(C, 1400), Step::Rest(LOOK_EVERY));
        assert_eq!(watch.step(B, 1800), Step::Rest(SETTLE));
        assert_eq!(watch.step(C, 2000), Step::Rest(LOOK_EVERY), "changed and changed back");
    }

    #[test]
    fn what_never_settles_is_loaded_too() {
        let mut watch = Watch::new(A, 0);
        for step in 0..5_u8 {
            assert_eq!(watch.step([100 + step; 32], u64::from(step) * 200), Step::Rest(SETTLE));
        }
        assert_eq!(watch.step([200; 32], 1000), Step::Load(Reason::Watch));
        let worst = LOOK_EVERY + SETTLE_MAX + SETTLE;
        assert!(worst < Duration::from_secs(2), "a new certificate is served within two seconds");
    }

    #[test]
    fn content_is_compared_once_a_minute() {
        let mut watch = Watch::new(A, 1000);
        assert_eq!(watch.step(A, 60_999), Step::Rest(LOOK_EVERY));
        assert_eq!(watch.step(A, 61_000), Step::Load(Reason::Poll));
        assert_eq!(watch.step(A, 61_400), Step::Rest(LOOK_EVERY));
        assert_eq!(watch.step(A, 0), Step::Load(Reason::Poll), "the clock was set back");
    }

    #[test]
    fn what_is_wrong_is_tried_again_and_reported_after_ten_seconds() {
        let (mut watch, mut grace) = (Watch::new(A, 0), Grace::default());
        watch.step(B, 0);
        assert_eq!(watch.step(B, 200), Step::Load(Reason::Watch));
        assert!(!grace.reports(true, Reason::Watch, 200));
        watch.loaded(true);
        assert_eq!(watch.step(B, 400), Step::Rest(LOOK_EVERY));
        assert_eq!(watch.step(B, 1200), Step::Load(Reason::Watch));
        assert!(!grace.reports(true, Reason::Watch, 1200));
        assert!(grace.reports(true, Reason::Api, 1200), "whoever asks is told");
        assert!(grace.reports(true, Reason::Watch, 10_200));
        watch.loaded(false);
        assert_eq!(watch.step(B, 11_400), Step::Rest(LOOK_EVERY));
        assert!(grace.reports(false, Reason::Watch, 11_400));
        assert!(!grace.reports(true, Reason::Watch, 12_000), "the time begins anew");
    }
}
