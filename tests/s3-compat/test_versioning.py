"""Versions as boto3, the AWS CLI and rclone see them."""

import json
import xml.etree.ElementTree as ET

import boto3
import pytest
import weir
from botocore.exceptions import ClientError


def versioned(s3, bucket, status="Enabled"):
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": status})


@pytest.fixture
def kept(s3, bucket):
    versioned(s3, bucket)
    return bucket


def put(s3, bucket, key, body, **more):
    return s3.put_object(Bucket=bucket, Key=key, Body=body, **more).get("VersionId")


def body(s3, bucket, key, **more):
    return s3.get_object(Bucket=bucket, Key=key, **more)["Body"].read()


def refused(call, **arguments):
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    answer = caught.value.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"]


def headers_of_refusal(call, **arguments):
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    return caught.value.response["ResponseMetadata"]["HTTPHeaders"]


def listed(s3, bucket, **more):
    """(key, version, latest) of versions and of delete markers."""
    page = s3.list_object_versions(Bucket=bucket, **more)
    kinds = [page.get("Versions", []), page.get("DeleteMarkers", [])]
    return [[(entry["Key"], entry["VersionId"], entry["IsLatest"]) for entry in kind] for kind in kinds]


def test_a_bucket_that_never_kept_versions_names_none(s3, bucket):
    assert put(s3, bucket, "k", b"1") is None
    assert "VersionId" not in s3.head_object(Bucket=bucket, Key="k")
    assert s3.head_object(Bucket=bucket, Key="k", VersionId="null")["VersionId"] == "null"
    assert refused(s3.head_object, Bucket=bucket, Key="k", VersionId="0" * 32) == (404, "404")
    assert refused(s3.get_object, Bucket=bucket, Key="k", VersionId="0" * 32) == (404, "NoSuchVersion")
    gone = s3.delete_object(Bucket=bucket, Key="k")
    assert "VersionId" not in gone and "DeleteMarker" not in gone
    assert listed(s3, bucket) == [[], []]


def test_versions_are_kept_and_named(s3, kept):
    first, second = put(s3, kept, "k", b"1"), put(s3, kept, "k", b"22", StorageClass="STANDARD_IA")
    assert first != second and "null" not in (first, second)
    assert (body(s3, kept, "k"), body(s3, kept, "k", VersionId=first)) == (b"22", b"1")
    head = s3.head_object(Bucket=kept, Key="k")
    assert (head["VersionId"], head["StorageClass"]) == (second, "STANDARD_IA")
    old = s3.head_object(Bucket=kept, Key="k", VersionId=first)
    assert (old["VersionId"], old["ContentLength"], old.get("StorageClass")) == (first, 1, None)
    attributes = s3.get_object_attributes(Bucket=kept, Key="k", VersionId=first, ObjectAttributes=["ObjectSize", "StorageClass"])
    assert (attributes["VersionId"], attributes["ObjectSize"], attributes["StorageClass"]) == (first, 1, "STANDARD")
    assert listed(s3, kept) == [[("k", second, True), ("k", first, False)], []]
    assert s3.list_objects_v2(Bucket=kept)["Contents"][0]["StorageClass"] == "STANDARD_IA"
    assert [entry["StorageClass"] for entry in s3.list_object_versions(Bucket=kept)["Versions"]] == ["STANDARD_IA", "STANDARD"]


def test_names_that_no_version_has(s3, kept):
    put(s3, kept, "k", b"1")
    for call in [s3.get_object, s3.get_object_tagging]:
        assert refused(call, Bucket=kept, Key="k", VersionId="nonsense") == (400, "InvalidArgument")
        assert refused(call, Bucket=kept, Key="k", VersionId="0" * 32) == (404, "NoSuchVersion")
        assert refused(call, Bucket=kept, Key="k", VersionId="null") == (404, "NoSuchVersion")
    assert refused(s3.delete_object, Bucket=kept, Key="k", VersionId="nonsense") == (400, "InvalidArgument")
    s3.delete_object(Bucket=kept, Key="k", VersionId="0" * 32)
    assert body(s3, kept, "k") == b"1"


