"""XML documents and large bodies over a bare socket: what is refused, and how much memory the server takes for it."""

import base64
import hashlib
import os
import re
import threading

import pytest

import raw
import sigv4
from sigv4 import Signed

MALFORMED = (400, "MalformedXML")
# What a debug build with its allocator may keep beside the bodies that are under test.
SPARE_MIB = 40


def post(scene, target_query, document, path="", **changes):
    md5 = base64.b64encode(hashlib.md5(document).digest()).decode()
    return Signed(scene.server, "POST", f"/{scene.bucket}{path}", query=target_query, body=document, headers={"content-md5": md5}, **changes)


def delete(scene, document, **changes):
    return post(scene, [("delete", "")], document, **changes)


def names(*keys):
    return "".join(f"<Object><Key>{key}</Key></Object>" for key in keys)


DOCUMENTS = {
    "empty": b"",
    "no XML": b"key=secret",
    "JSON": b'{"Objects": [{"Key": "secret"}]}',
    "another root": b"<Erase><Object><Key>secret</Key></Object></Erase>",
    "no end": b"<Delete><Object><Key>secret</Key></Object>",
    "ends crossed": b"<Delete><Object><Key>secret</Object></Key></Delete>",
    "more behind": b"<Delete><Object><Key>secret</Key></Object></Delete><Delete/>",
    "a document type": b"<!DOCTYPE Delete><Delete><Object><Key>secret</Key></Object></Delete>",
    "T13 an entity": b"<!DOCTYPE d [<!ENTITY e 'secret'>]><Delete><Object><Key>&e;</Key></Object></Delete>",
    "T13 an entity of a file": b"<!DOCTYPE d [<!ENTITY e SYSTEM 'file:///etc/passwd'>]><Delete><Object><Key>&e;</Key></Object></Delete>",
    "T13 a billion laughs": b"<!DOCTYPE d [<!ENTITY a 'aaaaaaaaaa'><!ENTITY b '&a;&a;&a;&a;&a;&a;&a;&a;'>]><Delete><Object><Key>&b;</Key></Object></Delete>",
    "an undefined entity": b"<Delete><Object><Key>secret&nbsp;</Key></Object></Delete>",
    "CDATA in a key": b"<Delete><Object><Key>sec<![CDATA[ret]]></Key></Object></Delete>",
    "CDATA behind a key": b"<Delete><Object><Key>secret<![CDATA[.bak]]></Key></Object></Delete>",
    "a processing instruction": b"<Delete><?x y?><Object><Key>secret</Key></Object></Delete>",
    "T13 200,000 inside of each other": b"<Delete>" + b"<a>" * 200_000 + b"</a>" * 200_000 + b"</Delete>",
    "33 inside of each other": b"<Delete>" + b"<a>" * 33 + b"</a>" * 33 + b"</Delete>",
    "200,000 elements": b"<Delete>" + b"<a/>" * 200_000 + b"</Delete>",
    "200,000 comments": b"<Delete>" + b"<!---->" * 200_000 + b"</Delete>",
    "1001 keys": f"<Delete>{names(*['secret'] * 1001)}</Delete>".encode(),
    "no key": b"<Delete><Object></Object></Delete>",
    "two keys in one": b"<Delete><Object><Key>a</Key><Key>secret</Key></Object></Delete>",
    "a truth that is none": b"<Delete><Quiet>maybe</Quiet><Object><Key>secret</Key></Object></Delete>",
    "a stray byte": b"<Delete><Object><Key>secret\xff</Key></Object></Delete>",
    "UTF-16": "<Delete><Object><Key>secret</Key></Object></Delete>".encode("utf-16"),
    "a NUL": b"<Delete><Object><Key>secret\0</Key></Object></Delete>",
}


@pytest.mark.parametrize("case", DOCUMENTS)
def test_bad_documents(scene, case):
    if case in ("a NUL",):
        # A key that no client can have made: an outcome of its own, and nothing is deleted.
        assert raw.ask(scene.server, delete(scene, DOCUMENTS[case]).bytes()).status in (200, 400)
    else:
        answer = raw.ask(scene.server, delete(scene, DOCUMENTS[case]).bytes())
        expected = [MALFORMED] if DOCUMENTS[case] else [MALFORMED, (400, "MissingRequestBodyError")]
        assert (answer.status, answer.code) in expected, answer
    scene.assert_unchanged()


def test_a_document_has_a_largest_length(scene):
    for query, path, length in (([("delete", "")], "", 2 * 1024 * 1024), ([("uploadId", "x")], "/k", 2 * 1024 * 1024)):
        answer = raw.ask(scene.server, post(scene, query, b"<a>" + b" " * length + b"</a>", path).bytes())
        assert (answer.status, answer.code) == (400, "MaxMessageLengthExceeded"), answer
    create = Signed(scene.server, "PUT", "/another", body=b"<a>" + b" " * 64 * 1024 + b"</a>")
    assert raw.ask(scene.server, create.bytes()).code == "MaxMessageLengthExceeded"
    scene.assert_unchanged()


