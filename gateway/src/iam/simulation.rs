//! The policy simulator: SimulateCustomPolicy, SimulatePrincipalPolicy and what condition keys policies ask for.
//!
//! As in IAM, a simulation is of policies: buckets' own are not looked at, only a `ResourcePolicy` that comes along.

use super::Action;
use crate::query_api::{Form, Refusal, Reply, Xml};
use crate::simulation::{
    Origin, Subject, caller_of_arn, given_context, nameless_caller, owner_of_number, role_caller, user_caller,
};
use authn::policy::{self, Context, Policy, Position, Purpose, statement_positions};
use authn::simulation::{
    Ground, Matched, ResourcePolicy, Simulated, Source, account_of, bucket_of, keys_of_caller, simulate,
};
use authn::{Caller, Identity};
use cluster::iam::{Role, User};
use std::sync::Arc;

/// Policies that come along with one request. Each has its own limit of characters.
const POLICIES_MAX: usize = 20;
/// Actions and resources of one request. Each page answers at most a thousand of their pairs.
const ACTIONS_MAX: usize = 1000;
const RESOURCES_MAX: usize = 1000;
const CONTEXT_ENTRIES_MAX: usize = 100;
/// Text of policies that one page looks through, each time that it is: the statements that have a part in an answer are told in
/// it, so without this a page would be as large as a thousand times all policies.
const PAGE_TEXT_BYTES_MAX: usize = 1024 * 1024;

const INPUT_KIND: &str = "IAM Policy";
const RESOURCE_ORIGIN: (&str, &str) = ("ResourcePolicy", "Resource Policy");

