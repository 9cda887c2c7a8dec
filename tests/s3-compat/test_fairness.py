"""More connections buy no more turns: fair queueing on the real server, and what the limit says of itself."""

import hashlib
import json
import selectors
import socket
import time
import urllib.parse
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

import accounts
import raw
import weir

CONNECTIONS = 1, 10, 100
WARM_UP_S, MEASURED_S = 1.0, 4.0
BODY = bytes(96 * 1024)  # more than the log takes: a file with its own sync, so that the disk is what is slow


def jain(rates):
    return sum(rates) ** 2 / (len(rates) * sum(rate * rate for rate in rates))


def signed(server, client, method, path, body=b"", base=None):
    """The bytes of a request, and as it can be sent again for a quarter of an hour."""
    endpoint = base or server.endpoint
    payload = hashlib.sha256(body).hexdigest() if base else "UNSIGNED-PAYLOAD"
    request = AWSRequest(method, endpoint + path, data=body, headers={"x-amz-content-sha256": payload})
    keys = client._request_signer._credentials.get_frozen_credentials()
    SigV4Auth(Credentials(keys.access_key, keys.secret_key), "s3", weir.REGION).add_auth(request)
    return request


def on_the_wire(request, body):
    parts = urllib.parse.urlsplit(request.url)
    lines = [f"{request.method} {parts.path} HTTP/1.1", f"Host: {parts.netloc}", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in request.headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


class Connection:
    """Sends one request again and again, and waits as long as it is told to."""

    def __init__(self, load, identity, request):
        self.load, self.identity, self.request = load, identity, request
        self.again_at = 0.0
        self.open()

    def open(self):
        self.socket = socket.create_connection(("127.0.0.1", self.load.port), timeout=30)
        self.load.selector.register(self.socket, selectors.EVENT_READ, self)
        self.received = b""

    def close(self):
        self.load.selector.unregister(self.socket)
        self.socket.close()
        self.socket = None

    def send(self):
        if self.socket is None:
            self.open()
        self.socket.sendall(self.request)

    def readable(self):
        chunk = self.socket.recv(65536)
        if not chunk:
            # Behind a refusal whose body it does not want to read.
            assert self.again_at > 0, "the server closed a connection"
            self.close()
            return
        self.received += chunk
        head, found, rest = self.received.partition(b"\r\n\r\n")
        if not found:
            return
        status, *lines = head.decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines)
        if len(rest) < int(headers.get("content-length", 0)):
            return
        self.received = b""
        code = int(status.split(" ")[1])
        if code == 200:
            self.load.done(self.identity)
            self.send()
        else:
            assert code == 503 and b"<Code>SlowDown</Code>" in rest, (head, rest)
            assert int(headers["retry-after"]) >= 1
            pause_ms = int(headers["x-amz-retry-after"])
            assert 500 <= pause_ms <= 5000
            self.load.refused.append(headers["x-weir-limit"])
            self.again_at = time.monotonic() + pause_ms / 1000


class Load:
    """Clients with 1, 10 and 100 connections, in one loop."""

    def __init__(self, server, clients, bucket):
        self.port = server.port
        self.counts = [0] * len(clients)
        self.refused = []
        self.measures = False
        self.selector = selectors.DefaultSelector()
        self.connections = []
        for identity, (client, count) in enumerate(zip(clients, CONNECTIONS)):
            for number in range(count):
                request = signed(server, client, "PUT", f"/{bucket}/{identity}/{number}", BODY)
                connection = Connection(self, identity, on_the_wire(request, BODY))
                self.connections.append(connection)

    def done(self, identity):
        if self.measures:
            self.counts[identity] += 1

    def run(self):
        for connection in self.connections:
            connection.send()
        begun = time.monotonic()
        while (now := time.monotonic()) < begun + WARM_UP_S + MEASURED_S:
            self.measures = now >= begun + WARM_UP_S
            for key, _ in self.selector.select(timeout=0.02):
                key.data.readable()
            for connection in self.connections:
                if 0 < connection.again_at <= now:
                    connection.again_at = 0.0
                    connection.send()
        for connection in self.connections:
            if connection.socket is not None:
                connection.close()
        return [count / MEASURED_S for count in self.counts]


def status(server, client):
    """The one target's, from the admin API."""
    request = signed(server, client, "GET", "/api/v1/concurrency", base=server.admin_endpoint)
    sent = urllib.request.Request(request.url, headers=dict(request.headers.items()))
    with urllib.request.urlopen(sent, timeout=10) as answer:
        return json.load(answer)["targets"]


