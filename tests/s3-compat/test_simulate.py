"""What policies would decide: `weir policy simulate`, and IAM's simulator through its clients."""

import json
import subprocess
import uuid

import boto3
import everyday
import pytest
import weir
from botocore.config import Config
from botocore.exceptions import ClientError

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


def refused(call, **parameters):
    with pytest.raises(ClientError) as caught:
        call(**parameters)
    answer = caught.value.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"]


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

    # A role with the policy of whom it trusts: the account, which leaves it to the user's own policies.
    role = ["--resource", f"arn:aws:iam::{root.account}:role/writer", "--action"]
    assert ask("--user", "ann", *role, "sts:AssumeRole")[1][0][0] == "implicitDeny"
    root.put_user_policy(UserName="ann", PolicyName="more", PolicyDocument=policy(statement("Allow", ["sts:AssumeRole", "iam:GetRole"])))
    assert ask("--user", "ann", *role, "sts:AssumeRole", "--action", "iam:GetRole")[1][0][0] == "allowed"

    ask("--user", "nobody", *red, code=3)
    ask("--as", "AKNOBODYSKEY", *red, code=3)


# ---- IAM's simulator ----

EXAMPLE = ('{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:Get*","Resource":"*","Condition":'
           '{"DateGreaterThan":{"aws:CurrentTime":"2018-08-16T12:00:00Z"}}}}')


def test_custom_policies_are_simulated(root):
    def simulate(*policies, actions=("s3:GetObject",), **more):
        answer = root.simulate_custom_policy(PolicyInputList=list(policies), ActionNames=list(actions), **more)
        assert not answer["IsTruncated"]
        return answer["EvaluationResults"]

    [result] = simulate(EXAMPLE)
    assert (result["EvalDecision"], result["MissingContextValues"]) == ("implicitDeny", ["aws:CurrentTime"])
    assert (result["EvalActionName"], result["EvalResourceName"], result["MatchedStatements"]) == ("s3:GetObject", "*", [])
    assert "ResourceSpecificResults" not in result
    time = {"ContextKeyName": "aws:CurrentTime", "ContextKeyValues": ["2019-04-25T11:00:00Z"], "ContextKeyType": "date"}
    [result] = simulate(EXAMPLE, ContextEntries=[time])
    assert (result["EvalDecision"], result["MissingContextValues"]) == ("allowed", [])
    [matched] = result["MatchedStatements"]
    assert matched["SourcePolicyId"] == "PolicyInputList.1"
    assert matched["StartPosition"] == {"Line": 1, "Column": 38}
    assert matched["EndPosition"] == {"Line": 1, "Column": len(EXAMPLE)}

    both = [policy(statement("Allow", "s3:*")), policy(statement("Deny", "s3:*", "arn:aws:s3:::shut/*"))]
    arns = ["arn:aws:s3:::open/k", "arn:aws:s3:::shut/k"]
    results = simulate(*both, actions=["s3:GetObject", "s3:PutObject"], ResourceArns=arns)
    decisions = [(r["EvalActionName"], r["EvalResourceName"], r["EvalDecision"]) for r in results]
    assert decisions == [(action, arn, decision) for action in ("s3:GetObject", "s3:PutObject")
                         for arn, decision in zip(arns, ("allowed", "explicitDeny"))]
    [specific] = results[1]["ResourceSpecificResults"]
    assert (specific["EvalResourceName"], specific["EvalResourceDecision"]) == (arns[1], "explicitDeny")
    assert [m["SourcePolicyId"] for m in specific["MatchedStatements"]] == ["PolicyInputList.2"]

    [result] = simulate(both[0], PermissionsBoundaryPolicyInputList=[policy(statement("Allow", "s3:PutObject"))])
    assert result["EvalDecision"] == "implicitDeny"
    assert result["PermissionsBoundaryDecisionDetail"] == {"AllowedByPermissionsBoundary": False}

    bucket = policy(statement("Allow", "s3:*", "arn:aws:s3:::b/*", Principal={"AWS": ANN}))
    cross = {"ResourcePolicy": bucket, "ResourceArns": ["arn:aws:s3:::b/k"], "CallerArn": ANN}
    other = {"ResourceOwner": "arn:aws:iam::222222222222:root"}
    nothing = policy(statement("Allow", "iam:GetUser"))
    [result] = simulate(nothing, **cross)
    assert (result["EvalDecision"], result["MatchedStatements"][0]["SourcePolicyId"]) == ("allowed", "ResourcePolicy")
    assert simulate(nothing, **cross, **other)[0]["EvalDecision"] == "implicitDeny"
    assert simulate(both[0], **cross, **other)[0]["EvalDecision"] == "allowed"


