//! The one table of the admin API: requests are dispatched by it, and its OpenAPI document is made of it, so that neither knows
//! a route that the other does not.

use http::Method;
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value, json};
use std::borrow::Cow;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    OpenApi,
    CreateBackup,
    ListKeys,
    CreateKey,
    UpdateKey,
    DeleteKey,
    ListLimits,
    GetLimit,
    PutLimit,
    DeleteLimit,
    ExplainLimits,
    ListNamedKeys,
    CreateNamedKey,
    RotateNamedKey,
    SimulatePolicy,
    SimulateIdentity,
    ExplainToken,
    ShowConcurrency,
    ListAccounts,
    ShowTls,
    ReloadTls,
    ValidateTls,
    IssueCertificate,
    RenewCertificate,
    SwitchListener,
    ListUsers,
    CreateUser,
    DeleteUser,
    AttachToUser,
    DetachFromUser,
    ListGroups,
    CreateGroup,
    DeleteGroup,
    AddMember,
    RemoveMember,
    AttachToGroup,
    DetachFromGroup,
    ListPolicies,
    CreatePolicy,
    GetPolicy,
    UpdatePolicy,
    DeletePolicy,
    ListRoles,
    CreateRole,
    DeleteRole,
    AttachToRole,
    DetachFromRole,
    RevokeSessions,
    RevokeUserSessions,
    RevokeRoleSessions,
    RevokeIssuerSessions,
}

pub struct Entry {
    pub route: Route,
    pub method: &'static str,
    /// `{name}` stands for one segment, `{name*}` for one or more.
    pub path: &'static str,
    pub summary: &'static str,
    /// The members of the body, with their types; an exclamation mark stands behind those that must be there.
    body: &'static [(&'static str, &'static str)],
    status: u16,
}

const fn entry(route: Route, method: &'static str, path: &'static str, summary: &'static str) -> Entry {
    Entry { route, method, path, summary, body: &[], status: 200 }
}

impl Entry {
    const fn takes(self, body: &'static [(&'static str, &'static str)]) -> Self {
        Self { body, status: 201, ..self }
    }

    const fn done(self) -> Self {
        Self { status: 204, ..self }
    }
}

const DOCUMENT: &[(&str, &str)] = &[("document", "object!")];

