"""The S3 operations as a program uses them, through boto3 of two eras."""

import datetime
import hashlib
import io
import os
import random
import time
import urllib.error
import urllib.request

import boto3
import pytest
from botocore.exceptions import ClientError

import everyday
import weir
from everyday import Everyday, clients

PART = 5 * 1024 * 1024


def refused(call, **arguments):
    """The error code and status of a call that must not succeed."""
    with pytest.raises(ClientError) as error:
        call(**arguments)
    return error.value.response["Error"]["Code"], error.value.response["ResponseMetadata"]["HTTPStatusCode"]


def body_of(s3, bucket, key, **arguments):
    return s3.get_object(Bucket=bucket, Key=key, **arguments)["Body"].read()


class Boto3(everyday.Client):
    label = {"1.26": "boto3 of 2023", "1.34": "boto3 of 2024"}.get(boto3.__version__[:4], "boto3")
    lacks = {
        "resume a download": "boto3 begins a file anew",
        "sync up and down, `diff -r`": "boto3 sends files; a program walks the tree",
    }

    def __init__(self, server, home):
        super().__init__(server, home)
        self.s3 = weir.boto3_client(server)

    @classmethod
    def program(cls):
        return boto3.__file__

    def version(self):
        return f"boto3 {boto3.__version__}"

    def make_bucket(self, bucket):
        self.s3.create_bucket(Bucket=bucket)

    def buckets(self):
        return [bucket["Name"] for bucket in self.s3.list_buckets()["Buckets"]]

    def remove_bucket(self, bucket):
        self.s3.delete_bucket(Bucket=bucket)

    def put(self, path, bucket, key):
        self.s3.upload_file(str(path), bucket, key)

    def get(self, bucket, key, path):
        self.s3.download_file(bucket, key, str(path))

    def keys(self, bucket, prefix=""):
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        return [entry["Key"] for page in pages for entry in page.get("Contents", [])]

    def read_range(self, bucket, key, first, length):
        return body_of(self.s3, bucket, key, Range=f"bytes={first}-{first + length - 1}")

    def copy(self, bucket, key, to):
        self.s3.copy({"Bucket": bucket, "Key": key}, bucket, to)

    def move(self, bucket, key, to):
        self.copy(bucket, key, to)
        self.delete(bucket, key)

    def put_with_metadata(self, path, bucket, key, content_type, name, value):
        self.s3.upload_file(str(path), bucket, key, ExtraArgs={"ContentType": content_type, "Metadata": {name: value}})

    def presign(self, bucket, key):
        return self.s3.generate_presigned_url("get_object", {"Bucket": bucket, "Key": key}, ExpiresIn=60)

    def delete(self, bucket, key):
        self.s3.delete_object(Bucket=bucket, Key=key)

    def delete_folder(self, bucket, folder):
        objects = [{"Key": key} for key in self.keys(bucket, folder + "/")]
        assert "Errors" not in self.s3.delete_objects(Bucket=bucket, Delete={"Objects": objects})


client = clients(Boto3)


class TestEveryday(Everyday):
    pass


# Buckets


def test_bucket_comes_and_goes(s3, name):
    s3.create_bucket(Bucket=name)
    assert name in [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]]
    assert s3.head_bucket(Bucket=name)["ResponseMetadata"]["HTTPStatusCode"] == 200
    assert s3.get_bucket_location(Bucket=name)["LocationConstraint"] in (None, weir.REGION)
    s3.put_object(Bucket=name, Key="k", Body=b"x")
    assert refused(s3.delete_bucket, Bucket=name) == ("BucketNotEmpty", 409)
    s3.delete_object(Bucket=name, Key="k")
    s3.delete_bucket(Bucket=name)
    assert refused(s3.head_bucket, Bucket=name)[1] == 404
    assert refused(s3.delete_bucket, Bucket=name) == ("NoSuchBucket", 404)


def test_a_bucket_made_again_is_empty(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"of the first life")
    s3.delete_object(Bucket=bucket, Key="k")
    s3.delete_bucket(Bucket=bucket)
    s3.create_bucket(Bucket=bucket)
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0
    assert refused(s3.get_object, Bucket=bucket, Key="k") == ("NoSuchKey", 404)


