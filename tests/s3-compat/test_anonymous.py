"""Requests without credentials: nothing is theirs but what a policy gives to everybody."""

import base64
import json
import zlib

import pytest
import raw
import sigv4
import urllib3
import weir
from accounts import DENIED, HEAD_DENIED, account, nobody, refused
from botocore.exceptions import ClientError

HTTP = urllib3.PoolManager(retries=False)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    flags = ["--allow-public-access", "--domain", "s3.test"]
    running = weir.Server(tmp_path_factory.mktemp("anonymous") / "data", flags=flags).start()
    yield running
    assert running.stop() == 0


@pytest.fixture(scope="module")
def anybody(server):
    return nobody(server)


@pytest.fixture
def opened(s3, bucket):
    """Gives actions on the bucket to everybody."""

    def opened(*actions, key="*"):
        resources = [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/{key}"]
        said = {"Effect": "Allow", "Principal": "*", "Action": list(actions), "Resource": resources}
        policy = {"Version": "2012-10-17", "Statement": [said]}
        s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps(policy))

    return opened


def test_nothing_is_theirs(s3, anybody, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"1")
    assert refused(anybody.get_object, Bucket=bucket, Key="k") == DENIED
    assert refused(anybody.get_object, Bucket=bucket, Key="gone") == DENIED
    assert refused(anybody.head_object, Bucket=bucket, Key="k") == HEAD_DENIED
    assert refused(anybody.put_object, Bucket=bucket, Key="k", Body=b"2") == DENIED
    assert refused(anybody.delete_object, Bucket=bucket, Key="k") == DENIED
    assert refused(anybody.list_objects_v2, Bucket=bucket) == DENIED
    assert refused(anybody.list_buckets) == DENIED
    assert refused(anybody.create_bucket, Bucket=f"{bucket}-2") == DENIED
    assert refused(anybody.delete_bucket, Bucket=bucket) == DENIED
    answer = anybody.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "k"}]})
    assert [error["Code"] for error in answer["Errors"]] == ["AccessDenied"]
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"1"


def test_what_is_open_is_theirs(s3, anybody, bucket, opened):
    s3.put_object(Bucket=bucket, Key="k", Body=b"1")
    opened("s3:GetObject")
    assert anybody.get_object(Bucket=bucket, Key="k")["Body"].read() == b"1"
    assert refused(anybody.get_object, Bucket=bucket, Key="gone") == DENIED
    override = {"ResponseContentType": "text/plain"}
    assert refused(anybody.get_object, Bucket=bucket, Key="k", **override) == (400, "InvalidRequest")
    assert refused(anybody.put_object, Bucket=bucket, Key="k", Body=b"2") == DENIED
    opened("s3:GetObject", "s3:ListBucket")
    assert [entry["Key"] for entry in anybody.list_objects_v2(Bucket=bucket)["Contents"]] == ["k"]
    assert refused(anybody.get_object, Bucket=bucket, Key="gone") == (404, "NoSuchKey")
    opened("s3:PutObject", "s3:DeleteObject")
    anybody.put_object(Bucket=bucket, Key="k", Body=b"2")
    anybody.delete_object(Bucket=bucket, Key="k")
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)


CRC32 = base64.b64encode(zlib.crc32(b"new").to_bytes(4, "big")).decode()
GOOD = f"x-amz-checksum-crc32:{CRC32}\r\n"
WRONG = "x-amz-checksum-crc32:AAAAAA==\r\n"
FRAMED = sigv4.unsigned_chunks([b"n", b"ew"], GOOD)

