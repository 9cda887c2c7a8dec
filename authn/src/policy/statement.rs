//! One statement: whom, what and where it means, and under which conditions.

use super::actions;
use super::condition::{self, Condition};
use super::json::Json;
use super::principal::{Named, Principals};
use super::variables::{Filled, Syntax, value};
use super::wildcard::{ArnPattern, Pattern};
use super::{Asked, Context, Purpose};
use crate::limits::SID_BYTES_MAX;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    Allow,
    Deny,
}

#[derive(Debug, PartialEq)]
pub struct Statement {
    sid: Option<Box<str>>,
    /// From 1 on.
    pub(super) place: usize,
    pub(super) effect: Effect,
    pub(super) principals: Option<Principals>,
    conditions: Box<[Condition]>,
    /// Keys of variables, without which it is about nothing.
    required: Box<[Box<str>]>,
}

/// What statements are about. Many of a policy share one, as a rule.
#[derive(Debug, PartialEq)]
pub(super) struct Scope {
    actions: Choice<Pattern>,
    resources: Option<Choice<Filled<ArnPattern>>>,
    has_fixed_resources: bool,
    /// In the order of the text.
    pub(super) statements: Vec<Statement>,
}

/// `Action` or `NotAction`, `Resource` or `NotResource`.
#[derive(Debug, PartialEq)]
struct Choice<T> {
    negated: bool,
    items: Box<[T]>,
}

impl<T> Choice<T> {
    fn has(&self, fits: impl FnMut(&T) -> bool) -> bool {
        self.items.iter().any(fits) != self.negated
    }
}

impl Statement {
    /// Its Sid, else its place in the policy.
    pub fn name(&self) -> String {
        self.sid.as_deref().map_or_else(|| self.place.to_string(), str::to_owned)
    }

    /// From 1 on.
    pub fn place(&self) -> usize {
        self.place
    }

    pub fn effect(&self) -> Effect {
        self.effect
    }

    /// Whether it is about who asks.
    pub(super) fn names(&self, asked: &Asked<'_>) -> bool {
        self.principals.as_ref().is_none_or(|principals| principals.names(asked.who).is_some())
    }

    /// The key of each condition, and whether it holds.
    pub(super) fn judged(&self, context: &Context) -> Vec<(&str, bool)> {
        self.conditions.iter().map(|condition| (condition.key(), condition.holds(context))).collect()
    }

    /// Whether it lets in more than a few who are named or fixed.
    pub(super) fn is_public(&self) -> bool {
        self.effect == Effect::Allow
            && self.principals.as_ref().is_some_and(Principals::has_everyone)
            && !self.conditions.iter().any(Condition::fixes)
    }

    /// The keys that its conditions are about, their variables' included.
    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        self.conditions.iter().flat_map(Condition::keys)
    }

    /// Whether this rather than another one is what allows it: what names who asks more closely, then what comes first.
    pub(super) fn goes_before(&self, named: Named, (other, of_other): (&Self, Named)) -> bool {
        named > of_other || (named == of_other && self.place < other.place)
    }

    /// How it names who asks, if it is about the question at all. Its scope has been looked at.
    pub(super) fn applies(&self, asked: &Asked<'_>) -> Option<Named> {
        let named = match &self.principals {
            Some(principals) => principals.names(asked.who)?,
            None => Named::Directly,
        };
        if self.required.iter().any(|key| value(asked.context, key).is_none()) {
            return None;
        }
        self.conditions.iter().all(|condition| condition.holds(asked.context)).then_some(named)
    }
}

impl Scope {
    pub fn is_of(&self, other: &Self) -> bool {
        self.actions == other.actions && self.resources == other.resources
    }

