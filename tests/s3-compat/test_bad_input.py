"""Raw requests that are wrong in one place. After each: an error, no object, and nothing left in staging."""

import base64
import datetime
import hashlib
import hmac
import socket
import time
import zlib

import pytest

import weir

# Below and above the length up to which payloads live in the log.
LENGTHS = [1000, 300_000]


def signed_head(server, path, headers, body_hash, method="PUT", minutes=0):
    """A request's head, signed by hand; every header of the dictionary is signed."""
    time_of_signing = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(minutes=minutes)
    now = time_of_signing.strftime("%Y%m%dT%H%M%SZ")
    scope = f"{now[:8]}/{weir.REGION}/s3/aws4_request"
    host = f"127.0.0.1:{server.port}"
    signed = {"host": host, "x-amz-content-sha256": body_hash, "x-amz-date": now}
    signed |= {name.lower(): str(value) for name, value in headers.items()}
    names = ";".join(sorted(signed))
    lines = "".join(f"{name}:{signed[name]}\n" for name in sorted(signed))
    canonical = f"{method}\n{path}\n\n{lines}\n{names}\n{body_hash}"
    text = f"AWS4-HMAC-SHA256\n{now}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = signing_key(now)
    signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    head = f"{method} {path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in signed.items())
    head += (
        f"authorization: AWS4-HMAC-SHA256 Credential={weir.ACCESS_KEY}/{scope}, "
        f"SignedHeaders={names}, Signature={signature}\r\n"
    )
    return head, signature, now, scope


