//! Random policies and questions, decided by Weir and by others. Every disagreement has a known cause, with the page of AWS's
//! documentation that decides it, or the test fails.
//!
//! `WEIR_POLICY_CASES` is how many, `WEIR_POLICY_SEED` where they begin. `cargo xtask policy-diff` runs the long round, and the
//! one with moto.

#[path = "differential/cases.rs"]
mod cases;
#[path = "differential/causes.rs"]
mod causes;
#[path = "differential/iam_rs_round.rs"]
mod iam_rs_round;
#[path = "differential/moto_round.rs"]
mod moto_round;

use cases::{AWAY, Case, HOME, Principal};
use common::OwnerId;
use common::doors::SeededRandom;
use std::collections::BTreeMap;
use weir_authn::identity::{Caller, Kind, Session, SessionOf, Standing, UserName};
use weir_authn::policy::{Asked, Context, Found, Policy, Purpose, Who};

const CASES: u64 = 4000;
const SEED: u64 = 20_260_101;

#[derive(Debug, Clone, PartialEq)]
pub enum Says {
    Allow,
    Deny,
    Nothing,
    Failed(String),
}

fn caller(principal: Principal) -> Caller {
    let name = UserName { name: "bob".into(), path: "/".into(), id: "AIDA1".into(), tags: BTreeMap::new() };
    let of = SessionOf::Role { name: "reader".into(), path: "/".into(), id: "AROA1".into(), session: "s1".into() };
    let (account, kind) = match principal {
        Principal::Root => (HOME, Kind::Root),
        Principal::Bob => (HOME, Kind::User(name)),
        Principal::Stranger => (AWAY, Kind::User(name)),
        Principal::Session => {
            let (tags, claims) = (BTreeMap::new(), BTreeMap::new());
            (HOME, Kind::Session(Session { of, issued_ms: 0, expires_ms: 1, tags, claims }))
        }
    };
    Caller {
        access_key: None,
        owner: OwnerId(account.into()),
        account: account.to_owned(),
        tenant: None,
        admin: false,
        kind,
        standing: Standing::default(),
    }
}

fn ours(case: &Case) -> Says {
    let purpose = if case.of_bucket { Purpose::Bucket("b") } else { Purpose::Identity };
    let policy = match Policy::parse(&case.policy.to_string(), purpose) {
        Ok(policy) => policy,
        Err(error) => return Says::Failed(error.0),
    };
    let mut context = Context::default();
    for (key, values) in &case.context {
        context.trust(key, values.iter().map(|&value| value.to_owned()).collect());
    }
    let caller = caller(case.principal);
    let asked = Asked { who: Who::Caller(&caller), action: case.action, resource: case.resource, context: &context };
    match policy.evaluate(&asked) {
        Found::Allow(..) => Says::Allow,
        Found::Deny(_) => Says::Deny,
        Found::Nothing => Says::Nothing,
    }
}

/// Whoever makes a context leaves out what no policy asks for.
#[test]
fn keys_that_a_policy_does_not_ask_for_make_no_difference() {
    let random = SeededRandom::new(seed());
    let dice = cases::Dice(&*random);
    let mut left_out = 0;
    for number in 0..count() {
        let case = cases::random(&dice);
        let purpose = if case.of_bucket { Purpose::Bucket("b") } else { Purpose::Identity };
        let Ok(policy) = Policy::parse(&case.policy.to_string(), purpose) else { continue };
        let caller = caller(case.principal);
        let (mut full, mut asked_for) = (Context::default(), Context::default());
        for (key, values) in &case.context {
            let values: Vec<String> = values.iter().map(|&value| value.to_owned()).collect();
            full.trust(key, values.clone());
            if policy.keys().any(|asked| asked.eq_ignore_ascii_case(key)) {
                asked_for.trust(key, values);
            } else {
                left_out += 1;
            }
        }
        let [of_full, of_asked_for] = [&full, &asked_for].map(|context| {
            let who = Who::Caller(&caller);
            policy.evaluate(&Asked { who, action: case.action, resource: case.resource, context })
        });
        assert_eq!(of_full, of_asked_for, "case {number}: {}", case.policy);
    }
    assert!(left_out > count(), "the cases leave too little out: {left_out}");
}

fn count() -> u64 {
    setting("WEIR_POLICY_CASES", CASES)
}

fn seed() -> u64 {
    setting("WEIR_POLICY_SEED", SEED)
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

#[test]
fn iam_rs_disagrees_for_known_causes_only() {
    causes::compare("iam-rs", iam_rs_round::CAUSES, count(), seed(), iam_rs_round::ask);
}

/// `WEIR_MOTO_PYTHON` is a Python that has moto.
#[test]
#[ignore = "needs Python and moto: cargo xtask policy-diff"]
fn moto_disagrees_for_known_causes_only() {
    let python = std::env::var_os("WEIR_MOTO_PYTHON").expect("WEIR_MOTO_PYTHON");
    let mut moto = moto_round::Moto::start(&python);
    causes::compare("moto", moto_round::CAUSES, count(), seed(), |case| moto.ask(case));
}
