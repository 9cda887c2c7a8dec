"""`weir auth explain-token`: the tokens of sessions and of issuers, and that no token is told to anybody else."""

import base64
import json
import subprocess
import time

import boto3
import weir
from botocore.config import Config
from test_sts import account, folder, issuer, issuer_port, pod_role, sts_server, token_of  # noqa: F401 (fixtures)


def explain(server, token, *arguments):
    """By standard input, as one should."""
    command = [weir.binary(), "auth", "explain-token", "-", "--json", *arguments]
    done = subprocess.run(command, input=token + "\n", env=server.environment(), capture_output=True, text=True, timeout=60)
    told = json.loads(done.stdout)
    assert done.returncode == (0 if told["accepted"] else 1), done.stderr
    assert token not in done.stdout + done.stderr
    return told


def session(server, seconds=900):
    sts = boto3.client(
        "sts", endpoint_url=server.endpoint, region_name=weir.REGION, aws_access_key_id=weir.ACCESS_KEY,
        aws_secret_access_key=weir.SECRET_KEY, config=Config(retries={"max_attempts": 1}),
    )
    return sts.get_session_token(DurationSeconds=seconds)["Credentials"]


def part(value):
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def test_a_sessions_token_says_whom_it_is_for(server):
    given = session(server)
    key, token = given["AccessKeyId"], given["SessionToken"]
    told = explain(server, token, "--access-key", key)
    assert (told["kind"], told["of"], told["principal"].endswith(":root")) == ("session", "root", True)
    assert told["issued_ms"] + 900_000 == told["expires_ms"]
    assert given["SecretAccessKey"] not in json.dumps(told)
    assert explain(server, token)["step"] == "access_key"
    assert explain(server, token, "--access-key", session(server)["AccessKeyId"])["step"] == "seal"
    # Another last letter may be no canonical Base64: then it is no token at all.
    changed = token[:-6] + ("A" if token[-6] != "A" else "B") + token[-5:]
    assert explain(server, changed, "--access-key", key)["step"] in ("seal", "malformed")
    assert explain(server, "nonsense")["step"] == "malformed"
    text = server.command("auth", "explain-token", token, "--access-key", key)
    assert text.returncode == 0 and "kind      session" in text.stdout and token not in text.stdout


def test_what_is_gone_is_told(server):
    owner = f"gone-{time.time_ns()}"
    made = json.loads(server.run("key", "create", "--owner", owner, "--user", "bob", "--json").stdout)
    sts = boto3.client("sts", endpoint_url=server.endpoint, region_name=weir.REGION,
                       aws_access_key_id=made["access_key"], aws_secret_access_key=made["secret_key"])
    given = sts.get_session_token()["Credentials"]
    asked = (given["SessionToken"], "--access-key", given["AccessKeyId"])
    assert explain(server, *asked)["principal"].endswith(":user/bob")
    server.run("key", "delete", made["access_key"])
    server.run("user", "delete", "bob", "--account", owner)
    told = explain(server, *asked)
    assert (told["accepted"], told["step"], told["name"]) == (False, "gone", "bob")


def test_a_jwt_that_nobody_can_trust_is_told_by_its_step(server):
    now = int(time.time())
    claims = {"iss": "https://idp.example.com", "sub": "x", "aud": "weir", "exp": now + 60}
    for header, body, signature, step in [
        ({"alg": "RS256"}, claims, "AAAA", "issuer_unknown"),
        ({"alg": "none"}, claims, "AAAA", "algorithm"),
        ({"alg": "HS256"}, claims, "AAAA", "algorithm"),
        ({"alg": "RS256"}, claims, "", "malformed"),
        ({"alg": "RS256", "jku": "https://evil.example.com"}, claims, "AAAA", "malformed"),
        ({"alg": "RS256", "crit": ["x"]}, claims, "AAAA", "malformed"),
        ({"alg": "RS256"}, [], "AAAA", "malformed"),
    ]:
        told = explain(server, f"{part(header)}.{part(body)}.{signature}")
        assert (told["kind"], told["step"], told["header"]) == ("web_identity", step, header), told
        assert told["claims"] == (body or None)
    assert explain(server, "a" * 9000 + ".b.c")["step"] == "malformed"


def test_only_administrators_ask(server):
    made = json.loads(server.run("key", "create", "--owner", f"no-admin-{time.time_ns()}", "--json").stdout)
    environment = server.environment() | {
        "WEIR_ADMIN_ACCESS_KEY": made["access_key"], "WEIR_ADMIN_SECRET_KEY": made["secret_key"]}
    done = weir.run([weir.binary(), "auth", "explain-token", "a.b.c"], env=environment, may_fail=True)
    assert (done.returncode, done.stdout) == (4, "")
    assert weir.run([weir.binary(), "auth", "explain-token", " "], env=environment, may_fail=True).returncode == 2


def test_no_token_is_logged(server):
    token = f"{part({'alg': 'RS256'})}.{part({'iss': 'https://never-logged.example.com'})}.AAAA"
    explain(server, token)
    given = session(server)
    explain(server, given["SessionToken"], "--access-key", given["AccessKeyId"])
    log = server.log.read_text()
    assert token not in log and given["SessionToken"] not in log and "never-logged" not in log


def test_an_issuers_token_is_taken(sts_server, issuer, pod_role):  # noqa: F811 (fixtures)
    told = explain(sts_server, token_of(issuer, "pod-7"))
    [provider] = told["providers"]
    [role] = [role for role in provider["roles"] if role["role"] == pod_role]
    assert (told["accepted"], told["claims"]["sub"], role["trusted"]) == (True, "pod-7", True)
    told = explain(sts_server, token_of(issuer, "pod-8"))
    [role] = [role for role in told["providers"][0]["roles"] if role["role"] == pod_role]
    assert not role["trusted"]
    conditions = {c["key"].rsplit(":", 1)[1]: c["met"] for s in role["statements"] for c in s["conditions"]}
    assert conditions["sub"] is False and conditions["aud"] is True
