"""HTTP's framing over a bare socket: whatever has two readings is refused, and what stands behind it is never served."""

import resource
import threading
import time

import pytest

import raw
import sigv4
import weir
from sigv4 import Signed, presigned

BAD = (400, "BadRequest")
TOO_LARGE = (400, "RequestHeaderSectionTooLarge")
TRAILER = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"


def put(scene, headers=None, body=b"new", key="k", **changes):
    return Signed(scene.server, "PUT", f"/{scene.bucket}/{key}", headers=headers, body=body, **changes)


def hidden(scene):
    """A request that deletes an object, good in itself."""
    return Signed(scene.server, "DELETE", f"/{scene.bucket}/secret").bytes()


def chunk(data):
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


def with_lines(*lines, body=None):
    """A signed PUT with more header lines behind, and a hidden request in and behind its body."""
    def make(scene):
        request = put(scene, body=b"new" if body is None else body)
        return (request.head(*lines) + "\r\n").encode("latin-1") + request.body + hidden(scene)
    return make


def edited(*changes, behind=hidden):
    """A signed PUT whose bytes are changed, with a hidden request behind it."""
    def make(scene):
        data = put(scene).bytes()
        for old, new in changes:
            assert old in data
            data = data.replace(old, new, 1)
        return data + behind(scene)
    return make


def nothing(_):
    return b""


def chunked_and_length(order):
    def make(scene):
        inside = hidden(scene)
        lines = [f"content-length: {len(inside) + 5}", "transfer-encoding: chunked"][::order]
        return (put(scene, body_hash="UNSIGNED-PAYLOAD").head(*lines) + "\r\n").encode() + b"0\r\n\r\n" + inside
    return make


def long_head(scene):
    return put(scene).bytes(*(f"x-{number}: {'a' * 1000}" for number in range(40)))


