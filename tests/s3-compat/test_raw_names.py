"""Names and paths over a bare socket: each is the key that it says, and none is a path."""

import unicodedata
import urllib.parse

import pytest

import raw
from sigv4 import EMPTY, Signed


def request(scene, method, path, body=b"", **changes):
    # HMAC is over the path as it is on the wire; the server tries the encoded and the raw form.
    return raw.ask(scene.server, Signed(scene.server, method, path, body=body, **changes).bytes(), method)


def everything(scene):
    listed = scene.s3.list_objects_v2(Bucket=scene.bucket, EncodingType="url").get("Contents", [])
    return sorted(urllib.parse.unquote(entry["Key"]) for entry in listed)


# Written as the key's bytes; each of them is a key of its own.
KEYS = [
    "../victim/secret.txt", "./a", "..", ".", "a/../b", "a/./b", "/etc/passwd", "//etc/passwd", "a//b", "a", "a/", "a//", "/", "//",
    "..\\..\\windows", "c:\\x", "%2e%2e", "a%00b", "%", "a?b", "a#b", "a;b", "a b", "a+b", "con", "nul.txt", ".hidden", "-rf", "~root",
    "s" * 255 + "/" + "t" * 300, "k" * 1024, "é", "e\u0301", "\u212b", "\u00c5", "A\u030a", "Kelvin \u212a", "Kelvin K", "аdmin",
    "admin", "ADMIN", "\u202egpj.exe", "\ufeffbom", "a\u200bb", "\x01\x1f\x7f", "a\r\nb", "a\tb", "<&>\"']]>", "日本語", "🦀", "\U0010ffff",
]


def test_every_key_is_itself_and_nothing_else(scene):
    assert len(set(KEYS)) == len(KEYS) and any(unicodedata.normalize("NFC", k) != k for k in KEYS)
    victims = scene.before
    for number, key in enumerate(KEYS):
        path = f"/{scene.bucket}/" + urllib.parse.quote(key, safe="/-_.~")
        answer = request(scene, "PUT", path, body=str(number).encode())
        assert answer.status == 200, (key, answer)
    assert everything(scene) == sorted([*KEYS, "secret"])
    for number, key in enumerate(KEYS):
        path = f"/{scene.bucket}/" + urllib.parse.quote(key, safe="/-_.~")
        assert request(scene, "GET", path).body == str(number).encode(), key
    assert [bucket["Name"] for bucket in scene.s3.list_buckets()["Buckets"]] == list(victims)
    for key in KEYS:
        assert request(scene, "DELETE", f"/{scene.bucket}/" + urllib.parse.quote(key, safe="/-_.~")).status == 204, key
    assert everything(scene) == ["secret"]
    scene.assert_unchanged()


def test_all_ways_of_writing_a_slash_are_one_key(scene):
    bucket = scene.bucket
    assert request(scene, "PUT", f"/{bucket}/x/y", body=b"one").status == 200
    for path in (f"/{bucket}/x%2Fy", f"/{bucket}/x%2fy", f"/{bucket}/%78/y"):
        # s3s signs the decoded path, so these are signed for `x/y`.
        signed = Signed(scene.server, "GET", f"/{bucket}/x/y")
        signed.path = path
        assert raw.ask(scene.server, signed.bytes()).body == b"one", path
    assert request(scene, "DELETE", f"/{bucket}/x/y").status == 204
    scene.assert_unchanged()


def steal(bucket, written):
    """Paths that would be another bucket's object if somebody resolved them."""
    return f"/public-bucket/{written.format(victim=bucket)}"


