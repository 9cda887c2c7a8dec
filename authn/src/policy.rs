//! Policies of the AWS grammar: parsing and evaluation. Pure.
//!
//! Source: "IAM JSON policy reference", AWS IAM User Guide; "Policies and permissions in Amazon S3", Amazon S3 User Guide.

mod actions;
mod condition;
mod context;
mod json;
mod keys;
mod parse;
mod positions;
mod principal;
mod statement;
mod variables;
mod wildcard;

pub use context::Context;
pub use parse::characters;
pub use positions::{Position, statement_positions};
pub use principal::{Named, Who};
pub use statement::{Effect, Statement};

use statement::Scope;
use thiserror::Error;

/// A policy that was understood as a whole, compiled.
#[derive(Debug, PartialEq)]
pub struct Policy {
    /// Each once, with all the statements that share it: it is compared once, then, for all of them.
    scopes: Box<[Scope]>,
    /// Those of its conditions and variables.
    keys: Box<[Box<str>]>,
}

/// What a policy is for: it decides which elements it must and may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose<'p> {
    /// Of a user, a group or a role, a boundary, or of a session: no principal.
    Identity,
    /// Of this bucket: principals, and resources in it only.
    Bucket(&'p str),
    /// Who may assume a role: principals, no resource.
    Trust,
}

/// Why a text is no policy, in a sentence that names the statement.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct PolicyError(pub String);

impl Policy {
    pub fn parse(text: &str, purpose: Purpose<'_>) -> Result<Self, PolicyError> {
        parse::parse(text, purpose)
    }

    /// What this policy alone says. A denial wins; of what allows, the statement that names who asks most closely.
    pub fn evaluate(&self, asked: &Asked<'_>) -> Found<'_> {
        let (mut allowed, mut denied): (Option<(&Statement, Named)>, Option<&Statement>) = (None, None);
        for scope in self.scopes.iter().filter(|scope| scope.has(asked)) {
            for statement in &scope.statements {
                // Of those that say the same, the first in the text.
                if denied.is_some_and(|denied| denied.place < statement.place) {
                    break;
                }
                let Some(named) = statement.applies(asked) else { continue };
                match statement.effect {
                    Effect::Deny => denied = Some(statement),
                    Effect::Allow if allowed.is_none_or(|before| statement.goes_before(named, before)) => {
                        allowed = Some((statement, named));
                    }
                    Effect::Allow => {}
                }
            }
        }
        match (denied, allowed) {
            (Some(statement), _) => Found::Deny(statement),
            (None, Some((statement, named))) => Found::Allow(statement, named),
            (None, None) => Found::Nothing,
        }
    }
}

impl Policy {
    /// Whether it lets in the public: a statement that allows it to everybody, under no condition that only fixed values meet.
    ///
    /// Source: "Blocking public access to your Amazon S3 storage", Amazon S3 User Guide.
    pub fn is_public(&self) -> bool {
        self.scopes.iter().flat_map(|scope| &scope.statements).any(Statement::is_public)
    }
}

impl Policy {
    /// The condition keys that it asks for, each once, in lower case: a key that no policy in force asks for makes no difference
    /// to what they say, and need not be looked up.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(|key| &**key)
    }

    /// Whether it asks for a condition key that begins so.
    pub fn mentions(&self, start: &str) -> bool {
        let begins = |key: &str| key.get(..start.len()).is_some_and(|head| head.eq_ignore_ascii_case(start));
        self.keys.iter().any(|key| begins(key))
    }

    /// Whether it names a role by an ARN without an account: it would mean nobody, but for test mode's account without a number.
    pub fn has_role_without_account(&self) -> bool {
        let statements = self.scopes.iter().flat_map(|scope| &scope.statements);
        let mut principals = statements.filter_map(|statement| statement.principals.as_ref());
        principals.any(principal::Principals::has_role_without_account)
    }
}

impl Policy {
    /// Every statement that is about the question and whose conditions hold, whatever its effect, in the order of the text.
    pub fn applying(&self, asked: &Asked<'_>) -> Vec<&Statement> {
        let scopes = self.scopes.iter().filter(|scope| scope.has(asked));
        let mut applying: Vec<&Statement> = scopes.flat_map(|scope| &scope.statements).collect();
        applying.retain(|statement| statement.applies(asked).is_some());
        applying.sort_by_key(|statement| statement.place);
        applying
    }

