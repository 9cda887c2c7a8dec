"""The data without Weir: with tar and cp, and with restore.py. The store was filled, overwritten, deleted from, killed,
started and stopped before."""

import hashlib
import json
import random
import shutil
import subprocess
import sys
import time
from collections import namedtuple

import pytest

import weir

Store = namedtuple("Store", "disk live multipart ever")
Live = namedtuple("Live", "body etag metadata")

PART = 5 * 1024 * 1024
PLAIN_KEYS = ["small", "deep/er/file", "with space", "ünï/日本", "UPPER", "dot.file", "x" * 255, "p/" + "y" * 200 + "/z"]
ODD_KEYS = ["a//b", "trailing/", "/leading", "./dot", "up/../up", "z" * 1024, "ü" * 512, ".weir/mine", "line\nbreak", "w" * 256]
CONFLICTS = ["file", "file/below", "folder/x", "folder"]


def is_plain_path(key):
    """Engine rule A20."""
    components = key.split("/")
    return components[0] != ".weir" and "\0" not in key and all(
        component not in ("", ".", "..") and len(component.encode()) <= 255 for component in components
    )


def conflicts(key, ever):
    """Whether another key needs a folder where this one needs a file, or the other way round."""
    return any(other.startswith(key + "/") or key.startswith(other + "/") for other in ever if other != key)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    disk = tmp_path_factory.mktemp("open") / "disk"
    # Small segments: the log is in many pieces, and there is something to compact.
    server = weir.Server(disk, flags=["--segment-bytes", "1048576"]).start()
    try:
        yield fill(server, disk)
    finally:
        if server.process is not None:
            server.kill()


def wait_for_compaction(disk):
    """Every ten seconds the emptiest run of segments is rewritten: its file's generation is no longer 0."""
    until = time.monotonic() + 60
    while not any(not path.name.endswith(".0000.tar") for path in (disk / "log").glob("*.tar")):
        assert time.monotonic() < until, sorted(path.name for path in (disk / "log").iterdir())
        time.sleep(0.2)


def fill(server, disk):
    numbers = random.Random(20)
    s3 = weir.boto3_client(server)
    live, multipart, ever = {}, set(), {"one-bucket": set(), "other": set()}
    lengths = [0, 1, 100, 4096, 65536, 65537, 200 * 1024, 3 * 1024 * 1024]

    def put(bucket, key, length):
        body = numbers.randbytes(length)
        metadata = {"key-hash": hashlib.sha256(key.encode()).hexdigest()}
        etag = s3.put_object(Bucket=bucket, Key=key, Body=body, Metadata=metadata)["ETag"].strip('"')
        live[bucket, key] = Live(body, etag, metadata)
        ever[bucket].add(key)

    def delete(bucket, key):
        s3.delete_object(Bucket=bucket, Key=key)
        del live[bucket, key]

    for bucket in ever:
        s3.create_bucket(Bucket=bucket)
        for index, key in enumerate(PLAIN_KEYS + ODD_KEYS + CONFLICTS):
            put(bucket, key, lengths[index % len(lengths)])
        for index in range(120):
            put(bucket, f"many/{index % 5}/{index}", lengths[numbers.randrange(6)])
        # Overwritten by every other length, so that small follows large and large follows small.
        for index in range(0, 120, 4):
            put(bucket, f"many/{index % 5}/{index}", lengths[numbers.randrange(len(lengths))])
        for index in range(1, 120, 7):
            delete(bucket, f"many/{index % 5}/{index}")
        delete(bucket, "file")
    server.restart_killed()
    s3 = weir.boto3_client(server)
    put("other", "after the kill", 70_000)
    put("other", "small", 12)
    delete("other", "many/0/0")
    for key in "parts/plain", "parts//odd":
        bodies = [numbers.randbytes(PART), numbers.randbytes(1000)]
        upload = s3.create_multipart_upload(Bucket="one-bucket", Key=key, Metadata={"m": "1"}, ChecksumAlgorithm="SHA256")["UploadId"]
        parts = []
        for number, body in enumerate(bodies, 1):
            etag = s3.upload_part(Bucket="one-bucket", Key=key, UploadId=upload, PartNumber=number, Body=body)["ETag"]
            parts.append({"PartNumber": number, "ETag": etag})
        done = s3.complete_multipart_upload(
            Bucket="one-bucket", Key=key, UploadId=upload, MultipartUpload={"Parts": parts}
        )
        live["one-bucket", key] = Live(b"".join(bodies), done["ETag"].strip('"'), {"m": "1"})
        multipart.add(("one-bucket", key))
        ever["one-bucket"].add(key)
    # An upload that nobody completes is not an object.
    open_upload = s3.create_multipart_upload(Bucket="other", Key="never")["UploadId"]
    s3.upload_part(Bucket="other", Key="never", UploadId=open_upload, PartNumber=1, Body=b"x" * 100_000)
    server.kill()
    server.start()
    wait_for_compaction(disk)
    listed = {}
    for bucket in ever:
        s3 = weir.boto3_client(server)
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket):
            listed |= {(bucket, entry["Key"]): entry["Size"] for entry in page.get("Contents", [])}
    assert listed == {name: len(object.body) for name, object in live.items()}, "S3's own answer"
    assert server.stop() == 0
    return Store(disk, live, multipart, ever)