def test_delete_markers(s3, kept):
    first = put(s3, kept, "k", b"1")
    gone = s3.delete_object(Bucket=kept, Key="k")
    marker = gone["VersionId"]
    assert gone["DeleteMarker"] and marker != first
    for call in [s3.get_object, s3.head_object]:
        headers = headers_of_refusal(call, Bucket=kept, Key="k")
        assert (headers["x-amz-delete-marker"], headers["x-amz-version-id"]) == ("true", marker)
        headers = headers_of_refusal(call, Bucket=kept, Key="k", VersionId=marker)
        assert (headers["x-amz-delete-marker"], headers["allow"]) == ("true", "DELETE")
        assert "last-modified" in headers
    assert refused(s3.get_object, Bucket=kept, Key="k") == (404, "NoSuchKey")
    assert refused(s3.get_object, Bucket=kept, Key="k", VersionId=marker) == (405, "MethodNotAllowed")
    assert refused(s3.head_object, Bucket=kept, Key="k", VersionId=marker) == (405, "405")
    assert body(s3, kept, "k", VersionId=first) == b"1"
    assert s3.list_objects_v2(Bucket=kept)["KeyCount"] == 0
    assert listed(s3, kept) == [[("k", first, False)], [("k", marker, True)]]
    assert refused(s3.delete_bucket, Bucket=kept) == (409, "BucketNotEmpty")
    ended = s3.delete_object(Bucket=kept, Key="k", VersionId=marker)
    assert (ended["VersionId"], ended["DeleteMarker"]) == (marker, True)
    assert body(s3, kept, "k") == b"1"
    ended = s3.delete_object(Bucket=kept, Key="k", VersionId=first)
    assert ended["VersionId"] == first and "DeleteMarker" not in ended
    assert listed(s3, kept) == [[], []]
    s3.delete_bucket(Bucket=kept)


def test_a_suspended_bucket_writes_the_null_version(s3, bucket):
    put(s3, bucket, "k", b"before")
    versioned(s3, bucket)
    first = put(s3, bucket, "k", b"1")
    assert body(s3, bucket, "k", VersionId="null") == b"before"
    versioned(s3, bucket, "Suspended")
    # S3 does not name the null version in the answer of a write.
    assert put(s3, bucket, "k", b"null") is None
    assert s3.head_object(Bucket=bucket, Key="k")["VersionId"] == "null"
    assert listed(s3, bucket)[0] == [("k", "null", True), ("k", first, False)]
    gone = s3.delete_object(Bucket=bucket, Key="k")
    assert (gone["VersionId"], gone["DeleteMarker"]) == ("null", True)
    assert listed(s3, bucket) == [[("k", first, False)], [("k", "null", True)]]


def test_copies_of_versions(s3, kept):
    first, second = put(s3, kept, "k", b"1"), put(s3, kept, "k", b"2")
    source = {"Bucket": kept, "Key": "k", "VersionId": first}
    copied = s3.copy_object(Bucket=kept, Key="copy", CopySource=source)
    assert copied["CopySourceVersionId"] == first and copied["VersionId"] not in (first, second)
    assert body(s3, kept, "copy") == b"1"
    # Back to the older version: a copy of it onto its own key.
    again = s3.copy_object(Bucket=kept, Key="k", CopySource=source)
    assert body(s3, kept, "k") == b"1" and len(listed(s3, kept, Prefix="k")[0]) == 3
    assert s3.copy_object(Bucket=kept, Key="x", CopySource=f"{kept}/k")["CopySourceVersionId"] == again["VersionId"]
    upload = s3.create_multipart_upload(Bucket=kept, Key="parts")["UploadId"]
    part = s3.upload_part_copy(Bucket=kept, Key="parts", UploadId=upload, PartNumber=1, CopySource=source)
    assert part["CopySourceVersionId"] == first
    parts = {"Parts": [{"PartNumber": 1, "ETag": part["CopyPartResult"]["ETag"]}]}
    done = s3.complete_multipart_upload(Bucket=kept, Key="parts", UploadId=upload, MultipartUpload=parts)
    assert done["VersionId"] == s3.head_object(Bucket=kept, Key="parts")["VersionId"]
    marker = s3.delete_object(Bucket=kept, Key="k")["VersionId"]
    named = {"Bucket": kept, "Key": "k", "VersionId": marker}
    assert refused(s3.copy_object, Bucket=kept, Key="y", CopySource=named) == (400, "InvalidRequest")
    assert refused(s3.copy_object, Bucket=kept, Key="y", CopySource=f"{kept}/k") == (404, "NoSuchKey")
    unknown = {"Bucket": kept, "Key": "k", "VersionId": "0" * 32}
    assert refused(s3.copy_object, Bucket=kept, Key="y", CopySource=unknown) == (404, "NoSuchVersion")


