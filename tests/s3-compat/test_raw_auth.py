"""The authentication edge: each bad credential over a bare socket, the answer it gets, and nothing changed by it."""

import base64
import hashlib
import hmac
import statistics
import time

import pytest

import raw
import sigv4
import weir
from sigv4 import Signed, presigned

HEADERS_THAT_STEER = {
    "x-amz-copy-source": "/{bucket}/secret", "x-amz-acl": "public-read", "x-amz-tagging": "a=b", "x-amz-meta-a": "1",
    "x-amz-storage-class": "GLACIER", "x-amz-server-side-encryption": "AES256", "x-amz-object-lock-mode": "COMPLIANCE",
    "x-amz-security-token": "token", "x-amz-website-redirect-location": "http://example.org/",
    "x-amz-grant-read": "uri=http://acs.amazonaws.com/groups/global/AllUsers", "x-amz-date": "20200101T000000Z",
    "x-amz-bypass-governance-retention": "true",
}
QUERY_ERROR = (400, "AuthorizationQueryParametersError")
MALFORMED = (400, "AuthorizationHeaderMalformed")
MECHANISM = (400, "InvalidRequest")
TWO_MECHANISMS = (400, "InvalidArgument")
DENIED = (403, "AccessDenied")
MISMATCH = (403, "SignatureDoesNotMatch")


def version_2(server, path, date):
    text = f"PUT\n\n\n{date}\n{path}"
    mac = hmac.new(weir.SECRET_KEY.encode(), text.encode(), hashlib.sha1).digest()
    return f"AWS {weir.ACCESS_KEY}:{base64.b64encode(mac).decode()}"


def plain(server, method, target, headers=None, body=b""):
    """A request without a signature of its own."""
    lines = {"host": f"127.0.0.1:{server.port}"} | (headers or {})
    if method == "PUT":
        lines = lines | {"content-length": str(len(body))}
    head = f"{method} {target} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return head.encode() + b"\r\n" + body


def put(server, path, **changes):
    return Signed(server, "PUT", path, body=b"new", **changes)


def url(server, path, headers=None, method="PUT", **changes):
    return plain(server, method, presigned(server, method, path, **changes), headers, b"new" if method == "PUT" else b"")


def without(parameter):
    return lambda parameters: parameters.pop(parameter)


def with_value(parameter, value):
    return lambda parameters: parameters.update({parameter: value})


