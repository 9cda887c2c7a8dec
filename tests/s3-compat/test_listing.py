"""Listings over HTTP against a model of a few lines: both versions and that of versions, with and without `encoding-type`,
from markers, tokens and `start-after`. `tests/model/tests/listings.rs` compares many more, below HTTP.

`WEIR_LISTING_HTTP_SETS` sets how many sets of keys (4 otherwise), `WEIR_SEED` where to begin.
"""

import http.client
import os
import random
import urllib.parse
import uuid
import xml.etree.ElementTree as ElementTree

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

import weir

SETS = int(os.environ.get("WEIR_LISTING_HTTP_SETS", 4))
FIRST = int(os.environ.get("WEIR_SEED", 1))
PAGE_SIZES = [1, 2, 7, 999, 1000]
DELIMITERS = ["", "/", "//", "ab", "ü"]
PIECES = ["a", "b", "ab", "A", "/", "/", "/", "//", "ü", "é", "\ufffd", "🦀", "\U0010ffff", " ", "%", "+", "&", "<", "]]>", "'\"", ".", "..", "~"]
# These break lines of XML; nothing below a space can stand in XML 1.0 at all.
LINE_PIECES = ["\t", "\n", "\r", "\x85", "\u2028"]
NAMESPACE = "{http://s3.amazonaws.com/doc/2006-03-01/}"


class Raw:
    """Requests as they are on the wire; boto3 would add `encoding-type` and decode the answer."""

    def __init__(self, server):
        self.server = server
        self.connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        self.auth = S3SigV4Auth(Credentials(weir.ACCESS_KEY, weir.SECRET_KEY), "s3", weir.REGION)

    def request(self, method, path, query=()):
        target = urllib.parse.quote(path, safe="/~")
        if query:
            target += "?" + urllib.parse.urlencode(query, quote_via=urllib.parse.quote)
        request = AWSRequest(method, self.server.endpoint + target)
        self.auth.add_auth(request)
        self.connection.request(method, target, headers=dict(request.headers.items()))
        answer = self.connection.getresponse()
        body = answer.read()
        assert answer.status == 200, (method, target, answer.status, body)
        return body


def model(keys, prefix, delimiter):
    listed = set()
    for key in keys:
        if key.startswith(prefix):
            at = key.find(delimiter, len(prefix)) if delimiter else -1
            listed.add((key, False) if at < 0 else (key[: at + len(delimiter)], True))
    return sorted(listed, key=lambda entry: entry[0].encode())


def some_keys(numbers):
    pieces = PIECES + (LINE_PIECES if numbers.random() < 0.5 else [])
    keys = {"".join(numbers.choices(pieces, k=numbers.randint(1, 6))) for _ in range(numbers.choice([1, 20, 60, 120, 120]))}
    keys |= {key + "/" for key in list(keys)[:3]}
    return keys | {"x" * 1024, "ü" * 512, "/" * 1024, numbers.choice(["ab/", "a/"]) + "🦀" * 255}