def signing_key(now):
    key = ("AWS4" + weir.SECRET_KEY).encode()
    for part in (now[:8], weir.REGION, "s3", "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return key


def exchange(server, request, close_early=False):
    """Sends bytes and returns the status; None when the connection ends without an answer."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        try:
            connection.sendall(request)
            if close_early:
                connection.shutdown(socket.SHUT_WR)
        except (BrokenPipeError, ConnectionResetError):
            pass  # refused before the end; the answer may still be there
        answer = b""
        try:
            while b"\r\n" not in answer:
                chunk = connection.recv(65536)
                if not chunk:
                    return None
                answer += chunk
        except ConnectionResetError:
            return None
    return int(answer.split(b" ", 2)[1])


def put(server, path, body, headers=None, body_hash=None, sent=None, close_early=False):
    """One PUT with a Content-Length; `sent` replaces the bytes that go over the wire."""
    headers = {"content-length": len(body)} | (headers or {})
    head, *_ = signed_head(server, path, headers, body_hash or hashlib.sha256(body).hexdigest())
    return exchange(server, (head + "\r\n").encode() + (body if sent is None else sent), close_early)


def assert_nothing_there(server, s3, bucket):
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0
    # A body that was cut off is cleared away when the server sees the end of its connection.
    until = time.monotonic() + 10
    while server.staging_files() and time.monotonic() < until:
        time.sleep(0.1)
    assert server.staging_files() == []


@pytest.mark.parametrize("length", LENGTHS)
def test_the_hand_made_request_is_right_when_nothing_is_wrong(server, s3, bucket, length):
    body = b"x" * length
    headers = {
        "content-md5": base64.b64encode(hashlib.md5(body).digest()).decode(),
        "x-amz-checksum-crc32": base64.b64encode(zlib.crc32(body).to_bytes(4, "big")).decode(),
    }
    assert put(server, f"/{bucket}/k", body, headers) == 200
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == body
    assert server.staging_files() == []


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("part", [0, 0.5, 1])
def test_truncated_body(server, s3, bucket, length, part):
    body = b"x" * length
    sent = body[: min(int(length * part), length - 1)]
    # The rest never comes: no answer, or an error, but no success.
    status = put(server, f"/{bucket}/k", body, sent=sent, close_early=True)
    assert status is None or 400 <= status < 500, status
    assert_nothing_there(server, s3, bucket)


@pytest.mark.parametrize("length", LENGTHS)
def test_content_length_below_the_body(server, s3, bucket, length):
    body = b"x" * length
    # The hash is that of the whole body, so the shorter body cannot be the one that was signed.
    status = put(server, f"/{bucket}/k", body[:-1], body_hash=hashlib.sha256(body).hexdigest(), sent=body)
    assert status == 400
    assert_nothing_there(server, s3, bucket)


@pytest.mark.parametrize("value", ["-1", "abc", "18446744073709551616", "1, 2"])
def test_content_length_that_is_no_length(server, s3, bucket, value):
    status = put(server, f"/{bucket}/k", b"x", {"content-length": value})
    assert status is None or 400 <= status < 500, status
    assert_nothing_there(server, s3, bucket)


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize(
    "headers",
    [
        {"content-md5": base64.b64encode(hashlib.md5(b"other").digest()).decode()},
        {"content-md5": "not base64"},
        {"x-amz-checksum-crc32": base64.b64encode(b"\0\0\0\1").decode()},
        {"x-amz-checksum-crc32c": base64.b64encode(b"\0\0\0\1").decode()},
        {"x-amz-checksum-crc64nvme": base64.b64encode(b"\0\0\0\0\0\0\0\1").decode()},
        {"x-amz-checksum-sha1": base64.b64encode(hashlib.sha1(b"other").digest()).decode()},
        {"x-amz-checksum-sha256": base64.b64encode(hashlib.sha256(b"other").digest()).decode()},
        {"x-amz-checksum-crc32": "too short"},
    ],
    ids=lambda headers: "-".join(headers)[:30],
)
def test_wrong_checksum_header(server, s3, bucket, headers, length):
    assert put(server, f"/{bucket}/k", b"x" * length, headers) == 400
    assert_nothing_there(server, s3, bucket)


@pytest.mark.parametrize("length", LENGTHS)
def test_wrong_body_hash(server, s3, bucket, length):
    assert put(server, f"/{bucket}/k", b"x" * length, body_hash=hashlib.sha256(b"other").hexdigest()) == 400
    assert_nothing_there(server, s3, bucket)


@pytest.mark.parametrize("length", LENGTHS)
def test_a_changed_header_breaks_the_signature(server, s3, bucket, length):
    body = b"x" * length
    headers = {"content-length": length, "x-amz-meta-color": "blue"}
    head, *_ = signed_head(server, f"/{bucket}/k", headers, hashlib.sha256(body).hexdigest())
    changed = head.replace("x-amz-meta-color: blue", "x-amz-meta-color: red")
    assert changed != head
    assert exchange(server, (changed + "\r\n").encode() + body) == 403
    added = head.replace("x-amz-meta-color: blue", "x-amz-meta-color: blue\r\nx-amz-meta-added: 1")
    assert exchange(server, (added + "\r\n").encode() + body) == 403
    assert_nothing_there(server, s3, bucket)


@pytest.mark.parametrize("minutes", [-20, 20])
def test_a_signature_of_another_time_is_refused(server, s3, bucket, minutes):
    headers = {"content-length": 1}
    head, *_ = signed_head(server, f"/{bucket}/k", headers, hashlib.sha256(b"x").hexdigest(), minutes=minutes)
    assert exchange(server, (head + "\r\n").encode() + b"x") == 403
    assert_nothing_there(server, s3, bucket)


def aws_chunked(server, path, chunks, break_chunk=None, decoded_length=None):
    """A body of signed chunks; the signature of chunk `break_chunk` is wrong."""
    pieces = [*chunks, b""]
    framing = [f"{len(piece):x};chunk-signature={'0' * 64}\r\n" for piece in pieces]
    length = sum(len(frame) + len(piece) + 2 for frame, piece in zip(framing, pieces))
    decoded = sum(map(len, chunks)) if decoded_length is None else decoded_length
    headers = {"content-length": length, "content-encoding": "aws-chunked", "x-amz-decoded-content-length": decoded}
    head, previous, now, scope = signed_head(server, path, headers, "STREAMING-AWS4-HMAC-SHA256-PAYLOAD")
    key, empty = signing_key(now), hashlib.sha256(b"").hexdigest()
    body = b""
    for index, piece in enumerate(pieces):
        hashed = hashlib.sha256(piece).hexdigest()
        text = f"AWS4-HMAC-SHA256-PAYLOAD\n{now}\n{scope}\n{previous}\n{empty}\n{hashed}"
        previous = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
        written = previous if index != break_chunk else previous[:-1] + ("0" if previous[-1] != "0" else "1")
        body += f"{len(piece):x};chunk-signature={written}\r\n".encode() + piece + b"\r\n"
    return (head + "\r\n").encode() + body


CHUNKS = [b"a" * 65536, b"b" * 65536, b"c" * 100_000]


def test_signed_chunks_are_right_when_nothing_is_wrong(server, s3, bucket):
    assert exchange(server, aws_chunked(server, f"/{bucket}/k", CHUNKS)) == 200
    got = s3.get_object(Bucket=bucket, Key="k")
    assert got["Body"].read() == b"".join(CHUNKS)
    assert "aws-chunked" not in got.get("ContentEncoding", "")


@pytest.mark.parametrize("broken", range(len(CHUNKS) + 1))
def test_broken_chunk_signature(server, s3, bucket, broken):
    status = exchange(server, aws_chunked(server, f"/{bucket}/k", CHUNKS, break_chunk=broken))
    assert status is None or status in (400, 403), status
    assert_nothing_there(server, s3, bucket)


def test_changed_chunk(server, s3, bucket):
    request = aws_chunked(server, f"/{bucket}/k", CHUNKS).replace(b"b" * 100, b"B" * 100, 1)
    status = exchange(server, request)
    assert status is None or status in (400, 403), status
    assert_nothing_there(server, s3, bucket)


@pytest.mark.parametrize("off_by", [-1, 1])
def test_wrong_decoded_length(server, s3, bucket, off_by):
    request = aws_chunked(server, f"/{bucket}/k", CHUNKS, decoded_length=sum(map(len, CHUNKS)) + off_by)
    status = exchange(server, request)
    assert status is None or 400 <= status < 500, status
    assert_nothing_there(server, s3, bucket)


def test_missing_last_chunk(server, s3, bucket):
    request = aws_chunked(server, f"/{bucket}/k", CHUNKS)
    end = request.rindex(b"0;chunk-signature=")
    status = exchange(server, request[:end], close_early=True)
    assert status is None or 400 <= status < 500, status
    assert_nothing_there(server, s3, bucket)


def test_a_body_that_fails_leaves_the_old_object(server, s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"old")
    assert put(server, f"/{bucket}/k", b"x" * 300_000, body_hash=hashlib.sha256(b"other").hexdigest()) == 400
    put(server, f"/{bucket}/k", b"x" * 300_000, sent=b"x" * 100_000, close_early=True)
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"old"


@pytest.mark.parametrize("text", [b"\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00", b"GET /%zz HTTP/1.1\r\nhost: x\r\n\r\n"])
def test_no_http_is_no_crash(server, s3, bucket, text):
    status = exchange(server, text, close_early=True)
    assert status is None or 400 <= status < 600, status
    assert_nothing_there(server, s3, bucket)
