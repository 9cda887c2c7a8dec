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


def query_actions(service):
    """The actions of a query API with their parameters: the table that refuses unknown ones. What dispatches must have the same."""
    text = (SOURCES / f"{service}.rs").read_text()
    constants = dict(re.findall(r'^const (\w+): &str = "([^"]+)";', text, re.M))
    start = text.index("fn parameters(action: &str)")
    table, rest = text[start : text.index("_ => return None", start)], text[text.index("_ => return None", start) :]

    def names(pattern):
        return [constants.get(name.strip(), name.strip().strip('"')) for name in pattern.split("|")]

    arms = re.findall(r'^\s*((?:"\w+"|[A-Z_]+)(?:\s*\|\s*"\w+")*)\s*=>\s*(?:\{\s*)?&\[(.*?)\]', table, re.M | re.S)
    actions = {name: re.findall(r'"(\w+)"', parameters) for pattern, parameters in arms for name in names(pattern)}
    dispatched = rest[rest.index("match self.call.action" if service == "iam" else "match call.action") :]
    dispatched = re.findall(r'^\s*("\w+"|[A-Z_]+) =>', dispatched[: dispatched.index("other =>")], re.M)
    assert sorted(actions) == sorted(name for pattern in dispatched for name in names(pattern))
    return actions


VERSIONS = {"iam": "2010-05-08", "sts": "2011-06-15"}
QUERY_ACTIONS = [(service, action, names) for service in VERSIONS for action, names in query_actions(service).items()]
# What needs no right: to be told who one is, as in AWS even against a policy; a session with one's own rights, which only a denial
# takes away; and a session for a token, which is the proof in the place of a signature.
NEEDS_NO_RIGHT = {"GetCallerIdentity", "GetSessionToken", "AssumeRoleWithWebIdentity"}
NEEDS_NO_SIGNATURE = {"AssumeRoleWithWebIdentity"}
DOCUMENT = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}'
TRUST = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"sts:AssumeRole","Principal":{"AWS":"*"}}]}'


def sample(action, name, account_id):
    """A good value of each parameter, so that nothing but the missing right can refuse: a new one is added here."""
    arn = f"arn:aws:iam::{account_id}"
    values = {
        "AccessKeyId": "WK" + "A" * 18, "ActionNames": ["s3:GetObject"], "AssumeRolePolicyDocument": TRUST, "CallerArn": None,
        "ContextEntries": None, "PermissionsBoundaryPolicyInputList": [DOCUMENT], "PolicyInputList": [DOCUMENT],
        "PolicySourceArn": f"{arn}:user/target", "ResourceArns": ["arn:aws:s3:::b/k"], "ResourceHandlingOption": None,
        "ResourceOwner": None, "ResourcePolicy": None, "ClientID": "c", "ClientIDList": ["c"],
        "Description": "d", "DurationSeconds": "900", "EntityFilter": None, "ExternalId": "ext", "GroupName": "target", "Marker": None,
        "MaxItems": "5", "MaxSessionDuration": "3600", "NewGroupName": "renamed", "NewPath": "/n/", "NewUserName": "renamed",
        "OnlyAttached": "false", "OpenIDConnectProviderArn": f"{arn}:oidc-provider/issuer.example", "Path": "/p/",
        "PathPrefix": "/", "PermissionsBoundary": "arn:aws:iam::aws:policy/AmazonS3FullAccess", "Policy": None,
        "PolicyArn": f"{arn}:policy/target", "PolicyArns": None, "PolicyDocument": TRUST if "Assume" in action else DOCUMENT,
        "PolicyName": "target", "PolicyUsageFilter": None, "ProvidedContexts": None, "ProviderId": None,
        "RoleArn": f"{arn}:role/target", "RoleName": "target", "RoleSessionName": "session", "Scope": "Local", "SerialNumber": None,
        "SetAsDefault": "true", "SourceIdentity": None, "Status": "Inactive", "TagKeys": ["k"], "Tags": [("k", "v")],
        "ThumbprintList": ["0" * 40], "TokenCode": None, "TransitiveTagKeys": None, "Url": "https://issuer.example",
        "UserName": "target", "VersionId": "v1", "WebIdentityToken": "e30.e30.e30",
    }
    value = values[name]
    if isinstance(value, list):
        for place, entry in enumerate(value, 1):
            if isinstance(entry, tuple):
                yield f"{name}.member.{place}.Key", entry[0]
                yield f"{name}.member.{place}.Value", entry[1]
            else:
                yield f"{name}.member.{place}", entry
    elif value is not None:
        yield name, value


def form_of(service, action, names, account_id):
    pairs = [("Action", action), ("Version", VERSIONS[service])]
    return pairs + [pair for name in names for pair in sample(action, name, account_id)]


def ask(server, service, pairs, method="POST", proof="header", key=None, secret=None, token=None):
    """One action as a form or in a query. Answers status and code."""
    form = {"content-type": "application/x-www-form-urlencoded"} if method == "POST" else {}
    text = "&".join(f"{sigv4.quote(name)}={sigv4.quote(value)}" for name, value in pairs)
    query, body = ([], text.encode()) if method == "POST" else (pairs, b"")
    target, headers = "/" + (f"?{text}" if query else ""), dict(form)
    if proof == "header":
        more = form | ({"x-amz-security-token": token} if token else {})
        signed = sigv4.Signed(server, method, "/", headers=more, body=body, query=query, key=key, secret=secret, service=service)
        headers = signed.headers | {"authorization": signed.authorization}
    if proof == "presigned":
        target = sigv4.presigned(server, method, "/", query, key=key, secret=secret, service=service)
    answer = HTTP.request(method, server.endpoint + target, headers=headers, body=body or None)
    code = re.search(rb"<Code>(\w+)</Code>", answer.data)
    return answer.status, code[1].decode() if code else None


