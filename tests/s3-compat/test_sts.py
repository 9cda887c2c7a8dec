"""Temporary credentials with unmodified clients: STS by boto3 and aws, roles, and an issuer of OpenID Connect."""

import base64
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import boto3
import botocore.config
import botocore.exceptions
import pytest

import raw
import weir
from sigv4 import Signed

ISSUER = Path(__file__).parent / "issuer/issuer.mjs"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def issuer_port():
    return free_port()


@pytest.fixture(scope="module")
def sts_server(tmp_path_factory, issuer_port):
    flags = ["--local-issuer", f"127.0.0.1:{issuer_port}"]
    running = weir.Server(tmp_path_factory.mktemp("sts") / "data", flags=flags).start()
    running.run("key", "import", "--owner", "tenant", "--access-key", "TENANTROOT", "--secret-key", "the-tenants-own-secret")
    yield running
    assert running.stop() == 0


def client(server, service, key="TENANTROOT", secret="the-tenants-own-secret", token=None, **config):
    return boto3.client(
        service, endpoint_url=server.endpoint, region_name=weir.REGION, aws_access_key_id=key, aws_secret_access_key=secret,
        aws_session_token=token, config=botocore.config.Config(retries={"max_attempts": 1}, **config),
    )


def with_credentials(server, service, credentials, **config):
    key, secret = credentials["AccessKeyId"], credentials["SecretAccessKey"]
    return client(server, service, key, secret, credentials["SessionToken"], **config)


def refused(call, *arguments, **named):
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        call(*arguments, **named)
    answer = caught.value.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"]


def send(server, request):
    with raw.Connection(server.port) as connection:
        connection.send(request.bytes())
        return connection.answer()


def policy(**statement):
    return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow"} | statement]})


@pytest.fixture(scope="module")
def account(sts_server):
    return client(sts_server, "sts").get_caller_identity()["Account"]


@pytest.fixture(scope="module")
def folder(sts_server):
    s3 = client(sts_server, "s3")
    s3.create_bucket(Bucket="sts-data")
    for key in ("a/1", "b/1"):
        s3.put_object(Bucket="sts-data", Key=key, Body=key.encode())
    return s3


@pytest.fixture(scope="module")
def bob(sts_server, account):
    """A user of the tenant, who may assume roles that leave it to the account."""
    iam = client(sts_server, "iam")
    iam.create_user(UserName="bob")
    iam.put_user_policy(UserName="bob", PolicyName="p", PolicyDocument=policy(Action="sts:AssumeRole", Resource="*"))
    key = iam.create_access_key(UserName="bob")["AccessKey"]
    return key["AccessKeyId"], key["SecretAccessKey"]


@pytest.fixture(scope="module")
def reader(sts_server, account):
    """A role that may read all of the bucket."""
    iam = client(sts_server, "iam")
    trust = policy(Principal={"AWS": f"arn:aws:iam::{account}:root"}, Action="sts:AssumeRole")
    arn = iam.create_role(RoleName="reader", AssumeRolePolicyDocument=trust)["Role"]["Arn"]
    permission = policy(Action=["s3:GetObject", "s3:ListBucket"], Resource=["arn:aws:s3:::sts-data", "arn:aws:s3:::sts-data/*"])
    iam.put_role_policy(RoleName="reader", PolicyName="read", PolicyDocument=permission)
    return arn


def test_callers_are_told_who_they_are(sts_server, account, bob):
    root = client(sts_server, "sts").get_caller_identity()
    assert re.fullmatch(r"\d{12}", account) and root["Arn"] == f"arn:aws:iam::{account}:root"
    user = client(sts_server, "sts", *bob).get_caller_identity()
    assert user["Arn"] == f"arn:aws:iam::{account}:user/bob" and user["UserId"].startswith("AIDA")
    assert refused(client(sts_server, "sts", bob[0], "a-wrong-secret").get_caller_identity) == (403, "SignatureDoesNotMatch")
    assert refused(client(sts_server, "sts", "UNKNOWN", "secret-of-it").get_caller_identity) == (403, "InvalidClientTokenId")


