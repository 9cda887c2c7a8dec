"""Server-side encryption: every way in, every way out, every pair of them in copies, and nothing readable on the disk."""

import base64
import hashlib
import itertools
import json
import os
import sys

import pytest
import urllib3
import weir
from botocore.exceptions import ClientError

MIB = 1024 * 1024
TEST_MODE = ["--test-mode", "--test-ssec-plain-http"]


def ssec(letter):
    key = letter.encode() * 32
    return {
        "SSECustomerAlgorithm": "AES256",
        "SSECustomerKey": base64.b64encode(key).decode(),
        "SSECustomerKeyMD5": base64.b64encode(hashlib.md5(key).digest()).decode(),
    }


KEY_A, KEY_B = ssec("a"), ssec("b")
WAYS = {
    "plain": {},
    "customer": KEY_A,
    "s3": {"ServerSideEncryption": "AES256"},
    "kms": {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "key-1"},
}
TELLS = {
    "plain": {},
    "customer": {"SSECustomerAlgorithm": "AES256", "SSECustomerKeyMD5": KEY_A["SSECustomerKeyMD5"]},
    "s3": {"ServerSideEncryption": "AES256"},
    "kms": {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "key-1"},
}
NAMES = ("ServerSideEncryption", "SSEKMSKeyId", "SSECustomerAlgorithm", "SSECustomerKeyMD5")


def reads(way):
    return KEY_A if way == "customer" else {}


def source(way):
    return {"CopySource" + name: value for name, value in reads(way).items()}


def told(answer):
    return {name: answer[name] for name in NAMES if name in answer}


def code(call, **arguments):
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    error = caught.value.response
    return error["ResponseMetadata"]["HTTPStatusCode"], error["Error"]["Code"]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    running = weir.Server(tmp_path_factory.mktemp("encryption") / "data", flags=TEST_MODE).start()
    running.run("kms", "create", "key-1")
    yield running
    assert running.stop() == 0


@pytest.fixture
def s3(server):
    return weir.boto3_client(server)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("size", [0, 1, 1000, 65_520, 65_536, MIB, 3 * MIB + 7])