@pytest.fixture(scope="module")
def unpacked(store, tmp_path_factory):
    """What tar and cp give, in the order of the names."""
    folder = tmp_path_factory.mktemp("unpacked")
    segments = sorted((store.disk / "log").glob("*.tar"))
    assert segments
    for segment in segments:
        done = subprocess.run(["tar", "-xf", str(segment), "-C", str(folder)], capture_output=True, text=True)
        # Status 2 is allowed only for keys that no file system can hold together.
        complaints = [line for line in done.stderr.splitlines() if "file/below" not in line and "folder" not in line]
        complaints = [line for line in complaints if "exit status" not in line and "previous errors" not in line]
        assert not complaints or done.returncode == 0, done.stderr
    if (store.disk / "data").exists():
        # Where tar made a folder for a small object and the view has a file (or the other way round), cp complains as tar does.
        command = ["cp", "-a", "--remove-destination", f"{store.disk}/data/.", str(folder)]
        done = subprocess.run(command, capture_output=True, text=True)
        complaints = [line for line in done.stderr.splitlines() if "folder" not in line]
        assert not complaints, done.stderr
    return folder


def test_tar_and_cp_give_every_plain_object(store, unpacked):
    checked = 0
    for (bucket, key), object in store.live.items():
        if not is_plain_path(key) or conflicts(key, store.ever[bucket]) or (bucket, key) in store.multipart:
            continue
        assert (unpacked / bucket / key).read_bytes() == object.body, f"{bucket}/{key}"
        checked += 1
    assert checked > 200


def test_chunks_of_a_multipart_object_joined_are_the_object(store, unpacked):
    """In the view they are numbered files, unless Weir has joined them at the object's path."""
    for bucket, key in store.multipart:
        body = store.live[bucket, key].body
        folders = [path for path in (unpacked / bucket / ".weir").rglob("*") if path.is_dir()]
        joined = [
            b"".join(path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()) for folder in folders
        ]
        path = unpacked / bucket / key
        whole = is_plain_path(key) and path.is_file() and path.read_bytes() == body
        assert whole or body in joined, f"{bucket}/{key}"


def restore(disks, out):
    """Runs the disk's own restore.py, alone: nothing of this folder or of the environment helps it."""
    command = [sys.executable, "-I", "-S", str(disks[0] / "restore.py"), *map(str, disks), str(out)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, cwd="/", timeout=250)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return [json.loads(line) for line in (out / "index.jsonl").read_text(encoding="utf-8").splitlines()]


def check_restored(store, index, out):
    names = [(entry["bucket"], entry["key"]) for entry in index]
    assert len(names) == len(set(names)), "an object twice"
    assert set(names) == set(store.live)
    for entry in index:
        expected = store.live[entry["bucket"], entry["key"]]
        assert (out / entry["file"]).read_bytes() == expected.body, entry
        assert (entry["size"], entry["etag"].strip('"')) == (len(expected.body), expected.etag), entry
        user_metadata = {
            name.lower().removeprefix("x-amz-meta-"): value for name, value in entry["metadata"].items()
        }
        assert user_metadata.items() >= expected.metadata.items(), entry
        assert entry["version"] is not None and entry["current"]
    files = sorted(path.name for path in (out / "objects").iterdir())
    assert len(files) == len(index), "files that no line names"
    assert all(name.isdigit() and len(name) == 8 for name in files)