def test_lists_of_deletes(s3, kept):
    first, second = put(s3, kept, "a", b"1"), put(s3, kept, "a", b"2")
    put(s3, kept, "b", b"1")
    wanted = [{"Key": "a", "VersionId": first}, {"Key": "b"}, {"Key": "a", "VersionId": "nonsense"}, {"Key": "none"}]
    answer = s3.delete_objects(Bucket=kept, Delete={"Objects": wanted})
    deleted = {entry["Key"]: entry for entry in answer["Deleted"]}
    assert deleted["a"] == {"Key": "a", "VersionId": first}
    assert deleted["b"]["DeleteMarker"] and deleted["b"]["DeleteMarkerVersionId"] and "VersionId" not in deleted["b"]
    assert deleted["none"]["DeleteMarker"]
    assert [(error["Key"], error["VersionId"], error["Code"]) for error in answer["Errors"]] == [("a", "nonsense", "InvalidArgument")]
    marker = deleted["b"]["DeleteMarkerVersionId"]
    answer = s3.delete_objects(Bucket=kept, Delete={"Objects": [{"Key": "b", "VersionId": marker}]})
    assert answer["Deleted"] == [{"Key": "b", "VersionId": marker, "DeleteMarker": True, "DeleteMarkerVersionId": marker}]
    assert body(s3, kept, "b") == b"1"
    assert listed(s3, kept, Prefix="a")[0] == [("a", second, True)]


def test_conditions_on_versions(s3, kept):
    first = put(s3, kept, "k", b"1")
    etag = s3.head_object(Bucket=kept, Key="k")["ETag"]
    put(s3, kept, "k", b"2")
    wrong = {"Bucket": kept, "Key": "k", "IfMatch": '"' + "0" * 32 + '"'}
    assert refused(s3.delete_object, **wrong, VersionId=first) == (412, "PreconditionFailed")
    # The condition is on the version that is named, not on the current one.
    s3.delete_object(Bucket=kept, Key="k", VersionId=first, IfMatch=etag)
    assert refused(s3.put_object, Bucket=kept, Key="k", Body=b"3", IfNoneMatch="*") == (412, "PreconditionFailed")
    s3.delete_object(Bucket=kept, Key="k")
    # A delete marker is nothing that matches.
    assert put(s3, kept, "k", b"3", IfNoneMatch="*")
    s3.delete_object(Bucket=kept, Key="k")
    assert refused(s3.put_object, Bucket=kept, Key="k", Body=b"4", IfMatch=etag) == (404, "NoSuchKey")
    assert refused(s3.get_object, Bucket=kept, Key="k", IfMatch=etag) == (404, "NoSuchKey")


def test_a_second_factor_is_refused(s3, kept):
    first = put(s3, kept, "k", b"1")
    mfa = {"Bucket": kept, "MFA": "arn:aws:iam::1:mfa/x 123456"}
    assert refused(s3.delete_object, Key="k", VersionId=first, **mfa) == (501, "NotImplemented")
    assert refused(s3.delete_objects, Delete={"Objects": [{"Key": "k"}]}, **mfa) == (501, "NotImplemented")
    assert body(s3, kept, "k") == b"1"


def history(s3, bucket):
    """Versions and markers under names with odd characters, as the listing should give them."""
    expected = []
    for key in ["a/1", "a/2", "b c+ü", "d"]:
        of_key = []
        for index in range(3):
            of_key.append((key, put(s3, bucket, key, str(index).encode()), "Version"))
            if index == 1:
                of_key.append((key, s3.delete_object(Bucket=bucket, Key=key)["VersionId"], "DeleteMarker"))
        expected += reversed(of_key)
    return expected



def test_pages_of_every_size_give_the_same_order(s3, kept, server):
    expected = history(s3, kept)
    for size in [1, 2, 3, 5, 7, 1000]:
        found, more = [], {}
        while True:
            page = s3.list_object_versions(Bucket=kept, MaxKeys=size, **more)
            entries = [(e["Key"], e["VersionId"], "Version") for e in page.get("Versions", [])]
            entries += [(e["Key"], e["VersionId"], "DeleteMarker") for e in page.get("DeleteMarkers", [])]
            assert 0 < len(entries) <= size
            found += sorted(entries, key=expected.index)
            if not page["IsTruncated"]:
                break
            more = {"KeyMarker": page["NextKeyMarker"], "VersionIdMarker": page["NextVersionIdMarker"]}
        assert found == expected, size


def test_the_document_has_one_order(s3, kept):
    expected = history(s3, kept)
    raw = {}
    s3.meta.events.register("after-call.s3.ListObjectVersions", lambda http_response, **_: raw.update(text=http_response.text))
    s3.list_object_versions(Bucket=kept)
    space = "{http://s3.amazonaws.com/doc/2006-03-01/}"
    entries = [e for e in ET.fromstring(raw["text"]) if e.tag in (f"{space}Version", f"{space}DeleteMarker")]
    names = [e.tag.removeprefix(space) for e in entries]
    ids = [e.findtext(f"{space}VersionId") for e in entries]
    assert list(zip(ids, names)) == [(version, kind) for _, version, kind in expected]
    assert [e.findtext(f"{space}IsLatest") for e in entries].count("true") == 4


