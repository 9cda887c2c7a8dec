"""Users, groups, roles and policies through the clients of IAM, at the same endpoint as S3."""

import json
import subprocess
import uuid

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

import raw
import sigv4
import weir


def iam_of(server, key=weir.ACCESS_KEY, secret=weir.SECRET_KEY, service="iam"):
    return boto3.client(
        service, endpoint_url=server.endpoint, region_name=weir.REGION, aws_access_key_id=key,
        aws_secret_access_key=secret, config=Config(retries={"max_attempts": 1}),
    )


@pytest.fixture
def root(server):
    """The root of an account of its own."""
    owner = f"owner-{uuid.uuid4().hex[:12]}"
    made = json.loads(weir_cli(server, "key", "create", "--owner", owner, "--json"))
    client = iam_of(server, made["access_key"], made["secret_key"])
    client.key = (made["access_key"], made["secret_key"])
    client.account = client.get_user()["User"]["UserId"]
    return client


def weir_cli(server, *arguments, check=True):
    environment = server.environment() | {"WEIR_ENDPOINT": server.endpoint}
    done = subprocess.run([weir.binary(), *arguments], env=environment, capture_output=True, text=True, timeout=60)
    if check:
        assert done.returncode == 0, done.stderr
        return done.stdout
    return done


def policy(*actions, effect="Allow", resource="*", **more):
    statement = {"Effect": effect, "Action": list(actions), "Resource": resource} | more
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


TRUST = json.dumps({"Version": "2012-10-17", "Statement": [
    {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}]})


