"""Server access logs: which lines a bucket's requests leave, and where they arrive."""

import re
import shlex
import time
import uuid

import pytest
import urllib3

import raw
import weir

HTTP = urllib3.PoolManager(retries=False)

FIELDS = [
    "owner", "bucket", "time", "remote", "requester", "request_id", "operation", "key", "request", "status", "code", "sent",
    "size", "total", "turnaround", "referer", "agent", "version", "host_id", "signature", "cipher", "authentication", "host",
    "tls", "access_point", "acl",
]


@pytest.fixture(scope="module")
def logging_server(tmp_path_factory):
    """It delivers every second."""
    running = weir.Server(tmp_path_factory.mktemp("logs") / "data", flags=["--access-log-seconds", "1"]).start()
    yield running
    assert running.stop() == 0


@pytest.fixture
def place(logging_server):
    """A bucket, the bucket of its logs, and a client."""
    s3 = weir.boto3_client(logging_server)
    name = f"test-{uuid.uuid4().hex[:20]}"
    s3.create_bucket(Bucket=name)
    s3.create_bucket(Bucket=f"{name}-logs")
    return s3, name, f"{name}-logs"


def log_to(s3, bucket, logs, prefix="log/", **more):
    target = {"TargetBucket": logs, "TargetPrefix": prefix} | more
    s3.put_bucket_logging(Bucket=bucket, BucketLoggingStatus={"LoggingEnabled": target})


def parse(text):
    entries = []
    for line in text.splitlines():
        values = shlex.split(line.replace("[", '"').replace("]", '"'))
        assert len(values) == len(FIELDS), line
        entries.append(dict(zip(FIELDS, values)))
    return entries


def arrived(s3, logs, wanted, prefix="", within_s=20):
    """The lines of all logs, once `wanted` is true of them."""
    until = time.monotonic() + within_s
    while True:
        keys = [entry["Key"] for entry in s3.list_objects_v2(Bucket=logs, Prefix=prefix).get("Contents", [])]
        entries = parse("".join(s3.get_object(Bucket=logs, Key=key)["Body"].read().decode() for key in keys))
        if wanted(entries):
            return keys, entries
        assert time.monotonic() < until, entries
        time.sleep(0.2)


def test_every_request_leaves_a_line(logging_server, place):
    s3, bucket, logs = place
    log_to(s3, bucket, logs)
    put = s3.put_object(Bucket=bucket, Key="folder/a key+ü", Body=b"x" * 5000)
    s3.get_object(Bucket=bucket, Key="folder/a key+ü")["Body"].read()
    s3.get_object(Bucket=bucket, Key="folder/a key+ü", Range="bytes=0-99")["Body"].read()
    s3.head_object(Bucket=bucket, Key="folder/a key+ü")
    with pytest.raises(s3.exceptions.NoSuchKey):
        s3.get_object(Bucket=bucket, Key="missing")
    s3.list_objects_v2(Bucket=bucket)
    s3.get_bucket_versioning(Bucket=bucket)
    s3.copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": "folder/a key+ü"})
    s3.delete_object(Bucket=bucket, Key="copy")
    keys, entries = arrived(s3, logs, lambda entries: len(entries) >= 10, "log/")

    for key in keys:
        assert re.fullmatch(r"log/\d{4}-\d\d-\d\d-\d\d-\d\d-\d\d-[0-9A-F]{16}", key), key
    assert s3.head_object(Bucket=logs, Key=keys[0])["ContentType"] == "text/plain"
    found = [(entry["operation"], entry["status"], entry["code"], entry["sent"], entry["size"]) for entry in entries]
    body = lambda operation: next(entry["sent"] for entry in entries if entry["operation"] == operation)
    missing = next(entry["sent"] for entry in entries if entry["code"] == "NoSuchKey")
    expected = [
        ("REST.PUT.OBJECT", "200", "-", "-", "5000"),
        ("REST.GET.OBJECT", "200", "-", "5000", "5000"),
        ("REST.GET.OBJECT", "206", "-", "100", "5000"),
        ("REST.HEAD.OBJECT", "200", "-", "-", "5000"),
        ("REST.GET.OBJECT", "404", "NoSuchKey", missing, "-"),
        ("REST.GET.BUCKET", "200", "-", body("REST.GET.BUCKET"), "-"),
        ("REST.GET.VERSIONING", "200", "-", body("REST.GET.VERSIONING"), "-"),
        ("REST.COPY.OBJECT_GET", "200", "-", "-", "-"),
        ("REST.COPY.OBJECT", "200", "-", body("REST.COPY.OBJECT"), "-"),
        ("REST.DELETE.OBJECT", "204", "-", "-", "-"),
    ]
    assert sorted(found) == sorted(expected)
    first = next(entry for entry in entries if entry["operation"] == "REST.PUT.OBJECT")
    assert first["bucket"] == bucket and first["owner"] == first["requester"] != "-"
    assert first["remote"] == "127.0.0.1" and first["host"] == f"127.0.0.1:{logging_server.port}"
    assert first["key"] == "folder/a%20key%2B%C3%BC"
    assert first["request"] == f"PUT /{bucket}/folder/a%20key%2B%C3%BC HTTP/1.1"
    assert first["request_id"] == put["ResponseMetadata"]["HTTPHeaders"]["x-amz-request-id"]
    assert first["host_id"] == put["ResponseMetadata"]["HTTPHeaders"]["x-amz-id-2"]
    assert (first["signature"], first["authentication"]) == ("SigV4", "AuthHeader")
    assert "Boto3" in first["agent"] and first["total"].isdigit() and first["turnaround"].isdigit()
    assert re.fullmatch(r"\d\d/[A-Z][a-z][a-z]/\d{4}:\d\d:\d\d:\d\d \+0000", first["time"])


