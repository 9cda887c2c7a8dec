"""Tags of policies, issuers, users and roles; and what an administrator makes at once or not at all."""

import json
import uuid

import boto3
import pytest
import weir
from botocore.config import Config
from botocore.exceptions import ClientError

TRUST = json.dumps({"Version": "2012-10-17", "Statement": [
    {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}]})
READS = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}]})


def iam_of(server, key, secret):
    return boto3.client(
        "iam", endpoint_url=server.endpoint, region_name=weir.REGION, aws_access_key_id=key,
        aws_secret_access_key=secret, config=Config(retries={"max_attempts": 1}),
    )


@pytest.fixture
def root(server):
    """The root of an account of its own."""
    owner = f"owner-{uuid.uuid4().hex[:12]}"
    made = json.loads(server.run("key", "create", "--owner", owner, "--json").stdout)
    client = iam_of(server, made["access_key"], made["secret_key"])
    client.owner = owner
    return client


def pairs(tags):
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def refused(call, **parameters):
    with pytest.raises(ClientError) as caught:
        call(**parameters)
    answer = caught.value.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"]


def kinds(root):
    """Of each kind that has tags: how they are set, taken away, listed, and told with it."""
    arn = root.create_policy(PolicyName="p", PolicyDocument=READS, Tags=pairs({"first": "1"}))["Policy"]["Arn"]
    issuer = root.create_open_id_connect_provider(
        Url="https://idp.example.com/a", ClientIDList=["c"], Tags=pairs({"first": "1"}))["OpenIDConnectProviderArn"]
    root.create_user(UserName="u", Tags=pairs({"first": "1"}))
    root.create_role(RoleName="r", AssumeRolePolicyDocument=TRUST, Tags=pairs({"first": "1"}))
    provider = {"OpenIDConnectProviderArn": issuer}
    return {
        "policy": (root.tag_policy, root.untag_policy, root.list_policy_tags, {"PolicyArn": arn},
                   lambda: root.get_policy(PolicyArn=arn)["Policy"]["Tags"]),
        "provider": (root.tag_open_id_connect_provider, root.untag_open_id_connect_provider,
                     root.list_open_id_connect_provider_tags, provider,
                     lambda: root.get_open_id_connect_provider(**provider)["Tags"]),
        "user": (root.tag_user, root.untag_user, root.list_user_tags, {"UserName": "u"},
                 lambda: root.get_user(UserName="u")["User"]["Tags"]),
        "role": (root.tag_role, root.untag_role, root.list_role_tags, {"RoleName": "r"},
                 lambda: root.get_role(RoleName="r")["Role"]["Tags"]),
    }


def test_tags_are_kept_listed_and_taken_away(root):
    for kind, (tag, untag, listed, which, told) in kinds(root).items():
        tags = lambda: {tag["Key"]: tag["Value"] for tag in listed(**which)["Tags"]}  # noqa: E731
        assert tags() == {"first": "1"}, kind
        tag(**which, Tags=pairs({"Team": "red", "Köln am Rhein": "a_.:/=+-@9"}))
        assert tags() == {"first": "1", "Team": "red", "Köln am Rhein": "a_.:/=+-@9"}
        # One that differs by case alone is the same one.
        tag(**which, Tags=pairs({"team": "blue", "first": ""}))
        assert tags() == {"first": "", "team": "blue", "Köln am Rhein": "a_.:/=+-@9"}
        untag(**which, TagKeys=["TEAM", "Köln am Rhein", "never there"])
        assert tags() == {"first": ""} and told() == pairs({"first": ""})

        tag(**which, Tags=pairs({f"k{number:02}": "" for number in range(49)}))
        assert refused(tag, **which, Tags=pairs({"more": ""})) == (409, "LimitExceeded")
        page = listed(**which, MaxItems=20)
        assert page["IsTruncated"] and len(page["Tags"]) == 20
        assert len(listed(**which, Marker=page["Marker"])["Tags"]) == 30