def measured(server):
    admin = weir.boto3_client(server)
    bucket = "shared"
    admin.create_bucket(Bucket=bucket)
    clients = []
    for name in "ann", "bob", "cid":
        clients.append(accounts.account(server, name))
    admin.put_public_access_block(
        Bucket=bucket,
        PublicAccessBlockConfiguration={
            "BlockPublicAcls": False, "IgnorePublicAcls": False, "BlockPublicPolicy": False, "RestrictPublicBuckets": False
        },
    )
    policy = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": "*", "Action": "s3:PutObject", "Resource": f"arn:aws:s3:::{bucket}/*"}],
    }
    admin.put_bucket_policy(Bucket=bucket, Policy=json.dumps(policy))
    load = Load(server, clients, bucket)
    rates = load.run()
    return rates, load, admin


@pytest.fixture
def limited(tmp_path):
    def start(*flags):
        server = weir.Server(tmp_path / f"data{len(running)}", flags=flags).start()
        running.append(server)
        return server

    running = []
    yield start
    for server in running:
        if server.process is not None:
            server.kill()


def test_connections_do_not_buy_turns(limited, capsys):
    fair, load, admin = measured(server := limited("--concurrency-max", "1"))
    of_the_server = status(server, admin)[0]
    unlimited, _, other = measured(without := limited("--concurrency-max", "0"))
    with capsys.disabled():
        for name, rates in ("one place", fair), ("no limit", unlimited):
            shown = ", ".join(f"{rate:.0f}" for rate in rates)
            print(f"\n{name}: {shown} requests/s with 1, 10 and 100 connections, Jain index {jain(rates):.3f}", end="")
    assert jain(fair) > 0.95
    assert jain(unlimited) < 0.7, "the comparison is worth nothing"
    # The line has room for all of them: at most, on a slow machine, one has waited for too long.
    assert set(load.refused) <= {"concurrency"}
    assert (of_the_server["limit"], of_the_server["ceiling"]) == (1, 1)
    assert of_the_server["refused"]["identity_full"] == of_the_server["refused"]["queue_full"] == 0
    assert of_the_server["started_after_wait"]["data"] > 100
    # Everyone has gone, with a request in the line or at work.
    until = time.monotonic() + 10
    while True:
        now = status(server, admin)[0]
        if now["in_flight"] == 0 and not any(now["queued"].values()):
            break
        assert time.monotonic() < until, now
        time.sleep(0.1)
    with urllib.request.urlopen(server.admin_endpoint + "/metrics", timeout=10) as answer:
        page = answer.read().decode()
    for line in (
        'weir_concurrency_limit{target="here"} 1',
        'weir_concurrency_inflight{target="here"} 0',
        'weir_queue_depth{class="data"} 0',
        "weir_queue_wait_seconds_count",
        'weir_queue_refused_total{reason="identity_full"}',
    ):
        assert line in page
    assert status(without, other) == []


def test_an_sdk_does_not_notice_a_short_line(limited):
    server = limited("--concurrency-max", "1")
    s3 = weir.boto3_client(server, max_pool_connections=48, retries={"mode": "standard", "total_max_attempts": 10})
    s3.create_bucket(Bucket="many")
    with ThreadPoolExecutor(48) as pool:
        list(pool.map(lambda number: s3.put_object(Bucket="many", Key=f"{number:03}", Body=b"x"), range(200)))
        bodies = list(pool.map(lambda number: s3.get_object(Bucket="many", Key=f"{number:03}")["Body"].read(), range(200)))
    assert bodies == [b"x"] * 200
    assert s3.list_objects_v2(Bucket="many")["KeyCount"] == 200


def test_slow_readers_keep_nobody_out(limited):
    server = limited("--concurrency-max", "2")
    s3 = weir.boto3_client(server, retries={"total_max_attempts": 1})
    s3.create_bucket(Bucket="slow")
    s3.put_object(Bucket="slow", Key="large", Body=bytes(32 * 1024 * 1024))
    request = on_the_wire(signed(server, s3, "GET", "/slow/large"), b"")
    readers = []
    for _ in range(6):
        reader = socket.create_connection(("127.0.0.1", server.port), timeout=30)
        reader.sendall(request)
        assert reader.recv(12) == b"HTTP/1.1 200"  # and no more of it
        readers.append(reader)
    begun = time.monotonic()
    assert s3.head_object(Bucket="slow", Key="large")["ContentLength"] == 32 * 1024 * 1024
    assert time.monotonic() - begun < 2
    time.sleep(1.5)
    assert status(server, s3)[0]["in_flight"] == 0, "their places are others' now"
    # And they go on where they were.
    received = 12
    while received < 32 * 1024 * 1024:
        received += len(readers[0].recv(1 << 20))
    for reader in readers:
        reader.close()


def test_who_withholds_a_refused_body_holds_no_place(limited):
    """The answer is there at once, and what is still awaited then is the client's."""
    server = limited("--concurrency-max", "4")
    s3 = weir.boto3_client(server)
    s3.create_bucket(Bucket="places")
    s3.put_object(Bucket="places", Key="k", Body=b"1")
    head = b"PUT /places/k HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000\r\n\r\n"
    for _ in range(5):
        withheld = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(16)]
        for connection in withheld:
            connection.sendall(head)
        began = time.monotonic()
        assert s3.get_object(Bucket="places", Key="k")["Body"].read() == b"1"
        took = time.monotonic() - began
        for connection in withheld:
            connection.close()
        assert took < 1, took


def test_a_page_that_is_missing_waits_for_no_second_place(limited):
    server = limited("--concurrency-max", "1", "--domain", "s3.test", "--allow-public-access")
    s3 = weir.boto3_client(server)
    s3.create_bucket(Bucket="site")
    site = {"IndexDocument": {"Suffix": "index.html"}, "ErrorDocument": {"Key": "error.html"}}
    s3.put_bucket_website(Bucket="site", WebsiteConfiguration=site)
    s3.put_object(Bucket="site", Key="error.html", Body=b"oh")
    said = {"Effect": "Allow", "Principal": "*", "Action": ["s3:GetObject", "s3:ListBucket"], "Resource": ["arn:aws:s3:::site", "arn:aws:s3:::site/*"]}
    s3.put_bucket_policy(Bucket="site", Policy=json.dumps({"Version": "2012-10-17", "Statement": [said]}))
    for path in ("/gone", "/gone/"):
        began = time.monotonic()
        page = raw.ask(server, f"GET {path} HTTP/1.1\r\nhost: site.s3-website.s3.test\r\n\r\n".encode())
        assert (page.status, page.body) == (404, b"oh")
        assert time.monotonic() - began < 1
