//! What changes of an account are refused, and what they leave.

use super::*;
use crate::apply::apply;
use crate::command::Command;
use crate::iam::records;
use crate::state::Owner;
use common::AccessKeyId;

fn ann() -> OwnerId {
    OwnerId("ann".into())
}

fn of(change: IamChange) -> Command {
    Command::Iam { account: ann(), change }
}

fn user(name: &str) -> Command {
    of(IamChange::CreateUser(records::user(&ann(), name)))
}

fn group(name: &str) -> Command {
    of(IamChange::CreateGroup(records::group(&ann(), name)))
}

fn role(name: &str) -> Command {
    of(IamChange::CreateRole(records::role(&ann(), name)))
}

fn policy(name: &str) -> Command {
    of(IamChange::CreatePolicy(records::policy(&ann(), name, "{}")))
}

fn version(policy: &str, document: &str, set_default: bool) -> Command {
    let (policy, document) = (policy.into(), document.into());
    of(IamChange::CreatePolicyVersion { policy, document, created_ms: 9, set_default })
}

fn member(group: &str, user: &str, member: bool) -> Command {
    of(IamChange::SetMember { group: group.into(), user: user.into(), member })
}

fn inline(of_whom: Holder, name: &str, document: Option<&str>) -> Command {
    of(IamChange::SetInlinePolicy { of: of_whom, name: name.into(), document: document.map(str::to_owned) })
}

fn attach(of_whom: Holder, arn: &str, attached: bool) -> Command {
    of(IamChange::SetAttached { of: of_whom, arn: arn.into(), attached })
}

fn key(id: &str, user: Option<&str>) -> Command {
    Command::CreateKey {
        key: AccessKey {
            id: AccessKeyId(id.into()),
            secret: "a secret".into(),
            owner: ann(),
            admin: false,
            created_ms: 1,
            user: user.map(str::to_owned),
            active: true,
        },
    }
}

fn u() -> Holder {
    Holder::User("u".into())
}

/// The account of `ann`.
fn arn(policy: &str) -> String {
    format!("arn:aws:iam::648421453870:policy/{policy}")
}

fn after(commands: &[Command]) -> State {
    let start = [Command::PutOwner { owner: Owner { id: ann(), display_name: "Ann".into(), email: None } }];
    start.iter().chain(commands).fold(State::default(), |state, command| {
        apply(&state, command).unwrap_or_else(|error| panic!("{command:?}: {error}")).0
    })
}

fn refused(before: &[Command], command: Command) -> Error {
    let state = after(before);
    apply(&state, &command).expect_err(&format!("{before:?} then {command:?}"))
}

fn no_such(text: &str) -> Error {
    Error::NoSuchEntity(text.to_owned())
}

#[test]
fn what_is_not_there_is_not_changed() {
    let table = [
        (of(IamChange::DeleteUser("u".into())), "The user with name u cannot be found."),
        (of(IamChange::DeleteGroup("g".into())), "The group with name g cannot be found."),
        (of(IamChange::DeleteRole("r".into())), "The role with name r cannot be found."),
        (of(IamChange::DeletePolicy("p".into())), "The policy with name p cannot be found."),
        (of(IamChange::DeleteProvider("x".into())), "The OpenIDConnect provider with name x cannot be found."),
        (member("g", "u", true), "The user with name u cannot be found."),
        (inline(u(), "p", Some("{}")), "The user with name u cannot be found."),
        (key("k", Some("u")), "The user with name u cannot be found."),
    ];
    for (command, text) in table {
        assert_eq!(refused(&[], command), no_such(text));
    }
    assert_eq!(refused(&[user("u")], member("g", "u", true)), no_such("The group with name g cannot be found."));
    let before = [user("u"), group("g")];
    assert_eq!(refused(&before, member("g", "u", false)), no_such("The user u is not in the group g."));
    assert_eq!(refused(&before, inline(u(), "p", None)), no_such("The user policy with name p cannot be found."));
    let text = format!("Policy {} was not found.", arn("p"));
    assert_eq!(refused(&before, attach(u(), &arn("p"), false)), no_such(&text));
    for strange in [arn("p"), "arn:aws:iam::123456789012:policy/p".into(), BUILT_IN.into(), "p".into()] {
        let text = format!("Policy {strange} does not exist or is not attachable.");
        assert_eq!(refused(&before, attach(u(), &strange, true)), no_such(&text));
        let boundary = of(IamChange::SetBoundary { of: u(), arn: Some(strange) });
        assert_eq!(refused(&before, boundary), no_such(&text));
    }
}

