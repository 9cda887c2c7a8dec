"""Lifecycle rules at work, with days of two seconds."""

import time
import urllib.parse
from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime

import pytest
import weir

DAY_S = 2
WITHIN_S = 30


@pytest.fixture(scope="module")
def aging(tmp_path_factory):
    running = weir.Server(
        tmp_path_factory.mktemp("aging") / "data", flags=["--test-mode", "--test-lifecycle-day", str(DAY_S)]
    ).start()
    yield running
    assert running.stop() == 0


@pytest.fixture
def s3(aging):
    return weir.boto3_client(aging)


@pytest.fixture
def bucket(s3, name):
    s3.create_bucket(Bucket=name)
    return name


def rules(s3, bucket, *given):
    whole = [{"ID": f"rule-{number}", "Status": "Enabled", "Filter": {"Prefix": ""}} | rule
             for number, rule in enumerate(given)]
    s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": whole})


def keys(s3, bucket):
    return [entry["Key"] for entry in s3.list_objects_v2(Bucket=bucket).get("Contents", [])]


def versions(s3, bucket):
    listed = s3.list_object_versions(Bucket=bucket)
    return [entry["VersionId"] for entry in listed.get("Versions", [])], \
        [entry["VersionId"] for entry in listed.get("DeleteMarkers", [])]


def until_true(condition):
    until = time.monotonic() + WITHIN_S
    while not condition():
        assert time.monotonic() < until, "it never came"
        time.sleep(0.1)


def put(s3, bucket, key, body=b"x", **more):
    return s3.put_object(Bucket=bucket, Key=key, Body=body, **more)


def test_objects_expire_by_prefix_tag_and_size(s3, bucket):
    rules(
        s3, bucket,
        {"Filter": {"Prefix": "old/"}, "Expiration": {"Days": 1}},
        {"Filter": {"Tag": {"Key": "keep", "Value": "no"}}, "Expiration": {"Days": 1}},
        {"Filter": {"And": {"Prefix": "sized/", "ObjectSizeGreaterThan": 10, "ObjectSizeLessThan": 1000}},
         "Expiration": {"Days": 1}},
        {"Filter": {"Prefix": "later/"}, "Expiration": {"Days": 1000}},
        {"Status": "Disabled", "Filter": {"Prefix": "off/"}, "Expiration": {"Days": 1}},
    )
    for key in ["old/a", "new/a", "later/a", "off/a", "sized/small"]:
        put(s3, bucket, key)
    put(s3, bucket, "sized/fits", b"x" * 100)
    put(s3, bucket, "tagged", Tagging="keep=no&other=1")
    put(s3, bucket, "tagged-otherwise", Tagging="keep=yes")
    began = time.monotonic()
    assert len(keys(s3, bucket)) == 8
    stay = ["later/a", "new/a", "off/a", "sized/small", "tagged-otherwise"]
    until_true(lambda: keys(s3, bucket) == stay)
    assert time.monotonic() - began > DAY_S / 2
    time.sleep(DAY_S)
    assert keys(s3, bucket) == stay