def test_objects_come_back(s3, bucket, way, size):
    body = os.urandom(size)
    put = s3.put_object(Bucket=bucket, Key="k", Body=body, Metadata={"a": "b"}, **WAYS[way])
    assert told(put) == TELLS[way]
    got = s3.get_object(Bucket=bucket, Key="k", **reads(way))
    assert got["Body"].read() == body
    assert (told(got), got["ContentLength"], got["Metadata"]) == (TELLS[way], size, {"a": "b"})
    head = s3.head_object(Bucket=bucket, Key="k", **reads(way))
    assert (told(head), head["ContentLength"], head["ETag"]) == (TELLS[way], size, put["ETag"])
    is_md5 = put["ETag"] == f'"{hashlib.md5(body).hexdigest()}"'
    assert is_md5 == (way in ("plain", "s3"))
    assert s3.list_objects_v2(Bucket=bucket)["Contents"][0]["Size"] == size
    for first, last in [(0, 0), (size // 2, size - 1), (65_519, 65_520), (size - 1, size + 9)]:
        if 0 <= first < size:
            got = s3.get_object(Bucket=bucket, Key="k", Range=f"bytes={first}-{last}", **reads(way))
            assert got["Body"].read() == body[first : last + 1]
            assert got["ContentRange"] == f"bytes {first}-{min(last, size - 1)}/{size}"


@pytest.mark.parametrize("way", WAYS)
def test_uploads_in_parts(s3, bucket, way):
    body = os.urandom(5 * MIB + 70_000)
    made = s3.create_multipart_upload(Bucket=bucket, Key="k", **WAYS[way])
    assert told(made) == TELLS[way]
    upload = {"Bucket": bucket, "Key": "k", "UploadId": made["UploadId"]}
    parts = []
    for number, piece in [(2, body[5 * MIB :]), (1, b"replaced"), (1, body[: 5 * MIB])]:
        part = s3.upload_part(PartNumber=number, Body=piece, **upload, **reads(way))
        assert told(part) == TELLS[way]
        parts = [{"PartNumber": number, "ETag": part["ETag"]}] + [p for p in parts if p["PartNumber"] != number]
    complete = {"MultipartUpload": {"Parts": parts}} | upload
    if way == "customer":
        assert code(s3.complete_multipart_upload, **complete, **KEY_B) == (400, "InvalidRequest")
    done = s3.complete_multipart_upload(**complete, **reads(way))
    told_by_header = done["ResponseMetadata"]["HTTPHeaders"]
    if way == "customer":
        assert told_by_header["x-amz-server-side-encryption-customer-key-md5"] == KEY_A["SSECustomerKeyMD5"]
    else:
        assert told(done) == TELLS[way]
    got = s3.get_object(Bucket=bucket, Key="k", **reads(way))
    assert got["Body"].read() == body and got["ETag"].endswith('-2"')
    got = s3.get_object(Bucket=bucket, Key="k", PartNumber=2, **reads(way))
    assert got["Body"].read() == body[5 * MIB :]
    got = s3.get_object(Bucket=bucket, Key="k", Range=f"bytes={5 * MIB - 3}-{5 * MIB + 3}", **reads(way))
    assert got["Body"].read() == body[5 * MIB - 3 : 5 * MIB + 4]


@pytest.mark.parametrize("origin,target", list(itertools.product(WAYS, WAYS)))
@pytest.mark.parametrize("size", [10, 200_000])
def test_copies(s3, bucket, origin, target, size):
    body = os.urandom(size)
    s3.put_object(Bucket=bucket, Key="from", Body=body, ContentType="a/b", **WAYS[origin])
    copied = s3.copy_object(
        Bucket=bucket, Key="to", CopySource={"Bucket": bucket, "Key": "from"}, **WAYS[target], **source(origin)
    )
    assert told(copied) == TELLS[target]
    got = s3.get_object(Bucket=bucket, Key="to", **reads(target))
    assert (got["Body"].read(), told(got), got["ContentType"]) == (body, TELLS[target], "a/b")
    assert got["ETag"] == copied["CopyObjectResult"]["ETag"]

    upload = s3.create_multipart_upload(Bucket=bucket, Key="parts", **WAYS[target])["UploadId"]
    upload = {"Bucket": bucket, "Key": "parts", "UploadId": upload}
    part = s3.upload_part_copy(
        PartNumber=1,
        CopySource={"Bucket": bucket, "Key": "from"},
        CopySourceRange=f"bytes=3-{size - 2}",
        **upload,
        **reads(target),
        **source(origin),
    )
    assert told(part) == TELLS[target]
    parts = [{"PartNumber": 1, "ETag": part["CopyPartResult"]["ETag"]}]
    s3.complete_multipart_upload(MultipartUpload={"Parts": parts}, **upload, **reads(target))
    assert s3.get_object(Bucket=bucket, Key="parts", **reads(target))["Body"].read() == body[3:-1]


def test_a_copy_to_itself_changes_the_encryption(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x" * 100_000)
    for way in ("s3", "kms", "customer"):
        before = [name for name in WAYS if name != way]
        held = s3.list_objects_v2(Bucket=bucket)["Contents"][0]["Size"]
        assert held == 100_000 and before
        previous = {"s3": "plain", "kms": "s3", "customer": "kms"}[way]
        s3.copy_object(
            Bucket=bucket, Key="k", CopySource={"Bucket": bucket, "Key": "k"}, **WAYS[way], **source(previous)
        )
        got = s3.get_object(Bucket=bucket, Key="k", **reads(way))
        assert (got["Body"].read(), told(got)) == (b"x" * 100_000, TELLS[way])


def test_checksums_are_of_the_plain_bytes(s3, bucket):
    body = os.urandom(100_000)
    for way in WAYS:
        put = s3.put_object(Bucket=bucket, Key="k", Body=body, ChecksumAlgorithm="SHA256", **WAYS[way])
        assert base64.b64decode(put["ChecksumSHA256"]) == hashlib.sha256(body).digest()
        got = s3.get_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED", **reads(way))
        assert (got["Body"].read(), got["ChecksumSHA256"]) == (body, put["ChecksumSHA256"])


def test_a_customers_key_is_needed_and_no_other(s3, bucket):
    s3.put_object(Bucket=bucket, Key="c", Body=b"secret", **KEY_A)
    s3.put_object(Bucket=bucket, Key="p", Body=b"plain")
    s3.put_object(Bucket=bucket, Key="s", Body=b"s3", ServerSideEncryption="AES256")
    assert code(s3.get_object, Bucket=bucket, Key="c") == (400, "InvalidRequest")
    assert code(s3.get_object, Bucket=bucket, Key="c", **KEY_B) == (403, "AccessDenied")
    assert code(s3.head_object, Bucket=bucket, Key="c")[0] == 400
    assert code(s3.head_object, Bucket=bucket, Key="c", **KEY_B)[0] == 403
    for key in "ps":
        assert code(s3.get_object, Bucket=bucket, Key=key, **KEY_A) == (400, "InvalidRequest")
    attributes = {"Bucket": bucket, "Key": "c", "ObjectAttributes": ["ObjectSize"]}
    assert code(s3.get_object_attributes, **attributes) == (400, "InvalidRequest")
    assert s3.get_object_attributes(**attributes, **KEY_A)["ObjectSize"] == 6
    copy = {"Bucket": bucket, "Key": "t", "CopySource": f"{bucket}/c"}
    assert code(s3.copy_object, **copy) == (400, "InvalidRequest")
    wrong = {"CopySource" + name: value for name, value in KEY_B.items()}
    assert code(s3.copy_object, **copy, **wrong) == (403, "AccessDenied")
    upload = s3.create_multipart_upload(Bucket=bucket, Key="m", **KEY_A)["UploadId"]
    part = {"Bucket": bucket, "Key": "m", "UploadId": upload, "PartNumber": 1, "Body": b"x"}
    assert code(s3.upload_part, **part) == (400, "InvalidRequest")
    assert code(s3.upload_part, **part, **KEY_B) == (400, "InvalidRequest")
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 3


def test_an_upload_with_a_checksum_is_completed_with_the_customers_key(s3, bucket):
    upload = s3.create_multipart_upload(Bucket=bucket, Key="k", ChecksumAlgorithm="SHA256", **KEY_A)["UploadId"]
    upload = {"Bucket": bucket, "Key": "k", "UploadId": upload}
    part = s3.upload_part(PartNumber=1, Body=b"x", ChecksumAlgorithm="SHA256", **upload, **KEY_A)
    parts = [{"PartNumber": 1, "ETag": part["ETag"], "ChecksumSHA256": part["ChecksumSHA256"]}]
    complete = {"MultipartUpload": {"Parts": parts}} | upload
    assert code(s3.complete_multipart_upload, **complete) == (400, "InvalidRequest")
    s3.complete_multipart_upload(**complete, **KEY_A)
    assert s3.get_object(Bucket=bucket, Key="k", **KEY_A)["Body"].read() == b"x"
    # Without one nothing has to be combined that a key is needed for.
    upload = s3.create_multipart_upload(Bucket=bucket, Key="k", **KEY_A)["UploadId"]
    upload = {"Bucket": bucket, "Key": "k", "UploadId": upload}
    part = s3.upload_part(PartNumber=1, Body=b"y", **upload, **KEY_A)
    parts = [{"PartNumber": 1, "ETag": part["ETag"]}]
    s3.complete_multipart_upload(MultipartUpload={"Parts": parts}, **upload)
    assert s3.get_object(Bucket=bucket, Key="k", **KEY_A)["Body"].read() == b"y"


def test_contradictions_are_refused_and_store_nothing(s3, bucket):
    put = {"Bucket": bucket, "Key": "k", "Body": b"x"}
    for wrong in [
        KEY_A | {"SSECustomerKeyMD5": "AAAAAAAAAAAAAAAAAAAAAA=="},
        KEY_A | {"ServerSideEncryption": "AES256"},
        KEY_A | {"ServerSideEncryption": "aws:kms"},
        {"ServerSideEncryption": "aes:kms"},
        {"SSEKMSKeyId": "key-1"},
        {"ServerSideEncryption": "AES256", "SSEKMSKeyId": "key-1"},
        {"ServerSideEncryption": "aws:kms", "SSEKMSEncryptionContext": "no json"},
    ]:
        assert code(s3.put_object, **put, **wrong) == (400, "InvalidArgument"), wrong
        assert code(s3.create_multipart_upload, Bucket=bucket, Key="k", **wrong) == (400, "InvalidArgument"), wrong
    unknown = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "no-such-key"}
    assert code(s3.put_object, **put, **unknown) == (400, "KMS.NotFoundException")
    assert code(s3.put_object, **put, ServerSideEncryption="aws:kms:dsse") == (501, "NotImplemented")
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)

    def declare(request, **_):
        request.headers["x-amz-server-side-encryption"] = "AES256"

    s3.put_object(**put)
    s3.meta.events.register("before-sign.s3.GetObject", declare)
    assert code(s3.get_object, Bucket=bucket, Key="k") == (400, "InvalidArgument")


def test_contexts_defaults_and_rotations(server, s3, bucket):
    context = base64.b64encode(json.dumps({"team": "a"}).encode()).decode()
    kms = {"ServerSideEncryption": "aws:kms"}
    put = s3.put_object(Bucket=bucket, Key="context", Body=b"1", SSEKMSEncryptionContext=context, BucketKeyEnabled=True, **kms)
    assert (put["SSEKMSEncryptionContext"], put["SSEKMSKeyId"], put["BucketKeyEnabled"]) == (context, "aws/s3", True)
    assert s3.head_object(Bucket=bucket, Key="context")["BucketKeyEnabled"] is True
    assert s3.get_object(Bucket=bucket, Key="context")["Body"].read() == b"1"
    arn = "arn:aws:kms:us-east-1:123456789012:key/key-1"
    assert s3.put_object(Bucket=bucket, Key="old", Body=b"old", SSEKMSKeyId=arn, **kms)["SSEKMSKeyId"] == "key-1"
    assert server.run("kms", "rotate", "key-1").stdout.startswith("key-1 has version ")
    s3.put_object(Bucket=bucket, Key="new", Body=b"new", SSEKMSKeyId="key-1", **kms)
    for key in ("old", "new"):
        assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == key.encode()
    listed = {key["name"]: key["versions"] for key in json.loads(server.run("kms", "list", "--json").stdout)}
    assert listed["key-1"] >= 2 and listed["aws/s3"] == 1


@pytest.mark.parametrize("default", ["s3", "kms"])
def test_a_bucket_encrypts_by_itself(s3, bucket, default):
    rule = {"SSEAlgorithm": "AES256"} if default == "s3" else {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": "key-1"}
    s3.put_object(Bucket=bucket, Key="before", Body=b"before")
    rules = {"Rules": [{"ApplyServerSideEncryptionByDefault": rule, "BucketKeyEnabled": default == "kms"}]}
    s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration=rules)
    assert told(s3.put_object(Bucket=bucket, Key="k", Body=b"body")) == TELLS[default]
    head = s3.head_object(Bucket=bucket, Key="k")
    assert (told(head), head.get("BucketKeyEnabled", False)) == (TELLS[default], default == "kms")
    assert told(s3.head_object(Bucket=bucket, Key="before")) == {}
    s3.copy_object(Bucket=bucket, Key="copy", CopySource=f"{bucket}/before")
    got = s3.get_object(Bucket=bucket, Key="copy")
    assert (got["Body"].read(), told(got)) == (b"before", TELLS[default])
    upload = s3.create_multipart_upload(Bucket=bucket, Key="parts")
    assert told(upload) == TELLS[default]
    s3.put_object(Bucket=bucket, Key="own", Body=b"own", **KEY_A)
    assert told(s3.head_object(Bucket=bucket, Key="own", **KEY_A)) == TELLS["customer"]
    # What is tagged is not opened.
    s3.put_object_tagging(Bucket=bucket, Key="own", Tagging={"TagSet": [{"Key": "a", "Value": "b"}]})
    assert s3.get_object(Bucket=bucket, Key="own", **KEY_A)["Body"].read() == b"own"
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    versions = [s3.put_object(Bucket=bucket, Key="v", Body=body)["VersionId"] for body in (b"one", b"two")]
    bodies = [s3.get_object(Bucket=bucket, Key="v", VersionId=version)["Body"].read() for version in versions]
    assert bodies == [b"one", b"two"]
    s3.delete_bucket_encryption(Bucket=bucket)
    assert told(s3.put_object(Bucket=bucket, Key="k", Body=b"body")) == {}


def test_customers_keys_do_not_come_in_the_clear(tmp_path):
    running = weir.Server(tmp_path / "data").start()
    try:
        s3 = weir.boto3_client(running)
        s3.create_bucket(Bucket="clear-text")
        assert code(s3.put_object, Bucket="clear-text", Key="k", Body=b"x", **KEY_A) == (400, "InvalidRequest")
        assert "Contents" not in s3.list_objects_v2(Bucket="clear-text")
        assert "TEST MODE" not in running.log.read_text()
    finally:
        assert running.stop() == 0
    with pytest.raises(AssertionError, match="--test-mode"):
        weir.Server(tmp_path / "other", flags=["--test-ssec-plain-http"]).start()


def test_nothing_readable_is_on_the_disk_or_in_the_log(tmp_path, monkeypatch):
    plain = weir.clean_environment
    monkeypatch.setattr(weir, "clean_environment", lambda: plain() | {"WEIR_LOG": "trace,s3s=trace"})
    running = weir.Server(tmp_path / "data", flags=TEST_MODE).start()
    marks = []
    try:
        running.run("kms", "create", "key-1")
        s3 = weir.boto3_client(running)
        s3.create_bucket(Bucket="marked")
        for way in WAYS:
            for size in (1000, 300_000):
                mark = f"mark of {way} in {size} bytes".encode()
                s3.put_object(Bucket="marked", Key=f"{way}-{size}", Body=mark * (size // len(mark)), **WAYS[way])
                marks.append((way, mark))
        assert "TEST MODE" in running.log.read_text()
        assert running.stop() == 0
        running.start()
        got = s3 = weir.boto3_client(running)
        for way, mark in marks:
            size = int(mark.split()[-2])
            got = s3.get_object(Bucket="marked", Key=f"{way}-{size}", **reads(way))
            assert got["Body"].read() == mark * (size // len(mark))
    finally:
        running.stop()
    # Without Weir they come out as they are stored, and are said to be so.
    weir.run([sys.executable, str(running.data / "restore.py"), str(running.data), str(tmp_path / "out")])
    restored = [json.loads(line) for line in (tmp_path / "out" / "index.jsonl").read_text().splitlines()]
    assert {line["key"] for line in restored} == {f"{way}-{size}" for way in WAYS for size in (1000, 300_000)}
    for line in restored:
        stored = (tmp_path / "out" / line["file"]).stat().st_size
        blocks = -(-line["size"] // 65_520)
        is_plain = line["key"].startswith("plain-")
        assert (stored, "encrypted" in line) == (line["size"] + (0 if is_plain else 16 * blocks), not is_plain)
    root = (running.data / "control" / "root.key").read_text().strip()
    assert os.stat(running.data / "control" / "root.key").st_mode & 0o777 == 0o600
    content = {path: path.read_bytes() for path in running.data.rglob("*") if path.is_file()}
    for way, mark in marks:
        found = [path for path, data in content.items() if mark in data]
        assert bool(found) == (way == "plain"), (way, found)
    for secret in (b"a" * 32, KEY_A["SSECustomerKey"].encode(), bytes.fromhex(root)):
        # A root key that is kept here is in the backup beside it, which is as private.
        holding = {path.name for path, data in content.items() if secret in data}
        assert holding <= ({"control.backup"} if secret == bytes.fromhex(root) else set())
    # The first administrator's key is kept for people, in a file of its own; in the control store it is sealed.
    holding = {path.name for path, data in content.items() if weir.SECRET_KEY.encode() in data}
    assert holding == {"admin-credentials"}
    log = running.log.read_text()
    assert len(log) > 10_000
    assert root not in log and KEY_A["SSECustomerKey"] not in log and weir.SECRET_KEY not in log


def test_a_form_is_encrypted(server, s3, bucket):
    fields = {"x-amz-server-side-encryption": "aws:kms", "x-amz-server-side-encryption-aws-kms-key-id": "key-1"}
    form = s3.generate_presigned_post(bucket, "form", Fields=fields, Conditions=[{name: value} for name, value in fields.items()])
    parts = [*form["fields"].items(), ("file", ("name", b"of a form", "text/plain"))]
    answer = urllib3.PoolManager(retries=False).request("POST", form["url"], fields=parts)
    assert (answer.status, answer.headers["x-amz-server-side-encryption"]) == (204, "aws:kms")
    got = s3.get_object(Bucket=bucket, Key="form")
    assert (got["Body"].read(), told(got)) == (b"of a form", TELLS["kms"])
