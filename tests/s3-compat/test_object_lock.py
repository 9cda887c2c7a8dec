"""Object lock: retention, legal holds, a bucket's default, and what they forbid."""

import json
import os
from datetime import datetime, timedelta, timezone

import pytest
import urllib3
import weir
from botocore.exceptions import ClientError


def soon(seconds=3600):
    return (datetime.now(timezone.utc) + timedelta(seconds=seconds)).replace(microsecond=0)


def refused(call, **arguments):
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    answer = caught.value.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"]


@pytest.fixture
def locked(s3, name):
    s3.create_bucket(Bucket=name, ObjectLockEnabledForBucket=True)
    return name


def default_retention(s3, bucket, mode="GOVERNANCE", **period):
    rule = {"DefaultRetention": {"Mode": mode, **(period or {"Days": 1})}}
    document = {"ObjectLockEnabled": "Enabled", "Rule": rule}
    s3.put_object_lock_configuration(Bucket=bucket, ObjectLockConfiguration=document)


def retain(s3, bucket, mode, until, **more):
    return s3.put_object_retention(Bucket=bucket, Key="k", Retention={"Mode": mode, "RetainUntilDate": until}, **more)


def test_a_locked_version_stays(s3, locked):
    until = soon()
    put = s3.put_object(Bucket=locked, Key="k", Body=b"1", ObjectLockMode="GOVERNANCE", ObjectLockRetainUntilDate=until)
    version = put["VersionId"]
    for call in [s3.get_object, s3.head_object]:
        answer = call(Bucket=locked, Key="k")
        assert (answer["ObjectLockMode"], answer["ObjectLockRetainUntilDate"]) == ("GOVERNANCE", until)
        assert "ObjectLockLegalHoldStatus" not in answer
    named = {"Bucket": locked, "Key": "k", "VersionId": version}
    assert refused(s3.delete_object, **named) == (403, "AccessDenied")
    answer = s3.delete_objects(Bucket=locked, Delete={"Objects": [{"Key": "k", "VersionId": version}]})
    assert [(error["Code"], error["VersionId"]) for error in answer["Errors"]] == [("AccessDenied", version)]
    # A delete marker hides it, and a new version comes before it: neither ends it.
    marker = s3.delete_object(Bucket=locked, Key="k")["VersionId"]
    s3.put_object(Bucket=locked, Key="k", Body=b"2")
    assert s3.get_object(**named)["Body"].read() == b"1"
    s3.delete_object(Bucket=locked, Key="k", VersionId=marker)
    s3.delete_object(**named, BypassGovernanceRetention=True)
    assert refused(s3.get_object, **named) == (404, "NoSuchVersion")


def test_compliance_knows_no_bypass(s3, locked):
    until = soon(6)
    version = s3.put_object(Bucket=locked, Key="k", Body=b"1")["VersionId"]
    retain(s3, locked, "COMPLIANCE", until, VersionId=version)
    named = {"Bucket": locked, "Key": "k", "VersionId": version}
    assert refused(s3.delete_object, **named, BypassGovernanceRetention=True) == (403, "AccessDenied")
    objects = {"Objects": [{"Key": "k", "VersionId": version}]}
    assert s3.delete_objects(Bucket=locked, Delete=objects, BypassGovernanceRetention=True)["Errors"]
    shorter = {"Mode": "COMPLIANCE", "RetainUntilDate": until - timedelta(seconds=2)}
    assert refused(s3.put_object_retention, **named, Retention=shorter, BypassGovernanceRetention=True) == (403, "AccessDenied")
    weaker = {"Mode": "GOVERNANCE", "RetainUntilDate": soon(9)}
    assert refused(s3.put_object_retention, **named, Retention=weaker, BypassGovernanceRetention=True) == (403, "AccessDenied")
    deadline = soon(30)
    while datetime.now(timezone.utc) < deadline:
        try:
            s3.delete_object(**named)
            break
        except ClientError:
            continue
    assert datetime.now(timezone.utc) >= until
    assert "Versions" not in s3.list_object_versions(Bucket=locked)


