"""Browsers' form uploads: policies that boto3 signs, forms that urllib3 and curl send."""

import base64
import hashlib
import http.client
import json
import shutil
import subprocess
import time
import urllib.parse
import xml.etree.ElementTree as ET
from pathlib import Path

import boto3
import pytest
import raw
import urllib3
import weir
from sigv4 import presigned

HTTP = urllib3.PoolManager(retries=False)


def signed(s3, bucket, key, fields=None, conditions=None, expires_s=600):
    return s3.generate_presigned_post(bucket, key, Fields=fields, Conditions=conditions, ExpiresIn=expires_s)


def send(form, content=b"content", filename="name.txt", change=None, behind=None, **more):
    """Posts the form; `change` replaces fields (None takes one away), `behind` come after the file."""
    fields = {**form["fields"], **(change or {})}
    parts = [(name, value) for name, value in fields.items() if value is not None]
    parts += [("file", (filename, content, "application/octet-stream")), *(behind or [])]
    return HTTP.request("POST", form["url"], fields=parts, redirect=False, **more)


def code(answer):
    document = ET.fromstring(answer.data)
    assert document.findtext("RequestId") == answer.headers["x-amz-request-id"]
    return answer.status, document.findtext("Code")


def keys(s3, bucket):
    return [entry["Key"] for entry in s3.list_objects_v2(Bucket=bucket).get("Contents", [])]


def test_a_form_becomes_an_object(s3, bucket):
    fields = {"Content-Type": "text/plain", "Cache-Control": "no-cache", "x-amz-meta-colour": "grün"}
    form = signed(s3, bucket, "a/${filename}", fields, [{name: value} for name, value in fields.items()])
    answer = send(form, b"hello", filename="C:\\Users\\x\\größe.txt")
    assert (answer.status, answer.data) == (204, b"")
    assert answer.headers["etag"] == f'"{hashlib.md5(b"hello").hexdigest()}"'
    assert answer.headers["location"].endswith(f"/{bucket}/a/gr%C3%B6%C3%9Fe.txt")
    got = s3.get_object(Bucket=bucket, Key="a/größe.txt")
    assert got["Body"].read() == b"hello"
    assert (got["ContentType"], got["CacheControl"]) == ("text/plain", "no-cache")
    # Not ASCII, so S3 answers an RFC 2047 word.
    assert got["Metadata"]["colour"] == "=?UTF-8?B?" + base64.b64encode("grün".encode()).decode() + "?="


