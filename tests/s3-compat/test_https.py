"""What clients send through TLS: other framings of a body than without. To Weir itself, and through nginx, which ends TLS in front,
changes nothing else, and tells what it saw."""

import http.client
import os
import socket
import subprocess
import time
import urllib.parse

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

import everyday
import test_listing
import test_tls
import weir

from test_boto3 import Boto3


class SigningAll(S3SigV4Auth):
    """Signs every header, as boto3 did before 2025."""

    def headers_to_sign(self, request):
        names = http.client.HTTPMessage()
        for name, value in request.headers.items():
            names[name.lower()] = value
        names["host"] = urllib.parse.urlsplit(request.url).netloc
        return names

    def payload(self, request):
        return "STREAMING-UNSIGNED-PAYLOAD-TRAILER"


CLIENTS = [Boto3]
if Boto3.label == "boto3":  # the others are the same in every environment
    from test_aws_cli import AwsV1, AwsV2
    from test_pyarrow import Arrow
    from test_rclone import DebianRclone, Rclone
    from test_s5cmd import S5cmd

    CLIENTS += [AwsV1, AwsV2, Arrow, DebianRclone, Rclone, S5cmd]

SETTINGS = """
daemon off;
worker_processes 1;
pid {home}/pid;
error_log {home}/error.log;
events {{ worker_connections 256; }}
http {{

    log_format framing '$request_method $uri $status $http_x_amz_content_sha256 $http_x_amz_trailer';
    access_log {home}/access.log framing;
    client_body_temp_path {home}/body;
    proxy_temp_path {home}/proxy;
    fastcgi_temp_path {home}/fastcgi;
    uwsgi_temp_path {home}/uwsgi;
    scgi_temp_path {home}/scgi;
    client_max_body_size 0;
    server {{
        listen 127.0.0.1:{port} ssl;
        ssl_certificate {home}/certificate.pem;
        ssl_certificate_key {home}/key.pem;
        location / {{
            proxy_pass {endpoint};
            proxy_http_version 1.1;
            proxy_set_header Host $http_host;
            proxy_set_header Connection "";
            proxy_request_buffering off;
            proxy_buffering off;
        }}
    }}
}}
"""


class Front:
    """nginx with a certificate for 127.0.0.1 before a server."""

    def __init__(self, server, home):
        self.home, self.certificate = home, home / "certificate.pem"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.endpoint = f"https://127.0.0.1:{self.port}"
        subject = ["-subj", "/CN=weir of the tests", "-addext", "subjectAltName=IP:127.0.0.1"]
        keys = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", str(home / "key.pem")]
        weir.run(["openssl", "req", "-x509", "-days", "2", *keys, *subject, "-out", str(self.certificate)])
        settings = SETTINGS.format(home=home, port=self.port, endpoint=server.endpoint)
        (home / "settings").write_text(settings)
        command = [everyday.NGINX, "-c", str(home / "settings"), "-e", str(home / "error.log")]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        until = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                assert self.process.poll() is None and time.monotonic() < until, (home / "error.log").read_text()
                time.sleep(0.02)

    def framings(self, bucket):
        """What was said of the bodies of the successful uploads into a bucket, of which there was at least one."""
        until = time.monotonic() + 20
        while True:
            lines = [line.split() for line in (self.home / "access.log").read_text().splitlines()]
            puts = [line for line in lines if line[0] == "PUT" and line[1].startswith(f"/{bucket}/") and line[2] == "200"]
            # nginx writes the line after the client has its answer.
            if puts or time.monotonic() > until:
                return {(line[3], line[4]) for line in puts}
            time.sleep(0.02)

    def stop(self):
        self.process.terminate()
        self.process.wait(20)


@pytest.fixture(scope="module")
def front(server, tmp_path_factory):
    if not os.access(everyday.NGINX, os.X_OK):
        pytest.skip("nginx is not installed")
    front = Front(server, tmp_path_factory.mktemp("front"))
    yield front
    front.stop()


@pytest.fixture(scope="module")
def secured(tmp_path_factory):
    """A server that ends TLS itself, with an authority of its own."""
    running = test_tls.TlsServer(tmp_path_factory.mktemp("secured") / "data").start()
    yield running
    assert running.stop() == 0


# What aws sends is botocore's, as boto3's is: one way is enough for the slowest two.
WAYS = [(kind, end) for kind in CLIENTS for end in ("secured", "front") if end == "secured" or not kind.label.startswith("aws")]