# What stands in the body, headers that differ, and what becomes of the request. botocore frames bodies like this over TLS.
FRAMINGS = {
    "as botocore": (FRAMED, {}, (200, "")),
    "in HTTP chunks": (b"%x\r\n%s\r\n0\r\n\r\n" % (len(FRAMED), FRAMED), {"transfer-encoding": "chunked"}, (200, "")),
    "no empty line behind the trailer": (FRAMED[:-2], {}, (200, "")),
    "a wrong checksum": (sigv4.unsigned_chunks([b"new"], WRONG), {}, (400, "BadDigest")),
    "no checksum": (sigv4.unsigned_chunks([b"new"]), {}, (400, "InvalidRequest")),
    "another checksum": (sigv4.unsigned_chunks([b"new"], "x-amz-checksum-crc32c:AAAAAA==\r\n"), {}, (400, "InvalidRequest")),
    "no trailer announced": (FRAMED, {"x-amz-trailer": None}, (400, "InvalidRequest")),
    "no length": (FRAMED, {"x-amz-decoded-content-length": None}, (411, "MissingContentLength")),
    "a length that is none": (FRAMED, {"x-amz-decoded-content-length": "+3"}, (400, "InvalidRequest")),
    "a length that is too large": (FRAMED, {"x-amz-decoded-content-length": "5368709121"}, (400, "EntityTooLarge")),
    "fewer bytes than announced": (FRAMED, {"x-amz-decoded-content-length": "4"}, (400, "IncompleteBody")),
    "more bytes than announced": (FRAMED, {"x-amz-decoded-content-length": "2"}, (400, "IncompleteBody")),
    "no last chunk": (b"3\r\nnew\r\n", {}, (400, "IncompleteBody")),
    "a chunk that is not whole": (b"5\r\nnew", {}, (400, "IncompleteBody")),
    "no framing at all": (b"new", {}, (400, "IncompleteBody")),
    "a size that is none": (b"0x3\r\nnew\r\n0\r\n" + GOOD.encode() + b"\r\n", {}, (400, "InvalidRequest")),
    "a signed chunk": (FRAMED.replace(b"1\r\n", b"1;chunk-signature=%s\r\n" % (b"0" * 64), 1), {}, (400, "InvalidRequest")),
    "something behind the trailer": (FRAMED + b"x", {}, (400, "InvalidRequest")),
    "a trailer without an end": (b"3\r\nnew\r\n0\r\nx-amz-checksum-crc32", {}, (400, "InvalidRequest")),
    "a trailer of 20 KB": (sigv4.unsigned_chunks([b"new"], GOOD + f"a:{'b' * 20_000}\r\n"), {}, (400, "InvalidRequest")),
}


@pytest.mark.parametrize("case", FRAMINGS)
def test_framing_without_a_signature(server, s3, bucket, opened, case):
    s3.put_object(Bucket=bucket, Key="k", Body=b"old")
    opened("s3:PutObject")
    body, changed, expected = FRAMINGS[case]
    headers = {
        "host": "localhost", "content-length": len(body), "content-encoding": "gzip, aws-chunked",
        "x-amz-content-sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "x-amz-trailer": "x-amz-checksum-crc32",
        "x-amz-decoded-content-length": 3,
    } | changed
    if "transfer-encoding" in changed:
        del headers["content-length"]
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items() if value is not None)
    answer = raw.ask(server, f"PUT /{bucket}/k HTTP/1.1\r\n{head}\r\n".encode() + body)
    assert (answer.status, answer.code) == expected, answer
    stored = s3.get_object(Bucket=bucket, Key="k")
    if answer.status == 200:
        assert (stored["Body"].read(), stored["ContentEncoding"]) == (b"new", "gzip")
        assert answer.headers["x-amz-checksum-crc32"] == CRC32
    else:
        assert stored["Body"].read() == b"old"
    assert server.staging_files() == []


def test_a_form_has_no_framing(server, s3, bucket, opened):
    """Its file would be stored with it."""
    opened("s3:PutObject")
    parts = b'--x\r\ncontent-disposition: form-data; name="key"\r\n\r\nk\r\n--x\r\ncontent-disposition: form-data; name="file"\r\n\r\n'
    body = sigv4.unsigned_chunks([parts + b"ne", b"w\r\n--x--\r\n"], GOOD)
    head = (f"POST /{bucket} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {len(body)}\r\ncontent-type: multipart/form-data; boundary=x\r\n"
            "x-amz-trailer: x-amz-checksum-crc32\r\nx-amz-content-sha256: STREAMING-UNSIGNED-PAYLOAD-TRAILER\r\n"
            "x-amz-decoded-content-length: 3\r\n\r\n")
    answer = raw.ask(server, head.encode() + body)
    assert (answer.status, answer.code) == (400, "InvalidRequest")
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)


def test_framing_without_a_right(server, s3, bucket):
    head = (f"PUT /{bucket}/k HTTP/1.1\r\nhost: localhost\r\ncontent-length: {len(FRAMED)}\r\nx-amz-trailer: x-amz-checksum-crc32\r\n"
            "x-amz-content-sha256: STREAMING-UNSIGNED-PAYLOAD-TRAILER\r\nx-amz-decoded-content-length: 3\r\n\r\n")
    answer = raw.ask(server, head.encode() + FRAMED)
    assert (answer.status, answer.code) == DENIED