def test_long_simulations_come_in_pages(root):
    arns = [f"arn:aws:s3:::b/{number}" for number in range(7)]
    asked = {"PolicyInputList": [policy(statement("Allow", "s3:GetObject"))], "ActionNames": ["s3:GetObject", "s3:PutObject"],
             "ResourceArns": arns}
    first = root.simulate_custom_policy(**asked, MaxItems=5)
    assert first["IsTruncated"] and len(first["EvaluationResults"]) == 5
    pages = root.get_paginator("simulate_custom_policy").paginate(**asked, PaginationConfig={"PageSize": 5})
    seen = [(r["EvalActionName"], r["EvalResourceName"]) for page in pages for r in page["EvaluationResults"]]
    assert seen == [(action, arn) for action in asked["ActionNames"] for arn in arns]
    assert refused(root.simulate_custom_policy, **asked, Marker="14") == (400, "InvalidInput")


def test_a_page_is_as_large_as_its_policies_allow(root):
    """Every statement that has a part is told with each answer: 4,000 of them in one, so few answers are on a page."""
    each = '{"Effect":"Allow","Action":"*","Resource":"*"}'
    large = '{"Version":"2012-10-17","Statement":[' + ",".join([each] * 200) + "]}"
    asked = {"PolicyInputList": [large] * 20, "ActionNames": ["s3:GetObject", "s3:PutObject"] * 20, "MaxItems": 1000}
    page = root.simulate_custom_policy(**asked)
    assert page["IsTruncated"] and 1 <= len(page["EvaluationResults"]) <= 6
    assert all(len(result["MatchedStatements"]) == 4000 for result in page["EvaluationResults"])
    rest = root.simulate_custom_policy(**asked, Marker=page["Marker"])
    assert rest["EvaluationResults"][0]["EvalDecision"] == "allowed"
    last = root.simulate_custom_policy(**asked, Marker="39")
    assert not last["IsTruncated"] and len(last["EvaluationResults"]) == 1


