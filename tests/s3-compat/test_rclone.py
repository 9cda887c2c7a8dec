"""rclone, whose S3 library is that of Go: V1 listings, Content-MD5 of each part, changes of metadata by copies."""

import os
import subprocess

import pytest

import everyday
import weir
from everyday import Everyday, clients


class Rclone(everyday.Client):
    label = "rclone (PyPI)"
    lacks = {
        "resume a download": "`rclone` begins a file anew",
        "put, get: large, in parts": "`rclone` uploads files of up to 200 MiB in one piece; see `rclone rcat`",
    }
    limits = {"an error is one": "`rclone` takes a name that is not there for an empty folder"}

    def __init__(self, server, home):
        super().__init__(server, home)
        self.environment = weir.clean_environment() | {
            "HOME": str(home),
            "RCLONE_CONFIG": os.devnull,
            "RCLONE_CONFIG_W_TYPE": "s3",
            "RCLONE_CONFIG_W_PROVIDER": "Other",
            "RCLONE_CONFIG_W_ENDPOINT": server.endpoint,
            "RCLONE_CONFIG_W_ACCESS_KEY_ID": weir.ACCESS_KEY,
            "RCLONE_CONFIG_W_SECRET_ACCESS_KEY": weir.SECRET_KEY,
        }
        # Go's S3 library and rclone's transport cannot both have it.
        self.environment.pop("AWS_CA_BUNDLE", None)
        if server.certificate:
            self.environment["RCLONE_CA_CERT"] = str(server.certificate)

    @classmethod
    def program(cls):
        path = everyday.on_path("rclone")
        return None if path == everyday.debian("rclone") else path

    def __call__(self, *arguments, **options):
        # A retry would hide a request that got no answer.
        command = [self.program(), "--retries", "1", "--low-level-retries", "1", *map(str, arguments)]
        return weir.run(command, env=self.environment, **options)

    def pipe(self, *arguments, body=b""):
        command = [self.program(), "--retries", "1", *arguments]
        done = subprocess.run(command, env=self.environment, input=body, capture_output=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def version(self):
        return self("version").stdout.splitlines()[0]

    def make_bucket(self, bucket):
        self("mkdir", f"w:{bucket}")
        self("mkdir", f"w:{bucket}")  # as often as one likes

    def buckets(self):
        return self("lsf", "w:").stdout.replace("/", "").split()

    def remove_bucket(self, bucket):
        self("rmdir", f"w:{bucket}")

    def put(self, path, bucket, key):
        self("copyto", path, f"w:{bucket}/{key}")

    def get(self, bucket, key, path):
        self("copyto", f"w:{bucket}/{key}", path)

    def keys(self, bucket, prefix=""):
        lines = self("lsf", "--recursive", "--files-only", f"w:{bucket}/{prefix}").stdout.splitlines()
        return [prefix + line for line in lines]

    def read_range(self, bucket, key, first, length):
        return self.pipe("cat", "--offset", str(first), "--count", str(length), f"w:{bucket}/{key}")

    def copy(self, bucket, key, to):
        self("copyto", f"w:{bucket}/{key}", f"w:{bucket}/{to}")

    def move(self, bucket, key, to):
        self("moveto", f"w:{bucket}/{key}", f"w:{bucket}/{to}")

    def put_with_metadata(self, path, bucket, key, content_type, name, value):
        headers = [f"--header-upload=Content-Type: {content_type}", f"--header-upload=x-amz-meta-{name}: {value}"]
        self("copyto", path, f"w:{bucket}/{key}", *headers)

    def sync_up(self, tree, bucket, prefix):
        self("sync", tree, f"w:{bucket}/{prefix}")

    def sync_down(self, bucket, prefix, tree):
        self("sync", f"w:{bucket}/{prefix}", tree)

    def presign(self, bucket, key):
        return self("link", "--expire", "60s", f"w:{bucket}/{key}").stdout.strip()

    def delete(self, bucket, key):
        self("deletefile", f"w:{bucket}/{key}")

    def delete_folder(self, bucket, folder):
        self("purge", f"w:{bucket}/{folder}")


class DebianRclone(Rclone):
    label = "rclone (Debian)"

    @classmethod
    def program(cls):
        return everyday.debian("rclone")


client = clients(Rclone, DebianRclone)


class TestEveryday(Everyday):
    pass


@pytest.mark.operation("`rclone check`, also with `--download`")
def test_check(client, bucket, tmp_path):
    tree = weir.make_tree(tmp_path / "tree", seed=3)
    client.sync_up(tree, bucket, "tree")
    client("check", tree, f"w:{bucket}/tree")
    client("check", "--download", tree, f"w:{bucket}/tree")
    client("copy", f"w:{bucket}/tree", f"w:{bucket}/copy")
    client("check", f"w:{bucket}/tree", f"w:{bucket}/copy")
    client("purge", f"w:{bucket}")
    assert bucket not in client.buckets()


@pytest.mark.operation("times of files, changed by copies")
def test_times_are_changed_by_copies(client, bucket, tmp_path):
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "file").write_bytes(b"x" * 100_000)
    client("sync", tree, f"w:{bucket}")
    os.utime(tree / "file", (1_500_000_000, 1_500_000_000))
    client("sync", tree, f"w:{bucket}")
    assert "2017-07-14" in client("lsl", f"w:{bucket}").stdout
    client("check", tree, f"w:{bucket}")


@pytest.mark.operation("`rclone rcat`: a stream in parts")
def test_a_stream_of_unknown_length(client, bucket, s3):
    body = os.urandom(11 * 1024 * 1024)
    client.pipe("rcat", f"w:{bucket}/stream", body=body)
    assert "-" in s3.head_object(Bucket=bucket, Key="stream")["ETag"]
    assert client.pipe("cat", f"w:{bucket}/stream") == body