@pytest.fixture(scope="module")
def people(server, world):
    """A user without a policy, its session that has been revoked, and the account that they are of."""
    root = dict(zip(("aws_access_key_id", "aws_secret_access_key"), world["owner"]))
    user = dict(zip(("aws_access_key_id", "aws_secret_access_key"), world["user"]))
    client = lambda service, keys: boto3.client(service, endpoint_url=server.endpoint, region_name=weir.REGION, **keys)
    account_id = client("sts", root).get_caller_identity()["Account"]
    iam = client("iam", root)
    # Its session is over with it. One that ends by the clock lasts a quarter of an hour: gateway/src/sts/tests.rs has that.
    iam.create_user(UserName="gone")
    key = iam.create_access_key(UserName="gone")["AccessKey"]
    gone = {"aws_access_key_id": key["AccessKeyId"], "aws_secret_access_key": key["SecretAccessKey"]}
    session = client("sts", gone).get_session_token()["Credentials"]
    iam.delete_access_key(UserName="gone", AccessKeyId=key["AccessKeyId"])
    iam.delete_user(UserName="gone")
    return {"account": account_id, "user": world["user"],
            "session": (session["AccessKeyId"], session["SecretAccessKey"], session["SessionToken"])}


def test_the_query_apis_were_understood():
    assert len(QUERY_ACTIONS) > 70
    found = {(service, action) for service, action, _ in QUERY_ACTIONS}
    assert {("iam", "CreateUser"), ("iam", "ListAccountAliases"), ("sts", "AssumeRole"), ("sts", "AssumeRoleWithWebIdentity")} <= found
    assert NEEDS_NO_RIGHT <= {action for _, action in found}


@pytest.mark.parametrize("method", ["POST", "GET"])
def test_every_action_wants_a_good_signature(server, people, method):
    key, secret = people["user"]
    session = dict(zip(("key", "secret", "token"), people["session"]))
    cases = {
        "nothing": ({"proof": "nothing"}, (403, "MissingAuthenticationToken")),
        "bad signature": ({"key": key, "secret": secret[::-1]}, (403, "SignatureDoesNotMatch")),
        "unknown key": ({"key": "WK" + "Z" * 18, "secret": secret}, (403, "InvalidClientTokenId")),
        # The query APIs take signatures in headers only.
        "presigned": ({"proof": "presigned", "key": key, "secret": secret}, (400, "InvalidRequest")),
        "session that is over": (session, (403, "AccessDenied")),
        "token of another key": (session | {"key": key, "secret": secret}, (403, "InvalidClientTokenId")),
    }
    for service, action, names in QUERY_ACTIONS:
        pairs = form_of(service, action, names, people["account"])
        for what, (proof, wanted) in cases.items():
            if what == "nothing" and action in NEEDS_NO_SIGNATURE:
                wanted = (400, "InvalidIdentityToken")
            answer = ask(server, service, pairs, method, **proof)
            assert answer == wanted, (action, what)


@pytest.mark.parametrize("method", ["POST", "GET"])
def test_without_the_right_every_action_is_refused(server, people, method):
    key, secret = people["user"]
    for service, action, names in QUERY_ACTIONS:
        answer = ask(server, service, form_of(service, action, names, people["account"]), method, key=key, secret=secret)
        wanted = (403, "AccessDenied")
        if action in NEEDS_NO_RIGHT:
            wanted = (400, "InvalidIdentityToken") if action in NEEDS_NO_SIGNATURE else (200, None)
        assert answer == wanted, (action, answer)


def test_with_the_right_no_action_is_refused(server):
    """The same requests by a root, on an account of its own: what they come to differs, but none is for want of a right."""
    owner = account(server)
    credentials = owner._request_signer._credentials
    key, secret = credentials.access_key, credentials.secret_key
    number = boto3.client("sts", endpoint_url=server.endpoint, region_name=weir.REGION, aws_access_key_id=key,
                          aws_secret_access_key=secret).get_caller_identity()["Account"]
    done = 0
    for service, action, names in QUERY_ACTIONS:
        status, code = ask(server, service, form_of(service, action, names, number), key=key, secret=secret)
        assert status in (200, 400, 404, 409) and code != "ValidationError" or action == "AssumeRole", (action, status, code)
        # A sample that is no good would be refused before the right is asked for.
        done += status == 200
    # The rest names what is not there.
    assert done >= 20


HEALTH = sorted(set(re.findall(r'"(/-/\w+)" (?:if |=>)', (SOURCES / "health.rs").read_text().split("#[cfg(test)]")[0])))


def test_health_is_for_everybody_and_says_little(server, world):
    """No right and no signature is asked for, and none is looked at: probes have no keys."""
    assert {"/-/live", "/-/ready", "/-/info"} <= set(HEALTH)
    for endpoint in (server.endpoint, server.admin_endpoint):
        for path in HEALTH:
            answer = HTTP.request("GET", endpoint + path)
            assert answer.status == 200 and len(answer.data) < 100, path
            assert HTTP.request("GET", endpoint + path, headers={"authorization": "AWS4-HMAC-SHA256 nonsense"}).status == 200
            assert (lambda head: (head.status, head.data))(HTTP.request("HEAD", endpoint + path)) == (200, b"")
            for method in ("PUT", "POST", "DELETE", "OPTIONS"):
                assert HTTP.request(method, endpoint + path).status == 405, (method, path)
            for secret in (*world["owner"], *world["user"]):
                assert secret.encode() not in answer.data
        assert HTTP.request("GET", endpoint + "/-/other").status == 404
