"""A real file system that fills up: writes are refused, nothing else is, and deleting makes room (engine rule A18)."""

import os
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import weir
from botocore.exceptions import ClientError

FILE_SYSTEM_MIB = 224
INLINE = 60_000  # in the log, where only compaction wins space back
LARGE = 3_000_000  # a file of its own, gone with its delete


@pytest.fixture
def small_disk(tmp_path, require):
    """An ext4 of its own, where the machine lets us mount one."""
    for program in ("mkfs.ext4", "mount", "umount"):
        require(program)
    image, mounted = tmp_path / "image", tmp_path / "mounted"
    mounted.mkdir()
    with image.open("wb") as file:
        file.truncate(FILE_SYSTEM_MIB * 1024 * 1024)
    subprocess.run(["mkfs.ext4", "-q", "-m", "0", str(image)], check=True)
    done = subprocess.run(["mount", "-o", "loop", str(image), str(mounted)], capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"a loop device cannot be mounted here: {done.stderr.strip()}")
    yield mounted
    subprocess.run(["umount", str(mounted)], check=True)


@pytest.fixture
def full(small_disk, monkeypatch, tmp_path):
    monkeypatch.setenv("WEIR_STORAGE__SEGMENT_BYTES", str(1024 * 1024))
    running = weir.Server(small_disk / "data", log=tmp_path / "server.log").start()
    yield running
    if running.process is not None:
        running.kill()


def body(number, size):
    return number.to_bytes(4, "big") * (size // 4)


def fill(s3, bucket, prefix, size, known):
    """Puts objects until the disk is full."""
    number = len(known)
    while True:
        key = f"{prefix}-{number}"
        try:
            s3.put_object(Bucket=bucket, Key=key, Body=body(number, size))
        except ClientError as error:
            assert error.response["Error"]["Code"] == "InsufficientStorage", error
            assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 507
            return
        known[key] = body(number, size)
        number += 1


def check(s3, bucket, known):
    def one(item):
        key, expected = item
        assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == expected, key

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(one, known.items()))
    listed = [entry["Key"] for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket) for entry in page.get("Contents", [])]
    assert listed == sorted(known)


def puts_again(s3, bucket):
    for _ in range(100):
        try:
            s3.put_object(Bucket=bucket, Key="again", Body=b"again")
            return
        except ClientError as error:
            assert error.response["Error"]["Code"] == "InsufficientStorage", error
            time.sleep(0.1)
    raise AssertionError("there is space, and writes are refused")


def test_a_full_disk_reads_deletes_restarts_and_recovers(full, name):
    s3 = weir.boto3_client(full)
    s3.create_bucket(Bucket=name)
    known = {}
    fill(s3, name, "large", LARGE, known)
    large = list(known)
    fill(s3, name, "inline", INLINE, known)
    assert len(known) > len(large) > 5, "both kinds are there"
    check(s3, name, known)
    assert full.staging_files() == [], "refused bodies leave nothing"

    # Without a byte left and without warning: it starts, and has everything.
    hog = os.open(full.data.parent / "hog", os.O_CREAT | os.O_WRONLY)
    full.kill()
    block = b"x" * 4096
    try:
        while os.write(hog, block):
            pass
    except OSError:
        pass
    os.close(hog)
    full.start()
    s3 = weir.boto3_client(full)
    check(s3, name, known)

    # A delete of a large object is room at once, for whom it was made.
    os.unlink(full.data.parent / "hog")
    for key in large[:3]:
        s3.delete_object(Bucket=name, Key=key)
        del known[key]
    puts_again(s3, name)
    s3.delete_object(Bucket=name, Key="again")
    fill(s3, name, "more", INLINE, known)

    # And small ones, one at a time, to the last.
    for key in sorted(known):
        s3.delete_object(Bucket=name, Key=key)
    known.clear()
    check(s3, name, known)
    puts_again(s3, name)
    assert full.stop() == 0
    full.start()
    check(weir.boto3_client(full), name, {"again": b"again"})