def test_prefixes_and_markers_of_listings(s3, kept):
    history(s3, kept)
    page = s3.list_object_versions(Bucket=kept, Delimiter="/", MaxKeys=1)
    assert [entry["Prefix"] for entry in page["CommonPrefixes"]] == ["a/"] and page["IsTruncated"]
    page = s3.list_object_versions(Bucket=kept, Delimiter="/", KeyMarker=page["NextKeyMarker"])
    assert {entry["Key"] for entry in page["Versions"]} == {"b c+ü", "d"} and "CommonPrefixes" not in page
    page = s3.list_object_versions(Bucket=kept, Prefix="a/", KeyMarker="a/1")
    assert {entry["Key"] for entry in page["Versions"]} == {"a/2"}
    assert listed(s3, kept, MaxKeys=0) == [[], []]
    owner = s3.list_object_versions(Bucket=kept)["DeleteMarkers"][0]["Owner"]
    assert owner["ID"] == s3.get_bucket_acl(Bucket=kept)["Owner"]["ID"]
    assert refused(s3.list_object_versions, Bucket=kept, VersionIdMarker="null") == (400, "InvalidArgument")
    assert refused(s3.list_object_versions, Bucket=kept, KeyMarker="d", VersionIdMarker="x") == (400, "InvalidArgument")


def test_the_resource_empties_a_bucket(s3, kept, server):
    history(s3, kept)
    resource = boto3.resource(
        "s3",
        endpoint_url=server.endpoint,
        region_name=weir.REGION,
        aws_access_key_id=weir.ACCESS_KEY,
        aws_secret_access_key=weir.SECRET_KEY,
    )
    bucket = resource.Bucket(kept)
    assert bucket.Versioning().status == "Enabled"
    assert len(list(bucket.object_versions.filter(Prefix="a/"))) == 8
    bucket.object_versions.delete()
    assert listed(s3, kept) == [[], []]
    bucket.delete()


def test_aws_names_versions(s3, kept, server, tmp_path, require):
    aws, env = require("aws"), weir.client_environment(server, tmp_path)
    file = tmp_path / "f"

    def api(*arguments):
        done = weir.run([aws, "--endpoint-url", server.endpoint, "s3api", *arguments], env=env)
        return json.loads(done.stdout) if done.stdout else {}

    ids = []
    for content in ["1", "2"]:
        file.write_text(content)
        ids.append(api("put-object", "--bucket", kept, "--key", "k", "--body", str(file))["VersionId"])
    got = api("get-object", "--bucket", kept, "--key", "k", "--version-id", ids[0], str(tmp_path / "g"))
    assert got["VersionId"] == ids[0] and (tmp_path / "g").read_text() == "1"
    marker = api("delete-object", "--bucket", kept, "--key", "k")["VersionId"]
    page = api("list-object-versions", "--bucket", kept, "--page-size", "1")
    assert [e["VersionId"] for e in page["Versions"]] == ids[::-1]
    assert [e["VersionId"] for e in page["DeleteMarkers"]] == [marker]
    assert api("delete-object", "--bucket", kept, "--key", "k", "--version-id", marker)["DeleteMarker"]
    copied = api("copy-object", "--bucket", kept, "--key", "c", "--copy-source", f"{kept}/k?versionId={ids[0]}")
    assert copied["CopySourceVersionId"] == ids[0]


@pytest.fixture
def rclone(server, tmp_path, require):
    program = require("rclone")
    settings = tmp_path / "rclone.conf"
    settings.write_text(
        f"[weir]\ntype = s3\nprovider = Other\nendpoint = {server.endpoint}\nregion = {weir.REGION}\n"
        f"access_key_id = {weir.ACCESS_KEY}\nsecret_access_key = {weir.SECRET_KEY}\n"
    )

    def run(*arguments):
        return weir.run([program, "--config", str(settings), "--retries", "1", *arguments], env=weir.clean_environment()).stdout

    return run


def test_rclone_shows_versions(s3, kept, rclone, tmp_path):
    put(s3, kept, "dir/f.txt", b"1")
    put(s3, kept, "dir/f.txt", b"22")
    put(s3, kept, "gone.txt", b"333")
    s3.delete_object(Bucket=kept, Key="gone.txt")
    now = rclone("lsf", "-R", "--files-only", f"weir:{kept}").split()
    assert now == ["dir/f.txt"]
    names = rclone("lsf", "-R", "--files-only", "--s3-versions", f"weir:{kept}").split()
    assert len(names) == 3 and sum(name.startswith("dir/f-v") for name in names) == 1
    assert any(name.startswith("gone-v") for name in names)
    rclone("copy", "--s3-versions", f"weir:{kept}", str(tmp_path / "out"))
    assert sorted(path.read_bytes() for path in (tmp_path / "out").rglob("*.txt")) == [b"1", b"22", b"333"]
    rclone("backend", "cleanup-hidden", f"weir:{kept}")
    assert [len(kind) for kind in listed(s3, kept)] == [1, 0]
