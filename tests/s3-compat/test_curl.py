"""curl: with presigned URLs, which need no keys, and with its own Signature Version 4."""

import os
import re
import urllib.parse

import pytest

import everyday
import weir
from everyday import Everyday, clients

NO_COMMAND = "`curl` sends one request"


class Curl(everyday.Client):
    """Presigned URLs; boto3 makes them."""

    label = "curl, presigned"
    lacks = {
        "put, get: large, in parts": "`curl` uploads a file in one piece",
        "sync up and down, `diff -r`": NO_COMMAND,
        "delete a folder": NO_COMMAND,
        "move": NO_COMMAND,
        "copy": "a copy's source is a header, and boto3 signs none into a URL",
        "list more than 1,000 keys": "boto3 makes a URL for one page; see `curl --aws-sigv4`",
        "content type": "a URL without more says no headers",
        "user metadata": "a URL without more says no headers",
        "make a bucket, list buckets": "a URL is for one bucket",
        "remove a bucket": "a URL is for one bucket",
    }

    def __init__(self, server, home):
        super().__init__(server, home)
        self.s3 = weir.boto3_client(server)

    @classmethod
    def program(cls):
        return everyday.on_path("curl")

    def __call__(self, *arguments, **options):
        trust = ["--cacert", str(self.server.certificate)] if self.server.certificate else []
        command = [self.program(), "--silent", "--show-error", "--fail", *trust, *map(str, arguments)]
        return weir.run(command, env=weir.clean_environment() | {"HOME": str(self.home)}, **options)

    def version(self):
        return " ".join(self("--version").stdout.split()[:2])

    def to(self, operation, bucket, key=None, **parameters):
        """The arguments for one request."""
        parameters |= {"Bucket": bucket} | ({"Key": key} if key is not None else {})
        return [self.s3.generate_presigned_url(operation, parameters, ExpiresIn=60)]

    def put(self, path, bucket, key):
        self("--upload-file", path, *self.to("put_object", bucket, key))

    def get(self, bucket, key, path):
        self("--output", path, *self.to("get_object", bucket, key))

    def keys(self, bucket, prefix=""):
        answer = self(*self.to("list_objects_v2", bucket, Prefix=prefix, EncodingType="url")).stdout
        return [urllib.parse.unquote(key) for key in re.findall("<Key>(.*?)</Key>", answer)]

    def read_range(self, bucket, key, first, length):
        path = self.home / "range"
        wanted = f"{first}-{first + length - 1}"
        self("--range", wanted, "--output", path, *self.to("get_object", bucket, key))
        return path.read_bytes()

    def resume(self, bucket, key, path):
        self("--continue-at", "-", "--output", path, *self.to("get_object", bucket, key))

    def presign(self, bucket, key):
        return self.to("get_object", bucket, key)[0]

    def delete(self, bucket, key):
        self("--request", "DELETE", *self.to("delete_object", bucket, key))


class SigningCurl(Curl):
    label = "curl --aws-sigv4"
    lacks = {name: Curl.lacks[name] for name in ("put, get: large, in parts", "sync up and down, `diff -r`", "delete a folder", "move")}
    lacks = lacks | {"presigned URL": "`curl` signs headers only"}

    def to(self, operation, bucket="", key=None, query=""):
        path = f"/{bucket}" + (f"/{urllib.parse.quote(key, safe='/~')}" if key is not None else "")
        keys = ["--aws-sigv4", f"aws:amz:{weir.REGION}:s3", "--user", f"{weir.ACCESS_KEY}:{weir.SECRET_KEY}"]
        # S3 requires this header, and curl before 8 does not send it.
        return [*keys, "--header", "x-amz-content-sha256: UNSIGNED-PAYLOAD", self.server.endpoint + path + query]

    def make_bucket(self, bucket):
        self("--request", "PUT", *self.to("create_bucket", bucket))

    def buckets(self):
        return re.findall("<Name>(.*?)</Name>", self(*self.to("list_buckets")).stdout)

    def remove_bucket(self, bucket):
        self("--request", "DELETE", *self.to("delete_bucket", bucket))

    def keys(self, bucket, prefix=""):
        found, marker = [], ""
        while True:
            # In the order of their names, as this curl signs a query as it stands.
            query = f"?encoding-type=url&marker={marker}&prefix={urllib.parse.quote(prefix, safe='')}"
            answer = self(*self.to("list_objects", bucket, query=query)).stdout
            page = re.findall("<Key>(.*?)</Key>", answer)
            found += [urllib.parse.unquote(key) for key in page]
            if "<IsTruncated>true" not in answer:
                return found
            marker = urllib.parse.quote(found[-1], safe="")

    def copy(self, bucket, key, to):
        self("--request", "PUT", "--header", f"x-amz-copy-source: /{bucket}/{key}", *self.to("copy_object", bucket, to))

    def put_with_metadata(self, path, bucket, key, content_type, name, value):
        headers = ["--header", f"Content-Type: {content_type}", "--header", f"x-amz-meta-{name}: {value}"]
        self("--upload-file", path, *headers, *self.to("put_object", bucket, key))


client = clients(Curl, SigningCurl)


class TestEveryday(Everyday):
    pass


@pytest.mark.operation("put, get: 20 MB in one piece")
def test_one_large_piece(client, bucket, tmp_path):
    path = tmp_path / "large"
    path.write_bytes(os.urandom(everyday.LARGE))
    client.put(path, bucket, "large")
    client.get(bucket, "large", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == path.read_bytes()


@pytest.mark.operation("HEAD")
def test_head(client, s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x" * 3000)
    answer = client("--head", *client.to("head_object", bucket, "k")).stdout.lower()
    assert answer.startswith("http/1.1 200") and "content-length: 3000" in answer and 'etag: "' in answer
    missing = client("--head", *client.to("head_object", bucket, "none"), may_fail=True)
    assert missing.returncode == 22 and "404" in missing.stderr


@pytest.mark.operation("If-None-Match")
def test_if_none_match(client, s3, bucket, tmp_path):
    etag = s3.put_object(Bucket=bucket, Key="k", Body=b"x" * 3000)["ETag"]
    status = ["--write-out", "%{http_code} %{size_download}", "--output", tmp_path / "back"]
    cached = client(*status, "--header", f"If-None-Match: {etag}", *client.to("get_object", bucket, "k"))
    assert cached.stdout == "304 0"
    changed = client(*status, "--header", 'If-None-Match: "other"', *client.to("get_object", bucket, "k"))
    assert changed.stdout == "200 3000"