pub const TABLE: &[Entry] = &[
    entry(Route::OpenApi, "GET", "/api/v1/openapi.json", "This document. It needs no signature"),
    entry(Route::CreateBackup, "GET", "/api/v1/backup", "The control store, sealed, in Base64"),
    entry(Route::ListKeys, "GET", "/api/v1/keys", "Access keys, without secrets"),
    entry(Route::CreateKey, "POST", "/api/v1/keys", "Makes a key, or imports one; its secret is shown if it was made")
        .takes(&[
            ("owner", "string!"),
            ("display_name", "string"),
            ("email", "string"),
            ("admin", "boolean"),
            ("access_key", "string"),
            ("secret_key", "string"),
            ("tenant", "string"),
            ("user", "string"),
            ("account_root", "boolean"),
            ("policy", "string"),
        ]),
    Entry {
        status: 200,
        ..entry(Route::UpdateKey, "PATCH", "/api/v1/keys/{id}", "Makes a key inactive, or active again")
            .takes(&[("active", "boolean!")])
    },
    entry(Route::DeleteKey, "DELETE", "/api/v1/keys/{id}", "Deletes a key").done(),
    entry(Route::ListLimits, "GET", "/api/v1/limits", "Limits of rates and bandwidths"),
    entry(Route::GetLimit, "GET", "/api/v1/limits/{name}", "A limit, with its version as ETag"),
    Entry {
        status: 200,
        ..entry(
            Route::PutLimit,
            "PUT",
            "/api/v1/limits/{name}",
            "Sets a limit, in force at once; with If-Match only where it has that version, with If-None-Match: * only a new one",
        )
        .takes(&[
            ("name", "string"),
            ("match", "object"),
            ("per", "string!"),
            ("rate", "number"),
            ("burst", "integer"),
            ("bandwidth", "object"),
            ("dry_run", "boolean"),
            ("version", "integer"),
        ])
    },
    entry(Route::DeleteLimit, "DELETE", "/api/v1/limits/{name}", "Takes a limit away, with If-Match as above").done(),
    Entry {
        status: 200,
        ..entry(Route::ExplainLimits, "POST", "/api/v1/limits/explain", "What the limits would say to a request, and why")
            .takes(&[
                ("access_key", "string"),
                ("verb", "string!"),
                ("bucket", "string"),
                ("address", "string"),
            ])
    },
    entry(Route::ListNamedKeys, "GET", "/api/v1/kms", "Named encryption keys and how many versions each has"),
    entry(Route::CreateNamedKey, "POST", "/api/v1/kms", "Makes a named encryption key").takes(&[("name", "string!")]),
    entry(Route::RotateNamedKey, "POST", "/api/v1/kms/{name*}/versions", "Makes a new version of it").takes(&[]),
    Entry {
        status: 200,
        ..entry(Route::SimulatePolicy, "POST", "/api/v1/policy/simulate", "What would be decided, and by what").takes(
            &[
                ("access_key", "string"),
                ("action", "string!"),
                ("bucket", "string!"),
                ("key", "string"),
                ("version", "string"),
                ("context", "object"),
            ],
        )
    },
    Entry {
        status: 200,
        ..entry(
            Route::SimulateIdentity,
            "POST",
            "/api/v1/accounts/{account}/simulations",
            "What the policies of somebody would decide: of a user, a group, a role or the holder of a key",
        )
        .takes(&[
            ("user", "string"),
            ("group", "string"),
            ("role", "string"),
            ("access_key", "string"),
            ("policies", "array"),
            ("boundary", "string"),
            ("bucket_policy", "string"),
            ("resource_owner", "string"),
            ("actions", "array!"),
            ("resources", "array!"),
            ("context", "object"),
        ])
    },
    Entry {
        status: 200,
        ..entry(
            Route::ExplainToken,
            "POST",
            "/api/v1/auth/explain-token",
            "Whose a token is, and why it is taken or not",
        )
        .takes(&[("token", "string!"), ("access_key", "string")])
    },
    entry(
        Route::ShowConcurrency,
        "GET",
        "/api/v1/concurrency",
        "How many requests each target is given at once, who waits, and why; no target where nothing is limited",
    ),
    entry(Route::ListAccounts, "GET", "/api/v1/accounts", "Accounts: owners with their numbers"),
    entry(Route::ShowTls, "GET", "/api/v1/tls", "Certificates, what is wrong with others, and what listeners speak"),
    Entry {
        status: 200,
        ..entry(Route::ReloadTls, "POST", "/api/v1/tls/reload", "Loads the certificates now").takes(&[])
    },
    Entry {
        status: 200,
        ..entry(Route::ValidateTls, "POST", "/api/v1/tls/validate", "What a load would say, and nothing changes")
            .takes(&[])
    },
    entry(
        Route::IssueCertificate,
        "POST",
        "/api/v1/tls/certificates",
        "A certificate of the appliance's own authority, with its key, shown this once",
    )
    .takes(&[("names", "array!"), ("client", "boolean")]),
    Entry {
        status: 200,
        ..entry(Route::RenewCertificate, "POST", "/api/v1/tls/renew", "Issues the appliance's own certificate anew")
            .takes(&[])
    },
    Entry {
        status: 200,
        ..entry(
            Route::SwitchListener,
            "PUT",
            "/api/v1/tls/listeners/{listener}",
            "Lets a listener speak http or https, and ask its clients for certificates, from now on",
        )
        .takes(&[("scheme", "string"), ("client_auth", "string")])
    },
    entry(Route::ListUsers, "GET", "/api/v1/accounts/{account}/users", "Users of an account"),
    entry(Route::CreateUser, "POST", "/api/v1/accounts/{account}/users", "Makes a user").takes(&[
        ("name", "string!"),
        ("path", "string"),
        ("policies", "array"),
    ]),
    entry(Route::DeleteUser, "DELETE", "/api/v1/accounts/{account}/users/{user}", "Deletes a user that has nothing")
        .done(),
    entry(
        Route::AttachToUser,
        "PUT",
        "/api/v1/accounts/{account}/users/{user}/policies/{policy*}",
        "Attaches a policy",
    )
    .done(),
    entry(Route::DetachFromUser, "DELETE", "/api/v1/accounts/{account}/users/{user}/policies/{policy*}", "Detaches it")
        .done(),
    entry(Route::ListGroups, "GET", "/api/v1/accounts/{account}/groups", "Groups of an account"),
    entry(Route::CreateGroup, "POST", "/api/v1/accounts/{account}/groups", "Makes a group").takes(&[
        ("name", "string!"),
        ("path", "string"),
        ("policies", "array"),
    ]),
    entry(Route::DeleteGroup, "DELETE", "/api/v1/accounts/{account}/groups/{group}", "Deletes an empty group").done(),
    entry(
        Route::AddMember,
        "PUT",
        "/api/v1/accounts/{account}/groups/{group}/members/{user}",
        "Puts a user into a group",
    )
    .done(),
    entry(Route::RemoveMember, "DELETE", "/api/v1/accounts/{account}/groups/{group}/members/{user}", "Takes it out")
        .done(),
    entry(
        Route::AttachToGroup,
        "PUT",
        "/api/v1/accounts/{account}/groups/{group}/policies/{policy*}",
        "Attaches a policy",
    )
    .done(),
    entry(
        Route::DetachFromGroup,
        "DELETE",
        "/api/v1/accounts/{account}/groups/{group}/policies/{policy*}",
        "Detaches it",
    )
    .done(),
    entry(
        Route::ListPolicies,
        "GET",
        "/api/v1/accounts/{account}/policies",
        "Managed policies, those that are built in too",
    ),
    entry(Route::CreatePolicy, "POST", "/api/v1/accounts/{account}/policies", "Makes a managed policy").takes(&[
        ("name", "string!"),
        ("document", "object!"),
        ("path", "string"),
        ("description", "string"),
    ]),
    entry(Route::GetPolicy, "GET", "/api/v1/accounts/{account}/policies/{policy*}", "A policy with its text"),
    entry(
        Route::UpdatePolicy,
        "POST",
        "/api/v1/accounts/{account}/policies/{policy}/versions",
        "A new text, in force at once",
    )
    .takes(DOCUMENT),
    entry(
        Route::DeletePolicy,
        "DELETE",
        "/api/v1/accounts/{account}/policies/{policy}",
        "Deletes a policy that nobody has",
    )
    .done(),
    entry(Route::ListRoles, "GET", "/api/v1/accounts/{account}/roles", "Roles of an account"),
    entry(Route::CreateRole, "POST", "/api/v1/accounts/{account}/roles", "Makes a role").takes(&[
        ("name", "string!"),
        ("trust", "object!"),
        ("path", "string"),
        ("description", "string"),
        ("session_seconds_max", "integer"),
        ("policies", "array"),
    ]),
    entry(Route::DeleteRole, "DELETE", "/api/v1/accounts/{account}/roles/{role}", "Deletes a role without policies")
        .done(),
    entry(
        Route::AttachToRole,
        "PUT",
        "/api/v1/accounts/{account}/roles/{role}/policies/{policy*}",
        "Attaches a policy",
    )
    .done(),
    entry(Route::DetachFromRole, "DELETE", "/api/v1/accounts/{account}/roles/{role}/policies/{policy*}", "Detaches it")
        .done(),
    entry(
        Route::RevokeSessions,
        "DELETE",
        "/api/v1/accounts/{account}/sessions",
        "Ends all sessions of an account that began before now",
    )
    .done(),
    entry(Route::RevokeUserSessions, "DELETE", "/api/v1/accounts/{account}/users/{user}/sessions", "Those of a user")
        .done(),
    entry(Route::RevokeRoleSessions, "DELETE", "/api/v1/accounts/{account}/roles/{role}/sessions", "Those of a role")
        .done(),
    entry(
        Route::RevokeIssuerSessions,
        "DELETE",
        "/api/v1/accounts/{account}/issuers/{issuer*}/sessions",
        "Those that tokens of an issuer opened, and its tokens of before now",
    )
    .done(),
];

