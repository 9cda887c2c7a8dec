"""Every route of both listeners, read from the tables that the server itself goes by, with every proof and without the right:
nobody gets through. A route that is added is asked here from its first day on."""

import base64
import hashlib
import re
import uuid
from pathlib import Path

import boto3
import pytest
import sigv4
import urllib3
import weir
from accounts import account
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

SOURCES = Path(__file__).parents[2] / "gateway" / "src"
HTTP = urllib3.PoolManager(retries=False)
DELETE = b"<Delete><Object><Key>k</Key></Object></Delete>"


def routes():
    """Method, level and sub-resource of each shape in guard/query.rs."""
    text = (SOURCES / "guard" / "query.rs").read_text()
    text = text.split("#[cfg(test)]\nmod tests")[0]
    names = dict(re.findall(r'const (\w+): &str = "([^"]+)";', text))

    def shapes(body):
        body = re.sub(r"//.*", "", body)
        found = re.findall(r'\b(plain)\(|\b(?:sub|one_of)\(\s*("?\w[\w-]*"?)|sub_resource: Some\("([^"]+)"\)', body)
        for plain, named, spelt in found:
            name = None if plain else spelt or named.strip('"')
            yield names.get(name, name) if named and '"' not in named else name

    tables = {name: list(shapes(body)) for name, body in re.findall(r"const (\w+): &\[Shape\] = &\[(.*?)\n?\];", text, re.S)}
    dispatch = text[text.index("fn shapes(") :]
    dispatch = dispatch[: dispatch.index("\n}\n")]
    for method, level, body in re.findall(r'\("(\w+)", Level::(\w+)\) => (.*?),\n', dispatch):
        for name in tables.get(body.strip()) or shapes(body):
            yield method, level, name


ROUTES = sorted(set(routes()), key=str)


def test_the_tables_were_understood():
    assert len(ROUTES) > 80
    for known in [("GET", "Root", None), ("PUT", "Object", None), ("PUT", "Object", "renameObject"), ("POST", "Bucket", "delete")]:
        assert known in ROUTES
    for known in [("GET", "Bucket", "events"), ("PUT", "Bucket", "policy"), ("DELETE", "Bucket", "inventory")]:
        assert known in ROUTES


def variants(bucket):
    """Each route as a request: method, path, query, headers, body."""
    for method, level, name in ROUTES:
        # These two are about the caller's own account: see below.
        if level == "Root" or (method, level, name) == ("PUT", "Bucket", None):
            continue
        path = f"/{bucket}" + ("/k" if level == "Object" else "")
        query = [] if name is None else [(name, "")]
        headers, body = {}, b""
        if name in ("analytics", "intelligent-tiering", "inventory", "metrics"):
            query.append(("id", "x"))
        if name == "uploadId":
            query = [("uploadId", str(uuid.uuid4()))] + ([("partNumber", "1")] if method == "PUT" else [])
        if name == "renameObject":
            headers["x-amz-rename-source"] = f"{bucket}/k"
        if name == "delete":
            body, headers["content-md5"] = DELETE, base64.b64encode(hashlib.md5(DELETE).digest()).decode()
        yield method, path, query, headers, body
        if (method, level) == ("PUT", "Object") and name in (None, "uploadId"):
            yield method, path, query, {"x-amz-copy-source": f"{bucket}/k"}, b""
        if (method, level, name) == ("GET", "Object", None):
            yield method, path, [("versionId", "null")], {}, b""
            # A Range that is none goes another way through the server.
            yield method, path, [], {"range": "x"}, b""
        if level == "Object" and name in ("tagging", "acl", "attributes"):
            yield method, path, query + [("versionId", "null")], headers, body


def send(server, proof, keys, method, path, query, headers, body):
    url = server.endpoint + path + "?" + "&".join(f"{sigv4.quote(k)}={sigv4.quote(v)}" for k, v in query)
    if proof == "presigned":
        host = {"host": f"127.0.0.1:{server.port}"} | headers
        target = sigv4.presigned(server, method, path, query, headers=host, key=keys[0], secret=keys[1])
        return HTTP.request(method, server.endpoint + target, headers=headers, body=body)
    if proof == "header":
        request = AWSRequest(method, url, headers=headers, data=body)
        S3SigV4Auth(Credentials(*keys), "s3", weir.REGION).add_auth(request)
        headers = dict(request.headers.items())
    return HTTP.request(method, url, headers=headers, body=body)


