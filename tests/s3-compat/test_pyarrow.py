"""pyarrow's S3FileSystem, which is the C++ SDK."""

import os

import pytest

import everyday
import weir
from everyday import Everyday, clients

pytest.importorskip("pyarrow")

import pyarrow  # noqa: E402
import pyarrow.compute  # noqa: E402
import pyarrow.dataset  # noqa: E402
import pyarrow.fs  # noqa: E402


class Arrow(everyday.Client):
    label = "pyarrow"
    lacks = {
        "resume a download": "a stream has no file to go on with",
        "presigned URL": "`S3FileSystem` makes none",
        "user metadata": "`S3FileSystem` sends the metadata that S3 itself knows",
    }
    always_in_parts = True
    # `copy_files` compares nothing.
    sends_all_again = True

    def __init__(self, server, home):
        super().__init__(server, home)
        scheme, address = server.endpoint.split("://")
        trust = {"tls_ca_file_path": str(server.certificate)} if server.certificate else {}
        self.files = pyarrow.fs.S3FileSystem(
            access_key=weir.ACCESS_KEY,
            secret_key=weir.SECRET_KEY,
            region=weir.REGION,
            scheme=scheme,
            endpoint_override=address,
            allow_bucket_creation=True,
            allow_bucket_deletion=True,
            **trust,
        )

    @classmethod
    def program(cls):
        return pyarrow.__file__

    def version(self):
        return f"pyarrow {pyarrow.__version__}"

    def make_bucket(self, bucket):
        self.files.create_dir(bucket)

    def buckets(self):
        return [info.path for info in self.files.get_file_info(pyarrow.fs.FileSelector(""))]

    def remove_bucket(self, bucket):
        self.files.delete_dir(bucket)

    def put(self, path, bucket, key):
        with self.files.open_output_stream(f"{bucket}/{key}") as stream:
            stream.write(path.read_bytes())

    def get(self, bucket, key, path):
        with self.files.open_input_stream(f"{bucket}/{key}") as stream:
            path.write_bytes(stream.read())

    def keys(self, bucket, prefix=""):
        selector = pyarrow.fs.FileSelector(f"{bucket}/{prefix}".rstrip("/"), recursive=True)
        infos = [info for info in self.files.get_file_info(selector) if info.type == pyarrow.fs.FileType.File]
        return [info.path.split("/", 1)[1] for info in infos]

    def read_range(self, bucket, key, first, length):
        with self.files.open_input_file(f"{bucket}/{key}") as file:
            return file.read_at(length, first)

    def copy(self, bucket, key, to):
        self.files.copy_file(f"{bucket}/{key}", f"{bucket}/{to}")

    def move(self, bucket, key, to):
        self.files.move(f"{bucket}/{key}", f"{bucket}/{to}")

    def put_with_metadata(self, path, bucket, key, content_type, name, value):
        with self.files.open_output_stream(f"{bucket}/{key}", metadata={"Content-Type": content_type, name: value}) as stream:
            stream.write(path.read_bytes())

    def sync_up(self, tree, bucket, prefix):
        pyarrow.fs.copy_files(str(tree), f"{bucket}/{prefix}", destination_filesystem=self.files)

    def sync_down(self, bucket, prefix, tree):
        pyarrow.fs.copy_files(f"{bucket}/{prefix}", str(tree), source_filesystem=self.files)

    def delete(self, bucket, key):
        self.files.delete_file(f"{bucket}/{key}")

    def delete_folder(self, bucket, folder):
        self.files.delete_dir(f"{bucket}/{folder}")


client = clients(Arrow)


class TestEveryday(Everyday):
    pass


@pytest.fixture
def table():
    rows = 200_000
    return pyarrow.table(
        {"year": [2020 + index % 5 for index in range(rows)], "id": range(rows), "text": [f"row {index}" for index in range(rows)]}
    )


@pytest.mark.operation("a partitioned Parquet dataset, written and read")
def test_dataset(client, bucket, table):
    partitioning = pyarrow.dataset.partitioning(pyarrow.schema([("year", pyarrow.int64())]), flavor="hive")
    pyarrow.dataset.write_dataset(table, f"{bucket}/set", filesystem=client.files, format="parquet", partitioning=partitioning)
    dataset = pyarrow.dataset.dataset(f"{bucket}/set", filesystem=client.files, partitioning=partitioning)
    assert len(dataset.files) == 5
    assert dataset.to_table(columns=["year", "id", "text"]).sort_by("id") == table
    of_2022 = dataset.to_table(filter=pyarrow.compute.field("year") == 2022, columns=["id"])
    assert of_2022.num_rows == 40_000


@pytest.mark.operation("a stream in parts, with seeks on reading")
def test_seeks(client, s3, bucket):
    body = os.urandom(25 * 1024 * 1024)
    with client.files.open_output_stream(f"{bucket}/k") as stream:
        for start in range(0, len(body), 1_000_000):
            stream.write(body[start : start + 1_000_000])
    assert "-" in s3.head_object(Bucket=bucket, Key="k")["ETag"]
    with client.files.open_input_file(f"{bucket}/k") as file:
        assert file.size() == len(body)
        for position in 20_000_000, 0, len(body) - 10, 7:
            file.seek(position)
            assert file.read(1000) == body[position : position + 1000]


@pytest.mark.operation("empty folders")
def test_folders(client, bucket):
    client.files.create_dir(f"{bucket}/a/b")
    assert client.files.get_file_info(f"{bucket}/a/b").type == pyarrow.fs.FileType.Directory
    assert client.files.get_file_info(f"{bucket}/a/none").type == pyarrow.fs.FileType.NotFound
    client.files.delete_dir_contents(f"{bucket}/a")
    assert client.files.get_file_info(f"{bucket}/a/b").type == pyarrow.fs.FileType.NotFound