def test_making_a_bucket_twice(s3, bucket):
    """In us-east-1 this is no error, as long as the bucket has what is asked for."""
    owned = ("BucketAlreadyOwnedByYou", 409)
    s3.put_object(Bucket=bucket, Key="k", Body=b"kept")
    s3.create_bucket(Bucket=bucket)
    s3.create_bucket(Bucket=bucket, ACL="private", ObjectOwnership="BucketOwnerEnforced")
    assert refused(s3.create_bucket, Bucket=bucket, ObjectLockEnabledForBucket=True) == owned
    assert refused(s3.create_bucket, Bucket=bucket, ObjectOwnership="ObjectWriter") == owned
    assert "Status" not in s3.get_bucket_versioning(Bucket=bucket)
    s3.put_bucket_ownership_controls(
        Bucket=bucket, OwnershipControls={"Rules": [{"ObjectOwnership": "ObjectWriter"}]}
    )
    s3.put_bucket_acl(Bucket=bucket, ACL="log-delivery-write")
    before = s3.get_bucket_acl(Bucket=bucket)["Grants"]
    assert refused(s3.create_bucket, Bucket=bucket) == owned, "the bucket is not private"
    assert refused(s3.create_bucket, Bucket=bucket, ACL="private", ObjectOwnership="ObjectWriter") == owned
    s3.create_bucket(Bucket=bucket, ACL="log-delivery-write", ObjectOwnership="ObjectWriter")
    assert s3.get_bucket_acl(Bucket=bucket)["Grants"] == before
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"kept"


def test_making_a_bucket_twice_elsewhere(tmp_path):
    server = weir.Server(tmp_path / "data", flags=["--region", "eu-test-1"]).start()
    s3 = weir.boto3_client(server)
    s3.create_bucket(Bucket="twice")
    assert refused(s3.create_bucket, Bucket="twice") == ("BucketAlreadyOwnedByYou", 409)
    assert server.stop() == 0


@pytest.mark.parametrize("bad", ["ab", "UPPER", "under_score", "-dash", "dot..dot", "192.168.0.1", "x" * 64])
def test_bad_bucket_names(s3, bad):
    assert refused(s3.create_bucket, Bucket=bad) == ("InvalidBucketName", 400)


# Objects


@pytest.mark.parametrize("length", [0, 1, 100, 65535, 65536, 65537, 200 * 1024, 3 * 1024 * 1024 + 1])
def test_put_get_head_delete(s3, bucket, length):
    body = os.urandom(length)
    put = s3.put_object(Bucket=bucket, Key="k", Body=body, ContentType="text/x-weir", Metadata={"a": "1", "b-c": "d e"})
    assert put["ETag"] == f'"{hashlib.md5(body).hexdigest()}"'
    got = s3.get_object(Bucket=bucket, Key="k")
    assert got["Body"].read() == body
    for answer in got, s3.head_object(Bucket=bucket, Key="k"):
        assert (answer["ContentLength"], answer["ETag"]) == (length, put["ETag"])
        assert (answer["ContentType"], answer["Metadata"]) == ("text/x-weir", {"a": "1", "b-c": "d e"})
        age = datetime.datetime.now(datetime.timezone.utc) - answer["LastModified"]
        assert abs(age.total_seconds()) < 120
    s3.delete_object(Bucket=bucket, Key="k")
    assert refused(s3.get_object, Bucket=bucket, Key="k") == ("NoSuchKey", 404)
    assert refused(s3.head_object, Bucket=bucket, Key="k")[1] == 404
    s3.delete_object(Bucket=bucket, Key="k")  # deleting nothing is no error


def test_overwrite_replaces_body_and_metadata(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"one" * 100_000, Metadata={"old": "1"})
    s3.put_object(Bucket=bucket, Key="k", Body=b"two")
    got = s3.get_object(Bucket=bucket, Key="k")
    assert (got["Body"].read(), got["Metadata"]) == (b"two", {})


