"""Signature Version 2, which is off: with the switch, boto3 and s3cmd use it, and nobody else can make anything of their URLs."""

import base64
import hashlib
import hmac
import json
import time
import urllib.parse

import boto3
import pytest
import urllib3
from botocore.config import Config
from botocore.exceptions import ClientError

import raw
import weir
from conftest import Scene

HTTP = urllib3.PoolManager(retries=False)


@pytest.fixture(scope="module")
def old(tmp_path_factory):
    running = weir.Server(tmp_path_factory.mktemp("old") / "data", flags=["--signature-v2", "all"]).start()
    yield Scene(running)
    assert running.stop() == 0
    assert "Signature Version 2 is taken" in running.log.read_text()


def client(server, secret=weir.SECRET_KEY, key=weir.ACCESS_KEY, **more):
    config = Config(signature_version="s3", s3={"addressing_style": "path"}, retries={"max_attempts": 1})
    return boto3.client(
        "s3", endpoint_url=server.endpoint, region_name=weir.REGION, aws_access_key_id=key, aws_secret_access_key=secret,
        config=config, **more,
    )


def signature(text, secret=weir.SECRET_KEY):
    return base64.b64encode(hmac.new(secret.encode(), text.encode(), hashlib.sha1).digest()).decode()


def url(method, path, expires_s=60, key=weir.ACCESS_KEY, secret=weir.SECRET_KEY, more="", signed_more="", amz="", until=None):
    until = int(time.time()) + expires_s if until is None else until
    signed = signature(f"{method}\n\n\n{until}\n{amz}{path}{signed_more}", secret)
    return f"{path}?AWSAccessKeyId={key}&Expires={until}&Signature={urllib.parse.quote_plus(signed)}{more}"


def header(method, path, date=None, name="date", **more):
    date = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime()) if date is None else date
    text = f"{method}\n\n\n{'' if name != 'date' else date}\n{f'{name}:{date}{chr(10)}' if name != 'date' else ''}{path}"
    return {name: date, "authorization": f"AWS {more.get('key', weir.ACCESS_KEY)}:{signature(text, more.get('secret', weir.SECRET_KEY))}"}


def plain(server, method, target, headers=None, body=b""):
    lines = {"host": f"127.0.0.1:{server.port}"} | (headers or {})
    if method in ("PUT", "POST"):
        lines = lines | {"content-length": str(len(body))}
    head = f"{method} {target} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return head.encode() + b"\r\n" + body


def test_boto3_signs_headers_and_urls(old):
    s3 = client(old.server)
    s3.create_bucket(Bucket="v2-day")
    s3.put_object(Bucket="v2-day", Key="a b/ü&+", Body=b"one", Metadata={"b": "2", "a": "1"}, ContentType="text/x")
    got = s3.get_object(Bucket="v2-day", Key="a b/ü&+")
    assert (got["Body"].read(), got["Metadata"], got["ContentType"]) == (b"one", {"a": "1", "b": "2"}, "text/x")
    s3.put_object_tagging(Bucket="v2-day", Key="a b/ü&+", Tagging={"TagSet": [{"Key": "t", "Value": "v"}]})
    assert s3.list_objects_v2(Bucket="v2-day", Prefix="a", Delimiter="/")["CommonPrefixes"] == [{"Prefix": "a b/"}]
    upload = s3.create_multipart_upload(Bucket="v2-day", Key="parts")["UploadId"]
    etag = s3.upload_part(Bucket="v2-day", Key="parts", UploadId=upload, PartNumber=1, Body=b"part")["ETag"]
    parts = {"Parts": [{"PartNumber": 1, "ETag": etag}]}
    s3.complete_multipart_upload(Bucket="v2-day", Key="parts", UploadId=upload, MultipartUpload=parts)
    s3.copy_object(Bucket="v2-day", Key="copy", CopySource={"Bucket": "v2-day", "Key": "parts"})

    params = {"Bucket": "v2-day", "Key": "a b/ü&+"}
    address = s3.generate_presigned_url("get_object", Params=params | {"ResponseContentType": "x/y & z"})
    assert "AWSAccessKeyId" in address and "X-Amz" not in address
    answer = HTTP.request("GET", address)
    assert (answer.status, answer.data, answer.headers["content-type"]) == (200, b"one", "x/y & z")
    # A range that is none is passed over, also on the way that asks again.
    assert HTTP.request("GET", address, headers={"range": "lines=1"}).data == b"one"
    address = s3.generate_presigned_url("put_object", Params={"Bucket": "v2-day", "Key": "put"})
    assert HTTP.request("PUT", address, body=b"put").status == 200
    assert HTTP.request("GET", address).status == 403
    assert s3.get_object(Bucket="v2-day", Key="put")["Body"].read() == b"put"

    s3.delete_objects(Bucket="v2-day", Delete={"Objects": [{"Key": key} for key in ("a b/ü&+", "parts", "copy", "put")]})
    s3.delete_bucket(Bucket="v2-day")
    old.assert_unchanged()


