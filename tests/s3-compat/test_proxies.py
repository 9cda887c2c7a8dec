"""The recipes of docs/proxies.md, run as they stand there, and what a trusted proxy's word does."""

import hashlib
import http.client
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import time
import urllib.parse
from pathlib import Path

import boto3
import botocore.config
import botocore.exceptions
import pytest
from boto3.s3.transfer import TransferConfig

import raw
import weir
from sigv4 import Signed
from test_audit import eventually

PAGE = (Path(__file__).parent / "../../docs/proxies.md").read_text()
# What the client of the proxy is: another address than the proxy's own.
CLIENT = "127.0.0.9"


def recipe(language):
    found = re.findall(rf"```{language}\n(.*?)```", PAGE, re.S)
    assert len(found) == 1
    return found[0]


def changed(text, *changes):
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    return text


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def program(name):
    path = shutil.which(name, path="/usr/sbin:/usr/bin:/sbin")
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path


class Front:
    """A proxy by its recipe, and its certificate."""

    def __init__(self, name, server, folder):
        self.port, self.certificate = free_port(), folder / "front.crt"
        key, pem = folder / "front.key", folder / "front.pem"
        subprocess.run(
            [program("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext",
             "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", str(key), "-out", str(self.certificate)],
            check=True, capture_output=True,
        )
        pem.write_bytes(self.certificate.read_bytes() + key.read_bytes())
        config = folder / f"{name}.conf"
        if name == "nginx":
            text = changed(
                recipe(name), ("listen 443", f"listen 127.0.0.1:{self.port}"), ("127.0.0.1:9000", f"127.0.0.1:{server.port}"),
                ("/etc/nginx/s3.example.com.crt", str(self.certificate)), ("/etc/nginx/s3.example.com.key", str(key)),
            )
            paths = "".join(f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
            frame = f"daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log; events {{}} "
            config.write_text(frame + "http { access_log off; " + paths + text + "}")
            command = [program(name), "-c", str(config), "-p", str(folder), "-e", str(folder / "error.log")]
        else:
            config.write_text(changed(
                recipe(name), ("bind :443", f"bind 127.0.0.1:{self.port}"), ("127.0.0.1:9000", f"127.0.0.1:{server.port}"),
                ("/etc/haproxy/s3.example.com.pem", str(pem)),
            ))
            command = [program(name), "-db", "-f", str(config)]
        errors = (folder / "stderr").open("w")
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors)
        until = time.monotonic() + 10
        while self.status() != 200:
            assert time.monotonic() < until and self.process.poll() is None, (folder / "stderr").read_text()
            time.sleep(0.1)

    def status(self):
        try:
            return self.ask("GET", "/-/ready")[0]
        except OSError:
            return None

    def ask(self, method, target, headers={}):
        """One request of the client at its own address."""
        context = ssl.create_default_context(cafile=str(self.certificate))
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=20, context=context, source_address=(CLIENT, 0))
        try:
            connection.request(method, target, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    @property
    def endpoint(self):
        return f"https://127.0.0.1:{self.port}"

    def client(self):
        config = botocore.config.Config(signature_version="s3v4", retries={"max_attempts": 1}, s3={"addressing_style": "path"})
        return boto3.client(
            "s3", endpoint_url=self.endpoint, region_name=weir.REGION, aws_access_key_id=weir.ACCESS_KEY,
            aws_secret_access_key=weir.SECRET_KEY, verify=str(self.certificate), config=config,
        )

    def stop(self):
        self.process.terminate()
        self.process.wait(10)


class Setting:
    def __init__(self, folder):
        self.log = folder / "audit.log"
        flags = ["--trusted-proxy", "127.0.0.1", "--audit-log", str(self.log), "--audit-reads", "all", "--allow-public-access"]
        self.server = weir.Server(folder / "data", flags=flags).start()
        self.s3 = weir.boto3_client(self.server)
        self.s3.create_bucket(Bucket="bucket")


@pytest.fixture(scope="module")
def setting(tmp_path_factory):
    made = Setting(tmp_path_factory.mktemp("setting"))
    yield made
    assert made.server.stop() == 0


@pytest.fixture(scope="module", params=["nginx", "haproxy"])
def front(request, setting, tmp_path_factory):
    proxy = Front(request.param, setting.server, tmp_path_factory.mktemp(request.param))
    proxy.setting = setting
    yield proxy
    proxy.stop()


def test_boto3_does_its_day_through_the_recipe(front, tmp_path):
    s3 = front.client()
    s3.put_object(Bucket="bucket", Key="a//b/../ü %2F+", Body=b"small", Metadata={"under_score": "1", "dot.ted": "2"})
    got = s3.get_object(Bucket="bucket", Key="a//b/../ü %2F+")
    assert (got["Body"].read(), got["Metadata"]) == (b"small", {"under_score": "1", "dot.ted": "2"})
    # More than a proxy takes by default, and than it would keep in memory.
    large = tmp_path / "large"
    large.write_bytes(os.urandom(1 << 20) * 20)
    multipart = TransferConfig(multipart_threshold=8 << 20, multipart_chunksize=8 << 20, max_concurrency=4)
    s3.upload_file(str(large), "bucket", "large", Config=multipart)
    assert s3.head_object(Bucket="bucket", Key="large")["ETag"].endswith('-3"')
    whole = s3.get_object(Bucket="bucket", Key="large")["Body"].read()
    assert hashlib.sha256(whole).digest() == hashlib.sha256(large.read_bytes()).digest()
    url = urllib.parse.urlsplit(s3.generate_presigned_url("get_object", {"Bucket": "bucket", "Key": "a//b/../ü %2F+"}))
    assert front.ask("GET", f"{url.path}?{url.query}") == (200, b"small")
    assert {entry["Key"] for entry in s3.list_objects_v2(Bucket="bucket")["Contents"]} >= {"a//b/../ü %2F+", "large"}
    with pytest.raises(botocore.exceptions.ClientError) as refused:
        s3.get_object(Bucket="bucket", Key="missing")
    assert refused.value.response["Error"]["Code"] == "NoSuchKey"


def test_the_aws_command_line_copies_through_the_recipe(front, tmp_path, require):
    aws = require("aws")
    source, back = tmp_path / "source", tmp_path / "back"
    source.write_bytes(os.urandom(9 << 20))
    environment = weir.client_environment(front.setting.server, tmp_path) | {"AWS_CA_BUNDLE": str(front.certificate)}
    for arguments in (["cp", str(source), "s3://bucket/by-aws"], ["cp", "s3://bucket/by-aws", str(back)]):
        weir.run([aws, "--endpoint-url", front.endpoint, "s3", *arguments], env=environment)
    assert back.read_bytes() == source.read_bytes()


def test_curl_over_http_2_through_the_recipe(front, tmp_path, require):
    curl = require("curl")
    answer = weir.run(
        [curl, "-sS", "--http2", "--cacert", str(front.certificate), "--aws-sigv4", f"aws:amz:{weir.REGION}:s3", "--user",
         f"{weir.ACCESS_KEY}:{weir.SECRET_KEY}", "-H", "x-amz-content-sha256: UNSIGNED-PAYLOAD", "-T", __file__, "-w", "%{http_version} %{http_code}", f"{front.endpoint}/bucket/by-curl"],
        env=weir.clean_environment(),
    )
    assert answer.stdout.strip().endswith("2 200")
    assert front.setting.s3.get_object(Bucket="bucket", Key="by-curl")["Body"].read() == Path(__file__).read_bytes()


def presigned(setting, front, key):
    url = urllib.parse.urlsplit(front.client().generate_presigned_url("get_object", {"Bucket": "bucket", "Key": key}))
    return f"{url.path}?{url.query}"


def test_the_clients_address_is_in_the_audit_log(front):
    setting = front.setting
    key = f"seen-{front.port}"
    setting.s3.put_object(Bucket="bucket", Key=key, Body=b"x")
    # What the client writes itself is no matter, in either header.
    spoofed = {"X-Forwarded-For": "6.6.6.6", "Forwarded": "for=6.6.6.6;proto=http", "X-Forwarded-Proto": "http"}
    for headers in ({}, spoofed):
        assert front.ask("GET", presigned(setting, front, key), headers) == (200, b"x")
    for line in eventually(setting.log, count=2, operation="GetObject", resource=f"arn:aws:s3:::bucket/{key}"):
        assert line["source_ip"] == CLIENT, line


def test_policies_know_the_clients_address_and_its_encryption(front):
    setting, key = front.setting, f"policy-{front.port}"
    setting.s3.put_object(Bucket="bucket", Key=key, Body=b"x")
    setting.s3.delete_public_access_block(Bucket="bucket")
    condition = {"IpAddress": {"aws:SourceIp": f"{CLIENT}/32"}, "Bool": {"aws:SecureTransport": "true"}}
    statement = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::bucket/{key}", "Condition": condition}
    setting.s3.put_bucket_policy(Bucket="bucket", Policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]}))
    assert front.ask("GET", f"/bucket/{key}") == (200, b"x")
    # Straight, from an address that is not trusted, the same words are only words.
    claims = ["x-forwarded-for: 127.0.0.9", "x-forwarded-proto: https", "forwarded: for=127.0.0.9;proto=https"]
    for source, lines, status in [
        ("127.0.0.1", claims, 200),
        ("127.0.0.1", claims[:1], 403),
        ("127.0.0.1", [], 403),
        ("127.0.0.9", claims, 403),
        ("127.0.0.8", claims, 403),
        ("127.0.0.1", ["x-forwarded-for: 127.0.0.8", *claims[1:2]], 403),
        ("127.0.0.1", ["x-forwarded-for: 127.0.0.8", *claims[1:]], 400),
        ("127.0.0.1", ["x-forwarded-for: unknown"], 400),
        ("127.0.0.1", [*claims[:2], "x-forwarded-proto: http"], 400),
        ("127.0.0.8", ["x-forwarded-for: unknown"], 403),
    ]:
        assert straight(setting.server, source, f"/bucket/{key}", lines) == status, (source, lines)
    setting.s3.delete_bucket_policy(Bucket="bucket")


def straight(server, source, target, lines):
    with socket.create_connection(("127.0.0.1", server.port), timeout=20, source_address=(source, 0)) as connection:
        head = "\r\n".join([f"GET {target} HTTP/1.1", f"host: 127.0.0.1:{server.port}", "connection: close", *lines, "", ""])
        connection.sendall(head.encode())
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    return int(answer.split(b" ")[1])


def test_nobody_is_trusted_unless_told(server, s3, bucket):
    """The shared server has no trusted proxy: what claims to be one has no effect, not even a refusal."""
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    for name, value in [("x-forwarded-for", "unknown"), ("forwarded", 'for="'), ("x-forwarded-proto", "gopher")]:
        get = Signed(server, "GET", f"/{bucket}/k", unsigned={name: value})
        assert raw.ask(server, get.bytes()).status == 200


@pytest.mark.parametrize("value", ["0.0.0.0/0", "proxy.example", "10.0.0.0/33"])
def test_a_list_of_proxies_is_checked_at_the_start(tmp_path, value):
    done = subprocess.run([weir.binary(), "serve", "--data", str(tmp_path), "--trusted-proxy", value], capture_output=True, timeout=30)
    assert done.returncode == 2 and b"--trusted-proxy" in done.stderr