@pytest.mark.parametrize("length", [0, 1, 65536, 65537, 3 * 1024 * 1024 + 5])
def test_contents_of_every_length_come_whole(s3, bucket, length):
    content = (b"line\r\n--not-the-boundary\r\n" * (length // 26 + 1))[:length]
    assert send(signed(s3, bucket, "k"), content).status == 204
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == content


def test_the_form_says_what_it_wants_to_hear(s3, bucket):
    def answer(name, value):
        return send(signed(s3, bucket, "a b&c", {name: value}, [{name: value}]))

    assert answer("success_action_status", "200").status == 200
    assert answer("success_action_status", "404").status == 204
    created = answer("success_action_status", "201")
    document = ET.fromstring(created.data)
    assert (created.status, document.tag) == (201, "PostResponse")
    assert [document.findtext(name) for name in ("Bucket", "Key", "ETag")] == [bucket, "a b&c", created.headers["etag"]]
    redirected = answer("success_action_redirect", "https://example.com/done?x=1")
    etag = created.headers["etag"].strip('"')
    expected = f"https://example.com/done?x=1&bucket={bucket}&key=a%20b%26c&etag=%22{etag}%22"
    assert (redirected.status, redirected.headers["location"]) == (303, expected)
    assert answer("success_action_redirect", "javascript:alert(1)").status == 204


def test_a_redirect_to_the_bucket_is_a_listing(server, s3, bucket):
    """What the redirect adds to the address selects nothing there, and nothing else may be added with it."""
    home = f"{server.endpoint}/{bucket}"
    to_home = {"success_action_redirect": home}
    answer = send(signed(s3, bucket, "k", to_home, [to_home]))
    split = urllib.parse.urlsplit(answer.headers["location"])
    assert f"{split.scheme}://{split.netloc}{split.path}" == home
    added = urllib.parse.parse_qsl(split.query)
    assert [name for name, _ in added] == ["bucket", "key", "etag"]

    def ask(query, method="GET"):
        return HTTP.request(method, server.endpoint + presigned(server, method, f"/{bucket}", query=query))

    listed = ask(added)
    assert listed.status == 200 and b"<Key>k</Key>" in listed.data, listed.data
    for more in ("prefix", "delete", "acl", "x"):
        assert ask([*added, (more, "")]).status == 501, more
    assert ask([*added, ("key", "b")]).status == 400
    assert ask(added, "DELETE").status == 501 and keys(s3, bucket) == ["k"]


def test_every_condition_is_enforced(s3, bucket):
    conditions = [["starts-with", "$key", "user/"], ["content-length-range", 3, 10], ["starts-with", "$Content-Type", "image/"]]
    form = signed(s3, bucket, "user/${filename}", {"Content-Type": "image/png"}, conditions)
    # boto3 adds a condition on the key as it is given, which this one replaces.
    policy = json.loads(base64.b64decode(form["fields"]["policy"]))
    assert ["starts-with", "$key", "user/"] in policy["conditions"]

    assert send(form, b"1234").status == 204
    assert code(send(form, b"12")) == (400, "EntityTooSmall")
    assert code(send(form, b"12345678901")) == (400, "EntityTooLarge")
    refused = (403, "AccessDenied")
    assert code(send(form, b"1234", change={"key": "other/${filename}"})) == refused
    assert code(send(form, b"1234", change={"Content-Type": "text/html"})) == refused
    assert code(send(form, b"1234", change={"Content-Type": None})) == refused
    assert code(send(form, b"1234", change={"x-amz-meta-extra": "1"})) == refused
    assert code(send(form, b"1234", change={"acl": "private"})) == refused
    assert send(form, b"1234", change={"x-ignore-this": "1"}).status == 204
    assert keys(s3, bucket) == ["user/name.txt"]


def test_signatures_are_verified(s3, bucket):
    form = signed(s3, bucket, "k")
    first = form["fields"]["x-amz-signature"][0]
    other = {"x-amz-signature": ("0" if first != "0" else "1") + form["fields"]["x-amz-signature"][1:]}
    assert code(send(form, change=other)) == (403, "SignatureDoesNotMatch")
    later = json.loads(base64.b64decode(form["fields"]["policy"]))
    later["expiration"] = "2099-01-01T00:00:00Z"
    forged = {"policy": base64.b64encode(json.dumps(later).encode()).decode()}
    assert code(send(form, change=forged)) == (403, "SignatureDoesNotMatch")
    nobody = form["fields"]["x-amz-credential"].replace(weir.ACCESS_KEY, "WEIRTESTNOBODY000001")
    assert code(send(form, change={"x-amz-credential": nobody})) == (403, "InvalidAccessKeyId")
    assert code(send(form, change={"x-amz-signature": None})) == (400, "InvalidArgument")
    assert code(send(form, change={"policy": None})) == (400, "InvalidArgument")
    assert code(send(form, change={"key": None})) == (400, "InvalidArgument")
    short = signed(s3, bucket, "k", expires_s=1)
    time.sleep(1.5)
    assert code(send(short)) == (403, "AccessDenied")
    assert keys(s3, bucket) == []


def test_buckets_are_their_owners(server, s3, bucket, name):
    server.run("key", "import", "--owner", "form-other", "--access-key", "WEIRTESTFORM00000001", "--secret-key", "f" * 40)
    other = weir.boto3_client(server, "WEIRTESTFORM00000001", "f" * 40)
    assert code(send(signed(other, bucket, "k"))) == (403, "AccessDenied")
    assert code(send(signed(s3, f"{name}-gone", "k"))) == (404, "NoSuchBucket")
    form = signed(s3, bucket, "k")
    elsewhere = {**form, "url": form["url"].replace(bucket, f"{name}-2")}
    s3.create_bucket(Bucket=f"{name}-2")
    assert code(send(elsewhere)) == (403, "AccessDenied")


def writer_without_locked(server, bucket):
    """The keys of a user who may put everything but what is under `locked/`."""
    server.run("key", "import", "--owner", bucket, "--access-key", f"WK{bucket[5:].upper()}", "--secret-key", "r" * 40)
    root = {"aws_access_key_id": f"WK{bucket[5:].upper()}", "aws_secret_access_key": "r" * 40}
    iam = boto3.client("iam", endpoint_url=server.endpoint, region_name=weir.REGION, **root)
    statements = [
        {"Effect": "Allow", "Action": "s3:*", "Resource": "*"},
        {"Effect": "Deny", "Action": "s3:*", "Resource": f"arn:aws:s3:::{bucket}/locked/*"},
    ]
    policy = json.dumps({"Version": "2012-10-17", "Statement": statements})
    iam.create_user(UserName="writer")
    iam.put_user_policy(UserName="writer", PolicyName="p", PolicyDocument=policy)
    made = iam.create_access_key(UserName="writer")["AccessKey"]
    owner = weir.boto3_client(server, root["aws_access_key_id"], root["aws_secret_access_key"])
    owner.create_bucket(Bucket=bucket)
    return owner, weir.boto3_client(server, made["AccessKeyId"], made["SecretAccessKey"])


def test_a_form_is_one_whatever_its_content_type_looks_like(server, name):
    """A form has one reader, who asks about its key."""
    owner, writer = writer_without_locked(server, name)
    form = signed(writer, name, "locked/k")
    fields = [*form["fields"].items(), ("file", ("f", b"x", "text/plain"))]
    body, _ = urllib3.encode_multipart_formdata(fields, boundary="x")

    def post(query, types):
        lines = "".join(f"content-type:{kind}\r\n" for kind in types)
        head = f"POST /{name}{query} HTTP/1.1\r\nhost: 127.0.0.1:{server.port}\r\n{lines}content-length: {len(body)}\r\n\r\n"
        return raw.ask(server, head.encode("latin-1") + body)

    plain = "multipart/form-data; boundary=x"
    assert (post("", [plain]).status, post("", [plain]).code) == (403, "AccessDenied")
    for types in [
        [plain], ['multipart/form-data; boundary=x; a="\xc3\xa9"'], ['multipart/form-data; a="\xe9"; boundary=x'],
        ["\t multipart/form-data; boundary=x"], ["MULTIPART/Form-Data; boundary=x"], ['multipart/form-data; boundary="x"'],
        ["multipart/form-data+xml; boundary=x"], ["\xe9", plain], ["text/plain", plain], [plain, "text/plain"],
    ]:
        for query in ["?delete", "?delete=", "?x-id=DeleteObjects&delete", ""]:
            answer = post(query, types)
            assert 400 <= answer.status < 500 or answer.code == "NotImplemented", (types, query, answer)
            assert keys(owner, name) == [], (types, query, answer)
    assert send(signed(writer, name, "k")).status == 204 and keys(owner, name) == ["k"]


def test_checksums_of_forms_are_verified(s3, bucket):
    value = base64.b64encode(hashlib.sha256(b"content").digest()).decode()
    fields = {"x-amz-checksum-sha256": value}
    form = signed(s3, bucket, "k", fields, [fields])
    assert code(send(form, b"kontent")) == (400, "BadDigest")
    assert keys(s3, bucket) == []
    assert send(form, b"content").status == 204
    assert s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")["ChecksumSHA256"] == value


def test_promises_that_cannot_be_kept_are_refused(s3, bucket):
    for fields, refused in [
        ({"acl": "public-read"}, (400, "AccessControlListNotSupported")),
        ({"acl": "public-ready"}, (400, "InvalidArgument")),
        ({"x-amz-grant-read": "id=1"}, (400, "InvalidArgument")),
        ({"x-amz-server-side-encryption": "aws:kms:dsse"}, (501, "NotImplemented")),
    ]:
        assert code(send(signed(s3, bucket, "k", fields, [fields]))) == refused, fields
    assert keys(s3, bucket) == []


def test_what_is_behind_the_file_is_ignored_and_bounded(s3, bucket):
    form = signed(s3, bucket, "k")
    assert send(form, behind=[("x-amz-meta-late", "1"), ("submit", "")]).status == 204
    assert s3.head_object(Bucket=bucket, Key="k")["Metadata"] == {}
    assert code(send(form, behind=[("late", "x" * 40_000)])) == (400, "MaxPostPreDataLengthExceeded")
    assert code(send(form, change={"x-ignore-a": "x" * 40_000})) == (400, "MaxPostPreDataLengthExceeded")
    second = ("file", ("b", b"b", "text/plain"))
    assert code(send(form, behind=[second])) == (400, "IncorrectNumberOfFilesInPostRequest")


def test_a_form_that_ends_early_commits_nothing(server, s3, bucket):
    form = signed(s3, bucket, "k")
    body, content_type = urllib3.encode_multipart_formdata([*form["fields"].items(), ("file", ("f", b"x" * 1000))])
    for body in [body[:-2 - len("--\r\n")], body[:-500], body[:100], b""]:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
        connection.request("POST", f"/{bucket}", body, {"Content-Type": content_type})
        answer = connection.getresponse()
        assert answer.status == 400 and b"<Code>IncompleteBody</Code>" in answer.read()
        connection.close()
    for wrong in ["multipart/form-data", "multipart/form-data; boundary="]:
        answer = HTTP.request("POST", form["url"], body=b"x", headers={"Content-Type": wrong})
        assert code(answer) == (400, "MalformedPOSTRequest")
    assert keys(s3, bucket) == []
    assert server.staging_files() == []


def resident_bytes(server):
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))


