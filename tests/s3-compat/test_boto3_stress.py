"""More of everything: many parts, many keys, many writers, and every boundary of an object."""

import base64
import collections
import hashlib
import os
import random
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.exceptions import ClientError

import weir
from test_boto3 import body_of, refused, with_header

PART = 5 * 1024 * 1024
BLOCK = 64 * 1024


def upload(s3, bucket, key, bodies, threads=1, **arguments):
    """A multipart upload from bytes; returns the answer of its Complete."""
    where = {"Bucket": bucket, "Key": key}
    where["UploadId"] = s3.create_multipart_upload(**where, **arguments)["UploadId"]

    def part(numbered):
        number, body = numbered
        return {"PartNumber": number, "ETag": s3.upload_part(PartNumber=number, Body=body, **where)["ETag"]}

    with ThreadPoolExecutor(threads) as pool:
        parts = list(pool.map(part, enumerate(bodies, 1)))
    return s3.complete_multipart_upload(MultipartUpload={"Parts": parts}, **where)


# Multipart


def test_a_hundred_parts(s3, bucket):
    numbers = random.Random(100)
    block = numbers.randbytes(PART)
    # Different parts without a hundred times the memory.
    bodies = [block[index:] + block[:index] for index in range(0, 99)] + [b"end"]
    etag = upload(s3, bucket, "k", bodies, threads=4)["ETag"]
    digests = b"".join(hashlib.md5(body).digest() for body in bodies)
    assert etag == f'"{hashlib.md5(digests).hexdigest()}-100"'
    got = s3.get_object(Bucket=bucket, Key="k")
    assert got["ContentLength"] == sum(map(len, bodies))
    for body in bodies:
        assert got["Body"].read(len(body)) == body
    assert got["Body"].read() == b""
    for number in 1, 50, 99, 100:
        part = s3.get_object(Bucket=bucket, Key="k", PartNumber=number)
        assert (part["Body"].read() == bodies[number - 1], part["PartsCount"]) == (True, 100)
    assert refused(s3.get_object, Bucket=bucket, Key="k", PartNumber=101)[1] == 416
    for at in range(1, 99, 14):
        edge = at * PART
        across = body_of(s3, bucket, "k", Range=f"bytes={edge - 5}-{edge + 4}")
        assert across == bodies[at - 1][-5:] + bodies[at][:5]
    seven = b"".join(bodies[10:17])
    assert body_of(s3, bucket, "k", Range=f"bytes={10 * PART + 1}-{17 * PART - 2}") == seven[1:-1]
    s3.delete_object(Bucket=bucket, Key="k")


def test_parts_are_listed_by_pages(s3, bucket):
    where = {"Bucket": bucket, "Key": "k"}
    where["UploadId"] = s3.create_multipart_upload(**where)["UploadId"]
    numbers = [*range(1, 20), 500, 10_000]
    for number in reversed(numbers):
        s3.upload_part(PartNumber=number, Body=b"%d" % number, **where)
    pages = list(s3.get_paginator("list_parts").paginate(PaginationConfig={"PageSize": 4}, **where))
    assert [part["PartNumber"] for page in pages for part in page["Parts"]] == numbers
    assert len(pages) == 6
    s3.abort_multipart_upload(**where)


def test_uploads_are_listed_by_pages(s3, bucket):
    started = []
    for key in "a", "a", "a/b", "b", "c/d", "c/e":
        started.append((key, s3.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]))
    for size in 1, 2, 1000:
        pages = s3.get_paginator("list_multipart_uploads").paginate(Bucket=bucket, PaginationConfig={"PageSize": size})
        listed = [(entry["Key"], entry["UploadId"]) for page in pages for entry in page.get("Uploads", [])]
        assert listed == started, size
    folders = s3.list_multipart_uploads(Bucket=bucket, Delimiter="/")
    assert [entry["Prefix"] for entry in folders["CommonPrefixes"]] == ["a/", "c/"]
    for key, upload_id in started:
        s3.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload_id)