def test_tags_that_are_none_are_refused(root):
    for kind, (tag, untag, listed, which, told) in kinds(root).items():
        for wrong, code in [
            ({"aws:owner": "x"}, "InvalidInput"),
            ({"AWS:owner": "x"}, "InvalidInput"),
            ({"a": "x", "A": "y"}, "InvalidInput"),
            ({"a<b": "x"}, "ValidationError"),
            ({"a": "x&y"}, "ValidationError"),
            ({"a\n": "x"}, "ValidationError"),
            ({"k" * 129: "x"}, "ValidationError"),
            ({"a": "v" * 257}, "ValidationError"),
            ({f"k{number}": "" for number in range(51)}, "ValidationError"),
        ]:
            assert refused(tag, **which, Tags=pairs(wrong)) == (400, code), (kind, wrong)
        assert refused(untag, **which, TagKeys=[f"k{number}" for number in range(51)]) == (400, "ValidationError")
        assert told() == pairs({"first": "1"}), kind
    assert refused(root.create_user, UserName="v", Tags=pairs({"aws:x": "y"})) == (400, "InvalidInput")
    assert refused(root.create_policy, PolicyName="q", PolicyDocument=READS, Tags=pairs({"a": "<"})) == (400, "ValidationError")
    built_in = "arn:aws:iam::aws:policy/weir-ro"
    assert refused(root.tag_policy, PolicyArn=built_in, Tags=pairs({"a": "b"})) == (403, "AccessDenied")
    assert root.list_policy_tags(PolicyArn=built_in)["Tags"] == []
    absent = "arn:aws:iam::aws:policy/none"
    assert refused(root.list_policy_tags, PolicyArn=absent) == (404, "NoSuchEntity")


def test_tags_outlive_the_server(own_server):
    made = json.loads(own_server.run("key", "create", "--owner", "ann", "--json").stdout)
    own = iam_of(own_server, made["access_key"], made["secret_key"])
    arn = own.create_policy(PolicyName="p", PolicyDocument=READS)["Policy"]["Arn"]
    own.tag_policy(PolicyArn=arn, Tags=pairs({"a": "b"}))
    own_server.restart_killed()
    assert own.list_policy_tags(PolicyArn=arn)["Tags"] == pairs({"a": "b"})


# ---- at once or not at all ----


def test_a_key_is_imported_with_all_or_nothing(server, root):
    def imported(number, *more):
        return server.command("key", "import", "--owner", root.owner, "--access-key", f"WK{number}{root.owner}",
                              "--secret-key", "a-secret-of-length", "--user", "bob", *more)

    assert imported(1, "--policy", "weir-ro").returncode == 0
    assert imported(2, "--tenant", "lab").returncode == 0
    before = [json.loads(server.run(*command, "--json").stdout) for command in
              (["key", "list"], ["user", "list", "--account", root.owner])]
    # The user has its two keys: neither the owner's name nor the user's policies change.
    done = imported(3, "--policy", "weir-rw", "--display-name", "Another", "--tenant", "other")
    assert done.returncode == 4 and "AccessKeysPerUser" in done.stderr, done.stderr
    after = [json.loads(server.run(*command, "--json").stdout) for command in
             (["key", "list"], ["user", "list", "--account", root.owner])]
    assert after == before
    assert root.list_attached_user_policies(UserName="bob")["AttachedPolicies"] == [
        {"PolicyName": "weir-ro", "PolicyArn": "arn:aws:iam::aws:policy/weir-ro"}]


def test_nobody_is_made_without_the_policies_asked_for(server, root):
    made = server.command("user", "create", "x", "--account", root.owner, "--policy", "weir-ro", "--policy", "none")
    assert made.returncode == 3
    assert root.list_users()["Users"] == []
    server.run("user", "create", "x", "--account", root.owner, "--policy", "weir-ro")
    again = server.command("user", "create", "x", "--account", root.owner, "--policy", "weir-rw")
    assert again.returncode == 4
    assert [p["PolicyName"] for p in root.list_attached_user_policies(UserName="x")["AttachedPolicies"]] == ["weir-ro"]


def test_a_root_makes_two_keys_and_an_administrator_more(server, root):
    root.create_access_key()
    assert refused(root.create_access_key) == (409, "LimitExceeded")
    assert server.command("key", "create", "--owner", root.owner, "--json").returncode == 0
