"""What policies would decide: `weir policy simulate`."""

import json
import subprocess
import uuid

import boto3
import pytest
import weir
from botocore.config import Config

OWNER = "111111111111"
ANN = f"arn:aws:iam::{OWNER}:user/ann"


def statement(effect, action, resource="*", **more):
    return {"Effect": effect, "Action": action, "Resource": resource} | more


def policy(*statements):
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def iam_of(server, key=weir.ACCESS_KEY, secret=weir.SECRET_KEY):
    return boto3.client(
        "iam", endpoint_url=server.endpoint, region_name=weir.REGION, aws_access_key_id=key,
        aws_secret_access_key=secret, config=Config(retries={"max_attempts": 1}),
    )


@pytest.fixture(scope="module")
def root(server):
    """The root of an account of its own."""
    owner = f"owner-{uuid.uuid4().hex[:12]}"
    made = json.loads(server.run("key", "create", "--owner", owner, "--json").stdout)
    client = iam_of(server, made["access_key"], made["secret_key"])
    client.owner, client.key = owner, (made["access_key"], made["secret_key"])
    client.account = client.get_user()["User"]["UserId"]
    return client


# ---- files, without a server ----


@pytest.fixture
def files(tmp_path):
    def write(name, *statements):
        path = tmp_path / name
        path.write_text(policy(*statements))
        return str(path)

    return write


def offline(*arguments):
    """No server is there, and nobody's credentials."""
    environment = weir.clean_environment() | {"WEIR_ENDPOINT": "http://127.0.0.1:1"}
    command = [weir.binary(), "policy", "simulate", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)


def told(*arguments):
    done = offline("--json", *arguments)
    results = json.loads(done.stdout)["results"]
    allowed = all(result["decision"] == "allowed" for result in results)
    assert done.returncode == (0 if allowed else 1), done.stderr
    return [(result["decision"], result["policy"], result["statement"]) for result in results], results


def test_files_are_judged_without_a_server(files):
    mine = files("mine.json", statement("Allow", "s3:*", Sid="All"))
    denies = files("denies.json", statement("Deny", "s3:Delete*"))
    asked = ["--policy-file", mine, "--policy-file", denies, "--resource", "arn:aws:s3:::b/k"]
    decided, _ = told(*asked, "--action", "s3:getobject")
    assert decided == [("allowed", mine, "All")]
    decided, results = told(*asked, "--action", "s3:GetObject", "--action", "s3:DeleteObject", "--action", "iam:GetUser")
    assert decided == [("allowed", mine, "All"), ("explicitDeny", denies, "1"), ("implicitDeny", None, None)]
    assert results[1]["matched"] == [{"policy": denies, "statement": "1", "place": 1}]

    done = offline(*asked, "--action", "s3:GetObject", "--action", "s3:DeleteObject")
    assert done.returncode == 1 and "1 of 2 refused" in done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["DECISION", "ACTION", "RESOURCE", "BY", "MISSING"]
    assert lines[2].split() == ["explicitDeny", "s3:DeleteObject", "arn:aws:s3:::b/k", f"{denies}:", "1", "-"]


def test_boundaries_and_bucket_policies_have_their_part(files):
    mine = files("mine.json", statement("Allow", "s3:*"))
    boundary = files("boundary.json", statement("Allow", "s3:Get*"))
    lets_in = {"Principal": {"AWS": ANN}, "Sid": "In"}
    bucket = files("bucket.json", statement("Allow", "s3:GetObject", "arn:aws:s3:::b/*", **lets_in))
    nothing = files("nothing.json", statement("Allow", "iam:GetUser"))
    reads = ["--action", "s3:GetObject", "--resource", "arn:aws:s3:::b/k", "--caller", ANN]
    cross = ["--bucket-policy-file", bucket, "--resource-owner", "222222222222"]

    def decision(*arguments):
        [(decided, _, _)], _ = told(*arguments)
        return decided

    assert decision("--policy-file", mine, "--boundary-file", boundary, *reads) == "allowed"
    bound, results = told("--policy-file", mine, "--boundary-file", boundary, "--action", "s3:PutObject")
    assert bound == [("implicitDeny", boundary, None)] and results[0]["decided_by"] == "limit"
    # In one account one side is enough, between two both are needed.
    assert decision("--policy-file", nothing, "--bucket-policy-file", bucket, *reads) == "allowed"
    assert decision("--policy-file", nothing, *cross, *reads) == "implicitDeny"
    assert decision("--policy-file", mine, *cross, *reads) == "allowed"
    assert decision("--policy-file", mine, "--resource-owner", "222222222222", *reads) == "implicitDeny"
    assert decision("--bucket-policy-file", bucket, *reads) == "allowed"


def test_condition_keys_that_are_missing_are_told(files):
    condition = {"StringEquals": {"s3:ExistingObjectTag/team": "${aws:username}"}, "Bool": {"aws:SecureTransport": "true"}}
    mine = files("mine.json", statement("Allow", "s3:GetObject", Condition=condition))
    asked = ["--policy-file", mine, "--caller", ANN, "--action", "s3:GetObject", "--resource", "arn:aws:s3:::b/k"]
    [(decision, _, _)], [result] = told(*asked)
    assert (decision, sorted(result["missing"])) == ("implicitDeny", ["aws:SecureTransport", "s3:ExistingObjectTag/team"])
    given = ["--context", "aws:SecureTransport=true", "--context", "s3:ExistingObjectTag/team=ann"]
    [(decision, _, _)], [result] = told(*asked, *given)
    assert (decision, result["missing"]) == ("allowed", [])


