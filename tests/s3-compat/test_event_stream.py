"""`GET /bucket?events`: what happens in a bucket, line by line, from a cursor on."""

import http.client
import json
import time

import pytest
import sigv4
import weir

WITHIN_S = 20


class Stream:
    """One open stream. Signed as any read of a bucket is."""

    def __init__(self, server, bucket, key=weir.ACCESS_KEY, secret=weir.SECRET_KEY, **query):
        pairs = [("events", value) for value in query.pop("events", [""])] + list(query.items())
        signed = sigv4.Signed(server, "GET", f"/{bucket}", query=pairs, key=key, secret=secret)
        self.connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=WITHIN_S)
        headers = signed.headers | {"authorization": signed.authorization}
        self.connection.request("GET", signed.target, headers=headers)
        self.answer = self.connection.getresponse()
        self.status = self.answer.status
        self.cursor = None

    def line(self):
        text = self.answer.readline()
        if not text:
            return None
        document = json.loads(text)
        self.cursor = document.get("cursor", self.cursor)
        return document

    def records(self, count):
        """The next records, heartbeats between them left out."""
        found = []
        until = time.monotonic() + WITHIN_S
        while len(found) < count and time.monotonic() < until:
            document = self.line()
            assert document is not None, "the stream ended"
            found += document["Records"]
        assert len(found) == count
        return found

    def close(self):
        self.connection.close()


@pytest.fixture
def listen(server):
    opened = []

    def listen(bucket, **query):
        stream = Stream(query.pop("at", server), bucket, **query)
        opened.append(stream)
        return stream

    yield listen
    for stream in opened:
        stream.close()


def told(records):
    return [(record["eventName"], record["s3"]["object"]["key"]) for record in records]


def test_changes_come_as_they_happen(s3, bucket, listen):
    stream = listen(bucket)
    assert stream.status == 200 and stream.answer.headers["content-type"] == "application/x-ndjson"
    assert stream.line()["Records"] == []
    etag = s3.put_object(Bucket=bucket, Key="in/red flower.jpg", Body=b"1234567")["ETag"]
    s3.delete_object(Bucket=bucket, Key="in/red flower.jpg")
    first, second = stream.records(2)
    assert first["eventSource"] == "aws:s3" and first["eventName"] == "ObjectCreated:Put"
    assert first["s3"]["bucket"]["name"] == bucket and first["s3"]["bucket"]["arn"] == f"arn:aws:s3:::{bucket}"
    assert first["s3"]["object"]["key"] == "in/red+flower.jpg"
    assert first["s3"]["object"]["size"] == 7 and first["s3"]["object"]["eTag"] == etag.strip('"')
    assert second["eventName"] == "ObjectRemoved:Delete" and "size" not in second["s3"]["object"]
    assert second["s3"]["object"]["sequencer"] > first["s3"]["object"]["sequencer"]


def test_only_what_was_asked_for(s3, bucket, listen):
    stream = listen(bucket, events=["s3:ObjectCreated:*"], prefix="in/", suffix=".jpg", ping="1")
    for key in ["in/a.png", "out/a.jpg", "in/a.jpg"]:
        s3.put_object(Bucket=bucket, Key=key, Body=b"x")
    s3.delete_object(Bucket=bucket, Key="in/a.jpg")
    upload = s3.create_multipart_upload(Bucket=bucket, Key="in/b.jpg")["UploadId"]
    part = s3.upload_part(Bucket=bucket, Key="in/b.jpg", UploadId=upload, PartNumber=1, Body=b"y")
    parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    s3.complete_multipart_upload(Bucket=bucket, Key="in/b.jpg", UploadId=upload, MultipartUpload=parts)
    assert told(stream.records(2)) == [
        ("ObjectCreated:Put", "in/a.jpg"), ("ObjectCreated:CompleteMultipartUpload", "in/b.jpg"),
    ]