def test_restore_gives_exactly_the_live_set(store, tmp_path):
    check_restored(store, restore([store.disk], tmp_path / "out"), tmp_path / "out")


def test_restore_needs_only_log_and_objects(store, tmp_path):
    """The index and the view are derived, and the disk is not written to."""
    disk = tmp_path / "disk"
    shutil.copytree(store.disk, disk, symlinks=True)
    for derived in "index", "data":
        shutil.rmtree(disk / derived, ignore_errors=True)
    before = sorted((str(path), path.stat().st_size) for path in disk.rglob("*"))
    check_restored(store, restore([disk], tmp_path / "out"), tmp_path / "out")
    assert sorted((str(path), path.stat().st_size) for path in disk.rglob("*")) == before


def test_restore_gives_every_version_and_says_which_is_current(tmp_path):
    server = weir.Server(tmp_path / "disk", flags=["--segment-bytes", "1048576"]).start()
    try:
        s3 = weir.boto3_client(server)
        s3.create_bucket(Bucket="versions")
        expected = {}

        def put(key, body):
            version = s3.put_object(Bucket="versions", Key=key, Body=body).get("VersionId", "null")
            expected[key, version] = body
            return version

        for key in "small", "large", "gone", "first/again":
            put(key, b"null of " + key.encode())
        s3.put_bucket_versioning(Bucket="versions", VersioningConfiguration={"Status": "Enabled"})
        put("small", b"two")
        three = put("small", b"three")
        put("large", b"x" * 100_000)
        large = put("large", b"y" * 200_000)
        put("gone", b"two")
        s3.delete_object(Bucket="versions", Key="gone")
        # What was current ends, and the version before it is current again; a change of its tags does not make it newer.
        last = put("first/again", b"two")
        s3.put_object_tagging(
            Bucket="versions", Key="first/again", VersionId="null", Tagging={"TagSet": [{"Key": "k", "Value": "v"}]}
        )
        s3.delete_object(Bucket="versions", Key="first/again", VersionId=last)
        del expected["first/again", last]
        middle = put("middle", b"one")
        current = put("middle", b"two")
        tags = {"TagSet": [{"Key": "a", "Value": "b"}]}
        s3.put_object_tagging(Bucket="versions", Key="middle", VersionId=middle, Tagging=tags)
        assert server.stop() == 0
    finally:
        if server.process is not None:
            server.kill()
    index = restore([tmp_path / "disk"], tmp_path / "out")
    found = {(line["key"], line["version"]): (tmp_path / "out" / line["file"]).read_bytes() for line in index}
    assert found == expected
    now = {("small", three), ("large", large), ("first/again", "null"), ("middle", current)}
    assert {(line["key"], line["version"]) for line in index if line["current"]} == now
    tagged = {(line["key"], line["version"]): line["tags"] for line in index if line["tags"]}
    assert tagged == {("first/again", "null"): {"k": "v"}, ("middle", middle): {"a": "b"}}


def test_restore_refuses_flipped_bytes(store, tmp_path):
    """Wrong bytes must not come out as if they were right."""
    disk = tmp_path / "disk"
    shutil.copytree(store.disk, disk, symlinks=True)
    victim = max((path for path in (disk / "objects").rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    damaged = bytearray(victim.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    victim.write_bytes(damaged)
    out = tmp_path / "out"
    command = [sys.executable, "-I", "-S", str(disk / "restore.py"), str(disk), str(out)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=250)
    assert done.returncode != 0 and done.stderr.strip(), "damage is said, and the exit status tells a script"
    index = [json.loads(line) for line in (out / "index.jsonl").read_text(encoding="utf-8").splitlines()]
    for entry in index:
        assert (out / entry["file"]).read_bytes() == store.live[entry["bucket"], entry["key"]].body, entry
    assert len(index) == len(store.live) - 1, "everything else is still given"