def test_files_are_never_held_in_memory(own_server, tmp_path):
    """Neither somebody's nor nobody's. By curl, which also waits for `100 Continue`."""
    curl = shutil.which("curl")
    if curl is None:
        pytest.skip("curl is not installed")
    s3 = weir.boto3_client(own_server)
    s3.create_bucket(Bucket="forms")
    length = 200 * 1024 * 1024
    large = tmp_path / "large"
    with large.open("wb") as file:
        file.truncate(length)
    form = signed(s3, "forms", "${filename}")
    fields = [word for name, value in form["fields"].items() for word in ("--form-string", f"{name}={value}")]

    def post(fields):
        command = [curl, "-sS", "-w", "%{http_code}", *fields, "-F", f"file=@{large}", form["url"]]
        return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=240).stdout

    before = resident_bytes(own_server)
    assert post(["--form-string", "key=k"]).endswith("403")
    assert post(fields) == "204"
    assert s3.head_object(Bucket="forms", Key="large")["ContentLength"] == length
    assert resident_bytes(own_server) - before < 64 * 1024 * 1024


def test_signatures_of_version_2_need_a_switch(s3, bucket, tmp_path):
    import hmac

    def form(url):
        conditions = [{"bucket": "old-forms"}, ["starts-with", "$key", ""]]
        policy = json.dumps({"expiration": "2099-01-01T00:00:00Z", "conditions": conditions})
        policy = base64.b64encode(policy.encode()).decode()
        signature = hmac.new(weir.SECRET_KEY.encode(), policy.encode(), hashlib.sha1).digest()
        fields = {"key": "k", "AWSAccessKeyId": weir.ACCESS_KEY, "policy": policy}
        return {"url": url, "fields": fields | {"signature": base64.b64encode(signature).decode()}}

    ordinary = s3.meta.endpoint_url
    assert code(send(form(f"{ordinary}/{bucket}"))) == (400, "InvalidRequest")
    old = weir.Server(tmp_path / "data", flags=["--signature-v2", "forms"]).start()
    try:
        weir.boto3_client(old).create_bucket(Bucket="old-forms")
        url = f"{old.endpoint}/old-forms"
        assert send(form(url)).status == 204
        assert code(send(form(url), change={"signature": base64.b64encode(b"0" * 20).decode()})) == (403, "SignatureDoesNotMatch")
    finally:
        old.kill()