def test_principals_are_simulated(server, root):
    document = policy(statement("Allow", "s3:GetObject", "arn:aws:s3:::b/${aws:username}/*"))
    root.create_policy(PolicyName="homes", PolicyDocument=document)
    homes = f"arn:aws:iam::{root.account}:policy/homes"
    bob = root.create_user(UserName="bob", Path="/team/")["User"]["Arn"]
    root.attach_user_policy(UserName="bob", PolicyArn=homes)
    root.put_user_policy(UserName="bob", PolicyName="lists", PolicyDocument=policy(statement("Allow", "s3:ListBucket")))
    arn = "arn:aws:s3:::b/bob/k"

    def simulate(source, action="s3:GetObject", arn=arn, **more):
        answer = root.simulate_principal_policy(PolicySourceArn=source, ActionNames=[action], ResourceArns=[arn], **more)
        [result] = answer["EvaluationResults"]
        origins = [(m["SourcePolicyId"], m["SourcePolicyType"]) for m in result["MatchedStatements"]]
        return result["EvalDecision"], origins, result["MissingContextValues"]

    assert simulate(bob) == ("allowed", [("homes", "user-managed")], [])
    assert simulate(bob, "s3:ListBucket", "arn:aws:s3:::b") == ("allowed", [("user_bob_lists", "user")], [])
    assert simulate(bob, arn="arn:aws:s3:::b/ann/k")[0] == "implicitDeny"
    as_ann = {"CallerArn": f"arn:aws:iam::{root.account}:user/ann2"}
    assert simulate(bob, arn="arn:aws:s3:::b/ann2/k", **as_ann)[0] == "allowed"
    more = policy(statement("Deny", "*"))
    assert simulate(bob, PolicyInputList=[more])[:2] == ("explicitDeny", [("PolicyInputList.1", "IAM Policy")])

    root.create_role(RoleName="home", AssumeRolePolicyDocument=policy(
        {"Effect": "Allow", "Principal": {"AWS": root.account}, "Action": "sts:AssumeRole"}))
    root.attach_role_policy(RoleName="home", PolicyArn=homes)
    role = f"arn:aws:iam::{root.account}:role/home"
    assert simulate(role) == ("implicitDeny", [], ["aws:username"])

    keys = root.get_context_keys_for_principal_policy(PolicySourceArn=bob, PolicyInputList=[EXAMPLE])
    assert sorted(keys["ContextKeyNames"]) == ["aws:CurrentTime", "aws:username"]
    keys = root.get_context_keys_for_custom_policy(PolicyInputList=[EXAMPLE, document])
    assert keys["ContextKeyNames"] == ["aws:CurrentTime", "aws:username"]

    # Who may simulate, and whom.
    pair = root.create_access_key(UserName="bob")["AccessKey"]
    own = iam_of(server, pair["AccessKeyId"], pair["SecretAccessKey"])
    asked = {"ActionNames": ["s3:GetObject"], "PolicySourceArn": bob}
    assert refused(own.simulate_principal_policy, **asked) == (403, "AccessDenied")
    assert refused(own.simulate_custom_policy, PolicyInputList=[document], ActionNames=["s3:GetObject"]) == (403, "AccessDenied")
    root.put_user_policy(UserName="bob", PolicyName="simulates", PolicyDocument=policy(
        statement("Allow", "iam:SimulatePrincipalPolicy", bob)))
    assert own.simulate_principal_policy(**asked)["EvaluationResults"][0]["EvalDecision"] == "implicitDeny"
    assert refused(own.simulate_principal_policy, **asked | {"PolicySourceArn": role}) == (403, "AccessDenied")


def test_what_cannot_be_simulated_is_refused(root):
    good = {"PolicyInputList": [EXAMPLE], "ActionNames": ["s3:GetObject"]}
    for wrong in [
        {"PolicyInputList": ["{}"]},
        {"ActionNames": ["s3:Get*"]},
        {"ActionNames": ["s3:GetObjects"]},
        {"ResourceHandlingOption": "EC2-VPC-InstanceStore"},
        {"CallerArn": f"arn:aws:iam::{OWNER}:root"},
        {"ResourceOwner": "arn:aws:iam::1:root"},
        {"ResourcePolicy": policy(statement("Allow", "s3:*", Principal="*"))},
        {"ResourcePolicy": EXAMPLE, "CallerArn": ANN},
        {"PermissionsBoundaryPolicyInputList": [EXAMPLE, EXAMPLE]},
        {"ContextEntries": [{"ContextKeyName": "aws:CurrentTime", "ContextKeyValues": ["a", "b"], "ContextKeyType": "date"}]},
    ]:
        assert refused(root.simulate_custom_policy, **good | wrong) == (400, "InvalidInput"), wrong
    absent = f"arn:aws:iam::{root.account}:user/nobody"
    assert refused(root.simulate_principal_policy, PolicySourceArn=absent, ActionNames=["s3:GetObject"]) == (404, "NoSuchEntity")
    assert refused(root.get_context_keys_for_custom_policy, PolicyInputList=["{"]) == (400, "InvalidInput")


def test_the_command_line_of_aws_simulates(server, root, tmp_path):
    keys = {"AWS_ACCESS_KEY_ID": root.key[0], "AWS_SECRET_ACCESS_KEY": root.key[1]}
    entry = "ContextKeyName=aws:CurrentTime,ContextKeyValues=2019-04-25T11:00:00Z,ContextKeyType=date"
    command = [everyday.on_path("aws"), "--endpoint-url", server.endpoint, "--output", "json", "iam", "simulate-custom-policy",
               "--policy-input-list", EXAMPLE, "--action-names", "s3:GetObject", "--context-entries", entry]
    done = weir.run(command, env=weir.client_environment(server, tmp_path) | keys)
    assert json.loads(done.stdout)["EvaluationResults"][0]["EvalDecision"] == "allowed"
