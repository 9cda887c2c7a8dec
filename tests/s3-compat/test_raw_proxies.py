"""The smuggling table through nginx and HAProxy: where proxy and server could read the same bytes differently, no request is
served that the client did not send."""

import shutil
import socket
import subprocess
import time

import pytest

import raw
import test_raw_http
import weir
from conftest import Scene
from sigv4 import Signed
from test_audit import eventually, lines

NGINX = """
daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 256; }}
http {{
  access_log off; client_max_body_size 0; ignore_invalid_headers off; underscores_in_headers on;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  upstream weir {{ server 127.0.0.1:{server}; keepalive 1; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://weir; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $http_host;
      proxy_request_buffering off; proxy_buffering off;
    }}
  }}
}}
"""
HAPROXY = """
global
  maxconn 256
defaults
  mode http
  timeout connect 5s
  timeout client 20s
  timeout server 20s
  option accept-invalid-http-request
  http-reuse always
frontend f
  bind 127.0.0.1:{port}
  default_backend b
backend b
  server weir 127.0.0.1:{server} maxconn 1
"""


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """With an audit log, which knows every request that was one."""
    folder = tmp_path_factory.mktemp("scene")
    flags = ["--audit-log", str(folder / "audit.log"), "--audit-reads", "all"]
    running = weir.Server(folder / "data", flags=flags).start()
    made = Scene(running)
    made.audit_log = folder / "audit.log"
    yield made
    assert running.stop() == 0


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Proxy:
    """Looks like a server to `Signed`: what is signed is the proxy's host."""

    def __init__(self, name, server, folder):
        self.port = free_port()
        text = (NGINX if name == "nginx" else HAPROXY).format(folder=folder, server=server.port, port=self.port)
        config = folder / f"{name}.conf"
        config.write_text(text)
        program = shutil.which(name, path="/usr/sbin:/usr/bin:/sbin")
        if program is None:
            pytest.skip(f"{name} is not installed")
        command = [program, "-c", str(config), "-p", str(folder)] if name == "nginx" else [program, "-db", "-f", str(config)]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=(folder / "stderr").open("w"))
        until = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                assert time.monotonic() < until and self.process.poll() is None, (folder / "stderr").read_text()
                time.sleep(0.05)

    def stop(self):
        self.process.terminate()
        self.process.wait(10)


class Behind:
    """The scene as a client of the proxy sees it."""

    def __init__(self, scene, proxy):
        self.server, self.bucket, self.scene = proxy, scene.bucket, scene


@pytest.fixture(scope="module", params=["nginx", "haproxy"])
def behind(request, scene, tmp_path_factory):
    proxy = Proxy(request.param, scene.server, tmp_path_factory.mktemp(request.param))
    yield Behind(scene, proxy)
    proxy.stop()


def body_of(behind, wire):
    request = test_raw_http.put(behind, {"transfer-encoding": "chunked"}, body_hash="UNSIGNED-PAYLOAD")
    return (request.head() + "\r\n").encode() + wire + b"0\r\n\r\n" + test_raw_http.hidden(behind)


def is_of_probe(answer):
    return answer.status == 200 and "x-amz-request-id" not in answer.headers


@pytest.mark.parametrize("case", [*test_raw_http.HEADS, *(f"chunk {name}" for name in test_raw_http.HTTP_CHUNKS)])
def test_what_is_smuggled_is_not_served(behind, case):
    scene = behind.scene
    if case.startswith("chunk "):
        data = body_of(behind, test_raw_http.HTTP_CHUNKS[case.removeprefix("chunk ")])
    else:
        data = test_raw_http.HEADS[case][0](behind)
    # Whatever the case before left, so that one that fails is one.
    scene.s3.put_object(Bucket=scene.bucket, Key="secret", Body=b"do not copy")
    statuses, ids = [], set()
    known = len(lines(scene.audit_log))
    # Longer than any answer takes on a machine that is busy: an answer that comes later looks like one that never does.
    with raw.Connection(behind.server.port, timeout=3) as connection:
        connection.send(data)
        try:
            # The probe's answer is the last one, if the proxy takes the probe for a request.
            while (answer := connection.answer()) is not None and not is_of_probe(answer):
                statuses.append(answer.status)
                ids.add(answer.headers.get("x-amz-request-id"))
                connection.send(raw.PROBE if len(statuses) == 1 else b"")
        except TimeoutError:
            pass  # a proxy that waits for the rest of a body
    # A proxy may mend a request, as when it takes a bare line feed for a line's end, and so see a second one where the table
    # hides it. Then it has sent two and its client has two answers. A deletion that has no answer was smuggled past it.
    names = [key for key, *_ in raw.state(scene.server, scene.s3)[scene.bucket][0]]
    assert ("secret" in names) != (204 in statuses), (case, statuses)
    if "secret" not in names:
        scene.s3.put_object(Bucket=scene.bucket, Key="secret", Body=b"do not copy")
    # And the connection that the proxy keeps is not out of step: the next client gets its own answers.
    for key, expected in (("secret", b"do not copy"), ("missing", b"NoSuchKey"), ("secret", b"do not copy")):
        got = raw.ask(behind.server, Signed(behind.server, "GET", f"/{scene.bucket}/{key}").bytes())
        assert expected in got.body, (case, statuses, got)
        ids.add(got.headers["x-amz-request-id"])
    # Nothing was served that this client has no answer to. Straight, nothing of the table is served.
    eventually(scene.audit_log, request_id=got.headers["x-amz-request-id"])
    other = [line for line in lines(scene.audit_log)[known:] if line["kind"] == "decision" and "boto" not in (line.get("user_agent") or "").lower()]
    # A request that a proxy cuts off in its body has no status, or that of a refusal which the proxy has answered by its own.
    assert {line["request_id"] for line in other if line.get("status", 400) < 300} <= ids, (case, statuses, other)
    scene.s3.delete_object(Bucket=scene.bucket, Key="k")
    assert raw.settled_staging(scene.server) == []
