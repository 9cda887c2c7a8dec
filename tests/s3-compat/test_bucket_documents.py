"""A bucket's configuration documents: what was put comes back, and what is wrong is refused and changes nothing."""

import base64
import hashlib
import uuid

import pytest
from botocore.exceptions import ClientError

import raw
import sigv4
import weir


def code(call, **arguments):
    """The code and status of a call that must fail."""
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    answer = caught.value.response
    return answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"]


def put_xml(server, bucket, query, document, headers=None):
    """A document as it is written here: boto3 would not send some of these."""
    request = sigv4.Signed(server, "PUT", f"/{bucket}", headers, document.encode(), query=[(query, "")])
    return raw.ask(server, request.bytes())


@pytest.fixture
def locking(s3):
    name = f"lock-{uuid.uuid4().hex[:20]}"
    s3.create_bucket(Bucket=name, ObjectLockEnabledForBucket=True)
    return name


# Versioning.


def test_versioning_goes_on_and_is_suspended(server, s3, bucket):
    assert "Status" not in s3.get_bucket_versioning(Bucket=bucket)
    for status in ["Enabled", "Suspended", "Enabled"]:
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": status})
        assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == status
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Suspended", "MFADelete": "Disabled"})
    assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == "Suspended"


def test_bad_versioning_changes_nothing(server, s3, bucket):
    put = s3.put_bucket_versioning
    wrong = {"Status": "enabled"}
    assert code(put, Bucket=bucket, VersioningConfiguration=wrong) == ("MalformedXML", 400)
    assert code(put, Bucket=bucket, VersioningConfiguration={}) == ("IllegalVersioningConfigurationException", 400)
    second_factor = {"Status": "Enabled", "MFADelete": "Enabled"}
    assert code(put, Bucket=bucket, VersioningConfiguration=second_factor) == ("NotImplemented", 501)
    enabled = {"Status": "Enabled"}
    assert code(put, Bucket=bucket, VersioningConfiguration=enabled, MFA="serial 123456") == ("NotImplemented", 501)
    assert code(put, Bucket="no-such-bucket-here", VersioningConfiguration=enabled) == ("NoSuchBucket", 404)
    for document in [
        "",
        "<VersioningConfiguration>",
        "<VersioningConfiguration><Status>Enabled</Status><Misspelt>1</Misspelt></VersioningConfiguration>",
        "<VersioningConfiguration><Status>Enabled</Status><Status>Enabled</Status></VersioningConfiguration>",
        "<Versioning><Status>Enabled</Status></Versioning>",
    ]:
        answer = put_xml(server, bucket, "versioning", document)
        assert answer.status == 400, (document, answer)
    assert "Status" not in s3.get_bucket_versioning(Bucket=bucket)


def test_checksums_of_documents_are_verified(server, s3, bucket):
    document = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"
    other = base64.b64encode(hashlib.md5(b"other").digest()).decode()
    assert put_xml(server, bucket, "versioning", document, {"content-md5": other}).code == "BadDigest"
    assert put_xml(server, bucket, "versioning", document, {"content-md5": "short"}).code == "InvalidDigest"
    assert put_xml(server, bucket, "versioning", document, {"x-amz-checksum-crc32": "AAAAAA=="}).code == "BadDigest"
    assert "Status" not in s3.get_bucket_versioning(Bucket=bucket)
    right = base64.b64encode(hashlib.md5(document.encode()).digest()).decode()
    assert put_xml(server, bucket, "versioning", document, {"content-md5": right}).status == 200
    assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"