/// Whose policies are simulated.
enum Subjected<'s> {
    Nobody,
    User(&'s User),
    Group,
    Role(&'s Role),
}

impl Action<'_> {
    pub fn simulate_custom_policy(&self) -> Result<Reply, Refusal> {
        self.authorize("*")?;
        // An empty list is one, and all is refused.
        if self.form.optional("PolicyInputList").is_none() {
            self.form.required("PolicyInputList.member.1")?;
        }
        self.simulation(Subject::default(), &Subjected::Nobody)
    }

    pub fn simulate_principal_policy(&self) -> Result<Reply, Refusal> {
        let (subject, whose) = self.subject()?;
        self.simulation(subject, &whose)
    }

    pub fn get_context_keys_for_custom_policy(&self) -> Result<Reply, Refusal> {
        self.authorize("*")?;
        let mut subject = Subject::default();
        self.add_inputs(&mut subject)?;
        Ok(context_keys(&subject))
    }

    pub fn get_context_keys_for_principal_policy(&self) -> Result<Reply, Refusal> {
        let (mut subject, _) = self.subject()?;
        self.add_inputs(&mut subject)?;
        Ok(context_keys(&subject))
    }

    fn simulation(&self, mut subject: Subject, whose: &Subjected<'_>) -> Result<Reply, Refusal> {
        let form = self.form;
        if form.optional("ResourceHandlingOption").is_some_and(|option| !option.is_empty()) {
            return Err(Refusal::invalid_input(
                "There are no scenarios of EC2 here: leave ResourceHandlingOption out.",
            ));
        }
        self.add_inputs(&mut subject)?;
        self.replace_boundary(&mut subject)?;
        let actions = actions(form)?;
        let resources = form.list("ResourceArns")?;
        bounded("resourceArns", resources.len(), RESOURCES_MAX)?;
        let everything = ["*"];
        let asked = if resources.is_empty() { &everything[..] } else { &resources };
        let given = entries(form)?;

        let Subject { standing, identity: origins, boundary } = subject;
        let resource_policy = form.optional("ResourcePolicy").filter(|text| !text.is_empty());
        let caller_arn = form.optional("CallerArn").filter(|arn| !arn.is_empty());
        let caller = match (caller_arn, whose) {
            (Some(arn), _) => caller_of_arn(&self.state, arn, standing)
                .filter(|caller| matches!(caller.kind, authn::identity::Kind::User(_)))
                .ok_or_else(|| Refusal::invalid_input(format!("CallerArn {arn} is not the ARN of a user.")))?,
            (None, Subjected::User(user)) => user_caller(&self.account, user, standing),
            (None, Subjected::Role(role)) => role_caller(&self.account, role, standing),
            (None, Subjected::Nobody | Subjected::Group) if resource_policy.is_some() => {
                return Err(Refusal::invalid_input("CallerArn is needed where there is a ResourcePolicy."));
            }
            (None, Subjected::Nobody | Subjected::Group) => nameless_caller(&self.account, standing),
        };
        let owner = self.resource_owner(&caller)?;
        let mut context = given;
        keys_of_caller(&mut context, &caller);
        let identity = Identity::Known(Arc::new(caller));
        let (id, kind) = RESOURCE_ORIGIN;
        let resource_origin =
            resource_policy.map(|text| Origin { id: id.to_owned(), kind, text: Some(text.to_owned()) });
        let policies = Policies {
            origins: origins.into_iter().map(Placed::new).collect(),
            boundary: boundary.map(Placed::new),
            resource: resource_origin.map(Placed::new),
        };

        // Page by page: what is on another one is not asked.
        let most = form.number("MaxItems", 1, super::PAGE_ENTRIES_MAX)?.unwrap_or(super::PAGE_ENTRIES) as usize;
        let pairs = actions.len() * asked.len();
        let first = marker(form, pairs)?;
        let last = pairs.min(first + most.min(pairs_of_a_page(policies.text_bytes())));
        let mut xml = Xml::default();
        let mut results = Vec::new();
        let mut parsed = Parsed::default();
        for pair in first..last {
            let (action, resource) = (&actions[pair / asked.len()], asked[pair % asked.len()]);
            let policy = resource_policy.map(|text| parsed.of(text, resource)).transpose()?;
            let number = account_of(resource);
            let owner = number.map_or_else(|| owner.clone(), |number| owner_of_number(&self.state, number));
            let ground = Ground { owner, policy, restrict_public: false };
            results.push((action, resource, simulate(&identity, &context, (action, resource), &ground)));
        }
        let is_specific = !resources.is_empty();
        xml.members("EvaluationResults", results, |member, (action, resource, simulated)| {
            member.text("EvalActionName", action);
            member.text("EvalResourceName", resource);
            member.text("EvalDecision", simulated.decision.word());
            policies.tell(member, &simulated);
            if is_specific {
                member.members("ResourceSpecificResults", [()], |specific, ()| {
                    specific.text("EvalResourceName", resource);
                    specific.text("EvalResourceDecision", simulated.decision.word());
                    policies.tell(specific, &simulated);
                });
            }
        });
        let next = (last < pairs).then(|| last.to_string());
        super::paged(&mut xml, next.as_deref());
        Ok(Some(xml))
    }

    /// Of `PolicySourceArn`, if the caller may simulate it. Whether it is there is not told to whom may not.
    fn subject(&self) -> Result<(Subject, Subjected<'_>), Refusal> {
        let arn = self.policy_arn("PolicySourceArn")?;
        self.authorize(arn)?;
        let (state, number) = (&self.state, self.number());
        let absent = || Refusal::no_such_entity(format!("The entity {arn} cannot be found."));
        let resource = arn.splitn(6, ':').nth(5).unwrap_or("");
        let (kind, path) = resource.split_once('/').ok_or_else(absent)?;
        let name = path.rsplit('/').next().unwrap_or(path);
        let iam = &state.iam;
        match kind {
            "user" => {
                let user = iam.user(self.owner(), name).filter(|user| user.arn(number) == arn).ok_or_else(absent)?;
                Ok((Subject::of_user(state, user), Subjected::User(user)))
            }
            "group" => {
                let group =
                    iam.group(self.owner(), name).filter(|group| group.arn(number) == arn).ok_or_else(absent)?;
                Ok((Subject::of_group(state, group), Subjected::Group))
            }
            "role" => {
                let role = iam.role(self.owner(), name).filter(|role| role.arn(number) == arn).ok_or_else(absent)?;
                Ok((Subject::of_role(state, role), Subjected::Role(role)))
            }
            _ => Err(Refusal::invalid_input(format!("{arn} is the ARN of no user, group or role."))),
        }
    }

    fn add_inputs(&self, subject: &mut Subject) -> Result<(), Refusal> {
        for (id, text, policy) in inputs(self.form, "PolicyInputList")? {
            let origin = Origin { id: id.clone(), kind: INPUT_KIND, text: Some(text.to_owned()) };
            subject.push((id, policy), origin);
        }
        Ok(())
    }

    /// As in IAM there is one at most, which stands in the place of the principal's own.
    fn replace_boundary(&self, subject: &mut Subject) -> Result<(), Refusal> {
        let mut boundaries = inputs(self.form, "PermissionsBoundaryPolicyInputList")?;
        if boundaries.len() > 1 {
            return Err(Refusal::invalid_input("PermissionsBoundaryPolicyInputList has more than one member."));
        }
        if let Some((id, text, policy)) = boundaries.pop() {
            subject.boundary = Some(Origin { id: id.clone(), kind: INPUT_KIND, text: Some(text.to_owned()) });
            subject.standing.boundary = Some((id, Arc::new(policy)));
        }
        Ok(())
    }

    /// Whose the resources are that do not say it themselves.
    fn resource_owner(&self, caller: &Caller) -> Result<common::OwnerId, Refusal> {
        let Some(arn) = self.form.optional("ResourceOwner").filter(|arn| !arn.is_empty()) else {
            return Ok(caller.owner.clone());
        };
        let number = account_of(arn).filter(|number| *arn == format!("arn:aws:iam::{number}:root"));
        let number = number.ok_or_else(|| {
            Refusal::invalid_input(format!("ResourceOwner {arn} is no account's: arn:aws:iam::123456789012:root"))
        })?;
        Ok(owner_of_number(&self.state, number))
    }
}

