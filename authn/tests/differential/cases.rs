//! Random policies with questions to them, out of small sets of words, so that they meet often.

use common::Random;
use serde_json::{Map, Value, json};

/// One policy and one question.
#[derive(Debug, Clone)]
pub struct Case {
    pub policy: Value,
    /// Of a bucket, not of an identity.
    pub of_bucket: bool,
    pub action: &'static str,
    pub resource: &'static str,
    pub principal: Principal,
    pub context: Vec<(&'static str, Vec<&'static str>)>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Principal {
    Root,
    Bob,
    Stranger,
    Session,
}

pub const HOME: &str = "111111111111";
pub const AWAY: &str = "222222222222";

impl Principal {
    pub fn arn(self) -> &'static str {
        match self {
            Self::Root => "arn:aws:iam::111111111111:root",
            Self::Bob => "arn:aws:iam::111111111111:user/bob",
            Self::Stranger => "arn:aws:iam::222222222222:user/bob",
            Self::Session => "arn:aws:sts::111111111111:assumed-role/reader/s1",
        }
    }
}

const ASKED_ACTIONS: &[&str] =
    &["s3:GetObject", "s3:GetObject", "s3:PutObject", "s3:ListBucket", "s3:GetObjectTagging"];
const ACTIONS: &[&str] = &[
    "*",
    "s3:*",
    "s3:Get*",
    "s3:GetObject",
    "s3:getobject",
    "S3:GetObject",
    "s3:Put?bject",
    "s3:PutObject",
    "s3:List*",
    "s3:*Object",
    "s3:DeleteObject",
    "s3:*Tagging",
    "s3:G*t*",
    "iam:*",
    "sts:AssumeRole",
];
const ASKED_RESOURCES: &[&str] = &[
    "arn:aws:s3:::b",
    "arn:aws:s3:::b/x",
    "arn:aws:s3:::b/a/x",
    "arn:aws:s3:::b/ax",
    "arn:aws:s3:::b/bob/x",
    "arn:aws:s3:::b/*",
    "arn:aws:s3:::b/a:x",
    "arn:aws:s3:::b/$",
    "arn:aws:s3:::b2/x",
    "arn:aws:s3:::B/x",
    "arn:aws:s3:::b/a.x",
    "arn:aws:s3:::b/b*b/x",
];
const RESOURCES: &[&str] = &[
    "arn:aws:s3:::b",
    "arn:aws:s3:::b/*",
    "arn:aws:s3:::b/a*",
    "arn:aws:s3:::b/?x",
    "arn:aws:s3:::b/a/x",
    "arn:aws:s3:::b/*x",
    "arn:aws:s3:::b/*/x",
    "arn:aws:s3:::b*",
    "arn:aws:s3:::b/a.x",
    "arn:aws:s3::*:b/*",
    "arn:aws:s3:*:*:b/*",
];
const OPEN_RESOURCES: &[&str] = &[
    "arn:aws:s3:::b/${aws:username}/*",
    "arn:aws:s3:::b/${aws:PrincipalTag/team}/x",
    "arn:aws:s3:::b/${aws:PrincipalTag/team, 'a'}/x",
    "arn:aws:s3:::b/${*}",
    "arn:aws:s3:::b/${$}",
];
const ANY_RESOURCES: &[&str] = &["*", "arn:aws:s3:::*", "arn:aws:s3:::*/x", "arn:aws:s3:::?/x"];

/// What a condition key can be compared with, and what it may be in a request.
struct Key {
    name: &'static str,
    operators: &'static [&'static str],
    policy: &'static [&'static str],
    request: &'static [&'static str],
    /// Several values at once.
    many: bool,
}

const STRING: &[&str] = &[
    "StringEquals",
    "StringNotEquals",
    "StringEqualsIgnoreCase",
    "StringNotEqualsIgnoreCase",
    "StringLike",
    "StringNotLike",
];
const NUMERIC: &[&str] = &[
    "NumericEquals",
    "NumericNotEquals",
    "NumericLessThan",
    "NumericLessThanEquals",
    "NumericGreaterThan",
    "NumericGreaterThanEquals",
];
const DATE: &[&str] =
    &["DateEquals", "DateNotEquals", "DateLessThan", "DateLessThanEquals", "DateGreaterThan", "DateGreaterThanEquals"];
const ARN: &[&str] = &["ArnEquals", "ArnNotEquals", "ArnLike", "ArnNotLike"];

