"""Cross-origin requests as browsers send them: preflights over bare sockets, and what ordinary answers say."""

import pytest

import raw
import sigv4
import weir

RULES = {
    "CORSRules": [
        {
            "AllowedMethods": ["GET", "HEAD"],
            "AllowedOrigins": ["https://*.example.org", "http://one"],
            "AllowedHeaders": ["x-amz-*", "Range"],
            "ExposeHeaders": ["ETag", "x-amz-meta-color"],
            "MaxAgeSeconds": 600,
        },
        {"AllowedMethods": ["PUT"], "AllowedOrigins": ["http://one", "http://two"], "AllowedHeaders": ["*"]},
        {"AllowedMethods": ["GET"], "AllowedOrigins": ["*"]},
    ]
}
VARY = "Origin, Access-Control-Request-Headers, Access-Control-Request-Method"


@pytest.fixture
def shared(s3, bucket):
    s3.put_bucket_cors(Bucket=bucket, CORSConfiguration=RULES)
    return bucket


def preflight(server, path, headers, host="localhost"):
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return raw.ask(server, f"OPTIONS {path} HTTP/1.1\r\nhost: {host}\r\n{lines}\r\n".encode())


def asks(origin, method, headers=None):
    asked = {"Origin": origin, "Access-Control-Request-Method": method}
    return asked | ({"Access-Control-Request-Headers": headers} if headers else {})


def cors(answer):
    found = {name: value for name, value in answer.headers.items() if name.startswith("access-control-")}
    return {name.removeprefix("access-control-"): value for name, value in found.items()}


def test_a_preflight_is_answered_without_credentials(server, shared):
    answer = preflight(server, f"/{shared}/any/key", asks("https://a.example.org", "GET", "X-Amz-Date,range"))
    assert (answer.status, answer.body) == (200, b"")
    assert cors(answer) == {
        "allow-origin": "https://a.example.org",
        "allow-credentials": "true",
        "allow-methods": "GET, HEAD",
        "allow-headers": "x-amz-date, range",
        "expose-headers": "ETag, x-amz-meta-color",
        "max-age": "600",
    }
    assert answer.headers["vary"] == VARY
    assert answer.headers["x-amz-request-id"]
    # The bucket itself, whatever else the address holds, and an upload of a presigned address.
    for path in [f"/{shared}", f"/{shared}/", f"/{shared}?list-type=2", f"/{shared}/k?X-Amz-Signature=0"]:
        assert preflight(server, path, asks("http://one", "GET")).status == 200, path


def test_the_first_rule_decides_that_allows_everything(server, shared):
    put = preflight(server, f"/{shared}/k", asks("http://one", "PUT", "content-type"))
    assert cors(put) == {
        "allow-origin": "http://one", "allow-credentials": "true", "allow-methods": "PUT", "allow-headers": "content-type",
    }
    anybody = preflight(server, f"/{shared}/k", asks("http://other", "GET"))
    assert cors(anybody) == {"allow-origin": "*", "allow-methods": "GET"}


@pytest.mark.parametrize(
    "asked",
    [
        asks("http://other", "PUT"),
        asks("http://other", "GET", "x-amz-date"),
        asks("http://one", "GET", "content-type"),
        asks("http://one", "DELETE"),
        asks("https://example.org.evil", "HEAD"),
        asks("HTTP://ONE", "PUT"),
    ],
)
def test_what_no_rule_allows_is_forbidden(server, shared, asked):
    answer = preflight(server, f"/{shared}/k", asked)
    assert (answer.status, answer.code) == (403, "AccessForbidden")
    assert b"CORSResponse: This CORS request is not allowed." in answer.body
    assert cors(answer) == {}


def test_questions_without_a_question(server, shared, bucket):
    for headers in [{}, {"Origin": "http://one"}, {"Access-Control-Request-Method": "GET"}, asks("http://one", "PATCH")]:
        answer = preflight(server, f"/{shared}/k", headers)
        assert (answer.status, answer.code) == (400, "BadRequest"), headers


def test_buckets_without_rules_allow_nothing(server, s3, bucket):
    for path in [f"/{bucket}/k", "/no-such-bucket-here/k", "/", "/Not_A_Bucket/k"]:
        answer = preflight(server, path, asks("http://one", "GET"))
        assert (answer.status, answer.code) == (403, "AccessForbidden"), path
        assert b"CORSResponse: " in answer.body and cors(answer) == {}
    s3.put_bucket_cors(Bucket=bucket, CORSConfiguration=RULES)
    assert preflight(server, f"/{bucket}/k", asks("http://one", "GET")).status == 200
    s3.delete_bucket_cors(Bucket=bucket)
    assert preflight(server, f"/{bucket}/k", asks("http://one", "GET")).status == 403


def test_ordinary_answers_say_it_too(server, s3, shared):
    s3.put_object(Bucket=shared, Key="k", Body=b"text", Metadata={"color": "blue"})

    def ask(method, path, origin, body=b""):
        request = sigv4.Signed(server, method, path, body=body, unsigned={"origin": origin} if origin else None)
        return raw.ask(server, request.bytes(), method)

    got = ask("GET", f"/{shared}/k", "http://one")
    assert (got.status, got.body) == (200, b"text")
    assert cors(got) == {
        "allow-origin": "http://one", "allow-credentials": "true", "allow-methods": "GET, HEAD",
        "expose-headers": "ETag, x-amz-meta-color", "max-age": "600",
    }
    assert cors(ask("GET", f"/{shared}/k", "http://other")) == {"allow-origin": "*", "allow-methods": "GET"}
    assert cors(ask("HEAD", f"/{shared}/k", "http://two")) == {}
    put = ask("PUT", f"/{shared}/new", "http://two", b"x")
    assert put.status == 200 and cors(put)["allow-origin"] == "http://two"
    # Errors too: a page may read why.
    missing = ask("GET", f"/{shared}/missing", "http://one")
    assert (missing.status, missing.code, cors(missing)["allow-origin"]) == (404, "NoSuchKey", "http://one")
    lines = f"GET /{shared}/k HTTP/1.1\r\nhost: localhost\r\norigin: http://one\r\n\r\n"
    anonymous = raw.ask(server, lines.encode())
    assert (anonymous.status, cors(anonymous)["allow-origin"]) == (403, "http://one")
    # A cache keeps apart what differs, whoever asked.
    for origin in [None, "http://two", "http://one"]:
        assert ask("GET", f"/{shared}/k", origin).headers["vary"] == VARY


def test_buckets_without_rules_say_nothing(server, s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"text")
    request = sigv4.Signed(server, "GET", f"/{bucket}/k", unsigned={"origin": "http://one"})
    answer = raw.ask(server, request.bytes())
    assert answer.status == 200 and cors(answer) == {} and "vary" not in answer.headers


def test_virtual_hosts_are_asked_too(tmp_path):
    server = weir.Server(tmp_path / "data", flags=["--domain", "s3.test"]).start()
    try:
        s3 = weir.boto3_client(server)
        s3.create_bucket(Bucket="pictures")
        s3.put_bucket_cors(Bucket="pictures", CORSConfiguration=RULES)
        assert preflight(server, "/k", asks("http://one", "GET"), host="pictures.s3.test").status == 200
        assert preflight(server, "/pictures/k", asks("http://one", "GET"), host="s3.test").status == 200
        assert preflight(server, "/k", asks("http://one", "GET"), host="other.s3.test").status == 403
    finally:
        server.kill()