def test_a_copied_multipart_object(s3, bucket, name):
    bodies = [os.urandom(PART), os.urandom(PART + 7), b"end"]
    whole = b"".join(bodies)
    upload(s3, bucket, "from", bodies, Metadata={"m": "1"}, ContentType="text/x-m")
    other = name + "-other"
    s3.create_bucket(Bucket=other)
    s3.copy_object(Bucket=other, Key="to", CopySource={"Bucket": bucket, "Key": "from"})
    s3.copy_object(
        Bucket=bucket, Key="from", CopySource={"Bucket": bucket, "Key": "from"},
        MetadataDirective="REPLACE", Metadata={"m": "2"},
    )
    for where, metadata in ({"Bucket": other, "Key": "to"}, {"m": "1"}), ({"Bucket": bucket, "Key": "from"}, {"m": "2"}):
        got = s3.get_object(**where)
        assert (got["Body"].read() == whole, got["Metadata"]) == (True, metadata)
        across = s3.get_object(Range=f"bytes={PART - 2}-{PART + 1}", **where)["Body"].read()
        assert across == whole[PART - 2 : PART + 2]
    # Neither needs the other.
    s3.delete_object(Bucket=bucket, Key="from")
    assert body_of(s3, other, "to") == whole
    copy = s3.head_object(Bucket=other, Key="to")
    listed = s3.list_objects_v2(Bucket=other)["Contents"][0]
    assert (listed["ETag"], listed["Size"]) == (copy["ETag"], len(whole))


def crc32(body):
    return base64.b64encode(zlib.crc32(body).to_bytes(4, "big")).decode()


def sha256(body):
    return base64.b64encode(hashlib.sha256(body).digest()).decode()


@pytest.mark.parametrize("algorithm, field, digest", [("CRC32", "ChecksumCRC32", crc32), ("SHA256", "ChecksumSHA256", sha256)])
def test_copied_parts_have_the_checksum_of_their_upload(s3, bucket, algorithm, field, digest):
    body = os.urandom(PART + 100)
    s3.put_object(Bucket=bucket, Key="from", Body=body)
    where = {"Bucket": bucket, "Key": "to"}
    where["UploadId"] = s3.create_multipart_upload(ChecksumAlgorithm=algorithm, **where)["UploadId"]
    source = {"Bucket": bucket, "Key": "from"}
    parts = []
    for number, (first, last) in enumerate([(0, PART - 1), (100, 199)], 1):
        copied = s3.upload_part_copy(
            PartNumber=number, CopySource=source, CopySourceRange=f"bytes={first}-{last}", **where
        )["CopyPartResult"]
        assert copied[field] == digest(body[first : last + 1])
        parts.append({"PartNumber": number, "ETag": copied["ETag"], field: copied[field]})
    listed = s3.list_parts(**where)["Parts"]
    assert [part[field] for part in listed] == [part[field] for part in parts]
    s3.complete_multipart_upload(MultipartUpload={"Parts": parts}, **where)
    whole = body[:PART] + body[100:200]
    assert body_of(s3, bucket, "to") == whole
    # That of the parts' checksums, as the upload did not ask for another one.
    composite = digest(b"".join(base64.b64decode(part[field]) for part in parts))
    assert s3.head_object(Bucket=bucket, Key="to", ChecksumMode="ENABLED")[field] == f"{composite}-2"


# Many writers


@pytest.mark.parametrize("length", [1000, 300_000])
def test_readers_see_one_of_many_writers(server, bucket, length):
    """While a key is overwritten again and again, every read is one whole write, and the last answered one stays."""
    writers, rounds = 6, 15
    bodies = {bytes([65 + writer]) * length for writer in range(writers)}
    first = weir.boto3_client(server)
    first.put_object(Bucket=bucket, Key="k", Body=min(bodies))
    ended = threading.Event()

    def write(body):
        client = weir.boto3_client(server)
        for _ in range(rounds):
            client.put_object(Bucket=bucket, Key="k", Body=body)

    def read(_):
        client, seen = weir.boto3_client(server), 0
        while not ended.is_set():
            got = client.get_object(Bucket=bucket, Key="k")
            body = got["Body"].read()
            assert body in bodies and got["ETag"] == f'"{hashlib.md5(body).hexdigest()}"'
            seen += 1
        return seen

    with ThreadPoolExecutor(writers + 2) as pool:
        readers = [pool.submit(read, index) for index in range(2)]
        try:
            for writer in [pool.submit(write, body) for body in bodies]:
                writer.result()
        finally:
            ended.set()
        assert all(reader.result() for reader in readers)
    got = first.get_object(Bucket=bucket, Key="k")
    assert got["Body"].read() in bodies
    assert [entry["ETag"] for entry in first.list_objects_v2(Bucket=bucket)["Contents"]] == [got["ETag"]]


def test_uploads_of_one_key_do_not_mix(server, bucket):
    def run(index):
        bodies = [bytes([65 + index]) * PART, bytes([97 + index]) * 1000]
        return upload(weir.boto3_client(server), bucket, "k", bodies)["ETag"], b"".join(bodies)

    with ThreadPoolExecutor(4) as pool:
        done = dict(pool.map(run, range(4)))
    got = weir.boto3_client(server).get_object(Bucket=bucket, Key="k")
    assert got["Body"].read() == done[got["ETag"]]
    assert not weir.boto3_client(server).list_multipart_uploads(Bucket=bucket).get("Uploads")


