"""The AWS command line: version 1 of the Python environment, version 2 of Debian."""

import os
import shutil

import pytest

import everyday
import weir
from everyday import Everyday, clients


class AwsV1(everyday.Client):
    label = "aws 1"
    lacks = {"resume a download": "`aws` has no command that goes on with a file"}

    def __init__(self, server, home):
        super().__init__(server, home)
        # Version 1 still makes presigned URLs of Signature Version 2 when nobody tells it not to.
        (home / "aws-config").write_text("[default]\ns3 =\n    signature_version = s3v4\n")
        # A retry would hide a request that got no answer.
        self.environment = weir.client_environment(server, home) | {"AWS_MAX_ATTEMPTS": "1"}

    @classmethod
    def program(cls):
        return everyday.on_path("aws")

    def __call__(self, *arguments, **options):
        command = [self.program(), "--endpoint-url", self.server.endpoint, "--cli-read-timeout", "20"]
        return weir.run([*command, *map(str, arguments)], env=self.environment, **options)

    def version(self):
        done = self("--version")
        return (done.stdout + done.stderr).split()[0]

    def make_bucket(self, bucket):
        self("s3", "mb", f"s3://{bucket}")

    def buckets(self):
        return [line.split()[-1] for line in self("s3", "ls").stdout.splitlines()]

    def remove_bucket(self, bucket):
        self("s3", "rb", f"s3://{bucket}")

    def put(self, path, bucket, key):
        self("s3", "cp", path, f"s3://{bucket}/{key}")

    def get(self, bucket, key, path):
        self("s3", "cp", f"s3://{bucket}/{key}", path)

    def keys(self, bucket, prefix=""):
        lines = self("s3", "ls", "--recursive", f"s3://{bucket}/{prefix}").stdout.splitlines()
        return [line.split(None, 3)[3] for line in lines]

    def read_range(self, bucket, key, first, length):
        path, wanted = self.home / "range", f"bytes={first}-{first + length - 1}"
        self("s3api", "get-object", "--bucket", bucket, "--key", key, "--range", wanted, path)
        return path.read_bytes()

    def copy(self, bucket, key, to):
        self("s3", "cp", f"s3://{bucket}/{key}", f"s3://{bucket}/{to}")

    def move(self, bucket, key, to):
        self("s3", "mv", f"s3://{bucket}/{key}", f"s3://{bucket}/{to}")

    def put_with_metadata(self, path, bucket, key, content_type, name, value):
        self("s3", "cp", path, f"s3://{bucket}/{key}", "--content-type", content_type, "--metadata", f"{name}={value}")

    def sync_up(self, tree, bucket, prefix):
        self("s3", "sync", tree, f"s3://{bucket}/{prefix}", "--only-show-errors")

    def sync_down(self, bucket, prefix, tree):
        self("s3", "sync", f"s3://{bucket}/{prefix}", tree, "--only-show-errors")

    def presign(self, bucket, key):
        return self("s3", "presign", f"s3://{bucket}/{key}", "--expires-in", 60).stdout.strip()

    def delete(self, bucket, key):
        self("s3", "rm", f"s3://{bucket}/{key}")

    def delete_folder(self, bucket, folder):
        self("s3", "rm", "--recursive", f"s3://{bucket}/{folder}/", "--only-show-errors")


class AwsV2(AwsV1):
    label = "aws 2"

    @classmethod
    def program(cls):
        return everyday.debian("aws")


client = clients(AwsV1, AwsV2)


class TestEveryday(Everyday):
    pass


def test_the_version_is_the_one_that_was_asked_for(client):
    assert client.version().startswith(f"aws-cli/{client.label[-1]}.")


def test_a_copy_by_parts_keeps_the_metadata(client, bucket, s3, tmp_path):
    if client.label == "aws 1":
        pytest.skip("version 1 drops the metadata when it copies by parts")
    path = tmp_path / "large.bin"
    path.write_bytes(os.urandom(9 * 1024 * 1024 + 1))
    client("s3", "cp", path, f"s3://{bucket}/large.bin", "--metadata", "color=blue")
    client("s3", "mv", f"s3://{bucket}/large.bin", f"s3://{bucket}/moved.bin")
    assert s3.head_object(Bucket=bucket, Key="moved.bin")["Metadata"] == {"color": "blue"}


@pytest.mark.operation("sync --delete")
def test_sync_deletes_what_is_gone(client, bucket, tmp_path):
    tree = weir.make_tree(tmp_path / "tree")
    client.sync_up(tree, bucket, "tree")
    assert client("s3", "sync", tree, f"s3://{bucket}/tree", "--size-only").stdout == ""
    shutil.rmtree(tree / "plain" / "3")
    client("s3", "sync", tree, f"s3://{bucket}/tree", "--delete", "--size-only", "--only-show-errors")
    client.sync_down(bucket, "tree", tmp_path / "back")
    weir.assert_same_tree(tree, tmp_path / "back")


@pytest.mark.operation("`aws s3 cp` of a pipe")
def test_streams(client, bucket, tmp_path):
    body = tmp_path / "body"
    body.write_bytes(os.urandom(9 * 1024 * 1024))
    aws = f"{client.program()} --endpoint-url {client.server.endpoint} s3 cp"
    weir.run(
        ["sh", "-ec", f"{aws} - s3://{bucket}/k < {body}; {aws} s3://{bucket}/k - | cmp - {body}"], env=client.environment
    )


def test_exit_status_and_words_of_errors(client, name, bucket):
    missing = client("s3api", "get-object", "--bucket", bucket, "--key", "nothing", os.devnull, may_fail=True)
    assert missing.returncode != 0 and "NoSuchKey" in missing.stderr
    nowhere = client("s3api", "list-objects-v2", "--bucket", name + "-none", may_fail=True)
    assert nowhere.returncode != 0 and "NoSuchBucket" in nowhere.stderr