def test_standard_headers_come_back(s3, bucket):
    headers = {
        "CacheControl": "max-age=60",
        "ContentDisposition": 'attachment; filename="x.txt"',
        "ContentEncoding": "gzip",
        "ContentLanguage": "de",
        "ContentType": "text/plain; charset=utf-8",
    }
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", **headers)
    head = s3.head_object(Bucket=bucket, Key="k")
    assert {name: head[name] for name in headers} == headers
    asked = s3.get_object(Bucket=bucket, Key="k", ResponseContentType="text/other", ResponseCacheControl="no-store")
    assert (asked["ContentType"], asked["CacheControl"]) == ("text/other", "no-store")


def test_an_empty_file_does_not_spoil_the_connection(server, s3, bucket):
    """botocore asks `Expect: 100-continue` for files, and when a final answer comes instead it takes that answer's status
    for the next request on the connection too, then waits for its end until its read times out. So an empty body needs
    the 100 as well, or the connection must be closed."""
    client = weir.boto3_client(server, max_pool_connections=1, read_timeout=10)
    for key, body in ("empty", b""), ("full", b"x" * 4096), ("empty too", b""), ("large", b"y" * 300_000):
        client.put_object(Bucket=bucket, Key=key, Body=io.BytesIO(body))
        assert body_of(s3, bucket, key) == body


ODD_KEYS = [
    "a//b", "/leading", "trailing/", "//", "./x", "../up", "a/./b", "a/../b", " ", " space ", "a+b", "a%2Fb", "a&b<c>d",
    "quote'\"", "ünï/日本/🦀", "back\\slash", "q?a=b#c", "tab\there", "new\nline", ".weir/keys/1", "x" * 1024, "ü" * 512,
    "y" * 300 + "/z",
]


@pytest.mark.parametrize("key", ODD_KEYS, ids=lambda key: repr(key)[:20])
def test_odd_keys_are_keys(s3, bucket, key):
    s3.put_object(Bucket=bucket, Key=key, Body=key.encode())
    assert body_of(s3, bucket, key) == key.encode()
    assert [entry["Key"] for entry in s3.list_objects_v2(Bucket=bucket)["Contents"]] == [key]
    s3.copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": key})
    assert body_of(s3, bucket, "copy") == key.encode()
    s3.delete_object(Bucket=bucket, Key=key)
    assert refused(s3.head_object, Bucket=bucket, Key=key)[1] == 404


def test_a_key_beyond_1024_bytes_is_refused(s3, bucket):
    assert refused(s3.put_object, Bucket=bucket, Key="x" * 1025, Body=b"") == ("KeyTooLongError", 400)


def test_a_file_and_a_folder_of_the_same_name(s3, bucket):
    for key in "a", "a/b", "a/", "a/b/c":
        s3.put_object(Bucket=bucket, Key=key, Body=key.encode() * 50_000)
    for key in "a", "a/b", "a/", "a/b/c":
        assert body_of(s3, bucket, key) == key.encode() * 50_000


@pytest.mark.parametrize("length", [1000, 300_000])
def test_ranges(s3, bucket, length):
    body = os.urandom(length)
    s3.put_object(Bucket=bucket, Key="k", Body=body)
    ranges = {
        "bytes=0-0": body[:1],
        "bytes=10-99": body[10:100],
        "bytes=990-": body[990:],
        "bytes=-7": body[-7:],
        f"bytes=5-{length * 2}": body[5:],
        f"bytes=-{length * 2}": body,
    }
    if length > 200_000:
        ranges["bytes=65535-65536"] = body[65535:65537]
        ranges["bytes=131072-196607"] = body[131072:196608]
    for text, expected in ranges.items():
        got = s3.get_object(Bucket=bucket, Key="k", Range=text)
        assert got["Body"].read() == expected, text
        assert got["ResponseMetadata"]["HTTPStatusCode"] == 206
        assert got["ContentRange"].endswith(f"/{length}")
    for text in f"bytes={length}-", "bytes=-0":
        assert refused(s3.get_object, Bucket=bucket, Key="k", Range=text) == ("InvalidRange", 416), text


def test_errors_name_what_is_missing(s3, name, bucket):
    assert refused(s3.get_object, Bucket=bucket, Key="none") == ("NoSuchKey", 404)
    for call in s3.get_object, s3.delete_object, s3.put_object:
        assert refused(call, Bucket=name + "-none", Key="k") == ("NoSuchBucket", 404)
    assert refused(s3.list_objects_v2, Bucket=name + "-none") == ("NoSuchBucket", 404)


