"""What goes beyond general purpose buckets of S3: rename, append, listings with metadata, changes of metadata alone."""

import hashlib
import os
import time
import xml.etree.ElementTree as ET
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone

import pytest
import weir
from botocore.exceptions import ClientError

SMALL, LARGE = b"small", os.urandom(200_000)


def refused(call, **arguments):
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    answer = caught.value.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"]


def body(s3, bucket, key):
    return s3.get_object(Bucket=bucket, Key=key)["Body"].read()


def keys(s3, bucket):
    return [entry["Key"] for entry in s3.list_objects_v2(Bucket=bucket).get("Contents", [])]


def rename(s3, bucket, source, key, **more):
    return s3.rename_object(Bucket=bucket, Key=key, RenameSource=f"{bucket}/{source}", **more)


@pytest.mark.parametrize("content", [SMALL, LARGE, b""], ids=["small", "large", "empty"])
def test_a_rename_moves_everything(s3, bucket, content):
    s3.put_object(Bucket=bucket, Key="old", Body=content, Metadata={"m": "1"}, Tagging="a=1", ContentType="a/b")
    before = s3.head_object(Bucket=bucket, Key="old")
    rename(s3, bucket, "old", "new/name ü")
    assert keys(s3, bucket) == ["new/name ü"]
    assert refused(s3.get_object, Bucket=bucket, Key="old") == (404, "NoSuchKey")
    got = s3.get_object(Bucket=bucket, Key="new/name ü")
    assert (got["Body"].read(), got["Metadata"], got["TagCount"], got["ContentType"]) == (content, {"m": "1"}, 1, "a/b")
    assert (got["ETag"], got["LastModified"]) == (before["ETag"], before["LastModified"])
    # And over another object, whose files go.
    s3.put_object(Bucket=bucket, Key="other", Body=LARGE)
    rename(s3, bucket, "new/name%20%C3%BC", "other")
    assert keys(s3, bucket) == ["other"] and body(s3, bucket, "other") == content


def test_renames_of_multipart_objects_stay_over_a_crash(own_server):
    s3 = weir.boto3_client(own_server)
    s3.create_bucket(Bucket="renames")
    parts, content = [], [os.urandom(5 * 1024 * 1024), b"end"]
    upload = s3.create_multipart_upload(Bucket="renames", Key="old")["UploadId"]
    for number, part in enumerate(content, 1):
        answer = s3.upload_part(Bucket="renames", Key="old", UploadId=upload, PartNumber=number, Body=part)
        parts.append({"PartNumber": number, "ETag": answer["ETag"]})
    s3.complete_multipart_upload(Bucket="renames", Key="old", UploadId=upload, MultipartUpload={"Parts": parts})
    rename(s3, "renames", "old", "new")
    own_server.restart_killed()
    s3 = weir.boto3_client(own_server)
    assert keys(s3, "renames") == ["new"] and body(s3, "renames", "new") == b"".join(content)
    assert s3.get_object(Bucket="renames", Key="new", PartNumber=2)["Body"].read() == b"end"
    s3.delete_object(Bucket="renames", Key="new")


def test_conditions_of_renames(s3, bucket):
    etag = s3.put_object(Bucket=bucket, Key="a", Body=b"1")["ETag"]
    other = s3.put_object(Bucket=bucket, Key="b", Body=b"2")["ETag"]
    past, future = datetime(2001, 1, 1, tzinfo=timezone.utc), datetime.now(timezone.utc) + timedelta(days=1)
    for more in [
        {"SourceIfMatch": other}, {"SourceIfNoneMatch": etag}, {"SourceIfUnmodifiedSince": past}, {"SourceIfNoneMatch": "*"},
        {"DestinationIfNoneMatch": "*"}, {"DestinationIfMatch": etag}, {"DestinationIfUnmodifiedSince": past},
    ]:
        assert refused(rename, s3=s3, bucket=bucket, source="a", key="b", **more) == (412, "PreconditionFailed"), more
    assert refused(rename, s3=s3, bucket=bucket, source="none", key="b") == (404, "NoSuchKey")
    assert refused(rename, s3=s3, bucket=bucket, source="a", key="a") == (400, "InvalidRequest")
    assert refused(s3.rename_object, Bucket=bucket, Key="b", RenameSource="elsewhere/a") == (400, "InvalidRequest")
    assert refused(s3.rename_object, Bucket=bucket, Key="b", RenameSource="a") == (400, "InvalidArgument")
    assert (body(s3, bucket, "a"), body(s3, bucket, "b")) == (b"1", b"2")
    rename(s3, bucket, "a", "b", SourceIfMatch=etag, DestinationIfMatch=other, SourceIfUnmodifiedSince=future)
    assert keys(s3, bucket) == ["b"] and body(s3, bucket, "b") == b"1"
    rename(s3, bucket, "b", "c", DestinationIfNoneMatch="*")
    assert keys(s3, bucket) == ["c"]


