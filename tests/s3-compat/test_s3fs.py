"""s3fs-fuse: a bucket as a real mount. Attributes are metadata, renames are copies, appends are parts."""

import os
import shutil
import subprocess
import time
import uuid

import pytest

import everyday
import weir
from everyday import Everyday, clients

NO_BUCKETS = "`s3fs` mounts a bucket that is there"


class S3fs(everyday.Client):
    label = "s3fs"
    lacks = {
        "make a bucket, list buckets": NO_BUCKETS,
        "remove a bucket": NO_BUCKETS,
        "presigned URL": "a mount has no URLs",
        "content type": "a mount shows attributes of files; see `chmod`",
        "user metadata": "a mount shows attributes of files; see `chmod`",
        "resume a download": "a mount's files are read by other programs",
    }
    # It uploads by parts of 10 MiB from 25 MiB on.
    large = 26 * 1024 * 1024
    is_file_system = True
    # `cp --update` finds the file newer than its time of whole seconds in the bucket.
    sends_all_again = True

    def __init__(self, server, home):
        super().__init__(server, home)
        self.mounts = {}
        self.passwords = home / "passwords"
        self.passwords.write_text(f"{weir.ACCESS_KEY}:{weir.SECRET_KEY}\n")
        self.passwords.chmod(0o600)

    @classmethod
    def program(cls):
        return everyday.on_path("s3fs") if os.access("/dev/fuse", os.R_OK | os.W_OK) else None

    def version(self):
        return weir.run([self.program(), "--version"]).stdout.splitlines()[0].split(" (")[0]

    def use(self, bucket):
        mount = self.home / f"mount-{uuid.uuid4().hex[:8]}"
        mount.mkdir()
        log = (self.home / "s3fs.log").open("wb")
        options = f"url={self.server.endpoint},use_path_request_style,passwd_file={self.passwords},endpoint={weir.REGION}"
        command = [self.program(), bucket, str(mount), "-f", "-o", options]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=weir.clean_environment())
        self.mounts[bucket] = (mount, process)
        until = time.monotonic() + 20
        while not os.path.ismount(mount):
            assert process.poll() is None and time.monotonic() < until, (self.home / "s3fs.log").read_text()
            time.sleep(0.02)

    def close(self):
        for mount, process in self.mounts.values():
            subprocess.run(["umount", str(mount)], check=False)
            try:
                process.wait(20)
            finally:
                process.kill()
                process.wait()
                if os.path.ismount(mount):
                    subprocess.run(["umount", "--lazy", str(mount)], check=False)

    def path(self, bucket, key=""):
        return self.mounts[bucket][0] / key

    def put(self, path, bucket, key):
        target = self.path(bucket, key)
        target.parent.mkdir(parents=True, exist_ok=True)
        weir.run(["cp", "--", str(path), str(target)])

    def get(self, bucket, key, path):
        weir.run(["cp", "--", str(self.path(bucket, key)), str(path)])

    def keys(self, bucket, prefix=""):
        root = self.path(bucket)
        found = [os.path.join(folder, name) for folder, _, names in os.walk(root) for name in names]
        return [key for key in (os.path.relpath(path, root) for path in found) if key.startswith(prefix)]

    def read_range(self, bucket, key, first, length):
        with self.path(bucket, key).open("rb") as file:
            return os.pread(file.fileno(), length, first)

    def copy(self, bucket, key, to):
        self.put(self.path(bucket, key), bucket, to)

    def move(self, bucket, key, to):
        weir.run(["mv", str(self.path(bucket, key)), str(self.path(bucket, to))])

    def sync_up(self, tree, bucket, prefix):
        weir.run(["cp", "-r", "--update", "--preserve=timestamps", f"{tree}/.", str(self.path(bucket, prefix))])

    def sync_down(self, bucket, prefix, tree):
        weir.run(["cp", "-r", f"{self.path(bucket, prefix)}/.", str(tree)])

    def delete(self, bucket, key):
        self.path(bucket, key).unlink()

    def delete_folder(self, bucket, folder):
        weir.run(["rm", "-r", str(self.path(bucket, folder))])


client = clients(S3fs)


class TestEveryday(Everyday):
    pass


@pytest.fixture
def mount(client, bucket):
    client.use(bucket)
    return client.path(bucket)


@pytest.mark.operation("append")
@pytest.mark.parametrize("length", [1000, 26 * 1024 * 1024], ids=["small", "large"])
def test_append(mount, s3, bucket, length):
    body = os.urandom(length)
    (mount / "log").write_bytes(body)
    with (mount / "log").open("ab") as file:
        file.write(b"and more\n")
    assert s3.get_object(Bucket=bucket, Key="log")["Body"].read() == body + b"and more\n"


@pytest.mark.operation("overwrite in the middle")
def test_write_in_the_middle(mount, s3, bucket):
    body = bytearray(os.urandom(26 * 1024 * 1024))
    (mount / "disk").write_bytes(body)
    with (mount / "disk").open("r+b") as file:
        file.seek(12_000_000)
        file.write(b"here")
    body[12_000_000:12_000_004] = b"here"
    assert s3.get_object(Bucket=bucket, Key="disk")["Body"].read() == body


@pytest.mark.operation("`chmod`, `utimes`, symbolic link")
def test_attributes(mount, s3, bucket):
    path = mount / "file"
    path.write_bytes(b"x" * 70_000)
    path.chmod(0o640)
    os.utime(path, (1_500_000_000, 1_500_000_000))
    os.symlink("file", mount / "link")
    status = path.stat()
    assert (status.st_mode & 0o777, int(status.st_mtime), status.st_size) == (0o640, 1_500_000_000, 70_000)
    assert (mount / "link").read_bytes() == b"x" * 70_000
    assert s3.head_object(Bucket=bucket, Key="file")["Metadata"]["mtime"].startswith("1500000000")


@pytest.mark.operation("rename a folder, `rm -r`")
def test_rename_a_folder(mount, s3, bucket, tmp_path):
    tree = weir.make_tree(tmp_path / "tree", seed=9, plain_files=10)
    shutil.copytree(tree, mount / "one")
    os.rename(mount / "one", mount / "two")
    weir.assert_same_tree(tree, mount / "two")
    assert not (mount / "one").exists()
    weir.run(["rm", "-r", str(mount / "two")])
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0
