"""Clients that mean no good: a normal client beside them sees no error, and keeps at least half of its requests a second.

`WEIR_ABUSE_SECONDS=300` keeps the slow sockets until each has been cut in its time; without it they are held for some seconds.
`WEIR_ABUSE_QUIET=1`, on a machine of its own, takes the mean of the normal client's rates instead of its best; so it does in
test_http2.py.
"""

import os
import socket
import threading
import time

import raw
from sigv4 import Signed

SLOW = 500
HELD_SECONDS = float(os.environ.get("WEIR_ABUSE_SECONDS", 4))
# A head has 10 s, a body must bring 30 KiB in 30 s, and an answer is given up when nothing of it was taken for 120 s.
CUT_SECONDS = {"head": 25, "body": 75, "reader": 260}
QUIET = "WEIR_ABUSE_QUIET" in os.environ
MEASURED_SECONDS = 2
LARGE = 4 * 1024 * 1024


class Normal:
    """Signed GETs of one object on one connection, one after the other."""

    def __init__(self, scene):
        self.request = Signed(scene.server, "GET", f"/{scene.bucket}/secret").bytes()
        self.connection = raw.Connection(scene.server.port)

    def rate(self, seconds=MEASURED_SECONDS):
        began, count = time.monotonic(), 0
        while time.monotonic() - began < seconds:
            self.connection.send(self.request)
            answer = self.connection.answer()
            assert answer is not None and (answer.status, answer.body) == (200, b"do not copy"), answer
            count += 1
        return count / (time.monotonic() - began)


class Slow:
    """A connection that takes its time."""

    def __init__(self, scene, kind):
        self.kind, self.cut_after = kind, None
        self.socket = socket.socket()
        if kind == "reader":
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.socket.connect(("127.0.0.1", scene.server.port))
        self.socket.settimeout(10)
        if kind == "head":
            self.socket.sendall(b"GET / HTTP/1.1\r\nhost: a\r\nx-a: ")
        elif kind == "body":
            request = Signed(scene.server, "PUT", f"/{scene.bucket}/slow", headers={"content-length": 100_000}, body_hash="UNSIGNED-PAYLOAD")
            self.socket.sendall((request.head() + "\r\n").encode())
        else:
            self.socket.sendall(Signed(scene.server, "GET", f"/{scene.bucket}/large").bytes())
        self.socket.setblocking(False)

    def drip(self, began):
        """One byte more, or none of a reader; notes when the server has had enough."""
        if self.cut_after is not None:
            return
        try:
            if self.kind == "reader":
                error = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                ended = error != 0 or self.ended_by_peer()
            else:
                self.socket.send(b"x")
                ended = self.ended_by_peer()
        except BlockingIOError:
            ended = False
        except OSError:
            ended = True
        if ended:
            self.cut_after = time.monotonic() - began

    def ended_by_peer(self):
        """What a reader has before it stays where it is."""
        try:
            return self.socket.recv(1, socket.MSG_PEEK) == b"" if self.kind == "reader" else self.socket.recv(65536) == b""
        except BlockingIOError:
            return False
        finally:
            if self.kind == "reader":
                # A FIN behind unread bytes: TCP's state says it, and reading would be taking.
                info = self.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)
                if info[0] != 1:
                    raise ConnectionResetError


def test_slow_sockets_harm_nobody_else(scene):
    """Heads and bodies that drip, and answers that nobody takes."""
    scene.s3.put_object(Bucket=scene.bucket, Key="large", Body=os.urandom(LARGE))
    normal = Normal(scene)
    alone = max(normal.rate(), normal.rate())
    before = raw.rss_mib(scene.server)
    raw.reset_peak(scene.server)
    began = time.monotonic()
    slow = [Slow(scene, ("head", "body", "reader")[number % 3]) for number in range(SLOW)]
    stop = threading.Event()

    def drip():
        while not stop.wait(1):
            for connection in slow:
                connection.drip(began)

    dripping = threading.Thread(target=drip)
    dripping.start()
    try:
        beside = []
        # Other work on the machine takes its part at any time: once is enough, as a server that suffers does so each time.
        while time.monotonic() - began < HELD_SECONDS or (not QUIET and max(beside, default=0) <= alone / 2 and len(beside) < 5):
            beside.append(normal.rate())
            if HELD_SECONDS > 60:
                time.sleep(5)
                if all(connection.cut_after is not None for connection in slow):
                    break
        peak = raw.peak_mib(scene.server)
    finally:
        stop.set()
        dripping.join()
        for connection in slow:
            connection.socket.close()
    time.sleep(0.5)
    after = raw.rss_mib(scene.server)
    cut = {kind: [it.cut_after for it in slow if it.kind == kind and it.cut_after is not None] for kind in CUT_SECONDS}
    said = ", ".join(f"{len(times)} {kind} cut by {max(times, default=0):.0f} s" for kind, times in cut.items())
    mean = sum(beside) / len(beside)
    print(f"alone {alone:.0f}/s, beside {min(beside):.0f} to {max(beside):.0f}/s, {mean:.0f}/s in the mean; memory {before:.0f}, at most {peak:.0f}, then {after:.0f} MiB; {said}")
    assert (mean if QUIET else max(beside)) > alone / 2
    # A reader holds one read of its object, of at most 256 KiB; whatever else is a few pages.
    assert peak - before < 32 + SLOW / 3 * 0.5, (before, peak)
    if HELD_SECONDS > max(CUT_SECONDS.values()):
        for kind, seconds in CUT_SECONDS.items():
            times = cut[kind]
            assert len(times) == sum(it.kind == kind for it in slow) and max(times) < seconds, (kind, times)
    scene.s3.delete_object(Bucket=scene.bucket, Key="large")
    scene.assert_unchanged()