#[test]
fn names_are_taken_once_whatever_their_case() {
    let exists = |text: &str| Error::EntityExists(text.to_owned());
    assert_eq!(refused(&[user("u")], user("U")), exists("User with name U already exists."));
    assert_eq!(refused(&[group("g")], group("g")), exists("Group with name g already exists."));
    assert_eq!(refused(&[role("r")], role("R")), exists("Role with name R already exists."));
    let text = "A policy called p already exists. Duplicate names are not allowed.";
    assert_eq!(refused(&[policy("p")], policy("p")), exists(text));
    let rename = |name: &str, new_name: &str| {
        of(IamChange::UpdateUser { name: name.into(), new_name: Some(new_name.into()), new_path: None })
    };
    assert_eq!(refused(&[user("u"), user("v")], rename("u", "V")), exists("User with name V already exists."));
    assert_eq!(after(&[user("u"), rename("u", "U")]).iam.users.len(), 1);
    // Another account has names of its own.
    let bob = OwnerId("bob".into());
    let mut state = after(&[user("u")]);
    for command in [
        Command::PutOwner { owner: Owner { id: bob.clone(), display_name: "Bob".into(), email: None } },
        Command::Iam { account: bob.clone(), change: IamChange::CreateUser(records::user(&ann(), "u")) },
    ] {
        state = apply(&state, &command).unwrap().0;
    }
    assert_eq!(state.iam.user(&bob, "u").unwrap().account, bob);
    let nobody = Command::Iam { account: OwnerId("eve".into()), change: IamChange::DeleteUser("u".into()) };
    assert!(matches!(apply(&state, &nobody), Err(Error::Invalid(_))));
}

#[test]
fn what_is_in_use_is_not_deleted() {
    let user_goes = || of(IamChange::DeleteUser("u".into()));
    let conflict = |before: &[Command]| refused(&[&[user("u"), group("g")], before].concat(), user_goes());
    assert_eq!(conflict(&[key("k", Some("u"))]), KEYS_FIRST);
    assert_eq!(conflict(&[member("g", "u", true)]), GROUPS_FIRST);
    assert_eq!(conflict(&[inline(u(), "p", Some("{}"))]), POLICIES_FIRST);
    assert_eq!(conflict(&[policy("p"), attach(u(), &arn("p"), true)]), DETACH_FIRST);
    let all_gone = after(&[
        user("u"),
        group("g"),
        key("k", Some("u")),
        member("g", "u", true),
        inline(u(), "p", Some("{}")),
        Command::DeleteKey { id: AccessKeyId("k".into()) },
        member("g", "u", false),
        inline(u(), "p", None),
        user_goes(),
    ]);
    assert!(all_gone.iam.users.is_empty());

    let group_goes = || of(IamChange::DeleteGroup("g".into()));
    assert_eq!(refused(&[user("u"), group("g"), member("g", "u", true)], group_goes()), GROUPS_FIRST);
    let in_group = attach(Holder::Group("g".into()), &format!("{BUILT_IN}ReadOnlyAccess"), true);
    assert_eq!(refused(&[group("g"), in_group], group_goes()), DETACH_FIRST);
    let in_role = inline(Holder::Role("r".into()), "p", Some("{}"));
    assert_eq!(refused(&[role("r"), in_role], of(IamChange::DeleteRole("r".into()))), POLICIES_FIRST);

    let policy_goes = || of(IamChange::DeletePolicy("p".into()));
    let boundary = |arn: Option<String>| of(IamChange::SetBoundary { of: u(), arn });
    assert_eq!(refused(&[policy("p"), user("u"), attach(u(), &arn("p"), true)], policy_goes()), POLICY_IN_USE);
    assert_eq!(refused(&[policy("p"), user("u"), boundary(Some(arn("p")))], policy_goes()), POLICY_IN_USE);
    assert_eq!(refused(&[policy("p"), version("p", "{}", false)], policy_goes()), VERSIONS_FIRST);
    let freed = [policy("p"), user("u"), boundary(Some(arn("p"))), boundary(None), policy_goes()];
    assert!(after(&freed).iam.policies.is_empty());
}

