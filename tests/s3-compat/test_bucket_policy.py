"""Bucket policies as boto3 sets them, and what they give to another account."""

import json
import time

import pytest
import urllib3
import weir
from accounts import DENIED, HEAD_DENIED, account, refused

HTTP = urllib3.PoolManager(retries=False)


def statement(actions, resources, effect="Allow", principal="*", **condition):
    said = {"Effect": effect, "Principal": principal, "Action": actions, "Resource": resources}
    return said | ({"Condition": condition} if condition else {})


def policy(*statements):
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def arn(bucket, key=None):
    return f"arn:aws:s3:::{bucket}" + ("" if key is None else f"/{key}")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    flags = ["--allow-public-access"]
    running = weir.Server(tmp_path_factory.mktemp("policies") / "data", flags=flags).start()
    yield running
    assert running.stop() == 0


@pytest.fixture(scope="module")
def owner(server):
    return account(server, "policy-owner")


@pytest.fixture(scope="module")
def other(server):
    return account(server, "policy-other")


@pytest.fixture
def bucket(owner, name):
    owner.create_bucket(Bucket=name)
    return name


@pytest.fixture
def given(owner, bucket):
    """Sets the bucket's policy."""

    def given(*statements):
        owner.put_bucket_policy(Bucket=bucket, Policy=policy(*statements))

    return given


def test_policies_are_kept_as_they_came(owner, other, bucket):
    assert refused(owner.get_bucket_policy, Bucket=bucket) == (404, "NoSuchBucketPolicy")
    assert owner.get_bucket_policy_status(Bucket=bucket)["PolicyStatus"] == {"IsPublic": False}
    text = policy(statement("s3:GetObject", arn(bucket, "*"))).replace(" ", "\r\n  ")
    owner.put_bucket_policy(Bucket=bucket, Policy=text)
    assert owner.get_bucket_policy(Bucket=bucket)["Policy"] == text
    assert owner.get_bucket_policy_status(Bucket=bucket)["PolicyStatus"] == {"IsPublic": True}
    for call in [other.get_bucket_policy, other.get_bucket_policy_status, other.delete_bucket_policy]:
        assert refused(call, Bucket=bucket) == DENIED
    assert refused(other.put_bucket_policy, Bucket=bucket, Policy=text) == DENIED
    owner.delete_bucket_policy(Bucket=bucket)
    owner.delete_bucket_policy(Bucket=bucket)
    assert refused(owner.get_bucket_policy, Bucket=bucket) == (404, "NoSuchBucketPolicy")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"Version": "2012-10-17"}',
        '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": "*", "Action": "s3:NoSuchAction", "Resource": "BUCKET"}]}',
        '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "BUCKET/*"}]}',
        '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::another/*"}]}',
        '{"Version": "2012-10-17", "Statement": [{"Effect": "Perhaps", "Principal": "*", "Action": "s3:GetObject", "Resource": "BUCKET/*"}]}',
        '{"Version": "2012-10-17", "Statment": [], "Statement": [{"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "BUCKET/*"}]}',
        '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "BUCKET/*", "Condition": {"StringAlmost": {"aws:username": "x"}}}]}',
        '{"Id": "' + "x" * 20480 + '", "Version": "2012-10-17", "Statement": []}',
    ],
)
def test_what_is_no_policy_is_refused(owner, bucket, text):
    text = text.replace("BUCKET", arn(bucket))
    code = refused(owner.put_bucket_policy, Bucket=bucket, Policy=text)
    assert code == (400, "MalformedPolicy")
    assert refused(owner.get_bucket_policy, Bucket=bucket) == (404, "NoSuchBucketPolicy")