@pytest.mark.parametrize("arguments", [
    ["--action", "s3:GetObject"],
    ["--policy-file", "MINE"],
    ["--policy-file", "MINE", "--action", "s3:Get*"],
    ["--policy-file", "MINE", "--action", "s3:GetObjects"],
    ["--policy-file", "MINE", "--action", "s3:GetObject", "--context", "aws:SourceIp"],
    ["--policy-file", "MINE", "--action", "s3:GetObject", "--context", "aws:SourcIp=10.0.0.1"],
    ["--policy-file", "MINE", "--action", "s3:GetObject", "--caller", "arn:aws:iam::1:user/x"],
    ["--policy-file", "MINE", "--action", "s3:GetObject", "--resource-owner", "someone"],
    ["--policy-file", "MINE", "--action", "s3:GetObject", "--user", "a", "--role", "b"],
    ["--policy-file", "/no/such/file", "--action", "s3:GetObject"],
    ["--policy-file", "BROKEN", "--action", "s3:GetObject"],
    # The resource has no policy of its own.
    ["--bucket-policy-file", "MINE", "--action", "s3:GetObject"],
])
def test_what_cannot_be_asked(files, tmp_path, arguments):
    names = {"MINE": files("mine.json", statement("Allow", "s3:*")), "BROKEN": str(tmp_path / "broken.json")}
    (tmp_path / "broken.json").write_text('{"Statement": [{"Effect": "Allow"}]}')
    done = offline(*[names.get(argument, argument) for argument in arguments])
    assert done.returncode == 2, (done.stdout, done.stderr)
    assert done.stderr and not done.stdout


# ---- who is there ----


def test_who_is_there_is_judged_by_what_it_has(server, root, name):
    s3 = weir.boto3_client(server, *root.key)
    s3.create_bucket(Bucket=name)
    root.create_user(UserName="ann", Tags=[{"Key": "team", "Value": "red"}])
    root.create_group(GroupName="readers")
    root.add_user_to_group(GroupName="readers", UserName="ann")
    reads = statement("Allow", "s3:GetObject", f"arn:aws:s3:::{name}/${{aws:PrincipalTag/team}}/*", Sid="Reads")
    root.put_group_policy(GroupName="readers", PolicyName="own", PolicyDocument=policy(reads))
    key = root.create_access_key(UserName="ann")["AccessKey"]["AccessKeyId"]
    root.create_role(RoleName="writer", AssumeRolePolicyDocument=policy(
        {"Effect": "Allow", "Principal": {"AWS": root.account}, "Action": "sts:AssumeRole"}))
    root.put_role_policy(RoleName="writer", PolicyName="put", PolicyDocument=policy(statement("Allow", "s3:PutObject")))

    def ask(*arguments, code=None):
        done = server.command("policy", "simulate", "--account", root.owner, "--json", *arguments)
        if code is not None:
            assert done.returncode == code, (done.stdout, done.stderr)
            return None
        answer = json.loads(done.stdout)
        assert done.returncode == (0 if all(r["decision"] == "allowed" for r in answer["results"]) else 1)
        return answer["principal"], [(r["decision"], r["policy"], r["statement"]) for r in answer["results"]]

    red = ["--action", "s3:GetObject", "--resource", f"arn:aws:s3:::{name}/red/k"]
    ann = f"arn:aws:iam::{root.account}:user/ann"
    by_group = [("allowed", "own (group readers)", "Reads")]
    assert ask("--user", "ann", *red) == (ann, by_group)
    assert ask("--as", key, *red) == (ann, by_group)
    assert ask("--as", key, "--action", "s3:GetObject", "--resource", f"arn:aws:s3:::{name}/blue/k")[1][0][0] == "implicitDeny"
    assert ask("--group", "readers", *red, "--context", "aws:PrincipalTag/team=red")[1] == by_group
    assert ask("--role", "writer", "--action", "s3:PutObject", "--resource", f"arn:aws:s3:::{name}/k")[1] == [
        ("allowed", "put", "1")]
    assert ask("--as", root.key[0], *red)[1] == [("allowed", None, None)]

    # The bucket's policy as it is, unless another one is asked about.
    s3.put_bucket_policy(Bucket=name, Policy=policy(
        statement("Deny", "s3:*", f"arn:aws:s3:::{name}/red/*", Principal="*", Sid="Shut")))
    assert ask("--user", "ann", *red)[1] == [("explicitDeny", "resource policy", "Shut")]
    assert ask("--as", root.key[0], *red)[1] == [("explicitDeny", "resource policy", "Shut")]
    assert not json.loads(server.command("why", f"s3://{name}/red/k", "--as", key, "--json").stdout)["allowed"]

    ask("--user", "nobody", *red, code=3)
    ask("--as", "AKNOBODYSKEY", *red, code=3)
