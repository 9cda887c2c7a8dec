"""s3cmd: the Python environment's and Debian's."""

import pytest
import urllib3
from botocore.exceptions import ClientError

import everyday
import weir
from everyday import Everyday, clients


class S3cmd(everyday.Client):
    label = "s3cmd (PyPI)"
    lacks = {
        "read a range": "`s3cmd` reads whole objects",
    }
    limits = {
        "presigned URL": "`signurl` makes URLs of Signature Version 2, which Weir takes with `--signature-v2 urls` only",
    }

    def __init__(self, server, home):
        super().__init__(server, home)
        self.config = weir.write_s3cmd_config(server, home / "s3cfg")

    @classmethod
    def program(cls):
        return everyday.on_path("s3cmd")

    def __call__(self, *arguments, **options):
        return weir.run([self.program(), "--config", str(self.config), "--no-progress", *map(str, arguments)], **options)

    def version(self):
        return self("--version").stdout.strip()

    def make_bucket(self, bucket):
        self("mb", f"s3://{bucket}")

    def buckets(self):
        return [line.split("s3://")[1] for line in self("ls").stdout.splitlines()]

    def remove_bucket(self, bucket):
        self("rb", f"s3://{bucket}")

    def put(self, path, bucket, key):
        self("put", path, f"s3://{bucket}/{key}")

    def get(self, bucket, key, path):
        self("get", f"s3://{bucket}/{key}", path)

    def keys(self, bucket, prefix=""):
        lines = self("ls", "--recursive", f"s3://{bucket}/{prefix}").stdout.splitlines()
        return [line.split(f"s3://{bucket}/", 1)[1] for line in lines]

    def resume(self, bucket, key, path):
        self("get", "--continue", f"s3://{bucket}/{key}", path)

    def copy(self, bucket, key, to):
        self("cp", f"s3://{bucket}/{key}", f"s3://{bucket}/{to}")

    def move(self, bucket, key, to):
        self("mv", f"s3://{bucket}/{key}", f"s3://{bucket}/{to}")

    def put_with_metadata(self, path, bucket, key, content_type, name, value):
        header = f"x-amz-meta-{name}:{value}"
        self("put", path, f"s3://{bucket}/{key}", "--mime-type", content_type, "--add-header", header)

    def sync_up(self, tree, bucket, prefix):
        self("sync", f"{tree}/", f"s3://{bucket}/{prefix}/")

    def sync_down(self, bucket, prefix, tree):
        self("sync", f"s3://{bucket}/{prefix}/", f"{tree}/")

    def presign(self, bucket, key):
        return self("signurl", f"s3://{bucket}/{key}", "+60").stdout.strip()

    def delete(self, bucket, key):
        self("del", f"s3://{bucket}/{key}")

    def delete_folder(self, bucket, folder):
        self("del", "--recursive", "--force", f"s3://{bucket}/{folder}/")


class DebianS3cmd(S3cmd):
    label = "s3cmd (Debian)"

    @classmethod
    def program(cls):
        return everyday.debian("s3cmd")


client = clients(S3cmd, DebianS3cmd)


class TestEveryday(Everyday):
    pass


@pytest.mark.operation("`s3cmd info`")
def test_info(client, s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x" * 3000, Metadata={"color": "blue"})
    info = client("info", f"s3://{bucket}/k").stdout
    assert "3000" in info and "x-amz-meta-color: blue" in info
    assert "Location:  us-east-1" in client("info", f"s3://{bucket}").stdout


@pytest.mark.operation("`s3cmd du`")
def test_du_counts_bytes_and_objects(client, s3, bucket):
    for index, length in enumerate([0, 1, 1000, 70_000]):
        s3.put_object(Bucket=bucket, Key=f"{index}", Body=b"x" * length)
    words = client("du", f"s3://{bucket}").stdout.split()
    assert words[:3] == ["71001", "4", "objects"]


@pytest.mark.operation("`s3cmd modify`")
def test_modify_changes_metadata_by_a_copy(client, s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x" * 3000, ContentType="text/x-weir")
    client("modify", "--add-header", "x-amz-meta-color:blue", f"s3://{bucket}/k")
    head = s3.head_object(Bucket=bucket, Key="k")
    assert (head["Metadata"]["color"], head["ContentType"], head["ContentLength"]) == ("blue", "text/x-weir", 3000)


LIFECYCLE = """<LifecycleConfiguration><Rule><ID>old</ID><Filter><Prefix>logs/</Prefix></Filter><Status>Enabled</Status>
<Expiration><Days>30</Days></Expiration></Rule></LifecycleConfiguration>"""
CORS = """<CORSConfiguration><CORSRule><AllowedOrigin>http://one</AllowedOrigin><AllowedMethod>GET</AllowedMethod></CORSRule>
</CORSConfiguration>"""


def test_documents_of_a_bucket(client, s3, bucket, tmp_path):
    (tmp_path / "lifecycle.xml").write_text(LIFECYCLE)
    client("setlifecycle", tmp_path / "lifecycle.xml", f"s3://{bucket}")
    (rule,) = s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
    assert (rule["ID"], rule["Filter"], rule["Expiration"]) == ("old", {"Prefix": "logs/"}, {"Days": 30})
    assert "<ID>old</ID>" in client("getlifecycle", f"s3://{bucket}").stdout
    client("dellifecycle", f"s3://{bucket}")
    (tmp_path / "cors.xml").write_text(CORS)
    client("setcors", tmp_path / "cors.xml", f"s3://{bucket}")
    (rule,) = s3.get_bucket_cors(Bucket=bucket)["CORSRules"]
    assert (rule["AllowedOrigins"], rule["AllowedMethods"]) == (["http://one"], ["GET"])
    assert "http://one" in client("info", f"s3://{bucket}").stdout
    client("delcors", f"s3://{bucket}")
    for absent, code in [
        (s3.get_bucket_lifecycle_configuration, "NoSuchLifecycleConfiguration"),
        (s3.get_bucket_cors, "NoSuchCORSConfiguration"),
    ]:
        with pytest.raises(ClientError) as caught:
            absent(Bucket=bucket)
        assert caught.value.response["Error"]["Code"] == code


@pytest.mark.operation("`s3cmd signurl`, with `--signature-v2 urls`")
def test_signurl_with_the_switch(client, tmp_path):
    server = weir.Server(tmp_path / "data", flags=["--signature-v2", "urls"]).start()
    try:
        s3 = weir.boto3_client(server)
        s3.create_bucket(Bucket="signed")
        s3.put_object(Bucket="signed", Key="a b/k", Body=b"content")
        (tmp_path / "other-home").mkdir()
        address = type(client)(server, tmp_path / "other-home").presign("signed", "a b/k")
        answer = urllib3.request("GET", address)
        assert (answer.status, answer.data) == (200, b"content"), (address, answer.data)
        assert urllib3.request("GET", address.replace("k?", "l?")).status == 403
        assert urllib3.request("DELETE", address).status == 403
    finally:
        assert server.stop() == 0