/// The policy of a resource, which is parsed anew for another bucket only.
#[derive(Default)]
struct Parsed<'r>(Option<(Option<&'r str>, Arc<ResourcePolicy>)>);

impl<'r> Parsed<'r> {
    fn of(&mut self, text: &str, resource: &'r str) -> Result<Arc<ResourcePolicy>, Refusal> {
        let bucket = bucket_of(resource);
        let known = self.0.as_ref().filter(|(of, _)| *of == bucket && bucket.is_some());
        if let Some((_, policy)) = known {
            return Ok(policy.clone());
        }
        let policy = ResourcePolicy::parse(text, resource)
            .map_err(|error| Refusal::invalid_input(format!("ResourcePolicy: {error}")))?;
        let policy = Arc::new(policy);
        self.0 = Some((bucket, policy.clone()));
        Ok(policy)
    }
}

/// How many answers a page has at most, of policies with so much text.
fn pairs_of_a_page(text_bytes: usize) -> usize {
    (PAGE_TEXT_BYTES_MAX / text_bytes.max(1)).max(1)
}

/// Where the policies of a simulation are from.
struct Policies {
    origins: Vec<Placed>,
    boundary: Option<Placed>,
    resource: Option<Placed>,
}

/// Where a policy is from, and where its statements stand in it.
struct Placed {
    origin: Origin,
    positions: Vec<(Position, Position)>,
}

impl Placed {
    fn new(origin: Origin) -> Self {
        let positions = origin.text.as_deref().map(statement_positions).unwrap_or_default();
        Self { origin, positions }
    }
}

impl Policies {
    fn text_bytes(&self) -> usize {
        let all = self.origins.iter().chain(&self.boundary).chain(&self.resource);
        all.map(|placed| placed.origin.text.as_ref().map_or(0, String::len)).sum()
    }

    fn tell(&self, xml: &mut Xml, simulated: &Simulated) {
        xml.members("MatchedStatements", &simulated.matched, |member, matched| self.tell_statement(member, matched));
        xml.texts("MissingContextValues", simulated.missing.iter().map(String::as_str));
        if let Some(allows) = simulated.boundary_allows {
            xml.element("PermissionsBoundaryDecisionDetail", |detail| {
                detail.flag("AllowedByPermissionsBoundary", allows);
            });
        }
    }