    /// Every statement about this caller and this action, as far as one can say without conditions, and without variables that
    /// have no value: what its conditions make of it, and the keys that it asks for.
    pub fn examined(&self, asked: &Asked<'_>) -> Vec<Examined<'_>> {
        let mut examined = Vec::new();
        for scope in self.scopes.iter().filter(|scope| scope.concerns(asked)) {
            for statement in scope.statements.iter().filter(|statement| statement.names(asked)) {
                let keys = statement.keys().chain(scope.keys()).collect();
                examined.push(Examined { statement, conditions: statement.judged(asked.context), keys });
            }
        }
        examined.sort_by_key(|examined| examined.statement.place);
        examined
    }

    /// All condition keys that it ever asks for, as AWS spells them.
    pub fn spelled_keys(&self) -> impl Iterator<Item = String> {
        self.keys().map(keys::spelled)
    }
}

/// One statement, with the key of each of its conditions and whether it holds.
#[derive(Debug)]
pub struct Examined<'p> {
    pub statement: &'p Statement,
    pub conditions: Vec<(&'p str, bool)>,
    keys: Vec<&'p str>,
}

impl Examined<'_> {
    /// The keys that it asks for and that have no value, as AWS spells them.
    pub fn missing(&self, context: &Context) -> Vec<String> {
        let missing = self.keys.iter().filter(|key| context.get(key).is_none_or(<[String]>::is_empty));
        missing.map(|key| keys::spelled(key)).collect()
    }
}

/// An action as Weir spells it, such as `s3:GetObject`; an error if nobody could ever ask for it. Patterns are none.
pub fn action(name: &str) -> Result<String, PolicyError> {
    let wrong = |why: &str| PolicyError(format!("{name:?} is no action: {why}"));
    if !name.contains(':') || name.contains(['*', '?']) || !name.is_ascii() {
        return Err(wrong("write SERVICE:NAME, without wildcards"));
    }
    actions::spelled(&name.to_ascii_lowercase()).map_err(|why| wrong(&format!("Weir {why}")))
}

/// Whether there is a condition key of this name.
pub fn is_condition_key(name: &str) -> bool {
    keys::is_known(name)
}

/// A question to one policy.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'q> {
    pub who: Who<'q>,
    pub action: &'q str,
    /// An ARN. Trust policies have no resource, and do not look at it.
    pub resource: &'q str,
    pub context: &'q Context,
}