HEADS = {
    "T14 length and chunked": (chunked_and_length(1), BAD),
    "T14 chunked and length": (chunked_and_length(-1), BAD),
    "T14b two lengths": (with_lines("content-length: 3", "content-length: 300"), BAD),
    "T14b the same length twice": (with_lines("content-length: 3", "content-length: 3"), BAD),
    "T14b a list of lengths": (with_lines("content-length: 3, 3"), BAD),
    "T14b a length with a sign": (with_lines("content-length: +3"), BAD),
    "T14b a hexadecimal length": (with_lines("content-length: 0x3"), BAD),
    "T14b a negative length": (with_lines("content-length: -3"), BAD),
    "T14b no length": (with_lines("content-length:"), BAD),
    "T14b a length with a tail": (with_lines("content-length: 3 3"), BAD),
    "T14b a length beyond 64 bits": (with_lines("content-length: 18446744073709551619"), BAD),
    "T14c an unknown coding": (with_lines("transfer-encoding: xchunked"), BAD),
    "T14c a coding before": (with_lines("transfer-encoding: gzip, chunked"), BAD),
    "T14c a coding behind": (with_lines("transfer-encoding: chunked, identity"), BAD),
    "T14c identity": (with_lines("transfer-encoding: identity"), BAD),
    "T14c a vertical tab": (with_lines("transfer-encoding: \x0bchunked"), BAD),
    "T14c chunked twice": (with_lines("transfer-encoding: chunked", "transfer-encoding: chunked"), BAD),
    "T14c chunked in HTTP/1.0": (edited((b"HTTP/1.1", b"HTTP/1.0"), (b"content-length: 3", b"transfer-encoding: chunked")), BAD),
    "T14d bare line feeds": (lambda scene: put(scene).bytes().replace(b"\r\n", b"\n") + hidden(scene), BAD),
    "T14d one bare line feed": (edited((b"\r\ncontent-length", b"\ncontent-length")), BAD),
    "T14d a bare line feed at the end": (edited((b"\r\n\r\nnew", b"\r\n\nnew")), BAD),
    "T14d a bare carriage return": (edited((b"\r\ncontent-length", b"\rcontent-length")), BAD),
    "T14e two hosts": (with_lines("content-length: 3", "host: victim"), BAD),
    "T14e the same host twice": (lambda scene: put(scene).bytes(f"host: 127.0.0.1:{scene.server.port}"), BAD),
    "T14e no host": (edited((b"host: ", b"hast: ")), BAD),
    "T14f another authority": (edited((b"PUT /", b"PUT http://victim/"), behind=nothing), (400, "InvalidRequest")),
    "T14f a user in the authority": (lambda scene: put(scene).bytes().replace(b"PUT /", f"PUT http://x@127.0.0.1:{scene.server.port}/".encode()), (400, "InvalidRequest")),
    "B a host with a user": (edited((b"host: ", b"host: x@"), behind=nothing), (400, "InvalidRequest")),
    "B a host with a path": (edited((b"host: ", b"host: a/b"), behind=nothing), (400, "InvalidRequest")),
    "B an empty host": (edited((b"host: 127.0.0.1:", b"host:\r\nx-a: "), behind=nothing), (400, "InvalidRequest")),
    "T14g a folded header": (with_lines("content-length: 3", "x-folded: a", " transfer-encoding: chunked"), BAD),
    "T14g a folded first header": (edited((b"\r\nhost:", b"\r\n host:")), BAD),
    "T14h a space before the colon": (with_lines("content-length : 3"), BAD),
    "T14h a tab before the colon": (with_lines("transfer-encoding\t: chunked"), BAD),
    "T14h a header without a name": (with_lines("content-length: 3", ": x"), BAD),
    "T14h a header without a colon": (with_lines("content-length: 3", "chunked"), BAD),
    "B a NUL in a value": (with_lines("content-length: 3", "x-a: a\0b"), BAD),
    "B a control character in a value": (with_lines("content-length: 3", "x-a: a\x01b"), BAD),
    "B a DEL in a value": (with_lines("content-length: 3", "x-a: a\x7fb"), BAD),
    "B a carriage return in a value": (with_lines("content-length: 3", "x-a: a\rb"), BAD),
    "B a wrong method": (edited((b"PUT ", b"PU(T ")), BAD),
    "B two spaces": (edited((b"PUT ", b"PUT  ")), BAD),
    "B a space in the target": (edited((b" HTTP/1.1", b" x HTTP/1.1")), BAD),
    "B HTTP/2.0": (edited((b"HTTP/1.1", b"HTTP/2.0")), BAD),
    "B HTTP/1.2": (edited((b"HTTP/1.1", b"HTTP/1.2")), BAD),
    "B HTTP/0.9": (lambda _: b"GET /\r\n\r\n", BAD),
    "B the preface of HTTP/2": (lambda _: b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", BAD),
    "B a TLS greeting": (lambda _: b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", BAD),
    "B 101 headers": (lambda scene: put(scene).bytes(*["x-a: 1"] * 96), TOO_LARGE),
    "B 40 KiB of headers": (long_head, TOO_LARGE),
    "B 9 KiB of target": (lambda scene: put(scene, key="k" * 9000).bytes(), TOO_LARGE),
    "B a line without an end": (lambda _: b"GET /" + b"a" * 40_000, TOO_LARGE),
    "B two expectations": (lambda scene: put(scene).bytes("expect: 100-continue", "expect: x"), (417, "ExpectationFailed")),
    "B a list of expectations": (lambda scene: put(scene).bytes("expect: x, 100-continue"), (417, "ExpectationFailed")),
    "B CONNECT": (lambda _: b"CONNECT a:1 HTTP/1.1\r\nhost: a:1\r\n\r\n", (405, "MethodNotAllowed")),
    "B TRACE": (lambda _: b"TRACE / HTTP/1.1\r\nhost: a\r\n\r\n", (405, "MethodNotAllowed")),
}


@pytest.mark.parametrize("case", HEADS)
def test_bad_heads(scene, case):
    make, expected = HEADS[case]
    request = make(scene)
    # What the hidden request could do is done by the connection's next one if the first ends too early.
    answer = raw.ask(scene.server, request)
    assert (answer.status, answer.code) == expected, answer
    if expected in (BAD, TOO_LARGE):
        assert answer.headers["connection"] == "close"
    scene.assert_unchanged()


def framed(scene, body, length=3, hashed=TRAILER):
    headers = {"x-amz-decoded-content-length": length, "x-amz-trailer": "x-amz-checksum-crc32"}
    return put(scene, headers | {"content-length": len(body)}, body_hash=hashed), body


AWS_SIZES = {
    "0x5": b"0x5\r\nabcde\r\n", "+5": b"+5\r\nabcde\r\n", "-5": b"-5\r\nabcde\r\n", "5;ext": b"5;ext=1\r\nabcde\r\n",
    "space": b" 5\r\nabcde\r\n", "empty": b"\r\nabcde\r\n", "17 digits": b"00000000000000005\r\nabcde\r\n",
    "64 bits": b"FFFFFFFFFFFFFFFF\r\nabcde\r\n", "6 GiB": b"180000000\r\nabcde\r\n", "bare LF": b"5\nabcde\r\n",
    "1 MiB of extensions": b"5;" + b"a" * 1024 * 1024 + b"\r\nabcde\r\n", "no end": b"5\r\nabcdefgh\r\n",
    "no hexadecimal": b"g\r\nabcde\r\n",
}


@pytest.mark.parametrize("case", AWS_SIZES)
def test_bad_sizes_of_aws_chunks(scene, case):
    request, body = framed(scene, AWS_SIZES[case] + b"0\r\n\r\n", length=5)
    answer = raw.ask(scene.server, (request.head() + "\r\n").encode() + body)
    assert (answer.status, answer.code) == (400, "InvalidRequest"), answer
    scene.assert_unchanged()


@pytest.mark.parametrize("size", ["0x5", "+5", "-5", "FFFFFFFFFFFFFFFF", "1000001"])
def test_bad_sizes_of_signed_chunks(scene, size):
    request = put(scene, {"x-amz-decoded-content-length": 5, "content-length": 5000}, body_hash="STREAMING-AWS4-HMAC-SHA256-PAYLOAD")
    body = sigv4.signed_chunks(request, [b"abcde"], line=lambda index, length: size if index == 0 else "0")
    answer = raw.ask(scene.server, (request.head() + "\r\n").encode() + body.ljust(5000, b"x"))
    assert (answer.status, answer.code) == (400, "InvalidRequest"), answer
    scene.assert_unchanged()


HTTP_CHUNKS = {
    "0x5": b"0x5\r\n", "+5": b"+5\r\n", "-5": b"-5\r\n", "space before": b" 5\r\n", "space behind": b"5 \r\n", "empty": b"\r\n",
    "17 digits": b"00000000000000005\r\n", "64 bits": b"FFFFFFFFFFFFFFFF\r\n", "bare LF": b"5\n", "bare CR": b"5\rx",
    "1 MiB of extensions": b"5;" + b"a" * 1024 * 1024 + b"\r\n", "a line feed in an extension": b"5;a\nb\r\n",
    "no end": b"5\r\nabcdefgh\r\n", "trailers": b"0\r\nx-a: 1\r\n\r\n", "a trailer that steers": b"0\r\nx-amz-copy-source: /a/b\r\n\r\n",
}


@pytest.mark.parametrize("case", HTTP_CHUNKS)
def test_bad_http_chunks(scene, case):
    body = sigv4.unsigned_chunks([b"new"], "x-amz-checksum-crc32:%s\r\n" % crc32_of_new())
    request = put(scene, {"x-amz-decoded-content-length": 3, "x-amz-trailer": "x-amz-checksum-crc32", "transfer-encoding": "chunked"}, body_hash=TRAILER)
    wire = (request.head() + "\r\n").encode() + chunk(body[:10])
    wire += HTTP_CHUNKS[case] + b"0\r\n\r\n" + hidden(scene)
    answer = raw.ask(scene.server, wire)
    assert (answer.status, answer.code) == BAD, answer
    scene.assert_unchanged()


def crc32_of_new():
    import base64
    import zlib

    return base64.b64encode(zlib.crc32(b"new").to_bytes(4, "big")).decode()


def test_what_is_right_passes(scene):
    server, path = scene.server, f"/{scene.bucket}/good"
    body = sigv4.unsigned_chunks([b"new"], "x-amz-checksum-crc32:%s\r\n" % crc32_of_new())
    twice = put(scene, {"x-amz-decoded-content-length": 3, "x-amz-trailer": "x-amz-checksum-crc32", "transfer-encoding": "chunked"}, body_hash=TRAILER, key="good")
    chunks = b"".join(chunk(bytes([byte])) for byte in body)
    long_query = presigned(server, "PUT", path, query=[("x-amz-checksum-crc32", "A" * 3000)])
    good = {
        "aws-chunked in chunks of one byte": (twice.head() + "\r\n").encode() + chunks + b"0\r\n\r\n",
        "a chunk with an extension": (twice.head() + "\r\n").encode() + b"%x;a=b\r\n" % len(body) + body + b"\r\n0\r\n\r\n",
        "2 KiB of metadata": put(scene, {"x-amz-meta-a": "a" * 2040}, key="good").bytes(),
        "an empty line before": b"\r\n" + put(scene, key="good").bytes(),
        "an absolute URI": put(scene, key="good").bytes().replace(b"PUT /", f"PUT http://127.0.0.1:{server.port}/".encode()),
        "100 headers": put(scene, key="good").bytes(*["x-a: 1"] * 94),
        "3 KiB of presigned query": f"PUT {long_query} HTTP/1.1\r\nhost: 127.0.0.1:{server.port}\r\ncontent-length: 3\r\n\r\nnew".encode(),
        "Expect": put(scene, key="good").bytes("expect: 100-continue"),
        "Expect of something else": put(scene, key="good").bytes("expect: 200-ok"),
        "HTTP/1.0": put(scene, key="good").bytes().replace(b"HTTP/1.1", b"HTTP/1.0"),
    }
    for name, request in good.items():
        answer = raw.ask(server, request)
        # The last but three has a checksum that cannot be: what counts is that its length was no matter.
        assert answer.status == 200 or "query" in name and answer.code in ("InvalidRequest", "InvalidDigest"), (name, answer)
        assert raw.ask(server, Signed(server, "DELETE", path).bytes()).status == 204
    scene.assert_unchanged()


def test_requests_in_one_piece_are_answered_in_order(scene):
    get = Signed(scene.server, "GET", f"/{scene.bucket}/secret").bytes()
    missing = Signed(scene.server, "GET", f"/{scene.bucket}/missing").bytes()
    with raw.Connection(scene.server.port) as connection:
        connection.send(put(scene, key="good").bytes() + get + missing + get)
        assert [connection.answer().status for _ in range(4)] == [200, 200, 404, 200]
        connection.send(Signed(scene.server, "DELETE", f"/{scene.bucket}/good").bytes())
        assert connection.answer().status == 204
    scene.assert_unchanged()


def test_an_unknown_expectation_changes_no_framing(scene):
    """Neither a body that nobody reads nor one that never comes is taken for the connection's next request."""
    odd = ("expect: 200-ok",)
    get = Signed(scene.server, "GET", f"/{scene.bucket}/secret")
    with raw.Connection(scene.server.port) as connection:
        connection.send(put(scene, key="good").bytes(*odd) + get.bytes(*odd))
        assert [connection.answer().status for _ in range(2)] == [200, 200]
        # Refused before its body, which holds a request.
        inner = hidden(scene)
        refused = (put(scene, {"content-length": len(inner)}, body_hash="0" * 64, key="good").head(*odd) + "\r\n").encode()
        connection.send(refused.replace(b"Signature=", b"Signature=0") + inner)
        answer = connection.answer()
        assert answer.status >= 400 and b"100 Continue" not in answer.body
        connection.send(get.bytes())
        assert answer.headers.get("connection") == "close" or connection.answer().status == 200
    assert raw.ask(scene.server, Signed(scene.server, "DELETE", f"/{scene.bucket}/good").bytes()).status == 204
    scene.assert_unchanged()


def test_a_good_request_before_a_bad_one_is_answered(scene):
    get = Signed(scene.server, "GET", f"/{scene.bucket}/secret").bytes()
    with raw.Connection(scene.server.port) as connection:
        connection.send(get + b"GET / HTTP/1.1\nhost: a\n\n" + hidden(scene))
        assert connection.answer().body == b"do not copy"
        assert connection.answer().code == "BadRequest"
        assert connection.answer() is None
    scene.assert_unchanged()


def test_a_client_that_sends_everything_first_sees_the_refusal(scene):
    """As most clients do: they look for an answer when all is sent, and a connection that was reset by then has none."""
    length = 64 * 1024 * 1024
    path = f"/{scene.bucket}/k"
    request = Signed(scene.server, "PUT", path, body_hash="UNSIGNED-PAYLOAD", key="AKIANOBODYKNOWSTHIS0")
    before = raw.rss_mib(scene.server)
    with raw.Connection(scene.server.port) as connection:
        connection.socket.sendall(request.head(f"content-length: {length}").encode() + b"\r\n")
        for _ in range(64):
            connection.socket.sendall(bytes(length // 64))
        answer = connection.answer()
        assert (answer.status, answer.code) == (403, "InvalidAccessKeyId"), answer
        assert answer.headers["connection"] == "close", "or the client sends its next request into this connection"
        assert connection.answer() is None
    assert raw.rss_mib(scene.server) - before < 16
    scene.assert_unchanged()


def test_bytes_that_come_one_by_one_are_the_same_request(scene):
    get = Signed(scene.server, "GET", f"/{scene.bucket}/secret").bytes()
    with raw.Connection(scene.server.port) as connection:
        for byte in get:
            connection.send(bytes([byte]))
        assert connection.answer().body == b"do not copy"


def test_metadata_makes_no_headers(scene):
    split = "=?UTF-8?Q?a=0D=0ASet-Cookie:_x=3D1?="
    answer = raw.ask(scene.server, put(scene, {"x-amz-meta-a": split}).bytes())
    assert (answer.status, answer.code) == (400, "InvalidArgument"), answer
    for name in ("response-content-disposition", "response-content-type", "response-cache-control", "response-expires"):
        get = Signed(scene.server, "GET", f"/{scene.bucket}/secret", query=[(name, "a\r\nset-cookie: x=1")])
        answer = raw.ask(scene.server, get.bytes())
        assert answer.status == 400 and "set-cookie" not in answer.headers, answer
    scene.assert_unchanged()


RANGES = ["bytes=0-1,3-4", "bytes=5-2", "bytes=", "bytes=-", "lines=0-1", "bytes=a-b", "bytes=0-1;", "bytes 0-1", "bytes=+1-2", "bytes=0x0-0x1", "bytes=--5"]


@pytest.mark.parametrize("value", RANGES)
def test_a_range_that_is_none_is_ignored(scene, value):
    for headers, unsigned in (({"range": value}, {}), ({}, {"range": value})):
        request = Signed(scene.server, "GET", f"/{scene.bucket}/secret", headers=headers, unsigned=unsigned)
        answer = raw.ask(scene.server, request.bytes())
        assert (answer.status, answer.body) == (200, b"do not copy")


@pytest.mark.parametrize("value, status", [("bytes=0-99999999999999999999999", 206), ("bytes=-99999999999999999999999", 206), ("bytes=0-10", 206)])
def test_a_range_beyond_the_end_ends_there(scene, value, status):
    answer = raw.ask(scene.server, Signed(scene.server, "GET", f"/{scene.bucket}/secret", headers={"range": value}).bytes())
    assert (answer.status, answer.body) == (status, b"do not copy")


@pytest.mark.parametrize("value", ["bytes=11-", "bytes=99-100", "bytes=18446744073709551615-", "bytes=99999999999999999999999-", "bytes=-0"])
def test_a_range_outside_is_416(scene, value):
    request = Signed(scene.server, "GET", f"/{scene.bucket}/secret", headers={"range": value})
    answer = raw.ask(scene.server, request.bytes())
    assert (answer.status, answer.code, answer.headers["content-range"]) == (416, "InvalidRange", "bytes */11")


def test_slow_clients_keep_nobody_out(scene):
    """500 heads that never end and a body that drips: others are served, and each is cut in its time."""
    server, start = scene.server, time.monotonic()
    drip = {}

    def send_body_slowly():
        request = put(scene, {"content-length": 100_000}, body=b"x" * 100_000)
        with raw.Connection(server.port, timeout=60) as connection:
            connection.socket.sendall((request.head() + "\r\n").encode())
            connection.socket.settimeout(0.5)
            while time.monotonic() < start + 60:
                connection.send(b"x")
                try:
                    if not connection.more() or b"\r\n\r\n" in connection.rest:
                        break
                except TimeoutError:
                    pass
            drip["seconds"], drip["answer"] = time.monotonic() - start, connection.rest

    dripping = threading.Thread(target=send_body_slowly)
    dripping.start()
    slow = [raw.Connection(server.port, timeout=30) for _ in range(500)]
    for connection in slow:
        connection.send(b"GET / HTTP/1.1\r\nhost: a\r\n")
    began = time.monotonic()
    get = Signed(server, "GET", f"/{scene.bucket}/secret").bytes()
    for _ in range(20):
        assert raw.ask(server, get).body == b"do not copy"
    assert time.monotonic() - began < 8, "20 requests beside 500 slow ones"
    for connection in slow:
        assert connection.answer() is None
        connection.socket.close()
    assert 9 < time.monotonic() - began < 25
    dripping.join()
    assert 29 < drip["seconds"] < 45, drip
    assert b"RequestTimeout" in drip["answer"], drip
    scene.assert_unchanged()


def test_connections_are_not_bound_by_a_shells_limit(tmp_path):
    """systemd and many shells let a process open 1024 files, or 256, and more if it asks."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    server = weir.Server(tmp_path / "data")
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, before[1]))
    try:
        server.start()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    connections = []
    try:
        for _ in range(600):
            connections.append(raw.Connection(server.port))
            connections[-1].send(raw.PROBE)
            assert connections[-1].answer().status == 200
    finally:
        for connection in connections:
            connection.socket.close()
        server.kill()
