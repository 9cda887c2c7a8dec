"""`weir why`: it tells what is decided, and the same is decided."""

import json

import pytest
import weir
from botocore.exceptions import ClientError


def made(server, owner):
    key = json.loads(server.run("key", "create", "--owner", owner, "--json").stdout)
    return key["access_key"], weir.boto3_client(server, key["access_key"], key["secret_key"])


def reads(client, bucket, key):
    try:
        client.get_object(Bucket=bucket, Key=key)
        return True
    except ClientError as error:
        assert error.response["Error"]["Code"] == "AccessDenied"
        return False


def test_the_deciding_statement_is_told(server, name):
    owner_key, owner = made(server, "why-owner")
    other_key, other = made(server, "why-other")
    owner.create_bucket(Bucket=name)
    for key in ("open/x", "open/secret", "shut/x"):
        owner.put_object(Bucket=name, Key=key, Body=b"x")
    principal = {"CanonicalUser": "why-other"}
    policy = {
        "Version": "2012-10-17",
        "Statement": [
            {"Sid": "Open", "Effect": "Allow", "Principal": principal, "Action": "s3:GetObject",
             "Resource": f"arn:aws:s3:::{name}/open/*"},
            {"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": f"arn:aws:s3:::{name}/open/secret"},
            {"Sid": "Listed", "Effect": "Allow", "Principal": principal, "Action": "s3:ListBucket",
             "Resource": f"arn:aws:s3:::{name}", "Condition": {"StringEquals": {"s3:prefix": "open/"}}},
        ],
    }
    owner.put_bucket_policy(Bucket=name, Policy=json.dumps(policy))

    def why(place, *arguments):
        return json.loads(server.run("why", f"s3://{name}{place}", "--json", *arguments).stdout)

    for key, client, place, decided in [
        (owner_key, owner, "open/x", ("root", None)),
        (owner_key, owner, "open/secret", ("statement", "2")),
        (other_key, other, "open/x", ("statement", "Open")),
        (other_key, other, "open/secret", ("statement", "2")),
        (other_key, other, "shut/x", ("nothing", None)),
    ]:
        told = why(f"/{place}", "--as", key)
        assert (told["decided_by"], told["statement"]) == decided, told
        assert told["allowed"] == reads(client, name, place), told
    assert why("/open/x")["principal"] == "anonymous"
    assert not why("/open/x")["allowed"]

    listing = ["--as", other_key, "--action", "s3:ListBucket"]
    assert not why("", *listing)["allowed"]
    told = why("", *listing, "--context", "s3:prefix=open/")
    assert (told["allowed"], told["statement"]) == (True, "Listed")
    text = server.run("why", f"s3://{name}/open/secret", "--as", other_key).stdout
    assert text.splitlines()[-1] == "denied by statement 2 of the bucket's policy"


@pytest.mark.parametrize("arguments, status", [
    (["why", "bucket/key"], 2),
    (["why", "s3://"], 2),
    (["why", "s3://bucket", "--context", "x"], 2),
    (["why", "s3://no-such-bucket-here/x"], 3),
])
def test_what_cannot_be_asked(server, arguments, status):
    done = server.command(*arguments)
    assert done.returncode == status, done.stderr