const KEYS: &[Key] = &[
    Key {
        name: "aws:username",
        operators: STRING,
        policy: &["bob", "Bob", "b*", "b?b", "ann"],
        request: &["bob", "ann", "b*b"],
        many: false,
    },
    Key {
        name: "s3:prefix",
        operators: STRING,
        policy: &["", "a/*", "a/x", "A/X", "${aws:username}/*", "${aws:username}", "*", "${*}"],
        request: &["", "a/x", "bob/x", "bob", "*"],
        many: false,
    },
    Key {
        name: "aws:PrincipalTag/team",
        operators: STRING,
        policy: &["a", "red", "r*", "${aws:username}"],
        request: &["a", "red", "bob", "bob/x"],
        many: false,
    },
    Key {
        name: "aws:TagKeys",
        operators: STRING,
        policy: &["a", "b", "c", "A", "a*"],
        request: &["a", "b", "c", "d"],
        many: true,
    },
    Key {
        name: "s3:max-keys",
        operators: NUMERIC,
        policy: &["1", "10", "100"],
        request: &["1", "10", "50"],
        many: false,
    },
    Key {
        name: "aws:CurrentTime",
        operators: DATE,
        policy: &["2026-01-01T00:00:00Z", "2026-06-01T12:00:00Z", "2026-06-01T12:00:00+02:00"],
        request: &["2026-01-01T00:00:00Z", "2026-06-01T12:00:00Z", "2026-03-01T00:00:00Z"],
        many: false,
    },
    Key {
        name: "aws:SecureTransport",
        operators: &["Bool"],
        policy: &["true", "false"],
        request: &["true", "false"],
        many: false,
    },
    Key {
        name: "aws:SourceIp",
        operators: &["IpAddress", "NotIpAddress"],
        policy: &["10.0.0.0/8", "10.1.0.0/16", "192.168.1.1", "2001:db8::/32", "0.0.0.0/0"],
        request: &["10.1.2.3", "10.2.0.1", "192.168.1.1", "172.16.0.1", "2001:db8::1"],
        many: false,
    },
    Key {
        name: "aws:PrincipalArn",
        operators: ARN,
        policy: &[
            "arn:aws:iam::111111111111:user/bob",
            "arn:aws:iam::111111111111:*",
            "arn:aws:iam::*:user/*",
            "arn:aws:iam::1*:role/?",
        ],
        request: &[
            "arn:aws:iam::111111111111:user/bob",
            "arn:aws:iam::111111111111:role/r",
            "arn:aws:iam::222222222222:user/bob",
        ],
        many: false,
    },
    Key {
        name: "aws:userid",
        operators: &["BinaryEquals"],
        policy: &["QmluYXJ5", "QQ=="],
        request: &["QmluYXJ5", "QQ==", "qmluyxj5"],
        many: false,
    },
];

const PRINCIPALS: &[&str] = &[
    "*",
    "111111111111",
    "arn:aws:iam::111111111111:root",
    "arn:aws:iam::111111111111:user/bob",
    "arn:aws:iam::222222222222:user/bob",
    "arn:aws:sts::111111111111:assumed-role/reader/s1",
];

pub struct Dice<'d>(pub &'d dyn Random);

impl Dice<'_> {
    fn below(&self, limit: usize) -> usize {
        usize::try_from(self.0.u64() % (limit as u64)).expect("below a usize")
    }

    fn chance(&self, percent: usize) -> bool {
        self.below(100) < percent
    }

    fn pick<T: Copy>(&self, items: &[T]) -> T {
        items[self.below(items.len())]
    }

    /// One as it is, or several as a list.
    fn some(&self, items: &[&str]) -> Value {
        match self.below(4) {
            0 | 1 => json!([self.pick(items), self.pick(items), self.pick(items)]),
            2 => json!([self.pick(items)]),
            _ => json!(self.pick(items)),
        }
    }
}

pub fn random(dice: &Dice<'_>) -> Case {
    let of_bucket = dice.chance(40);
    let version = match dice.below(10) {
        0 => None,
        1 => Some("2008-10-17"),
        _ => Some("2012-10-17"),
    };
    let statements: Vec<Value> = (0..=dice.below(3)).map(|_| statement(dice, of_bucket)).collect();
    let mut policy = Map::new();
    if let Some(version) = version {
        policy.insert("Version".to_owned(), json!(version));
    }
    policy.insert(
        "Statement".to_owned(),
        if statements.len() == 1 && dice.chance(30) { statements[0].clone() } else { json!(statements) },
    );
    let mut context = Vec::new();
    for key in KEYS {
        if dice.chance(60) {
            let count = if key.many { 1 + dice.below(3) } else { 1 };
            let mut values: Vec<_> = (0..count).map(|_| dice.pick(key.request)).collect();
            values.dedup();
            context.push((key.name, values));
        }
    }
    Case {
        policy: Value::Object(policy),
        of_bucket,
        action: dice.pick(ASKED_ACTIONS),
        resource: dice.pick(ASKED_RESOURCES),
        principal: dice.pick(&[
            Principal::Root,
            Principal::Bob,
            Principal::Bob,
            Principal::Stranger,
            Principal::Session,
        ]),
        context,
    }
}