def test_a_rename_is_nothing_else(s3, bucket, server):
    """s3s takes it for a PutObject, or for a CopyObject where a header says so."""
    s3.put_object(Bucket=bucket, Key="a", Body=b"1")

    def add(headers=(), body=b""):
        def change(params, **_):
            params["headers"].update(dict(headers))
            params["body"] = body
        return change

    for change in [add({"x-amz-copy-source": f"{bucket}/a"}), add(body=b"content")]:
        other = weir.boto3_client(server)
        other.meta.events.register("before-call.s3.RenameObject", change)
        assert refused(rename, s3=other, bucket=bucket, source="a", key="b") == (400, "InvalidRequest")
    assert keys(s3, bucket) == ["a"]


def test_a_token_makes_a_rename_repeatable(s3, bucket):
    s3.put_object(Bucket=bucket, Key="a", Body=b"1")
    rename(s3, bucket, "a", "b", ClientToken="token-1")
    rename(s3, bucket, "a", "b", ClientToken="token-1")
    assert keys(s3, bucket) == ["b"]
    assert refused(rename, s3=s3, bucket=bucket, source="b", key="c", ClientToken="token-1") == (400, "IdempotencyParameterMismatch")
    assert refused(rename, s3=s3, bucket=bucket, source="a", key="b", ClientToken="token-2") == (404, "NoSuchKey")


def test_of_many_renames_one_wins(s3, bucket):
    s3.put_object(Bucket=bucket, Key="a", Body=LARGE)

    def attempt(index):
        try:
            rename(s3, bucket, "a", f"b{index}")
            return True
        except ClientError as error:
            assert error.response["Error"]["Code"] == "NoSuchKey"
            return False

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(attempt, range(8)))
    assert won.count(True) == 1 and keys(s3, bucket) == [f"b{won.index(True)}"]
    assert body(s3, bucket, f"b{won.index(True)}") == LARGE


def test_versions_are_neither_renamed_nor_appended(s3, bucket):
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    s3.put_object(Bucket=bucket, Key="a", Body=b"1")
    assert refused(rename, s3=s3, bucket=bucket, source="a", key="b") == (400, "InvalidRequest")
    assert refused(s3.put_object, Bucket=bucket, Key="a", Body=b"2", WriteOffsetBytes=1) == (400, "InvalidRequest")
    assert keys(s3, bucket) == ["a"] and body(s3, bucket, "a") == b"1"


def append(s3, bucket, key, content, offset, **more):
    return s3.put_object(Bucket=bucket, Key=key, Body=content, WriteOffsetBytes=offset, **more)


# Pieces on both sides of the length from which on an object is a file of its own.
PIECES = [[b"a", b"bc", b""], [b"x" * 60_000, b"y" * 60_000, b"z"], [LARGE, b"1", b"2" * 70_000], [b"", LARGE, LARGE], [b"", b"", b"q"]]


@pytest.mark.parametrize("pieces", PIECES, ids=["small", "growing", "large", "from-nothing", "empty"])
def test_appends_of_every_length(s3, bucket, pieces):
    content = b""
    for piece in pieces:
        more = {"Metadata": {"m": "1"}} if content == b"" and piece is pieces[0] else {}
        answer = append(s3, bucket, "log", piece, len(content), **more)
        content += piece
        assert answer["Size"] == len(content)
        got = s3.get_object(Bucket=bucket, Key="log", ChecksumMode="ENABLED")
        assert (got["Body"].read(), got["ETag"]) == (content, answer["ETag"])
    md5 = hashlib.md5(content).hexdigest()
    assert (answer["ETag"] == f'"{md5}"') == (len(content) <= 65536)
    middle = s3.get_object(Bucket=bucket, Key="log", Range=f"bytes={len(pieces[0])}-")["Body"].read() if content[len(pieces[0]):] else b""
    assert middle == content[len(pieces[0]):]
    attributes = s3.get_object_attributes(Bucket=bucket, Key="log", ObjectAttributes=["Checksum", "ObjectSize", "ObjectParts"])
    # The checksum that was combined is that of a fresh upload of the same bytes.
    fresh = s3.put_object(Bucket=bucket, Key="fresh", Body=content)["ChecksumCRC32"]
    assert (attributes["ObjectSize"], attributes["Checksum"]["ChecksumCRC32"]) == (len(content), fresh)
    assert attributes["Checksum"]["ChecksumType"] == "FULL_OBJECT"