#[test]
fn quotas_hold() {
    let full = |what, limit| Error::LimitExceeded { what, limit };
    let many =
        |count: usize, make: &dyn Fn(String) -> Command| (0..count).map(|n| make(format!("n{n}"))).collect::<Vec<_>>();
    let groups = many(limits::GROUPS_PER_ACCOUNT_MAX, &|name| group(&name));
    assert_eq!(refused(&groups, group("more")), full("GroupsPerAccount", 300));
    let keys = [user("u"), key("a", Some("u")), key("b", Some("u"))];
    assert_eq!(refused(&keys, key("c", Some("u"))), full("AccessKeysPerUser", 2));
    let roots = many(5, &|name| key(&name, None));
    assert_eq!(after(&roots).keys.len(), 5);
    let mut joined = vec![user("u")];
    joined.extend(many(11, &|name| group(&name)));
    joined.extend(many(10, &|name| member(&name, "u", true)));
    assert_eq!(refused(&joined, member("n10", "u", true)), full("GroupsPerUser", 10));
    joined.push(member("n9", "u", true));
    assert_eq!(after(&joined).iam.groups_of(&ann(), "u").count(), 10);
    let mut attached = vec![user("u")];
    attached.extend(many(10, &|name| attach(u(), &format!("{BUILT_IN}{name}"), true)));
    let one_more = attach(u(), &format!("{BUILT_IN}more"), true);
    assert_eq!(refused(&attached, one_more), full("PoliciesPerEntity", 10));
    let mut versions = vec![policy("p")];
    versions.extend((0..4).map(|_| version("p", "{}", false)));
    assert_eq!(refused(&versions, version("p", "{}", false)), full("VersionsPerPolicy", 5));

    let text = |characters: usize| "x ".repeat(characters);
    let holders = [(u(), 2048), (Holder::Group("g".into()), 5120), (Holder::Role("r".into()), 10_240)];
    let start = [user("u"), group("g"), role("r"), policy("p")];
    for (holder, limit) in holders {
        let half = inline(holder.clone(), "a", Some(&text(limit / 2)));
        let before = [&start[..], &[half]].concat();
        after(&[&before[..], &[inline(holder.clone(), "b", Some(&text(limit / 2)))]].concat());
        let error = refused(&before, inline(holder, "b", Some(&text(limit / 2 + 1))));
        assert_eq!(error, full("InlinePolicySize", limit));
    }
    assert_eq!(refused(&start, version("p", &text(6145), false)), full("PolicySize", 6144));
    let trust = of(IamChange::SetTrust { role: "r".into(), trust: text(2049) });
    assert_eq!(refused(&start, trust), full("ACLSizePerRole", 2048));
    let long = of(IamChange::SetTrust { role: "r".into(), trust: " ".repeat(limits::POLICY_BYTES_MAX + 1) });
    assert_eq!(refused(&start, long), full("ACLSizePerRole", 2048));
}