def test_unknown_keys_and_wrong_secrets(old):
    for given, code in (({"key": "NOBODYSKEY0000000001"}, "InvalidAccessKeyId"), ({"secret": "x" * 40}, "SignatureDoesNotMatch")):
        with pytest.raises(ClientError) as caught:
            client(old.server, **given).list_buckets()
        assert caught.value.response["Error"]["Code"] == code
        answer = raw.ask(old.server, plain(old.server, "GET", url("GET", f"/{old.bucket}/secret", **given)))
        assert (answer.status, answer.code) == (403, code)


STEERING = ("x-amz-copy-source: /{b}/secret", "x-amz-acl: public-read", "x-amz-meta-a: 1", "x-amz-tagging: a=b", "content-type: a/b")


def bent():
    """What somebody makes of a URL that is good: method, how, and what is answered."""
    mismatch, uncovered = (403, "SignatureDoesNotMatch"), (400, "InvalidRequest")
    for line in STEERING:
        yield f"PUT with {line}", "PUT", "/{b}/k", "", line, mismatch
    for key in ("acl", "tagging", "uploadId=x&partNumber=1", "x-amz-checksum-crc32=AAAAAA=="):
        yield f"PUT ?{key}", "PUT", "/{b}/k", f"&{key}", "", mismatch
    for key in ("uploads", "versionId=null", "response-content-type=a", "delete", "x-amz-acl=public-read"):
        yield f"PUT ?{key}", "PUT", "/{b}/k", f"&{key}", "", (501, "NotImplemented")
    for key in ("renameObject", "legal-hold", "retention", "encryption", "annotation", "prefix=a"):
        yield f"PUT ?{key}", "PUT", "/{b}/k", f"&{key}", "", uncovered
    yield "PUT half of version 4", "PUT", "/{b}/k", "&X-Amz-Date=x", "", (400, "InvalidArgument")
    for key in ("attributes", "legal-hold", "retention", "id=a"):
        yield f"GET ?{key}", "GET", "/{b}/secret", f"&{key}", "", uncovered
    for key in ("acl", "policy", "versions", "uploads", "location", "lifecycle"):
        yield f"GET bucket ?{key}", "GET", "/{b}", f"&{key}", "", mismatch
    for key in ("encryption", "policyStatus", "ownershipControls", "publicAccessBlock", "events=s3:*", "metadata=true", "metrics&id=a"):
        yield f"GET bucket ?{key}", "GET", "/{b}", f"&{key}", "", uncovered
    for key in ("tagging", "uploadId=x"):
        yield f"DELETE ?{key}", "DELETE", "/{b}/k", f"&{key}", "", mismatch
    for key in ("lifecycle", "policy", "cors"):
        yield f"DELETE bucket ?{key}", "DELETE", "/{b}", f"&{key}", "", mismatch
    yield "DELETE bucket ?encryption", "DELETE", "/{b}", "&encryption", "", uncovered
    yield "two signatures", "GET", "/{b}/secret", "&Signature=a", "", (403, "AccessDenied")
    yield "a later end", "GET", "/{b}/secret", "&Expires=9999999999", "", (403, "AccessDenied")
    yield "a token", "GET", "/{b}/secret", "", "x-amz-security-token: t", uncovered
    yield "chunks", "PUT", "/{b}/k", "", "x-amz-content-sha256: STREAMING-UNSIGNED-PAYLOAD-TRAILER", uncovered
    yield "a header beside it", "GET", "/{b}/secret", "", "authorization: AWS a:b", (400, "InvalidArgument")


@pytest.mark.parametrize("name, method, path, more, line, expected", list(bent()), ids=lambda value: value if isinstance(value, str) else "")
def test_urls_cannot_be_bent(old, name, method, path, more, line, expected):
    path = path.format(b=old.bucket)
    headers = dict([line.format(b=old.bucket).split(": ")]) if line else {}
    answer = raw.ask(old.server, plain(old.server, method, url(method, path, more=more), headers, b"new" if method == "PUT" else b""))
    assert (answer.status, answer.code) == expected, answer
    old.assert_unchanged()