def test_wrong_offsets_append_nothing(s3, bucket):
    assert refused(append, s3=s3, bucket=bucket, key="k", content=b"1", offset=1) == (400, "InvalidWriteOffset")
    assert keys(s3, bucket) == []
    append(s3, bucket, "k", b"123", 0)
    for offset in [0, 2, 4]:
        assert refused(append, s3=s3, bucket=bucket, key="k", content=b"x", offset=offset) == (400, "InvalidWriteOffset")
    more = {"s3": s3, "bucket": bucket, "key": "k", "content": b"x", "offset": 3}
    assert refused(append, **more, Metadata={"m": "1"}) == (400, "InvalidRequest")
    assert refused(append, **more, IfMatch='"' + "0" * 32 + '"') == (412, "PreconditionFailed")
    assert refused(append, **more, ContentMD5="AAAAAAAAAAAAAAAAAAAAAA==") == (400, "BadDigest")
    assert body(s3, bucket, "k") == b"123"


def test_of_many_appends_at_one_offset_one_wins(s3, bucket):
    append(s3, bucket, "k", LARGE, 0)

    def attempt(index):
        try:
            append(s3, bucket, "k", bytes([index]) * 10, len(LARGE))
            return index
        except ClientError as error:
            assert error.response["Error"]["Code"] == "InvalidWriteOffset"

    with ThreadPoolExecutor(8) as pool:
        won = [index for index in pool.map(attempt, range(8)) if index is not None]
    assert len(won) == 1 and body(s3, bucket, "k") == LARGE + bytes(won) * 10


def test_encrypted_objects_are_neither_renamed_nor_appended(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=LARGE, ServerSideEncryption="AES256")
    assert refused(rename, s3=s3, bucket=bucket, source="k", key="b") == (501, "NotImplemented")
    more = {"s3": s3, "bucket": bucket, "key": "k", "content": b"x", "offset": len(LARGE)}
    assert refused(append, **more) == (501, "NotImplemented")
    assert refused(append, **more, ServerSideEncryption="AES256") == (501, "NotImplemented")
    assert keys(s3, bucket) == ["k"] and body(s3, bucket, "k") == LARGE
    change = {"Bucket": bucket, "Key": "k", "CopySource": f"{bucket}/k", "MetadataDirective": "REPLACE"}
    s3.copy_object(**change, Metadata={"n": "2"}, ServerSideEncryption="AES256")
    head = s3.head_object(Bucket=bucket, Key="k")
    assert (head["Metadata"], head["ServerSideEncryption"]) == ({"n": "2"}, "AES256")
    assert body(s3, bucket, "k") == LARGE


def test_appends_stay_over_a_crash(own_server):
    s3 = weir.boto3_client(own_server)
    s3.create_bucket(Bucket="appends")
    content = b""
    for index in range(20):
        piece = os.urandom(10_000)
        append(s3, "appends", "log", piece, len(content))
        content += piece
        if index == 10:
            own_server.restart_killed()
            s3 = weir.boto3_client(own_server)
    own_server.restart_killed()
    s3 = weir.boto3_client(own_server)
    assert body(s3, "appends", "log") == content
    s3.copy_object(Bucket="appends", Key="copy", CopySource="appends/log")
    s3.delete_object(Bucket="appends", Key="log")
    assert body(s3, "appends", "copy") == content