/// What a request's path and method are.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// With the parts of the path that the names stand for, decoded.
    Route(Route, Vec<String>),
    WrongMethod,
    Nothing,
}

pub fn find(method: &Method, path: &str) -> Found {
    let mut found = Found::Nothing;
    for entry in TABLE {
        let Some(parts) = matched(entry.path, path) else { continue };
        if entry.method == method.as_str() {
            return Found::Route(entry.route, parts);
        }
        found = Found::WrongMethod;
    }
    found
}

/// The parts of a path that stand where the pattern has names; `None` for another path.
fn matched(pattern: &str, path: &str) -> Option<Vec<String>> {
    let (pattern, path): (Vec<_>, Vec<_>) = (pattern.split('/').collect(), path.split('/').collect());
    let mut parts = Vec::new();
    let mut rest = path.as_slice();
    for (at, segment) in pattern.iter().enumerate() {
        let name = segment.strip_prefix('{').and_then(|segment| segment.strip_suffix('}'));
        let several = name.is_some_and(|name| name.ends_with('*'));
        let count = if several { rest.len().checked_sub(pattern.len() - at - 1)? } else { 1 };
        let taken = rest.get(..count).filter(|taken| !taken.is_empty())?;
        rest = &rest[count..];
        match name {
            Some(_) => {
                let text = taken.join("/");
                if text.is_empty() {
                    return None;
                }
                parts.push(percent_decode_str(&text).decode_utf8().ok().map(Cow::into_owned)?);
            }
            None if taken[0] == *segment => {}
            None => return None,
        }
    }
    rest.is_empty().then_some(parts)
}