def test_retention_is_given_changed_and_taken(s3, locked):
    s3.put_object(Bucket=locked, Key="k", Body=b"1")
    assert refused(s3.get_object_retention, Bucket=locked, Key="k") == (404, "NoSuchObjectLockConfiguration")
    until, later = soon(600), soon(1200)
    retain(s3, locked, "GOVERNANCE", until)
    assert s3.get_object_retention(Bucket=locked, Key="k")["Retention"] == {"Mode": "GOVERNANCE", "RetainUntilDate": until}
    retain(s3, locked, "GOVERNANCE", later)
    assert refused(retain, s3=s3, bucket=locked, mode="GOVERNANCE", until=until) == (403, "AccessDenied")
    retain(s3, locked, "GOVERNANCE", until, BypassGovernanceRetention=True)
    assert s3.get_object_retention(Bucket=locked, Key="k")["Retention"]["RetainUntilDate"] == until
    empty = {"Bucket": locked, "Key": "k", "Retention": {}}
    assert refused(s3.put_object_retention, **empty) == (403, "AccessDenied")
    s3.put_object_retention(**empty, BypassGovernanceRetention=True)
    assert refused(s3.get_object_retention, Bucket=locked, Key="k") == (404, "NoSuchObjectLockConfiguration")


def test_bad_retention_is_refused(s3, locked):
    s3.put_object(Bucket=locked, Key="k", Body=b"1")
    past = datetime(2001, 1, 1, tzinfo=timezone.utc)
    for retention, code in [
        ({"Mode": "governance", "RetainUntilDate": soon()}, "MalformedXML"),
        ({"Mode": "abc", "RetainUntilDate": soon()}, "MalformedXML"),
        ({"Mode": "GOVERNANCE"}, "MalformedXML"),
        ({"RetainUntilDate": soon()}, "MalformedXML"),
        ({"Mode": "GOVERNANCE", "RetainUntilDate": past}, "InvalidArgument"),
    ]:
        assert refused(s3.put_object_retention, Bucket=locked, Key="k", Retention=retention) == (400, code), retention
    put = {"Bucket": locked, "Key": "k", "Body": b"2"}
    assert refused(s3.put_object, **put, ObjectLockMode="GOVERNANCE") == (400, "InvalidArgument")
    assert refused(s3.put_object, **put, ObjectLockRetainUntilDate=soon()) == (400, "InvalidArgument")
    both = {"ObjectLockMode": "GOVERNANCE", "ObjectLockRetainUntilDate": past}
    assert refused(s3.put_object, **put, **both) == (400, "InvalidArgument")
    assert refused(s3.put_object, **put, ObjectLockMode="abc", ObjectLockRetainUntilDate=soon()) == (400, "InvalidArgument")
    assert refused(s3.put_object, **put, ObjectLockLegalHoldStatus="abc") == (400, "InvalidArgument")
    bare = weir.boto3_client(s3_server(s3), request_checksum_calculation="when_required")
    lock = {"ObjectLockMode": "GOVERNANCE", "ObjectLockRetainUntilDate": soon()}
    bare.meta.events.register("before-sign.s3.PutObject", without_checksums)
    assert refused(bare.put_object, **put, **lock) == (400, "InvalidRequest")
    assert s3.get_object(Bucket=locked, Key="k")["Body"].read() == b"1"
    assert refused(s3.get_object_retention, Bucket=locked, Key="none") == (404, "NoSuchKey")


def s3_server(s3):
    class Server:
        endpoint, certificate = s3.meta.endpoint_url, None

    return Server


def without_checksums(request, **_):
    for name in [name for name in request.headers if name.lower().startswith(("content-md5", "x-amz-checksum", "x-amz-sdk-ch"))]:
        del request.headers[name]


def test_a_bucket_without_locks_takes_none(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"1")
    until = soon()
    named = {"Bucket": bucket, "Key": "k"}
    retention = {"Mode": "GOVERNANCE", "RetainUntilDate": until}
    assert refused(s3.put_object_retention, **named, Retention=retention) == (400, "InvalidRequest")
    assert refused(s3.get_object_retention, **named) == (400, "InvalidRequest")
    assert refused(s3.put_object_legal_hold, **named, LegalHold={"Status": "ON"}) == (400, "InvalidRequest")
    assert refused(s3.get_object_legal_hold, **named) == (400, "InvalidRequest")
    for more in [
        {"ObjectLockMode": "GOVERNANCE", "ObjectLockRetainUntilDate": until},
        {"ObjectLockLegalHoldStatus": "ON"},
    ]:
        assert refused(s3.put_object, **named, Body=b"2", **more) == (400, "InvalidRequest")
        assert refused(s3.create_multipart_upload, **named, **more) == (400, "InvalidRequest")
        assert refused(s3.copy_object, Bucket=bucket, Key="c", CopySource=named, **more) == (400, "InvalidRequest")
    assert s3.get_object(**named)["Body"].read() == b"1"