#[test]
fn names_paths_and_tags_have_a_shape() {
    let (longest, too_long) = ("x".repeat(64), "x".repeat(65));
    after(&[user(&longest), role(&longest), group(&"x".repeat(128)), policy(&"x".repeat(128)), user("a_+=,.@-Z9")]);
    for bad in ["", too_long.as_str(), "a b", "a/b", "ä", "a\nb", "a:b"] {
        assert!(matches!(refused(&[], user(bad)), Error::Invalid(_)), "{bad}");
    }
    for bad in ["", "a", "/a", "a/", "/a b/", "/\u{7f}/", &format!("/{}/", "x".repeat(511))] {
        let mut strange = records::user(&ann(), "u");
        strange.path = bad.into();
        assert!(matches!(refused(&[], of(IamChange::CreateUser(strange))), Error::Invalid(_)), "{bad}");
    }
    let tags = |tags: Vec<(String, String)>| {
        of(IamChange::ChangeTags { of: Tagged::Holder(u()), set: tags.into_iter().collect(), remove: BTreeSet::new() })
    };
    let fifty = (0..50).map(|n| (n.to_string(), String::new())).collect::<Vec<_>>();
    after(&[user("u"), tags(fifty.clone())]);
    let error = refused(&[user("u"), tags(fifty)], tags(vec![("more".into(), String::new())]));
    assert_eq!(error, Error::LimitExceeded { what: "TagsPerEntity", limit: 50 });
    for (key, value) in [(0, 0), (129, 0), (1, 257)] {
        let tag = tags(vec![("k".repeat(key), "v".repeat(value))]);
        assert!(matches!(refused(&[user("u")], tag), Error::Invalid(_)));
    }
    for seconds in [0, 3599, 43_201] {
        let role = Role { session_seconds_max: seconds, ..records::role(&ann(), "r") };
        assert!(matches!(refused(&[], of(IamChange::CreateRole(role))), Error::Invalid(_)));
    }
}

#[test]
fn keys_of_tags_differ_by_more_than_case() {
    let tagged = |of_: Tagged, set: &[(&str, &str)], remove: &[&str]| {
        let set = set.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        of(IamChange::ChangeTags { of: of_, set, remove: remove.iter().map(|key| (*key).to_owned()).collect() })
    };
    let user_ = || Tagged::Holder(u());
    let tags = |commands: &[Command]| {
        let state = after(&[&[user("u")], commands].concat());
        state.iam.user(&ann(), "u").unwrap().tags.clone().into_iter().collect::<Vec<_>>()
    };
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let begun = tagged(user_(), &[("Team", "red"), ("floor", "2")], &[]);
    assert_eq!(
        tags(&[begun.clone(), tagged(user_(), &[("team", "blue")], &[])]),
        [pair("floor", "2"), pair("team", "blue")]
    );
    assert_eq!(tags(&[begun.clone(), tagged(user_(), &[], &["TEAM", "none"])]), [pair("floor", "2")]);
    for bad in [
        [("a", ""), ("A", "")],
        [("aws:x", ""), ("b", "")],
        [("AWS:x", ""), ("b", "")],
        [("a\n", ""), ("b", "")],
        [("a", "<"), ("b", "")],
    ] {
        assert!(matches!(refused(&[user("u")], tagged(user_(), &bad, &[])), Error::Invalid(_)), "{bad:?}");
    }
    after(&[user("u"), tagged(user_(), &[("Köln am Rhein", "a_.:/=+-@9")], &[])]);

    let url = "https://idp.example.com/a";
    let provider = of(IamChange::CreateProvider(records::provider(&ann(), url)));
    let state = after(&[
        policy("p"),
        provider,
        tagged(Tagged::Policy("p".into()), &[("a", "1")], &[]),
        tagged(Tagged::Provider("idp.example.com/a".into()), &[("b", "2")], &[]),
    ]);
    let of_policy = &state.iam.policies.values().next().unwrap().tags;
    let of_provider = &state.iam.provider(&ann(), "idp.example.com/a").unwrap().tags;
    assert_eq!((of_policy["a"].as_str(), of_provider["b"].as_str()), ("1", "2"));
    assert!(matches!(refused(&[], tagged(Tagged::Policy("p".into()), &[("a", "1")], &[])), Error::NoSuchEntity(_)));
}