def test_reading_is_given_and_nothing_else(owner, other, bucket, given):
    owner.put_object(Bucket=bucket, Key="open/a", Body=b"a")
    owner.put_object(Bucket=bucket, Key="shut/a", Body=b"a")
    given(statement("s3:GetObject", arn(bucket, "open/*")))
    assert other.get_object(Bucket=bucket, Key="open/a")["Body"].read() == b"a"
    assert other.head_object(Bucket=bucket, Key="open/a")["ContentLength"] == 1
    url = other.generate_presigned_url("get_object", {"Bucket": bucket, "Key": "open/a"})
    shut = other.generate_presigned_url("get_object", {"Bucket": bucket, "Key": "shut/a"})
    assert [HTTP.request("GET", address).status for address in (url, shut)] == [200, 403]
    # A Range that is none takes another way through the server, and the same decision.
    assert other.get_object(Bucket=bucket, Key="open/a", Range="x")["Body"].read() == b"a"
    assert refused(other.get_object, Bucket=bucket, Key="shut/a", Range="x") == DENIED
    assert refused(other.get_object, Bucket=bucket, Key="shut/a") == DENIED
    assert refused(other.head_object, Bucket=bucket, Key="shut/a") == HEAD_DENIED
    for call in [other.get_object_tagging, other.get_object_acl, other.delete_object, other.get_object_attributes]:
        more = {"ObjectAttributes": ["ETag"]} if call == other.get_object_attributes else {}
        assert refused(call, Bucket=bucket, Key="open/a", **more) == DENIED
    assert refused(other.put_object, Bucket=bucket, Key="open/a") == DENIED
    for call in [other.list_objects_v2, other.list_object_versions, other.list_multipart_uploads, other.get_bucket_location]:
        assert refused(call, Bucket=bucket) == DENIED
    assert refused(other.head_bucket, Bucket=bucket) == HEAD_DENIED


def test_what_is_not_there_is_told_to_who_may_list(owner, other, bucket, given):
    owner.put_object(Bucket=bucket, Key="public/there", Body=b"1")
    given(statement("s3:GetObject", arn(bucket, "*")))
    assert refused(other.get_object, Bucket=bucket, Key="public/gone") == DENIED
    assert refused(other.head_object, Bucket=bucket, Key="public/gone") == HEAD_DENIED
    copy = {"Bucket": bucket, "Key": "public/gone"}
    other_bucket = f"{bucket}-2"
    other.create_bucket(Bucket=other_bucket)
    assert refused(other.copy_object, Bucket=other_bucket, Key="k", CopySource=copy) == DENIED
    listing = statement("s3:ListBucket", arn(bucket), StringLike={"s3:prefix": "public/*"})
    given(statement("s3:GetObject", arn(bucket, "*")), listing)
    assert refused(other.get_object, Bucket=bucket, Key="public/gone") == (404, "NoSuchKey")
    assert refused(other.get_object, Bucket=bucket, Key="private/gone") == DENIED
    assert refused(other.copy_object, Bucket=other_bucket, Key="k", CopySource=copy) == (404, "NoSuchKey")
    given(listing)
    assert refused(other.head_object, Bucket=bucket, Key="public/gone") == (404, "404")
    assert refused(other.head_object, Bucket=bucket, Key="public/there") == HEAD_DENIED


def test_versions_need_rights_of_their_own(owner, other, bucket, given):
    owner.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    version = owner.put_object(Bucket=bucket, Key="k", Body=b"1")["VersionId"]
    named = {"Bucket": bucket, "Key": "k", "VersionId": version}
    objects = arn(bucket, "*")
    given(statement(["s3:GetObject", "s3:DeleteObject", "s3:GetObjectTagging", "s3:ListBucket"], [objects, arn(bucket)]))
    assert other.get_object(Bucket=bucket, Key="k")["Body"].read() == b"1"
    assert refused(other.get_object, **named) == DENIED
    assert refused(other.head_object, **named) == HEAD_DENIED
    assert refused(other.get_object_tagging, **named) == DENIED
    assert refused(other.delete_object, **named) == DENIED
    assert refused(other.list_object_versions, Bucket=bucket) == DENIED
    target = f"{bucket}-2"
    other.create_bucket(Bucket=target)
    assert refused(other.copy_object, Bucket=target, Key="k", CopySource=named) == DENIED
    other.copy_object(Bucket=target, Key="k", CopySource={"Bucket": bucket, "Key": "k"})
    given(statement(["s3:GetObjectVersion", "s3:DeleteObjectVersion"], objects))
    assert other.get_object(**named)["Body"].read() == b"1"
    assert refused(other.get_object, Bucket=bucket, Key="k") == DENIED
    other.copy_object(Bucket=target, Key="k", CopySource=named)
    keys = [{"Key": "k"}, {"Key": "k", "VersionId": version}]
    answer = other.delete_objects(Bucket=bucket, Delete={"Objects": keys})
    assert [entry.get("VersionId") for entry in answer["Deleted"]] == [version]
    assert [(entry["Key"], entry["Code"]) for entry in answer["Errors"]] == [("k", "AccessDenied")]