def test_other_methods_and_places(old):
    path = f"/{old.bucket}/secret"
    good = url("GET", path)
    assert raw.ask(old.server, plain(old.server, "GET", good)).body == b"do not copy"
    for method in ("PUT", "DELETE", "POST"):
        assert raw.ask(old.server, plain(old.server, method, good)).status in (400, 403, 405, 501), method
    assert raw.ask(old.server, plain(old.server, "HEAD", good), "HEAD").status == 403
    assert raw.ask(old.server, plain(old.server, "GET", good.replace("/secret", "/other"))).code == "SignatureDoesNotMatch"
    assert raw.ask(old.server, plain(old.server, "GET", good.replace("/secret", "/%73ecret"))).code == "SignatureDoesNotMatch"
    # A listing's parameters were never signed, and select only what it shows.
    listing = url("GET", f"/{old.bucket}/")
    assert raw.ask(old.server, plain(old.server, "GET", listing + "&prefix=s&list-type=2")).status == 200
    old.assert_unchanged()


def test_urls_end(old):
    path = f"/{old.bucket}/secret"
    ask = lambda **more: raw.ask(old.server, plain(old.server, "GET", url("GET", path, **more)))  # noqa: E731
    assert ask(expires_s=604_700).status == 200
    for more in ({"expires_s": -1}, {"expires_s": 0}, {"expires_s": 604_900}, {"until": "x"}, {"until": ""}, {"until": 10**30}):
        answer = ask(**more)
        assert (answer.status, answer.code) == (403, "AccessDenied"), more
    assert b"Request has expired" in ask(expires_s=-5).body


def test_dates_of_headers(old):
    path = f"/{old.bucket}/secret"
    at = lambda seconds: time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + seconds))  # noqa: E731

    def ask(*given, **more):
        answer = raw.ask(old.server, plain(old.server, "GET", path, header("GET", path, *given, **more)))
        return answer.status, answer.code

    assert ask() == (200, "") and ask(name="x-amz-date") == (200, "")
    for seconds in (-1000, 1000):
        assert ask(at(seconds)) == (403, "RequestTimeTooSkewed")
        assert ask(at(seconds), name="x-amz-date") == (403, "RequestTimeTooSkewed")
    for date in ("", "yesterday", "Tue, 27 Mar 1950 19:36:42 +0000"):
        assert ask(date) == (403, "AccessDenied")
    captured = header("GET", path, at(0))
    assert raw.ask(old.server, plain(old.server, "DELETE", path, captured)).code == "SignatureDoesNotMatch"
    assert raw.ask(old.server, plain(old.server, "GET", path + "?x-amz-checksum-mode=ENABLED", captured)).code == "InvalidRequest"
    old.assert_unchanged()


def test_policies_see_the_version(old):
    s3, bucket = weir.boto3_client(old.server), old.bucket
    deny = {"Effect": "Deny", "Principal": "*", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{bucket}/*"}
    condition = {"StringEquals": {"s3:signatureversion": "AWS", "s3:authType": "REST-QUERY-STRING"}}
    s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": [deny | {"Condition": condition}]}))
    try:
        path = f"/{bucket}/secret"
        assert raw.ask(old.server, plain(old.server, "GET", url("GET", path))).code == "AccessDenied"
        assert raw.ask(old.server, plain(old.server, "GET", path, header("GET", path))).status == 200
        assert s3.get_object(Bucket=bucket, Key="secret")["Body"].read() == b"do not copy"
    finally:
        s3.delete_bucket_policy(Bucket=bucket)


@pytest.mark.parametrize("word, takes_urls", [("off", False), ("forms", False), ("urls", True)])
def test_each_place_has_its_word(tmp_path, word, takes_urls):
    server = weir.Server(tmp_path / "data", flags=["--signature-v2", word]).start()
    try:
        scene = Scene(server)
        path = f"/{scene.bucket}/secret"
        answer = raw.ask(server, plain(server, "GET", url("GET", path)))
        assert (answer.status, answer.code) == ((200, "") if takes_urls else (400, "InvalidRequest"))
        answer = raw.ask(server, plain(server, "GET", path, header("GET", path)))
        assert (answer.status, answer.code) == (400, "InvalidRequest")
        assert b"AWS4-HMAC-SHA256" in answer.body
    finally:
        assert server.stop() == 0


def test_a_wrong_word_is_no_start(tmp_path):
    server = weir.Server(tmp_path / "data")
    done = server.command("serve", "--data", str(tmp_path / "data"), "--signature-v2", "on")
    assert done.returncode != 0 and "off, forms, urls, all" in done.stderr