    /// The keys of its variables.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.resources.iter().flat_map(|resources| resources.items.iter().flat_map(Filled::keys))
    }

    fn is_about_resource(&self, asked: &Asked<'_>) -> bool {
        self.resources
            .as_ref()
            .is_none_or(|resources| resources.has(|pattern| pattern.matches(asked.resource, asked.context)))
    }

    /// Whether it is about the question, or would be with other values of its variables.
    pub fn concerns(&self, asked: &Asked<'_>) -> bool {
        let mut required =
            self.resources.iter().flat_map(|resources| resources.items.iter().flat_map(Filled::required));
        self.actions.has(|pattern| pattern.matches_any_case(asked.action))
            && (self.is_about_resource(asked) || required.any(|key| value(asked.context, key).is_none()))
    }

    pub fn has(&self, asked: &Asked<'_>) -> bool {
        // What is told apart by a comparison of bytes comes first. A pattern with variables is built anew for each question.
        if self.has_fixed_resources && !self.is_about_resource(asked) {
            return false;
        }
        self.actions.has(|pattern| pattern.matches_any_case(asked.action))
            && (self.has_fixed_resources || self.is_about_resource(asked))
    }
}

/// The strings of an element that is one string or a list of them.
pub(super) fn texts(element: &str, json: Json) -> Result<Vec<String>, String> {
    let text = |json| match json {
        Json::Text(text) => Ok(text),
        other => Err(format!("has {} in {element} where a string belongs", other.kind())),
    };
    match json {
        Json::List(items) if items.is_empty() => Err(format!("has an empty {element}")),
        Json::List(items) => items.into_iter().map(text).collect(),
        one => Ok(vec![text(one)?]),
    }
}

/// The elements of a statement as they come.
#[derive(Default)]
struct Elements {
    sid: Option<Json>,
    effect: Option<Json>,
    principal: Option<(bool, Json)>,
    action: Option<(bool, Json)>,
    resource: Option<(bool, Json)>,
    condition: Option<Json>,
}

/// The scope of one statement.
pub(super) fn parse(json: Json, place: usize, purpose: Purpose<'_>, variables: bool) -> Result<Scope, String> {
    let Json::Map(map) = json else {
        return Err(format!("is {} where a map belongs", json.kind()));
    };
    let mut elements = Elements::default();
    for (key, value) in map {
        let pair = match &*key {
            "Sid" => {
                elements.sid = Some(value);
                continue;
            }
            "Effect" => {
                elements.effect = Some(value);
                continue;
            }
            "Condition" => {
                elements.condition = Some(value);
                continue;
            }
            "Principal" | "NotPrincipal" => &mut elements.principal,
            "Action" | "NotAction" => &mut elements.action,
            "Resource" | "NotResource" => &mut elements.resource,
            _ => return Err(format!("has an unknown element {key:?}")),
        };
        if pair.replace((key.starts_with("Not"), value)).is_some() {
            let name = key.trim_start_matches("Not");
            return Err(format!("has both {name} and Not{name}"));
        }
    }
    let sid = elements.sid.map(|sid| parse_sid(sid, purpose)).transpose()?;
    let effect = match elements.effect {
        Some(Json::Text(effect)) if effect == "Allow" => Effect::Allow,
        Some(Json::Text(effect)) if effect == "Deny" => Effect::Deny,
        Some(_) => return Err("has an Effect that is neither \"Allow\" nor \"Deny\"".to_owned()),
        None => return Err("has no Effect".to_owned()),
    };
    let principals = parse_principals(elements.principal, effect, purpose)?;
    let (negated, action) = elements.action.ok_or("has neither Action nor NotAction")?;
    let items =
        texts("Action", action)?.iter().map(|action| parse_action(action, purpose)).collect::<Result<_, _>>()?;
    let actions = Choice { negated, items };
    let resources = parse_resources(elements.resource, purpose, variables)?;
    let conditions = elements.condition.map(|json| condition::parse(json, variables)).transpose()?.unwrap_or_default();
    let mut required: Vec<Box<str>> = Vec::new();
    if let Some(resources) = &resources {
        required.extend(resources.items.iter().flat_map(Filled::required).map(Box::from));
    }
    required.extend(conditions.iter().flat_map(Condition::required).map(Box::from));
    required.sort_unstable();
    required.dedup();
    let fixed = |choice: &Choice<Filled<ArnPattern>>| choice.items.iter().all(Filled::is_fixed);
    let has_fixed_resources = resources.as_ref().is_some_and(fixed);
    let (conditions, required) = (conditions.into(), required.into());
    let statement = Statement { sid, place, effect, principals, conditions, required };
    Ok(Scope { actions, resources, has_fixed_resources, statements: vec![statement] })
}