def test_a_legal_hold_holds_until_it_is_taken(s3, locked):
    version = s3.put_object(Bucket=locked, Key="k", Body=b"1", ObjectLockLegalHoldStatus="ON")["VersionId"]
    named = {"Bucket": locked, "Key": "k", "VersionId": version}
    assert s3.get_object_legal_hold(**named)["LegalHold"] == {"Status": "ON"}
    assert s3.head_object(Bucket=locked, Key="k")["ObjectLockLegalHoldStatus"] == "ON"
    assert refused(s3.delete_object, **named, BypassGovernanceRetention=True) == (403, "AccessDenied")
    assert refused(s3.put_object_legal_hold, **named, LegalHold={"Status": "on"}) == (400, "MalformedXML")
    s3.put_object_legal_hold(**named, LegalHold={"Status": "OFF"})
    assert s3.get_object_legal_hold(**named)["LegalHold"] == {"Status": "OFF"}
    s3.delete_object(**named)


def test_buckets_give_new_versions_a_retention(s3, locked):
    before = s3.put_object(Bucket=locked, Key="before", Body=b"1")
    default_retention(s3, locked, Days=2)
    s3.put_object(Bucket=locked, Key="k", Body=b"1")
    head = s3.head_object(Bucket=locked, Key="k")
    assert head["ObjectLockMode"] == "GOVERNANCE"
    assert abs(head["ObjectLockRetainUntilDate"] - head["LastModified"] - timedelta(days=2)) < timedelta(seconds=3)
    assert "ObjectLockMode" not in s3.head_object(Bucket=locked, Key="before", VersionId=before["VersionId"])
    until = soon()
    own = {"ObjectLockMode": "GOVERNANCE", "ObjectLockRetainUntilDate": until}
    s3.put_object(Bucket=locked, Key="own", Body=b"1", **own)
    assert s3.head_object(Bucket=locked, Key="own")["ObjectLockRetainUntilDate"] == until
    s3.copy_object(Bucket=locked, Key="copy", CopySource=f"{locked}/own")
    assert s3.head_object(Bucket=locked, Key="copy")["ObjectLockRetainUntilDate"] > until
    upload = s3.create_multipart_upload(Bucket=locked, Key="parts")["UploadId"]
    part = s3.upload_part(Bucket=locked, Key="parts", UploadId=upload, PartNumber=1, Body=b"x")
    parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    s3.complete_multipart_upload(Bucket=locked, Key="parts", UploadId=upload, MultipartUpload=parts)
    assert s3.head_object(Bucket=locked, Key="parts")["ObjectLockMode"] == "GOVERNANCE"
    versions = s3.list_object_versions(Bucket=locked)["Versions"]
    objects = {"Objects": [{"Key": entry["Key"], "VersionId": entry["VersionId"]} for entry in versions]}
    answer = s3.delete_objects(Bucket=locked, Delete=objects)
    assert sorted(error["Key"] for error in answer["Errors"]) == ["copy", "k", "own", "parts"]
    assert not s3.delete_objects(Bucket=locked, Delete=objects, BypassGovernanceRetention=True).get("Errors")


def test_copies_and_forms_bring_locks(s3, locked):
    s3.put_object(Bucket=locked, Key="k", Body=b"1")
    until = soon()
    lock = {"ObjectLockMode": "GOVERNANCE", "ObjectLockRetainUntilDate": until, "ObjectLockLegalHoldStatus": "ON"}
    s3.copy_object(Bucket=locked, Key="copy", CopySource=f"{locked}/k", **lock)
    head = s3.head_object(Bucket=locked, Key="copy")
    assert {name: head[name] for name in lock} == lock
    # A copy takes no lock from its source.
    s3.copy_object(Bucket=locked, Key="free", CopySource=f"{locked}/copy")
    assert "ObjectLockMode" not in s3.head_object(Bucket=locked, Key="free")
    fields = {"x-amz-object-lock-mode": "GOVERNANCE", "x-amz-object-lock-retain-until-date": until.isoformat()}
    form = s3.generate_presigned_post(locked, "form", Fields=fields, Conditions=[{name: value} for name, value in fields.items()])
    parts = [*form["fields"].items(), ("file", ("f", b"x", "text/plain"))]
    answer = urllib3.PoolManager(retries=False).request("POST", form["url"], fields=parts)
    head = s3.head_object(Bucket=locked, Key="form")
    assert (answer.status, answer.headers["x-amz-version-id"]) == (204, head["VersionId"])
    assert (head["ObjectLockMode"], head["ObjectLockRetainUntilDate"]) == ("GOVERNANCE", until)