def test_documents_outlive_a_restart_and_not_their_bucket(own_server):
    s3 = weir.boto3_client(own_server)
    s3.create_bucket(Bucket="documents", ObjectLockEnabledForBucket=True)
    s3.create_bucket(Bucket="renewed")
    s3.put_bucket_versioning(Bucket="renewed", VersioningConfiguration={"Status": "Enabled"})
    own_server.kill()
    own_server.start()
    s3 = weir.boto3_client(own_server)
    assert s3.get_object_lock_configuration(Bucket="documents")["ObjectLockConfiguration"]["ObjectLockEnabled"]
    assert s3.get_bucket_versioning(Bucket="renewed")["Status"] == "Enabled"
    s3.delete_bucket(Bucket="renewed")
    s3.create_bucket(Bucket="renewed")
    assert "Status" not in s3.get_bucket_versioning(Bucket="renewed")


# Object lock.


def test_a_bucket_is_made_with_locks(s3, locking):
    assert s3.get_bucket_versioning(Bucket=locking)["Status"] == "Enabled"
    found = s3.get_object_lock_configuration(Bucket=locking)["ObjectLockConfiguration"]
    assert found == {"ObjectLockEnabled": "Enabled"}
    suspended = {"Status": "Suspended"}
    put = s3.put_bucket_versioning
    assert code(put, Bucket=locking, VersioningConfiguration=suspended) == ("InvalidBucketState", 409)
    s3.put_bucket_versioning(Bucket=locking, VersioningConfiguration={"Status": "Enabled"})


@pytest.mark.parametrize("retention", [{"Mode": "GOVERNANCE", "Days": 1}, {"Mode": "COMPLIANCE", "Years": 7}])
def test_default_retention_comes_back(s3, locking, retention):
    wanted = {"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": retention}}
    s3.put_object_lock_configuration(Bucket=locking, ObjectLockConfiguration=wanted)
    assert s3.get_object_lock_configuration(Bucket=locking)["ObjectLockConfiguration"] == wanted
    without = {"ObjectLockEnabled": "Enabled"}
    s3.put_object_lock_configuration(Bucket=locking, ObjectLockConfiguration=without)
    assert s3.get_object_lock_configuration(Bucket=locking)["ObjectLockConfiguration"] == without


def test_an_old_bucket_gets_locks_when_it_keeps_versions(s3, bucket):
    get, put = s3.get_object_lock_configuration, s3.put_object_lock_configuration
    assert code(get, Bucket=bucket) == ("ObjectLockConfigurationNotFoundError", 404)
    wanted = {"ObjectLockEnabled": "Enabled"}
    assert code(put, Bucket=bucket, ObjectLockConfiguration=wanted) == ("InvalidBucketState", 409)
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Suspended"})
    assert code(put, Bucket=bucket, ObjectLockConfiguration=wanted) == ("InvalidBucketState", 409)
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    put(Bucket=bucket, ObjectLockConfiguration=wanted)
    assert get(Bucket=bucket)["ObjectLockConfiguration"] == wanted
    suspended = {"Status": "Suspended"}
    assert code(s3.put_bucket_versioning, Bucket=bucket, VersioningConfiguration=suspended)[1] == 409


@pytest.mark.parametrize(
    "configuration, expected",
    [
        ({"ObjectLockEnabled": "Disabled"}, "MalformedXML"),
        ({"Rule": {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 1}}}, "MalformedXML"),
        ({"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": {"Mode": "governance", "Days": 1}}}, "MalformedXML"),
        (
            {"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 1, "Years": 1}}},
            "MalformedXML",
        ),
        ({"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": {"Mode": "GOVERNANCE"}}}, "MalformedXML"),
        (
            {"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 0}}},
            "InvalidRetentionPeriod",
        ),
        (
            {"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": {"Mode": "COMPLIANCE", "Years": 101}}},
            "InvalidRetentionPeriod",
        ),
    ],
)
def test_bad_retention_changes_nothing(s3, locking, configuration, expected):
    put = s3.put_object_lock_configuration
    assert code(put, Bucket=locking, ObjectLockConfiguration=configuration) == (expected, 400)
    found = s3.get_object_lock_configuration(Bucket=locking)["ObjectLockConfiguration"]
    assert found == {"ObjectLockEnabled": "Enabled"}
