//! What iam-rs says to a case.

use super::Says;
use super::cases::{Case, HOME, Principal, rewrite};
use super::causes::Cause;
use iam_rs::{Arn, Context, ContextValue, Decision, IAMPolicy, IAMRequest, PrincipalId, evaluate_policy};
use serde_json::{Value, json};

pub fn ask(case: &Case) -> Says {
    let policy: IAMPolicy = match serde_json::from_value(case.policy.clone()) {
        Ok(policy) => policy,
        Err(error) => return Says::Failed(error.to_string()),
    };
    let mut context = Context::new();
    for (key, values) in &case.context {
        let one = values[0];
        let value = match *key {
            "aws:TagKeys" => ContextValue::StringList(values.iter().map(|&value| value.to_owned()).collect()),
            "s3:max-keys" => ContextValue::Number(one.parse().expect("a number")),
            "aws:SecureTransport" => ContextValue::Boolean(one == "true"),
            "aws:CurrentTime" => serde_json::from_value(json!(one)).map(ContextValue::DateTime).expect("a time"),
            _ => ContextValue::String(one.to_owned()),
        };
        context.insert((*key).to_owned(), value);
    }
    let principal = iam_rs::Principal::Aws(PrincipalId::String(case.principal.arn().to_owned()));
    let resource = Arn::parse(case.resource).expect("an ARN");
    let request = IAMRequest::new_with_context(principal, case.action, resource, context);
    match evaluate_policy(&policy, &request) {
        Ok(Decision::Allow) => Says::Allow,
        Ok(Decision::Deny) => Says::Deny,
        Ok(Decision::NotApplicable) => Says::Nothing,
        Err(error) => Says::Failed(error.to_string()),
    }
}

pub const CAUSES: &[Cause] = &[
    ("iam-rs wants a Version. \"IAM JSON policy elements: Version\": without one it is 2008-10-17", |case| {
        let mut case = case.clone();
        case.policy.as_object_mut().expect("a map").entry("Version").or_insert_with(|| json!("2008-10-17"));
        case
    }),
    ("iam-rs compares bytes without regard to case. \"Condition operators\", Binary: byte for byte", |case| {
        let mut case = case.clone();
        case.context.retain(|(_, values)| *values != ["qmluyxj5"]);
        case
    }),
    (
        "iam-rs takes an account for its root alone. \"Principal\", AWS account principals: all principals of the account",
        |case| {
            if case.principal == Principal::Stranger {
                return case.clone();
            }
            let root = Principal::Root.arn();
            rewrite(case, |text| {
                let itself = case.principal.arn();
                let is_list = |text: &str| text.replace(&format!("\"{root}\""), &format!("\"{itself}\""));
                is_list(text).replace(&format!("\"{HOME}\""), &format!("\"{itself}\""))
            })
        },
    ),
    (
        "iam-rs knows no ${*}, ${?}, ${$}. \"Variables and tags\", Special characters: the characters themselves",
        |case| rewrite(case, |text| text.replace("${*}", "nothing").replace("${$}", "nothing")),
    ),
    (
        "iam-rs fills in variables of the older version. \"IAM JSON policy elements: Version\": 2008-10-17 has none",
        |case| {
            let newer = case.policy.get("Version").is_some_and(|version| version == "2012-10-17");
            if newer { case.clone() } else { rewrite(case, |text| text.replace("${", "$[")) }
        },
    ),
    (
        "iam-rs lets the rest of a statement count whose variable has no value. \"Variables and tags\": the statement is about nothing",
        |case| {
            let has = |key: &str| case.context.iter().any(|(name, _)| *name == key);
            let (name, team) = (has("aws:username"), has("aws:PrincipalTag/team"));
            without_open_statements(case, |text| {
                (!name && text.contains("${aws:username}")) || (!team && text.contains("${aws:PrincipalTag/team}"))
            })
        },
    ),
    (
        "iam-rs fills in no variable of a condition. \"Variables and tags\", Condition element: with string and ARN operators",
        |case| {
            let name = case.context.iter().find(|(key, _)| *key == "aws:username").map(|(_, values)| values[0]);
            let mut case = case.clone();
            let statements = match &mut case.policy["Statement"] {
                Value::Array(list) => list.iter_mut().collect(),
                one => vec![one],
            };
            for statement in statements {
                if let (Some(name), Some(condition)) = (name, statement.get_mut("Condition")) {
                    let filled = condition.to_string().replace("${aws:username}", name);
                    *condition = serde_json::from_str(&filled).expect("still JSON");
                }
            }
            case
        },
    ),
    (
        "iam-rs takes ArnEquals without wildcards. \"Condition operators\", ARN: ArnEquals and ArnLike behave identically",
        |case| rewrite(case, |text| text.replace("ArnEquals", "ArnLike").replace("ArnNotEquals", "ArnNotLike")),
    ),
    (
        "iam-rs lets any of several values fit a negated operator. \"Multivalued context keys\": they need a set operator, and \
         Weir takes the negation of the plain one",
        |case| {
            let mut case = case.clone();
            case.context.iter_mut().for_each(|(_, values)| values.truncate(1));
            case
        },
    ),
    (
        "iam-rs takes wildcards in the value of a variable for wildcards. \"Variables and tags\", Special characters",
        |case| {
            let varies = case.policy.to_string().contains("${aws:username");
            if varies { in_request(case, "b*b", "bxb") } else { case.clone() }
        },
    ),
    ("iam-rs loses a pattern's star at a star of the request's. \"Resource\": any combination of characters", |case| {
        let case = in_request(&in_request(case, "b*b", "bxb"), "*", "x");
        let resource = match case.resource {
            "arn:aws:s3:::b/*" => "arn:aws:s3:::b/y",
            "arn:aws:s3:::b/b*b/x" => "arn:aws:s3:::b/bxb/x",
            other => other,
        };
        Case { resource, ..case }
    }),
];

fn in_request(case: &Case, from: &str, to: &'static str) -> Case {
    let mut case = case.clone();
    for value in case.context.iter_mut().flat_map(|(_, values)| values) {
        if *value == from {
            *value = to;
        }
    }
    case
}

/// Statements that are left out must not leave none.
fn without_open_statements(case: &Case, is_open: impl Fn(&str) -> bool) -> Case {
    let mut case = case.clone();
    let statements = match &case.policy["Statement"] {
        Value::Array(list) => list.clone(),
        one => vec![one.clone()],
    };
    let mut kept: Vec<Value> = statements.into_iter().filter(|statement| !is_open(&statement.to_string())).collect();
    if kept.is_empty() {
        let mut statement = json!({"Effect": "Allow", "Action": "s3:RestoreObject", "Resource": "arn:aws:s3:::b"});
        if case.of_bucket {
            statement["Principal"] = json!("*");
        }
        kept.push(statement);
    }
    case.policy["Statement"] = json!(kept);
    case
}