#[test]
fn an_account_makes_two_keys_for_itself() {
    let made = |id: &str, user: Option<&str>| {
        let Command::CreateKey { key } = key(id, user) else { unreachable!() };
        of(IamChange::CreateKey(key))
    };
    let full = Error::LimitExceeded { what: "AccessKeysPerUser", limit: 2 };
    assert_eq!(refused(&[made("a", None), made("b", None)], made("c", None)), full);
    assert_eq!(refused(&[user("u"), made("a", Some("u")), key("b", Some("u"))], made("c", Some("u"))), full);
    assert_eq!(after(&[user("u"), made("a", None), made("b", Some("u"))]).keys.len(), 2);
    let Command::CreateKey { key } = key("a", None) else { unreachable!() };
    let (admin, other) = (AccessKey { admin: true, ..key.clone() }, AccessKey { owner: OwnerId("eve".into()), ..key });
    for key in [admin, other] {
        assert!(matches!(refused(&[], of(IamChange::CreateKey(key))), Error::Invalid(_)));
    }
}

#[test]
fn several_commands_are_one_or_none() {
    let state = after(&[Command::All(vec![user("u"), group("g"), member("g", "u", true)])]);
    assert_eq!(state.iam.groups_of(&ann(), "u").count(), 1);
    assert_eq!(
        refused(&[], Command::All(vec![user("u"), user("u")])),
        Error::EntityExists("User with name u already exists.".into())
    );
    assert!(matches!(refused(&[], Command::All(vec![Command::All(vec![user("u")])])), Error::Invalid(_)));
    assert!(matches!(
        refused(&[], Command::All(vec![user("u"); limits::COMMANDS_TOGETHER_MAX + 1])),
        Error::Invalid(_)
    ));
    let (_, answer) = apply(&after(&[policy("p")]), &Command::All(vec![user("u"), version("p", "{}", true)])).unwrap();
    assert_eq!(answer, Applied::PolicyVersion(2));
}

#[test]
fn a_renamed_user_keeps_its_groups_and_keys() {
    let rename =
        of(IamChange::UpdateUser { name: "u".into(), new_name: Some("v".into()), new_path: Some("/a/".into()) });
    let state = after(&[user("u"), group("g"), member("g", "u", true), key("k", Some("u")), rename]);
    let renamed = state.iam.user(&ann(), "v").unwrap();
    assert_eq!((renamed.arn("1"), renamed.id.as_str()), ("arn:aws:iam::1:user/a/v".into(), "AIDAu"));
    assert!(state.iam.user(&ann(), "u").is_none());
    assert_eq!(state.iam.group(&ann(), "g").unwrap().members, ["v".to_owned()].into());
    assert_eq!(state.keys[&AccessKeyId("k".into())].user.as_deref(), Some("v"));
}

#[test]
fn versions_of_a_policy_count_up() {
    let gone = |version| of(IamChange::DeletePolicyVersion { policy: "p".into(), version });
    let state = after(&[
        policy("p"),
        version("p", "[2]", true),
        version("p", "[3]", false),
        gone(3),
        version("p", "[4]", false),
    ]);
    let found = state.iam.policy_of_arn(&ann(), &arn("p")).unwrap();
    assert_eq!(found.versions.keys().copied().collect::<Vec<_>>(), [1, 2, 4]);
    assert_eq!((found.default_version, found.document(), found.updated_ms), (2, "[2]", 9));
    let (_, applied) = apply(&state, &version("p", "{}", false)).unwrap();
    assert_eq!(applied, Applied::PolicyVersion(5));
    assert_eq!(apply(&state, &gone(2)), Err(DEFAULT_STAYS));
    assert!(matches!(apply(&state, &gone(3)), Err(Error::NoSuchEntity(_))));
    let back = of(IamChange::SetDefaultPolicyVersion { policy: "p".into(), version: 1 });
    let (state, _) = apply(&state, &back).unwrap();
    assert_eq!(state.iam.policy_of_arn(&ann(), &arn("p")).unwrap().document(), "{}");
    // A policy elsewhere than its ARN says is another one.
    assert!(state.iam.policy_of_arn(&ann(), &arn("a/p")).is_none());
}