# Conditions


def test_conditional_reads(s3, bucket):
    etag = s3.put_object(Bucket=bucket, Key="k", Body=b"x")["ETag"]
    modified = s3.head_object(Bucket=bucket, Key="k")["LastModified"]
    hour = datetime.timedelta(hours=1)
    for call in s3.get_object, s3.head_object:
        for fine in (
            {"IfMatch": etag},
            {"IfNoneMatch": '"0"'},
            {"IfModifiedSince": modified - hour},
            {"IfUnmodifiedSince": modified},
        ):
            call(Bucket=bucket, Key="k", **fine)
        for status, bad in (
            (412, {"IfMatch": '"0"'}),
            (304, {"IfNoneMatch": etag}),
            (304, {"IfModifiedSince": modified}),
            (412, {"IfUnmodifiedSince": modified - hour}),
        ):
            assert refused(call, Bucket=bucket, Key="k", **bad)[1] == status, bad


def with_header(s3, operation, **headers):
    """A client of before 2025 has no parameter for conditional writes."""

    def add(request, **_):
        for name, value in headers.items():
            request.headers[name.replace("_", "-")] = value

    s3.meta.events.register_first(f"before-sign.s3.{operation}", add)
    return s3


def test_conditional_writes(server, s3, bucket):
    only_new = with_header(weir.boto3_client(server), "PutObject", If_None_Match="*")
    etag = only_new.put_object(Bucket=bucket, Key="k", Body=b"one")["ETag"]
    assert refused(only_new.put_object, Bucket=bucket, Key="k", Body=b"two") == ("PreconditionFailed", 412)
    same = with_header(weir.boto3_client(server), "PutObject", If_Match=etag)
    same.put_object(Bucket=bucket, Key="k", Body=b"three")
    assert refused(same.put_object, Bucket=bucket, Key="k", Body=b"four") == ("PreconditionFailed", 412)
    assert body_of(s3, bucket, "k") == b"three"
    assert refused(same.put_object, Bucket=bucket, Key="none", Body=b"five")[1] in (404, 412)
    assert refused(s3.head_object, Bucket=bucket, Key="none")[1] == 404


def test_one_of_many_creates_the_key(server, bucket):
    from concurrent.futures import ThreadPoolExecutor

    def create(index):
        client = with_header(weir.boto3_client(server), "PutObject", If_None_Match="*")
        try:
            client.put_object(Bucket=bucket, Key="k", Body=str(index).encode())
            return index
        except ClientError as error:
            assert error.response["ResponseMetadata"]["HTTPStatusCode"] in (409, 412)
            return None

    with ThreadPoolExecutor(8) as pool:
        winners = [index for index in pool.map(create, range(8)) if index is not None]
    assert len(winners) == 1
    assert body_of(weir.boto3_client(server), bucket, "k") == str(winners[0]).encode()


# Listing


def model_listing(keys, prefix="", delimiter="", after=""):
    """What S3 lists, as one ordered list of ("key" | "prefix", name)."""
    listed = []
    for key in sorted(keys, key=lambda key: key.encode()):
        if not key.startswith(prefix):
            continue
        entry = ("key", key)
        if delimiter and delimiter in key[len(prefix):]:
            end = key.index(delimiter, len(prefix)) + len(delimiter)
            entry = ("prefix", key[:end])
        if entry[1].encode() > after.encode() and not (entry[0] == "prefix" and after.startswith(entry[1])) and entry not in listed:
            listed.append(entry)
    return listed


def pages(call, page, **arguments):
    """All pages of V1 or V2 as one list, each page checked for its length."""
    listed, marker, truncated = [], {}, True
    while truncated:
        answer = call(MaxKeys=page, **arguments, **marker)
        entries = [("key", entry["Key"]) for entry in answer.get("Contents", [])]
        entries += [("prefix", entry["Prefix"]) for entry in answer.get("CommonPrefixes", [])]
        entries.sort(key=lambda entry: entry[1].encode())
        truncated = answer["IsTruncated"]
        assert len(entries) == page if truncated else len(entries) <= page
        listed += entries
        if "NextContinuationToken" in answer:
            marker = {"ContinuationToken": answer["NextContinuationToken"]}
        elif truncated:
            marker = {"Marker": answer.get("NextMarker", entries[-1][1])}
    return listed


