"""Stopping, killing, and starting on what is there."""

import json
import os
import shutil
import subprocess

import pytest

import weir

BODIES = {
    "empty": b"",
    "small": b"s" * 100,
    "block": os.urandom(65536),
    "file": os.urandom(200 * 1024),
    "long": os.urandom(3 * 1024 * 1024),
}


def fill(server, bucket):
    s3 = weir.boto3_client(server)
    s3.create_bucket(Bucket=bucket)
    for key, body in BODIES.items():
        s3.put_object(Bucket=bucket, Key="gone/" + key, Body=body)
        s3.put_object(Bucket=bucket, Key=key, Body=b"replaced")
        s3.put_object(Bucket=bucket, Key=key, Body=body, Metadata={"key": key})
        s3.delete_object(Bucket=bucket, Key="gone/" + key)
    upload = s3.create_multipart_upload(Bucket=bucket, Key="parts")["UploadId"]
    part = s3.upload_part(Bucket=bucket, Key="parts", UploadId=upload, PartNumber=1, Body=BODIES["file"])
    return upload, [{"PartNumber": 1, "ETag": part["ETag"]}]


def check(server, bucket, upload, parts):
    """Everything is there, nothing that was deleted is, and the open upload can be completed."""
    s3 = weir.boto3_client(server)
    listed = {entry["Key"]: entry["Size"] for entry in s3.list_objects_v2(Bucket=bucket)["Contents"]}
    assert listed == {key: len(body) for key, body in BODIES.items()}
    for key, body in BODIES.items():
        got = s3.get_object(Bucket=bucket, Key=key)
        assert (got["Body"].read() == body, got["Metadata"]) == (True, {"key": key}), key
    s3.complete_multipart_upload(Bucket=bucket, Key="parts", UploadId=upload, MultipartUpload={"Parts": parts})
    assert s3.get_object(Bucket=bucket, Key="parts")["Body"].read() == BODIES["file"]


def test_sigterm_ends_with_0_and_keeps_everything(own_server, name):
    upload = fill(own_server, name)
    assert own_server.stop() == 0
    check(own_server.start(), name, *upload)


def test_kill_keeps_everything(own_server, name):
    upload = fill(own_server, name)
    own_server.kill()
    check(own_server.start(), name, *upload)


def test_users_survive_a_kill(own_server, name):
    keys = ("ALICEACCESSKEY000002", "alice+secret/of+forty+characters+0000000")
    own_server.run(
        "key", "import", "--owner", "alice", "--display-name", "Alice", "--email", "a@example.com",
        "--access-key", keys[0], "--secret-key", keys[1],
    )
    weir.boto3_client(own_server, *keys).create_bucket(Bucket=name)
    own_server.restart_killed()
    listed = weir.boto3_client(own_server, *keys).list_buckets()["Buckets"]
    assert [bucket["Name"] for bucket in listed] == [name]


def start_and_fail(data):
    """Starts a server that must refuse; returns what it says."""
    command = [weir.binary(), "serve", "--data", str(data), "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]
    environment = weir.clean_environment() | {
        "WEIR_ADMIN_ACCESS_KEY": weir.ACCESS_KEY, "WEIR_ADMIN_SECRET_KEY": weir.SECRET_KEY,
    }
    try:
        done = weir.run(command, env=environment, may_fail=True, timeout=30)
    except subprocess.TimeoutExpired:
        pytest.fail("it runs")
    assert done.returncode != 0
    assert "panicked" not in done.stderr, done.stderr
    return done.stderr


def test_a_second_process_is_refused_with_a_sentence(own_server, name):
    upload = fill(own_server, name)
    words = start_and_fail(own_server.data)
    assert str(own_server.data) in words, "the sentence names the folder"
    assert "lock" in words or "in use" in words or "another" in words, words
    check(own_server, name, *upload)


def test_a_newer_format_is_refused_with_a_sentence(own_server, name):
    upload = fill(own_server, name)
    assert own_server.stop() == 0
    label = own_server.data / "weir-disk.json"
    original = label.read_bytes()
    identity = json.loads(original)
    label.write_text(json.dumps(identity | {"format": identity["format"] + 1}))
    words = start_and_fail(own_server.data)
    assert f"format {identity['format'] + 1}" in words and "newer" in words, words
    # The refusal changed nothing.
    label.write_bytes(original)
    check(own_server.start(), name, *upload)


def test_the_index_is_derived(own_server, name):
    upload = fill(own_server, name)
    assert own_server.stop() == 0
    index = own_server.data / "index"
    assert any(index.iterdir()), "there is an index to delete"
    shutil.rmtree(index)
    check(own_server.start(), name, *upload)


def test_staging_is_cleared_at_the_start(own_server, name):
    upload = fill(own_server, name)
    own_server.kill()
    (own_server.data / "staging" / "left-behind").write_bytes(b"x" * 1000)
    check(own_server.start(), name, *upload)
    assert own_server.staging_files() == []
