//! Why another evaluator may decide otherwise than Weir: what shows the difference is taken out of the case, and then both must
//! agree. A feature of the case alone is no excuse.

use super::Says;
use super::cases::{self, Case, Dice};
use common::doors::SeededRandom;
use std::cell::RefCell;
use std::collections::BTreeMap;

/// The difference, with the page of the AWS IAM User Guide that decides it, and the case without what shows it.
pub type Cause = (&'static str, fn(&Case) -> Case);

/// How many disagreements without a cause are shown.
const SHOWN: u64 = 12;

/// Weir's answer and the other's to random cases; the test fails at a disagreement without a cause.
pub fn compare(name: &str, causes: &[Cause], count: u64, seed: u64, theirs: impl FnMut(&Case) -> Says) {
    let theirs = RefCell::new(theirs);
    let ask = |case: &Case| (theirs.borrow_mut())(case);
    let random = SeededRandom::new(seed);
    let mut found: BTreeMap<&str, u64> = BTreeMap::new();
    let mut decided: BTreeMap<&str, u64> = BTreeMap::new();
    let mut unknown = 0;
    for _ in 0..count {
        let case = cases::random(&Dice(&*random));
        let ours = super::ours(&case);
        let kind = match &ours {
            Says::Allow => "allowed",
            Says::Deny => "denied",
            Says::Nothing => "neither",
            Says::Failed(why) => panic!("Weir refuses {}: {why}", case.policy),
        };
        *decided.entry(kind).or_default() += 1;
        match cause(&case, causes, &ask) {
            Some("") => {}
            Some(cause) => *found.entry(cause).or_default() += 1,
            None => {
                unknown += 1;
                if unknown <= SHOWN {
                    let case = cases::shrink(case, |case| cause(case, causes, &ask).is_none());
                    let (ours, theirs) = (super::ours(&case), ask(&case));
                    println!("Weir {ours:?}, {name} {theirs:?}\n{}\n{case:?}\n", case.policy);
                }
            }
        }
    }
    println!("{name}, seed {seed}: {count} cases, {decided:?}");
    for (cause, count) in &found {
        println!("{count:>6}  {cause}");
    }
    assert_eq!(unknown, 0, "disagreements with {name} without a known cause, seed {seed}");
    assert!(decided.len() == 3 && decided.values().all(|of| *of > count / 10), "the cases decide little: {decided:?}");
}

/// One cause alone, else the last of several. `None`: nothing known explains it; an empty name: they agree.
fn cause(case: &Case, causes: &[Cause], theirs: &impl Fn(&Case) -> Says) -> Option<&'static str> {
    let agree = |case: &Case| super::ours(case) == theirs(case);
    if agree(case) {
        return Some("");
    }
    if let Some((name, _)) = causes.iter().find(|(_, without)| agree(&without(case))) {
        return Some(name);
    }
    let mut case = case.clone();
    for (name, without) in causes {
        case = without(&case);
        if agree(&case) {
            return Some(name);
        }
    }
    None
}