@pytest.fixture(scope="module")
def full_bucket(server):
    s3 = weir.boto3_client(server)
    bucket = f"listing-{random.randrange(10**12)}"
    s3.create_bucket(Bucket=bucket)
    numbers = random.Random(7)
    keys = {"/".join(numbers.choice(["a", "b", "ab", "ü", "z z", "-"]) for _ in range(numbers.randrange(1, 5))) for _ in range(150)}
    keys |= {"a/", "a//x", "//", "a", "a!", "a0", "b/c/", "~", "+&<>"}
    for key in keys:
        s3.put_object(Bucket=bucket, Key=key, Body=b"")
    return bucket, keys


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("page", [1, 3, 1000])
@pytest.mark.parametrize(
    "prefix, delimiter", [("", ""), ("", "/"), ("a", "/"), ("a/", "/"), ("a/b", ""), ("", "b/"), ("none", "/"), ("ü/", "/")]
)
def test_listing_is_the_model(server, full_bucket, version, page, prefix, delimiter):
    bucket, keys = full_bucket
    s3 = weir.boto3_client(server)
    call = s3.list_objects if version == 1 else s3.list_objects_v2
    expected = model_listing(keys, prefix, delimiter)
    assert pages(call, page, Bucket=bucket, Prefix=prefix, Delimiter=delimiter) == expected


@pytest.mark.parametrize("after", ["a", "a/", "b", "zz", "ü", "~~~"])
def test_listing_starts_after(server, full_bucket, after):
    bucket, keys = full_bucket
    s3 = weir.boto3_client(server)
    expected = model_listing(keys, after=after)
    assert pages(s3.list_objects_v2, 1000, Bucket=bucket, StartAfter=after) == expected
    assert pages(s3.list_objects, 1000, Bucket=bucket, Marker=after) == expected


def test_listing_entries_say_what_head_says(s3, bucket):
    for index, length in enumerate([0, 10, 100_000]):
        s3.put_object(Bucket=bucket, Key=f"k{index}", Body=b"x" * length)
    for entry in s3.list_objects_v2(Bucket=bucket)["Contents"]:
        head = s3.head_object(Bucket=bucket, Key=entry["Key"])
        assert (entry["Size"], entry["ETag"]) == (head["ContentLength"], head["ETag"])
        assert entry["LastModified"].replace(microsecond=0) == head["LastModified"].replace(microsecond=0)
    assert s3.list_objects_v2(Bucket=bucket, MaxKeys=0)["KeyCount"] == 0


# Deletes and copies


def test_delete_many(s3, bucket):
    for index in range(30):
        s3.put_object(Bucket=bucket, Key=f"k{index:02}&<", Body=b"x")
    names = [{"Key": f"k{index:02}&<"} for index in range(25)] + [{"Key": "never was"}]
    answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": names})
    assert len(answer["Deleted"]) == 26 and not answer.get("Errors")
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 5
    left = [{"Key": f"k{index:02}&<"} for index in range(25, 30)]
    assert not s3.delete_objects(Bucket=bucket, Delete={"Objects": left, "Quiet": True}).get("Deleted")
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0


@pytest.mark.parametrize("length", [100, 300_000])
def test_copy_keeps_or_replaces_metadata(s3, bucket, name, length):
    body = os.urandom(length)
    s3.put_object(Bucket=bucket, Key="from", Body=body, Metadata={"a": "1"}, ContentType="text/x-a")
    source = {"Bucket": bucket, "Key": "from"}
    other = name + "-other"
    s3.create_bucket(Bucket=other)
    for target in bucket, other:
        s3.copy_object(Bucket=target, Key="kept", CopySource=source)
        kept = s3.get_object(Bucket=target, Key="kept")
        assert (kept["Body"].read(), kept["Metadata"], kept["ContentType"]) == (body, {"a": "1"}, "text/x-a")
    s3.copy_object(Bucket=bucket, Key="new", CopySource=source, MetadataDirective="REPLACE", Metadata={"b": "2"})
    assert s3.head_object(Bucket=bucket, Key="new")["Metadata"] == {"b": "2"}
    # A copy onto itself must change something.
    assert refused(s3.copy_object, Bucket=bucket, Key="from", CopySource=source) == ("InvalidRequest", 400)
    s3.copy_object(Bucket=bucket, Key="from", CopySource=source, MetadataDirective="REPLACE", Metadata={"c": "3"})
    assert s3.head_object(Bucket=bucket, Key="from")["Metadata"] == {"c": "3"}
    s3.delete_object(Bucket=bucket, Key="from")
    assert body_of(s3, other, "kept") == body
    assert refused(s3.copy_object, Bucket=bucket, Key="x", CopySource=source) == ("NoSuchKey", 404)


