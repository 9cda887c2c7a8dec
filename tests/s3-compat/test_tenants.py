"""Two tenants on one server. What one sees is a function of what it does itself: its random history gets the same answers, errors
included, whether the other is silent or puts, deletes, lists, probes and fails between any two of its requests."""

import random
import re
import shutil
import uuid

import pytest
import raw
import sigv4
import weir

HISTORIES = 6
STEPS = 60
KEYS = ["a", "a/b", "c", "ü"]
# Of what is named by chance or by the clock, and of the server's own connection.
HEADERS = {"date", "x-amz-request-id", "x-amz-id-2", "x-amzn-requestid", "last-modified", "connection", "keep-alive"}
NAMED = {"x-amz-version-id", "x-amz-copy-source-version-id"}
ELEMENTS = ("RequestId|HostId|LastModified|CreationDate|Initiated|CreateDate|UploadId|VersionId|NextVersionIdMarker|UserId|"
            "AccessKeyId|SecretAccessKey|Arn|Account")


class Tenant:
    def __init__(self, server, letter):
        self.server, self.letter = server, letter
        # The same ids in both runs: a server of its own has each of them.
        self.key, self.secret = f"WK{letter.upper() * 18}", letter * 40
        server.run("key", "import", "--owner", f"owner-{letter}", "--tenant", f"tenant-{letter}", "--access-key", self.key,
                   "--secret-key", self.secret)
        self.uploads = []

    def ask(self, method, path, query=(), body=b"", headers=None, service="s3", secret=None):
        signed = sigv4.Signed(self.server, method, path, query=query, body=body, headers=headers, key=self.key,
                              secret=secret or self.secret, service=service)
        with raw.Connection(self.server.port) as connection:
            connection.send(signed.bytes())
            return connection.answer(method)


def seen(answer):
    """An answer without what chance and the clock put into it."""
    headers = {name: "some" if name in NAMED else value for name, value in answer.headers.items() if name not in HEADERS}
    body = re.sub(rf"<({ELEMENTS})>[^<]*</\1>".encode(), rb"<\1/>", answer.body)
    # Its length goes with what was taken out.
    if body != answer.body:
        headers.pop("content-length", None)
    return answer.status, headers, body


def form(action, **arguments):
    pairs = {"Action": action, "Version": "2010-05-08"} | arguments
    return "&".join(f"{name}={sigv4.quote(value)}" for name, value in pairs.items()).encode()


def step(chance, tenant, own, foreign):
    """One request of a tenant: what it is depends on chance alone, and on the uploads that it began itself."""
    bucket = chance.choice([own, own, own, foreign])
    key = sigv4.quote(chance.choice(KEYS))
    path, body = f"/{bucket}/{key}", chance.randbytes(chance.choice([0, 10, 5000]))
    upload = chance.choice(tenant.uploads) if tenant.uploads else "none"
    policy = b'{"Version":"2012-10-17","Statement":{"Effect":"Deny","Principal":"*","Action":"s3:PutObject","Resource":"arn:aws:s3:::' + (
        bucket.encode() + b'/a"}}')
    iam = {"content-type": "application/x-www-form-urlencoded"}
    kind = chance.randrange(20)
    if kind < 4:
        return tenant.ask("PUT", path, body=body)
    if kind < 6:
        return tenant.ask("GET", path)
    if kind < 14:
        return [
            lambda: tenant.ask("HEAD", path),
            lambda: tenant.ask("DELETE", path),
            lambda: tenant.ask("GET", f"/{bucket}", [("list-type", "2")]),
            lambda: tenant.ask("GET", f"/{bucket}", [("versions", "")]),
            lambda: tenant.ask("GET", f"/{bucket}", [("uploads", "")]),
            lambda: tenant.ask("GET", "/"),
            lambda: tenant.ask("PUT", path, headers={"x-amz-copy-source": f"/{foreign if kind % 2 else own}/{key}"}),
            lambda: tenant.ask("PUT", f"/{bucket}", [("policy", "")], policy),
        ][kind - 6]()
    if kind == 14:
        answer = tenant.ask("POST", path, [("uploads", "")])
        found = re.search(rb"<UploadId>([^<]+)<", answer.body)
        tenant.uploads += [found[1].decode()] if found else []
        return answer
    if kind == 15:
        return tenant.ask("PUT", path, [("partNumber", "1"), ("uploadId", upload)], body)
    if kind == 16:
        return tenant.ask("DELETE", path, [("uploadId", upload)])
    if kind == 17:
        return tenant.ask("POST", "/", body=form("CreateUser", UserName=chance.choice("xyz")), headers=iam, service="iam")
    if kind == 18:
        return tenant.ask("POST", "/", body=form("ListUsers"), headers=iam, service="iam")
    return tenant.ask("GET", path, secret="w" * 40)


def run(tmp_path, seed, is_other_awake):
    folder = tmp_path / uuid.uuid4().hex
    server = weir.Server(folder).start()
    try:
        first, second = Tenant(server, "a"), Tenant(server, "b")
        for tenant in (first, second):
            assert tenant.ask("PUT", f"/bucket-of-{tenant.letter}").status == 200
        chance, others = random.Random(seed), random.Random(seed + 1_000_000)
        answers = []
        for _ in range(STEPS):
            if is_other_awake:
                for _ in range(others.randrange(4)):
                    step(others, first, "bucket-of-a", "bucket-of-b")
            answers.append(seen(step(chance, second, "bucket-of-b", "bucket-of-a")))
        return answers
    finally:
        server.kill()
        shutil.rmtree(folder)


@pytest.mark.parametrize("seed", range(HISTORIES))
def test_one_tenant_sees_nothing_of_the_other(tmp_path, seed):
    alone, beside = run(tmp_path, seed, False), run(tmp_path, seed, True)
    for number, (one, other) in enumerate(zip(alone, beside)):
        assert one == other, f"step {number} of history {seed}"
    # It did and saw something, and was refused something.
    statuses = {status for status, _, _ in alone}
    assert {200, 403} <= statuses
