//! Decides the same question many times: `decide STATEMENTS ROUNDS`, or `decide STATEMENTS ROUNDS close` for statements that are
//! told apart by their conditions only. Run it under `valgrind --tool=callgrind` with two counts of
//! rounds: the difference is what the decisions cost, in instructions.

use common::OwnerId;
use std::collections::BTreeMap;
use std::sync::Arc;
use weir_authn::identity::{Caller, Kind, Standing, UserName};
use weir_authn::policy::{Context, Policy, Purpose};
use weir_authn::{Identity, Question, authorize};

/// A bucket's policy whose last statement lets bob read; those before are for other users, prefixes and networks.
fn policy(statements: usize, close: bool) -> String {
    let other = |number: usize| {
        let network = number % 200 + 20;
        let (effect, principal, action, resource) = match (close, number % 4) {
            (true, _) => ("Allow", "*".to_owned(), "s3:GetObject", "*".to_owned()),
            (false, 0) => ("Deny", format!("arn:aws:iam::111111111111:user/u{number}"), "s3:Delete*", "*".to_owned()),
            (false, _) => {
                ("Allow", format!("arn:aws:iam::111111111111:user/u{number}"), "s3:GetObject", format!("{number}/*"))
            }
        };
        format!(
            r#"{{"Effect":"{effect}","Principal":{{"AWS":"{principal}"}},"Action":"{action}","Resource":"arn:aws:s3:::p/{resource}","Condition":{{"IpAddress":{{"aws:SourceIp":"{network}.0.0.0/8"}}}}}}"#
        )
    };
    let bobs = r#"{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111111111111:user/bob"},"Action":"s3:GetObject","Resource":"arn:aws:s3:::p/*"}"#;
    let all: Vec<String> = (1..statements).map(other).chain([bobs.to_owned()]).collect();
    format!(r#"{{"Version":"2012-10-17","Statement":[{}]}}"#, all.join(","))
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, default: usize| arguments.get(at).map_or(default, |text| text.parse().expect("a number"));
    let (statements, rounds) = (number(0, 90), number(1, 1000));
    let text = policy(statements, arguments.get(2).is_some_and(|kind| kind == "close"));
    let bucket = Policy::parse(&text, Purpose::Bucket("p")).expect("a policy");
    let name = UserName { name: "bob".into(), path: "/".into(), id: "AIDA1".into(), tags: BTreeMap::new() };
    let identity = Identity::Known(Arc::new(Caller {
        access_key: None,
        owner: OwnerId("ann".into()),
        account: "111111111111".to_owned(),
        tenant: None,
        admin: false,
        kind: Kind::User(name),
        standing: Standing::default(),
    }));
    let owner = OwnerId("ann".into());
    let mut context = Context::default();
    for key in ["aws:CurrentTime", "aws:EpochTime", "aws:PrincipalArn", "aws:PrincipalType", "aws:SecureTransport"] {
        context.trust(key, vec!["x".to_owned()]);
    }
    context.trust("aws:SourceIp", vec!["10.1.2.3".to_owned()]);
    context.trust("aws:username", vec!["bob".to_owned()]);
    for _ in 0..rounds {
        let verdict = authorize(std::hint::black_box(&Question {
            identity: &identity,
            action: "s3:GetObject",
            resource: "arn:aws:s3:::p/2026/01/holiday-0001.jpg",
            context: &context,
            owner: Some(&owner),
            bucket_policy: Some(&bucket),
            restrict_public: false,
            acl_grants: false,
        }));
        assert!(verdict.allowed);
    }
}