def test_strangers_and_presigned_requests_are_told_apart(logging_server, place):
    s3, bucket, logs = place
    s3.put_object(Bucket=bucket, Key="k", Body=b"text")
    log_to(s3, bucket, logs, "")
    url = s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "k"})
    told = {"User-Agent": 'a "quoted" \\ agent', "Referer": "http://page/"}
    assert HTTP.request("GET", url, headers=told).data == b"text"
    assert HTTP.request("GET", f"{logging_server.endpoint}/{bucket}/k").status == 403
    raw.ask(logging_server, f"OPTIONS /{bucket}/k HTTP/1.1\r\nhost: x\r\n\r\n".encode())
    _, entries = arrived(s3, logs, lambda entries: len(entries) >= 3)
    signed, anonymous, preflight = sorted(entries, key=lambda entry: ["200", "403", "400"].index(entry["status"]))
    assert (signed["authentication"], signed["signature"]) == ("QueryString", "SigV4")
    assert "X-Amz-Signature=REDACTED" in signed["request"] and url.split("X-Amz-Signature=")[1] not in str(entries)
    assert (signed["agent"], signed["referer"]) == ("a %22quoted%22 %5C agent", "http://page/")
    assert (anonymous["requester"], anonymous["authentication"], anonymous["code"]) == ("-", "-", "AccessDenied")
    assert (preflight["operation"], preflight["code"]) == ("REST.OPTIONS.PREFLIGHT", "BadRequest")


def test_every_deleted_key_has_a_line(logging_server, place):
    s3, bucket, logs = place
    for key in ["a", "b c"]:
        s3.put_object(Bucket=bucket, Key=key, Body=b"x")
    log_to(s3, bucket, logs)
    keys = [{"Key": "a"}, {"Key": "b c"}, {"Key": "k" * 1025}]
    assert len(s3.delete_objects(Bucket=bucket, Delete={"Objects": keys, "Quiet": True})["Errors"]) == 1
    _, entries = arrived(s3, logs, lambda entries: len(entries) >= 4)
    batch = [entry for entry in entries if entry["operation"] == "BATCH.DELETE.OBJECT"]
    found = sorted((entry["key"], entry["status"], entry["code"]) for entry in batch)
    assert found == [("a", "204", "-"), ("b%20c", "204", "-"), ("k" * 1025, "400", "KeyTooLongError")]
    request = next(entry for entry in entries if entry["operation"] == "REST.POST.MULTI_OBJECT_DELETE")
    assert {entry["request_id"] for entry in batch} == {request["request_id"]}
    assert {entry["request"] for entry in batch} == {"-"} and request["request"] == f"POST /{bucket}?delete HTTP/1.1"


