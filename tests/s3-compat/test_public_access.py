"""Public access blocks: all four parts, and that a new bucket begins with them."""

import json

import pytest
import sigv4
import urllib3
import weir
from accounts import DENIED, account, nobody, refused

PARTS = ["BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"]


def block(*on):
    return {part: part in on for part in PARTS}


def public(bucket, action="s3:GetObject", resource="/*"):
    said = {"Effect": "Allow", "Principal": "*", "Action": action, "Resource": f"arn:aws:s3:::{bucket}{resource}"}
    return json.dumps({"Version": "2012-10-17", "Statement": [said]})


def test_a_new_bucket_is_closed(server, s3, bucket):
    assert s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"] == block(*PARTS)
    s3.put_object(Bucket=bucket, Key="k", Body=b"1")
    assert refused(s3.put_bucket_policy, Bucket=bucket, Policy=public(bucket)) == DENIED
    assert refused(s3.get_bucket_policy, Bucket=bucket) == (404, "NoSuchBucketPolicy")
    assert refused(nobody(server).get_object, Bucket=bucket, Key="k") == DENIED


def test_parts_are_set_and_taken_away(s3, bucket):
    s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration={"BlockPublicPolicy": True})
    assert s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"] == block("BlockPublicPolicy")
    for _ in range(2):
        s3.delete_public_access_block(Bucket=bucket)
    code = (404, "NoSuchPublicAccessBlockConfiguration")
    assert refused(s3.get_public_access_block, Bucket=bucket) == code
    s3.put_bucket_policy(Bucket=bucket, Policy=public(bucket))


def test_a_public_bucket_can_be_restricted(server, s3, bucket):
    stranger, anybody = account(server), nobody(server)
    s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=block())
    s3.put_object(Bucket=bucket, Key="k", Body=b"1")
    s3.put_bucket_policy(Bucket=bucket, Policy=public(bucket))
    for client in [stranger, anybody, s3]:
        assert client.get_object(Bucket=bucket, Key="k")["Body"].read() == b"1"
    s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=block("RestrictPublicBuckets"))
    for client in [stranger, anybody]:
        assert refused(client.get_object, Bucket=bucket, Key="k") == DENIED
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"1"


def test_a_policy_for_somebody_is_not_public(server, s3, bucket):
    said = json.loads(public(bucket))
    said["Statement"][0]["Condition"] = {"IpAddress": {"aws:SourceIp": "10.1.2.3/32"}}
    s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps(said))
    assert s3.get_bucket_policy_status(Bucket=bucket)["PolicyStatus"] == {"IsPublic": False}


def test_blocks_are_their_owners(server, s3, bucket):
    stranger = account(server)
    for call in [stranger.get_public_access_block, stranger.delete_public_access_block]:
        assert refused(call, Bucket=bucket) == DENIED
    assert refused(stranger.put_public_access_block, Bucket=bucket, PublicAccessBlockConfiguration=block()) == DENIED


def test_a_server_can_begin_without(tmp_path):
    server = weir.Server(tmp_path / "data", flags=["--allow-public-access"]).start()
    try:
        s3 = weir.boto3_client(server)
        s3.create_bucket(Bucket="open")
        code = (404, "NoSuchPublicAccessBlockConfiguration")
        assert refused(s3.get_public_access_block, Bucket="open") == code
    finally:
        server.kill()


@pytest.mark.parametrize("inside", ["<BlockPublicAcls>maybe</BlockPublicAcls>", "<BlockEverything>true</BlockEverything>"])
def test_what_is_no_block_is_refused(server, s3, bucket, inside):
    target = sigv4.presigned(server, "PUT", f"/{bucket}", [("publicAccessBlock", "")])
    document = f"<PublicAccessBlockConfiguration>{inside}</PublicAccessBlockConfiguration>"
    answer = urllib3.PoolManager(retries=False).request("PUT", server.endpoint + target, body=document)
    assert (answer.status, b"<Code>MalformedXML</Code>" in answer.data) == (400, True)
    assert s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"] == block(*PARTS)
