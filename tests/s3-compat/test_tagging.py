"""Object tags as boto3, the AWS CLI and forms set them."""

import json

import pytest
import urllib3
import weir
from botocore.exceptions import ClientError

HTTP = urllib3.PoolManager(retries=False)
TAGS = {"team": "data", "a b+-=._:/@": "ü x", "empty": ""}


def tag_set(tags):
    return {"TagSet": [{"Key": key, "Value": value} for key, value in tags.items()]}


def tags_of(s3, bucket, key, **more):
    answer = s3.get_object_tagging(Bucket=bucket, Key=key, **more)
    return {tag["Key"]: tag["Value"] for tag in answer["TagSet"]}


def refused(call, **arguments):
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    answer = caught.value.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"]


def test_tags_come_and_go(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"1", Metadata={"m": "1"})
    before = s3.head_object(Bucket=bucket, Key="k")
    assert tags_of(s3, bucket, "k") == {} and "TagCount" not in before
    s3.put_object_tagging(Bucket=bucket, Key="k", Tagging=tag_set(TAGS))
    assert tags_of(s3, bucket, "k") == TAGS
    got = s3.get_object(Bucket=bucket, Key="k")
    assert (got["TagCount"], got["Body"].read(), got["Metadata"]) == (3, b"1", {"m": "1"})
    assert (got["ETag"], got["LastModified"]) == (before["ETag"], before["LastModified"])
    head = s3.head_object(Bucket=bucket, Key="k")["ResponseMetadata"]["HTTPHeaders"]
    assert head["x-amz-tagging-count"] == "3"
    s3.put_object_tagging(Bucket=bucket, Key="k", Tagging=tag_set({"other": "1"}))
    assert tags_of(s3, bucket, "k") == {"other": "1"}
    answer = s3.delete_object_tagging(Bucket=bucket, Key="k")
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 204
    assert tags_of(s3, bucket, "k") == {} and "TagCount" not in s3.get_object(Bucket=bucket, Key="k")


def test_tags_stay_over_a_restart(own_server):
    s3 = weir.boto3_client(own_server)
    s3.create_bucket(Bucket="tags")
    s3.put_object(Bucket="tags", Key="small", Body=b"1", Tagging="a=1")
    s3.put_object(Bucket="tags", Key="large", Body=b"x" * 300_000)
    s3.put_object_tagging(Bucket="tags", Key="large", Tagging=tag_set({"b": "2"}))
    own_server.restart_killed()
    s3 = weir.boto3_client(own_server)
    assert (tags_of(s3, "tags", "small"), tags_of(s3, "tags", "large")) == ({"a": "1"}, {"b": "2"})
    assert s3.get_object(Bucket="tags", Key="large")["Body"].read() == b"x" * 300_000


def test_writes_bring_tags(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"1", Tagging="a=b%20c&d=&e=%C3%BC")
    assert tags_of(s3, bucket, "k") == {"a": "b c", "d": "", "e": "ü"}
    s3.put_object(Bucket=bucket, Key="k", Body=b"2")
    assert tags_of(s3, bucket, "k") == {}
    upload = s3.create_multipart_upload(Bucket=bucket, Key="parts", Tagging="a=1")["UploadId"]
    part = s3.upload_part(Bucket=bucket, Key="parts", UploadId=upload, PartNumber=1, Body=b"x")
    parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    s3.complete_multipart_upload(Bucket=bucket, Key="parts", UploadId=upload, MultipartUpload=parts)
    assert tags_of(s3, bucket, "parts") == {"a": "1"}


def test_copies_take_tags_or_get_new_ones(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"1", Tagging="a=1", Metadata={"m": "1"})
    source = f"{bucket}/k"
    s3.copy_object(Bucket=bucket, Key="kept", CopySource=source)
    s3.copy_object(Bucket=bucket, Key="meta", CopySource=source, MetadataDirective="REPLACE", Metadata={"n": "2"})
    s3.copy_object(Bucket=bucket, Key="new", CopySource=source, TaggingDirective="REPLACE", Tagging="b=2")
    s3.copy_object(Bucket=bucket, Key="none", CopySource=source, TaggingDirective="REPLACE")
    found = [tags_of(s3, bucket, key) for key in ["kept", "meta", "new", "none"]]
    assert found == [{"a": "1"}, {"a": "1"}, {"b": "2"}, {}]
    found = [s3.head_object(Bucket=bucket, Key=key)["Metadata"] for key in ["kept", "meta", "new"]]
    assert found == [{"m": "1"}, {"n": "2"}, {"m": "1"}]
    assert refused(s3.copy_object, Bucket=bucket, Key="k", CopySource=source) == (400, "InvalidRequest")
    wrong = {"Bucket": bucket, "Key": "x", "CopySource": source, "TaggingDirective": "MERGE"}
    assert refused(s3.copy_object, **wrong) == (400, "InvalidArgument")