def test_deletes_are_decided_key_by_key(owner, other, bucket, given):
    for key in ["a/1", "a/2", "b/1"]:
        owner.put_object(Bucket=bucket, Key=key)
    given(statement("s3:DeleteObject", arn(bucket, "a/*")))
    objects = [{"Key": key} for key in ["a/1", "b/1", "a/2"]]
    answer = other.delete_objects(Bucket=bucket, Delete={"Objects": objects})
    assert sorted(entry["Key"] for entry in answer["Deleted"]) == ["a/1", "a/2"]
    assert [(entry["Key"], entry["Code"]) for entry in answer["Errors"]] == [("b/1", "AccessDenied")]
    assert [entry["Key"] for entry in owner.list_objects_v2(Bucket=bucket)["Contents"]] == ["b/1"]


def test_headers_of_a_write_need_rights(owner, other, bucket, given):
    objects = arn(bucket, "*")
    given(statement("s3:PutObject", objects))
    put = {"Bucket": bucket, "Key": "k", "Body": b"1"}
    other.put_object(**put)
    assert refused(other.put_object, **put, Tagging="a=b") == DENIED
    assert refused(other.put_object, **put, ACL="private") == DENIED
    assert refused(other.put_object, **put, ObjectLockLegalHoldStatus="ON") == DENIED
    assert refused(other.create_multipart_upload, Bucket=bucket, Key="k", Tagging="a=b") == DENIED
    given(statement(["s3:PutObject", "s3:PutObjectTagging"], objects))
    other.put_object(**put, Tagging="a=b")
    upload = other.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
    part = other.upload_part(Bucket=bucket, Key="k", UploadId=upload, PartNumber=1, Body=b"1")
    assert refused(other.list_parts, Bucket=bucket, Key="k", UploadId=upload) == DENIED
    assert refused(other.abort_multipart_upload, Bucket=bucket, Key="k", UploadId=upload) == DENIED
    parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    other.complete_multipart_upload(Bucket=bucket, Key="k", UploadId=upload, MultipartUpload=parts)


def test_tags_are_conditions(owner, other, bucket, given):
    objects = arn(bucket, "*")
    for key, tag in [("a", "open=yes"), ("b", "open=no"), ("c", "")]:
        owner.put_object(Bucket=bucket, Key=key, Tagging=tag, Body=b"1")
    given(statement("s3:GetObject", objects, StringEquals={"s3:ExistingObjectTag/open": "yes"}))
    assert other.get_object(Bucket=bucket, Key="a")["Body"].read() == b"1"
    assert refused(other.get_object, Bucket=bucket, Key="b") == DENIED
    assert refused(other.get_object, Bucket=bucket, Key="c") == DENIED
    asked = statement(["s3:PutObject", "s3:PutObjectTagging"], objects, StringEquals={"s3:RequestObjectTag/open": "yes"})
    given(asked)
    other.put_object(Bucket=bucket, Key="d", Tagging="open=yes")
    assert refused(other.put_object, Bucket=bucket, Key="e", Tagging="open=no") == DENIED
    assert refused(other.put_object, Bucket=bucket, Key="e") == DENIED
    # Here the tags are in the document.
    tags = lambda value: {"TagSet": [{"Key": "open", "Value": value}]}
    other.put_object_tagging(Bucket=bucket, Key="b", Tagging=tags("yes"))
    assert refused(other.put_object_tagging, Bucket=bucket, Key="b", Tagging=tags("no")) == DENIED
    assert owner.get_object_tagging(Bucket=bucket, Key="b")["TagSet"] == tags("yes")["TagSet"]


def test_copies_carry_tags_only_with_the_right(owner, other, bucket, given):
    owner.put_object(Bucket=bucket, Key="tagged", Tagging="a=b", Body=b"1")
    owner.put_object(Bucket=bucket, Key="plain", Body=b"1")
    target = f"{bucket}-2"
    other.create_bucket(Bucket=target)
    given(statement("s3:GetObject", arn(bucket, "*")))
    copy = lambda key, **more: {"Bucket": target, "Key": key, "CopySource": {"Bucket": bucket, "Key": key}, **more}
    other.copy_object(**copy("plain"))
    assert refused(other.copy_object, **copy("tagged")) == DENIED
    other.copy_object(**copy("tagged", TaggingDirective="REPLACE"))
    given(statement(["s3:GetObject", "s3:GetObjectTagging"], arn(bucket, "*")))
    other.copy_object(**copy("tagged"))
    assert other.get_object_tagging(Bucket=target, Key="tagged")["TagSet"] == [{"Key": "a", "Value": "b"}]