def test_a_document_in_chunks_is_refused(scene):
    document = f"<Delete>{names('secret')}</Delete>".encode()
    body = sigv4.unsigned_chunks([document])
    request = Signed(scene.server, "POST", f"/{scene.bucket}", query=[("delete", "")], body_hash="STREAMING-UNSIGNED-PAYLOAD-TRAILER", headers={
        "content-length": len(body), "x-amz-decoded-content-length": len(document), "x-amz-trailer": "x-amz-checksum-crc32"})
    answer = raw.ask(scene.server, (request.head() + "\r\n").encode() + body)
    assert (answer.status, answer.code) == (501, "NotImplemented"), answer
    scene.assert_unchanged()


def test_a_document_that_was_not_signed_is_refused(scene):
    request = delete(scene, f"<Delete>{names('other!')}</Delete>".encode())
    request.body = f"<Delete>{names('secret')}</Delete>".encode()
    answer = raw.ask(scene.server, request.bytes())
    assert answer.status == 400, answer
    scene.assert_unchanged()


def test_long_lists_pass(scene):
    keys = [f"{number:04}" + "k" * 1020 for number in range(1000)]
    answer = raw.ask(scene.server, delete(scene, f"<Delete>{names(*keys)}</Delete>".encode()).bytes())
    assert answer.status == 200 and answer.body.count(b"<Deleted>") == 1000, answer
    scene.assert_unchanged()


def complete(scene, upload, parts):
    return post(scene, [("uploadId", upload)], f"<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>".encode(), "/large")


def test_bad_lists_of_parts(scene):
    upload = scene.s3.create_multipart_upload(Bucket=scene.bucket, Key="large")["UploadId"]
    etag = scene.s3.upload_part(Bucket=scene.bucket, Key="large", UploadId=upload, PartNumber=1, Body=b"x")["ETag"].strip('"')
    part = "<Part><PartNumber>{}</PartNumber><ETag>{}</ETag></Part>"
    for parts, code in {
        "": "MalformedXML", "<Part/>": "MalformedXML", part.format(0, etag): "InvalidArgument", part.format(10001, etag): "InvalidArgument",
        part.format(-1, etag): "MalformedXML", part.format("1e0", etag): "MalformedXML", part.format(2**40, etag): "MalformedXML",
        part.format(1, "0" * 32): "InvalidPart", part.format(2, etag): "InvalidPart", part.format(1, etag) * 2: "InvalidPartOrder",
        part.format(1, etag) * 10_001: "MalformedXML", "<Part>" + "<a/>" * 200_000 + "</Part>": "MalformedXML",
    }.items():
        answer = raw.ask(scene.server, complete(scene, upload, parts).bytes())
        assert (answer.status, answer.code) == (400, code), (parts[:100], answer)
    scene.s3.abort_multipart_upload(Bucket=scene.bucket, Key="large", UploadId=upload)
    scene.assert_unchanged()


def grown(scene, act):
    """By how many MiB the server's memory grew at most while `act` ran."""
    raw.reset_peak(scene.server)
    before = raw.rss_mib(scene.server)
    act()
    return raw.peak_mib(scene.server) - before


def test_memory_of_a_200_000_element_document(scene):
    document = DOCUMENTS["200,000 elements"]

    def send():
        for _ in range(20):
            assert raw.ask(scene.server, delete(scene, document).bytes()).code == "MalformedXML"

    assert grown(scene, send) < SPARE_MIB


def test_memory_of_one_chunk_of_256_mib(scene):
    length = 256 * 1024 * 1024
    piece = b"x" * 1024 * 1024

    def unsigned():
        head = f"{length:x}\r\n".encode()
        end = b"\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n"
        request = Signed(scene.server, "PUT", f"/{scene.bucket}/k", body_hash="STREAMING-UNSIGNED-PAYLOAD-TRAILER", headers={
            "content-length": len(head) + length + len(end), "x-amz-decoded-content-length": length, "x-amz-trailer": "x-amz-checksum-crc32"})
        with raw.Connection(scene.server.port, timeout=120) as connection:
            connection.send((request.head() + "\r\n").encode() + head)
            for _ in range(256):
                connection.send(piece)
            connection.send(end)
            answer = connection.answer()
        assert (answer.status, answer.code) == (400, "BadDigest"), answer

    def signed():
        head = f"{length:x};chunk-signature={'0' * 64}\r\n".encode()
        request = Signed(scene.server, "PUT", f"/{scene.bucket}/k", body_hash="STREAMING-AWS4-HMAC-SHA256-PAYLOAD", headers={
            "content-length": len(head) + length, "x-amz-decoded-content-length": length})
        with raw.Connection(scene.server.port, timeout=120) as connection:
            connection.send((request.head() + "\r\n").encode() + head + piece)
            answer = connection.answer()
        assert (answer.status, answer.code) == (400, "InvalidRequest"), answer

    assert grown(scene, unsigned) < SPARE_MIB and grown(scene, signed) < SPARE_MIB
    scene.assert_unchanged()