@pytest.mark.parametrize("written", [
    "../{victim}/secret", "%2e%2e/{victim}/secret", "..%2f{victim}%2fsecret", "foo%2f..%2f..%2f{victim}/secret", "%2F{victim}%2Fsecret",
    "..%5c{victim}%5csecret", "....//{victim}/secret", "%252e%252e/{victim}/secret", ".%00./{victim}/secret", "..;/{victim}/secret",
])
def test_no_path_leads_into_another_bucket(scene, written):
    if "public-bucket" not in scene.before:
        scene.s3.create_bucket(Bucket="public-bucket")
        scene.before = raw.state(scene.server, scene.s3)
    path = steal(scene.bucket, written)
    for method in ("GET", "HEAD", "DELETE"):
        signed = Signed(scene.server, method, urllib.parse.quote(urllib.parse.unquote(path), safe="/-_.~"))
        signed.path = path
        answer = raw.ask(scene.server, signed.bytes(), method)
        expected = (400, 400, 400) if "%00" in path else (404, 404, 204)
        assert answer.status == expected[("GET", "HEAD", "DELETE").index(method)], answer
        assert b"do not copy" not in answer.body
    copy = Signed(scene.server, "PUT", "/public-bucket/copied", headers={"x-amz-copy-source": path})
    assert raw.ask(scene.server, copy.bytes()).status in (400, 404)
    scene.assert_unchanged()


BAD_PATHS = {
    "overlong slash": "%c0%af", "overlong dot": "%c0%ae%c0%ae", "overlong NUL": "%c0%80", "three bytes for a slash": "%e0%80%af",
    "a surrogate": "%ed%a0%80", "half a sequence": "%e2%82", "a stray byte": "%ff", "beyond Unicode": "%f4%90%80%80", "NUL": "a%00b",
}


@pytest.mark.parametrize("case", BAD_PATHS)
def test_what_is_not_utf_8_is_no_key(scene, case):
    for method in ("PUT", "GET", "DELETE"):
        answer = request(scene, method, f"/{scene.bucket}/{BAD_PATHS[case]}", body=b"new" if method == "PUT" else b"")
        assert (answer.status, answer.code) == (400, "InvalidURI"), answer
    scene.assert_unchanged()


@pytest.mark.parametrize("key", ["k" * 1025, "é" * 513])
def test_a_key_has_an_end(scene, key):
    answer = request(scene, "PUT", f"/{scene.bucket}/{urllib.parse.quote(key)}", body=b"new")
    assert (answer.status, answer.code) == (400, "KeyTooLongError"), answer
    scene.assert_unchanged()


BUCKETS = [
    "ab", "a" * 64, "Upper", "under_score", "192.168.0.1", "xn--punycode", "sthree-x", "amzn-s3-demo-x", "name-s3alias", "name--ol-s3",
    "name.mrap", "name--x-s3", "name--table-s3", "-first", "last-", ".first", "last.", "two..dots", "space%20inside", "%2e%2e", "..",
    "a%2Fb%2Fc", "bücket", "%00abc", "new%0Aline", "-", "a-b-c%3F",
]


@pytest.mark.parametrize("name", BUCKETS)
def test_bad_names_of_buckets(scene, name):
    encoded = urllib.parse.quote(name, safe="%-_.~")
    decoded = urllib.parse.unquote(encoded)
    signed = Signed(scene.server, "PUT", "/" + urllib.parse.quote(decoded, safe="/-_.~"))
    signed.path = "/" + encoded
    answer = raw.ask(scene.server, signed.bytes())
    if "/" in decoded:
        assert answer.status in (400, 404), answer  # a key in a bucket that is not there
    else:
        assert (answer.status, answer.code) in ((400, "InvalidBucketName"), (400, "InvalidURI")), answer
    scene.assert_unchanged()


@pytest.mark.parametrize("name", ["abc", "a" * 63, "a.b-c.1", "1.2.3", "999.999.999.999"])
def test_good_names_of_buckets(scene, name):
    assert request(scene, "PUT", f"/{name}").status == 200
    assert request(scene, "DELETE", f"/{name}").status == 204
    scene.assert_unchanged()


COPY_SOURCES = ["", "/", "secret", "/raw-requests", "/raw-requests/", "raw-requests/%ff", "/raw-requests/secret?versionId=", "/raw-requests/secret?versionId=x",
                "/raw-requests/secret?acl", "http://x/raw-requests/secret", "arn:aws:s3:::raw-requests/secret", "/Raw-Requests/secret", "//raw-requests/secret", "/raw-requests/secret%00"]


@pytest.mark.parametrize("source", COPY_SOURCES)
def test_bad_copy_sources(scene, source):
    answer = request(scene, "PUT", f"/{scene.bucket}/copied", headers={"x-amz-copy-source": source}, body_hash=EMPTY)
    assert 400 <= answer.status < 500 and answer.code, answer
    scene.assert_unchanged()