def test_aws_tells_who_it_is(sts_server, tmp_path, require):
    environment = weir.client_environment(sts_server, tmp_path)
    command = [require("aws"), "--endpoint-url", sts_server.endpoint, "sts", "get-caller-identity"]
    told = json.loads(subprocess.run(command, env=environment, capture_output=True, check=True, timeout=60).stdout)
    assert told["Arn"].endswith(":root")


def test_a_session_does_what_its_root_does(sts_server, folder):
    credentials = client(sts_server, "sts").get_session_token(DurationSeconds=900)["Credentials"]
    assert credentials["AccessKeyId"].startswith("ASIA")
    s3 = with_credentials(sts_server, "s3", credentials)
    # Chunks are signed with the session's secret too, and URLs and forms carry the token.
    s3.put_object(Bucket="sts-data", Key="big", Body=os.urandom(300_000), ChecksumAlgorithm="SHA256")
    assert s3.head_object(Bucket="sts-data", Key="big")["ContentLength"] == 300_000
    s3v4 = with_credentials(sts_server, "s3", credentials, signature_version="s3v4")
    url = s3v4.generate_presigned_url("get_object", {"Bucket": "sts-data", "Key": "a/1"})
    assert "X-Amz-Security-Token=" in url and urllib.request.urlopen(url, timeout=10).read() == b"a/1"
    form = s3v4.generate_presigned_post("sts-data", "posted")
    fields = form["fields"] | {"file": "posted"}
    assert "x-amz-security-token" in fields
    boundary = "xxBoundaryxx"
    parts = "".join(
        f'--{boundary}\r\ncontent-disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in fields.items()
    )
    request = urllib.request.Request(
        form["url"], f"{parts}--{boundary}--\r\n".encode(), {"content-type": f"multipart/form-data; boundary={boundary}"}
    )
    assert urllib.request.urlopen(request, timeout=10).status == 204
    assert folder.get_object(Bucket="sts-data", Key="posted")["Body"].read() == b"posted"
    assert refused(with_credentials(sts_server, "sts", credentials).get_session_token) == (403, "AccessDenied")


def test_tokens_are_of_their_key_and_whole(sts_server, folder):
    sts = client(sts_server, "sts")
    one, two = (sts.get_session_token()["Credentials"] for _ in range(2))

    def get(**changes):
        credentials = one | changes
        return refused(with_credentials(sts_server, "s3", credentials).get_object, Bucket="sts-data", Key="a/1")

    token = one["SessionToken"]
    assert get(SessionToken=two["SessionToken"]) == (400, "InvalidToken")
    assert get(SessionToken=token[:-1]) == (400, "InvalidToken")
    assert get(SessionToken="garbage") == (400, "InvalidToken")
    assert get(SessionToken=None) == (403, "InvalidAccessKeyId")
    assert get(AccessKeyId="ASIA" + "A" * 16) == (400, "InvalidToken")
    assert get(AccessKeyId="ASIA" + "A" * 16, SessionToken=None) == (403, "InvalidAccessKeyId")
    assert get(SecretAccessKey=two["SecretAccessKey"]) == (403, "SignatureDoesNotMatch")
    # A key that lasts has no token.
    other = client(sts_server, "s3", token=token)
    assert refused(other.get_object, Bucket="sts-data", Key="a/1") == (400, "InvalidToken")
    unsigned = Signed(
        sts_server, "GET", "/sts-data/a/1", key=one["AccessKeyId"], secret=one["SecretAccessKey"],
        unsigned={"x-amz-security-token": token},
    )
    assert send(sts_server, unsigned).code == "AccessDenied"


def test_a_signature_is_for_one_service(sts_server, folder):
    signed = {"key": "TENANTROOT", "secret": "the-tenants-own-secret"}
    answer = send(sts_server, Signed(sts_server, "GET", "/sts-data/a/1", service="sts", **signed))
    assert (answer.status, answer.code) == (400, "AuthorizationHeaderMalformed")
    body = b"Action=GetCallerIdentity&Version=2011-06-15"
    form = {"content-type": "application/x-www-form-urlencoded"}
    for service, status in (("s3", 403), ("iam", 403), ("sts", 200)):
        request = Signed(sts_server, "POST", "/", headers=form, body=body, service=service, **signed)
        assert send(sts_server, request).status == status, service