def test_tags_of_versions(s3, bucket):
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    first = s3.put_object(Bucket=bucket, Key="k", Body=b"1", Tagging="v=1")["VersionId"]
    second = s3.put_object(Bucket=bucket, Key="k", Body=b"2", Tagging="v=2")["VersionId"]
    answer = s3.put_object_tagging(Bucket=bucket, Key="k", VersionId=first, Tagging=tag_set({"v": "one"}))
    assert answer["VersionId"] == first
    assert s3.get_object_tagging(Bucket=bucket, Key="k")["VersionId"] == second
    assert (tags_of(s3, bucket, "k"), tags_of(s3, bucket, "k", VersionId=first)) == ({"v": "2"}, {"v": "one"})
    page = s3.list_object_versions(Bucket=bucket)["Versions"]
    assert [(entry["VersionId"], entry["IsLatest"]) for entry in page] == [(second, True), (first, False)]
    assert s3.delete_object_tagging(Bucket=bucket, Key="k", VersionId=first)["VersionId"] == first
    assert tags_of(s3, bucket, "k", VersionId=first) == {}
    marker = s3.delete_object(Bucket=bucket, Key="k")["VersionId"]
    for call, more in [(s3.get_object_tagging, {}), (s3.put_object_tagging, {"Tagging": tag_set({})})]:
        assert refused(call, Bucket=bucket, Key="k", **more) == (404, "NoSuchKey")
        assert refused(call, Bucket=bucket, Key="k", VersionId=marker, **more) == (405, "MethodNotAllowed")
        assert refused(call, Bucket=bucket, Key="k", VersionId="0" * 32, **more) == (404, "NoSuchVersion")
        assert refused(call, Bucket=bucket, Key="none", **more) == (404, "NoSuchKey")


def test_bad_tags_are_refused(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"1", Tagging="a=1")
    for tags, code in [
        ({str(index): "" for index in range(11)}, "BadRequest"),
        ({"k" * 129: ""}, "InvalidTag"),
        ({"k": "v" * 257}, "InvalidTag"),
        ({"aws:k": ""}, "InvalidTag"),
        ({"k*": ""}, "InvalidTag"),
    ]:
        assert refused(s3.put_object_tagging, Bucket=bucket, Key="k", Tagging=tag_set(tags)) == (400, code), tags
    twice = {"TagSet": [{"Key": "a", "Value": "1"}, {"Key": "a", "Value": "2"}]}
    assert refused(s3.put_object_tagging, Bucket=bucket, Key="k", Tagging=twice) == (400, "InvalidTag")
    for header in ["a=1&a=2", "a=%zz"]:
        assert refused(s3.put_object, Bucket=bucket, Key="k", Body=b"2", Tagging=header) == (400, "InvalidArgument")
    assert refused(s3.put_object, Bucket=bucket, Key="k", Body=b"2", Tagging="k*=1") == (400, "InvalidTag")
    assert refused(s3.upload_part, Bucket=bucket, Key="k", UploadId="0" * 32, PartNumber=1, Body=b"") == (404, "NoSuchUpload")
    assert tags_of(s3, bucket, "k") == {"a": "1"}
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"1"
    s3.put_object_tagging(Bucket=bucket, Key="k", Tagging=tag_set({"k" * 128: "v" * 256}))


def test_forms_bring_tags(s3, bucket):
    def send(document):
        form = s3.generate_presigned_post(bucket, "form", Fields={"tagging": document}, Conditions=[{"tagging": document}])
        fields = [*form["fields"].items(), ("file", ("f", b"x", "text/plain"))]
        return HTTP.request("POST", form["url"], fields=fields).status

    assert send("<Tagging><TagSet><Tag><Key>a</Key><Value>1</Value></Tag></TagSet></Tagging>") == 204
    assert tags_of(s3, bucket, "form") == {"a": "1"}
    assert send("<Tagging><TagSet><Tag><Key>a</Key></Tag></TagSet></Tagging>") == 400
    assert send("a=1") == 400
    assert tags_of(s3, bucket, "form") == {"a": "1"}


def test_aws_tags(s3, bucket, server, tmp_path, require):
    aws, env = require("aws"), weir.client_environment(server, tmp_path)

    def api(*arguments):
        done = weir.run([aws, "--endpoint-url", server.endpoint, "s3api", *arguments], env=env)
        return json.loads(done.stdout) if done.stdout else {}

    s3.put_object(Bucket=bucket, Key="k", Body=b"1")
    api("put-object-tagging", "--bucket", bucket, "--key", "k", "--tagging", "TagSet=[{Key=a,Value=1}]")
    assert api("get-object-tagging", "--bucket", bucket, "--key", "k")["TagSet"] == [{"Key": "a", "Value": "1"}]
    api("delete-object-tagging", "--bucket", bucket, "--key", "k")
    assert tags_of(s3, bucket, "k") == {}


def test_s3cmd_tags(s3, bucket, server, tmp_path, require):
    s3cmd = require("s3cmd")
    if "settagging" not in weir.run([s3cmd, "--help"]).stdout:
        pytest.skip("this s3cmd knows no tags")
    config = weir.write_s3cmd_config(server, tmp_path / "s3cfg")
    s3.put_object(Bucket=bucket, Key="k", Body=b"1")

    def run(*arguments):
        return weir.run([s3cmd, "--config", str(config), *arguments], env=weir.clean_environment()).stdout

    run("settagging", f"s3://{bucket}/k", "a=1&b=2")
    assert tags_of(s3, bucket, "k") == {"a": "1", "b": "2"}
    assert "a" in run("gettagging", f"s3://{bucket}/k")
    run("deltagging", f"s3://{bucket}/k")
    assert tags_of(s3, bucket, "k") == {}
