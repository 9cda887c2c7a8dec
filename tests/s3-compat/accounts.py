"""Accounts beside the administrator's, and clients that show no credentials."""

import uuid

import boto3
import pytest
import weir
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError


def account(server, owner=None):
    """A new account, with the client of its root."""
    owner = owner or f"owner-{uuid.uuid4().hex[:12]}"
    access_key, secret_key = "WK" + uuid.uuid4().hex[:18].upper(), uuid.uuid4().hex + "x" * 8
    server.run("key", "import", "--owner", owner, "--access-key", access_key, "--secret-key", secret_key)
    return weir.boto3_client(server, access_key, secret_key)


def nobody(server):
    config = Config(signature_version=UNSIGNED, retries={"total_max_attempts": 1}, s3={"addressing_style": "path"})
    return boto3.client("s3", endpoint_url=server.endpoint, region_name=weir.REGION, config=config)


def refused(call, **arguments):
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    answer = caught.value.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"]


DENIED = (403, "AccessDenied")
HEAD_DENIED = (403, "403")