def test_other_buckets_and_beats(s3, bucket, name, listen):
    stream = listen(bucket, ping="1")
    stream.line()
    s3.create_bucket(Bucket=name + "-2")
    s3.put_object(Bucket=name + "-2", Key="elsewhere", Body=b"x")
    before = stream.cursor
    assert stream.line()["Records"] == [] and stream.line()["Records"] == []
    assert stream.cursor >= before


def test_a_reader_goes_on_where_it_was(own_server):
    s3 = weir.boto3_client(own_server)
    s3.create_bucket(Bucket="resumed")
    stream = Stream(own_server, "resumed")
    s3.put_object(Bucket="resumed", Key="one", Body=b"x")
    assert told(stream.records(1)) == [("ObjectCreated:Put", "one")]
    stream.close()
    s3.put_object(Bucket="resumed", Key="two", Body=b"x")
    own_server.restart_killed()
    s3 = weir.boto3_client(own_server)
    s3.put_object(Bucket="resumed", Key="three", Body=b"x")
    again = Stream(own_server, "resumed", cursor=stream.cursor)
    assert told(again.records(2)) == [("ObjectCreated:Put", "two"), ("ObjectCreated:Put", "three")]
    # A stop is not held up by readers, and they see the end.
    began = time.monotonic()
    assert own_server.stop() == 0 and time.monotonic() - began < 10
    while again.line() is not None:
        pass
    again.close()


def test_a_deleted_bucket_ends_the_stream(s3, name, listen):
    s3.create_bucket(Bucket=name)
    stream = listen(name, ping="1")
    stream.line()
    s3.delete_bucket(Bucket=name)
    until = time.monotonic() + WITHIN_S
    while stream.line() is not None:
        assert time.monotonic() < until


def test_a_cursor_below_the_horizon_is_gone(own_server):
    own_server.stop()
    own_server.flags = ["--segment-bytes", str(1024 * 1024)]
    own_server.start()
    s3 = weir.boto3_client(own_server)
    s3.create_bucket(Bucket="busy-bucket")
    stream = Stream(own_server, "busy-bucket")
    stream.line()
    stream.close()
    for round in range(120):
        s3.put_object(Bucket="busy-bucket", Key="same", Body=b"x" * 60_000)
    until = time.monotonic() + 30
    own_server.restart_killed()
    while True:
        late = Stream(own_server, "busy-bucket", cursor=stream.cursor)
        late.close()
        if late.status == 410:
            break
        assert late.status == 200 and time.monotonic() < until
        time.sleep(0.5)


@pytest.mark.parametrize("query, code", [
    ({"events": ["s3:ObjectCreated:Nothing"]}, "InvalidArgument"),
    ({"cursor": "x"}, "InvalidArgument"),
    ({"cursor": "ffffffffffffffff"}, "InvalidArgument"),
    ({"ping": "0"}, "InvalidArgument"),
    ({"unknown": "1"}, "NotImplemented"),
])
def test_what_is_refused(bucket, listen, query, code):
    stream = listen(bucket, **query)
    assert stream.status >= 400 and f"<Code>{code}</Code>" in stream.answer.read().decode()


def test_only_who_may_read_the_bucket(server, bucket, listen):
    server.run("key", "import", "--owner", "stranger", "--access-key", "STRANGEREVENTS000001",
               "--secret-key", "stranger/secret/of/forty/characters/0000", "--data", str(server.data))
    stranger = listen(bucket, key="STRANGEREVENTS000001", secret="stranger/secret/of/forty/characters/0000")
    assert stranger.status == 403
    assert listen(bucket, secret="wrong").status == 403
    assert listen("no-such-bucket-here").status == 404
    anonymous = http.client.HTTPConnection("127.0.0.1", server.port, timeout=WITHIN_S)
    anonymous.request("GET", f"/{bucket}?events")
    assert anonymous.getresponse().status == 403
    anonymous.close()