def test_listings_with_metadata(s3, bucket):
    s3.put_object(Bucket=bucket, Key="a/1", Body=b"1", Metadata={"colour-name": "green", "x": "1"}, Tagging="t=a%20b&u=2", ContentType="a/b")
    s3.put_object(Bucket=bucket, Key="a/2<&>", Body=b"2", StorageClass="GLACIER")
    s3.put_object(Bucket=bucket, Key="b/3", Body=b"3")
    raw = {}
    s3.meta.events.register("before-call.s3.ListObjectsV2", lambda params, **_: params.update(url=params["url"] + "&metadata=true"))
    s3.meta.events.register("after-call.s3.ListObjectsV2", lambda http_response, **_: raw.update(text=http_response.text))
    page = s3.list_objects_v2(Bucket=bucket, Delimiter="/", Prefix="a/", FetchOwner=True)
    # To a client that does not know of it the page is as ever.
    assert [(entry["Key"], entry["Size"], entry["StorageClass"]) for entry in page["Contents"]] == [("a/1", 1, "STANDARD"), ("a/2<&>", 1, "GLACIER")]
    assert page["Contents"][0]["Owner"]["ID"] and page["KeyCount"] == 2
    space = "{http://s3.amazonaws.com/doc/2006-03-01/}"
    first, second = ET.fromstring(raw["text"]).findall(f"{space}Contents")
    kept = {element.tag.removeprefix(space): element.text for element in first.find(f"{space}UserMetadata")}
    assert kept["X-Amz-Meta-X"] == "1" and kept["content-type"] == "a/b" and "X-Amz-Meta-Colour-Name" in kept
    assert first.findtext(f"{space}UserTags") == "t=a%20b&u=2"
    assert second.find(f"{space}UserTags") is None
    page = s3.list_objects_v2(Bucket=bucket, Delimiter="/")
    assert [entry["Prefix"] for entry in page["CommonPrefixes"]] == ["a/", "b/"]
    page = s3.list_objects_v2(Bucket=bucket, MaxKeys=1)
    assert s3.list_objects_v2(Bucket=bucket, ContinuationToken=page["NextContinuationToken"])["Contents"][0]["Key"] == "a/2<&>"


def test_metadata_alone_is_changed(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=LARGE, Metadata={"m": "1"}, Tagging="a=1")
    etag = s3.head_object(Bucket=bucket, Key="k")["ETag"]
    change = {"Bucket": bucket, "Key": "k", "CopySource": f"{bucket}/k", "MetadataDirective": "REPLACE", "Metadata": {"n": "2"}}
    wrong = '"' + "0" * 32 + '"'
    assert refused(s3.copy_object, **change, CopySourceIfMatch=wrong) == (412, "PreconditionFailed")
    assert s3.head_object(Bucket=bucket, Key="k")["Metadata"] == {"m": "1"}
    changed = s3.copy_object(**change, CopySourceIfMatch=etag, ContentType="a/b")
    assert changed["CopyObjectResult"]["ETag"] == etag
    got = s3.get_object(Bucket=bucket, Key="k")
    assert (got["Metadata"], got["ContentType"], got["TagCount"], got["Body"].read()) == ({"n": "2"}, "a/b", 1, LARGE)
    assert refused(s3.copy_object, **change, IfNoneMatch="*") == (412, "PreconditionFailed")
    assert s3.copy_object(**change, IfMatch=etag)["CopyObjectResult"]["ETag"] == etag


def test_changes_of_metadata_leave_the_files_alone(own_server):
    s3 = weir.boto3_client(own_server)
    s3.create_bucket(Bucket="files")
    s3.put_object(Bucket="files", Key="k", Body=LARGE)
    files = lambda: {path for path in (own_server.data / "objects").rglob("*") if path.is_file()}  # noqa: E731
    # A file gets its place behind the answer of its PUT.
    until = time.monotonic() + 30
    while not files() and time.monotonic() < until:
        time.sleep(0.01)
    before = files()
    change = {"Bucket": "files", "Key": "k", "CopySource": "files/k", "MetadataDirective": "REPLACE"}

    def attempt(index):
        s3.copy_object(**change, Metadata={"index": str(index)})

    # Unconditional, so that all of them happen.
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(attempt, range(16)))
    assert len(before) == 1 and files() == before
    own_server.restart_killed()
    s3 = weir.boto3_client(own_server)
    assert body(s3, "files", "k") == LARGE and s3.head_object(Bucket="files", Key="k")["Metadata"]["index"]
    s3.delete_object(Bucket="files", Key="k")


def test_aws_renames_and_appends(s3, bucket, server, tmp_path, require):
    aws, env = require("aws"), weir.client_environment(server, tmp_path)
    file = tmp_path / "f"
    file.write_bytes(b"12345")

    def api(*arguments):
        command = [aws, "--endpoint-url", server.endpoint, "s3api", *arguments, "--bucket", bucket]
        done = weir.run(command, env=env, may_fail=True)
        if "invalid choice" in done.stderr.lower() or "unknown options" in done.stderr.lower():
            pytest.skip("this aws knows no renames or appends")
        assert done.returncode == 0, done.stderr

    for offset in [0, 5]:
        api("put-object", "--key", "k", "--body", str(file), "--write-offset-bytes", str(offset))
    api("rename-object", "--key", "new", "--rename-source", f"{bucket}/k")
    assert keys(s3, bucket) == ["new"] and body(s3, bucket, "new") == b"1234512345"