def test_memory_of_an_anonymous_form_of_200_mb(scene):
    boundary = "x" * 20
    head = f'--{boundary}\r\ncontent-disposition: form-data; name="key"\r\n\r\nk\r\n--{boundary}\r\ncontent-disposition: form-data; name="file"\r\n\r\n'.encode()
    end = f"\r\n--{boundary}--\r\n".encode()
    length = 200_000_000

    def send():
        with raw.Connection(scene.server.port, timeout=120) as connection:
            connection.send((f"POST /{scene.bucket} HTTP/1.1\r\nhost: 127.0.0.1:{scene.server.port}\r\ncontent-length: {len(head) + length + len(end)}\r\n"
                             f"content-type: multipart/form-data; boundary={boundary}\r\n\r\n").encode() + head)
            for _ in range(200):
                connection.send(b"x" * 1_000_000)
            connection.send(end)
            answer = connection.answer()
        assert answer is None or answer.status in (403, 501), answer

    assert grown(scene, send) < SPARE_MIB
    scene.assert_unchanged()


def test_memory_of_a_list_of_10_000_parts(scene):
    """The longest list that may come is read to its end: it is the part that is missing that is wrong with it."""
    upload = scene.s3.create_multipart_upload(Bucket=scene.bucket, Key="large")["UploadId"]
    etag = scene.s3.upload_part(Bucket=scene.bucket, Key="large", UploadId=upload, PartNumber=1, Body=b"x")["ETag"].strip('"')
    sha256 = base64.b64encode(bytes(32)).decode()
    plain = "".join(f"<Part><PartNumber>{number}</PartNumber><ETag>&quot;{etag}&quot;</ETag></Part>\n" for number in range(1, 10_001))
    full = plain.replace("</ETag>", f"</ETag><ChecksumSHA256>{sha256}</ChecksumSHA256>")

    def send():
        for parts in (plain, full):
            answer = raw.ask(scene.server, complete(scene, upload, parts).bytes())
            assert (answer.status, answer.code) == (400, "InvalidPart"), answer

    assert grown(scene, send) < SPARE_MIB
    scene.s3.abort_multipart_upload(Bucket=scene.bucket, Key="large", UploadId=upload)
    scene.assert_unchanged()


@pytest.mark.skipif(not os.environ.get("WEIR_LONG_TESTS"), reason="three minutes: set WEIR_LONG_TESTS=1")
def test_10_000_parts_are_completed(scene):
    """Parts but the last have 5 MiB at least, so these are copies."""
    s3, bucket = scene.s3, scene.bucket
    size = 5 * 1024 * 1024
    s3.put_object(Bucket=bucket, Key="source", Body=b"p" * size)
    upload = s3.create_multipart_upload(Bucket=bucket, Key="large")["UploadId"]
    server = scene.server
    etags = {}

    def copy(first):
        with raw.Connection(server.port, timeout=60) as connection:
            for number in range(first, 10_001, 8):
                request = Signed(server, "PUT", f"/{bucket}/large", query=[("partNumber", str(number)), ("uploadId", upload)],
                                 headers={"x-amz-copy-source": f"/{bucket}/source"})
                connection.send(request.bytes())
                etags[number] = re.search(rb"[0-9a-f]{32}", connection.answer().body)[0].decode()

    threads = [threading.Thread(target=copy, args=(first,)) for first in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    parts = "".join(f"<Part><PartNumber>{number}</PartNumber><ETag>&quot;{etags[number]}&quot;</ETag></Part>\n" for number in sorted(etags))
    answers = []
    memory = grown(scene, lambda: answers.append(raw.ask(server, complete(scene, upload, parts).bytes())))
    assert answers[0].status == 200, answers
    assert memory < SPARE_MIB
    head = s3.head_object(Bucket=bucket, Key="large")
    assert head["ContentLength"] == 10_000 * size and head["ETag"].endswith('-10000"')
    got = s3.get_object(Bucket=bucket, Key="large", Range=f"bytes={9_999 * size - 2}-{9_999 * size + 1}")
    assert got["Body"].read() == b"pppp"
    for key in ("large", "source"):
        s3.delete_object(Bucket=bucket, Key=key)
    scene.assert_unchanged()
