"""TLS of Weir itself: certificates that are swapped under load in every way that files change, names, protocols, client
certificates, and what the command line says. openssl and Python's ssl are the witnesses.

WEIR_TLS_LONG=1 swaps fifty times under two hundred connections, and waits for what is reported only after ten seconds."""

import hashlib
import http.client
import http.server
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import threading
import time
import urllib.request

import boto3
import botocore.exceptions
import pytest

import weir

LONG = bool(os.environ.get("WEIR_TLS_LONG"))
CONNECTIONS = 200 if LONG else 24
SWAPS = 50 if LONG else 7
# The promise is two seconds from the last write.
SERVED_WITHIN_S = 2.0
NAME = "s3.weir.example"


class Authority:
    """An authority by openssl, which is not ours."""

    def __init__(self, home):
        self.home = home
        self.count = 0
        home.mkdir(parents=True, exist_ok=True)
        self.certificate, self.key = home / "ca.pem", home / "ca.key"
        openssl("req", "-x509", "-days", "30", "-nodes", "-keyout", self.key, "-out", self.certificate, *EC,
                "-subj", f"/CN=tests {home.name}", "-addext", "basicConstraints=critical,CA:TRUE",
                "-addext", "keyUsage=critical,keyCertSign,cRLSign")

    def issue(self, *names, client=False):
        """The bytes of a certificate and of its key."""
        self.count += 1
        request, certificate, key = (self.home / f"{self.count}{end}" for end in (".csr", ".crt", ".key"))
        alternatives = ",".join(("IP:" if name[0].isdigit() else "DNS:") + name for name in names)
        extensions = self.home / "extensions"
        purpose = "clientAuth" if client else "serverAuth"
        extensions.write_text(f"subjectAltName={alternatives}\nextendedKeyUsage={purpose}\nbasicConstraints=CA:FALSE\n")
        openssl("req", "-new", "-nodes", "-keyout", key, "-out", request, *EC, "-subj", f"/CN={names[0]}")
        openssl("x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey", self.key, "-CAcreateserial",
                "-extfile", extensions, "-out", certificate, "-days", "30")
        return certificate.read_bytes(), key.read_bytes()

    def expired(self, *names):
        return self.dated("20200101000000Z", "20200201000000Z", *names)

    def dated(self, begin, end, *names, client=False):
        """By openssl ca, as openssl x509 takes no dates."""
        _, key = self.issue(*names, client=client)
        home = self.home / "ca"
        home.mkdir(exist_ok=True)
        (home / "index").write_text("")
        (home / "serial").write_text("0FFF\n")
        (home / "config").write_text(
            f"[ca]\ndefault_ca=d\n[d]\ndatabase={home}/index\nserial={home}/serial\nnew_certs_dir={home}\n"
            f"default_md=sha256\npolicy=p\n[p]\ncommonName=supplied\n")
        openssl("ca", "-batch", "-config", home / "config", "-cert", self.certificate, "-keyfile", self.key, "-notext",
                "-in", self.home / f"{self.count}.csr", "-out", home / "expired.crt", "-extfile", self.home / "extensions",
                "-startdate", begin, "-enddate", end)
        return (home / "expired.crt").read_bytes(), key

    def revoke(self, certificate):
        home = self.home / "ca"
        home.mkdir(exist_ok=True)
        (home / "index").touch()
        (home / "crlnumber").write_text("01\n")
        (home / "config").write_text(
            f"[ca]\ndefault_ca=d\n[d]\ndatabase={home}/index\ncrlnumber={home}/crlnumber\ndefault_md=sha256\n"
            "default_crl_days=30\n")
        common = ["-config", home / "config", "-cert", self.certificate, "-keyfile", self.key]
        if certificate:
            (home / "revoked.crt").write_bytes(certificate)
            openssl("ca", *common, "-revoke", home / "revoked.crt")
        openssl("ca", *common, "-gencrl", "-out", home / "crl.pem")
        return (home / "crl.pem").read_bytes()


EC = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]


def openssl(*arguments, given=None):
    command = ["openssl", *map(str, arguments)]
    done = subprocess.run(command, input=given, capture_output=True, timeout=60)
    assert done.returncode == 0, (command, done.stderr.decode())
    return done.stdout


def serial_of(pem):
    return openssl("x509", "-noout", "-serial", given=pem).decode().strip().split("=")[1]


