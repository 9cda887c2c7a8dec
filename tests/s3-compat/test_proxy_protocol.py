"""The recipe of docs/proxies.md for a proxy of TCP, and what may stand at the beginning of its connections."""

import hashlib
import http.client
import json
import os
import re
import socket
import ssl
import struct
import subprocess
import time
import urllib.parse
import urllib.request

import boto3
import botocore.config
import pytest
from boto3.s3.transfer import TransferConfig

import weir
from test_audit import eventually
from test_proxies import CLIENT, changed, free_port, program, recipe
from test_tls import TlsServer

# What the proxy connects from; the recipe has it.
PROXY = "127.0.0.2"
OTHER = "127.0.0.8"

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


def version_1(client):
    return f"PROXY TCP4 {client} 127.0.0.1 40000 443\r\n".encode()


def version_2(client, fields=b"", command=0x21):
    addresses = socket.inet_aton(client) + socket.inet_aton("127.0.0.1") + struct.pack(">HH", 40000, 443)
    return SIGNATURE + struct.pack(">BBH", command, 0x11, len(addresses) + len(fields)) + addresses + fields


def told_tls(flags):
    return struct.pack(">BHBI", 0x20, 5, flags, 0)


@pytest.fixture(scope="module")
def tls(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    (folder / "tls").mkdir()
    server = TlsServer(folder / "data", flags=["--proxy-protocol", PROXY, "--audit-log", str(folder / "audit.log"), "--audit-reads", "all"])
    server.audit = folder / "audit.log"
    server.start()
    client(server, server.port).create_bucket(Bucket="bucket")
    yield server
    assert server.stop() == 0


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """In the clear, for the bytes themselves."""
    folder = tmp_path_factory.mktemp("plain")
    server = weir.Server(folder / "data", flags=["--proxy-protocol", PROXY, "--audit-log", str(folder / "audit.log"), "--audit-reads", "all"])
    server.audit = folder / "audit.log"
    server.start()
    weir.boto3_client(server).create_bucket(Bucket="bucket")
    yield server
    assert server.stop() == 0


@pytest.fixture(scope="module", params=["send-proxy-v2", "send-proxy"])
def front(request, tls, tmp_path_factory):
    """HAProxy by the recipe; Weir ends TLS."""
    folder, port = tmp_path_factory.mktemp("haproxy"), free_port()
    config = folder / "haproxy.conf"
    config.write_text(changed(
        recipe("haproxy-tcp"), ("bind :443", f"bind 127.0.0.1:{port}"), ("127.0.0.1:9443", f"127.0.0.1:{tls.port}"),
        ("send-proxy-v2", request.param),
    ))
    errors = (folder / "stderr").open("w")
    process = subprocess.Popen([program("haproxy"), "-db", "-f", str(config)], stdin=subprocess.DEVNULL, stdout=errors, stderr=errors)
    until = time.monotonic() + 10
    while True:
        try:
            tls.peer(None, port=port)
            break
        except OSError:
            assert time.monotonic() < until and process.poll() is None, (folder / "stderr").read_text()
            time.sleep(0.1)
    yield port
    process.terminate()
    process.wait(10)


def client(server, port):
    config = botocore.config.Config(signature_version="s3v4", retries={"max_attempts": 1}, s3={"addressing_style": "path"})
    return boto3.client(
        "s3", endpoint_url=f"https://127.0.0.1:{port}", region_name=weir.REGION, aws_access_key_id=weir.ACCESS_KEY,
        aws_secret_access_key=weir.SECRET_KEY, verify=str(server.certificate), config=config,
    )


def test_boto3_works_through_the_recipe_and_weir_sees_its_client(tls, front, tmp_path):
    s3, key = client(tls, front), f"large-{front}"
    large = tmp_path / "large"
    large.write_bytes(os.urandom(20 << 20))
    s3.upload_file(str(large), "bucket", key, Config=TransferConfig(multipart_threshold=8 << 20, multipart_chunksize=8 << 20))
    assert hashlib.sha256(s3.get_object(Bucket="bucket", Key=key)["Body"].read()).digest() == hashlib.sha256(large.read_bytes()).digest()
    small = f"small-{front}"
    s3.put_object(Bucket="bucket", Key=small, Body=b"x")
    url = urllib.parse.urlsplit(s3.generate_presigned_url("get_object", {"Bucket": "bucket", "Key": small}))
    context = ssl.create_default_context(cafile=str(tls.certificate))
    connection = http.client.HTTPSConnection("127.0.0.1", front, timeout=20, context=context, source_address=(CLIENT, 0))
    connection.request("GET", f"{url.path}?{url.query}", headers={"X-Forwarded-For": "6.6.6.6"})
    assert connection.getresponse().read() == b"x"
    connection.close()
    [line] = eventually(tls.audit, operation="GetObject", resource=f"arn:aws:s3:::bucket/{small}")
    assert line["source_ip"] == CLIENT, "and not what the client says of itself"


def exchange(server, source, begins, target="/bucket/k", after=None):
    """The status of an answer, or None where the connection was closed without one. `begins`: in pieces if it is a list; `after`: what is
    sent behind it in place of a request for `target`."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=20, source_address=(source, 0)) as connection:
        head = f"GET {target} HTTP/1.1\r\nhost: 127.0.0.1:{server.port}\r\nconnection: close\r\n\r\n".encode() if after is None else after
        answer = b""
        try:
            for piece in begins if isinstance(begins, list) else [begins + head]:
                connection.sendall(piece)
                time.sleep(0.02 if isinstance(begins, list) else 0)
            if isinstance(begins, list):
                connection.sendall(head)
            while piece := connection.recv(65536):
                answer += piece
        except (ConnectionResetError, BrokenPipeError):
            pass
    return int(answer.split(b" ")[1]) if answer else None


def addresses_of(server, key, count):
    return [line["source_ip"] for line in eventually(server.audit, count=count, resource=f"arn:aws:s3:::bucket/{key}")]


def refused(server):
    with urllib.request.urlopen(f"{server.admin_endpoint}/metrics", timeout=10) as answer:
        return int(re.search(r"^weir_proxy_protocol_refused_total (\d+)$", answer.read().decode(), re.M)[1])


def test_the_header_names_the_client_in_both_versions_and_in_pieces(plain):
    whole = version_2(CLIENT, told_tls(0))
    for number, (begins, expected) in enumerate([
        (version_1(CLIENT), CLIENT),
        (version_2(CLIENT), CLIENT),
        ([bytes([byte]) for byte in version_1(CLIENT)], CLIENT),
        ([whole[:5], whole[5:20], whole[20:]], CLIENT),
        (b"PROXY TCP6 2001:db8::7 ::1 1 2\r\n", "2001:db8::7"),
        (b"PROXY UNKNOWN\r\n", PROXY),
        (version_2(CLIENT, command=0x20), PROXY),
    ]):
        assert exchange(plain, PROXY, begins, f"/bucket/seen-{number}") == 403
        assert addresses_of(plain, f"seen-{number}", 1) == [expected], begins


def test_what_begins_otherwise_is_closed_and_counted(plain):
    before = refused(plain)
    wrong = [
        b"", version_1("300.1.1.1"), version_1(CLIENT)[:-2], SIGNATURE + b"\x11\x11\0\0", SIGNATURE + b"\x21\x11\0\x04abcd",
        SIGNATURE + b"\x21\x11\xff\xff", b"PROXY " + b"a" * 200, b"\x16\x03\x01\x02\x00",
    ]
    for begins in wrong:
        assert exchange(plain, PROXY, begins) is None, begins
    assert refused(plain) - before == len(wrong)
    log = plain.log.read_text()
    assert len(re.findall("WARN.*PROXY header", log)) == 1, "once is enough"
    assert exchange(plain, PROXY, version_1(CLIENT)) == 403, "and the next one is served"


def test_nobody_else_may_say_it(plain):
    """To whom it is not told, a header is bytes that are no request."""
    for source in ("127.0.0.1", OTHER):
        assert exchange(plain, source, b"", "/bucket/straight") == 403
        for begins in (version_1(CLIENT), version_2(CLIENT)):
            assert exchange(plain, source, begins, "/bucket/spoofed") == 400
    assert set(addresses_of(plain, "straight", 2)) == {"127.0.0.1", OTHER}
    assert exchange(plain, OTHER, b"", "/bucket/last") == 403
    addresses_of(plain, "last", 1)
    lines = [json.loads(line) for line in plain.audit.read_text().splitlines()]
    first = next(number for number, line in enumerate(lines) if line.get("resource") == "arn:aws:s3:::bucket/straight")
    assert {line["source_ip"] for line in lines[first:]} == {"127.0.0.1", OTHER}


def test_who_is_named_may_be_a_proxy_of_http_and_who_is_not_named_is_nobody(tmp_path):
    """The proxy of TCP is in both lists, and so is one of HTTP that it names."""
    lists = ["--proxy-protocol", PROXY, "--trusted-proxy", PROXY, "--trusted-proxy", OTHER]
    server = weir.Server(tmp_path / "data", flags=[*lists, "--audit-log", str(tmp_path / "audit.log"), "--audit-reads", "all"]).start()
    server.audit = tmp_path / "audit.log"
    weir.boto3_client(server).create_bucket(Bucket="bucket")
    claims = f"HTTP/1.1\r\nx-forwarded-for: {CLIENT}\r\n".encode()
    for number, (begins, expected) in enumerate([
        (version_1(OTHER), CLIENT), (version_1("127.0.0.7"), "127.0.0.7"), (b"PROXY UNKNOWN\r\n", PROXY), (version_2(OTHER, command=0x20), PROXY),
    ]):
        get = f"GET /bucket/claims-{number} ".encode() + claims + f"host: 127.0.0.1:{server.port}\r\nconnection: close\r\n\r\n".encode()
        assert exchange(server, PROXY, [begins, get], after=b"") == 403
        assert addresses_of(server, f"claims-{number}", 1) == [expected], begins
    assert server.stop() == 0


def opened(server, begins):
    """A connection of the proxy that has been answered once and stays, or None."""
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=20, source_address=(PROXY, 0))
    try:
        connection.sendall(begins + b"GET /-/live HTTP/1.1\r\nhost: x\r\n\r\n")
        if connection.recv(65536).startswith(b"HTTP/1.1 200"):
            return connection
    except (ConnectionResetError, BrokenPipeError):
        pass
    connection.close()
    return None


def test_connections_are_counted_for_the_client_that_is_named(tmp_path, monkeypatch):
    few = tmp_path / "few"
    few.write_text(f'#!/bin/sh\nexec prlimit --nofile=400:400 {weir.binary()} "$@"\n')
    few.chmod(0o755)
    monkeypatch.setenv("WEIR_BINARY", str(few))
    server = weir.Server(tmp_path / "data", flags=["--proxy-protocol", PROXY]).start()
    until = time.monotonic() + 10
    while not (told := re.search(r"connections_max=(\d+)", server.log.read_text())):
        assert time.monotonic() < until
    most = int(told[1]) // 2
    kept = [opened(server, version_1(CLIENT)) for _ in range(most)]
    assert all(kept) and opened(server, version_1(CLIENT)) is None
    other = opened(server, version_2(OTHER))
    assert other, "the proxy has other clients"
    kept.pop().close()
    until = time.monotonic() + 10
    while not (again := opened(server, version_2(CLIENT))):
        assert time.monotonic() < until
    for connection in (*kept, other, again):
        connection.close()
    assert server.stop() == 0


def test_policies_know_the_address_and_what_the_proxy_says_of_tls(plain):
    s3 = weir.boto3_client(plain)
    s3.put_object(Bucket="bucket", Key="k", Body=b"x")
    s3.delete_public_access_block(Bucket="bucket")
    condition = {"IpAddress": {"aws:SourceIp": f"{CLIENT}/32"}, "Bool": {"aws:SecureTransport": "true"}}
    statement = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::bucket/k", "Condition": condition}
    s3.put_bucket_policy(Bucket="bucket", Policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]}))
    for begins, status in [
        (version_2(CLIENT, told_tls(1)), 200),
        (version_2(CLIENT, told_tls(0)), 403),
        (version_2(CLIENT), 403),
        (version_1(CLIENT), 403),
        (version_2(OTHER, told_tls(1)), 403),
    ]:
        assert exchange(plain, PROXY, begins) == status, begins


def test_limits_are_of_the_client_and_not_of_the_proxy(plain):
    weir.run([weir.binary(), "limits", "set", "slow", "--per", "address", "--cidr", "127.0.0.0/8", "--rate", "1", "--burst", "10"], env=plain.environment())
    try:
        until = time.monotonic() + 10
        # The rule is in force a moment later.
        while 503 not in [exchange(plain, PROXY, version_1(CLIENT)) for _ in range(15)]:
            assert time.monotonic() < until
        assert exchange(plain, PROXY, version_1(OTHER)) != 503
    finally:
        weir.run([weir.binary(), "limits", "remove", "slow"], env=plain.environment())


@pytest.mark.parametrize("value", ["0.0.0.0/0", "proxy.example"])
def test_a_list_of_proxies_is_checked_at_the_start(tmp_path, value):
    done = subprocess.run([weir.binary(), "serve", "--data", str(tmp_path), "--proxy-protocol", value], capture_output=True, timeout=30)
    assert done.returncode == 2 and b"--proxy-protocol" in done.stderr
