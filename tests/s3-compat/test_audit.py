"""The audit log of a real server: what it says of allowed, denied, anonymous and wrongly signed requests, that a client cannot
forge its lines, and that `weir audit verify` finds what was done to them."""

import base64
import hashlib
import json
import os
import select
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.request

import boto3
import botocore.config
import botocore.exceptions
import pytest

import raw
import sigv4
import weir
from accounts import nobody, refused

CHECKPOINTS = ["--audit-checkpoint-seconds", "1"]


def lines(path):
    whole, _, _ = path.read_bytes().rpartition(b"\n")
    return [json.loads(line) for line in whole.decode().split("\n") if line]


def decisions(path, **members):
    """The decisions of which these members are so."""
    found = [line for line in lines(path) if line["kind"] == "decision"]
    return [line for line in found if all(line.get(name) == value for name, value in members.items())]


def eventually(path, count=1, **members):
    """A line is written soon after its answer, and not before it."""
    for _ in range(100):
        found = decisions(path, **members)
        if len(found) >= count:
            return found
        time.sleep(0.05)
    raise AssertionError(f"{len(found)} of {count} lines {members} in\n{path.read_text()[-6000:]}")


def client(server, service, key, secret, token=None, user_agent=None):
    config = botocore.config.Config(retries={"max_attempts": 1}, user_agent=user_agent, s3={"addressing_style": "path"})
    return boto3.client(
        service, endpoint_url=server.endpoint, region_name=weir.REGION, aws_access_key_id=key, aws_secret_access_key=secret,
        aws_session_token=token, config=config,
    )


class Audited:
    def __init__(self, folder, *flags):
        self.log = folder / "audit.log"
        self.server = weir.Server(folder / "data", flags=["--audit-log", str(self.log), *CHECKPOINTS, *flags])

    def start(self):
        self.server.start()
        return self

    def verify(self, *arguments, files=None):
        files = files or sorted(self.log.parent.glob("audit.log*"))
        return self.server.command("audit", "verify", *map(str, files), "--data", str(self.server.data), *arguments)

    def assert_whole(self):
        done = self.verify()
        assert done.returncode == 0, done.stderr
        assert "chain whole" in done.stdout.splitlines()[-1]
        return done


@pytest.fixture(scope="module")
def audited(tmp_path_factory):
    running = Audited(tmp_path_factory.mktemp("audit")).start()
    yield running
    if running.server.process:
        running.server.kill()


@pytest.fixture
def own(tmp_path):
    running = Audited(tmp_path)
    yield running
    if running.server.process:
        running.server.kill()