def test_a_date_that_has_passed(s3, bucket):
    put(s3, bucket, "gone")
    yesterday = (datetime.now(timezone.utc) - timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    rules(s3, bucket, {"Expiration": {"Date": yesterday}})
    until_true(lambda: keys(s3, bucket) == [])


def test_versions_age_apart_from_current_objects(s3, bucket):
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    made = [put(s3, bucket, "key", str(number).encode())["VersionId"] for number in range(4)]
    rules(s3, bucket, {"NoncurrentVersionExpiration": {"NoncurrentDays": 1, "NewerNoncurrentVersions": 1}})
    until_true(lambda: versions(s3, bucket)[0] == [made[3], made[2]])
    # The current object gets a marker, what is behind it goes, then the marker goes.
    rules(s3, bucket, {"Expiration": {"Days": 1}, "NoncurrentVersionExpiration": {"NoncurrentDays": 3}})
    until_true(lambda: len(versions(s3, bucket)[1]) == 1)
    with pytest.raises(s3.exceptions.NoSuchKey):
        s3.get_object(Bucket=bucket, Key="key")
    until_true(lambda: versions(s3, bucket) == ([], []))


def test_markers_go_only_when_nothing_is_behind_them(s3, bucket):
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    put(s3, bucket, "behind")
    s3.delete_object(Bucket=bucket, Key="behind")
    marker = s3.delete_object(Bucket=bucket, Key="alone")["VersionId"]
    assert marker in versions(s3, bucket)[1]
    rules(s3, bucket, {"Expiration": {"ExpiredObjectDeleteMarker": True}})
    until_true(lambda: marker not in versions(s3, bucket)[1])
    time.sleep(1)
    assert len(versions(s3, bucket)[0]) == 1 and len(versions(s3, bucket)[1]) == 1


def test_locked_versions_stay(s3, name):
    s3.create_bucket(Bucket=name, ObjectLockEnabledForBucket=True)
    held = put(s3, name, "held", ObjectLockLegalHoldStatus="ON")["VersionId"]
    free = put(s3, name, "free")["VersionId"]
    for key in ["held", "free"]:
        put(s3, name, key)
    rules(s3, name, {"NoncurrentVersionExpiration": {"NoncurrentDays": 1}})
    until_true(lambda: free not in versions(s3, name)[0])
    time.sleep(1)
    assert held in versions(s3, name)[0]
    s3.put_object_legal_hold(Bucket=name, Key="held", VersionId=held, LegalHold={"Status": "OFF"})
    until_true(lambda: held not in versions(s3, name)[0])


def test_old_uploads_are_aborted(s3, bucket):
    rules(s3, bucket, {"Filter": {"Prefix": "up/"}, "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1}})
    for key in ["up/old", "other"]:
        s3.create_multipart_upload(Bucket=bucket, Key=key)
    uploads = lambda: [entry["Key"] for entry in s3.list_multipart_uploads(Bucket=bucket).get("Uploads", [])]  # noqa: E731
    assert sorted(uploads()) == ["other", "up/old"]
    until_true(lambda: uploads() == ["other"])


def test_classes_change_and_the_bytes_stay(s3, bucket):
    body = b"0123456789" * 20_000
    etag = put(s3, bucket, "large", body, Metadata={"a": "b"})["ETag"]
    put(s3, bucket, "small", b"x", StorageClass="DEEP_ARCHIVE")
    rules(s3, bucket, {"Transitions": [
        {"Days": 1, "StorageClass": "STANDARD_IA"}, {"Days": 3, "StorageClass": "GLACIER"},
    ]})
    of = lambda key: s3.head_object(Bucket=bucket, Key=key).get("StorageClass")  # noqa: E731
    seen = []

    def is_cold():
        seen.append(of("large"))
        return seen[-1] == "GLACIER"

    until_true(is_cold)
    assert seen[0] is None and "STANDARD_IA" in seen
    answer = s3.get_object(Bucket=bucket, Key="large")
    assert answer["Body"].read() == body and answer["ETag"] == etag and answer["Metadata"] == {"a": "b"}
    assert answer["StorageClass"] == "GLACIER"
    assert s3.list_objects(Bucket=bucket)["Contents"][0]["StorageClass"] == "GLACIER"
    assert s3.list_objects_v2(Bucket=bucket)["Contents"][0]["StorageClass"] == "GLACIER"
    assert s3.list_object_versions(Bucket=bucket)["Versions"][0]["StorageClass"] == "GLACIER"
    attributes = s3.get_object_attributes(Bucket=bucket, Key="large", ObjectAttributes=["StorageClass"])
    assert attributes["StorageClass"] == "GLACIER"
    assert of("small") == "DEEP_ARCHIVE"


def test_the_header_says_when_and_why(s3, bucket):
    rules(
        s3, bucket,
        {"ID": "a rule/ü", "Filter": {"Prefix": "x/"}, "Expiration": {"Days": 100}},
        {"ID": "tagged", "Filter": {"Tag": {"Key": "k", "Value": "v"}}, "Expiration": {"Days": 50}},
    )
    answers = [put(s3, bucket, "x/1")]
    answers.append(s3.copy_object(Bucket=bucket, Key="x/2", CopySource={"Bucket": bucket, "Key": "x/1"}))
    answers += [s3.get_object(Bucket=bucket, Key="x/1"), s3.head_object(Bucket=bucket, Key="x/2")]
    upload = s3.create_multipart_upload(Bucket=bucket, Key="x/3")["UploadId"]
    etag = s3.upload_part(Bucket=bucket, Key="x/3", UploadId=upload, PartNumber=1, Body=b"y")["ETag"]
    answers.append(s3.complete_multipart_upload(
        Bucket=bucket, Key="x/3", UploadId=upload, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": etag}]}
    ))
    for answer in answers:
        date, rule = answer["Expiration"].removeprefix('expiry-date="').removesuffix('"').split('", rule-id="')
        assert urllib.parse.unquote(rule) == "a rule/ü"
        due = parsedate_to_datetime(date)
        assert (due.hour, due.minute, due.second) == (0, 0, 0)
        assert (due - datetime.now(timezone.utc)).days == 100
    assert "tagged" in put(s3, bucket, "y", Tagging="k=v")["Expiration"]
    assert "tagged" in put(s3, bucket, "x/both", Tagging="k=v")["Expiration"]
    assert "Expiration" not in put(s3, bucket, "z") and "Expiration" not in s3.head_object(Bucket=bucket, Key="z")


def test_the_feed_tells_whose_deletes_they_were(aging, s3, bucket):
    from test_event_stream import Stream

    stream = Stream(aging, bucket, events=["s3:LifecycleExpiration:*", "s3:LifecycleTransition", "s3:ObjectRemoved:*"])
    stream.line()
    put(s3, bucket, "cold")
    put(s3, bucket, "expires")
    rules(
        s3, bucket,
        {"Filter": {"Prefix": "expires"}, "Expiration": {"Days": 1}},
        {"Filter": {"Prefix": "cold"}, "Transitions": [{"Days": 1, "StorageClass": "GLACIER"}]},
    )
    records = stream.records(2)
    told = sorted((record["eventName"], record["s3"]["object"]["key"]) for record in records)
    assert told == [("LifecycleExpiration:Delete", "expires"), ("LifecycleTransition", "cold")]
    assert all(record["userIdentity"]["principalId"] == "s3.amazonaws.com" for record in records)
    stream.close()


def test_a_restart_goes_on(tmp_path):
    server = weir.Server(tmp_path / "data", flags=["--test-mode", "--test-lifecycle-day", str(DAY_S)]).start()
    s3 = weir.boto3_client(server)
    s3.create_bucket(Bucket="restarted")
    rules(s3, "restarted", {"Expiration": {"Days": 1}})
    put(s3, "restarted", "key")
    s3.create_bucket(Bucket="moved")
    rules(s3, "moved", {"Transitions": [{"Days": 1, "StorageClass": "GLACIER"}]})
    put(s3, "moved", "key")
    until_true(lambda: s3.head_object(Bucket="moved", Key="key").get("StorageClass") == "GLACIER")
    s3.delete_bucket_lifecycle(Bucket="moved")
    server.restart_killed()
    s3 = weir.boto3_client(server)
    assert s3.head_object(Bucket="moved", Key="key")["StorageClass"] == "GLACIER"
    until_true(lambda: keys(s3, "restarted") == [])
    assert server.stop() == 0