class TlsServer(weir.Server):
    """Both ports speak HTTPS with the authority of the appliance, or with `certificate`."""

    def __init__(self, data, certificate=None, flags=()):
        super().__init__(data, flags=["--tls-dir", str(data.parent / "tls"), *flags])
        self.tls = data.parent / "tls"
        self.certificate = certificate or self.data / "control/authority/ca.pem"
        self.scheme, self.logged = "https", 0

    @property
    def endpoint(self):
        return f"{self.scheme}://127.0.0.1:{self.port}"

    @property
    def admin_endpoint(self):
        return f"https://127.0.0.1:{self.admin_port}"

    def environment(self):
        return super().environment() | {"WEIR_CA_FILE": str(self.certificate)}

    def start(self):
        self.output, self.logged = b"", len(self.log.read_text()) if self.log.exists() else 0
        return super().start()

    def _wait_until_ready(self):
        until = time.monotonic() + weir.READY_WITHIN_S
        pattern = rb"weir is ready: S3 at (https?)://127\.0\.0\.1:(\d+)\n"
        os.set_blocking(self.process.stdout.fileno(), False)
        while not (found := re.search(pattern, self.output)):
            assert self.process.poll() is None and time.monotonic() < until, self.log.read_text()[-4000:]
            self.output += self.process.stdout.read() or b""
            time.sleep(0.02)
        self.scheme, self.port = found[1].decode(), int(found[2])
        self.admin_port = int(self.log_line(r"admin_address=127\.0\.0\.1:(\d+)")[1])

    def log_line(self, pattern, within=10):
        """The first match since the start."""
        until = time.monotonic() + within
        while True:
            found = re.search(pattern, self.log.read_text()[self.logged :])
            if found:
                return found
            assert time.monotonic() < until, f"{pattern} is not in the log"
            time.sleep(0.05)

    def context(self, protocols=None, trusted=True):
        context = ssl.create_default_context(cafile=self.certificate) if trusted else ssl._create_unverified_context()
        if protocols:
            context.set_alpn_protocols(protocols)
        return context

    def serial(self, name=None, context=None, port=None):
        """What Python's ssl gets in a new handshake that asks for this name."""
        return serial_of(ssl.DER_cert_to_PEM_cert(self.peer(name, context, port)[0]).encode())

    def peer(self, name=None, context=None, port=None):
        if context is None:
            context = ssl._create_unverified_context()
        with socket.create_connection(("127.0.0.1", port or self.port), timeout=10) as plain:
            with context.wrap_socket(plain, server_hostname=name) as stream:
                # In TLS 1.3 a client learns only by reading that its certificate was refused.
                stream.sendall(b"GET /-/live HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
                answer = b""
                while piece := stream.recv(4096):
                    answer += piece
                return stream.getpeercert(True), answer, stream.version(), stream.selected_alpn_protocol()

    def metrics(self):
        context = ssl._create_unverified_context()
        with urllib.request.urlopen(f"{self.admin_endpoint}/metrics", context=context, timeout=10) as answer:
            return answer.read().decode()

    def await_serial(self, serial, since):
        """A handshake that begins two seconds later shows the new certificate. Gives when the last one began that did not."""
        last = since
        while True:
            begun = time.monotonic()
            if self.serial(NAME) == serial:
                return last - since
            last = begun
            assert last - since < SERVED_WITHIN_S, f"after {last - since:.2f} s the old certificate was served"
            time.sleep(0.03)


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


def started(tmp_path, certificate=None, flags=(), pairs=None):
    server = TlsServer(tmp_path / "data", certificate, flags)
    server.tls.mkdir(exist_ok=True)
    for file, content in (pairs or {}).items():
        (server.tls / file).write_bytes(content)
    return server.start()


@pytest.fixture
def own(tmp_path):
    """An appliance with an authority of its own."""
    server = started(tmp_path)
    yield server
    if server.process:
        assert server.stop() == 0


def pair(name, content):
    return {f"{name}.crt": content[0], f"{name}.key": content[1]}


@pytest.fixture
def given(tmp_path, authority):
    """An appliance with a certificate of somebody else."""
    server = started(tmp_path, authority.certificate, pairs=pair("tls", authority.issue(NAME, "127.0.0.1", "localhost")))
    yield server
    if server.process:
        assert server.stop() == 0


def test_the_first_start_makes_an_authority(own, tmp_path):
    fingerprint = hashlib.sha256(ssl.PEM_cert_to_DER_cert(own.certificate.read_text())).hexdigest().upper()
    own.output += own.process.stdout.read() or b""
    assert fingerprint.encode() in own.output
    for file in ("ca-key.pem", "weir.key"):
        assert (own.certificate.parent / file).stat().st_mode & 0o777 == 0o600
    shown = openssl("x509", "-noout", "-text", "-in", own.certificate).decode()
    assert "CA:TRUE, pathlen:0" in shown and "prime256v1" in shown
    with urllib.request.urlopen(f"{own.endpoint}/-/ca.pem", context=own.context()) as answer:
        assert answer.read() == own.certificate.read_bytes()
    with urllib.request.urlopen(f"{own.endpoint}/-/info", context=own.context()) as answer:
        assert json.load(answer)["admin"] == own.admin_endpoint
    # The strictest check that Python has.
    context = own.context()
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    for name in ("localhost", "127.0.0.1", socket.gethostname()):
        assert b"200 OK" in own.peer(name, context)[1]
    before = own.serial()
    assert own.stop() == 0
    own.start()
    assert own.serial() == before, "the certificate stays over a restart"


def test_clients_of_s3(own, tmp_path, require):
    s3 = weir.boto3_client(own)
    s3.create_bucket(Bucket="demo")
    key = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": "k" * 32}
    s3.put_object(Bucket="demo", Key="sealed", Body=b"x" * 100_000, **key)
    assert s3.get_object(Bucket="demo", Key="sealed", **key)["Body"].read() == b"x" * 100_000
    with pytest.raises(botocore.exceptions.SSLError):
        boto3.client("s3", endpoint_url=own.endpoint, region_name=weir.REGION, aws_access_key_id=weir.ACCESS_KEY,
                     aws_secret_access_key=weir.SECRET_KEY).list_buckets()
    home = tmp_path / "home"
    home.mkdir()
    (home / "file").write_bytes(os.urandom(9_000_000))
    aws = [require("aws"), "--endpoint-url", own.endpoint, "s3", "cp"]
    weir.run([*aws, str(home / "file"), "s3://demo/file"], env=weir.client_environment(own, home))
    weir.run([*aws, "s3://demo/file", str(home / "back")], env=weir.client_environment(own, home))
    assert (home / "back").read_bytes() == (home / "file").read_bytes()
    for version in ("--http1.1", "--http2"):
        done = weir.run([require("curl"), "-sS", version, "--cacert", str(own.certificate), "-o", os.devnull, "-w",
                         "%{http_version} %{http_code}", f"{own.endpoint}/-/live"])
        assert done.stdout == {"--http1.1": "1.1 200", "--http2": "2 200"}[version]


def test_policies_know_how_a_request_came(own):
    s3 = weir.boto3_client(own)
    s3.create_bucket(Bucket="demo")
    s3.put_object(Bucket="demo", Key="k", Body=b"x")
    s3.delete_public_access_block(Bucket="demo")

    def answer(condition):
        statement = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::demo/*",
                     "Condition": condition}
        s3.put_bucket_policy(Bucket="demo", Policy=json.dumps({"Version": "2012-10-17", "Statement": statement}))
        connection = http.client.HTTPSConnection("127.0.0.1", own.port, context=own.context())
        connection.request("GET", "/demo/k")
        return connection.getresponse().status

    assert answer({"Bool": {"aws:SecureTransport": "true"}}) == 200
    assert answer({"Bool": {"aws:SecureTransport": "false"}}) == 403
    assert answer({"NumericGreaterThanEquals": {"s3:TlsVersion": "1.3"}}) == 200
    assert answer({"NumericLessThan": {"s3:TlsVersion": "1.3"}}) == 403


class Load:
    """Connections that get one object in a loop, and count what fails."""

    def __init__(self, server, path, length):
        self.server, self.path, self.length = server, path, length
        self.stopped, self.failed, self.requests, self.connections = threading.Event(), [], 0, 0
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self.run, args=(index,)) for index in range(CONNECTIONS)]
        for thread in self.threads:
            thread.start()

    def run(self, index):
        context, connection, requests, connections = self.server.context(), None, 0, 0
        while not self.stopped.is_set():
            try:
                if connection is None:
                    connection = http.client.HTTPSConnection("127.0.0.1", self.server.port, context=context, timeout=60)
                    connections += 1
                connection.request("GET", self.path)
                answer = connection.getresponse()
                body = answer.read()
                if (answer.status, len(body)) != (200, self.length):
                    raise AssertionError(answer.status, body[:300])
                requests += 1
            except Exception as error:  # noqa: BLE001  (whatever it is, it is a failed request)
                with self.lock:
                    self.failed.append(repr(error))
                connection = None
            # Most keep their connection, some begin anew.
            if index % 4 == 0 and requests % 10 == 9:
                connection = connection and connection.close()
        with self.lock:
            self.requests += requests
            self.connections += connections

    def end(self):
        self.stopped.set()
        for thread in self.threads:
            thread.join(120)


def overwrite(server, certificate, key):
    (server.tls / "tls.crt").write_bytes(certificate)
    (server.tls / "tls.key").write_bytes(key)


def key_first(server, certificate, key):
    (server.tls / "tls.key").write_bytes(key)
    time.sleep(0.7)
    (server.tls / "tls.crt").write_bytes(certificate)


def certificate_first(server, certificate, key):
    (server.tls / "tls.crt").write_bytes(certificate)
    time.sleep(0.7)
    (server.tls / "tls.key").write_bytes(key)


def rename(server, certificate, key):
    for file, content in (("tls.crt", certificate), ("tls.key", key)):
        (server.tls / f".{file}").write_bytes(content)
        (server.tls / f".{file}").rename(server.tls / file)


def half_written(server, certificate, key):
    with (server.tls / "tls.crt").open("wb") as file:
        file.write(certificate[: len(certificate) // 2])
        file.flush()
        time.sleep(0.7)
        file.write(certificate[len(certificate) // 2 :])
    (server.tls / "tls.key").write_bytes(key)


def kubernetes(server, certificate, key):
    """The layout of a mounted secret: a directory for each version, and one link that is renamed over the other."""
    version = server.tls / f"..{time.time_ns()}"
    version.mkdir()
    (version / "tls.crt").write_bytes(certificate)
    (version / "tls.key").write_bytes(key)
    link = server.tls / "..data_tmp"
    link.symlink_to(version.name)
    link.rename(server.tls / "..data")
    for file in ("tls.crt", "tls.key"):
        path = server.tls / file
        if not path.is_symlink():
            path.unlink(missing_ok=True)
            path.symlink_to(f"..data/{file}")


def removed(server, certificate, key):
    os.rename(server.tls, server.tls.parent / f"gone-{time.time_ns()}")
    time.sleep(0.5)
    server.tls.mkdir()
    overwrite(server, certificate, key)


def plain_files(server):
    """Out of the layout with links: what is written now must not go through a link."""
    for path in server.tls.iterdir():
        if path.is_symlink():
            path.unlink()


def test_swaps_under_load(given, authority):
    s3 = weir.boto3_client(given)
    s3.create_bucket(Bucket="demo")
    body = os.urandom(1024 * 1024 if LONG else 100_000)
    s3.put_object(Bucket="demo", Key="k", Body=body)
    url = s3.generate_presigned_url("get_object", {"Bucket": "demo", "Key": "k"}, ExpiresIn=3600)
    pairs = [authority.issue(NAME, "127.0.0.1") for _ in range(SWAPS)]
    serials = [serial_of(certificate) for certificate, _ in pairs]
    ways = [overwrite, rename, key_first, kubernetes, certificate_first, half_written, removed]
    load = Load(given, url.split(str(given.port), 1)[1], len(body))
    try:
        slowest = 0
        for index, (content, serial) in enumerate(zip(pairs, serials)):
            way = ways[index % len(ways)]
            if way is not kubernetes:
                plain_files(given)
            way(given, *content)
            slowest = max(slowest, given.await_serial(serial, time.monotonic()))
    finally:
        load.end()
    assert load.failed == []
    assert load.requests > CONNECTIONS * 2 and load.connections >= CONNECTIONS
    print(f"{load.requests} requests on {load.connections} connections, {SWAPS} swaps, the slowest served after {slowest:.2f} s")
    witness = openssl("s_client", "-connect", f"127.0.0.1:{given.port}", "-servername", NAME, given=b"")
    assert serial_of(witness) == serials[-1]


def test_what_is_wrong_is_not_taken(given, authority):
    good = {file: (given.tls / file).read_bytes() for file in ("tls.crt", "tls.key")}
    serial = given.serial(NAME)
    expired = authority.expired(NAME)
    stranger = authority.issue(NAME)
    wrong = [
        ({"tls.crt": b""}, "tls.crt is empty"),
        ({"tls.crt": good["tls.crt"][:300]}, "tls.crt is no PEM file with a certificate"),
        ({"tls.crt": b"nonsense"}, "tls.crt is no PEM file with a certificate"),
        ({"tls.crt": os.urandom(10_000_000)}, "tls.crt has more than 1048576 bytes"),
        ({"tls.key": b"nonsense"}, "tls.key is no PEM file with a private key"),
        ({"tls.key": stranger[1]}, "tls.key does not belong to the certificate beside it"),
        (pair("tls", expired), "tls.crt expired"),
        (pair("other", expired), "other.crt expired"),
        ({"half.crt": good["tls.crt"]}, "half.key is missing"),
        ({"tls.crt": good["tls.crt"] + authority.issue("x")[0]}, "certificate 1 of the chain is not signed by the one behind it"),
    ]
    for files, sentence in wrong:
        lines = given.log.read_text().count(sentence)
        for file, content in files.items():
            (given.tls / file).write_bytes(content)
        done = given.command("tls", "reload")
        assert done.returncode == 1 and sentence in done.stderr, (sentence, done.stderr)
        assert given.serial(NAME) == serial, sentence
        assert 'weir_tls_certificate_state{state="invalid"} 1' in given.metrics(), sentence
        validated = given.command("tls", "validate")
        assert validated.returncode == 1 and sentence in validated.stderr
        assert given.log.read_text().count(sentence) == lines + 1, "one line in the log"
        for file in files:
            (given.tls / file).unlink()
        for file, content in good.items():
            (given.tls / file).write_bytes(content)
        assert given.command("tls", "reload").returncode == 0
        assert 'weir_tls_certificate_state{state="invalid"} 0' in given.metrics()
    assert 'weir_tls_reloads_total{result="failed"}' in given.metrics()
    end = int(openssl("x509", "-noout", "-enddate", "-dateopt", "iso_8601", given=good["tls.crt"]).split(b"-")[0].split(b"=")[1])
    assert f'listener="data",name="tls",serial="{serial}"' in given.metrics() and end >= 2026


def test_a_start_with_broken_files(tmp_path, authority):
    server = started(tmp_path, pairs={"tls.crt": b"half of", "tls.key": b"nothing"})
    try:
        assert b"200 OK" in server.peer("localhost", server.context())[1], "the own authority stands in"
        content = authority.issue(NAME)
        overwrite(server, *content)
        server.await_serial(serial_of(content[0]), time.monotonic())
    finally:
        assert server.stop() == 0


def test_names_and_protocols(tmp_path, authority):
    contents = {"a": authority.issue("a.example"), "b": authority.issue("b.example", "*.b.example"),
                "default": authority.issue("d.example")}
    files = {file: content for name, both in contents.items() for file, content in pair(name, both).items()}
    server = started(tmp_path, authority.certificate, pairs=files)
    serials = {name: serial_of(certificate) for name, (certificate, _) in contents.items()}
    try:
        for asked, name in [("a.example", "a"), ("b.example", "b"), ("x.b.example", "b"), ("y.x.b.example", "default"),
                            ("unknown.example", "default"), (None, "default")]:
            assert server.serial(asked) == serials[name], asked
            named = ["-servername", asked] if asked else ["-noservername"]
            witness = openssl("s_client", "-connect", f"127.0.0.1:{server.port}", *named, given=b"")
            assert serial_of(witness) == serials[name], asked
        for offered, agreed in [(None, None), (["http/1.1"], "http/1.1"), (["h2"], "h2"), (["h2", "http/1.1"], "h2")]:
            context = server.context(offered, trusted=False)
            with socket.create_connection(("127.0.0.1", server.port)) as plain, context.wrap_socket(plain) as stream:
                assert stream.selected_alpn_protocol() == agreed
        with socket.create_connection(("127.0.0.1", server.port)) as plain:
            with pytest.raises(ssl.SSLError):
                server.context(["spdy/1"], trusted=False).wrap_socket(plain)
        for version in ("-tls1_2", "-tls1_3"):
            openssl("s_client", "-connect", f"127.0.0.1:{server.port}", version, given=b"")
        for version in ("-tls1", "-tls1_1"):
            command = ["openssl", "s_client", "-connect", f"127.0.0.1:{server.port}", version, "-cipher", "ALL:@SECLEVEL=0"]
            done = weir.run(command, may_fail=True)
            assert done.returncode != 0 and "alert" in done.stderr
        # HTTP on the port of TLS, and TLS that begins and goes no further, are nobody's problem.
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as plain:
            plain.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            assert not plain.recv(100).startswith(b"HTTP")
        silent = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(50)]
        assert server.serial("a.example") == serials["a"]
        for plain in silent:
            plain.close()
    finally:
        assert server.stop() == 0


def test_a_storm_of_signals(given, authority):
    content = authority.issue(NAME)
    overwrite(given, *content)
    for _ in range(200):
        given.process.send_signal(signal.SIGHUP)
    given.await_serial(serial_of(content[0]), time.monotonic())
    assert given.process.poll() is None
    given.log_line("certificates loaded by SIGHUP")


def client_context(server, content, home):
    context = ssl._create_unverified_context()
    if content:
        file = home / f"client-{time.time_ns()}.pem"
        file.write_bytes(content[0] + content[1])
        context.load_cert_chain(file)
    return context


def test_client_certificates(tmp_path, authority):
    stranger = Authority(tmp_path / "stranger")
    known, other, unknown = (authority.issue("ann", client=True), authority.issue("joe", client=True),
                             stranger.issue("eve", client=True))
    files = pair("tls", authority.issue(NAME, "127.0.0.1")) | {"client-ca.pem": authority.certificate.read_bytes()}
    server = started(tmp_path, authority.certificate, pairs=files)

    def passes(content, context=None):
        try:
            return b"200 OK" in server.peer(NAME, context or client_context(server, content, tmp_path))[1]
        except (ssl.SSLError, ConnectionError):
            return False

    try:
        for level, expected in [("none", "yyy"), ("request", "yyy"), ("require-any", "nyy"), ("3", "yyn"), ("4", "nyn")]:
            server.run("tls", "switch", "data", "--client-auth", level)
            assert "".join("y" if passes(content) else "n" for content in (None, known, unknown)) == expected, level
        # A list of what was taken back is in force without a restart, and so is its successor.
        since = time.monotonic()
        (server.tls / "client-crl.pem").write_bytes(authority.revoke(other[0]))
        while passes(other):
            assert time.monotonic() - since < SERVED_WITHIN_S
            time.sleep(0.05)
        assert passes(known)
        # Another bundle, and a broken one.
        (server.tls / "client-crl.pem").write_bytes(stranger.revoke(None))
        (server.tls / "client-ca.pem").write_bytes(stranger.certificate.read_bytes())
        server.run("tls", "reload")
        assert passes(unknown) and not passes(known)
        (server.tls / "client-ca.pem").write_bytes(b"nonsense")
        assert server.command("tls", "reload").returncode == 1
        assert passes(unknown) and not passes(known)
        # The admin port has a level of its own, and the command line a certificate.
        server.run("tls", "switch", "admin", "--client-auth", "require-and-verify")
        assert server.command("tls", "show").returncode == 5
        for end, content in zip(("crt", "key"), unknown):
            (tmp_path / f"eve.{end}").write_bytes(content)
        shown = weir.run([weir.binary(), "tls", "show", "--json"], env=server.environment() | {
            "WEIR_CLIENT_CERT_FILE": str(tmp_path / "eve.crt"), "WEIR_CLIENT_KEY_FILE": str(tmp_path / "eve.key")})
        levels = {one["listener"]: one["client_auth_number"] for one in json.loads(shown.stdout)["listeners"]}
        assert levels == {"data": 4, "admin": 4}
    finally:
        assert server.stop() == 0


def test_a_start_with_half_a_revocation_list(tmp_path, authority):
    known, revoked = authority.issue("ann", client=True), authority.issue("joe", client=True)
    lists = authority.revoke(revoked[0])
    files = pair("tls", authority.issue(NAME, "127.0.0.1"))
    files |= {"client-ca.pem": authority.certificate.read_bytes(), "client-crl.pem": lists[: len(lists) // 2]}
    server = started(tmp_path, authority.certificate, ["--tls-client-auth", "4"], files)

    def passes(content):
        try:
            return b"200 OK" in server.peer(NAME, client_context(server, content, tmp_path))[1]
        except (ssl.SSLError, ConnectionError):
            return False

    try:
        assert not passes(known) and not passes(revoked)
        server.log_line("no client's certificate is taken.*client-crl.pem is no PEM file with a revocation list")
        assert 'weir_tls_certificate_state{state="invalid"} 1' in server.metrics()
        since = time.monotonic()
        (server.tls / "client-crl.pem").write_bytes(lists)
        while not passes(known):
            assert time.monotonic() - since < SERVED_WITHIN_S
            time.sleep(0.05)
        assert not passes(revoked)
    finally:
        assert server.stop() == 0


def handshake(server, context, session=None):
    """One request; the session to go on with, and whether this one went on with one."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as plain:
        with context.wrap_socket(plain, server_hostname=NAME, session=session) as stream:
            stream.sendall(b"GET /-/live HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
            answer = stream.recv(4096)
            while stream.recv(4096):
                pass
            return answer, stream.session, stream.session_reused


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_another_policy_resumes_no_session(given, authority, version):
    context = ssl._create_unverified_context()
    context.minimum_version = context.maximum_version = version
    _, session, reused = handshake(given, context)
    assert not reused
    _, session, reused = handshake(given, context, session)
    assert reused, "else this test would test nothing"
    overwrite(given, *authority.issue(NAME, "127.0.0.1"))
    given.run("tls", "reload")
    _, session, reused = handshake(given, context, session)
    assert reused, "another certificate of the server is no other policy"
    idle = socket.create_connection(("127.0.0.1", given.port), timeout=10)
    idle = ssl._create_unverified_context().wrap_socket(idle)
    given.run("tls", "switch", "data", "--client-auth", "4")
    assert idle.recv(10) == b"", "a connection of the old policy ends"
    idle.close()
    with pytest.raises((ssl.SSLError, ConnectionError)):
        answer, _, reused = handshake(given, context, session)
        assert not reused
        raise ConnectionError(answer) if not answer else AssertionError(answer)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_session_ends_with_the_clients_certificate(tmp_path, authority, version):
    files = pair("tls", authority.issue(NAME, "127.0.0.1")) | {"client-ca.pem": authority.certificate.read_bytes()}
    server = started(tmp_path, authority.certificate, ["--tls-client-auth", "3"], files)
    try:
        ends = int(time.time()) + 4
        content = authority.dated(*(time.strftime("%Y%m%d%H%M%SZ", time.gmtime(at)) for at in (ends - 3600, ends)), "ann", client=True)
        context = client_context(server, content, tmp_path)
        context.minimum_version = context.maximum_version = version
        answer, session, reused = handshake(server, context)
        assert b"200 OK" in answer and not reused
        answer, session, reused = handshake(server, context, session)
        assert b"200 OK" in answer and reused and time.time() < ends, "else this test would test nothing"
        time.sleep(max(0, ends + 0.1 - time.time()))
        try:
            answer, _, _ = handshake(server, context, session)
        except (ssl.SSLError, ConnectionError):
            answer = b""
        assert answer == b""
    finally:
        assert server.stop() == 0


def test_http_and_https_at_once_and_switched(tmp_path):
    server = TlsServer(tmp_path / "data")
    server.flags = ["--https-listen", "127.0.0.1:0"]
    server.start()
    try:
        assert server.scheme == "http"
        https = int(server.log_line(r"https_address=Some\(127\.0\.0\.1:(\d+)\)")[1])
        with urllib.request.urlopen(f"{server.endpoint}/-/live") as answer:
            assert answer.status == 200
        with urllib.request.urlopen(f"https://127.0.0.1:{https}/-/live", context=server.context()) as answer:
            assert answer.status == 200
        # One port goes over to HTTPS, and back, while requests are answered.
        connection = http.client.HTTPConnection("127.0.0.1", server.port)
        connection.request("GET", "/-/live")
        assert connection.getresponse().read() == b"live\n"
        server.run("tls", "switch", "data", "--scheme", "https")
        assert connection.sock.recv(10) == b"", "connections of the old kind end"
        with urllib.request.urlopen(f"https://127.0.0.1:{server.port}/-/live", context=server.context()) as answer:
            assert answer.status == 200
        assert server.stop() == 0
        server.start()
        assert server.scheme == "https", "a switch outlives a restart"
        server.run("tls", "switch", "data", "--client-auth", "request")
        refused = server.command("tls", "switch", "data", "--scheme", "http")
        assert refused.returncode == 4 and "--client-auth none" in refused.stderr, "nothing is given up in passing"
        server.run("tls", "switch", "data", "--scheme", "http", "--client-auth", "none")
        server.scheme = "http"
        with urllib.request.urlopen(f"{server.endpoint}/-/live") as answer:
            assert answer.status == 200
        for wrong in (["nothing", "--scheme", "http"], ["data", "--scheme", "ftp"], ["data", "--client-auth", "4"]):
            assert server.command("tls", "switch", *wrong).returncode in (2, 3, 4), wrong
    finally:
        assert server.stop() == 0


def test_the_command_line_trusts_by_fingerprint(own, tmp_path):
    plain = {name: value for name, value in own.environment().items() if name != "WEIR_CA_FILE"}
    plain |= {"HOME": str(tmp_path / "home"), "XDG_CONFIG_HOME": str(tmp_path / "home")}

    def verb(*arguments):
        return weir.run([weir.binary(), "tls", *arguments], env=plain, cwd=tmp_path / "..", may_fail=True)

    assert verb("show").returncode == 5
    untrusted = verb("trust")
    fingerprint = untrusted.stdout.strip()
    assert untrusted.returncode == 4 and len(fingerprint) == 64
    assert verb("trust", "--fingerprint", "0" * 64).returncode == 4
    assert verb("show").returncode == 5
    assert verb("trust", "--fingerprint", fingerprint.lower()).returncode == 0
    assert verb("show").returncode == 0
    issued = verb("issue", "*.s3.example", "--name", "s3.example", "--output", str(tmp_path / "out"))
    assert issued.returncode == 0, issued.stderr
    openssl("verify", "-CAfile", own.certificate, tmp_path / "out/_.s3.example.crt")
    assert (tmp_path / "out/_.s3.example.key").stat().st_mode & 0o777 == 0o600
    before = own.serial()
    assert verb("issue").returncode == 0
    assert own.serial() != before, "the own certificate is another one"
    assert verb("issue", "a b").returncode == 2
    assert verb("validate", "--dir", str(tmp_path / "out"), "--name", "x.s3.example").returncode == 0


def test_trust_takes_one_certificate_and_no_more(tmp_path, authority):
    """Whoever stands between hangs an authority of his own behind the right one."""
    good = authority.certificate.read_bytes()
    fingerprint = hashlib.sha256(ssl.PEM_cert_to_DER_cert(good.decode())).hexdigest()
    body = [good + Authority(tmp_path / "between").certificate.read_bytes()]

    class Between(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("content-length", str(len(body[0])))
            self.end_headers()
            self.wfile.write(body[0])

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Between) as between:
        thread = threading.Thread(target=between.serve_forever)
        thread.start()
        environment = weir.clean_environment() | {
            "WEIR_ENDPOINT": f"http://127.0.0.1:{between.server_port}", "XDG_CONFIG_HOME": str(tmp_path / "config")}
        command = [weir.binary(), "tls", "trust", "--fingerprint", fingerprint]
        written = tmp_path / "config/weir/ca.pem"
        done = weir.run(command, env=environment, cwd=tmp_path, may_fail=True)
        assert done.returncode != 0 and "is not one certificate" in done.stderr and not written.exists()
        body[0] = b"beside it\n" + good
        weir.run(command, env=environment, cwd=tmp_path)
        assert written.read_bytes() == good
        between.shutdown()
        thread.join()


@pytest.mark.skipif(not LONG, reason="it waits for two minutes")
def test_who_takes_nothing_is_cut(own):
    """Where the kernel has no room left and TLS has some, every write succeeds."""
    plain = socket.socket()
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    plain.connect(("127.0.0.1", own.port))
    stream = ssl._create_unverified_context().wrap_socket(plain)
    ends = [f"0100007F:{port:04X}" for port in (own.port, stream.getsockname()[1])]

    def queued():
        """What the server has written and its client has not taken, as the first number; None when the connection is gone."""
        rows = [line.split() for line in open("/proc/net/tcp")]
        found = [row[4].split(":") for row in rows if row[1:3] == ends and row[3] == "01"]
        return [int(number, 16) for number in found[0]] if found else None

    before = -1
    while (now := queued()[0]) != before or now == 0:
        before = now
        stream.sendall(b"GET /-/live HTTP/1.1\r\nhost: x\r\n\r\n" * 100)
        time.sleep(0.1)
    began = time.monotonic()
    while queued():
        assert time.monotonic() - began < 260
        time.sleep(0.5)
    assert time.monotonic() - began > 100
    stream.close()


@pytest.mark.skipif(not LONG, reason="it waits for ten seconds")
def test_what_takes_ten_seconds(given):
    """A fault is reported, and a handshake that does not go on is cut."""
    silent = socket.create_connection(("127.0.0.1", given.port), timeout=20)
    (given.tls / "tls.key").write_bytes(b"nonsense")
    time.sleep(5)
    assert 'weir_tls_certificate_state{state="invalid"} 0' in given.metrics()
    given.log_line("tls.key is no PEM file", within=10)
    assert 'weir_tls_certificate_state{state="invalid"} 1' in given.metrics()
    assert silent.recv(10) == b""
    assert 'weir_tls_handshakes_total{listener="data",result="timeout"' in given.metrics()