POLICY = {
    "Version": "2012-10-17",
    "Statement": [
        {"Sid": "WritesAreFine", "Effect": "Allow", "Action": ["s3:PutObject", "s3:GetObject"], "Resource": "*"},
        {"Sid": "NotTheSecret", "Effect": "Deny", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::*/secret/*"},
        {"Sid": "NoPolicies", "Effect": "Deny", "Action": "iam:*", "Resource": "*"},
    ],
}


@pytest.fixture(scope="module")
def user(audited):
    """A user with a policy, made over IAM by the account's root, with all secrets of the run."""
    server = audited.server
    server.run("key", "import", "--owner", "tenant", "--access-key", "TENANTROOT", "--secret-key", "the-tenants-own-secret",
               "--tenant", "acme")
    iam = client(server, "iam", "TENANTROOT", "the-tenants-own-secret")
    iam.create_user(UserName="ann")
    iam.put_user_policy(UserName="ann", PolicyName="anns", PolicyDocument=json.dumps(POLICY))
    made = iam.create_access_key(UserName="ann")["AccessKey"]
    bucket = "audited-bucket"
    client(server, "s3", "TENANTROOT", "the-tenants-own-secret").create_bucket(Bucket=bucket)
    return {"key": made["AccessKeyId"], "secret": made["SecretAccessKey"], "bucket": bucket}


def test_what_was_allowed_says_by_what(audited, user):
    s3 = client(audited.server, "s3", user["key"], user["secret"], user_agent="an auditor/1.0")
    answer = s3.put_object(Bucket=user["bucket"], Key="a/b", Body=b"12345")
    (line,) = eventually(audited.log, operation="PutObject", resource=f"arn:aws:s3:::{user['bucket']}/a/b")
    assert line["request_id"] == answer["ResponseMetadata"]["RequestId"]
    assert (line["decision"], line["decided_by"]) == ("allow", "statement")
    assert (line["deciding_policy"], line["deciding_statement"]) == ("anns", "WritesAreFine")
    assert line["principal"].endswith(":user/ann") and line["account"] in line["principal"] and line["tenant"] == "acme"
    assert (line["auth_type"], line["access_key"]) == ("sigv4-header", user["key"])
    assert (line["listener"], line["source_ip"], line["user_agent"].split(" Bot")[0]) == ("data", "127.0.0.1", "an auditor/1.0")
    assert (line["class"], line["action"], line["status"]) == ("write", "s3:PutObject", 200)
    assert line["bytes_in"] == 5 and line["bytes_out"] == 0 and line["duration_us"] > 0
    # What is read and allowed has no line, unless it is asked for.
    s3.get_object(Bucket=user["bucket"], Key="a/b")["Body"].read()
    s3.put_object(Bucket=user["bucket"], Key="after", Body=b"")
    eventually(audited.log, resource=f"arn:aws:s3:::{user['bucket']}/after")
    assert decisions(audited.log, operation="GetObject", decision="allow") == []


def test_what_was_denied_says_by_what(audited, user):
    s3 = client(audited.server, "s3", user["key"], user["secret"])
    bucket = user["bucket"]
    assert refused(s3.get_object, Bucket=bucket, Key="secret/x") == (403, "AccessDenied")
    (line,) = eventually(audited.log, operation="GetObject", resource=f"arn:aws:s3:::{bucket}/secret/x")
    assert (line["decision"], line["reason_class"], line["error_code"]) == ("deny", "explicit_deny", "AccessDenied")
    assert (line["deciding_policy"], line["deciding_statement"]) == ("anns", "NotTheSecret")
    assert refused(s3.delete_object, Bucket=bucket, Key="a/b") == (403, "AccessDenied")
    (line,) = eventually(audited.log, operation="DeleteObject")
    assert (line["action"], line["reason_class"], line["decided_by"]) == ("s3:DeleteObject", "no_allow", "nothing")
    # A HEAD has no document that says why, and a line that does.
    assert refused(s3.head_object, Bucket=bucket, Key="secret/y")[0] == 403
    (line,) = eventually(audited.log, operation="HeadObject")
    assert (line["status"], line["error_code"], line["deciding_statement"]) == (403, "AccessDenied", "NotTheSecret")


def test_each_key_that_is_refused_has_a_line(audited, user):
    s3 = client(audited.server, "s3", user["key"], user["secret"])
    keys = [{"Key": f"many/{number}"} for number in range(5)]
    answer = s3.delete_objects(Bucket=user["bucket"], Delete={"Objects": keys})
    assert len(answer["Errors"]) == 5
    found = eventually(audited.log, count=6, operation="DeleteObjects")
    request_ids = {line["request_id"] for line in found}
    assert request_ids == {answer["ResponseMetadata"]["RequestId"]}
    denied = [line for line in found if line["decision"] == "deny"]
    assert sorted(line["resource"][-6:] for line in denied) == [f"many/{number}" for number in range(5)]
    assert {line["reason_class"] for line in denied} == {"no_allow"}
    assert [line["status"] for line in found if line["decision"] == "allow"] == [200]


def test_nobody_and_who_signs_wrongly(audited, user):
    server, bucket = audited.server, user["bucket"]
    assert refused(nobody(server).get_object, Bucket=bucket, Key="a/b") == (403, "AccessDenied")
    (line,) = eventually(audited.log, auth_type="anonymous", operation="GetObject")
    assert (line["decision"], line["reason_class"]) == ("deny", "no_allow")
    assert "principal" not in line and "access_key" not in line

    wrong = client(server, "s3", user["key"], "not-the-secret-of-ann")
    assert refused(wrong.list_objects_v2, Bucket=bucket)[1] == "SignatureDoesNotMatch"
    (line,) = eventually(audited.log, error_code="SignatureDoesNotMatch")
    assert (line["decision"], line["reason_class"], line["access_key"]) == ("deny", "signature", user["key"])
    assert "principal" not in line and line["resource"] == f"arn:aws:s3:::{bucket}"

    unknown = client(server, "s3", "NOBODYSKEY0000000001", "some-secret-of-nobody")
    assert refused(unknown.list_buckets)[1] == "InvalidAccessKeyId"
    (line,) = eventually(audited.log, error_code="InvalidAccessKeyId")
    assert (line["reason_class"], line["access_key"]) == ("key_unknown", "NOBODYSKEY0000000001")

    # A presigned URL that is too old.
    target = sigv4.presigned(server, "GET", f"/{bucket}/a/b", expires="60", minutes=-10)
    assert raw.ask(server, f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n\r\n".encode()).status == 403
    (line,) = eventually(audited.log, auth_type="sigv4-query")
    assert (line["decision"], line["access_key"]) == ("deny", weir.ACCESS_KEY) and line["reason_class"] == "expired"

    # A header that is no signature.
    host = f"127.0.0.1:{server.port}"
    raw.ask(server, f"PUT /{bucket}/m HTTP/1.1\r\nHost: {host}\r\nAuthorization: AWS4-HMAC-SHA256 junk\r\n\r\n".encode())
    (line,) = eventually(audited.log, reason_class="malformed")
    assert (line["decision"], line["status"], line["class"]) == ("deny", 400, "write")


def test_iam_sts_and_the_admin_api(audited, user):
    server = audited.server
    (line,) = eventually(audited.log, operation="iam:CreateUser")
    assert (line["class"], line["decision"], line["decided_by"]) == ("control", "allow", "root")
    assert line["action"] == "iam:CreateUser" and line["resource"].endswith(":user/ann")
    iam = client(server, "iam", user["key"], user["secret"])
    assert refused(iam.create_user, UserName="eve")[1] == "AccessDenied"
    (line,) = eventually(audited.log, operation="iam:CreateUser", decision="deny")
    assert (line["reason_class"], line["deciding_statement"]) == ("explicit_deny", "NoPolicies")
    assert line["resource"].endswith(":user/eve") and line["principal"].endswith(":user/ann")

    sts = client(server, "sts", user["key"], user["secret"])
    sts.get_caller_identity()
    (line,) = eventually(audited.log, operation="sts:GetCallerIdentity")
    assert (line["decision"], line["class"]) == ("allow", "control")
    account = line["account"]
    role = f"arn:aws:iam::{account}:role/absent"
    assert refused(sts.assume_role, RoleArn=role, RoleSessionName="session")[1] == "AccessDenied"
    (line,) = eventually(audited.log, operation="sts:AssumeRole")
    assert (line["decision"], line["reason_class"]) == ("deny", "role_unknown")
    token = "e30.e30.c2VjcmV0"
    unsigned = boto3.client("sts", endpoint_url=server.endpoint, region_name=weir.REGION,
                            config=botocore.config.Config(signature_version=botocore.UNSIGNED))
    refused(unsigned.assume_role_with_web_identity, RoleArn=role, RoleSessionName="session", WebIdentityToken=token)
    (line,) = eventually(audited.log, operation="sts:AssumeRoleWithWebIdentity")
    assert (line["auth_type"], line["decision"]) == ("web-identity", "deny") and line["reason_class"]

    assert server.command("key", "list").returncode == 0
    (line, *_) = eventually(audited.log, operation="weir:ListKeys")
    assert (line["listener"], line["class"], line["decision"]) == ("admin", "control", "allow")
    assert (line["decided_by"], line["action"], line["resource"]) == ("administrator", "weir:Administer", "/api/v1/keys")
    environment = server.environment() | {"WEIR_ADMIN_ACCESS_KEY": user["key"], "WEIR_ADMIN_SECRET_KEY": user["secret"]}
    assert weir.run([weir.binary(), "key", "list"], env=environment, may_fail=True).returncode == 4
    (line,) = eventually(audited.log, operation="weir:ListKeys", decision="deny")
    assert (line["status"], line["error_code"], line["principal"][-4:]) == (403, "AccessDenied", "/ann")
    environment["WEIR_ADMIN_SECRET_KEY"] = "not-anns-secret-at-all"
    assert weir.run([weir.binary(), "key", "list"], env=environment, may_fail=True).returncode == 4
    (line,) = eventually(audited.log, operation="weir:ListKeys", reason_class="signature")
    assert line["access_key"] == user["key"] and "principal" not in line


def test_sessions_and_forms(audited, user):
    server = audited.server
    sts = client(server, "sts", user["key"], user["secret"])
    given = sts.get_session_token()["Credentials"]
    s3 = client(server, "s3", given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"])
    s3.put_object(Bucket=user["bucket"], Key="by-a-session", Body=b"x")
    (line,) = eventually(audited.log, resource=f"arn:aws:s3:::{user['bucket']}/by-a-session")
    assert line["access_key"] == given["AccessKeyId"] and line["principal"].endswith("/ann")
    # Who got this key is in the log too, and who made the user's own.
    assert eventually(audited.log, issued_key=given["AccessKeyId"])[0]["access_key"] == user["key"]
    assert eventually(audited.log, issued_key=user["key"])[0]["operation"] == "iam:CreateAccessKey"
    assert eventually(audited.log, issued_key="TENANTROOT")[0]["operation"] == "weir:CreateKey"
    s3.copy_object(Bucket=user["bucket"], Key="copied", CopySource=f"{user['bucket']}/by-a-session")
    assert eventually(audited.log, operation="CopyObject")[0]["source"] == f"{user['bucket']}/by-a-session"
    assert given["SessionToken"] not in audited.log.read_text()
    assert given["SecretAccessKey"] not in audited.log.read_text()

    s3 = weir.boto3_client(server, user["key"], user["secret"])
    form = s3.generate_presigned_post(user["bucket"], "by-a-${filename}")
    fields = "".join(
        f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in form["fields"].items()
    )
    body = fields + '--x\r\nContent-Disposition: form-data; name="file"; filename="form"\r\n\r\nbytes\r\n--x--\r\n'
    request = (
        f"POST /{user['bucket']} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n"
        f"Content-Type: multipart/form-data; boundary=x\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    )
    assert raw.ask(server, request.encode()).status == 204
    (line,) = eventually(audited.log, operation="PostObject")
    assert (line["auth_type"], line["decision"]) == ("sigv4-form", "allow")
    assert line["resource"] == f"arn:aws:s3:::{user['bucket']}/by-a-form" and line["principal"].endswith("/ann")


def test_clients_cannot_forge_lines(audited, user):
    s3 = client(audited.server, "s3", user["key"], user["secret"])
    key = 'x"}\n{"seq":1,"kind":"decision"}\r\n\u2028\\'
    before = len(lines(audited.log))
    s3.put_object(Bucket=user["bucket"], Key=key, Body=b"x")
    (line,) = eventually(audited.log, resource=f"arn:aws:s3:::{user['bucket']}/{key}")
    agent = 'a "quoted" agent\\" } {\t' + "x" * 5000
    request = (
        f"DELETE /{user['bucket']}/%0A%22%00 HTTP/1.1\r\nHost: 127.0.0.1:{audited.server.port}\r\nUser-Agent: {agent}\r\n\r\n"
    )
    raw.ask(audited.server, request.encode())
    for _ in range(100):
        found = [line for line in decisions(audited.log) if line.get("user_agent", "").startswith('a "quoted" agent\\" } {')]
        if found:
            break
        time.sleep(0.05)
    assert len(found) == 1 and len(found[0]["user_agent"]) < 600
    after = lines(audited.log)
    assert [line["seq"] for line in after] == list(range(1, len(after) + 1)) and len(after) >= before + 2


def test_no_secret_is_in_the_log_and_the_chain_is_whole(audited, user):
    """The last one on this server: it ends."""
    text = audited.log.read_text()
    for secret in [weir.SECRET_KEY, "the-tenants-own-secret", user["secret"], "not-the-secret-of-ann", "some-secret-of-nobody",
                   "e30.e30.c2VjcmV0", "Signature=", "X-Amz-Security-Token"]:
        assert secret not in text
    assert oct(audited.log.stat().st_mode & 0o777) == "0o600"
    assert audited.server.stop() == 0
    done = audited.assert_whole()
    said = lines(audited.log)
    checkpoints = [line for line in said if line["kind"] == "checkpoint"]
    assert (checkpoints[0]["reason"], said[-1]["reason"]) == ("start", "end")
    records = sum(line["kind"] == "decision" for line in said)
    assert done.stdout.splitlines()[-1] == (
        f"lines 1 to {len(said)}: {records} records, {len(checkpoints)} checkpoints, chain whole"
    )
    assert done.stderr == ""
    # The public key alone does for who is given the file.
    data = audited.server.data
    given = audited.server.command("audit", "verify", str(audited.log), "--key", str(data / "control/audit.pub"))
    assert given.returncode == 0 and "chain whole" in given.stdout


def test_tampering_is_found(own):
    own.start()
    s3 = weir.boto3_client(own.server)
    s3.create_bucket(Bucket="tampered")
    for number in range(10):
        s3.put_object(Bucket="tampered", Key=str(number), Body=b"x")
    assert own.server.stop() == 0
    own.assert_whole()
    whole = own.log.read_bytes()
    parts = whole.splitlines(keepends=True)

    def altered(change):
        changed = list(parts)
        change(changed)
        own.log.write_bytes(b"".join(changed))
        done = own.verify()
        own.log.write_bytes(whole)
        assert done.returncode == 1 and "chain whole" not in done.stdout
        return done.stderr

    def change(changed):
        changed[5] = changed[5].replace(b'"status":200', b'"status":404')

    assert "audit.log:7: the line before this one" in altered(change)
    assert "audit.log:6: this is line 7 of the log, and 6 was expected" in altered(lambda changed: changed.pop(5))
    assert "audit.log:6: " in altered(lambda changed: changed.insert(5, changed[4]))
    assert "the end was cut off" in altered(lambda changed: changed.pop())
    assert "its first lines are gone" in altered(lambda changed: changed.pop(0))
    assert "no line of an audit log" in altered(lambda changed: changed.insert(3, b"hello\n"))
    other = own.log.parent / "other.pub"
    other.write_text("ab" * 32 + "\n")
    assert "signed by another key" in own.verify("--key", str(other)).stderr
    # A cut while the server is down is found by its start, and stays said.
    own.log.write_bytes(b"".join(parts[:-3]))
    own.server.start()
    assert own.server.stop() == 0
    assert f"found line {len(parts) - 3} to be the last one when it started" in own.verify().stderr


def test_a_killed_server_goes_on(own):
    own.start()
    s3 = weir.boto3_client(own.server)
    s3.create_bucket(Bucket="killed")
    done = threading.Event()

    def load():
        number = 0
        while not done.is_set():
            number += 1
            try:
                s3.put_object(Bucket="killed", Key=str(number), Body=b"x")
            except Exception:
                return

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    eventually(own.log, count=50, operation="PutObject")
    own.server.kill()
    done.set()
    for thread in threads:
        thread.join()
    before = own.log.read_bytes()
    # As a power cut would leave it too: within a line.
    own.log.write_bytes(before + b'{"seq":')
    killed = own.verify()
    assert killed.returncode == 1 and "not the beginning of one of ours" in killed.stderr or "torn" in killed.stderr
    own.server.start()
    weir.boto3_client(own.server).put_object(Bucket="killed", Key="after", Body=b"x")
    eventually(own.log, resource="arn:aws:s3:::killed/after")
    assert own.server.stop() == 0
    own.assert_whole()
    assert own.log.read_bytes().startswith(before[: before.rindex(b"\n") + 1])
    starts = [line for line in lines(own.log) if line.get("reason") == "start"]
    assert len(starts) == 2 and starts[1]["cut_bytes"] >= 7


def test_files_are_rotated(tmp_path):
    own = Audited(tmp_path, "--audit-file-bytes", "4096", "--audit-files", "4").start()
    s3 = weir.boto3_client(own.server)
    s3.create_bucket(Bucket="rotated")
    for number in range(60):
        s3.put_object(Bucket="rotated", Key=str(number), Body=b"x")
    eventually(own.log, resource="arn:aws:s3:::rotated/59")
    assert own.server.stop() == 0
    files = sorted(tmp_path.glob("audit.log*"))
    assert len(files) == 4 and own.log in files
    own.assert_whole()
    # The current file alone is a part.
    done = own.verify(files=[own.log])
    assert done.returncode == 1 and "are missing before this file" in done.stderr
    assert own.verify("--partial", files=[own.log]).returncode == 0
    # One from the middle is missed.
    assert own.verify(files=[files[0], files[1], files[3]]).returncode == 1


class Piped:
    """A server whose standard output is an audit log, which the test reads, or does not."""

    def __init__(self, folder, *flags):
        self.server = weir.Server(folder / "data")
        self.errors = folder / "errors"
        command = [weir.binary(), "serve", "--data", str(self.server.data), "--listen", "127.0.0.1:0"]
        command += ["--admin-listen", "127.0.0.1:0", "--audit-log", "-", *CHECKPOINTS, *flags]
        with self.errors.open("wb") as stderr:
            environment = self.server.environment() | {"WEIR_AUDIT__QUEUE_BYTES_MAX": str(2 * 1024 * 1024)}
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, env=environment)
        self.read = b""

    def __enter__(self):
        for _ in range(600):
            ready = [line for line in self.errors.read_text().splitlines() if "weir is ready" in line]
            if ready:
                break
            time.sleep(0.1)
        self.server.port = int(ready[0].rsplit(":", 1)[1])
        self.s3 = weir.boto3_client(self.server)
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def read_until(self, text):
        while text not in self.read:
            readable, _, _ = select.select([self.process.stdout], [], [], 20)
            assert readable, f"{len(self.read)} bytes, and no {text}: {self.errors.read_text()[-1000:]}"
            self.read += os.read(self.process.stdout.fileno(), 1024 * 1024)
        return [json.loads(line) for line in self.read[: self.read.rindex(b"\n")].split(b"\n")]

    def verify(self, folder):
        out = folder / "read.log"
        out.write_bytes(self.read[: self.read.rindex(b"\n") + 1])
        done = self.server.command("audit", "verify", str(out), "--data", str(self.server.data))
        assert done.returncode == 0, done.stderr
        return done

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)

    def anonymous(self, path="/piped"):
        """A request that is denied, and so has a line."""
        return raw.ask(self.server, f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{self.server.port}\r\n\r\n".encode()).status


def test_readers_of_events_and_keys_like_the_probes_have_lines(tmp_path):
    audited = Audited(tmp_path, "--audit-reads", "all", "--domain", "s3.test").start()
    try:
        server = audited.server
        server.run("key", "import", "--owner", "reads", "--access-key", "READSEVENTS", "--secret-key", "r" * 40, "--tenant", "acme")
        client(server, "s3", "READSEVENTS", "r" * 40).create_bucket(Bucket="told")
        signed = sigv4.Signed(server, "GET", "/told", query=[("events", "")], key="READSEVENTS", secret="r" * 40)
        with raw.Connection(server.port) as connection:
            connection.send(signed.bytes())
            while b'"cursor"' not in connection.rest:
                assert connection.more()
        (line,) = eventually(audited.log, operation="ListenBucketNotification")
        assert (line["access_key"], line["tenant"], line["decision"]) == ("READSEVENTS", "acme", "allow")
        assert line["principal"].endswith(":root") and line["account"] in line["principal"]
        put = sigv4.Signed(server, "PUT", "/-/live", body=b"x", key="READSEVENTS", secret="r" * 40, host="told.s3.test")
        assert raw.ask(server, put.bytes()).status == 200
        (line,) = eventually(audited.log, resource="arn:aws:s3:::told/-/live")
        assert (line["operation"], line["decision"]) == ("PutObject", "allow")
    finally:
        audited.server.kill()


def test_reads_and_standard_output(tmp_path):
    """Both sinks at once, each with a chain of its own; the reader of standard output goes away in the middle."""
    log = tmp_path / "audit.log"
    with Piped(tmp_path, "--audit-log", str(log), "--audit-reads", "all") as piped:
        s3 = piped.s3
        s3.create_bucket(Bucket="read")
        s3.put_object(Bucket="read", Key="k", Body=b"12345")
        assert s3.get_object(Bucket="read", Key="k")["Body"].read() == b"12345"
        (line,) = eventually(log, operation="GetObject")
        assert (line["decision"], line["bytes_out"], line["class"]) == ("allow", 5, "read")
        said = piped.read_until(b'"operation":"GetObject"')
        assert said[0]["sink"] == "stdout" and [line["seq"] for line in said] == list(range(1, len(said) + 1))
        piped.verify(tmp_path)
        # Nobody reads any more.
        piped.process.stdout.close()
        for number in range(20):
            s3.put_object(Bucket="read", Key=str(number), Body=b"x")
        eventually(log, resource="arn:aws:s3:::read/19")
        assert piped.stop() == 0
        assert "the audit log cannot be written" in piped.errors.read_text()
        done = piped.server.command("audit", "verify", str(log), "--data", str(piped.server.data))
        assert done.returncode == 0, done.stderr


def delete_thousand(piped):
    """1000 keys that nobody may delete: so many lines from one request, some 800 KB."""
    keys = "".join(f"<Object><Key>{'k' * 200}{number}</Key></Object>" for number in range(1000))
    body = f"<Delete>{keys}</Delete>".encode()
    digest = base64.b64encode(hashlib.md5(body).digest()).decode()
    head = f"POST /piped?delete HTTP/1.1\r\nHost: 127.0.0.1:{piped.server.port}\r\nContent-MD5: {digest}\r\n"
    return raw.ask(piped.server, f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body).status


def test_a_reader_that_reads_nothing_stops_nobody(tmp_path):
    with Piped(tmp_path) as piped:
        piped.s3.create_bucket(Bucket="piped")
        # The pipe and the queue, which has 2 MiB here, are full before the end.
        assert [delete_thousand(piped) for _ in range(8)] == [200] * 8
        piped.s3.put_object(Bucket="piped", Key="k", Body=b"x")
        said = piped.read_until(b'"kind":"dropped"')
        assert sum(line.get("dropped", 0) for line in said) > 1000
        assert "weir_audit_dropped_total" in piped.errors.read_text()
        assert "have no line" in piped.verify(tmp_path).stderr
        # The rest goes where it is read.
        threading.Thread(target=lambda: piped.process.stdout.read(), daemon=True).start()
        assert piped.stop() == 0


def test_strictness_refuses_what_it_cannot_record(tmp_path):
    with Piped(tmp_path, "--audit-strict") as piped:
        piped.s3.create_bucket(Bucket="piped")
        assert piped.anonymous() == 403
        (line,) = [line for line in piped.read_until(b'"operation":"ListObjects"') if line.get("operation") == "ListObjects"]
        assert (line["status"], line["decision"]) == (403, "deny") and line["bytes_out"] > 0
        # Nobody reads: half of the queue is filled, and nothing begins any more.
        statuses = [delete_thousand(piped) for _ in range(6)]
        assert statuses[0] == 200 and statuses[-1] == 503, statuses
        with pytest.raises(botocore.exceptions.ClientError) as caught:
            piped.s3.put_object(Bucket="piped", Key="k", Body=b"x")
        assert caught.value.response["Error"]["Code"] == "ServiceUnavailable"
        assert piped.anonymous("/-/ready") == 200
        # What was taken is all there, and then requests go on.
        said = piped.read_until(b'"reason":"time","sink":"stdout"')
        for _ in range(100):
            status = piped.anonymous()
            if status == 403:
                break
            os.read(piped.process.stdout.fileno(), 1024 * 1024)
        assert status == 403 and not any(line["kind"] == "dropped" for line in said)
        # And nothing at all when nobody can read.
        piped.process.stdout.close()
        for _ in range(50):
            status = piped.anonymous()
            if status == 503:
                break
            time.sleep(0.1)
        assert status == 503
        assert piped.stop() == 0


def test_a_full_disk_stops_nobody(tmp_path, require):
    """A file system of 64 KiB for the log."""
    require("mount")
    own = Audited(tmp_path)
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "weir", str(small)], capture_output=True).returncode:
        pytest.skip("nothing can be mounted here")
    try:
        own.log = small / "audit.log"
        own.server.flags = ["--audit-log", str(own.log), *CHECKPOINTS]
        own.start()
        s3 = weir.boto3_client(own.server)
        s3.create_bucket(Bucket="full")
        for number in range(200):
            s3.put_object(Bucket="full", Key=str(number), Body=b"x")
        assert "the audit log cannot be written" in own.server.log.read_text()
        subprocess.run(["mount", "-o", "remount,size=1m", str(small)], check=True)
        eventually(own.log, resource="arn:aws:s3:::full/199")
        assert own.server.stop() == 0
        own.assert_whole()
        assert len(decisions(own.log, operation="PutObject")) == 200
    finally:
        if own.server.process:
            own.server.kill()
        subprocess.run(["umount", str(small)], check=True)


def test_the_old_signature_is_named(tmp_path):
    running = Audited(tmp_path, "--audit-reads", "all", "--signature-v2", "all").start()
    try:
        url, key = running.server.endpoint, weir.ACCESS_KEY
        config = botocore.config.Config(signature_version="s3", s3={"addressing_style": "path"}, retries={"max_attempts": 1})
        old = boto3.client("s3", endpoint_url=url, region_name=weir.REGION, aws_access_key_id=key,
                           aws_secret_access_key=weir.SECRET_KEY, config=config)
        old.create_bucket(Bucket="old")
        (line,) = eventually(running.log, operation="CreateBucket")
        assert (line["auth_type"], line["access_key"], line["decision"]) == ("sigv2-header", key, "allow")
        presigned = old.generate_presigned_url("list_objects", Params={"Bucket": "old"}, ExpiresIn=60)
        assert "AWSAccessKeyId=" in presigned
        with urllib.request.urlopen(presigned) as answer:
            assert answer.status == 200
        (line,) = eventually(running.log, operation="ListObjects")
        assert (line["auth_type"], line["access_key"], line["decision"]) == ("sigv2-query", key, "allow")
        with pytest.raises(urllib.error.HTTPError) as wrong:
            urllib.request.urlopen(presigned.replace("Signature=", "Signature=A", 1)[:-1])
        assert wrong.value.code == 403
        (line,) = eventually(running.log, auth_type="sigv2-query", decision="deny")
        assert line["access_key"] == key and line["reason_class"] in ("signature", "malformed")
        assert weir.SECRET_KEY not in running.log.read_text()
    finally:
        running.server.kill()