def test_one_upload_completed_twice_at_once(server, bucket):
    s3 = weir.boto3_client(server)
    where = {"Bucket": bucket, "Key": "k"}
    where["UploadId"] = s3.create_multipart_upload(**where)["UploadId"]
    part = s3.upload_part(PartNumber=1, Body=b"x" * 1000, **where)
    parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}

    def complete(_):
        return weir.boto3_client(server).complete_multipart_upload(MultipartUpload=parts, **where)["ETag"]

    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(complete, range(4)))) == 1
    assert body_of(s3, bucket, "k") == b"x" * 1000


def test_who_is_told_that_a_key_exists_finds_it(server, bucket):
    def create(key):
        client = with_header(weir.boto3_client(server), "PutObject", If_None_Match="*")
        try:
            client.put_object(Bucket=bucket, Key=key, Body=b"x")
        except ClientError as error:
            assert error.response["ResponseMetadata"]["HTTPStatusCode"] in (409, 412)
        assert body_of(client, bucket, key) == b"x"

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(create, [f"k{index // 8}" for index in range(160)]))


# Every boundary of an object


def test_ranges_at_every_boundary(s3, bucket):
    numbers = random.Random(3)
    body = numbers.randbytes(3 * 1024 * 1024)
    s3.put_object(Bucket=bucket, Key="put", Body=body)
    ranges = []
    for edge in range(0, len(body) + 1, BLOCK):
        ranges += [(edge - 1, edge), (edge, edge), (edge, edge + BLOCK - 1), (edge - 3, edge + BLOCK + 3)]
    for _ in range(60):
        first = numbers.randrange(len(body))
        ranges.append((first, numbers.randrange(first, len(body))))
    for first, last in ranges:
        if not 0 <= first < len(body):
            continue
        got = s3.get_object(Bucket=bucket, Key="put", Range=f"bytes={first}-{last}")
        last = min(last, len(body) - 1)
        assert got["ContentRange"] == f"bytes {first}-{last}/{len(body)}"
        assert got["Body"].read() == body[first : last + 1], (first, last)


# Many keys


@pytest.fixture(scope="module")
def many(server):
    s3 = weir.boto3_client(server, max_pool_connections=8)
    bucket = f"many-{random.randrange(10**12)}"
    s3.create_bucket(Bucket=bucket)
    keys = [f"{index % 25:02}/key-{index:05}" for index in range(2500)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: s3.put_object(Bucket=bucket, Key=key, Body=key.encode()), keys))
    return bucket, sorted(keys)


@pytest.mark.parametrize("operation", ["list_objects", "list_objects_v2"])
def test_pages_of_a_thousand(server, many, operation):
    bucket, keys = many
    s3 = weir.boto3_client(server)
    pages = list(s3.get_paginator(operation).paginate(Bucket=bucket))
    assert [len(page["Contents"]) for page in pages] == [1000, 1000, 500]
    assert [page["IsTruncated"] for page in pages] == [True, True, False]
    assert [entry["Key"] for page in pages for entry in page["Contents"]] == keys
    # More than a thousand is asked for, and a thousand come.
    assert len(getattr(s3, operation)(Bucket=bucket, MaxKeys=5000)["Contents"]) == 1000
    for size in 7, 24, 25:
        pages = s3.get_paginator(operation).paginate(Bucket=bucket, Delimiter="/", PaginationConfig={"PageSize": size})
        folders = [entry["Prefix"] for page in pages for entry in page.get("CommonPrefixes", [])]
        assert folders == [f"{index:02}/" for index in range(25)], size


def test_a_thousand_deletions(server, many):
    bucket, keys = many
    s3 = weir.boto3_client(server)
    names = [{"Key": key} for key in keys]
    assert refused(s3.delete_objects, Bucket=bucket, Delete={"Objects": names[:1001]}) == ("MalformedXML", 400)
    assert len(s3.list_objects_v2(Bucket=bucket)["Contents"]) == 1000
    first = s3.delete_objects(Bucket=bucket, Delete={"Objects": names[:1000]})
    assert not first.get("Errors")
    assert collections.Counter(entry["Key"] for entry in first["Deleted"]) == collections.Counter(keys[:1000])
    assert [entry["Key"] for entry in s3.list_objects_v2(Bucket=bucket)["Contents"]] == keys[1000:2000]
    for at in 1000, 2000:
        s3.delete_objects(Bucket=bucket, Delete={"Objects": names[at : at + 1000], "Quiet": True})
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0
    s3.delete_bucket(Bucket=bucket)