    fn tell_statement(&self, xml: &mut Xml, matched: &Matched) {
        let placed = match matched.source {
            Source::Identity(at) => self.origins.get(at),
            Source::Boundary => self.boundary.as_ref(),
            Source::Resource => self.resource.as_ref(),
            // Nobody who is simulated has one.
            Source::Session(_) => None,
        };
        let Some(Placed { origin, positions }) = placed else { return };
        xml.text("SourcePolicyId", &origin.id);
        xml.text("SourcePolicyType", origin.kind);
        if let Some((from, to)) = positions.get(matched.place - 1) {
            position(xml, "StartPosition", *from);
            position(xml, "EndPosition", *to);
        }
    }
}

fn position(xml: &mut Xml, name: &str, at: Position) {
    xml.element(name, |position| {
        position.text("Line", &at.line.to_string());
        position.text("Column", &at.column.to_string());
    });
}

/// Each policy of a list, with the name that the simulator gives it.
fn inputs<'f>(form: &'f Form, list: &str) -> Result<Vec<(String, &'f str, Policy)>, Refusal> {
    let texts = form.list(list)?;
    bounded(&crate::query_api::camel(list), texts.len(), POLICIES_MAX)?;
    let parsed = texts.into_iter().enumerate().map(|(at, text)| {
        let id = format!("{list}.{}", at + 1);
        match Policy::parse(text, Purpose::Identity) {
            Ok(policy) => Ok((id, text, policy)),
            Err(error) => Err(Refusal::invalid_input(format!("{id}: {error}"))),
        }
    });
    parsed.collect()
}

fn actions(form: &Form) -> Result<Vec<String>, Refusal> {
    let names = form.list("ActionNames")?;
    if names.is_empty() {
        form.required("ActionNames.member.1")?;
    }
    bounded("actionNames", names.len(), ACTIONS_MAX)?;
    let action = |name: &str| policy::action(name).map_err(|error| Refusal::invalid_input(error.to_string()));
    names.into_iter().map(action).collect()
}

fn entries(form: &Form) -> Result<Context, Refusal> {
    let entries = form.entries("ContextEntries", &["ContextKeyName", "ContextKeyType"])?;
    bounded("contextEntries", entries.len(), CONTEXT_ENTRIES_MAX)?;
    let mut given: Vec<(&str, Vec<String>)> = Vec::new();
    for (at, entry) in entries.iter().enumerate() {
        let &[name, kind] = &entry[..] else { continue };
        let values = form.list(&format!("ContextEntries.member.{}.ContextKeyValues", at + 1))?;
        let (Some(name), Some(kind)) = (name, kind) else {
            return Err(Refusal::invalid_input(
                "An entry of ContextEntries has a ContextKeyName and a ContextKeyType.",
            ));
        };
        if given.iter().any(|(known, _)| known.eq_ignore_ascii_case(name)) {
            return Err(Refusal::invalid_input(format!("The context key {name} is there twice.")));
        }
        check_values(name, kind, &values)?;
        given.push((name, values.into_iter().map(str::to_owned).collect()));
    }
    Ok(given_context(given))
}

fn check_values(name: &str, kind: &str, values: &[&str]) -> Result<(), Refusal> {
    let base = kind.strip_suffix("List").unwrap_or(kind);
    let is_value = |value: &&str| match base {
        "numeric" => value.parse::<f64>().is_ok_and(f64::is_finite),
        "boolean" => value.eq_ignore_ascii_case("true") || value.eq_ignore_ascii_case("false"),
        "ip" => value.parse::<std::net::IpAddr>().is_ok(),
        // Whether it is a date or Base64, the condition finds out.
        _ => true,
    };
    if !["string", "numeric", "boolean", "ip", "binary", "date"].contains(&base) {
        return Err(Refusal::invalid_input(format!("{kind} is no ContextKeyType.")));
    }
    if base == kind && values.len() > 1 {
        return Err(Refusal::invalid_input(format!("The context key {name} of type {kind} has more than one value.")));
    }
    if !values.iter().all(is_value) {
        return Err(Refusal::invalid_input(format!("A value of the context key {name} is not of type {kind}.")));
    }
    Ok(())
}

/// The number of the pair that the page begins with.
fn marker(form: &Form, pairs: usize) -> Result<usize, Refusal> {
    let Some(text) = form.optional("Marker") else { return Ok(0) };
    let at = text.parse().ok().filter(|at| (1..pairs).contains(at) && !text.starts_with(['+', '0']));
    at.ok_or_else(|| Refusal::invalid_input("The Marker is not one of this simulation."))
}