def cases():
    """Name, how the request is made from server and path, and its answer."""
    for name, value in HEADERS_THAT_STEER.items():
        if name != "x-amz-date":
            yield f"T2 unsigned {name}", lambda s, p, n=name, v=value: put(s, p, unsigned={n: v.format(bucket=bucket_of(p))}).bytes(), DENIED
        yield f"T1 presigned, unsigned {name}", lambda s, p, n=name, v=value: url(s, p, {n: v.format(bucket=bucket_of(p))}), DENIED

    def listed_in_upper_case(s, p):
        request = put(s, p, unsigned={"x-amz-copy-source": f"/{bucket_of(p)}/secret"})
        request.authorization = request.authorization.replace("SignedHeaders=", "SignedHeaders=X-Amz-Copy-Source;")
        return request.bytes()

    def listed_twice(s, p):
        request = put(s, p, unsigned={"x-amz-copy-source": f"/{bucket_of(p)}/secret"})
        names = ";".join(request.names)
        request.authorization = request.authorization.replace(
            ", Signature=", f", SignedHeaders={names};x-amz-copy-source, Signature=")
        return request.bytes()

    def listed_and_absent(s, p):
        request = put(s, p, headers={"x-amz-meta-a": "1"})
        del request.headers["x-amz-meta-a"]
        return request.bytes()

    def repeated(s, p):
        request = put(s, p, headers={"x-amz-copy-source": f"/{bucket_of(p)}/secret,x"})
        request.headers["x-amz-copy-source"] = f"/{bucket_of(p)}/secret"
        return request.bytes("x-amz-copy-source: x")

    yield "T2 signed names in upper case", listed_in_upper_case, MISMATCH
    yield "T2 two lists of signed names", listed_twice, MALFORMED
    yield "T2 a signed name without a header", listed_and_absent, MISMATCH
    yield "T2 a signed value in two headers", repeated, (400, "InvalidArgument")
    yield "T2 a value that is not UTF-8", lambda s, p: put(s, p).bytes("x-amz-meta-a: \udcff"), (400, "InvalidArgument")

    for year in ("today", "2018"):
        date = "Tue, 27 Mar 2018 19:36:42 +0000" if year == "2018" else time.strftime("%a, %d %b %Y %H:%M:%S +0000", time.gmtime())
        yield f"T3 version 2, {year}", lambda s, p, d=date: plain(
            s, "PUT", p, {"date": d, "authorization": version_2(s, p, d)}, b"new"), MECHANISM
    yield "T3 version 2 in the query", lambda s, p: plain(
        s, "PUT", f"{p}?AWSAccessKeyId={weir.ACCESS_KEY}&Expires=9999999999&Signature=AAAA", body=b"new"), MECHANISM

    for value in ("0", "-1", "604801", "315360000", "1e30", "1;2", "", "60 ", "0x3c", "99999999999999999999999999"):
        yield f"T4 expires {value!r}", lambda s, p, v=value: url(s, p, expires=v), QUERY_ERROR
    yield "T4 expired", lambda s, p: url(s, p, minutes=-10), DENIED
    yield "T4 of last year", lambda s, p: url(s, p, expires="604800", minutes=-365 * 24 * 60), DENIED
    yield "T4 of tomorrow", lambda s, p: url(s, p, minutes=24 * 60), (403, "RequestTimeTooSkewed")
    for name in ("X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-Expires", "X-Amz-SignedHeaders"):
        yield f"T4 without {name}", lambda s, p, n=name: url(s, p, change=without(n)), QUERY_ERROR
        yield f"T4 {name} twice", lambda s, p, n=name: url(s, p, query=[(n, "60")]), QUERY_ERROR
        yield f"T9b only {name}", lambda s, p, n=name: plain(s, "PUT", f"{p}?{n}=x", body=b"new"), QUERY_ERROR
    yield "T9b only a signature", lambda s, p: plain(s, "PUT", f"{p}?X-Amz-Signature={'0' * 64}", body=b"new"), QUERY_ERROR
    yield "T9b a credential that is right", lambda s, p: plain(
        s, "GET", f"{p}?X-Amz-Credential={weir.ACCESS_KEY}%2F20260101%2Fus-east-1%2Fs3%2Faws4_request"), QUERY_ERROR
    yield "T9b signature in lower-case parameters", lambda s, p: url(s, p).replace(b"X-Amz-", b"x-amz-"), (501, "NotImplemented")
    yield "T4 another algorithm", lambda s, p: url(s, p, change=with_value("X-Amz-Algorithm", "AWS4-HMAC-SHA1")), QUERY_ERROR
    yield "T4 a short signature", lambda s, p: url(s, p).replace(b"X-Amz-Signature=", b"X-Amz-Signature=0"), QUERY_ERROR

    header = {"authorization": "AWS4-HMAC-SHA256 Credential=x"}
    yield "T5 presigned and header", lambda s, p: url(s, p, header), TWO_MECHANISMS
    yield "T5 presigned and Bearer", lambda s, p: url(s, p, {"authorization": "Bearer x"}), TWO_MECHANISMS
    yield "T5 two headers", lambda s, p: put(s, p).bytes("authorization: Bearer x"), TWO_MECHANISMS
    yield "A1 header and version 2 query", lambda s, p: put(s, p, query=[("Signature", "x")]).bytes(), TWO_MECHANISMS
    yield "A1 presigned and version 2 query", lambda s, p: url(s, p, query=[("AWSAccessKeyId", "x")]), TWO_MECHANISMS
    yield "A1 all three", lambda s, p: url(s, p, header, query=[("Signature", "x")]), TWO_MECHANISMS
    yield "A1 header and half a query", lambda s, p: put(s, p, query=[("X-Amz-Credential", "x")]).bytes(), TWO_MECHANISMS

    for value in ("Bearer eyJhbGciOiJub25lIn0.e30.", "Basic dXNlcjpwYXNz", "Digest x", "AWS4-ECDSA-P256-SHA256 x", "", "x"):
        yield f"T6 {value[:12]!r}", lambda s, p, v=value: plain(s, "PUT", p, {"authorization": v}, b"new"), MECHANISM
    for value in ("Credential=a", "Credential=a/b", "nonsense", ",,,", "Signature=0, Credential=, SignedHeaders="):
        yield f"T6 fields {value!r}", lambda s, p, v=value: plain(s, "PUT", p, {"authorization": f"AWS4-HMAC-SHA256 {v}"}, b"new"), MALFORMED

    for kind in ("UNSIGNED-PAYLOAD-TRAILER", "AWS4-HMAC-SHA256-PAYLOAD", "AWS4-HMAC-SHA256-PAYLOAD-TRAILER", "NONSENSE"):
        framed = sigv4.unsigned_chunks([b"new"])
        hashed = {"x-amz-content-sha256": f"STREAMING-{kind}", "x-amz-decoded-content-length": "3"}
        # Unsigned chunks are decoded of anybody, once all headers of them are there: test_anonymous.py.
        yield f"T8 anonymous {kind}", lambda s, p, h=hashed, f=framed: plain(s, "PUT", p, h, f), MECHANISM
        yield f"T8 Bearer {kind}", lambda s, p, h=hashed, f=framed: plain(s, "PUT", p, h | {"authorization": "Bearer x"}, f), MECHANISM

    def trailer(s, p, forge):
        body = sigv4.unsigned_chunks([b"new"], "x-amz-checksum-crc32:AAAAAA==\r\n")
        request = put(s, p, body_hash="STREAMING-UNSIGNED-PAYLOAD-TRAILER", headers={
            "x-amz-trailer": "x-amz-checksum-crc32", "x-amz-decoded-content-length": 3, "content-length": len(body)})
        if forge:
            request.authorization = request.authorization[:-64] + "0" * 64
        return (request.head() + "\r\n").encode() + body

    yield "T9 forged, unsigned trailer", lambda s, p: trailer(s, p, True), MISMATCH
    yield "T9 a trailer that is wrong", lambda s, p: trailer(s, p, False), (400, "BadDigest")

    for minutes in (-20, 20):
        yield f"T11 clock {minutes:+} min", lambda s, p, m=minutes: put(s, p, minutes=m).bytes(), (403, "RequestTimeTooSkewed")
    for region in ("mars-1", "US", ""):
        yield f"T11b region {region!r}", lambda s, p, r=region: put(s, p, region=r).bytes(), MALFORMED
        yield f"T11b presigned for region {region!r}", lambda s, p, r=region: url(s, p, region=r), MALFORMED
    yield "T11c host not signed", lambda s, p: put(s, p, without=("host",)).bytes(), DENIED
    yield "T11c host not signed in a URL", lambda s, p: url(s, p, change=with_value("X-Amz-SignedHeaders", "x-amz-date")), MISMATCH
    for service in ("sts", "iam", "S3", ""):
        yield f"T11d service {service!r}", lambda s, p, v=service: put(s, p, service=v).bytes(), MALFORMED
        yield f"T11d presigned for service {service!r}", lambda s, p, v=service: url(s, p, service=v), MALFORMED

    def other_day(s, p):
        request = put(s, p)
        request.authorization = request.authorization.replace(request.scope, "20200101" + request.scope[8:])
        return request.bytes()

    yield "A5 scope of another day", other_day, MISMATCH
    yield "T12 x-amz-date twice", lambda s, p: put(s, p).bytes(f"x-amz-date: {sigv4.time_of()}"), (400, "InvalidArgument")
    yield "T11c another host", lambda s, p: put(s, p).bytes().replace(b"host: 127.0.0.1", b"host: localhost"), MISMATCH

    yield "A9 token signed", lambda s, p: put(s, p, headers={"x-amz-security-token": "foreign"}).bytes(), (400, "InvalidToken")
    yield "A9 token in the query", lambda s, p: url(s, p, query=[("X-Amz-Security-Token", "foreign")]), (400, "InvalidToken")
    yield "A9 token without a signature", lambda s, p: plain(s, "PUT", f"{p}?X-Amz-Security-Token=x", body=b"new"), (400, "InvalidToken")
    yield "A12 unknown key", lambda s, p: put(s, p, key="NOBODYSKEY0000000001").bytes(), (403, "InvalidAccessKeyId")
    yield "A12 bad secret", lambda s, p: put(s, p, secret="x" * 40).bytes(), MISMATCH
    yield "A12 unknown key, presigned", lambda s, p: url(s, p, key="NOBODYSKEY0000000001"), (403, "InvalidAccessKeyId")
    yield "A12 bad secret, presigned", lambda s, p: url(s, p, secret="x" * 40), MISMATCH
    for method in ("PUT", "GET", "DELETE", "HEAD"):
        yield f"anonymous {method}", lambda s, p, m=method: plain(s, m, p, body=b"new" if m == "PUT" else b""), (403, "AccessDenied" if method != "HEAD" else "")