def is_refused(answer):
    if answer.status == 200 and b"<DeleteResult" in answer.data:
        return b"<Code>AccessDenied</Code>" in answer.data and b"<Deleted>" not in answer.data
    return answer.status == 403


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    running = weir.Server(tmp_path_factory.mktemp("routes") / "data").start()
    yield running
    assert running.stop() == 0


@pytest.fixture(scope="module")
def world(server):
    """A bucket, and who has no right on it: another account's root, and a user of the same account."""
    owner, stranger = account(server, "routes-owner"), account(server, "routes-stranger")
    owner.create_bucket(Bucket="routes")
    owner.put_object(Bucket="routes", Key="k", Body=b"1")
    keys_of = lambda client: (lambda c: (c.access_key, c.secret_key))(client._request_signer._credentials)
    root = keys_of(owner)
    iam = boto3.client("iam", endpoint_url=server.endpoint, region_name=weir.REGION,
                       aws_access_key_id=root[0], aws_secret_access_key=root[1])
    iam.create_user(UserName="idle")
    key = iam.create_access_key(UserName="idle")["AccessKey"]
    return {"owner": root, "stranger": keys_of(stranger), "user": (key["AccessKeyId"], key["SecretAccessKey"])}


@pytest.mark.parametrize("proof", ["header", "presigned", "nothing"])
def test_without_the_right_every_route_is_shut(server, world, proof):
    for who in ["stranger", "user"] if proof != "nothing" else ["nobody"]:
        for method, path, query, headers, body in variants("routes"):
            answer = send(server, proof, world.get(who), method, path, query, headers, body)
            assert is_refused(answer), (who, method, path, query, headers, answer.status, answer.data[:300])
    owner = weir.boto3_client(server, *world["owner"])
    assert owner.get_object(Bucket="routes", Key="k")["Body"].read() == b"1"


def test_with_the_right_none_of_them_is(server, world):
    owner = weir.boto3_client(server, *world["owner"])
    for at, (method, path, query, headers, body) in enumerate(variants("routes-own")):
        if ("events", "") in query:
            continue
        try:
            owner.create_bucket(Bucket="routes-own")
        except owner.exceptions.BucketAlreadyOwnedByYou:
            pass
        answer = send(server, "header", world["owner"], method, path, query, headers, body)
        assert answer.status != 403, (method, path, query, headers, answer.data[:300])
    assert at > 80


def test_the_root_of_the_port(server, world):
    for who in ["stranger", "user"]:
        answer = send(server, "header", world[who], "GET", "/", [], {}, b"")
        assert (answer.status, b"<Bucket>" in answer.data) == ({"stranger": 200, "user": 403}[who], False)
    assert send(server, "nothing", None, "GET", "/", [], {}, b"").status == 403
    for who in ["user", "nobody"]:
        proof = "header" if who == "user" else "nothing"
        assert send(server, proof, world.get(who), "PUT", "/routes-new", [], {}, b"").status == 403


def admin_routes():
    """Those of admin/routes.rs, which also dispatches; the document that describes them is for everybody."""
    text = (SOURCES / "admin" / "routes.rs").read_text()
    found = re.findall(r'Route::\w+,\s*"(GET|POST|PUT|DELETE|PATCH)",\s*"(/api/v1[^"]*)"', text)
    assert ("GET", "/api/v1/openapi.json") in found
    return [(method, path) for method, path in found if path != "/api/v1/openapi.json"]


def test_the_admin_api_is_for_administrators(server, world):
    assert len(admin_routes()) > 25
    for method, path in admin_routes():
        url = server.admin_endpoint + re.sub(r"\{\w+\*?\}", "x", path)
        assert HTTP.request(method, url).status == 401, path
        for who in ["owner", "user"]:
            request = AWSRequest(method, url, data=b"{}")
            request.headers["x-amz-content-sha256"] = hashlib.sha256(b"{}").hexdigest()
            S3SigV4Auth(Credentials(*world[who]), "s3", weir.REGION).add_auth(request)
            answer = HTTP.request(method, url, headers=dict(request.headers.items()), body=b"{}")
            assert answer.status == 403, (who, method, path, answer.status, answer.data[:300])