fn parse_sid(sid: Json, purpose: Purpose<'_>) -> Result<Box<str>, String> {
    let Json::Text(sid) = sid else {
        return Err(format!("has a Sid that is {}", sid.kind()));
    };
    // IAM takes letters and digits only, S3 also what people write.
    let sound = match purpose {
        Purpose::Bucket(_) => sid.chars().all(|letter| !letter.is_control()),
        Purpose::Identity | Purpose::Trust => sid.bytes().all(|byte| byte.is_ascii_alphanumeric()),
    };
    if !sound || sid.len() > SID_BYTES_MAX {
        return Err("has a Sid with characters that do not belong there, or too many".to_owned());
    }
    Ok(sid.into())
}

fn parse_principals(
    found: Option<(bool, Json)>,
    effect: Effect,
    purpose: Purpose<'_>,
) -> Result<Option<Principals>, String> {
    match (found, purpose) {
        (None, Purpose::Identity) => Ok(None),
        (None, Purpose::Bucket(_) | Purpose::Trust) => Err("has no Principal".to_owned()),
        (Some(_), Purpose::Identity) => Err("has a Principal, which a policy of an identity has not".to_owned()),
        // AWS refuses it: it would let in everybody else there is.
        (Some((true, _)), _) if effect == Effect::Allow => Err("allows by NotPrincipal".to_owned()),
        (Some((negated, principals)), _) => Principals::parse(principals, negated).map(Some),
    }
}

fn parse_action(action: &str, purpose: Purpose<'_>) -> Result<Pattern, String> {
    let pattern = action.to_ascii_lowercase();
    let wrong = |why: &str| format!("has an action {action:?} that {why}");
    if pattern != "*" {
        let services: &[&str] = match purpose {
            Purpose::Identity => &[""],
            Purpose::Bucket(_) => &["s3:"],
            Purpose::Trust => &["sts:"],
        };
        if !services.iter().any(|service| pattern.starts_with(service)) {
            return Err(wrong("does not belong into this kind of policy"));
        }
        let spelled = actions::spelled(&pattern);
        let spelled = spelled.map_err(|why| format!("has an invalid action {action:?}: Weir {why}"))?;
        return Ok(Pattern::of(&spelled));
    }
    if purpose == Purpose::Trust {
        return Err(wrong("is not one of STS"));
    }
    Ok(Pattern::of(&pattern))
}

fn parse_resources(
    found: Option<(bool, Json)>,
    purpose: Purpose<'_>,
    variables: bool,
) -> Result<Option<Choice<Filled<ArnPattern>>>, String> {
    let (negated, json) = match (found, purpose) {
        (None, Purpose::Trust) => return Ok(None),
        (Some(_), Purpose::Trust) => return Err("has a Resource, which a trust policy has not".to_owned()),
        (None, _) => return Err("has neither Resource nor NotResource".to_owned()),
        (Some(found), _) => found,
    };
    let syntax = Syntax { variables, wildcards: true, lower_case: false };
    let resource = |text: &String| {
        let parsed = match purpose {
            Purpose::Bucket(bucket) if !is_in_bucket(text, bucket) => {
                Err(format!("it is not in the bucket {bucket:?}"))
            }
            _ if text != "*" && !text.starts_with("arn:") => Err("it is no ARN".to_owned()),
            _ => Filled::<ArnPattern>::parse(text, syntax),
        };
        let parsed = parsed.and_then(|filled| condition::check_variables(&filled).map(|()| filled));
        parsed.map_err(|why| format!("has an invalid resource {text:?}: {why}"))
    };
    let items = texts("Resource", json)?.iter().map(resource).collect::<Result<_, _>>()?;
    Ok(Some(Choice { negated, items }))
}

/// Whether the pattern begins with the bucket's name: it speaks of nothing else, then, as nothing else is asked of the policy.
fn is_in_bucket(resource: &str, bucket: &str) -> bool {
    let mut parts = resource.splitn(6, ':');
    let mut is = |allowed: &[&str]| parts.next().is_some_and(|part| allowed.contains(&part));
    let head = is(&["arn"]) && is(&["aws", "*"]) && is(&["s3", "*"]) && is(&["", "*"]) && is(&["", "*"]);
    let rest = parts.next().and_then(|rest| rest.strip_prefix(bucket));
    head && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '*', '?']))
}