# Multipart


def start_upload(s3, bucket, key, parts):
    upload = s3.create_multipart_upload(Bucket=bucket, Key=key, Metadata={"m": "1"})["UploadId"]
    done = []
    for number, body in parts:
        etag = s3.upload_part(Bucket=bucket, Key=key, UploadId=upload, PartNumber=number, Body=body)["ETag"]
        done.append({"PartNumber": number, "ETag": etag})
    return upload, done


def complete(s3, bucket, key, upload, parts):
    return s3.complete_multipart_upload(Bucket=bucket, Key=key, UploadId=upload, MultipartUpload={"Parts": parts})


def test_multipart_upload(s3, bucket):
    bodies = [os.urandom(PART), os.urandom(PART + 1), os.urandom(10)]
    upload, done = start_upload(s3, bucket, "k", zip([1, 2, 7], bodies))
    assert refused(s3.head_object, Bucket=bucket, Key="k")[1] == 404, "visible before the Complete"
    listed = s3.list_parts(Bucket=bucket, Key="k", UploadId=upload)["Parts"]
    assert [(part["PartNumber"], part["Size"], part["ETag"]) for part in listed] == [
        (part["PartNumber"], len(body), part["ETag"]) for part, body in zip(done, bodies)
    ]
    assert [entry["UploadId"] for entry in s3.list_multipart_uploads(Bucket=bucket)["Uploads"]] == [upload]
    etag = complete(s3, bucket, "k", upload, done)["ETag"]
    digests = b"".join(hashlib.md5(body).digest() for body in bodies)
    assert etag == f'"{hashlib.md5(digests).hexdigest()}-3"'
    got = s3.get_object(Bucket=bucket, Key="k")
    assert (got["Body"].read() == b"".join(bodies), got["ETag"], got["Metadata"]) == (True, etag, {"m": "1"})
    across = body_of(s3, bucket, "k", Range=f"bytes={PART - 3}-{PART + 2}")
    assert across == bodies[0][-3:] + bodies[1][:3]
    assert not s3.list_multipart_uploads(Bucket=bucket).get("Uploads")


def test_an_upload_has_the_class_of_its_object(s3, bucket):
    for given, expected in (({"StorageClass": "GLACIER"}, "GLACIER"), ({}, "STANDARD")):
        upload = s3.create_multipart_upload(Bucket=bucket, Key=expected, **given)["UploadId"]
        part = s3.upload_part(Bucket=bucket, Key=expected, UploadId=upload, PartNumber=1, Body=b"x")
        assert s3.list_parts(Bucket=bucket, Key=expected, UploadId=upload)["StorageClass"] == expected
        complete(s3, bucket, expected, upload, [{"PartNumber": 1, "ETag": part["ETag"]}])
        assert s3.head_object(Bucket=bucket, Key=expected).get("StorageClass", "STANDARD") == expected


def test_the_last_write_of_a_part_counts(s3, bucket):
    upload, done = start_upload(s3, bucket, "k", [(1, b"old"), (1, b"new")])
    assert refused(complete, s3=s3, bucket=bucket, key="k", upload=upload, parts=done[:1]) == ("InvalidPart", 400)
    complete(s3, bucket, "k", upload, done[1:])
    assert body_of(s3, bucket, "k") == b"new"