fn statement(dice: &Dice<'_>, of_bucket: bool) -> Value {
    let mut statement = Map::new();
    let effect = if dice.chance(65) { "Allow" } else { "Deny" };
    statement.insert("Effect".to_owned(), json!(effect));
    let negatable = |name: &str, negated: bool| if negated { format!("Not{name}") } else { name.to_owned() };
    if of_bucket {
        let negated = effect == "Deny" && dice.chance(20);
        let principal = match (negated, dice.below(4)) {
            (false, 0) => json!("*"),
            (false, _) => json!({ "AWS": dice.some(PRINCIPALS) }),
            (true, _) => json!({ "AWS": dice.some(&PRINCIPALS[1..]) }),
        };
        statement.insert(negatable("Principal", negated), principal);
    }
    // The last ones are no actions of a bucket's policy.
    let actions = if of_bucket { &ACTIONS[..ACTIONS.len() - 2] } else { ACTIONS };
    statement.insert(negatable("Action", dice.chance(15)), dice.some(actions));
    let mut resources = RESOURCES.to_vec();
    if dice.chance(30) {
        resources.extend(OPEN_RESOURCES);
    }
    if !of_bucket {
        resources.extend(ANY_RESOURCES);
    }
    statement.insert(negatable("Resource", dice.chance(15)), dice.some(&resources));
    let mut operators = Map::new();
    for _ in 0..dice.pick(&[0, 0, 0, 1, 1, 2]) {
        let key = &KEYS[dice.below(KEYS.len())];
        let (operator, values) = if dice.chance(8) {
            ("Null".to_owned(), json!(dice.pick(&["true", "false"])))
        } else {
            let operator = dice.pick(key.operators);
            let set = if key.many { dice.pick(&["ForAllValues:", "ForAnyValue:", "ForAllValues:", ""]) } else { "" };
            let if_exists = if set.is_empty() && dice.chance(20) { "IfExists" } else { "" };
            (format!("{set}{operator}{if_exists}"), dice.some(key.policy))
        };
        let keys = operators.entry(operator).or_insert_with(|| json!({}));
        keys.as_object_mut().expect("made as a map").insert(key.name.to_owned(), values);
    }
    if !operators.is_empty() {
        statement.insert("Condition".to_owned(), Value::Object(operators));
    }
    Value::Object(statement)
}

/// The same question to a policy of another text.
pub fn rewrite(case: &Case, change: impl Fn(&str) -> String) -> Case {
    let policy = serde_json::from_str(&change(&case.policy.to_string())).expect("still JSON");
    Case { policy, ..case.clone() }
}

/// The same with less, as long as it shows what was found.
pub fn shrink(mut case: Case, shows: impl Fn(&Case) -> bool) -> Case {
    'again: loop {
        for smaller in smaller(&case) {
            if shows(&smaller) {
                case = smaller;
                continue 'again;
            }
        }
        return case;
    }
}

fn smaller(case: &Case) -> Vec<Case> {
    let mut found = Vec::new();
    for at in 0..case.context.len() {
        let mut less = case.clone();
        less.context.remove(at);
        found.push(less);
    }
    let statements: Vec<Value> = match &case.policy["Statement"] {
        Value::Array(list) => list.clone(),
        one => vec![one.clone()],
    };
    let mut with = |statements: Vec<Value>| {
        let mut less = case.clone();
        less.policy["Statement"] = json!(statements);
        found.push(less);
    };
    for at in 0..statements.len() {
        if statements.len() > 1 {
            let mut less = statements.clone();
            less.remove(at);
            with(less);
        }
        for (element, value) in statements[at].as_object().expect("a statement") {
            if let Value::Array(items) = value {
                for item in items {
                    let mut less = statements.clone();
                    less[at][element] = item.clone();
                    with(less);
                }
            }
        }
        let operators = statements[at].get("Condition").and_then(Value::as_object);
        for (operator, keys) in operators.into_iter().flatten() {
            for (key, value) in keys.as_object().expect("keys") {
                if let Value::Array(items) = value {
                    for item in items {
                        let mut less = statements.clone();
                        less[at]["Condition"][operator][key] = item.clone();
                        with(less);
                    }
                }
                let mut less = statements.clone();
                let condition = less[at]["Condition"].as_object_mut().expect("operators");
                let rest = condition[operator].as_object_mut().expect("keys");
                rest.remove(key);
                if rest.is_empty() {
                    condition.remove(operator);
                }
                if condition.is_empty() {
                    less[at].as_object_mut().expect("a statement").remove("Condition");
                }
                with(less);
            }
        }
    }
    found
}
