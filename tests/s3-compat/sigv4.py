"""Signature Version 4 by hand, so that a test can be wrong in one place. Nothing here is the server's code."""

import datetime
import hashlib
import hmac
import urllib.parse

import weir

EMPTY = hashlib.sha256(b"").hexdigest()


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def time_of(minutes=0):
    moment = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(minutes=minutes)
    return moment.strftime("%Y%m%dT%H%M%SZ")


def hmac_hex(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


def signing_key(now, secret=weir.SECRET_KEY, region=weir.REGION, service="s3"):
    key = ("AWS4" + secret).encode()
    for part in (now[:8], region, service, "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return key


def canonical(method, path, query, headers, names, body_hash):
    pairs = sorted((quote(k), quote(v)) for k, v in query)
    lines = "".join(f"{name}:{headers[name].strip()}\n" for name in names)
    query = "&".join(f"{k}={v}" for k, v in pairs)
    # The path is on the wire as it is signed: callers give it encoded.
    return f"{method}\n{path}\n{query}\n{lines}\n{';'.join(names)}\n{body_hash}"


def quote(text):
    return urllib.parse.quote(text, safe="-_.~")


class Signed:
    """A request that is signed in its headers. `unsigned` is added behind, `names` replaces the list of what is signed."""

    def __init__(self, server, method, path, headers=None, body=b"", query=(), body_hash=None, minutes=0, unsigned=None,
                 key=weir.ACCESS_KEY, secret=weir.SECRET_KEY, region=weir.REGION, service="s3", without=(), host=None):
        self.now = time_of(minutes)
        self.scope = f"{self.now[:8]}/{region}/{service}/aws4_request"
        self.body_hash = sha256(body) if body_hash is None else body_hash
        self.method, self.path, self.query, self.body = method, path, list(query), body
        self.headers = {
            "host": host or f"127.0.0.1:{server.port}", "x-amz-content-sha256": self.body_hash, "x-amz-date": self.now,
        } | {name.lower(): str(value) for name, value in (headers or {}).items()}
        self.names = sorted(name for name in self.headers if name not in without)
        text = canonical(method, path, self.query, self.headers, self.names, self.body_hash)
        text = f"AWS4-HMAC-SHA256\n{self.now}\n{self.scope}\n{sha256(text.encode())}"
        self.key = signing_key(self.now, secret, region, service)
        self.signature = hmac_hex(self.key, text)
        self.authorization = (
            f"AWS4-HMAC-SHA256 Credential={key}/{self.scope}, SignedHeaders={';'.join(self.names)}, "
            f"Signature={self.signature}"
        )
        self.unsigned = dict(unsigned or {})

    @property
    def target(self):
        query = "&".join(f"{quote(k)}={quote(v)}" for k, v in self.query)
        return self.path + (f"?{query}" if query else "")

    def head(self, *more):
        """Up to and with the last header's line end; the empty line is the caller's."""
        headers = self.headers | {"authorization": self.authorization} | self.unsigned
        lines = [f"{name}: {value}" for name, value in headers.items()] + list(more)
        return f"{self.method} {self.target} HTTP/1.1\r\n" + "".join(line + "\r\n" for line in lines)

    def bytes(self, *more):
        length = [] if {"content-length", "transfer-encoding"} & set(self.headers | self.unsigned) else (
            [f"content-length: {len(self.body)}"] if self.method in ("PUT", "POST") else [])
        return (self.head(*length, *more) + "\r\n").encode("utf-8", "surrogateescape") + self.body


def presigned(server, method, path, query=(), expires="60", minutes=0, headers=None, region=weir.REGION, service="s3",
              key=weir.ACCESS_KEY, secret=weir.SECRET_KEY, change=None):
    """The target of a presigned URL. `change` edits the signing parameters before they are signed."""
    now = time_of(minutes)
    scope = f"{now[:8]}/{region}/{service}/aws4_request"
    headers = {"host": f"127.0.0.1:{server.port}"} | (headers or {})
    names = sorted(headers)
    parameters = {
        "X-Amz-Algorithm": "AWS4-HMAC-SHA256", "X-Amz-Credential": f"{key}/{scope}", "X-Amz-Date": now,
        "X-Amz-Expires": expires, "X-Amz-SignedHeaders": ";".join(names),
    }
    if change:
        change(parameters)
    pairs = list(query) + list(parameters.items())
    text = canonical(method, path, pairs, headers, names, "UNSIGNED-PAYLOAD")
    text = f"AWS4-HMAC-SHA256\n{now}\n{scope}\n{sha256(text.encode())}"
    signature = hmac_hex(signing_key(now, secret, region, service), text)
    query = "&".join(f"{quote(k)}={quote(v)}" for k, v in pairs)
    return f"{path}?{query}&X-Amz-Signature={signature}"


def signed_chunks(request, chunks, break_chunk=None, line=None):
    """The body of STREAMING-AWS4-HMAC-SHA256-PAYLOAD for a `Signed` request; the signature of one chunk may be wrong."""
    previous, body = request.signature, b""
    for index, piece in enumerate([*chunks, b""]):
        text = f"AWS4-HMAC-SHA256-PAYLOAD\n{request.now}\n{request.scope}\n{previous}\n{EMPTY}\n{sha256(piece)}"
        previous = hmac_hex(request.key, text)
        written = previous if index != break_chunk else previous[:-1] + ("0" if previous[-1] != "0" else "1")
        size = line(index, len(piece)) if line else f"{len(piece):x}"
        body += f"{size};chunk-signature={written}\r\n".encode() + piece + b"\r\n"
    return body


def unsigned_chunks(chunks, trailer=""):
    """The body of STREAMING-UNSIGNED-PAYLOAD-TRAILER."""
    return b"".join(f"{len(piece):x}\r\n".encode() + piece + b"\r\n" for piece in chunks) + f"0\r\n{trailer}\r\n".encode()
