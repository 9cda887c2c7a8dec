"""DuckDB with its extension httpfs, from a wheel: DuckDB itself downloads nothing."""

import importlib.util
from pathlib import Path

import pytest

import everyday
import weir
from everyday import clients

duckdb = pytest.importorskip("duckdb")


class DuckDB(everyday.Client):
    label = "DuckDB"

    def __init__(self, server, home):
        super().__init__(server, home)
        self.connection = duckdb.connect(config={"home_directory": str(home), "autoinstall_known_extensions": False})
        self("LOAD '" + str(self.program()) + "'")
        self(
            f"CREATE SECRET (TYPE s3, KEY_ID '{weir.ACCESS_KEY}', SECRET '{weir.SECRET_KEY}', REGION '{weir.REGION}',"
            f" ENDPOINT '{server.endpoint.split('://')[1]}', URL_STYLE 'path', USE_SSL false)"
        )

    @classmethod
    def program(cls):
        found = importlib.util.find_spec("duckdb_extension_httpfs")
        if found is None:
            return None
        folder = Path(found.submodule_search_locations[0]) / "extensions" / f"v{duckdb.__version__}"
        return next(folder.glob("httpfs.duckdb_extension"), None)

    def __call__(self, statement):
        return self.connection.execute(statement).fetchall()

    def version(self):
        return f"DuckDB {duckdb.__version__}"

    def close(self):
        self.connection.close()


client = clients(DuckDB)

ROWS = 300_000


@pytest.fixture
def rows(client):
    client(f"CREATE TABLE made AS SELECT i AS id, i % 4 AS part, hash(i) AS noise, 'row ' || i AS text FROM range({ROWS}) t(i)")


@pytest.mark.operation("`COPY TO` Parquet, partitioned; `read_parquet` of a glob")
def test_partitioned(client, s3, bucket, rows):
    client(f"COPY made TO 's3://{bucket}/set' (FORMAT parquet, PARTITION_BY part)")
    keys = [entry["Key"] for entry in s3.list_objects_v2(Bucket=bucket)["Contents"]]
    assert {key.split("/")[1] for key in keys} == {f"part={index}" for index in range(4)}
    read = f"read_parquet('s3://{bucket}/set/*/*.parquet', hive_partitioning = true)"
    assert client(f"SELECT count(*), sum(id), bit_xor(noise) FROM {read}") == client("SELECT count(*), sum(id), bit_xor(noise) FROM made")
    assert client(f"SELECT count(*) FROM {read} WHERE part = 2") == [(ROWS // 4,)]
    assert client(f"SELECT count(*) FROM glob('s3://{bucket}/set/**')") == [(len(keys),)]


@pytest.mark.operation("one large Parquet file in parts, read by ranges")
def test_large_file(client, s3, bucket):
    client("SET s3_uploader_max_filesize = '50GB'")  # parts of 5 MB instead of 80
    client(f"COPY (SELECT i AS id, uuid() AS noise FROM range(1500000) t(i)) TO 's3://{bucket}/k.parquet' (ROW_GROUP_SIZE 100000)")
    assert "-" in s3.head_object(Bucket=bucket, Key="k.parquet")["ETag"]
    assert client(f"SELECT min(id), max(id), count(*) FROM 's3://{bucket}/k.parquet' WHERE id BETWEEN 740000 AND 760000") == [
        (740000, 760000, 20001)
    ]


@pytest.mark.operation("CSV and JSON, written over")
def test_text(client, bucket, rows):
    for kind in "csv", "json":
        for limit in 10, 1000:
            client(f"COPY (SELECT id, text FROM made LIMIT {limit}) TO 's3://{bucket}/k.{kind}'")
            assert client(f"SELECT count(*), sum(id) FROM 's3://{bucket}/k.{kind}'") == [(limit, limit * (limit - 1) // 2)]


@pytest.mark.operation("an error is one, of DuckDB")
def test_errors(client, bucket):
    with pytest.raises(duckdb.Error, match="404|No files found"):
        client(f"SELECT * FROM 's3://{bucket}/none.parquet'")
