"""Checksums of multipart objects, whole and composite, as S3 documents them; GetObjectAttributes; deletes with conditions."""

import base64
import datetime
import hashlib
import zlib

import pytest
from botocore.exceptions import ClientError

MIB = 1024 * 1024
PARTS = [b"a" * 5 * MIB, b"b" * 5 * MIB, b"last"]


def encode(value):
    return base64.b64encode(value).decode()


def sha256(content):
    return hashlib.sha256(content).digest()


def crc32(content):
    return zlib.crc32(content).to_bytes(4, "big")


def upload(s3, bucket, key, algorithm, kind=None):
    """Completes an upload of PARTS without a word about its checksums; returns the answer."""
    asked = {"ChecksumType": kind} if kind else {}
    created = s3.create_multipart_upload(Bucket=bucket, Key=key, ChecksumAlgorithm=algorithm, **asked)
    which = {"Bucket": bucket, "Key": key, "UploadId": created["UploadId"]}
    parts = []
    for number, content in enumerate(PARTS, 1):
        done = s3.upload_part(**which, PartNumber=number, Body=content, ChecksumAlgorithm=algorithm)
        parts.append({"PartNumber": number, "ETag": done["ETag"]})
    assert s3.list_parts(**which)["ChecksumType"] == created["ChecksumType"]
    return s3.complete_multipart_upload(**which, MultipartUpload={"Parts": parts})


@pytest.mark.parametrize("restart", [False, True])
def test_composites_are_kept_and_told(own_server, restart):
    import weir

    s3 = weir.boto3_client(own_server)
    s3.create_bucket(Bucket="sums")
    expected = encode(sha256(b"".join(map(sha256, PARTS)))) + "-3"
    done = upload(s3, "sums", "k", "SHA256")
    assert (done["ChecksumSHA256"], done["ChecksumType"]) == (expected, "COMPOSITE")
    if restart:
        own_server.restart_killed()
        s3 = weir.boto3_client(own_server)
    head = s3.head_object(Bucket="sums", Key="k", ChecksumMode="ENABLED")
    assert (head["ChecksumSHA256"], head["ChecksumType"]) == (expected, "COMPOSITE")
    part = s3.head_object(Bucket="sums", Key="k", ChecksumMode="ENABLED", PartNumber=2)
    assert (part["ChecksumSHA256"], part["ContentLength"], part["PartsCount"]) == (encode(sha256(PARTS[1])), 5 * MIB, 3)

    wanted = ["ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize"]
    told = s3.get_object_attributes(Bucket="sums", Key="k", ObjectAttributes=wanted)
    assert told["ETag"] == head["ETag"].strip('"')
    assert (told["ObjectSize"], told["StorageClass"]) == (10 * MIB + 4, "STANDARD")
    assert told["Checksum"] == {"ChecksumSHA256": expected, "ChecksumType": "COMPOSITE"}
    parts = told["ObjectParts"]["Parts"]
    assert [(part["PartNumber"], part["Size"], part["ChecksumSHA256"]) for part in parts] == [
        (number, len(content), encode(sha256(content))) for number, content in enumerate(PARTS, 1)
    ]
    few = s3.get_object_attributes(Bucket="sums", Key="k", ObjectAttributes=["ObjectParts"], MaxParts=1, PartNumberMarker=1)
    assert set(few) - {"ResponseMetadata", "LastModified"} == {"ObjectParts"}
    assert [part["PartNumber"] for part in few["ObjectParts"]["Parts"]] == [2]
    assert (few["ObjectParts"]["IsTruncated"], few["ObjectParts"]["NextPartNumberMarker"]) == (True, 2)

    # A copy has its source's parts, and so its composite.
    copied = s3.copy_object(Bucket="sums", Key="copy", CopySource={"Bucket": "sums", "Key": "k"})["CopyObjectResult"]
    assert (copied["ChecksumSHA256"], copied["ChecksumType"]) == (expected, "COMPOSITE")
    head = s3.head_object(Bucket="sums", Key="copy", ChecksumMode="ENABLED", PartNumber=3)
    assert head["ChecksumSHA256"] == encode(sha256(PARTS[2]))


def test_a_crc_may_be_of_either_kind(s3, bucket):
    composite = upload(s3, bucket, "composite", "CRC32")
    assert (composite["ChecksumCRC32"], composite["ChecksumType"]) == (
        encode(crc32(b"".join(map(crc32, PARTS)))) + "-3",
        "COMPOSITE",
    )
    full = upload(s3, bucket, "full", "CRC32", "FULL_OBJECT")
    assert (full["ChecksumCRC32"], full["ChecksumType"]) == (encode(crc32(b"".join(PARTS))), "FULL_OBJECT")
    part = s3.head_object(Bucket=bucket, Key="full", ChecksumMode="ENABLED", PartNumber=1)
    assert part["ChecksumCRC32"] == encode(crc32(PARTS[0]))


def test_attributes_of_what_was_put_whole(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"content", ChecksumAlgorithm="SHA256")
    told = s3.get_object_attributes(Bucket=bucket, Key="k", ObjectAttributes=["ObjectParts", "Checksum", "ETag"])
    assert told["Checksum"] == {"ChecksumSHA256": encode(sha256(b"content")), "ChecksumType": "FULL_OBJECT"}
    assert "ObjectParts" not in told and "ObjectSize" not in told
    with pytest.raises(ClientError, match="NoSuchKey"):
        s3.get_object_attributes(Bucket=bucket, Key="gone", ObjectAttributes=["ETag"])


def test_deletes_depend_on_time_and_size(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"123")
    modified = s3.head_object(Bucket=bucket, Key="k")["LastModified"]
    other = modified - datetime.timedelta(seconds=1)
    for wrong in [{"IfMatchSize": 4}, {"IfMatchLastModifiedTime": other}]:
        with pytest.raises(ClientError, match="PreconditionFailed"):
            s3.delete_object(Bucket=bucket, Key="k", **wrong)
    refused = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "k", "Size": 4}]})
    assert [error["Code"] for error in refused["Errors"]] == ["PreconditionFailed"]
    s3.delete_object(Bucket=bucket, Key="k", IfMatchSize=3, IfMatchLastModifiedTime=modified)
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)
    # Nothing is there any more, so there is nothing to keep.
    s3.delete_object(Bucket=bucket, Key="k", IfMatchSize=4)


def test_canned_lists_that_change_nothing(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"")
    s3.put_bucket_acl(Bucket=bucket, ACL="private")
    s3.put_object_acl(Bucket=bucket, Key="k", ACL="bucket-owner-full-control")
    for refused in ["public-read", "authenticated-read"]:
        with pytest.raises(ClientError, match="AccessControlListNotSupported"):
            s3.put_bucket_acl(Bucket=bucket, ACL=refused)
        with pytest.raises(ClientError, match="AccessControlListNotSupported"):
            s3.put_object_acl(Bucket=bucket, Key="k", ACL=refused)
    with pytest.raises(ClientError, match="NoSuchKey"):
        s3.put_object_acl(Bucket=bucket, Key="gone", ACL="private")