def test_multipart_errors(s3, bucket):
    upload, done = start_upload(s3, bucket, "k", [(1, b"x"), (2, b"y")])
    arguments = {"s3": s3, "bucket": bucket, "key": "k", "upload": upload}
    assert refused(complete, parts=done, **arguments) == ("EntityTooSmall", 400)
    for wrong in {"PartNumber": 1, "ETag": '"0"'}, {"PartNumber": 3, "ETag": done[0]["ETag"]}:
        assert refused(complete, parts=[wrong], **arguments) == ("InvalidPart", 400)
    # Long enough parts, so that only their order is wrong.
    long, parts = start_upload(s3, bucket, "long", [(1, b"x" * PART), (2, b"y" * PART)])
    assert refused(complete, **arguments | {"key": "long", "upload": long, "parts": parts[::-1]}) == (
        "InvalidPartOrder", 400,
    )
    s3.abort_multipart_upload(Bucket=bucket, Key="long", UploadId=long)
    s3.abort_multipart_upload(Bucket=bucket, Key="k", UploadId=upload)
    assert refused(complete, parts=done, **arguments) == ("NoSuchUpload", 404)
    gone = {"Bucket": bucket, "Key": "k", "UploadId": upload}
    assert refused(s3.list_parts, **gone) == ("NoSuchUpload", 404)
    assert refused(s3.upload_part, PartNumber=1, Body=b"x", **gone) == ("NoSuchUpload", 404)
    assert refused(s3.head_object, Bucket=bucket, Key="k")[1] == 404
    assert not s3.list_multipart_uploads(Bucket=bucket).get("Uploads")


def test_part_copy(s3, bucket):
    body = os.urandom(PART + 1000)
    s3.put_object(Bucket=bucket, Key="from", Body=body)
    upload = s3.create_multipart_upload(Bucket=bucket, Key="to")["UploadId"]
    source = {"Bucket": bucket, "Key": "from"}
    done = []
    for number, text in (1, None), (2, "bytes=10-19"):
        extra = {"CopySourceRange": text} if text else {}
        answer = s3.upload_part_copy(Bucket=bucket, Key="to", UploadId=upload, PartNumber=number, CopySource=source, **extra)
        done.append({"PartNumber": number, "ETag": answer["CopyPartResult"]["ETag"]})
    complete(s3, bucket, "to", upload, done)
    assert body_of(s3, bucket, "to") == body + body[10:20]


def test_managed_transfer(s3, bucket, tmp_path):
    body = os.urandom(20 * 1024 * 1024 + 3)
    s3.upload_fileobj(io.BytesIO(body), bucket, "k")
    s3.download_file(bucket, "k", str(tmp_path / "back"))
    assert (tmp_path / "back").read_bytes() == body


def test_a_bucket_with_an_upload(s3, bucket):
    """S3 lets a bucket go while uploads are open; the upload goes with it. Refusing it is allowed, leaking is not."""
    upload, _ = start_upload(s3, bucket, "k", [(1, b"x")])
    try:
        s3.delete_bucket(Bucket=bucket)
    except ClientError as error:
        assert error.response["Error"]["Code"] == "BucketNotEmpty"
        s3.abort_multipart_upload(Bucket=bucket, Key="k", UploadId=upload)
        s3.delete_bucket(Bucket=bucket)
    s3.create_bucket(Bucket=bucket)
    assert not s3.list_multipart_uploads(Bucket=bucket).get("Uploads")


# Presigned URLs


def test_presigned_put_and_get(s3, bucket):
    put = s3.generate_presigned_url("put_object", {"Bucket": bucket, "Key": "a b/ü"}, ExpiresIn=60)
    request = urllib.request.Request(put, b"by link", {"Content-Type": "text/x-link"}, method="PUT")
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert answer.status == 200
    get = s3.generate_presigned_url("get_object", {"Bucket": bucket, "Key": "a b/ü"}, ExpiresIn=60)
    with urllib.request.urlopen(get, timeout=30) as answer:
        assert answer.read() == b"by link"
    broken = get[:-4] + ("0000" if not get.endswith("0000") else "1111")
    expired = s3.generate_presigned_url("get_object", {"Bucket": bucket, "Key": "a b/ü"}, ExpiresIn=1)
    time.sleep(2.5)
    for url in broken, expired, get.replace("a%20b", "other"), get.split("?")[0]:
        with pytest.raises(urllib.error.HTTPError) as error:
            urllib.request.urlopen(url, timeout=30)
        assert error.value.code == 403