#[test]
fn what_changes_nothing_counts_no_version() {
    let state = after(&[user("u"), group("g"), member("g", "u", true)]);
    for command in [
        member("g", "u", true),
        of(IamChange::SetTenant(None)),
        of(IamChange::SetNotBefore { of: Some(u()), not_before_ms: 0 }),
        of(IamChange::UpdateUser { name: "u".into(), new_name: Some("u".into()), new_path: Some("/".into()) }),
    ] {
        assert_eq!(apply(&state, &command).unwrap(), (state.clone(), Applied::Nothing), "{command:?}");
    }
    let void = of(IamChange::SetNotBefore { of: None, not_before_ms: 7 });
    let state = apply(&state, &void).unwrap().0;
    assert_eq!(state.iam.accounts[&ann()].not_before_ms, 7);
    let earlier = of(IamChange::SetNotBefore { of: None, not_before_ms: 6 });
    assert_eq!(apply(&state, &earlier).unwrap().0.iam.accounts[&ann()].not_before_ms, 7, "the clock went back");
}

#[test]
fn one_account_may_be_without_a_number() {
    let dropped = after(&[of(IamChange::DropNumber)]);
    assert_eq!(dropped.iam.account_of_number("").map(|account| &account.owner), Some(&ann()));
    assert_eq!(apply(&dropped, &of(IamChange::DropNumber)).unwrap().0, dropped);
    let eve = Owner { id: OwnerId("eve".into()), display_name: "eve".into(), email: None };
    let (both, _) = apply(&dropped, &Command::PutOwner { owner: eve.clone() }).unwrap();
    let second = Command::Iam { account: eve.id, change: IamChange::DropNumber };
    assert!(matches!(apply(&both, &second), Err(Error::Invalid(_))));
}

#[test]
fn the_key_of_a_user_is_no_administrators() {
    let Command::CreateKey { key: plain } = key("k", Some("u")) else { unreachable!() };
    let admin = Command::CreateKey { key: AccessKey { admin: true, ..plain } };
    assert!(matches!(refused(&[user("u")], admin), Error::Invalid(_)));
}

#[test]
fn providers_are_known_by_their_address() {
    let provider = records::provider(&ann(), "https://issuer.example/a");
    let state = after(&[of(IamChange::CreateProvider(provider.clone()))]);
    let found = state.iam.provider(&ann(), "issuer.example/a").unwrap();
    assert_eq!(found.arn("1"), "arn:aws:iam::1:oidc-provider/issuer.example/a");
    let again = OidcProvider { url: "http://issuer.example/a".into(), ..provider.clone() };
    assert!(matches!(apply(&state, &of(IamChange::CreateProvider(again))), Err(Error::EntityExists(_))));
    for bad in ["https://", "https://a b", &format!("https://{}", "x".repeat(300))] {
        let strange = OidcProvider { url: bad.into(), ..provider.clone() };
        assert!(matches!(refused(&[], of(IamChange::CreateProvider(strange))), Error::Invalid(_)), "{bad}");
    }
    let prints = |print: &str| {
        of(IamChange::SetThumbprints { provider: "issuer.example/a".into(), thumbprints: [print.to_owned()].into() })
    };
    assert!(apply(&state, &prints(&"a".repeat(40))).is_ok());
    assert!(apply(&state, &prints("3768084dfb3d2b68b7897bf5f565da8efEXAMPLE")).is_ok());
    for bad in ["xyz", &"a".repeat(41), &"-".repeat(40)] {
        assert!(matches!(apply(&state, &prints(bad)), Err(Error::Invalid(_))), "{bad}");
    }
}