def bucket_of(path):
    return path.split("/")[1]


CASES = list(cases())


@pytest.mark.parametrize("make, expected", [pytest.param(make, expected, id=name) for name, make, expected in CASES])
def test_bad_credentials(scene, make, expected):
    request = make(scene.server, f"/{scene.bucket}/k")
    answer = raw.ask(scene.server, request, "HEAD" if request.startswith(b"HEAD") else "GET")
    assert (answer.status, answer.code) == expected, answer
    scene.assert_unchanged()


def test_the_same_requests_are_good_without_the_fault(scene):
    server, path = scene.server, f"/{scene.bucket}/good"
    requests = [put(server, path).bytes(), url(server, path), url(server, path, expires="604800"), put(server, path, headers={"x-amz-meta-a": "1"}).bytes()]
    assert [raw.ask(server, request).status for request in requests] == [200] * 4
    answer = raw.ask(server, Signed(server, "GET", path).bytes())
    assert (answer.status, answer.body, answer.headers["x-amz-meta-a"]) == (200, b"new", "1")
    assert raw.ask(server, Signed(server, "DELETE", path).bytes()).status == 204
    scene.assert_unchanged()


def test_a_wrong_region_is_told_the_right_one(scene):
    answer = raw.ask(scene.server, Signed(scene.server, "GET", "/", region="eu-west-9").bytes())
    assert b"<Region>us-east-1</Region>" in answer.body
    assert answer.headers["x-amz-bucket-region"] == "us-east-1"