def test_a_role_is_assumed_and_limited(sts_server, folder, account, bob, reader):
    sts = client(sts_server, "sts", *bob)
    given = sts.assume_role(RoleArn=reader, RoleSessionName="me")
    assert given["AssumedRoleUser"]["Arn"] == f"arn:aws:sts::{account}:assumed-role/reader/me"
    who = with_credentials(sts_server, "sts", given["Credentials"]).get_caller_identity()
    assert who["Arn"] == given["AssumedRoleUser"]["Arn"]
    s3 = with_credentials(sts_server, "s3", given["Credentials"])
    assert s3.get_object(Bucket="sts-data", Key="b/1")["Body"].read() == b"b/1"
    assert refused(s3.put_object, Bucket="sts-data", Key="new", Body=b"") == (403, "AccessDenied")
    assert refused(client(sts_server, "s3", *bob).get_object, Bucket="sts-data", Key="a/1") == (403, "AccessDenied")

    limit = policy(Action="s3:GetObject", Resource="arn:aws:s3:::sts-data/a/*")
    given = sts.assume_role(RoleArn=reader, RoleSessionName="me", Policy=limit, DurationSeconds=900)
    assert 0 < given["PackedPolicySize"] <= 100
    s3 = with_credentials(sts_server, "s3", given["Credentials"])
    assert s3.get_object(Bucket="sts-data", Key="a/1")["Body"].read() == b"a/1"
    assert refused(s3.get_object, Bucket="sts-data", Key="b/1") == (403, "AccessDenied")
    assert refused(s3.list_objects_v2, Bucket="sts-data") == (403, "AccessDenied")

    absent = reader.replace("reader", "absent")
    assert refused(sts.assume_role, RoleArn=absent, RoleSessionName="me") == (403, "AccessDenied")
    for bad in ({"DurationSeconds": 3601}, {"RoleSessionName": "a b"}, {"SourceIdentity": "bob"}):
        assert refused(sts.assume_role, **({"RoleArn": reader, "RoleSessionName": "me"} | bad)) == (400, "ValidationError")
    assert refused(sts.assume_role, RoleArn=reader, RoleSessionName="me", Policy="{") == (400, "MalformedPolicyDocument")


def test_a_role_that_is_gone_takes_its_sessions_along(sts_server, folder, account, bob):
    iam = client(sts_server, "iam")
    trust = policy(Principal={"AWS": f"arn:aws:iam::{account}:user/bob"}, Action="sts:AssumeRole")
    arn = iam.create_role(RoleName="short", AssumeRolePolicyDocument=trust)["Role"]["Arn"]
    iam.put_role_policy(RoleName="short", PolicyName="p", PolicyDocument=policy(Action="s3:*", Resource="*"))
    s3 = with_credentials(sts_server, "s3", client(sts_server, "sts", *bob).assume_role(RoleArn=arn, RoleSessionName="me")["Credentials"])
    assert s3.get_object(Bucket="sts-data", Key="a/1")["Body"].read() == b"a/1"
    # What the role may is looked up at each request.
    iam.delete_role_policy(RoleName="short", PolicyName="p")
    assert refused(s3.get_object, Bucket="sts-data", Key="a/1") == (403, "AccessDenied")
    iam.delete_role(RoleName="short")
    iam.create_role(RoleName="short", AssumeRolePolicyDocument=trust)
    iam.put_role_policy(RoleName="short", PolicyName="p", PolicyDocument=policy(Action="s3:*", Resource="*"))
    assert refused(s3.get_object, Bucket="sts-data", Key="a/1") == (403, "AccessDenied")