@pytest.fixture
def end(request):
    """Where TLS ends."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def client(request, end, tmp_path):
    opened = request.param.open(end, tmp_path / "home")
    yield opened
    opened.close()


@pytest.mark.parametrize(("client", "end"), WAYS, ids=[f"{kind.label}-{end}" for kind, end in WAYS], indirect=True)
@pytest.mark.operation("HTTPS: put, get, in parts, list, delete")
def test_put_and_get(client, end, name, tmp_path):
    bucket = name
    weir.boto3_client(end).create_bucket(Bucket=bucket)
    for name, length in ("empty", 0), ("small", 1000), ("large", client.large):
        path, back = tmp_path / name, tmp_path / f"{name}-back"
        path.write_bytes(os.urandom(length))
        client.put(path, bucket, f"folder/{name}")
        client.get(bucket, f"folder/{name}", back)
        assert back.read_bytes() == path.read_bytes()
    assert set(client.keys(bucket)) == {"folder/empty", "folder/small", "folder/large"}
    client.delete(bucket, "folder/empty")
    assert set(client.keys(bucket)) == {"folder/small", "folder/large"}


def test_the_framing_is_that_of_tls(front, bucket):
    """If boto3 sent over TLS what it sends without, this file would test nothing."""
    s3 = weir.boto3_client(front)
    s3.put_object(Bucket=bucket, Key="k", Body=b"x" * 100_000)
    expected = ("STREAMING-UNSIGNED-PAYLOAD-TRAILER", "x-amz-checksum-crc32") if Boto3.label == "boto3" else ("UNSIGNED-PAYLOAD", "-")
    assert front.framings(bucket) == {expected}


def test_a_framing_that_was_signed_and_then_changed(server, bucket, s3):
    """boto3 of 2024 signs `Transfer-Encoding: chunked`, and nginx sends on with a length what it has read to the end. Which of
    both it does is up to the moment, so here it is done by hand."""
    raw = test_listing.Raw(server)
    path, body = f"/{bucket}/k", b"5\r\nhello\r\n0\r\nx-amz-checksum-crc32:NhCmhg==\r\n\r\n"
    request = AWSRequest("PUT", server.endpoint + path)
    request.headers["transfer-encoding"] = "chunked"
    request.headers["content-encoding"] = "aws-chunked"
    request.headers["x-amz-decoded-content-length"] = "5"
    request.headers["x-amz-trailer"] = "x-amz-checksum-crc32"
    SigningAll(Credentials(weir.ACCESS_KEY, weir.SECRET_KEY), "s3", weir.REGION).add_auth(request)
    assert "transfer-encoding" in request.headers["Authorization"]
    headers = dict(request.headers.items())
    del headers["transfer-encoding"]
    raw.connection.request("PUT", path, body=body, headers=headers | {"content-length": str(len(body))})
    answer = raw.connection.getresponse()
    assert (answer.status, answer.read()) == (200, b"")
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"hello"


@pytest.mark.skipif(Boto3.label == "boto3 of 2023", reason="the algorithms came later")
@pytest.mark.parametrize("transport", ["HTTP", "HTTPS"])
@pytest.mark.parametrize("algorithm", ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"])
def test_checksums_in_headers_and_trailers(server, front, bucket, transport, algorithm):
    if algorithm in ("CRC32C", "CRC64NVME"):
        pytest.importorskip("awscrt", reason="boto3 computes it with awscrt")
    s3 = weir.boto3_client(front if transport == "HTTPS" else server)
    for length in 0, 1, 70_000, 3_000_000:
        body = os.urandom(length)
        put = s3.put_object(Bucket=bucket, Key="k", Body=body, ChecksumAlgorithm=algorithm)
        got = s3.get_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
        assert got["Body"].read() == body  # boto3 compares it with the checksum
        assert got[f"Checksum{algorithm}"] == put[f"Checksum{algorithm}"]
    upload = s3.create_multipart_upload(Bucket=bucket, Key="parts", ChecksumAlgorithm=algorithm)["UploadId"]
    bodies = [os.urandom(5 * 1024 * 1024), os.urandom(1000)]
    parts = []
    for number, body in enumerate(bodies, 1):
        arguments = {"Bucket": bucket, "Key": "parts", "UploadId": upload, "PartNumber": number, "Body": body}
        part = s3.upload_part(ChecksumAlgorithm=algorithm, **arguments)
        parts.append({"PartNumber": number, "ETag": part["ETag"], f"Checksum{algorithm}": part[f"Checksum{algorithm}"]})
    s3.complete_multipart_upload(Bucket=bucket, Key="parts", UploadId=upload, MultipartUpload={"Parts": parts})
    assert s3.get_object(Bucket=bucket, Key="parts", ChecksumMode="ENABLED")["Body"].read() == b"".join(bodies)
    if transport == "HTTPS":
        trailers = {trailer for _, trailer in front.framings(bucket)}
        assert trailers == {f"x-amz-checksum-{algorithm.lower()}"}
