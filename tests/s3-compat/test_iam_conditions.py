"""The condition keys of IAM's own actions: tags, boundaries, policies, and who asks."""

import datetime
import json
import uuid

import boto3
import pytest
import weir
from botocore.config import Config
from botocore.exceptions import ClientError

READ_ONLY = "arn:aws:iam::aws:policy/weir-ro"
FULL = "arn:aws:iam::aws:policy/weir-su"


def client(server, service, key, secret, token=None):
    return boto3.client(
        service, endpoint_url=server.endpoint, region_name=weir.REGION, aws_access_key_id=key, aws_secret_access_key=secret,
        aws_session_token=token, config=Config(retries={"max_attempts": 1}, user_agent_extra="weir-test/1"),
    )


def document(*statements):
    return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Resource": "*"} | s for s in statements]})


@pytest.fixture
def root(server):
    """The root of an account of its own."""
    owner = f"owner-{uuid.uuid4().hex[:12]}"
    made = json.loads(server.run("key", "create", "--owner", owner, "--json").stdout)
    iam = client(server, "iam", made["access_key"], made["secret_key"])
    iam.account, iam.server = iam.get_user()["User"]["UserId"], server
    return iam


@pytest.fixture
def helper(root):
    """A user of the account, who may what the test says."""
    root.create_user(UserName="helper")
    pair = root.create_access_key(UserName="helper")["AccessKey"]
    iam = client(root.server, "iam", pair["AccessKeyId"], pair["SecretAccessKey"])
    iam.pair = pair

    def may(*statements):
        root.put_user_policy(UserName="helper", PolicyName="may", PolicyDocument=document(*statements))

    iam.may = may
    return iam


def refused(call, **parameters):
    with pytest.raises(ClientError) as caught:
        call(**parameters)
    assert caught.value.response["Error"]["Code"] == "AccessDenied", caught.value.response
    return True


def tags(**pairs):
    return [{"Key": key, "Value": value} for key, value in pairs.items()]


def test_tags_of_requests_and_of_what_is_there(root, helper):
    helper.may(
        {"Action": "iam:CreateUser", "Condition": {"StringEquals": {"aws:RequestTag/team": "red"},
                                                   "ForAllValues:StringEquals": {"aws:TagKeys": ["team", "floor"]}}},
        {"Action": ["iam:GetUser", "iam:UntagUser"], "Condition": {"StringEquals": {"aws:ResourceTag/team": "red"}}},
        {"Action": "iam:GetPolicy", "Condition": {"StringEquals": {"iam:ResourceTag/team": "red"}}},
    )
    helper.create_user(UserName="one", Tags=tags(team="red", floor="2"))
    assert refused(helper.create_user, UserName="two", Tags=tags(team="blue"))
    assert refused(helper.create_user, UserName="two", Tags=tags(team="red", other="x"))
    assert refused(helper.create_user, UserName="two")
    assert helper.get_user(UserName="one")["User"]["UserName"] == "one"
    root.create_user(UserName="two", Tags=tags(team="blue"))
    assert refused(helper.get_user, UserName="two")
    helper.untag_user(UserName="one", TagKeys=["floor"])
    arns = [root.create_policy(PolicyName=name, PolicyDocument=document({"Action": "s3:*"}), Tags=tags(team=name))["Policy"]["Arn"]
            for name in ("red", "blue")]
    assert helper.get_policy(PolicyArn=arns[0])["Policy"]["PolicyName"] == "red"
    assert refused(helper.get_policy, PolicyArn=arns[1])


def test_boundaries_go_with_what_is_given(root, helper):
    bound = {"Condition": {"StringEquals": {"iam:PermissionsBoundary": READ_ONLY}}}
    helper.may(
        {"Action": ["iam:CreateUser", "iam:PutUserPolicy", "iam:AttachUserPolicy", "iam:DetachUserPolicy",
                    "iam:DeleteUserPolicy", "iam:PutUserPermissionsBoundary"]} | bound,
        {"Action": "iam:AttachRolePolicy", "Condition": {"ArnEquals": {"iam:PolicyARN": READ_ONLY}}},
    )
    assert refused(helper.create_user, UserName="free")
    assert refused(helper.create_user, UserName="free", PermissionsBoundary=FULL)
    helper.create_user(UserName="bound", PermissionsBoundary=READ_ONLY)
    root.create_user(UserName="free")
    own = {"PolicyName": "p", "PolicyDocument": document({"Action": "s3:*"})}
    # Nobody without the boundary gets anything by them.
    helper.put_user_policy(UserName="bound", **own)
    assert refused(helper.put_user_policy, UserName="free", **own)
    helper.attach_user_policy(UserName="bound", PolicyArn=FULL)
    assert refused(helper.attach_user_policy, UserName="free", PolicyArn=FULL)
    helper.detach_user_policy(UserName="bound", PolicyArn=FULL)
    helper.delete_user_policy(UserName="bound", PolicyName="p")
    assert refused(helper.put_user_permissions_boundary, UserName="bound", PermissionsBoundary=FULL)
    helper.put_user_permissions_boundary(UserName="free", PermissionsBoundary=READ_ONLY)
    helper.put_user_policy(UserName="free", **own)

    root.create_role(RoleName="r", AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": {"AWS": root.account}, "Action": "sts:AssumeRole"}]}))
    helper.attach_role_policy(RoleName="r", PolicyArn=READ_ONLY)
    assert refused(helper.attach_role_policy, RoleName="r", PolicyArn=FULL)


def test_who_asks_and_how(root, helper):
    role = f"arn:aws:iam::{root.account}:role/lister"
    root.create_role(RoleName="lister", AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{root.account}:user/helper"}, "Action": "sts:AssumeRole"}]}))
    now = datetime.datetime.now(datetime.timezone.utc)
    hours = [(now + datetime.timedelta(hours=hours)).strftime("%Y-%m-%dT%H:%M:%SZ") for hours in (-1, 1)]
    root.put_role_policy(RoleName="lister", PolicyName="lists", PolicyDocument=document(
        {"Action": "iam:ListUsers", "Condition": {
            # The role, and not one of its sessions.
            "ArnEquals": {"aws:PrincipalArn": role},
            "DateGreaterThan": {"aws:TokenIssueTime": hours[0]}, "DateLessThan": {"aws:TokenIssueTime": hours[1]},
            "StringLike": {"aws:UserAgent": "*weir-test/1*"}}}))
    sts = client(root.server, "sts", helper.pair["AccessKeyId"], helper.pair["SecretAccessKey"])
    given = sts.assume_role(RoleArn=role, RoleSessionName="session")["Credentials"]
    lister = client(root.server, "iam", given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"])
    assert [user["UserName"] for user in lister.list_users()["Users"]] == ["helper"]
    helper.may({"Action": "iam:ListUsers", "Condition": {"Null": {"aws:TokenIssueTime": "false"}}})
    assert refused(helper.list_users)