def refused(status, code, call, **parameters):
    with pytest.raises(ClientError) as caught:
        call(**parameters)
    answer = caught.value.response
    assert (answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"]) == (status, code), answer
    return answer["Error"]["Message"]


def user_with(root, server, name, *documents):
    root.create_user(UserName=name)
    for index, document in enumerate(documents):
        root.put_user_policy(UserName=name, PolicyName=f"p{index}", PolicyDocument=document)
    key = root.create_access_key(UserName=name)["AccessKey"]
    client = iam_of(server, key["AccessKeyId"], key["SecretAccessKey"])
    client.key = (key["AccessKeyId"], key["SecretAccessKey"])
    return client


def test_users_live_and_are_listed(root):
    made = root.create_user(UserName="ann", Path="/team/", Tags=[{"Key": "a", "Value": "b"}])["User"]
    assert made["Arn"] == f"arn:aws:iam::{root.account}:user/team/ann"
    assert made["UserId"].startswith("AIDA") and made["Tags"] == [{"Key": "a", "Value": "b"}]
    assert root.get_user(UserName="ann")["User"] == made
    for name in ("bob", "carl", "dave"):
        root.create_user(UserName=name)
    first = root.list_users(MaxItems=2)
    assert [user["UserName"] for user in first["Users"]] == ["ann", "bob"] and first["IsTruncated"]
    second = root.list_users(MaxItems=2, Marker=first["Marker"])
    assert [user["UserName"] for user in second["Users"]] == ["carl", "dave"] and not second["IsTruncated"]
    assert [user["UserName"] for user in root.list_users(PathPrefix="/team")["Users"]] == ["ann"]
    root.update_user(UserName="bob", NewUserName="bert", NewPath="/x/")
    assert root.get_user(UserName="bert")["User"]["Arn"].endswith(":user/x/bert")
    root.tag_user(UserName="ann", Tags=[{"Key": "c", "Value": ""}])
    root.untag_user(UserName="ann", TagKeys=["a"])
    assert root.list_user_tags(UserName="ann")["Tags"] == [{"Key": "c", "Value": ""}]
    root.delete_user(UserName="bert")
    refused(404, "NoSuchEntity", root.get_user, UserName="bert")
    refused(404, "NoSuchEntity", root.delete_user, UserName="bert")
    refused(409, "EntityAlreadyExists", root.create_user, UserName="ANN")
    refused(400, "ValidationError", root.create_user, UserName="a b")
    refused(400, "ValidationError", root.create_user, UserName="x" * 65)
    refused(400, "ValidationError", root.create_user, UserName="x", Path="no/slash")


def test_policies_see_tags_that_are_there_and_that_are_asked_for(root, server):
    root.create_user(UserName="blue", Tags=[{"Key": "team", "Value": "blue"}])
    root.create_user(UserName="red", Tags=[{"Key": "team", "Value": "red"}])
    root.create_role(RoleName="blue", AssumeRolePolicyDocument=TRUST, Tags=[{"Key": "team", "Value": "blue"}])
    lead = user_with(
        root, server, "lead",
        policy("iam:*"),
        policy("iam:GetUser", "iam:DeleteUser", effect="Deny", Condition={"StringNotEquals": {"iam:ResourceTag/team": "blue"}}),
        policy("iam:GetRole", effect="Deny", Condition={"StringEquals": {"aws:ResourceTag/team": "blue"}}),
        policy("iam:CreateUser", "iam:TagUser", effect="Deny", Condition={"StringNotEquals": {"aws:RequestTag/team": "blue"}}),
        policy("iam:UntagUser", "iam:TagUser", effect="Deny", Condition={"ForAnyValue:StringEquals": {"aws:TagKeys": "owner"}}),
    )
    assert lead.get_user(UserName="blue")["User"]["UserName"] == "blue"
    refused(403, "AccessDenied", lead.get_user, UserName="red")
    refused(403, "AccessDenied", lead.get_user, UserName="lead")
    refused(403, "AccessDenied", lead.delete_user, UserName="red")
    refused(403, "AccessDenied", lead.get_role, RoleName="blue")
    lead.create_user(UserName="new", Tags=[{"Key": "team", "Value": "blue"}])
    refused(403, "AccessDenied", lead.create_user, UserName="other", Tags=[{"Key": "team", "Value": "red"}])
    refused(403, "AccessDenied", lead.create_user, UserName="other")
    lead.untag_user(UserName="new", TagKeys=["team"])
    refused(403, "AccessDenied", lead.untag_user, UserName="blue", TagKeys=["owner"])
    arn = root.create_policy(PolicyName="p", PolicyDocument=policy("s3:*"), Tags=[{"Key": "team", "Value": "red"}])["Policy"]["Arn"]
    deny = policy("iam:GetPolicy", effect="Deny", Condition={"StringEquals": {"iam:ResourceTag/team": "red"}})
    lead.get_policy(PolicyArn=arn)
    root.put_user_policy(UserName="lead", PolicyName="more", PolicyDocument=deny)
    refused(403, "AccessDenied", lead.get_policy, PolicyArn=arn)
    both = [{"Key": "team", "Value": "blue"}, {"Key": "owner", "Value": "x"}]
    refused(403, "AccessDenied", lead.tag_user, UserName="blue", Tags=both)


def test_what_is_in_use_is_not_deleted(root):
    root.create_user(UserName="ann")
    root.create_group(GroupName="staff")
    root.add_user_to_group(GroupName="staff", UserName="ann")
    key = root.create_access_key(UserName="ann")["AccessKey"]["AccessKeyId"]
    root.create_access_key(UserName="ann")
    refused(409, "LimitExceeded", root.create_access_key, UserName="ann")
    refused(409, "DeleteConflict", root.delete_user, UserName="ann")
    refused(409, "DeleteConflict", root.delete_group, GroupName="staff")
    assert [group["GroupName"] for group in root.list_groups_for_user(UserName="ann")["Groups"]] == ["staff"]
    assert [user["UserName"] for user in root.get_group(GroupName="staff")["Users"]] == ["ann"]
    for held in root.list_access_keys(UserName="ann")["AccessKeyMetadata"]:
        assert held["Status"] == "Active"
        root.delete_access_key(UserName="ann", AccessKeyId=held["AccessKeyId"])
    refused(404, "NoSuchEntity", root.delete_access_key, UserName="ann", AccessKeyId=key)
    root.remove_user_from_group(GroupName="staff", UserName="ann")
    refused(404, "NoSuchEntity", root.remove_user_from_group, GroupName="staff", UserName="ann")
    root.delete_user(UserName="ann")
    root.update_group(GroupName="staff", NewGroupName="crew")
    assert [group["GroupName"] for group in root.list_groups()["Groups"]] == ["crew"]
    root.delete_group(GroupName="crew")


def test_policies_have_versions_and_are_attached(root):
    arn = root.create_policy(PolicyName="reads", Path="/p/", PolicyDocument=policy("s3:GetObject"))["Policy"]["Arn"]
    assert arn == f"arn:aws:iam::{root.account}:policy/p/reads"
    refused(409, "EntityAlreadyExists", root.create_policy, PolicyName="reads", PolicyDocument=policy("s3:*"))
    refused(400, "MalformedPolicyDocument", root.create_policy, PolicyName="bad", PolicyDocument="{}")
    version = root.create_policy_version(PolicyArn=arn, PolicyDocument=policy("s3:List*"), SetAsDefault=True)
    assert version["PolicyVersion"]["VersionId"] == "v2"
    document = root.get_policy_version(PolicyArn=arn, VersionId="v2")["PolicyVersion"]
    assert document["Document"]["Statement"][0]["Action"] == ["s3:List*"] and document["IsDefaultVersion"]
    assert [v["VersionId"] for v in root.list_policy_versions(PolicyArn=arn)["Versions"]] == ["v2", "v1"]
    refused(409, "DeleteConflict", root.delete_policy_version, PolicyArn=arn, VersionId="v2")
    refused(404, "NoSuchEntity", root.get_policy_version, PolicyArn=arn, VersionId="v3")
    root.set_default_policy_version(PolicyArn=arn, VersionId="v1")
    root.delete_policy_version(PolicyArn=arn, VersionId="v2")
    root.create_user(UserName="ann")
    root.create_group(GroupName="staff")
    root.create_role(RoleName="runs", AssumeRolePolicyDocument=TRUST)
    root.attach_user_policy(UserName="ann", PolicyArn=arn)
    root.attach_group_policy(GroupName="staff", PolicyArn=arn)
    root.attach_role_policy(RoleName="runs", PolicyArn=arn)
    attached = root.list_attached_user_policies(UserName="ann")["AttachedPolicies"]
    assert attached == [{"PolicyName": "reads", "PolicyArn": arn}]
    assert root.list_attached_group_policies(GroupName="staff")["AttachedPolicies"] == attached
    assert root.list_attached_role_policies(RoleName="runs", PathPrefix="/p/")["AttachedPolicies"] == attached
    assert root.list_attached_role_policies(RoleName="runs", PathPrefix="/q/")["AttachedPolicies"] == []
    entities = root.list_entities_for_policy(PolicyArn=arn)
    names = [entities[kind][0][name] for kind, name in
             (("PolicyUsers", "UserName"), ("PolicyGroups", "GroupName"), ("PolicyRoles", "RoleName"))]
    assert names == ["ann", "staff", "runs"]
    assert root.get_policy(PolicyArn=arn)["Policy"]["AttachmentCount"] == 3
    assert [p["PolicyName"] for p in root.list_policies(Scope="Local", OnlyAttached=True)["Policies"]] == ["reads"]
    refused(409, "DeleteConflict", root.delete_policy, PolicyArn=arn)
    missing = f"arn:aws:iam::{root.account}:policy/none"
    refused(404, "NoSuchEntity", root.attach_user_policy, UserName="ann", PolicyArn=missing)
    refused(400, "InvalidInput", root.attach_user_policy, UserName="ann", PolicyArn="x" * 30)
    root.detach_user_policy(UserName="ann", PolicyArn=arn)
    root.detach_group_policy(GroupName="staff", PolicyArn=arn)
    root.detach_role_policy(RoleName="runs", PolicyArn=arn)
    refused(404, "NoSuchEntity", root.detach_role_policy, RoleName="runs", PolicyArn=arn)
    root.delete_policy(PolicyArn=arn)
    refused(404, "NoSuchEntity", root.get_policy, PolicyArn=arn)


@pytest.mark.parametrize("kind", ["user", "group", "role"])
def test_inline_policies(root, kind):
    name = {f"{kind.capitalize()}Name": "holder"}
    more = {"AssumeRolePolicyDocument": TRUST} if kind == "role" else {}
    getattr(root, f"create_{kind}")(**name, **more)
    put, get, delete, listed = (
        getattr(root, call) for call in
        (f"put_{kind}_policy", f"get_{kind}_policy", f"delete_{kind}_policy", f"list_{kind}_policies"))
    text = policy("s3:GetObject", resource="arn:aws:s3:::a/ä*")
    put(**name, PolicyName="p", PolicyDocument=text)
    assert get(**name, PolicyName="p")["PolicyDocument"] == json.loads(text)
    assert listed(**name)["PolicyNames"] == ["p"]
    refused(400, "MalformedPolicyDocument", put, **name, PolicyName="q", PolicyDocument='{"Version":"2012-10-17"}')
    # Of a role two of them are too much, of the others one.
    large = policy("s3:GetObject", resource=[f"arn:aws:s3:::b/{'x' * 90}{index}" for index in range(52)])
    if kind == "role":
        put(**name, PolicyName="p", PolicyDocument=large)
    refused(409, "LimitExceeded", put, **name, PolicyName="q", PolicyDocument=large)
    refused(409, "DeleteConflict", getattr(root, f"delete_{kind}"), **name)
    delete(**name, PolicyName="p")
    refused(404, "NoSuchEntity", get, **name, PolicyName="p")
    refused(404, "NoSuchEntity", delete, **name, PolicyName="p")
    getattr(root, f"delete_{kind}")(**name)


def test_roles(root):
    role = root.create_role(RoleName="runs", Path="/svc/", AssumeRolePolicyDocument=TRUST, Description="for jobs",
                            MaxSessionDuration=7200, Tags=[{"Key": "a", "Value": "b"}])["Role"]
    assert role["AssumeRolePolicyDocument"] == json.loads(TRUST) and role["MaxSessionDuration"] == 7200
    assert role["RoleId"].startswith("AROA") and role["Arn"].endswith(":role/svc/runs")
    root.update_role(RoleName="runs", Description="other", MaxSessionDuration=3600)
    found = root.get_role(RoleName="runs")["Role"]
    assert (found["Description"], found["MaxSessionDuration"], found["Tags"]) == ("other", 3600, role["Tags"])
    denies = json.loads(TRUST)
    denies["Statement"][0]["Effect"] = "Deny"
    root.update_assume_role_policy(RoleName="runs", PolicyDocument=json.dumps(denies))
    assert root.list_roles(PathPrefix="/svc/")["Roles"][0]["AssumeRolePolicyDocument"] == denies
    root.tag_role(RoleName="runs", Tags=[{"Key": "c", "Value": "d"}])
    root.untag_role(RoleName="runs", TagKeys=["a"])
    assert root.list_role_tags(RoleName="runs")["Tags"] == [{"Key": "c", "Value": "d"}]
    refused(409, "EntityAlreadyExists", root.create_role, RoleName="runs", AssumeRolePolicyDocument=TRUST)
    refused(400, "MalformedPolicyDocument", root.create_role, RoleName="x", AssumeRolePolicyDocument=policy("s3:*"))
    refused(400, "ValidationError", root.create_role, RoleName="x", AssumeRolePolicyDocument=TRUST,
            MaxSessionDuration=43201)
    root.delete_role(RoleName="runs")
    refused(404, "NoSuchEntity", root.get_role, RoleName="runs")


def test_providers(root):
    made = root.create_open_id_connect_provider(
        Url="https://issuer.example/a", ClientIDList=["one"], ThumbprintList=["a" * 40])
    arn = made["OpenIDConnectProviderArn"]
    assert arn == f"arn:aws:iam::{root.account}:oidc-provider/issuer.example/a"
    root.add_client_id_to_open_id_connect_provider(OpenIDConnectProviderArn=arn, ClientID="two")
    root.remove_client_id_from_open_id_connect_provider(OpenIDConnectProviderArn=arn, ClientID="one")
    root.update_open_id_connect_provider_thumbprint(OpenIDConnectProviderArn=arn, ThumbprintList=["b" * 40])
    found = root.get_open_id_connect_provider(OpenIDConnectProviderArn=arn)
    assert (found["Url"], found["ClientIDList"], found["ThumbprintList"]) == ("issuer.example/a", ["two"], ["b" * 40])
    assert root.list_open_id_connect_providers()["OpenIDConnectProviderList"] == [{"Arn": arn}]
    refused(409, "EntityAlreadyExists", root.create_open_id_connect_provider, Url="https://issuer.example/a")
    refused(400, "InvalidInput", root.create_open_id_connect_provider, Url="http://issuer.example/a")
    root.delete_open_id_connect_provider(OpenIDConnectProviderArn=arn)
    refused(404, "NoSuchEntity", root.get_open_id_connect_provider, OpenIDConnectProviderArn=arn)


def test_a_user_may_what_its_policies_allow(root, server):
    account = root.account
    nobody = user_with(root, server, "nobody")
    message = refused(403, "AccessDenied", nobody.get_user)
    assert message.startswith(f"User: arn:aws:iam::{account}:user/nobody is not authorized to perform: iam:GetUser on "
                              f"resource: arn:aws:iam::{account}:user/nobody because no identity-based policy")
    # Whether a user is there is not told to whom may not ask.
    refused(403, "AccessDenied", nobody.get_user, UserName="absent")
    myself = user_with(root, server, "myself", policy("iam:*", resource=f"arn:aws:iam::{account}:user/myself"))
    assert myself.get_user()["User"]["UserName"] == "myself"
    refused(403, "AccessDenied", myself.get_user, UserName="nobody")
    refused(403, "AccessDenied", myself.create_user, UserName="other")
    by_name = "arn:aws:iam::*:user/${aws:username}"
    self_service = user_with(root, server, "selfy", policy("iam:*AccessKey*", resource=by_name))
    mine = self_service.create_access_key()["AccessKey"]
    assert mine["UserName"] == "selfy"
    self_service.delete_access_key(AccessKeyId=mine["AccessKeyId"])
    refused(403, "AccessDenied", self_service.create_access_key, UserName="nobody")


def test_no_user_reaches_the_root_or_another_account(root, server):
    boss = user_with(root, server, "boss", policy("*"))
    # Without a name the keys are its own, and there is no name that is the root's.
    made = boss.create_access_key()["AccessKey"]
    assert made["UserName"] == "boss"
    assert boss.list_access_keys()["AccessKeyMetadata"][0]["UserName"] == "boss"
    refused(404, "NoSuchEntity", boss.create_access_key, UserName=root.get_user()["User"]["UserName"])
    refused(404, "NoSuchEntity", boss.delete_access_key, AccessKeyId=root.key[0])
    refused(404, "NoSuchEntity", boss.update_access_key, AccessKeyId=root.key[0], Status="Inactive")
    refused(404, "NoSuchEntity", boss.delete_access_key, AccessKeyId=weir.ACCESS_KEY)
    refused(400, "ValidationError", boss.get_access_key_last_used, AccessKeyId=root.key[0])
    assert [user["UserName"] for user in boss.list_users()["Users"]] == ["boss"]
    elsewhere = "arn:aws:iam::123456789012:policy/theirs"
    refused(404, "NoSuchEntity", boss.get_policy, PolicyArn=elsewhere)
    done = weir_cli_as(server, boss.key, "key", "list")
    assert done.returncode == 4 and "administrator" in done.stderr


def weir_cli_as(server, key, *arguments):
    environment = server.environment() | {
        "WEIR_ENDPOINT": server.endpoint, "WEIR_ADMIN_ACCESS_KEY": key[0], "WEIR_ADMIN_SECRET_KEY": key[1]}
    return subprocess.run([weir.binary(), *arguments], env=environment, capture_output=True, text=True, timeout=60)


def test_boundaries_are_conditions(root, server):
    root.create_policy(PolicyName="edge", PolicyDocument=policy("s3:*"))
    edge = f"arn:aws:iam::{root.account}:policy/edge"
    only_bounded = policy("iam:CreateUser", Condition={"StringEquals": {"iam:PermissionsBoundary": edge}})
    maker = user_with(root, server, "maker", only_bounded)
    refused(403, "AccessDenied", maker.create_user, UserName="free")
    made = maker.create_user(UserName="bound", PermissionsBoundary=edge)["User"]
    assert made["PermissionsBoundary"]["PermissionsBoundaryArn"] == edge
    refused(409, "DeleteConflict", root.delete_policy, PolicyArn=edge)
    root.delete_user_permissions_boundary(UserName="bound")
    assert "PermissionsBoundary" not in root.get_user(UserName="bound")["User"]
    root.put_user_permissions_boundary(UserName="bound", PermissionsBoundary=edge)
    assert root.get_user(UserName="bound")["User"]["PermissionsBoundary"]["PermissionsBoundaryArn"] == edge


def test_an_inactive_key_is_nobodys(root, server):
    root.create_user(UserName="ann")
    root.put_user_policy(UserName="ann", PolicyName="p", PolicyDocument=policy("iam:GetUser", "s3:ListAllMyBuckets"))
    key = root.create_access_key(UserName="ann")["AccessKey"]
    ann = iam_of(server, key["AccessKeyId"], key["SecretAccessKey"])
    s3 = iam_of(server, key["AccessKeyId"], key["SecretAccessKey"], service="s3")
    assert ann.get_user()["User"]["UserName"] == "ann" and s3.list_buckets()["Buckets"] == []
    used = root.get_access_key_last_used(AccessKeyId=key["AccessKeyId"])
    assert (used["UserName"], used["AccessKeyLastUsed"]["ServiceName"]) == ("ann", "N/A")
    root.update_access_key(UserName="ann", AccessKeyId=key["AccessKeyId"], Status="Inactive")
    refused(403, "InvalidClientTokenId", ann.get_user)
    refused(403, "InvalidAccessKeyId", s3.list_buckets)
    root.update_access_key(UserName="ann", AccessKeyId=key["AccessKeyId"], Status="Active")
    assert ann.get_user()["User"]["UserName"] == "ann"


def test_the_account(root):
    summary = root.get_account_summary()["SummaryMap"]
    assert (summary["Users"], summary["UsersQuota"], summary["AccessKeysPerUserQuota"]) == (0, 5000, 2)
    assert root.list_account_aliases()["AccountAliases"] == []


def form(server, body, service="iam", headers=None, **more):
    kind = {"content-type": "application/x-www-form-urlencoded"}
    signed = sigv4.Signed(server, "POST", "/", headers=kind | (headers or {}), body=body.encode(), service=service, **more)
    return raw.ask(server, signed.bytes(), "POST")


LIST = "Action=ListUsers&Version=2010-05-08"


@pytest.mark.parametrize("body, status, code", [
    ("Action=ListUsers", 400, "MissingParameter"),
    ("Version=2010-05-08", 400, "MissingAction"),
    ("Action=ListUsers&Version=2009-01-01", 400, "InvalidAction"),
    ("Action=Nonsense&Version=2010-05-08", 400, "InvalidAction"),
    (LIST + "&Action=GetUser", 400, "MalformedQueryString"),
    (LIST + "&UserName=x", 400, "ValidationError"),
    (LIST + "&MaxItems=0", 400, "ValidationError"),
    (LIST + "&PathPrefix=%FF", 400, "MalformedQueryString"),
    ("Action=TagUser&Version=2010-05-08&UserName=x&Tags.member.2.Key=a", 400, "MalformedQueryString"),
    (LIST + "&Marker=" + "x" * 600_000, 413, "RequestEntityTooLarge"),
])
def test_bad_forms(server, body, status, code):
    answer = form(server, body)
    assert answer.status == status and f"<Code>{code}</Code>".encode() in answer.body, answer.body
    assert answer.body.rstrip().endswith(b"</ErrorResponse>")


def test_signatures_are_of_one_service(server, s3, bucket):
    assert form(server, LIST).status == 200
    for service in ("s3", "sts"):
        answer = form(server, LIST, service=service)
        assert answer.status == 403 and b"<Code>SignatureDoesNotMatch</Code>" in answer.body
    for query in ([], [("acl", "")]):
        for service in ("iam", "sts"):
            signed = raw.ask(server, sigv4.Signed(server, "GET", f"/{bucket}", service=service, query=query).bytes())
            assert signed.status == 400 and b"AuthorizationHeaderMalformed" in signed.body
    assert form(server, LIST, secret="wrong" * 8).status == 403
    assert form(server, LIST, minutes=-16).status == 403
    assert form(server, LIST, region="mars-1").status == 403
    kind = "content-type: application/x-www-form-urlencoded"
    request = f"POST / HTTP/1.1\r\nhost: 127.0.0.1:{server.port}\r\n{kind}\r\ncontent-length: {len(LIST)}\r\n\r\n{LIST}"
    unsigned = raw.ask(server, request.encode(), "POST")
    assert unsigned.status == 403 and b"<Code>MissingAuthenticationToken</Code>" in unsigned.body


def test_aws_iam(root, server, require):
    environment = {"AWS_ACCESS_KEY_ID": root.key[0], "AWS_SECRET_ACCESS_KEY": root.key[1], "AWS_DEFAULT_REGION": weir.REGION,
                   "AWS_ENDPOINT_URL": server.endpoint, "PATH": "/usr/bin:/bin:/usr/local/bin", "AWS_CONFIG_FILE": "/dev/null"}

    def aws(*arguments):
        return subprocess.run([require("aws"), "iam", *arguments], env=environment, capture_output=True, text=True,
                              timeout=60)

    made = aws("create-user", "--user-name", "ann")
    assert made.returncode == 0 and json.loads(made.stdout)["User"]["UserName"] == "ann", made.stderr
    again = aws("create-user", "--user-name", "ann")
    assert again.returncode in (254, 255) and "EntityAlreadyExists" in again.stderr
    assert json.loads(aws("list-users").stdout)["Users"][0]["UserName"] == "ann"