def test_locks_stay_over_a_crash(own_server):
    s3 = weir.boto3_client(own_server)
    s3.create_bucket(Bucket="locks", ObjectLockEnabledForBucket=True)
    version = s3.put_object(Bucket="locks", Key="k", Body=b"1", ObjectLockLegalHoldStatus="ON")["VersionId"]
    large = s3.put_object(Bucket="locks", Key="l", Body=b"x" * 300_000)["VersionId"]
    retention = {"Mode": "COMPLIANCE", "RetainUntilDate": soon()}
    s3.put_object_retention(Bucket="locks", Key="l", Retention=retention)
    own_server.restart_killed()
    s3 = weir.boto3_client(own_server)
    for key, id in [("k", version), ("l", large)]:
        named = {"Bucket": "locks", "Key": key, "VersionId": id}
        assert refused(s3.delete_object, **named, BypassGovernanceRetention=True) == (403, "AccessDenied")
    assert s3.get_object(Bucket="locks", Key="l")["Body"].read() == b"x" * 300_000


def test_aws_locks(s3, locked, server, tmp_path, require):
    aws, env = require("aws"), weir.client_environment(server, tmp_path)

    def api(*arguments, may_fail=False):
        done = weir.run([aws, "--endpoint-url", server.endpoint, "s3api", *arguments], env=env, may_fail=may_fail)
        return done.stderr if done.returncode else json.loads(done.stdout or "{}")

    file = tmp_path / "f"
    file.write_text("1")
    object = ["--bucket", locked, "--key", "k"]
    version = api("put-object", *object, "--body", str(file))["VersionId"]
    until = soon().isoformat()
    api("put-object-retention", *object, "--retention", f"Mode=GOVERNANCE,RetainUntilDate={until}")
    assert api("get-object-retention", *object)["Retention"]["Mode"] == "GOVERNANCE"
    api("put-object-legal-hold", *object, "--legal-hold", "Status=ON")
    assert api("get-object-legal-hold", *object)["LegalHold"]["Status"] == "ON"
    refusal = api("delete-object", *object, "--version-id", version, "--bypass-governance-retention", may_fail=True)
    assert "AccessDenied" in refusal
    api("put-object-legal-hold", *object, "--legal-hold", "Status=OFF")
    api("delete-object", *object, "--version-id", version, "--bypass-governance-retention")


def versions_of(s3, bucket):
    pages = s3.get_paginator("list_object_versions").paginate(Bucket=bucket)
    return [entry for page in pages for entry in page.get("Versions", [])]


def test_restic_keeps_a_repository_in_a_locked_bucket(s3, locked, server, tmp_path, require):
    restic = require("restic")
    default_retention(s3, locked, "COMPLIANCE", Days=1)
    source = tmp_path / "source"
    source.mkdir()
    for index in range(20):
        (source / f"file-{index}").write_bytes(os.urandom(10_000 * index))
    env = weir.clean_environment() | {
        "HOME": str(tmp_path), "RESTIC_PASSWORD": "secret", "RESTIC_CACHE_DIR": str(tmp_path / "cache"),
        "RESTIC_REPOSITORY": f"s3:{server.endpoint}/{locked}/repository", "AWS_DEFAULT_REGION": weir.REGION,
        "AWS_ACCESS_KEY_ID": weir.ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": weir.SECRET_KEY,
    }

    def run(*arguments):
        return weir.run([restic, "--no-cache", *arguments], env=env).stdout

    run("init")
    run("backup", str(source))
    (source / "file-1").write_bytes(b"changed")
    run("backup", str(source))
    run("check", "--read-data")
    run("restore", "latest", "--target", str(tmp_path / "restored"))
    weir.assert_same_tree(source, tmp_path / "restored" / source.relative_to("/"))
    # Forgetting deletes for restic, and hides for the bucket: the repository stays sound, and every version is there.
    before = {(entry["Key"], entry["VersionId"]) for entry in versions_of(s3, locked)}
    run("forget", "--keep-last", "1", "--prune")
    assert len(json.loads(run("snapshots", "--json"))) == 1
    run("check", "--read-data")
    assert before <= {(entry["Key"], entry["VersionId"]) for entry in versions_of(s3, locked)}
    # restic deletes its locks: that makes delete markers, and the versions stay.
    page = s3.list_object_versions(Bucket=locked)
    assert page["DeleteMarkers"]
    hidden = next(entry for entry in page["Versions"] if not entry["IsLatest"])
    named = {"Bucket": locked, "Key": hidden["Key"], "VersionId": hidden["VersionId"]}
    assert refused(s3.delete_object, **named, BypassGovernanceRetention=True) == (403, "AccessDenied")
