"""s5cmd: Go's first S3 library, many requests at once, wildcards, batches."""

import pytest

import everyday
import weir
from everyday import Everyday, clients

LARGE = 56 * 1024 * 1024


class S5cmd(everyday.Client):
    label = "s5cmd"
    lacks = {
        "read a range": "`s5cmd` reads whole objects",
        "resume a download": "`s5cmd` begins a file anew",
    }
    # It uploads by parts of 50 MiB.
    large = LARGE

    def __init__(self, server, home):
        super().__init__(server, home)
        self.environment = weir.client_environment(server, home)

    @classmethod
    def program(cls):
        return everyday.on_path("s5cmd")

    def __call__(self, *arguments, **options):
        # A retry would hide a request that got no answer.
        command = [self.program(), "--retry-count", "0", "--endpoint-url", self.server.endpoint, *map(str, arguments)]
        return weir.run(command, env=self.environment, **options)

    def version(self):
        return "s5cmd " + self("version").stdout.strip()

    def make_bucket(self, bucket):
        self("mb", f"s3://{bucket}")

    def buckets(self):
        return [line.split("s3://")[1] for line in self("ls").stdout.splitlines()]

    def remove_bucket(self, bucket):
        self("rb", f"s3://{bucket}")

    def put(self, path, bucket, key):
        self("cp", "--raw", path, f"s3://{bucket}/{key}")

    def get(self, bucket, key, path):
        self("cp", "--raw", f"s3://{bucket}/{key}", path)

    def keys(self, bucket, prefix=""):
        lines = self("ls", "--show-fullpath", f"s3://{bucket}/{prefix}*").stdout.splitlines()
        return [line.split(f"s3://{bucket}/", 1)[1] for line in lines]

    def copy(self, bucket, key, to):
        self("cp", f"s3://{bucket}/{key}", f"s3://{bucket}/{to}")

    def move(self, bucket, key, to):
        self("mv", f"s3://{bucket}/{key}", f"s3://{bucket}/{to}")

    def put_with_metadata(self, path, bucket, key, content_type, name, value):
        self("cp", "--content-type", content_type, "--metadata", f"{name}={value}", path, f"s3://{bucket}/{key}")

    def sync_up(self, tree, bucket, prefix):
        self("sync", f"{tree}/", f"s3://{bucket}/{prefix}/")

    def sync_down(self, bucket, prefix, tree):
        self("sync", f"s3://{bucket}/{prefix}/*", f"{tree}/")

    def presign(self, bucket, key):
        return self("presign", "--expire", "60s", f"s3://{bucket}/{key}").stdout.strip()

    def delete(self, bucket, key):
        self("rm", "--raw", f"s3://{bucket}/{key}")

    def delete_folder(self, bucket, folder):
        self("rm", f"s3://{bucket}/{folder}/*")


client = clients(S5cmd)


class TestEveryday(Everyday):
    pass


@pytest.mark.operation("wildcards in `cp`, `ls` and `rm`")
def test_wildcards(client, s3, bucket, tmp_path):
    for index in range(12):
        s3.put_object(Bucket=bucket, Key=f"logs/{index:02}.{'gz' if index % 2 else 'txt'}", Body=b"x" * index)
    listed = client("ls", f"s3://{bucket}/logs/*.gz").stdout
    assert listed.count(".gz") == 6 and ".txt" not in listed
    client("cp", f"s3://{bucket}/logs/0*.gz", f"{tmp_path}/down/")
    assert sorted(path.name for path in (tmp_path / "down").rglob("*.gz")) == [f"{index:02}.gz" for index in (1, 3, 5, 7, 9)]
    client("rm", f"s3://{bucket}/logs/*.gz")
    assert len(client.keys(bucket)) == 6 and ".gz" not in "".join(client.keys(bucket))


@pytest.mark.operation("`s5cmd run`: a batch of 200 commands")
def test_batch(client, s3, bucket, tmp_path):
    (tmp_path / "file").write_bytes(b"x" * 500)
    commands = [f"cp {tmp_path}/file s3://{bucket}/batch/{index:03}" for index in range(200)]
    (tmp_path / "up").write_text("\n".join(commands) + "\n")
    client("run", tmp_path / "up")
    assert len(client.keys(bucket)) == 200
    (tmp_path / "more").write_text(
        "\n".join([f"rm s3://{bucket}/batch/{index:03}" for index in range(150)] + [f"mv s3://{bucket}/batch/199 s3://{bucket}/end"])
    )
    client("run", tmp_path / "more")
    assert set(client.keys(bucket)) == {f"batch/{index:03}" for index in range(150, 199)} | {"end"}


@pytest.mark.operation("`s5cmd pipe` and `s5cmd cat`")
def test_pipe_and_cat(client, bucket, tmp_path):
    (tmp_path / "body").write_bytes(bytes(range(256)) * 4000)
    s5cmd = f"{client.program()} --endpoint-url {client.server.endpoint}"
    script = f"{s5cmd} pipe s3://{bucket}/k < {tmp_path}/body; {s5cmd} cat s3://{bucket}/k | cmp - {tmp_path}/body"
    weir.run(["sh", "-ec", script], env=client.environment)