def test_sessions_outlive_a_restart_and_a_new_sealing_key(sts_server, folder):
    credentials = client(sts_server, "sts").get_session_token()["Credentials"]
    assert "weir/sessions/2" in sts_server.run("kms", "rotate", "weir/sessions").stdout
    assert sts_server.stop() == 0
    sts_server.start()
    s3 = with_credentials(sts_server, "s3", credentials)
    assert s3.get_object(Bucket="sts-data", Key="a/1")["Body"].read() == b"a/1"


@pytest.fixture(scope="module")
def issuer(issuer_port):
    modules = os.environ.get("WEIR_NODE_MODULES")
    if not modules or not shutil.which("node"):
        pytest.skip("node, or the issuer's packages, are not installed")
    process = subprocess.Popen(["node", str(ISSUER), str(issuer_port)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        assert process.stdout.readline() == b"ready\n"
        yield f"http://127.0.0.1:{issuer_port}"
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def token_of(issuer, pod):
    authorization = base64.b64encode(f"{pod}:the-secret-of-{pod}".encode()).decode()
    request = urllib.request.Request(
        f"{issuer}/token", urllib.parse.urlencode({"grant_type": "client_credentials"}).encode(),
        {"authorization": f"Basic {authorization}"},
    )
    return json.load(urllib.request.urlopen(request, timeout=10))["access_token"]


@pytest.fixture(scope="module")
def pod_role(sts_server, account, issuer):
    iam = client(sts_server, "iam")
    provider = iam.create_open_id_connect_provider(Url=issuer, ClientIDList=["weir"])["OpenIDConnectProviderArn"]
    name = issuer.removeprefix("http://")
    trust = policy(
        Principal={"Federated": provider}, Action="sts:AssumeRoleWithWebIdentity",
        Condition={"StringEquals": {f"{name}:sub": "pod-7", f"{name}:aud": "weir"}},
    )
    arn = iam.create_role(RoleName="pod", AssumeRolePolicyDocument=trust)["Role"]["Arn"]
    iam.put_role_policy(
        RoleName="pod", PolicyName="read", PolicyDocument=policy(Action="s3:GetObject", Resource="arn:aws:s3:::sts-data/*")
    )
    return arn


def test_a_pod_reads_with_three_variables(sts_server, folder, issuer, pod_role, tmp_path):
    token = tmp_path / "token"
    token.write_text(token_of(issuer, "pod-7"))
    script = "import boto3; print(boto3.client('s3').get_object(Bucket='sts-data', Key='a/1')['Body'].read().decode())"
    environment = weir.clean_environment() | {
        "HOME": str(tmp_path), "AWS_EC2_METADATA_DISABLED": "true", "AWS_DEFAULT_REGION": weir.REGION,
        "AWS_ROLE_ARN": pod_role, "AWS_WEB_IDENTITY_TOKEN_FILE": str(token), "AWS_ENDPOINT_URL": sts_server.endpoint,
    }
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "a/1\n"), done.stderr


def test_other_web_identities_are_refused(sts_server, issuer, pod_role):
    sts = boto3.client(
        "sts", endpoint_url=sts_server.endpoint, region_name=weir.REGION,
        config=botocore.config.Config(signature_version=botocore.UNSIGNED, retries={"max_attempts": 0}),
    )

    def assume(token, role=pod_role):
        return refused(sts.assume_role_with_web_identity, RoleArn=role, RoleSessionName="me", WebIdentityToken=token)

    good = token_of(issuer, "pod-7")
    given = sts.assume_role_with_web_identity(RoleArn=pod_role, RoleSessionName="me", WebIdentityToken=good)
    assert given["SubjectFromWebIdentityToken"] == "pod-7" and given["Audience"] == "weir"
    assert assume(token_of(issuer, "pod-8")) == (403, "IDPRejectedClaim")
    header, payload, signature = good.split(".")
    none = base64.urlsafe_b64encode(b'{"alg":"none"}').decode().rstrip("=")
    assert assume(f"{none}.{payload}.{signature}") == (400, "InvalidIdentityToken")
    assert assume(f"{header}.{payload}.{'A' * len(signature)}") == (400, "InvalidIdentityToken")
    assert assume(good, pod_role.replace(":role/pod", ":role/absent")) == (403, "AccessDenied")
    stranger = json.dumps({"iss": "http://127.0.0.1:1", "sub": "pod-7", "aud": "weir", "exp": 4_000_000_000})
    stranger = base64.urlsafe_b64encode(stranger.encode()).decode().rstrip("=")
    assert assume(f"{header}.{stranger}.{signature}") == (400, "InvalidIdentityToken")


def test_sessions_are_revoked(sts_server, folder, account, bob, reader, issuer, pod_role):
    anonymous = boto3.client(
        "sts", endpoint_url=sts_server.endpoint, region_name=weir.REGION,
        config=botocore.config.Config(signature_version=botocore.UNSIGNED, retries={"max_attempts": 0}),
    )

    def of_root():
        return client(sts_server, "sts").get_session_token()["Credentials"]

    def of_bob():
        return client(sts_server, "sts", *bob).get_session_token()["Credentials"]

    def of_role():
        return client(sts_server, "sts", *bob).assume_role(RoleArn=reader, RoleSessionName="me")["Credentials"]

    token = token_of(issuer, "pod-7")

    def of_pod():
        asked = {"RoleArn": pod_role, "RoleSessionName": "me", "WebIdentityToken": token}
        return anonymous.assume_role_with_web_identity(**asked)["Credentials"]

    def read(credentials):
        try:
            with_credentials(sts_server, "s3", credentials).get_object(Bucket="sts-data", Key="a/1")
        except botocore.exceptions.ClientError as error:
            return error.response["Error"]["Code"]
        return "read"

    def revoke(*of):
        return sts_server.run("session", "revoke", "--account", account, *of).stdout

    # Bob himself may read nothing: that his session is his is seen in who it is.
    def is_bobs(credentials):
        try:
            return with_credentials(sts_server, "sts", credentials).get_caller_identity()["Arn"].endswith("user/bob")
        except botocore.exceptions.ClientError as error:
            return error.response["Error"]["Code"]

    root, role, pod, bobs = of_root(), of_role(), of_pod(), of_bob()
    assert [read(it) for it in (root, role, pod)] == ["read"] * 3 and is_bobs(bobs) is True
    assert revoke("--role", "reader") == "revoked the sessions of the role reader\n"
    assert [read(it) for it in (root, role, pod)] == ["read", "AccessDenied", "read"]
    assert read(of_role()) == "read", "a session that began later"
    revoke("--user", "bob")
    assert is_bobs(bobs) == "AccessDenied" and is_bobs(of_bob()) is True
    revoke("--issuer", issuer)
    assert [read(root), read(pod)] == ["read", "AccessDenied"]
    assert refused(of_pod) == (400, "InvalidIdentityToken"), "the token is older too"
    revoke()
    assert read(root) == "AccessDenied" and read(of_root()) == "read"
    done = weir.run([weir.binary(), "session", "revoke", "--role", "absent"], env=sts_server.environment(), may_fail=True)
    assert done.returncode != 0 and "absent" in done.stderr
    time.sleep(1.1)
    token = token_of(issuer, "pod-7")
    assert read(of_pod()) == "read"


def test_no_secret_is_in_the_log_or_in_a_refusal(sts_server, folder, bob, reader, tmp_path):
    """Every secret that this file's tests used, and those of a few failures more."""
    sts = client(sts_server, "sts", *bob)
    credentials = sts.assume_role(RoleArn=reader, RoleSessionName="me")["Credentials"]
    sessions = [credentials["SecretAccessKey"], credentials["SessionToken"]]
    secrets = [weir.SECRET_KEY, "the-tenants-own-secret", bob[1], *sessions]
    told = []
    for changes in ({}, {"SecretAccessKey": "x" * 40}, {"SessionToken": credentials["SessionToken"] + "A"}):
        for service, call, named in (
            ("s3", "put_object", {"Bucket": "sts-data", "Key": "new", "Body": b"x"}),
            ("sts", "get_session_token", {}),
            ("iam", "list_users", {}),
        ):
            session = with_credentials(sts_server, service, credentials | changes)
            with pytest.raises(botocore.exceptions.ClientError) as caught:
                getattr(session, call)(**named)
            told.append(json.dumps(caught.value.response, default=str))
    url = with_credentials(sts_server, "s3", credentials, signature_version="s3v4").generate_presigned_url(
        "put_object", {"Bucket": "sts-data", "Key": "new"}
    )
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(urllib.request.Request(url, b"x", method="PUT"), timeout=10)
    told.append(caught.value.read().decode())
    told.append(sts_server.log.read_text())
    root = (sts_server.data / "control/root.key").read_text().strip()
    for secret in [*secrets, root]:
        assert not any(secret in text or urllib.parse.quote(secret, safe="") in text for text in told)


def test_the_memory_is_closed(sts_server):
    """Not dumpable: what /proc shows of the process is root's, and new files are their owner's alone."""
    status = Path(f"/proc/{sts_server.process.pid}/status").read_text()
    assert re.search(r"^Umask:\s+0077$", status, re.M)
    limits = Path(f"/proc/{sts_server.process.pid}/limits").read_text()
    assert re.search(r"^Max core file size\s+0\s", limits, re.M)
    open_to_others = [path for path in sts_server.data.rglob("*") if path.is_file() and path.stat().st_mode & 0o077]
    assert open_to_others == []


def test_only_test_mode_has_an_account_without_a_number(tmp_path):
    flags = ["--test-mode", "--test-account-without-number", "ceph"]
    server = weir.Server(tmp_path / "data", flags=flags).start()
    server.run("key", "import", "--owner", "ceph", "--access-key", "CEPHROOT", "--secret-key", "the-secret-of-ceph")
    server.run("key", "import", "--owner", "other", "--access-key", "OTHERROOT", "--secret-key", "the-secret-of-other")
    trust = policy(Principal={"AWS": "arn:aws:iam:::user/bob"}, Action="sts:AssumeRole")
    iam, other = (client(server, "iam", f"{name.upper()}ROOT", f"the-secret-of-{name}") for name in ("ceph", "other"))
    assert iam.create_role(RoleName="r", AssumeRolePolicyDocument=trust)["Role"]["Arn"] == "arn:aws:iam:::role/r"
    assert other.create_role(RoleName="r", AssumeRolePolicyDocument=trust)["Role"]["Arn"] != "arn:aws:iam:::role/r"
    assert server.stop() == 0
    command = [weir.binary(), "serve", "--data", str(tmp_path / "data"), "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]
    ended = subprocess.run(command, env=server.environment(), capture_output=True, text=True, timeout=30)
    assert ended.returncode == 4 and "without a number" in ended.stderr


def test_a_role_of_no_account_is_no_principal(sts_server, folder):
    trust = policy(Principal={"AWS": "arn:aws:iam:::role/reader"}, Action="sts:AssumeRole")
    iam = client(sts_server, "iam")
    wrong = (400, "MalformedPolicyDocument")
    assert refused(iam.create_role, RoleName="strange", AssumeRolePolicyDocument=trust) == wrong
    for role in ("role/reader", "assumed-role/reader/me"):
        public = policy(Principal={"AWS": f"arn:aws:iam:::{role}"}, Action="s3:GetObject", Resource="arn:aws:s3:::sts-data/*")
        assert refused(folder.put_bucket_policy, Bucket="sts-data", Policy=public) == (400, "MalformedPolicy")


def test_a_known_pair_is_refused_off_loopback(tmp_path):
    command = [weir.binary(), "serve", "--data", str(tmp_path / "data"), "--listen", "0.0.0.0:0", "--plain-http"]
    environment = weir.clean_environment() | {"WEIR_ADMIN_ACCESS_KEY": "minioadmin", "WEIR_ADMIN_SECRET_KEY": "minioadmin"}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30)
    assert ended.returncode == 4 and "everybody knows" in ended.stderr
    assert not (tmp_path / "data").exists()
