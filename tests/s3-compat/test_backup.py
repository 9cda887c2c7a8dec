"""The control store is lost, and comes back from a backup or from the copy that the disk keeps."""

import hashlib
import shutil
import time

import pytest
import weir
from botocore.exceptions import ClientError

KEY = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": "c" * 32}
WAYS = {
    "plain": {},
    "s3": {"ServerSideEncryption": "AES256"},
    "kms": {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "key-1"},
    "customer": KEY,
}
FLAGS = ["--test-mode", "--test-ssec-plain-http"]


def content(way, size):
    return hashlib.shake_128(f"{way} {size}".encode()).digest(size)


def fill(server):
    server.run("kms", "create", "key-1")
    server.run("key", "import", "--owner", "ann", "--access-key", "ANNSKEY", "--secret-key", "anns-secret-key")
    s3 = weir.boto3_client(server)
    s3.create_bucket(Bucket="kept")
    s3.put_bucket_versioning(Bucket="kept", VersioningConfiguration={"Status": "Enabled"})
    weir.boto3_client(server, "ANNSKEY", "anns-secret-key").create_bucket(Bucket="anns")
    for way, arguments in WAYS.items():
        for size in (100, 200_000):
            s3.put_object(Bucket="kept", Key=f"{way}-{size}", Body=content(way, size), **arguments)
    server.run("kms", "rotate", "key-1")
    s3.put_object(Bucket="kept", Key="rotated", Body=b"rotated", **WAYS["kms"])


def check(server):
    s3 = weir.boto3_client(server)
    assert [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]] == ["anns", "kept"]
    assert s3.get_bucket_versioning(Bucket="kept")["Status"] == "Enabled"
    assert len(s3.list_objects_v2(Bucket="kept")["Contents"]) == 9
    for way in WAYS:
        for size in (100, 200_000):
            got = s3.get_object(Bucket="kept", Key=f"{way}-{size}", **(KEY if way == "customer" else {}))
            assert got["Body"].read() == content(way, size)
    assert s3.get_object(Bucket="kept", Key="rotated")["Body"].read() == b"rotated"
    ann = weir.boto3_client(server, "ANNSKEY", "anns-secret-key")
    assert [bucket["Name"] for bucket in ann.list_buckets()["Buckets"]] == ["anns"]
    # And it goes on.
    for way, arguments in WAYS.items():
        s3.put_object(Bucket="kept", Key=f"after/{way}", Body=b"after", **arguments)
        read = KEY if way == "customer" else {}
        assert s3.get_object(Bucket="kept", Key=f"after/{way}", **read)["Body"].read() == b"after"
        s3.delete_object(Bucket="kept", Key=f"after/{way}")


@pytest.fixture(params=["kept here", "from the environment"])
def filled(request, tmp_path, monkeypatch):
    if request.param == "from the environment":
        monkeypatch.setattr(weir, "clean_environment", with_root_key(weir.clean_environment))
    running = weir.Server(tmp_path / "data", flags=FLAGS).start()
    fill(running)
    yield running
    if running.process is not None:
        running.kill()


def with_root_key(before):
    return lambda: before() | {"WEIR_ROOT_KEY": "5a" * 32}


def lose(server):
    assert server.stop() == 0
    shutil.rmtree(server.data / "control")


def test_from_a_backup(filled, tmp_path):
    has_file = (filled.data / "control" / "root.key").exists()
    said = filled.run("backup", "create", str(tmp_path / "backup"), "--data", str(filled.data)).stdout
    assert ("has the root key" in said) == has_file
    backup = tmp_path / "backup"
    assert backup.stat().st_mode & 0o777 == 0o600
    assert b"anns-secret-key" not in backup.read_bytes() and b"kept" not in backup.read_bytes()
    assert filled.command("backup", "create", str(backup), "--data", str(filled.data)).returncode == 4
    # Made after the backup, so the restored store does not know it.
    s3 = weir.boto3_client(filled)
    s3.create_bucket(Bucket="later")
    s3.put_object(Bucket="later", Key="k", Body=b"of later")
    lose(filled)
    restore = ["backup", "restore", str(backup), "--data", str(filled.data)]
    filled.run(*restore)
    refused = filled.command(*restore)
    assert refused.returncode != 0 and "exists" in refused.stderr
    filled.start()
    check(filled)
    # A bucket of the same name is another one.
    s3 = weir.boto3_client(filled)
    s3.create_bucket(Bucket="later")
    assert "Contents" not in s3.list_objects_v2(Bucket="later")
    filled.restart_killed()
    weir.boto3_client(filled).delete_bucket(Bucket="later")
    check(filled)


def test_from_the_disk(filled):
    lose(filled)
    copy = filled.data / "control.backup"
    assert copy.stat().st_mode & 0o777 == 0o600
    assert b"anns-secret-key" not in copy.read_bytes() and bytes.fromhex("5a" * 32) not in copy.read_bytes()
    filled.run("backup", "restore", "--from-disk", str(filled.data))
    filled.start()
    check(filled)
    assert filled.stop() == 0
    filled.start()
    check(filled)


def test_the_copy_is_soon_there_and_a_killed_server_has_one(filled):
    s3 = weir.boto3_client(filled)
    before = (filled.data / "control.backup").stat().st_mtime_ns if (filled.data / "control.backup").exists() else 0
    s3.create_bucket(Bucket="soon")
    s3.delete_bucket(Bucket="soon")
    until = time.monotonic() + 20
    while time.monotonic() < until:
        path = filled.data / "control.backup"
        if path.exists() and path.stat().st_mtime_ns > before:
            break
        time.sleep(0.05)
    else:
        pytest.fail("no second copy within 20 s")
    time.sleep(1.5)
    filled.kill()
    shutil.rmtree(filled.data / "control")
    filled.run("backup", "restore", "--from-disk", str(filled.data))
    filled.start()
    check(filled)


def test_what_is_no_backup_is_refused(filled, tmp_path):
    lose(filled)
    copy = filled.data / "control.backup"
    sound = copy.read_bytes()
    for bad in (b"", b"no backup", sound[:-1], sound[:100] + bytes([sound[100] ^ 1]) + sound[101:]):
        (tmp_path / "bad").write_bytes(bad)
        refused = filled.command("backup", "restore", str(tmp_path / "bad"), "--data", str(filled.data))
        assert refused.returncode == 1 and not (filled.data / "control").exists(), refused.stderr
    missing = filled.command("backup", "restore", str(tmp_path / "none"), "--data", str(filled.data))
    assert missing.returncode == 3
    with pytest.raises(ClientError):
        # A new, empty control store: nobody's key is known there.
        filled.start()
        weir.boto3_client(filled, "ANNSKEY", "anns-secret-key").list_buckets()


def test_without_its_root_key_a_server_does_not_start(tmp_path, monkeypatch):
    running = weir.Server(tmp_path / "data").start()
    assert running.stop() == 0
    key = running.data / "control" / "root.key"
    kept = key.read_text()
    key.unlink()
    with pytest.raises(AssertionError, match="root key is missing"):
        running.start()
    assert not key.exists(), "a new one would open nothing"
    monkeypatch.setattr(weir, "clean_environment", with_root_key(weir.clean_environment))
    with pytest.raises(AssertionError, match="another root key"):
        running.start()
    monkeypatch.undo()
    key.write_text(kept)
    running.start()
    assert running.stop() == 0