def test_a_rename_takes_the_old_name_away(owner, other, bucket, given):
    owner.put_object(Bucket=bucket, Key="old", Body=b"1")
    rename = {"Bucket": bucket, "Key": "new", "RenameSource": f"{bucket}/old"}
    objects = arn(bucket, "*")
    for actions in [["s3:PutObject", "s3:GetObject"], ["s3:PutObject", "s3:DeleteObject"], ["s3:GetObject", "s3:DeleteObject"]]:
        given(statement(actions, objects))
        assert refused(other.rename_object, **rename) == DENIED
    given(statement("s3:*", arn(bucket, "old")))
    assert refused(other.rename_object, **rename) == DENIED
    given(statement("s3:PutObject", arn(bucket, "new")), statement(["s3:GetObject", "s3:DeleteObject"], arn(bucket, "old")))
    other.rename_object(**rename)
    assert [entry["Key"] for entry in owner.list_objects_v2(Bucket=bucket)["Contents"]] == ["new"]


def test_addresses_and_agents_are_conditions(owner, other, bucket, given):
    owner.put_object(Bucket=bucket, Key="k", Body=b"1")
    objects = arn(bucket, "*")
    given(statement("s3:GetObject", objects, IpAddress={"aws:SourceIp": "127.0.0.0/8"}))
    assert other.get_object(Bucket=bucket, Key="k")["Body"].read() == b"1"
    given(statement("s3:GetObject", objects, NotIpAddress={"aws:SourceIp": "127.0.0.0/8"}))
    assert refused(other.get_object, Bucket=bucket, Key="k") == DENIED
    given(statement("s3:GetObject", objects, Bool={"aws:SecureTransport": "true"}))
    assert refused(other.get_object, Bucket=bucket, Key="k") == DENIED
    given(statement("s3:GetObject", objects, StringLike={"aws:UserAgent": "*Boto3*"}))
    assert other.get_object(Bucket=bucket, Key="k")["Body"].read() == b"1"
    given(statement("s3:GetObject", objects, StringEquals={"s3:authType": "REST-QUERY-STRING"}))
    assert refused(other.get_object, Bucket=bucket, Key="k") == DENIED


def test_an_old_signature_is_a_condition(owner, other, bucket, given):
    owner.put_object(Bucket=bucket, Key="k", Body=b"1")
    old = statement("s3:*", arn(bucket, "*"), "Deny", NumericGreaterThan={"s3:signatureAge": "1000"})
    given(statement("s3:GetObject", arn(bucket, "*")), old)
    url = other.generate_presigned_url("get_object", {"Bucket": bucket, "Key": "k"})
    own = owner.generate_presigned_url("get_object", {"Bucket": bucket, "Key": "k"})
    time.sleep(2.1)
    assert [HTTP.request("GET", address).status for address in (url, own)] == [403, 403]


def test_a_denial_holds_for_the_owner_but_not_for_the_policy_itself(owner, other, bucket, given):
    owner.put_object(Bucket=bucket, Key="k", Body=b"1")
    given(statement("s3:*", [arn(bucket), arn(bucket, "*")], "Deny"))
    assert refused(owner.get_object, Bucket=bucket, Key="k") == DENIED
    assert refused(owner.list_objects_v2, Bucket=bucket) == DENIED
    assert refused(owner.delete_bucket, Bucket=bucket) == DENIED
    assert refused(other.delete_bucket_policy, Bucket=bucket) == DENIED
    assert json.loads(owner.get_bucket_policy(Bucket=bucket)["Policy"])["Statement"][0]["Effect"] == "Deny"
    owner.delete_bucket_policy(Bucket=bucket)
    assert owner.get_object(Bucket=bucket, Key="k")["Body"].read() == b"1"


def test_policies_survive_a_restart(tmp_path):
    server = weir.Server(tmp_path / "data", flags=["--allow-public-access"]).start()
    try:
        owner, other = account(server, "one"), account(server, "two")
        owner.create_bucket(Bucket="kept")
        owner.put_object(Bucket="kept", Key="k", Body=b"1")
        owner.put_bucket_policy(Bucket="kept", Policy=policy(statement("s3:GetObject", arn("kept", "*"))))
        server.restart_killed()
        assert other.get_object(Bucket="kept", Key="k")["Body"].read() == b"1"
    finally:
        server.kill()
