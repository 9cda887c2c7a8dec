//! Authentications that fail, by address: the one rule that nobody has written. It stands before identity, and what it counts is
//! known only when a request has been judged.

use super::asker::counted;
use super::{Arrival, BEFORE, FAILED, Held, Rates, Throttle, before_identity, verb};
use crate::guard::ErrorCode;
use std::net::IpAddr;
use std::sync::atomic::Ordering;

impl Rates {
    /// An address that has used up half of what may fail takes a failure for each request until it has not failed: else all
    /// that it sends at once would be verified, however much of it. Before that nobody pays for what has not happened.
    pub(super) fn hold_failure(&self, address: IpAddr) -> Result<Option<Held>, Throttle> {
        let Some(failures) = &self.failures else { return Ok(None) };
        let Some(limiter) = &failures.limiter else { return Ok(None) };
        let (place, cost) = (self.place_of(failures, address), verb::FAILED_AUTHENTICATION_COST);
        let now_ns = self.clock.now_ns();
        if limiter.left(self.table.place(("failed", place)), now_ns) > f64::from(limiter.burst() / 2) {
            return Ok(None);
        }
        let taken = limiter.take(place, cost, true, now_ns);
        let part = taken.map_err(|wait| self.refuse(failures, limiter, (place, cost), wait, now_ns))?;
        Ok(Some(Held::new(part, self.table.clone(), self.clock.clone())))
    }

    /// What came of a request, as soon as that is known: a credential that is not good costs its address, once. What is left of
    /// the request's body may take its time.
    pub fn ended(&self, arrival: Option<&Arrival>, code: Option<&ErrorCode>) {
        if code.is_some_and(|code| is_failed_authentication(&code.0)) {
            self.failed(arrival);
        } else if let Some(arrival) = arrival {
            arrival.give_back();
        }
    }

    fn failed(&self, arrival: Option<&Arrival>) {
        let Some(address) = arrival.and_then(Arrival::fails) else { return };
        let now_ns = self.clock.now_ns();
        if let Some(failures) = &self.failures
            && let Some(limiter) = &failures.limiter
        {
            let place = self.place_of(failures, address);
            // The second is of failures only, the first also of what is held for requests under way.
            for place in [place, self.table.place(("failed", place))] {
                limiter.charge(place, verb::FAILED_AUTHENTICATION_COST, now_ns);
            }
            self.asks.fetch_or(FAILED, Ordering::Relaxed);
        }
        if self.asks.load(Ordering::Relaxed) & BEFORE != 0 {
            let in_force = self.in_force();
            let asker = before_identity(address, None);
            for active in &in_force.before {
                if let (Some(limiter), Ok(counted)) = (&active.limiter, counted(&active.rule, &asker)) {
                    // It has paid for coming.
                    let more = verb::FAILED_AUTHENTICATION_COST - verb::COST;
                    limiter.charge(self.place(active, &counted), more, now_ns);
                }
            }
        }
    }
}

/// Of somebody who tries keys and secrets. An old clock or an expired session is no attempt, and neither is what a policy refuses.
fn is_failed_authentication(code: &str) -> bool {
    ["SignatureDoesNotMatch", "InvalidAccessKeyId", "InvalidClientTokenId", "InvalidToken", "InvalidIdentityToken"]
        .contains(&code)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{SECOND_NS, rates, wrong};
    use super::*;
    use http::HeaderMap;

    #[test]
    fn an_address_that_fails_too_often_waits() {
        let (rates, clock) = rates(5);
        let (bad, good) = (Some(IpAddr::from([10, 0, 0, 7])), Some(IpAddr::from([10, 0, 0, 8])));
        let arrives = |address| rates.arrives(address, &HeaderMap::new(), false);
        let wrong = ErrorCode("SignatureDoesNotMatch".to_owned());
        let denied = ErrorCode("AccessDenied".to_owned());
        for _ in 0..1000 {
            rates.ended(Some(&arrives(bad).expect("it may")), Some(&denied));
        }
        assert_eq!(rates.keys(), 0, "a refusal by a policy is no failure");
        for failures in 0..50 {
            let arrival = arrives(bad).unwrap_or_else(|_| panic!("after {failures}"));
            rates.ended(Some(&arrival), Some(&wrong));
        }
        let throttle = arrives(bad).expect_err("ten seconds' worth");
        assert_eq!(&*throttle.rule, super::super::FAILED_AUTHENTICATION);
        assert!(arrives(good).is_ok(), "others are not meant");
        clock.advance_ns(SECOND_NS);
        let fails = |arrival: Arrival| rates.ended(Some(&arrival), Some(&wrong));
        let passed = (0..50).filter(|_| arrives(bad).map(fails).is_ok()).count();
        assert_eq!(passed, 5, "those of one second");
    }

    #[test]
    fn what_fails_is_charged_when_it_is_known_and_once() {
        let (rates, _) = rates(5);
        let address = Some(IpAddr::from([10, 0, 0, 7]));
        let arrives = || rates.arrives(address, &HeaderMap::new(), false);
        let under_way: Vec<Arrival> = (0..200).map_while(|_| arrives().ok()).collect();
        assert_eq!(under_way.len(), 200, "nobody has failed");
        for arrival in &under_way[..49] {
            wrong(&rates, arrival);
            wrong(&rates, arrival);
        }
        assert!(arrives().is_ok(), "one is left");
        wrong(&rates, &under_way[49]);
        assert!(arrives().is_err());
    }

    #[test]
    fn an_address_that_fails_has_no_more_under_way_than_may_fail() {
        let (rates, clock) = rates(5);
        let address = Some(IpAddr::from([10, 0, 0, 7]));
        let arrives = || rates.arrives(address, &HeaderMap::new(), false);
        let fail = |times: usize| (0..times).for_each(|_| wrong(&rates, &arrives().expect("it may")));
        fail(24);
        let many: Vec<Arrival> = (0..200).map_while(|_| arrives().ok()).collect();
        assert_eq!(many.len(), 200, "less than half has failed, and who shares the address pays for nothing");
        fail(1);
        let under_way: Vec<Arrival> = (0..200).map_while(|_| arrives().ok()).collect();
        assert_eq!(under_way.len(), 25, "as many as may still fail");
        drop(many);
        assert!(arrives().is_err(), "they had taken nothing");
        let denied = ErrorCode("AccessDenied".to_owned());
        under_way[..10].iter().for_each(|arrival| rates.ended(Some(arrival), Some(&denied)));
        let again: Vec<Arrival> = (0..200).map_while(|_| arrives().ok()).collect();
        assert_eq!(again.len(), 10, "what did not fail came back");
        drop(again);
        drop(under_way);
        clock.advance_ns(SECOND_NS / 5);
        let after = (0..200).map_while(|_| arrives().ok()).count();
        assert_eq!(after, 200, "what has come back by itself is below half again");
    }

    #[test]
    fn what_is_held_for_long_does_not_come_back_twice() {
        let (rates, clock) = rates(5);
        let address = Some(IpAddr::from([10, 0, 0, 7]));
        let arrives = || rates.arrives(address, &HeaderMap::new(), false);
        let fail = || arrives().map(|arrival| wrong(&rates, &arrival)).is_ok();
        assert_eq!((0..40).filter(|_| fail()).count(), 40);
        let slow: Vec<Arrival> = (0..10).map_while(|_| arrives().ok()).collect();
        assert_eq!(slow.len(), 10);
        clock.advance_ns(10 * SECOND_NS);
        assert_eq!((0..100).filter(|_| fail()).count(), 50);
        drop(slow);
        assert!(!fail(), "the time has given it back already");
    }
}