def test_everybody_is_not_the_world(server, s3, anybody, bucket):
    """An account is not everybody, and the other way round."""
    s3.put_object(Bucket=bucket, Key="k", Body=b"1")
    principal = {"AWS": "arn:aws:iam::000000000000:root"}
    said = {"Effect": "Allow", "Principal": principal, "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{bucket}/*"}
    s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": [said]}))
    assert refused(anybody.get_object, Bucket=bucket, Key="k") == DENIED
    assert refused(account(server).get_object, Bucket=bucket, Key="k") == DENIED


def post(server, bucket, fields, content=b"1"):
    body = {**fields, "file": ("name.txt", content, "text/plain")}
    return HTTP.request("POST", f"{server.endpoint}/{bucket}", fields=body)


def test_forms_without_a_signature(server, s3, bucket, opened):
    assert post(server, bucket, {"key": "a"}).status == 403
    opened("s3:PutObject", key="in/*")
    assert post(server, bucket, {"key": "in/${filename}"}).status == 204
    assert post(server, bucket, {"key": "out"}).status == 403
    tags = "<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>"
    assert post(server, bucket, {"key": "in/t", "tagging": tags}).status == 403
    assert [entry["Key"] for entry in s3.list_objects_v2(Bucket=bucket)["Contents"]] == ["in/name.txt"]


def test_a_form_is_decided_like_any_write(server, s3, bucket, opened):
    other = account(server)
    form = other.generate_presigned_post(bucket, "in/k")
    assert post(server, bucket, form["fields"]).status == 403
    opened("s3:PutObject", key="in/*")
    assert post(server, bucket, form["fields"]).status == 204
    assert s3.get_object(Bucket=bucket, Key="in/k")["Body"].read() == b"1"


def get_page(server, bucket, path, headers=""):
    request = f"GET {path} HTTP/1.1\r\nhost: {bucket}.s3-website.s3.test\r\n{headers}\r\n"
    return raw.ask(server, request.encode())


def test_pages_are_shown_when_everybody_may_read(server, s3, bucket, opened):
    s3.put_object(Bucket=bucket, Key="index.html", Body=b"<p>hello", ContentType="text/html")
    s3.put_object(Bucket=bucket, Key="error.html", Body=b"<p>oh", ContentType="text/html")
    site = {"IndexDocument": {"Suffix": "index.html"}, "ErrorDocument": {"Key": "error.html"}}
    s3.put_bucket_website(Bucket=bucket, WebsiteConfiguration=site)
    assert get_page(server, bucket, "/").status == 403
    opened("s3:GetObject")
    page = get_page(server, bucket, "/")
    assert (page.status, page.body, page.headers["content-type"]) == (200, b"<p>hello", "text/html")
    missing = get_page(server, bucket, "/missing")
    assert (missing.status, missing.body) == (403, b"<p>oh")
    opened("s3:GetObject", "s3:ListBucket")
    missing = get_page(server, bucket, "/missing")
    assert (missing.status, missing.body) == (404, b"<p>oh")


def test_pages_ask_where_a_reader_comes_from(server, s3, bucket):
    s3.put_object(Bucket=bucket, Key="index.html", Body=b"<p>hello", ContentType="text/html")
    s3.put_bucket_website(Bucket=bucket, WebsiteConfiguration={"IndexDocument": {"Suffix": "index.html"}})
    condition = {"StringLike": {"aws:Referer": "http://friend/*"}, "IpAddress": {"aws:SourceIp": "127.0.0.1"}}
    said = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{bucket}/*"}
    policy = {"Version": "2012-10-17", "Statement": [said | {"Condition": condition}]}
    s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps(policy))
    assert get_page(server, bucket, "/index.html").status == 403
    assert get_page(server, bucket, "/index.html", "referer: http://friend/page\r\n").status == 200


def test_events_are_for_who_may_listen(server, s3, bucket, opened):
    def status():
        answer = urllib3.PoolManager(retries=False).request(
            "GET", f"{server.endpoint}/{bucket}?events&ping=1", preload_content=False
        )
        answer.close()
        return answer.status

    assert status() == 403
    opened("s3:GetObject")
    assert status() == 403


def test_credentials_that_are_wrong_are_not_nobody(server, s3, bucket, opened):
    s3.put_object(Bucket=bucket, Key="k", Body=b"1")
    opened("s3:GetObject")
    wrong = weir.boto3_client(server, weir.ACCESS_KEY, "x" * 40)
    unknown = weir.boto3_client(server, "WEIRTESTNOBODY000002", "x" * 40)
    for client, code in [(wrong, "SignatureDoesNotMatch"), (unknown, "InvalidAccessKeyId")]:
        with pytest.raises(ClientError) as caught:
            client.get_object(Bucket=bucket, Key="k")
        assert caught.value.response["Error"]["Code"] == code