def test_unknown_key_and_bad_secret_take_the_same_time(scene):
    """10,000 samples, the two in turn; their medians differ by less than the samples of one of them do."""
    server = scene.server
    unknown = Signed(server, "GET", f"/{scene.bucket}/secret", key="NOBODYSKEY0000000001").bytes()
    wrong = Signed(server, "GET", f"/{scene.bucket}/secret", secret="x" * 40).bytes()
    times = {unknown: [], wrong: []}
    with raw.Connection(server.port) as connection:
        for _ in range(5000):
            for request, taken in times.items():
                start = time.perf_counter()
                connection.send(request)
                answer = connection.answer()
                taken.append(time.perf_counter() - start)
                assert answer.status == 403
    one, other = (statistics.median(taken) for taken in times.values())
    lower, _, upper = statistics.quantiles(times[wrong], n=4)
    print(f"unknown key {one * 1e6:.0f} us, bad secret {other * 1e6:.0f} us, quartiles {lower * 1e6:.0f} to {upper * 1e6:.0f} us")
    assert abs(one - other) < max(upper - lower, 0.05 * other)


@pytest.mark.parametrize("level", ["debug", "trace,hyper=trace"])
def test_no_log_says_what_would_be_a_right_signature(tmp_path, monkeypatch, level):
    plain_environment = weir.clean_environment
    monkeypatch.setattr(weir, "clean_environment", lambda: plain_environment() | {"WEIR_LOG": level})
    server = weir.Server(tmp_path / "data").start()
    secrets = {weir.SECRET_KEY}
    try:
        weir.boto3_client(server).create_bucket(Bucket="logged")
        for method, headers in [("GET", {}), ("PUT", {"cookie": "cookie-of-a-browser"}), ("GET", {"x-amz-security-token": "a-token"})]:
            right = Signed(server, method, "/logged/k", headers=headers, body=b"")
            wrong = right.signature[::-1]
            secrets |= {right.signature, wrong, *headers.values()}
            right.authorization = right.authorization.replace(right.signature, wrong)
            assert raw.ask(server, right.bytes()).status in (400, 403)
        target = presigned(server, "GET", "/logged/k")
        secrets.add(target[-64:])
        assert raw.ask(server, plain(server, "GET", target[:-64] + "0" * 64)).code == "SignatureDoesNotMatch"
        good = Signed(server, "PUT", "/logged/k", body=b"x")
        secrets.add(good.signature)
        assert raw.ask(server, good.bytes()).status == 200
    finally:
        server.stop()
    log = server.log.read_text()
    assert "request refused" in log and "SignatureDoesNotMatch" in log
    assert [secret for secret in secrets if secret in log] == []