/// The API's description, OpenAPI 3.1.
pub fn openapi() -> Value {
    let mut paths: Map<String, Value> = Map::new();
    for entry in TABLE {
        let path = entry.path.replace("*}", "}");
        let names = path.split(['{', '}']).skip(1).step_by(2);
        let parameters: Vec<Value> = names
            .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }))
            .collect();
        let problem = json!({
            "description": "What was refused",
            "content": { "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } } },
        });
        let done = match entry.status {
            204 => json!({ "description": "Done" }),
            _ => {
                json!({ "description": "Done", "content": { "application/json": { "schema": { "type": "object" } } } })
            }
        };
        let mut operation = json!({
            "operationId": format!("{:?}", entry.route),
            "summary": entry.summary,
            "parameters": parameters,
            "responses": { entry.status.to_string(): done, "default": problem },
        });
        if !entry.body.is_empty() {
            operation["requestBody"] = json!({
                "required": true,
                "content": { "application/json": { "schema": schema(entry.body) } },
            });
        }
        if entry.route == Route::OpenApi {
            operation["security"] = json!([]);
        }
        let methods = paths.entry(path.clone()).or_insert_with(|| json!({}));
        methods[entry.method.to_ascii_lowercase()] = operation;
    }
    json!({
        "openapi": "3.1.0",
        "info": { "title": "Weir's admin API", "version": env!("CARGO_PKG_VERSION") },
        "security": [{ "sigv4": [] }],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "sigv4": {
                    "type": "apiKey", "in": "header", "name": "Authorization",
                    "description": "AWS Signature Version 4 for the service s3, by the key of an administrator",
                },
            },
            "schemas": {
                "Problem": {
                    "type": "object",
                    "required": ["status", "code", "detail"],
                    "properties": {
                        "status": { "type": "integer" },
                        "code": { "type": "string" },
                        "detail": { "type": "string" },
                        "region": { "type": "string" },
                    },
                },
            },
        },
    })
}

fn schema(body: &[(&str, &str)]) -> Value {
    let mut properties = Map::new();
    for (name, kind) in body {
        let kind = kind.trim_end_matches('!');
        let property = match kind {
            "array" => json!({ "type": "array", "items": { "type": "string" } }),
            _ => json!({ "type": kind }),
        };
        properties.insert((*name).to_owned(), property);
    }
    let required: Vec<&str> = body.iter().filter(|(_, kind)| kind.ends_with('!')).map(|(name, _)| *name).collect();
    json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_matched() {
        let found = |method: Method, path: &str| find(&method, path);
        let route = |route, parts: &[&str]| Found::Route(route, parts.iter().map(|part| (*part).to_owned()).collect());
        assert_eq!(found(Method::GET, "/api/v1/keys"), route(Route::ListKeys, &[]));
        assert_eq!(found(Method::DELETE, "/api/v1/keys/WK"), route(Route::DeleteKey, &["WK"]));
        assert_eq!(found(Method::PUT, "/api/v1/keys"), Found::WrongMethod);
        assert_eq!(found(Method::POST, "/api/v1/kms/a/b/versions"), route(Route::RotateNamedKey, &["a/b"]));
        let attach = "/api/v1/accounts/a%2Fb/users/ann%40x/policies/arn:aws:iam::aws:policy/P";
        let parts = ["a/b", "ann@x", "arn:aws:iam::aws:policy/P"];
        assert_eq!(found(Method::PUT, attach), route(Route::AttachToUser, &parts));
        let own = "/api/v1/accounts/a/policies/p";
        assert_eq!(found(Method::DELETE, own), route(Route::DeletePolicy, &["a", "p"]));
        assert_eq!(found(Method::POST, &format!("{own}/versions")), route(Route::UpdatePolicy, &["a", "p"]));
        for nothing in [
            "/api/v1",
            "/api/v1/",
            "/api/v1/keys/",
            "/api/v1/keys/a/b",
            "/api/v1/kms/versions",
            "/api/v1/kms//versions",
            "/api/v1/accounts//users",
            "/api/v1/accounts/%FF/users",
            "/",
            "",
        ] {
            assert_eq!(found(Method::GET, nothing), Found::Nothing, "{nothing}");
        }
    }

    #[test]
    fn every_route_is_described_once() {
        let described = openapi();
        let paths = described["paths"].as_object().expect("paths");
        let operations: usize = paths.values().filter_map(Value::as_object).map(Map::len).sum();
        assert_eq!(operations, TABLE.len());
        for (at, entry) in TABLE.iter().enumerate() {
            assert!(TABLE[..at].iter().all(|other| other.route != entry.route), "{:?} is there twice", entry.route);
        }
        let body = &described["paths"]["/api/v1/keys"]["post"]["requestBody"]["content"]["application/json"]["schema"];
        assert_eq!(body["required"], json!(["owner"]));
    }
}