class Listing:
    """One of the three, paged in its own way."""

    def __init__(self, raw, bucket, kind, encoded):
        self.raw, self.bucket, self.kind, self.encoded = raw, bucket, kind, encoded
        self.pages = 0

    def page(self, **query):
        if self.kind == "versions":
            query["versions"] = ""
        if self.kind == "v2":
            query["list-type"] = "2"
        if self.encoded:
            query["encoding-type"] = "url"
        self.pages += 1
        return ElementTree.fromstring(self.raw.request("GET", f"/{self.bucket}", sorted(query.items())))

    def text(self, element, name):
        found = element.find(NAMESPACE + name)
        text = None if found is None else found.text or ""
        names = ("Key", "Prefix", "Delimiter", "Marker", "NextMarker", "KeyMarker", "NextKeyMarker", "StartAfter")
        return urllib.parse.unquote(text) if text and self.encoded and name in names else text

    def walk(self, prefix, delimiter, limit, start=None, fetch_owner=False):
        query = {"prefix": prefix, "delimiter": delimiter, "max-keys": str(limit)}
        place = {}
        if start is not None:
            place = {{"v1": "marker", "v2": "start-after", "versions": "key-marker"}[self.kind]: start}
        found = []
        while True:
            page = self.page(**query, **place, **({"fetch-owner": "true"} if fetch_owner else {}))
            assert (self.text(page, "Name"), self.text(page, "Prefix") or "") == (self.bucket, prefix)
            assert (self.text(page, "Delimiter") or "", self.text(page, "MaxKeys")) == (delimiter, str(limit))
            assert self.text(page, "EncodingType") == ("url" if self.encoded else None)
            objects = page.findall(NAMESPACE + ("Version" if self.kind == "versions" else "Contents"))
            for entry in objects:
                assert (entry.find(NAMESPACE + "Owner") is not None) == (self.kind != "v2" or fetch_owner)
                assert (self.text(entry, "Size"), self.text(entry, "ETag")) == ("0", '"d41d8cd98f00b204e9800998ecf8427e"')
                if self.kind == "versions":
                    assert (self.text(entry, "VersionId"), self.text(entry, "IsLatest")) == ("null", "true")
            entries = [(self.text(entry, "Key"), False) for entry in objects]
            entries += [(self.text(entry, "Prefix"), True) for entry in page.findall(NAMESPACE + "CommonPrefixes")]
            found += sorted(entries, key=lambda entry: entry[0].encode())
            assert len(found) == len(set(found)), f"listed twice, from {place}"
            if self.kind == "v2":
                assert self.text(page, "KeyCount") == str(len(entries))
            if self.text(page, "IsTruncated") == "false":
                assert len(entries) <= limit
                for name in "NextMarker", "NextContinuationToken", "NextKeyMarker":
                    assert page.find(NAMESPACE + name) is None
                return found
            assert len(entries) == limit
            if self.kind == "v1":
                place = {"marker": self.text(page, "NextMarker")}
            elif self.kind == "v2":
                place = {"continuation-token": self.text(page, "NextContinuationToken")}
            else:
                place = {"key-marker": self.text(page, "NextKeyMarker")}
                version = self.text(page, "NextVersionIdMarker")
                place |= {"version-id-marker": version} if version else {}


@pytest.mark.parametrize("seed", range(FIRST, FIRST + SETS))
def test_random_keys_are_listed_as_the_model_says(server, s3, seed):
    numbers = random.Random(seed)
    bucket = f"listing-{uuid.uuid4().hex[:16]}"
    s3.create_bucket(Bucket=bucket)
    raw, keys = Raw(server), some_keys(numbers)
    for key in keys:
        raw.request("PUT", f"/{bucket}/{key}")
    pages = 0
    for kind in "v1", "v2", "versions":
        for encoded in False, True:
            listing = Listing(raw, bucket, kind, encoded)
            for delimiter in DELIMITERS:
                for limit in [numbers.choice(PAGE_SIZES[:3]), numbers.choice(PAGE_SIZES[3:])]:
                    key = numbers.choice(sorted(keys))
                    prefix = numbers.choice(["", "", "a", "none", key[: numbers.randint(0, len(key))]])
                    expected = model(keys, prefix, delimiter)
                    assert listing.walk(prefix, delimiter, limit, fetch_owner=kind == "v2" and numbers.random() < 0.5) == expected
                    start = numbers.choice([key, key[:-1], key + "a", numbers.choice(PIECES)]) or "a"
                    if kind == "v2":
                        # Keys after it are folded, so that a prefix which has such keys is there again.
                        expected = model({key for key in keys if key.encode() > start.encode()}, prefix, delimiter)
                    else:
                        # Entries after it: a prefix whose name is not after it is not there again.
                        expected = [entry for entry in expected if entry[0].encode() > start.encode()]
                    assert listing.walk(prefix, delimiter, limit, start) == expected, (kind, prefix, delimiter, start)
            pages += listing.pages
    print(f"{len(keys)} keys: {pages} pages agree")
    assert pages > 100


def test_a_page_of_nothing(server, bucket, s3):
    s3.put_object(Bucket=bucket, Key="k", Body=b"")
    for kind in "v1", "v2", "versions":
        assert Listing(Raw(server), bucket, kind, False).walk("", "", 0) == []


def test_a_token_wins_over_start_after(server, bucket, s3):
    for key in "abcd":
        s3.put_object(Bucket=bucket, Key=key, Body=b"")
    first = s3.list_objects_v2(Bucket=bucket, MaxKeys=1, StartAfter="a")
    token = first["NextContinuationToken"]
    second = s3.list_objects_v2(Bucket=bucket, MaxKeys=1, StartAfter="c", ContinuationToken=token)
    assert [first["Contents"][0]["Key"], second["Contents"][0]["Key"]] == ["b", "c"]
    assert (second["StartAfter"], second["ContinuationToken"]) == ("c", token)