fn bounded(name: &str, count: usize, most: usize) -> Result<(), Refusal> {
    if count <= most {
        return Ok(());
    }
    Err(Refusal::validation(format!(
        "Value at '{name}' failed to satisfy constraint: Member must have length less than or equal to {most}"
    )))
}

fn context_keys(subject: &Subject) -> Reply {
    let mut names: Vec<String> = Vec::new();
    for key in subject.standing.identity.iter().flat_map(|(_, policy)| policy.spelled_keys()) {
        if !names.contains(&key) {
            names.push(key);
        }
    }
    let mut xml = Xml::default();
    xml.texts("ContextKeyNames", names.iter().map(String::as_str));
    Some(xml)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(body: &str) -> Form {
        Form::parse("", body.as_bytes()).expect("a form")
    }

    #[test]
    fn context_entries_have_a_name_a_type_and_values_of_it() {
        let read = |rest: &str| {
            let form = form(&rest.replace('#', "ContextEntries.member"));
            entries(&form).map(|context| context.get("aws:x").map(<[String]>::to_vec)).map_err(|refusal| refusal.code)
        };
        let one = |kind: &str, value: &str| {
            read(&format!("#.1.ContextKeyName=aws:x&#.1.ContextKeyType={kind}&#.1.ContextKeyValues.member.1={value}"))
        };
        for (kind, good, bad) in [
            ("string", "a", None),
            ("numeric", "1.5", Some("x")),
            ("booleanList", "True", Some("1")),
            ("ip", "10.0.0.1", Some("10.0.0.0/8")),
        ] {
            assert_eq!(one(kind, good), Ok(Some(vec![good.to_owned()])), "{kind}");
            if let Some(bad) = bad {
                assert_eq!(one(kind, bad), Err("InvalidInput"), "{kind}");
            }
        }
        assert_eq!(one("text", "a"), Err("InvalidInput"));
        let two = "#.1.ContextKeyValues.member.1=a&#.1.ContextKeyValues.member.2=b&#.1.ContextKeyName=aws:x";
        assert_eq!(read(&format!("{two}&#.1.ContextKeyType=stringList")), Ok(Some(vec!["a".into(), "b".into()])));
        assert_eq!(read(&format!("{two}&#.1.ContextKeyType=string")), Err("InvalidInput"));
        assert_eq!(read(two), Err("InvalidInput"));
        assert_eq!(
            read(
                "#.1.ContextKeyName=aws:x&#.1.ContextKeyType=string&#.2.ContextKeyName=AWS:X&#.2.ContextKeyType=string"
            ),
            Err("InvalidInput")
        );
        assert_eq!(read(""), Ok(None));
    }

    #[test]
    fn pages_begin_within_what_is_asked() {
        let at = |text: &str| marker(&form(&format!("Marker={text}")), 10).map_err(|refusal| refusal.code);
        assert_eq!((marker(&form(""), 10).expect("none"), at("9")), (0, Ok(9)));
        for bad in ["0", "10", "-1", "x", "", "01", "99999999999999999999"] {
            assert_eq!(at(bad), Err("InvalidInput"), "{bad}");
        }
    }

    #[test]
    fn a_page_is_as_long_as_its_policies_allow() {
        let text = |bytes: usize| pairs_of_a_page(bytes);
        assert_eq!([text(0), text(1024), text(200 * 1024), text(usize::MAX)], [PAGE_TEXT_BYTES_MAX, 1024, 5, 1]);
    }

    #[test]
    fn actions_are_ones_that_somebody_could_ask_for() {
        let names = |text: &str| actions(&form(text)).map_err(|refusal| refusal.code);
        assert_eq!(names("ActionNames.member.1=S3:getobject"), Ok(vec!["s3:GetObject".to_owned()]));
        for bad in ["s3:Get*", "s3", "s3:Nothing", "*", "ec2:RunInstances"] {
            assert_eq!(names(&format!("ActionNames.member.1={bad}")), Err("InvalidInput"), "{bad}");
        }
        assert_eq!(names(""), Err("ValidationError"));
    }
}