/// What a policy says to a question.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Found<'p> {
    Nothing,
    Allow(&'p Statement, Named),
    Deny(&'p Statement),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_mentioned_in_conditions_and_variables() {
        let mentions = |resource: &str, condition: &str| {
            let statement = format!(
                r#"{{"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::b/{resource}","Condition":{condition}}}"#
            );
            let text = format!(r#"{{"Version":"2012-10-17","Statement":[{statement}]}}"#);
            Policy::parse(&text, Purpose::Identity).expect(&text).mentions("s3:ExistingObjectTag/")
        };
        assert!(!mentions("*", "{}"));
        assert!(!mentions("*", r#"{"StringEquals":{"s3:RequestObjectTag/a":"b"}}"#));
        assert!(mentions("*", r#"{"Null":{"S3:existingobjecttag/a":"true"}}"#));
        assert!(mentions("*", r#"{"StringEquals":{"s3:prefix":"${s3:ExistingObjectTag/a, 'b'}"}}"#));
        assert!(mentions("${s3:ExistingObjectTag/a, 'b'}", "{}"));
    }

    /// The sentence of what is refused.
    fn refused(text: &str, purpose: Purpose<'_>) -> String {
        Policy::parse(text, purpose).expect_err(text).0
    }

    fn identity(statement: &str) -> String {
        format!(r#"{{"Version":"2012-10-17","Statement":[{statement}]}}"#)
    }

    const SOUND: &str = r#""Effect":"Allow","Action":"s3:GetObject","Resource":"*""#;

    #[test]
    fn what_is_no_policy_is_refused_with_its_statement() {
        let in_statement = |statement: &str| refused(&identity(statement), Purpose::Identity);
        for (statement, sentence) in [
            ("1", "statement 1 is a number where a map belongs"),
            ("{}", "statement 1 has no Effect"),
            (r#"{"Effect":"allow"}"#, "statement 1 has an Effect that is neither \"Allow\" nor \"Deny\""),
            (r#"{"Effect":"Allow"}"#, "statement 1 has neither Action nor NotAction"),
            (r#"{"Effect":"Allow","Action":"s3:*"}"#, "statement 1 has neither Resource nor NotResource"),
            (
                r#"{"Effect":"Allow","Action":"s3:*","NotAction":"s3:*","Resource":"*"}"#,
                "statement 1 has both Action and NotAction",
            ),
            (r#"{"Effect":"Allow","Action":[],"Resource":"*"}"#, "statement 1 has an empty Action"),
            (
                r#"{"Effect":"Allow","Action":{},"Resource":"*"}"#,
                "statement 1 has a map in Action where a string belongs",
            ),
            (
                r#"{"Sid":"a","Effect":"Allow","Action":"s3:GetObjects","Resource":"*"}"#,
                "statement 1 (\"a\") has an invalid action \"s3:GetObjects\": Weir knows no action \"getobjects\" of s3",
            ),
            (
                r#"{"Effect":"Allow","Action":"s4:Get*","Resource":"*"}"#,
                "statement 1 has an invalid action \"s4:Get*\": Weir knows no service \"s4\"",
            ),
            (
                r#"{"Effect":"Allow","Action":"s3:*","Resource":"bucket/*"}"#,
                "statement 1 has an invalid resource \"bucket/*\": it is no ARN",
            ),
            (
                r#"{"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3"}"#,
                "statement 1 has an invalid resource \"arn:aws:s3\": \"arn:aws:s3\" has not the six parts of an ARN",
            ),
            (
                r#"{"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::b/${aws:username"}"#,
                "statement 1 has an invalid resource \"arn:aws:s3:::b/${aws:username\": a variable has no closing brace",
            ),
        ] {
            assert_eq!(in_statement(statement), sentence, "{statement}");
        }
        let with = |element: &str| in_statement(&format!("{{{SOUND},{element}}}"));
        assert_eq!(with(r#""Efect":"Deny""#), "statement 1 has an unknown element \"Efect\"");
        assert_eq!(with(r#""Principal":"*""#), "statement 1 has a Principal, which a policy of an identity has not");
        assert_eq!(
            with(r#""Sid":"a b""#),
            "statement 1 (\"a b\") has a Sid with characters that do not belong there, or too many"
        );
        assert_eq!(with(r#""Sid":1"#), "statement 1 has a Sid that is a number");
        assert!(with(r#""Effect":"Deny""#).contains("the key \"Effect\" comes twice"));
        let twice = format!(r#"{{{SOUND},"Sid":"x"}},{{{SOUND},"Sid":"x"}}"#);
        assert_eq!(in_statement(&twice), "statement 2 (\"x\") has the Sid of another one");

        for (policy, sentence) in [
            ("[]", "a policy is a JSON map"),
            ("{}", "the policy has no Statement"),
            (r#"{"Statement":[]}"#, "the policy has no Statement"),
            (r#"{"Statement":"x"}"#, "the Statement is a string where a list belongs"),
            (r#"{"Version":"2010-10-17","Statement":[]}"#, "the Version must be \"2012-10-17\" or \"2008-10-17\""),
            (r#"{"version":"2012-10-17"}"#, "the policy has an unknown element \"version\""),
            (r#"{"Id":1}"#, "the Id is a number where a string belongs"),
        ] {
            assert_eq!(refused(policy, Purpose::Identity), sentence);
        }
    }

    #[test]
    fn each_kind_of_policy_has_its_elements_and_its_length() {
        let bucket = |principal: &str, action: &str, resource: &str| {
            let text = format!(
                r#"{{"Statement":{{"Effect":"Allow","Principal":{principal},"Action":"{action}","Resource":"{resource}"}}}}"#
            );
            Policy::parse(&text, Purpose::Bucket("pics")).map(|_| ()).map_err(|error| error.0)
        };
        for resource in ["arn:aws:s3:::pics", "arn:aws:s3:::pics/*", "arn:aws:s3:::pics*", "arn:aws:s3::*:pics/a:b"] {
            assert_eq!(bucket("\"*\"", "s3:Get*", resource), Ok(()), "{resource}");
        }
        for resource in
            ["*", "arn:aws:s3:::*", "arn:aws:s3:::pics2/x", "arn:aws:s3:::other", "arn:aws:s3::lab:pics", "pics"]
        {
            let found = bucket("\"*\"", "s3:Get*", resource).expect_err(resource);
            assert!(found.contains("it is not in the bucket \"pics\""), "{found}");
        }
        assert_eq!(bucket("\"*\"", "*", "arn:aws:s3:::pics"), Ok(()));
        assert!(bucket("\"*\"", "iam:GetUser", "arn:aws:s3:::pics").is_err());
        assert!(bucket("\"someone\"", "s3:*", "arn:aws:s3:::pics").is_err());
        let none = r#"{"Statement":{"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::pics"}}"#;
        assert_eq!(refused(none, Purpose::Bucket("pics")), "statement 1 has no Principal");
        let rest = none.replace("\"Action\"", "\"NotPrincipal\":{\"AWS\":\"111111111111\"},\"Action\"");
        assert_eq!(refused(&rest, Purpose::Bucket("pics")), "statement 1 allows by NotPrincipal");
        assert!(Policy::parse(&rest.replace("Allow", "Deny"), Purpose::Bucket("pics")).is_ok());

        let trust = |more: &str| format!(r#"{{"Statement":{{"Effect":"Allow","Principal":"*"{more}}}}}"#);
        assert!(Policy::parse(&trust(r#","Action":"sts:AssumeRole""#), Purpose::Trust).is_ok());
        assert!(Policy::parse(&trust(r#","Action":"*""#), Purpose::Trust).is_err());
        assert!(Policy::parse(&trust(r#","Action":"s3:GetObject""#), Purpose::Trust).is_err());
        assert!(Policy::parse(&trust(r#","Action":"sts:AssumeRole","Resource":"*""#), Purpose::Trust).is_err());

        // White space counts in a bucket policy only.
        let padded = |length: usize| format!("{}{}", none.replace("pics", "b"), " ".repeat(length));
        assert!(refused(&padded(20 * 1024), Purpose::Bucket("b")).contains("at most 20480 bytes"));
        assert!(Policy::parse(&padded(20 * 1024), Purpose::Identity).is_ok());
        assert!(refused(&padded(200 * 1024), Purpose::Identity).contains("more than 10240 characters"));
        let long = none.replace("pics", &"x".repeat(10_240));
        assert!(refused(&long, Purpose::Identity).contains("more than 10240 characters"));
    }

    #[test]
    fn statements_are_about_actions_and_resources() {
        let says = |statements: &str, action: &str, resource: &str| {
            let policy = Policy::parse(&identity(statements), Purpose::Identity).expect("a policy");
            let context = Context::default();
            match policy.evaluate(&Asked { who: Who::Anonymous, action, resource, context: &context }) {
                Found::Nothing => "nothing".to_owned(),
                Found::Allow(statement, _) => format!("allow {}", statement.name()),
                Found::Deny(statement) => format!("deny {}", statement.name()),
            }
        };
        let allow = r#"{"Effect":"Allow","Action":["s3:Get*","s3:PutObject"],"Resource":"arn:aws:s3:::b/*"}"#;
        let deny = r#"{"Sid":"no","Effect":"Deny","Action":"*","Resource":"arn:aws:s3:::b/secret/*"}"#;
        let both = format!("{allow},{deny}");
        assert_eq!(says(allow, "s3:GetObject", "arn:aws:s3:::b/x"), "allow 1");
        assert_eq!(says(allow, "s3:putobject", "arn:aws:s3:::b/x"), "allow 1");
        assert_eq!(says(allow, "s3:DeleteObject", "arn:aws:s3:::b/x"), "nothing");
        assert_eq!(says(allow, "s3:GetObject", "arn:aws:s3:::B/x"), "nothing");
        assert_eq!(says(&both, "s3:GetObject", "arn:aws:s3:::b/secret/x"), "deny no");
        assert_eq!(says(&both, "s3:GetObject", "arn:aws:s3:::b/x"), "allow 1");
        let not = r#"{"Effect":"Allow","NotAction":"s3:Delete*","NotResource":"arn:aws:s3:::b/secret/*"}"#;
        assert_eq!(says(not, "s3:GetObject", "arn:aws:s3:::c"), "allow 1");
        assert_eq!(says(not, "s3:DeleteObject", "arn:aws:s3:::c"), "nothing");
        assert_eq!(says(not, "s3:GetObject", "arn:aws:s3:::b/secret/x"), "nothing");
        // A variable without a value: about nothing, where everything but it is meant too.
        let own = r#"{"Effect":"Allow","Action":"s3:*","NotResource":"arn:aws:s3:::b/${aws:username}"}"#;
        assert_eq!(says(own, "s3:GetObject", "arn:aws:s3:::c"), "nothing");
        // Without a version there are no variables.
        let older = identity(own).replace(r#""Version":"2012-10-17","#, "");
        let policy = Policy::parse(&older, Purpose::Identity).expect("a policy");
        let context = Context::default();
        let resource = "arn:aws:s3:::c";
        let asked = Asked { who: Who::Anonymous, action: "s3:GetObject", resource, context: &context };
        assert!(matches!(policy.evaluate(&asked), Found::Allow(..)));
    }

    #[test]
    fn statements_of_one_scope_say_what_comes_first() {
        let statement = |number: usize, effect: &str, place: usize| {
            format!(
                r#"{{"Sid":"s{number}","Effect":"{effect}","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::b/{place}"}}"#
            )
        };
        let mut statements: Vec<String> = (0..140).map(|number| statement(number, "Allow", number)).collect();
        // Others of the first and the last scope.
        statements.extend([statement(140, "Deny", 0), statement(141, "Deny", 139), statement(142, "Allow", 1)]);
        let text = format!(r#"{{"Version":"2012-10-17","Statement":[{}]}}"#, statements.join(","));
        let policy = Policy::parse(&text, Purpose::Bucket("b")).expect("a policy");
        assert_eq!(policy.scopes.len(), 140);
        let says = |place: usize| {
            let (resource, context) = (format!("arn:aws:s3:::b/{place}"), Context::default());
            let asked = Asked { who: Who::Anonymous, action: "s3:GetObject", resource: &resource, context: &context };
            match policy.evaluate(&asked) {
                Found::Nothing => "nothing".to_owned(),
                Found::Allow(statement, _) => format!("allow {}", statement.name()),
                Found::Deny(statement) => format!("deny {}", statement.name()),
            }
        };
        let said = [0, 1, 127, 128, 138, 139, 140].map(says);
        assert_eq!(said, ["deny s140", "allow s1", "allow s127", "allow s128", "allow s138", "deny s141", "nothing"]);
    }

    #[test]
    fn public_is_what_no_fixed_value_limits() {
        let is_public = |effect: &str, principal: &str, condition: &str| {
            let text = format!(
                r#"{{"Version":"2012-10-17","Statement":{{"Effect":"{effect}","Principal":{principal},"Action":"s3:GetObject",
                "Resource":"arn:aws:s3:::b/*","Condition":{condition}}}}}"#
            );
            Policy::parse(&text, Purpose::Bucket("b")).expect(condition).is_public()
        };
        let everyone = r#"{"AWS":"*"}"#;
        assert!(is_public("Allow", "\"*\"", "{}"));
        assert!(is_public("Allow", everyone, "{}"));
        assert!(!is_public("Deny", everyone, "{}"));
        assert!(!is_public("Allow", r#"{"AWS":"111111111111"}"#, "{}"));
        assert!(is_public("Allow", r#"{"AWS":["111111111111","*"]}"#, "{}"));
        for (condition, expected) in [
            (r#"{"IpAddress":{"aws:SourceIp":"10.0.0.0/8"}}"#, false),
            (r#"{"IpAddress":{"aws:SourceIp":["10.0.0.0/8","10.0.0.0/7"]}}"#, true),
            (r#"{"IpAddress":{"aws:SourceIp":"0.0.0.0/0"}}"#, true),
            (r#"{"IpAddress":{"aws:SourceIp":"2001:db8::/32"}}"#, false),
            (r#"{"IpAddress":{"aws:VpcSourceIp":"10.0.0.0/8"}}"#, true),
            (r#"{"NotIpAddress":{"aws:SourceIp":"10.0.0.0/8"}}"#, true),
            (r#"{"IpAddressIfExists":{"aws:SourceIp":"10.0.0.0/8"}}"#, true),
            (r#"{"StringEquals":{"aws:SourceVpc":"vpc-1"}}"#, false),
            (r#"{"StringLike":{"aws:SourceVpc":"vpc-*"}}"#, true),
            (r#"{"StringLike":{"aws:SourceVpc":"vpc-1"}}"#, false),
            (r#"{"StringEquals":{"aws:userid":"${aws:userid}"}}"#, true),
            (r#"{"StringEquals":{"aws:userid":"AIDA1"}}"#, false),
            (r#"{"StringLike":{"aws:userid":"AROA1:*"}}"#, true),
            (r#"{"ForAllValues:StringEquals":{"aws:PrincipalOrgID":"o-1"}}"#, true),
            (r#"{"StringNotEquals":{"aws:SourceVpc":"vpc-1"}}"#, true),
            (r#"{"StringEquals":{"s3:prefix":"x"}}"#, true),
            (r#"{"StringEquals":{"aws:Referer":"https://example.com"}}"#, true),
            (r#"{"Bool":{"aws:SecureTransport":"true"}}"#, true),
            (r#"{"StringEquals":{"s3:prefix":"x","aws:SourceAccount":"111111111111"}}"#, false),
            (r#"{"ArnLike":{"s3:DataAccessPointArn":"arn:aws:s3:us-east-1:111111111111:accesspoint/*"}}"#, false),
            (r#"{"ArnLike":{"aws:SourceArn":"arn:aws:s3:::*"}}"#, true),
            (r#"{"ArnEquals":{"aws:PrincipalArn":"arn:aws:iam::111111111111:root"}}"#, false),
        ] {
            assert_eq!(is_public("Allow", everyone, condition), expected, "{condition}");
        }
    }

    #[test]
    fn conditions_decide_with_the_statement() {
        let text = r#"{"Version":"2012-10-17","Statement":[
            {"Effect":"Allow","Action":"s3:ListBucket","Resource":"arn:aws:s3:::b",
             "Condition":{"StringLike":{"s3:prefix":["","home/${aws:username}/*"]}}},
            {"Sid":"Encrypted","Effect":"Deny","Action":"s3:*","Resource":"*",
             "Condition":{"Bool":{"aws:SecureTransport":"false"}}}]}"#;
        let policy = Policy::parse(text, Purpose::Identity).expect("a policy");
        let says = |secure: &str, prefix: &str, name: Option<&str>| {
            let mut context = Context::default();
            context.trust("aws:SecureTransport", vec![secure.to_owned()]);
            context.request("s3:prefix", vec![prefix.to_owned()]);
            // What the client says of itself counts for nothing beside what is known.
            context.request("aws:SecureTransport", vec!["true".to_owned()]);
            if let Some(name) = name {
                context.trust("aws:username", vec![name.to_owned()]);
            }
            let resource = "arn:aws:s3:::b";
            match policy.evaluate(&Asked { who: Who::Anonymous, action: "s3:ListBucket", resource, context: &context })
            {
                Found::Nothing => None,
                Found::Allow(..) => Some(true),
                Found::Deny(_) => Some(false),
            }
        };
        assert_eq!(says("true", "home/bob/x", Some("bob")), Some(true));
        assert_eq!(says("true", "home/ann/x", Some("bob")), None);
        assert_eq!(says("false", "home/bob/x", Some("bob")), Some(false));
        // Without a name the whole statement is about nothing, the value without a variable included.
        assert_eq!(says("true", "", None), None);
    }
}
