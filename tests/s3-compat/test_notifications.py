"""Notifications to a webhook: a real receiver, which goes away, and a server that is killed meanwhile."""

import json
import os
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
import weir

ARN = "arn:weir:sqs::hook:webhook"
WITHIN_S = 40


class Receiver:
    """The port stays the same over restarts."""

    def __init__(self, folder):
        self.file = folder / "received"
        self.file.touch()
        self.port = 0
        self.process = None

    def start(self, status=200):
        command = [sys.executable, str(Path(__file__).parent / "receiver.py"), str(self.port), str(self.file), str(status)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline())
        return self

    def stop(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process.stdout.close()
            self.process = None

    def requests(self):
        return [json.loads(line) for line in self.file.read_text().splitlines()]

    def records(self):
        return [record for request in self.requests() for record in request["body"]["Records"]]

    def told(self):
        return [(record["eventName"], record["s3"]["object"]["key"]) for record in self.records()]

    def wait_for(self, count, told=None):
        until = time.monotonic() + WITHIN_S
        while True:
            found = self.told() if told is None else told()
            if len(found) >= count:
                return found
            assert time.monotonic() < until, f"{len(found)} of {count}: {found[-5:]}"
            time.sleep(0.05)


@pytest.fixture
def receiver(tmp_path):
    running = Receiver(tmp_path).start()
    yield running
    running.stop()


@pytest.fixture
def hooked(tmp_path, receiver):
    """A server that knows the receiver, with a bucket."""
    settings = tmp_path / "weir.toml"
    token = tmp_path / "token"
    token.write_text("secret-token\n")
    settings.write_text(
        f'[notifications.webhook.hook]\nendpoint = "http://127.0.0.1:{receiver.port}/in?x=1"\nauth_token_file = "{token}"\n'
    )
    running = weir.Server(tmp_path / "data", flags=["--config", str(settings)]).start()
    weir.boto3_client(running).create_bucket(Bucket="hooked")
    yield running
    if running.process is not None:
        running.kill()


def configure(s3, *events, bucket="hooked", arn=ARN, **filters):
    rules = [{"Name": name, "Value": value} for name, value in filters.items()]
    queue = {"Id": "all", "QueueArn": arn, "Events": list(events)}
    if rules:
        queue["Filter"] = {"Key": {"FilterRules": rules}}
    s3.put_bucket_notification_configuration(
        Bucket=bucket, NotificationConfiguration={"QueueConfigurations": [queue]}
    )


def post_form(s3, key):
    form = s3.generate_presigned_post("hooked", key)
    parts = [f'--cut\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
             for name, value in form["fields"].items()]
    file = '--cut\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\nz\r\n--cut--\r\n'
    request = urllib.request.Request(form["url"], data=("".join(parts) + file).encode())
    request.add_header("content-type", "multipart/form-data; boundary=cut")
    with urllib.request.urlopen(request, timeout=20) as answer:
        assert answer.status == 204


def test_every_kind_of_event(hooked, receiver):
    s3 = weir.boto3_client(hooked)
    configure(s3, "s3:ObjectCreated:*", "s3:ObjectRemoved:*", "s3:ObjectTagging:*")
    s3.put_bucket_versioning(Bucket="hooked", VersioningConfiguration={"Status": "Enabled"})
    version = s3.put_object(Bucket="hooked", Key="a key", Body=b"12345")["VersionId"]
    s3.copy_object(Bucket="hooked", Key="copy", CopySource={"Bucket": "hooked", "Key": "a key"})
    upload = s3.create_multipart_upload(Bucket="hooked", Key="parts")["UploadId"]
    etag = s3.upload_part(Bucket="hooked", Key="parts", UploadId=upload, PartNumber=1, Body=b"y")["ETag"]
    parts = {"Parts": [{"PartNumber": 1, "ETag": etag}]}
    s3.complete_multipart_upload(Bucket="hooked", Key="parts", UploadId=upload, MultipartUpload=parts)
    post_form(s3, "form")
    s3.put_object_tagging(Bucket="hooked", Key="copy", Tagging={"TagSet": [{"Key": "k", "Value": "v"}]})
    s3.delete_object_tagging(Bucket="hooked", Key="copy")
    s3.delete_object(Bucket="hooked", Key="a key")
    s3.delete_object(Bucket="hooked", Key="a key", VersionId=version)
    told = receiver.wait_for(8)
    assert sorted(told) == sorted([
        ("ObjectCreated:Put", "a+key"), ("ObjectCreated:Copy", "copy"), ("ObjectCreated:Post", "form"),
        ("ObjectCreated:CompleteMultipartUpload", "parts"), ("ObjectTagging:Put", "copy"),
        ("ObjectTagging:Delete", "copy"), ("ObjectRemoved:DeleteMarkerCreated", "a+key"),
        ("ObjectRemoved:Delete", "a+key"),
    ])
    of_key = [name for name, key in told if key == "a+key"]
    assert of_key == ["ObjectCreated:Put", "ObjectRemoved:DeleteMarkerCreated", "ObjectRemoved:Delete"]
    request = receiver.requests()[0]
    assert request["headers"]["authorization"] == "Bearer secret-token"
    assert request["headers"]["content-type"] == "application/json"
    put = next(record for record in receiver.records() if record["eventName"] == "ObjectCreated:Put")
    assert put["s3"]["configurationId"] == "all" and put["s3"]["bucket"]["name"] == "hooked"
    assert put["s3"]["object"]["versionId"] == version and put["s3"]["object"]["size"] == 5
    assert put["awsRegion"] == weir.REGION and put["eventVersion"] == "2.1" and put["eventTime"].endswith("Z")


def test_filters(hooked, receiver):
    s3 = weir.boto3_client(hooked)
    configure(s3, "s3:ObjectCreated:Put", prefix="in/", suffix=".jpg")
    for key in ["in/a.png", "out/a.jpg", "in/a.jpg"]:
        s3.put_object(Bucket="hooked", Key=key, Body=b"x")
    s3.delete_object(Bucket="hooked", Key="in/a.jpg")
    s3.put_object(Bucket="hooked", Key="in/last.jpg", Body=b"x")
    assert receiver.wait_for(2) == [("ObjectCreated:Put", "in/a.jpg"), ("ObjectCreated:Put", "in/last.jpg")]
    s3.put_bucket_notification_configuration(Bucket="hooked", NotificationConfiguration={})
    s3.put_object(Bucket="hooked", Key="in/unheard.jpg", Body=b"x")
    time.sleep(1)
    assert len(receiver.told()) == 2


# A whole minute where there is time for it.
AWAY_SECONDS = 60 if os.environ.get("WEIR_LONG_TESTS") else 1.5


def test_a_killed_server_and_an_absent_receiver_lose_nothing(hooked, receiver):
    s3 = weir.boto3_client(hooked)
    configure(s3, "s3:ObjectCreated:*", "s3:ObjectRemoved:*")
    s3.put_object(Bucket="hooked", Key="first", Body=b"x")
    receiver.wait_for(1)
    receiver.stop()
    keys = [f"key-{number:03}" for number in range(60)]
    for key in keys[:20]:
        s3.put_object(Bucket="hooked", Key=key, Body=b"x")
    hooked.restart_killed()
    s3 = weir.boto3_client(hooked)
    for key in keys[20:40]:
        s3.put_object(Bucket="hooked", Key=key, Body=b"x")
    # It comes back, but answers with errors, while the server is killed once more.
    receiver.start(status=503)
    time.sleep(AWAY_SECONDS)
    hooked.restart_killed()
    s3 = weir.boto3_client(hooked)
    for key in keys[40:]:
        s3.put_object(Bucket="hooked", Key=key, Body=b"x")
    s3.delete_object(Bucket="hooked", Key=keys[0])
    receiver.stop()
    receiver.start()
    expected = {("ObjectCreated:Put", key) for key in [*keys, "first"]} | {("ObjectRemoved:Delete", keys[0])}
    receiver.wait_for(len(expected), lambda: set(receiver.told()))
    assert set(receiver.told()) == expected
    # In order for each key, by the sequencer, whatever came twice.
    of_key = [r["s3"]["object"]["sequencer"] for r in receiver.records() if r["s3"]["object"]["key"] == keys[0]]
    assert of_key == sorted(of_key) and len(set(of_key)) == 2
    assert hooked.stop() == 0
    hooked.start()
    time.sleep(1)
    assert set(receiver.told()) == expected


def test_an_event_that_the_receiver_calls_bad_does_not_stop_the_others(hooked, receiver):
    s3 = weir.boto3_client(hooked)
    receiver.stop()
    receiver.start(status=400)
    configure(s3, "s3:ObjectCreated:*")
    s3.put_object(Bucket="hooked", Key="refused", Body=b"x")
    until = time.monotonic() + WITHIN_S
    while "it is given up" not in hooked.log.read_text():
        assert time.monotonic() < until
        time.sleep(0.1)
    receiver.stop()
    receiver.start()
    s3.put_object(Bucket="hooked", Key="taken", Body=b"x")
    assert receiver.wait_for(1) == [("ObjectCreated:Put", "taken")]


def test_only_known_receivers_are_taken(hooked):
    s3 = weir.boto3_client(hooked)
    for arn in ["arn:weir:sqs::other:webhook", "arn:aws:sqs:us-east-1:123456789012:hook", "arn:weir:sqs::hook:queue"]:
        with pytest.raises(s3.exceptions.ClientError) as refused:
            configure(s3, "s3:ObjectCreated:*", arn=arn)
        assert refused.value.response["Error"]["Code"] == "InvalidArgument", arn
    assert "QueueConfigurations" not in s3.get_bucket_notification_configuration(Bucket="hooked")


@pytest.mark.parametrize("endpoint", ["ftp://127.0.0.1/", "nonsense", "http://user:secret@127.0.0.1/"])
def test_endpoints_are_judged_at_the_start(tmp_path, endpoint):
    settings = tmp_path / "weir.toml"
    settings.write_text(f'[notifications.webhook.hook]\nendpoint = "{endpoint}"\n')
    command = [weir.binary(), "serve", "--data", str(tmp_path / "data"), "--config", str(settings),
               "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]
    done = weir.run(command, env=weir.clean_environment(), may_fail=True, timeout=30)
    assert done.returncode != 0 and "notifications.webhook.hook" in done.stderr