# Identities

ALICE = ("ALICEACCESSKEY000001", "alice+secret/of+forty+characters+0000000")


@pytest.fixture(scope="module")
def alice(server):
    server.run(
        "key", "import", "--owner", "alice", "--display-name", "Alice", "--email", "a@example.com",
        "--access-key", ALICE[0], "--secret-key", ALICE[1],
    )
    return weir.boto3_client(server, *ALICE)


def test_wrong_keys_are_refused(server, bucket):
    for access_key, secret_key, code in (
        ("NOSUCHKEY00000000001", weir.SECRET_KEY, "InvalidAccessKeyId"),
        (weir.ACCESS_KEY, "wrong", "SignatureDoesNotMatch"),
    ):
        client = weir.boto3_client(server, access_key, secret_key)
        assert refused(client.list_objects_v2, Bucket=bucket) == (code, 403)
        assert refused(client.put_object, Bucket=bucket, Key="k", Body=b"x") == (code, 403)


def test_users_do_not_see_each_others_buckets(s3, alice, bucket, name):
    s3.put_object(Bucket=bucket, Key="k", Body=b"mine")
    theirs = name + "-alice"
    alice.create_bucket(Bucket=theirs)
    alice.put_object(Bucket=theirs, Key="k", Body=b"alice's")
    assert body_of(alice, theirs, "k") == b"alice's"
    listed = [entry["Name"] for entry in alice.list_buckets()["Buckets"]]
    assert theirs in listed and bucket not in listed
    denied = ("AccessDenied", 403)
    where = {"Bucket": bucket, "Key": "k"}
    assert refused(alice.get_object, **where) == denied
    assert refused(alice.put_object, Body=b"x", **where) == denied
    assert refused(alice.delete_object, **where) == denied
    assert refused(alice.create_multipart_upload, **where) == denied
    assert refused(alice.list_objects_v2, Bucket=bucket) == denied
    assert refused(alice.delete_bucket, Bucket=bucket) == denied
    assert refused(alice.head_object, **where)[1] == 403
    copy = {"Bucket": theirs, "Key": "stolen", "CopySource": where}
    assert refused(alice.copy_object, **copy) == denied
    assert body_of(s3, bucket, "k") == b"mine"
    assert refused(alice.create_bucket, Bucket=bucket) == ("BucketAlreadyExists", 409)


def test_nobody_is_refused(server, bucket):
    for method in "GET", "PUT", "DELETE":
        request = urllib.request.Request(f"{server.endpoint}/{bucket}/k", method=method)
        with pytest.raises(urllib.error.HTTPError) as error:
            urllib.request.urlopen(request, timeout=30)
        assert error.value.code == 403


# A model: random operations against Weir and a dictionary


@pytest.mark.parametrize("seed", range(3))
def test_random_operations_are_those_of_a_dictionary(s3, bucket, seed):
    numbers = random.Random(seed)
    keys = [f"{folder}{index}" for folder in ("", "d/", "d/e/") for index in range(4)]
    model = {}
    for _ in range(250):
        key, verb = numbers.choice(keys), numbers.random()
        if verb < 0.4:
            model[key] = numbers.randbytes(numbers.choice([0, 10, 5000, 65536, 65537, 150_000]))
            s3.put_object(Bucket=bucket, Key=key, Body=model[key])
        elif verb < 0.55:
            s3.delete_object(Bucket=bucket, Key=key)
            model.pop(key, None)
        elif verb < 0.65 and model:
            source = numbers.choice(sorted(model))
            if source != key:
                s3.copy_object(Bucket=bucket, Key=key, CopySource={"Bucket": bucket, "Key": source})
                model[key] = model[source]
        elif verb < 0.9:
            if key in model:
                assert body_of(s3, bucket, key) == model[key]
            else:
                assert refused(s3.get_object, Bucket=bucket, Key=key) == ("NoSuchKey", 404)
        else:
            listed = s3.list_objects_v2(Bucket=bucket).get("Contents", [])
            assert {entry["Key"]: entry["Size"] for entry in listed} == {key: len(body) for key, body in model.items()}
    assert model, "the seed leaves something to compare"
    for key, body in model.items():
        assert body_of(s3, bucket, key) == body
