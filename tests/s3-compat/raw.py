"""Requests over a bare socket, and what must hold after each: one answer, nothing changed, a connection that goes on or ends."""

import re
import socket
import time

PROBE = b"GET /-/live HTTP/1.1\r\nhost: localhost\r\n\r\n"


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body
        code = re.search(rb"<Code>([^<]*)</Code>", body)
        self.code = code[1].decode() if code else ""

    def __repr__(self):
        return f"<{self.status} {self.code} {self.body[:300]!r}>"


class Connection:
    def __init__(self, port, timeout=30):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=timeout)
        self.rest = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass  # refused before the end; the answer may still be there

    def more(self):
        try:
            chunk = self.socket.recv(65536)
        except ConnectionResetError:
            chunk = b""
        self.rest += chunk
        return chunk

    def answer(self, method="GET"):
        """The next answer; None when the connection ends before one."""
        while b"\r\n\r\n" not in self.rest:
            if not self.more():
                return None
        head, self.rest = self.rest.split(b"\r\n\r\n", 1)
        lines = head.decode("latin-1").split("\r\n")
        status = int(lines[0].split(" ")[1])
        if status == 100:
            return self.answer(method)
        headers = {name.lower(): value.strip() for name, value in (line.split(":", 1) for line in lines[1:])}
        length = 0 if method == "HEAD" or status in (204, 304) else int(headers.get("content-length", 0))
        while len(self.rest) < length and self.more():
            pass
        body, self.rest = self.rest[:length], self.rest[length:]
        return Answer(status, headers, body)

    def is_clean(self):
        """Whether exactly one answer came: then the connection either ends, or answers the next request and that only."""
        if self.rest:
            return False
        self.send(PROBE)
        answer = self.answer()
        return answer is None or (answer.status == 200 and not self.rest)


def ask(server, data, method="GET", port=None):
    """One request, one answer, and a connection in order."""
    with Connection(port or server.port) as connection:
        connection.send(data)
        answer = connection.answer(method)
        assert connection.is_clean(), f"something stands behind the answer {answer}: {connection.rest[:500]!r}"
        return answer


def state(server, s3):
    """Everything that a request could have changed."""
    objects = {}
    for bucket in s3.list_buckets()["Buckets"]:
        name = bucket["Name"]
        listed = s3.list_objects_v2(Bucket=name).get("Contents", [])
        uploads = s3.list_multipart_uploads(Bucket=name).get("Uploads", [])
        objects[name] = [(entry["Key"], entry["ETag"], entry["LastModified"]) for entry in listed], len(uploads)
    return objects


def settled_staging(server, within_s=10):
    """A body that was cut off is cleared away when the server sees the end of its connection."""
    until = time.monotonic() + within_s
    while server.staging_files() and time.monotonic() < until:
        time.sleep(0.05)
    return server.staging_files()


def rss_mib(server):
    with open(f"/proc/{server.process.pid}/status") as status:
        return int(re.search(r"VmRSS:\s+(\d+) kB", status.read())[1]) / 1024


def reset_peak(server):
    with open(f"/proc/{server.process.pid}/clear_refs", "w") as control:
        control.write("5")


def peak_mib(server):
    with open(f"/proc/{server.process.pid}/status") as status:
        return int(re.search(r"VmHWM:\s+(\d+) kB", status.read())[1]) / 1024