@pytest.mark.parametrize("source", ["EventTime", "DeliveryTime"])
def test_logs_are_partitioned(logging_server, place, source):
    s3, bucket, logs = place
    log_to(s3, bucket, logs, "p-", TargetObjectKeyFormat={"PartitionedPrefix": {"PartitionDateSource": source}})
    s3.list_objects_v2(Bucket=bucket)
    keys, entries = arrived(s3, logs, lambda entries: len(entries) >= 1)
    owner = entries[0]["owner"]
    time_of = "00-00-00" if source == "EventTime" else r"\d\d-\d\d-\d\d"
    date = r"(\d{4})/(\d\d)/(\d\d)/\1-\2-\3"
    assert re.fullmatch(rf"p-{owner}/{weir.REGION}/{bucket}/{date}-{time_of}-[0-9A-F]{{16}}", keys[0]), keys


def test_logging_ends_when_it_is_switched_off(logging_server, place):
    s3, bucket, logs = place
    log_to(s3, bucket, logs)
    s3.list_objects_v2(Bucket=bucket)
    s3.put_bucket_logging(Bucket=bucket, BucketLoggingStatus={})
    s3.get_bucket_location(Bucket=bucket)
    # What was asked before is delivered, and nothing after.
    _, entries = arrived(s3, logs, lambda entries: len(entries) >= 2)
    time.sleep(2)
    _, entries = arrived(s3, logs, lambda entries: True)
    assert sorted(entry["operation"] for entry in entries) == ["REST.GET.BUCKET", "REST.PUT.LOGGING_STATUS"]


def test_a_bucket_may_log_into_itself(logging_server, place):
    s3, bucket, _ = place
    log_to(s3, bucket, bucket, "self/")
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    _, entries = arrived(s3, bucket, lambda entries: any(entry["key"] == "k" for entry in entries), "self/")
    # Delivering is no request.
    assert not [entry for entry in entries if entry["operation"] == "REST.PUT.OBJECT" and entry["key"] != "k"]


def test_logs_are_encrypted_as_their_bucket_does_it(logging_server, place):
    s3, bucket, logs = place
    rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
    s3.put_bucket_encryption(Bucket=logs, ServerSideEncryptionConfiguration={"Rules": [rule]})
    log_to(s3, bucket, logs)
    s3.list_objects_v2(Bucket=bucket)
    keys, entries = arrived(s3, logs, lambda entries: len(entries) >= 1)
    assert s3.head_object(Bucket=logs, Key=keys[0])["ServerSideEncryption"] == "AES256"


def test_a_lost_destination_harms_nobody(logging_server, place):
    s3, bucket, logs = place
    log_to(s3, bucket, logs)
    s3.delete_bucket(Bucket=logs)
    for _ in range(3):
        assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0
        time.sleep(0.7)


def test_a_clean_end_delivers_what_waits(own_server):
    own_server.stop()
    own_server.flags = ["--access-log-seconds", "3600"]
    own_server.start()
    s3 = weir.boto3_client(own_server)
    for name in ["watched", "logs"]:
        s3.create_bucket(Bucket=name)
    log_to(s3, "watched", "logs")
    s3.put_object(Bucket="watched", Key="k", Body=b"x")
    assert s3.list_objects_v2(Bucket="logs")["KeyCount"] == 0
    assert own_server.stop() == 0
    own_server.start()
    _, entries = arrived(weir.boto3_client(own_server), "logs", lambda entries: True)
    assert [entry["operation"] for entry in entries] == ["REST.PUT.OBJECT"]
    assert own_server.stop() == 0


def test_form_uploads_are_logged(logging_server, place):
    s3, bucket, logs = place
    log_to(s3, bucket, logs)
    post = s3.generate_presigned_post(bucket, "from a form")
    fields = [*post["fields"].items(), ("file", ("name.txt", b"text", "text/plain"))]
    assert HTTP.request("POST", post["url"], fields=fields).status == 204
    _, entries = arrived(s3, logs, lambda entries: len(entries) >= 1)
    assert (entries[0]["operation"], entries[0]["status"]) == ("REST.POST.BUCKET", "204")
    assert entries[0]["requester"] == entries[0]["owner"]
