"""A bucket's configuration documents: what was put comes back, and what is wrong is refused and changes nothing."""

import base64
import hashlib
import uuid

import pytest
from botocore.exceptions import ClientError

import raw
import sigv4
import weir


def code(call, **arguments):
    """The code and status of a call that must fail."""
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    answer = caught.value.response
    return answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"]


def put_xml(server, bucket, query, document, headers=None):
    """A document as it is written here: boto3 would not send some of these."""
    request = sigv4.Signed(server, "PUT", f"/{bucket}", headers, document.encode(), query=[(query, "")])
    return raw.ask(server, request.bytes())


@pytest.fixture
def locking(s3):
    name = f"lock-{uuid.uuid4().hex[:20]}"
    s3.create_bucket(Bucket=name, ObjectLockEnabledForBucket=True)
    return name


# Versioning.


def test_versioning_goes_on_and_is_suspended(server, s3, bucket):
    assert "Status" not in s3.get_bucket_versioning(Bucket=bucket)
    for status in ["Enabled", "Suspended", "Enabled"]:
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": status})
        assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == status
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Suspended", "MFADelete": "Disabled"})
    assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == "Suspended"


def test_bad_versioning_changes_nothing(server, s3, bucket):
    put = s3.put_bucket_versioning
    wrong = {"Status": "enabled"}
    assert code(put, Bucket=bucket, VersioningConfiguration=wrong) == ("MalformedXML", 400)
    assert code(put, Bucket=bucket, VersioningConfiguration={}) == ("IllegalVersioningConfigurationException", 400)
    second_factor = {"Status": "Enabled", "MFADelete": "Enabled"}
    assert code(put, Bucket=bucket, VersioningConfiguration=second_factor) == ("NotImplemented", 501)
    enabled = {"Status": "Enabled"}
    assert code(put, Bucket=bucket, VersioningConfiguration=enabled, MFA="serial 123456") == ("NotImplemented", 501)
    assert code(put, Bucket="no-such-bucket-here", VersioningConfiguration=enabled) == ("NoSuchBucket", 404)
    for document in [
        "",
        "<VersioningConfiguration>",
        "<VersioningConfiguration><Status>Enabled</Status><Misspelt>1</Misspelt></VersioningConfiguration>",
        "<VersioningConfiguration><Status>Enabled</Status><Status>Enabled</Status></VersioningConfiguration>",
        "<Versioning><Status>Enabled</Status></Versioning>",
    ]:
        answer = put_xml(server, bucket, "versioning", document)
        assert answer.status == 400, (document, answer)
    assert "Status" not in s3.get_bucket_versioning(Bucket=bucket)


def test_checksums_of_documents_are_verified(server, s3, bucket):
    document = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"
    other = base64.b64encode(hashlib.md5(b"other").digest()).decode()
    assert put_xml(server, bucket, "versioning", document, {"content-md5": other}).code == "BadDigest"
    assert put_xml(server, bucket, "versioning", document, {"content-md5": "short"}).code == "InvalidDigest"
    assert put_xml(server, bucket, "versioning", document, {"x-amz-checksum-crc32": "AAAAAA=="}).code == "BadDigest"
    assert "Status" not in s3.get_bucket_versioning(Bucket=bucket)
    right = base64.b64encode(hashlib.md5(document.encode()).digest()).decode()
    assert put_xml(server, bucket, "versioning", document, {"content-md5": right}).status == 200
    assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"


def test_documents_outlive_a_restart_and_not_their_bucket(own_server):
    s3 = weir.boto3_client(own_server)
    s3.create_bucket(Bucket="documents", ObjectLockEnabledForBucket=True)
    s3.create_bucket(Bucket="renewed")
    s3.put_bucket_versioning(Bucket="renewed", VersioningConfiguration={"Status": "Enabled"})
    own_server.kill()
    own_server.start()
    s3 = weir.boto3_client(own_server)
    assert s3.get_object_lock_configuration(Bucket="documents")["ObjectLockConfiguration"]["ObjectLockEnabled"]
    assert s3.get_bucket_versioning(Bucket="renewed")["Status"] == "Enabled"
    s3.delete_bucket(Bucket="renewed")
    s3.create_bucket(Bucket="renewed")
    assert "Status" not in s3.get_bucket_versioning(Bucket="renewed")


# Object lock.


def test_a_bucket_is_made_with_locks(s3, locking):
    assert s3.get_bucket_versioning(Bucket=locking)["Status"] == "Enabled"
    found = s3.get_object_lock_configuration(Bucket=locking)["ObjectLockConfiguration"]
    assert found == {"ObjectLockEnabled": "Enabled"}
    suspended = {"Status": "Suspended"}
    put = s3.put_bucket_versioning
    assert code(put, Bucket=locking, VersioningConfiguration=suspended) == ("InvalidBucketState", 409)
    s3.put_bucket_versioning(Bucket=locking, VersioningConfiguration={"Status": "Enabled"})


@pytest.mark.parametrize("retention", [{"Mode": "GOVERNANCE", "Days": 1}, {"Mode": "COMPLIANCE", "Years": 7}])
def test_default_retention_comes_back(s3, locking, retention):
    wanted = {"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": retention}}
    s3.put_object_lock_configuration(Bucket=locking, ObjectLockConfiguration=wanted)
    assert s3.get_object_lock_configuration(Bucket=locking)["ObjectLockConfiguration"] == wanted
    without = {"ObjectLockEnabled": "Enabled"}
    s3.put_object_lock_configuration(Bucket=locking, ObjectLockConfiguration=without)
    assert s3.get_object_lock_configuration(Bucket=locking)["ObjectLockConfiguration"] == without


def test_an_old_bucket_gets_locks_when_it_keeps_versions(s3, bucket):
    get, put = s3.get_object_lock_configuration, s3.put_object_lock_configuration
    assert code(get, Bucket=bucket) == ("ObjectLockConfigurationNotFoundError", 404)
    wanted = {"ObjectLockEnabled": "Enabled"}
    assert code(put, Bucket=bucket, ObjectLockConfiguration=wanted) == ("InvalidBucketState", 409)
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Suspended"})
    assert code(put, Bucket=bucket, ObjectLockConfiguration=wanted) == ("InvalidBucketState", 409)
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    put(Bucket=bucket, ObjectLockConfiguration=wanted)
    assert get(Bucket=bucket)["ObjectLockConfiguration"] == wanted
    suspended = {"Status": "Suspended"}
    assert code(s3.put_bucket_versioning, Bucket=bucket, VersioningConfiguration=suspended)[1] == 409


@pytest.mark.parametrize(
    "configuration, expected",
    [
        ({"ObjectLockEnabled": "Disabled"}, "MalformedXML"),
        ({"Rule": {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 1}}}, "MalformedXML"),
        ({"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": {"Mode": "governance", "Days": 1}}}, "MalformedXML"),
        (
            {"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 1, "Years": 1}}},
            "MalformedXML",
        ),
        ({"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": {"Mode": "GOVERNANCE"}}}, "MalformedXML"),
        (
            {"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 0}}},
            "InvalidRetentionPeriod",
        ),
        (
            {"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": {"Mode": "COMPLIANCE", "Years": 101}}},
            "InvalidRetentionPeriod",
        ),
    ],
)
def test_bad_retention_changes_nothing(s3, locking, configuration, expected):
    put = s3.put_object_lock_configuration
    assert code(put, Bucket=locking, ObjectLockConfiguration=configuration) == (expected, 400)
    found = s3.get_object_lock_configuration(Bucket=locking)["ObjectLockConfiguration"]
    assert found == {"ObjectLockEnabled": "Enabled"}


# Documents that are kept whole: how each is put, read and taken away, and what its absence is called.

class Kind:
    def __init__(self, name, argument, good, absent=None, inside=None, delete=True, empty=None):
        self.name, self.argument, self.good, self.absent, self.empty = name, argument, good, absent, empty
        self.inside, self.delete = inside, delete

    def __repr__(self):
        return self.name

    def put(self, s3, bucket, value):
        # None of the queues and topics here is one of the server's webhooks.
        more = {"SkipDestinationValidation": True} if self.name == "notification_configuration" else {}
        getattr(s3, f"put_bucket_{self.name}")(Bucket=bucket, **{self.argument: value}, **more)

    def get(self, s3, bucket):
        answer = getattr(s3, f"get_bucket_{self.name}")(Bucket=bucket)
        answer.pop("ResponseMetadata")
        return answer[self.inside] if self.inside else answer

    def take_away(self, s3, bucket):
        name = {"lifecycle_configuration": "lifecycle"}.get(self.name, self.name)
        getattr(s3, f"delete_bucket_{name}")(Bucket=bucket)


CORS_RULES = {
    "CORSRules": [
        {
            "ID": "first",
            "AllowedMethods": ["GET", "PUT"],
            "AllowedOrigins": ["https://*.example.org", "http://localhost:8080"],
            "AllowedHeaders": ["x-amz-*", "Content-Type"],
            "ExposeHeaders": ["ETag", "x-amz-meta-color"],
            "MaxAgeSeconds": 3000,
        },
        {"AllowedMethods": ["HEAD", "POST", "DELETE"], "AllowedOrigins": ["*"]},
    ]
}
ENCRYPTION = {
    "Rules": [
        {
            "ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": "a-key"},
            "BucketKeyEnabled": True,
        }
    ]
}
WEBSITE = {
    "IndexDocument": {"Suffix": "index.html"},
    "ErrorDocument": {"Key": "errors/404.html"},
    "RoutingRules": [
        {
            "Condition": {"KeyPrefixEquals": "docs/", "HttpErrorCodeReturnedEquals": "404"},
            "Redirect": {"ReplaceKeyPrefixWith": "documents/", "HttpRedirectCode": "307"},
        },
        {"Redirect": {"HostName": "example.org", "Protocol": "https", "ReplaceKeyWith": "a b&c.html"}},
    ],
}
NOTIFICATION = {
    "QueueConfigurations": [
        {
            "Id": "one",
            "QueueArn": "arn:aws:sqs:us-east-1:123456789012:queue",
            "Events": ["s3:ObjectCreated:*", "s3:ObjectRemoved:Delete"],
            "Filter": {"Key": {"FilterRules": [{"Name": "prefix", "Value": "in/"}, {"Name": "suffix", "Value": ".jpg"}]}},
        }
    ],
    "TopicConfigurations": [
        {"Id": "two", "TopicArn": "arn:aws:sns:us-east-1:123456789012:topic", "Events": ["s3:ObjectTagging:Put"]}
    ],
    "LambdaFunctionConfigurations": [
        {"Id": "three", "LambdaFunctionArn": "arn:aws:lambda:us-east-1:1:function:f", "Events": ["s3:ObjectAcl:Put"]}
    ],
    "EventBridgeConfiguration": {},
}
TAGS = {"TagSet": [{"Key": "project", "Value": "größer + besser"}, {"Key": "empty", "Value": ""}]}
LIFECYCLE = {
    "Rules": [
        {
            "ID": "old form",
            "Prefix": "logs/",
            "Status": "Enabled",
            "Expiration": {"Days": 30},
            "Transitions": [{"Days": 0, "StorageClass": "GLACIER_IR"}],
        },
        {
            "ID": "all",
            "Filter": {
                "And": {
                    "Prefix": "a&b/",
                    "Tags": [{"Key": "k", "Value": "v"}, {"Key": "l", "Value": ""}],
                    "ObjectSizeGreaterThan": 5,
                    "ObjectSizeLessThan": 5000000000000,
                }
            },
            "Status": "Disabled",
            "NoncurrentVersionExpiration": {"NoncurrentDays": 3, "NewerNoncurrentVersions": 7},
            "NoncurrentVersionTransitions": [
                {"NoncurrentDays": 1, "StorageClass": "GLACIER", "NewerNoncurrentVersions": 2}
            ],
        },
        {"ID": "marker", "Filter": {"Prefix": ""}, "Status": "Enabled", "Expiration": {"ExpiredObjectDeleteMarker": True}},
        {
            "ID": "uploads",
            "Filter": {},
            "Status": "Enabled",
            "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 2},
        },
    ]
}

KINDS = [
    Kind("tagging", "Tagging", TAGS, "NoSuchTagSet"),
    Kind("cors", "CORSConfiguration", CORS_RULES, "NoSuchCORSConfiguration"),
    Kind(
        "encryption", "ServerSideEncryptionConfiguration", ENCRYPTION, "ServerSideEncryptionConfigurationNotFoundError",
        inside="ServerSideEncryptionConfiguration",
    ),
    Kind("website", "WebsiteConfiguration", WEBSITE, "NoSuchWebsiteConfiguration"),
    Kind(
        "lifecycle_configuration", "LifecycleConfiguration", LIFECYCLE | {
            "TransitionDefaultMinimumObjectSize": "all_storage_classes_128K"
        }, "NoSuchLifecycleConfiguration",
    ),
    Kind("notification_configuration", "NotificationConfiguration", NOTIFICATION, delete=False, empty={}),
    Kind("request_payment", "RequestPaymentConfiguration", {"Payer": "Requester"}, delete=False, empty={"Payer": "BucketOwner"}),
    Kind("accelerate_configuration", "AccelerateConfiguration", {"Status": "Suspended"}, delete=False, empty={}),
]


def sent(kind, value):
    return {key: part for key, part in value.items() if key != "TransitionDefaultMinimumObjectSize"}


@pytest.mark.parametrize("kind", KINDS, ids=repr)
def test_what_was_put_comes_back(s3, bucket, kind):
    def absent():
        if kind.absent:
            get = getattr(s3, f"get_bucket_{kind.name}")
            return code(get, Bucket=bucket) == (kind.absent, 404)
        return kind.get(s3, bucket) == kind.empty

    assert absent()
    kind.put(s3, bucket, sent(kind, kind.good))
    assert kind.get(s3, bucket) == kind.good
    kind.put(s3, bucket, sent(kind, kind.good))
    assert kind.get(s3, bucket) == kind.good
    if kind.delete:
        for _ in range(2):
            kind.take_away(s3, bucket)
            assert absent()


@pytest.mark.parametrize("kind", KINDS, ids=repr)
def test_unknown_elements_and_broken_documents_are_refused(server, s3, bucket, kind):
    kind.put(s3, bucket, sent(kind, kind.good))
    query, root = {
        "tagging": ("tagging", "Tagging"),
        "cors": ("cors", "CORSConfiguration"),
        "encryption": ("encryption", "ServerSideEncryptionConfiguration"),
        "website": ("website", "WebsiteConfiguration"),
        "lifecycle_configuration": ("lifecycle", "LifecycleConfiguration"),
        "notification_configuration": ("notification", "NotificationConfiguration"),
        "request_payment": ("requestPayment", "RequestPaymentConfiguration"),
        "accelerate_configuration": ("accelerate", "AccelerateConfiguration"),
    }[kind.name]
    got = sigv4.Signed(server, "GET", f"/{bucket}", query=[(query, "")])
    document = raw.ask(server, got.bytes()).body.decode()
    assert f"<{root}" in document
    # As it came it can be put again.
    unseen = {"x-amz-skip-destination-validation": "true"} if query == "notification" else None
    answer = put_xml(server, bucket, query, document, unseen)
    assert answer.status in (200, 204), answer
    unknown = document.replace(f"</{root}>", f"<Misspelt>1</Misspelt></{root}>")
    for bad in ["", document[:-3], unknown, document.replace(root, "Other"), "<!DOCTYPE a>" + document]:
        answer = put_xml(server, bucket, query, bad, unseen)
        assert (answer.status, answer.code) in [(400, "MalformedXML"), (400, "MissingRequestBodyError")], (bad, answer)
    assert kind.get(s3, bucket) == kind.good


def test_notifications_and_logging_are_switched_off_by_an_empty_document(s3, bucket):
    s3.put_bucket_notification_configuration(
        Bucket=bucket, NotificationConfiguration=NOTIFICATION, SkipDestinationValidation=True
    )
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration={})
    answer = s3.get_bucket_notification_configuration(Bucket=bucket)
    assert set(answer) == {"ResponseMetadata"}


@pytest.mark.parametrize(
    "tags, expected",
    [
        ([("k", "v"), ("k", "w")], "InvalidTag"),
        ([("aws:k", "v")], "InvalidTag"),
        ([("k" * 129, "v")], "InvalidTag"),
        ([("k", "v" * 257)], "InvalidTag"),
        ([("k<", "v")], "InvalidTag"),
        ([(f"k{n}", "v") for n in range(51)], "InvalidTag"),
    ],
)
def test_bad_tags_change_nothing(s3, bucket, tags, expected):
    tags = {"TagSet": [{"Key": key, "Value": value} for key, value in tags]}
    assert code(s3.put_bucket_tagging, Bucket=bucket, Tagging=tags) == (expected, 400)
    assert code(s3.get_bucket_tagging, Bucket=bucket) == ("NoSuchTagSet", 404)


def test_an_empty_tag_set_takes_the_tags_away(s3, bucket):
    s3.put_bucket_tagging(Bucket=bucket, Tagging=TAGS)
    s3.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": []})
    assert code(s3.get_bucket_tagging, Bucket=bucket) == ("NoSuchTagSet", 404)


@pytest.mark.parametrize(
    "change, expected",
    [
        ({"AllowedMethods": ["PATCH"]}, "InvalidRequest"),
        ({"AllowedOrigins": ["*.a.*"]}, "InvalidRequest"),
        ({"AllowedHeaders": ["**"]}, "InvalidRequest"),
        ({"ExposeHeaders": ["*"]}, "InvalidRequest"),
        ({"ID": "a" * 256}, "InvalidRequest"),
        ({"AllowedMethods": []}, "MalformedXML"),
        ({"AllowedOrigins": []}, "MalformedXML"),
    ],
)
def test_bad_cors_changes_nothing(s3, bucket, change, expected):
    rules = {"CORSRules": [{"AllowedMethods": ["GET"], "AllowedOrigins": ["*"]} | change]}
    assert code(s3.put_bucket_cors, Bucket=bucket, CORSConfiguration=rules) == (expected, 400)
    assert code(s3.get_bucket_cors, Bucket=bucket) == ("NoSuchCORSConfiguration", 404)


@pytest.mark.parametrize(
    "rules, expected",
    [
        ([{"ID": "a" * 256, "Prefix": "", "Expiration": {"Days": 1}}], "InvalidArgument"),
        ([{"ID": "a", "Prefix": "", "Expiration": {"Days": 1}}] * 2, "InvalidArgument"),
        ([{"Prefix": "", "Expiration": {"Days": 1}, "Status": "enabled"}], "MalformedXML"),
        ([{"Prefix": "", "Expiration": {"Days": 0}}], "InvalidArgument"),
        ([{"Prefix": "", "Expiration": {"Date": "2026-01-01T00:00:01Z"}}], "InvalidArgument"),
        ([{"Prefix": ""}], "InvalidRequest"),
        ([{"Expiration": {"Days": 1}}], "MalformedXML"),
        ([{"Prefix": "", "Filter": {"Prefix": ""}, "Expiration": {"Days": 1}}], "MalformedXML"),
        ([], "MalformedXML"),
    ],
)
def test_bad_rules_change_nothing(s3, bucket, rules, expected):
    rules = {"Rules": [{"Status": "Enabled"} | rule for rule in rules]}
    put = s3.put_bucket_lifecycle_configuration
    assert code(put, Bucket=bucket, LifecycleConfiguration=rules) == (expected, 400)
    get = s3.get_bucket_lifecycle_configuration
    assert code(get, Bucket=bucket) == ("NoSuchLifecycleConfiguration", 404)


def test_rules_are_given_ids_and_dates_come_back(s3, bucket):
    rules = [{"Prefix": f"{n}/", "Status": "Enabled", "Expiration": {"Date": "2031-05-01"}} for n in range(3)]
    s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": rules})
    found = s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
    assert len({rule["ID"] for rule in found}) == 3
    assert {rule["Expiration"]["Date"].isoformat() for rule in found} == {"2031-05-01T00:00:00+00:00"}


def test_the_smallest_object_for_transitions_is_kept_with_its_rules(s3, bucket):
    put, get = s3.put_bucket_lifecycle_configuration, s3.get_bucket_lifecycle_configuration
    name, other = "TransitionDefaultMinimumObjectSize", "varies_by_storage_class"
    put(Bucket=bucket, LifecycleConfiguration=LIFECYCLE, TransitionDefaultMinimumObjectSize=other)
    assert get(Bucket=bucket)[name] == other
    wrong = {"Bucket": bucket, "LifecycleConfiguration": LIFECYCLE, name: "any"}
    assert code(put, **wrong) == ("InvalidRequest", 400)
    assert get(Bucket=bucket)[name] == other
    s3.delete_bucket_lifecycle(Bucket=bucket)
    put(Bucket=bucket, LifecycleConfiguration=LIFECYCLE)
    assert get(Bucket=bucket)[name] == "all_storage_classes_128K"


def test_a_thousand_rules_are_kept(s3, bucket):
    rules = [
        {"ID": f"{n:03}" + "i" * 80, "Filter": {"Prefix": "p" * 100 + str(n)}, "Status": "Enabled", "Expiration": {"Days": n + 1}}
        for n in range(1000)
    ]
    s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": rules})
    assert s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"] == rules
    put = s3.put_bucket_lifecycle_configuration
    more = {"Rules": [*rules, rules[0] | {"ID": "one more"}]}
    assert code(put, Bucket=bucket, LifecycleConfiguration=more) == ("MalformedXML", 400)


@pytest.mark.parametrize(
    "default, expected",
    [
        ({"SSEAlgorithm": "AES256", "KMSMasterKeyID": "k"}, ("InvalidArgument", 400)),
        ({"SSEAlgorithm": "aes"}, ("MalformedXML", 400)),
        ({"SSEAlgorithm": "aws:kms:dsse"}, ("NotImplemented", 501)),
    ],
)
def test_bad_encryption_changes_nothing(s3, bucket, default, expected):
    rules = {"Rules": [{"ApplyServerSideEncryptionByDefault": default}]}
    assert code(s3.put_bucket_encryption, Bucket=bucket, ServerSideEncryptionConfiguration=rules) == expected
    get = s3.get_bucket_encryption
    assert code(get, Bucket=bucket) == ("ServerSideEncryptionConfigurationNotFoundError", 404)


def test_bad_websites_change_nothing(s3, bucket):
    for website, expected in [
        ({"IndexDocument": {"Suffix": "a/b"}}, "InvalidArgument"),
        ({"ErrorDocument": {"Key": "k"}}, "InvalidArgument"),
        ({"RedirectAllRequestsTo": {"HostName": "a", "Protocol": "ftp"}}, "InvalidRequest"),
        ({"RedirectAllRequestsTo": {"HostName": "a"}, "IndexDocument": {"Suffix": "i"}}, "InvalidArgument"),
        (WEBSITE | {"RoutingRules": [{"Redirect": {"HttpRedirectCode": "404"}}]}, "InvalidRequest"),
    ]:
        assert code(s3.put_bucket_website, Bucket=bucket, WebsiteConfiguration=website) == (expected, 400), website
    assert code(s3.get_bucket_website, Bucket=bucket) == ("NoSuchWebsiteConfiguration", 404)
    elsewhere = {"RedirectAllRequestsTo": {"HostName": "example.org", "Protocol": "https"}}
    s3.put_bucket_website(Bucket=bucket, WebsiteConfiguration=elsewhere)
    found = s3.get_bucket_website(Bucket=bucket)
    assert found["RedirectAllRequestsTo"] == elsewhere["RedirectAllRequestsTo"]


def test_bad_notifications_change_nothing(s3, bucket):
    queue = {"QueueArn": "arn:aws:sqs:us-east-1:1:q", "Events": ["s3:ObjectCreated:*"]}
    twice = {"Key": {"FilterRules": [{"Name": "prefix", "Value": "a"}, {"Name": "prefix", "Value": "b"}]}}
    for queues in [
        [queue | {"Events": ["s3:ObjectCreated:Nonsense"]}],
        [queue | {"QueueArn": "q"}],
        [queue, queue],
        [queue, queue | {"Events": ["s3:ObjectCreated:Put"]}],
        [queue | {"Filter": twice}],
        [queue | {"Id": "x"}, queue | {"Id": "x", "Events": ["s3:ObjectRemoved:*"]}],
    ]:
        put = s3.put_bucket_notification_configuration
        wrong = {"QueueConfigurations": queues}
        unseen = {"NotificationConfiguration": wrong, "SkipDestinationValidation": True}
        assert code(put, Bucket=bucket, **unseen) == ("InvalidArgument", 400), queues
    # There is no such queue here, unless the client says not to look.
    wrong = {"QueueConfigurations": [queue]}
    assert code(put, Bucket=bucket, NotificationConfiguration=wrong) == ("InvalidArgument", 400)
    assert "QueueConfigurations" not in s3.get_bucket_notification_configuration(Bucket=bucket)
    put(Bucket=bucket, NotificationConfiguration=wrong, SkipDestinationValidation=True)
    assert s3.get_bucket_notification_configuration(Bucket=bucket)["QueueConfigurations"][0]["Id"]


def test_logging_goes_to_a_bucket_of_the_same_owner(server, s3, bucket, locking):
    logs = f"{bucket}-logs"
    s3.create_bucket(Bucket=logs)
    put = s3.put_bucket_logging
    assert "LoggingEnabled" not in s3.get_bucket_logging(Bucket=bucket)
    for target, expected in [
        ({"TargetBucket": f"{bucket}-none", "TargetPrefix": ""}, ("InvalidTargetBucketForLogging", 400)),
        (
            {"TargetBucket": logs, "TargetPrefix": "", "TargetObjectKeyFormat": {"PartitionedPrefix": {"PartitionDateSource": "x"}}},
            ("MalformedXML", 400),
        ),
        (
            {"TargetBucket": logs, "TargetPrefix": "", "TargetGrants": [{"Grantee": {"Type": "CanonicalUser", "ID": "x"}, "Permission": "READ"}]},
            ("NotImplemented", 501),
        ),
    ]:
        assert code(put, Bucket=bucket, BucketLoggingStatus={"LoggingEnabled": target}) == expected, target
    retention = {"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 1}}}
    s3.put_object_lock_configuration(Bucket=locking, ObjectLockConfiguration=retention)
    locked = {"LoggingEnabled": {"TargetBucket": locking, "TargetPrefix": ""}}
    assert code(put, Bucket=bucket, BucketLoggingStatus=locked) == ("InvalidTargetBucketForLogging", 400)
    assert "LoggingEnabled" not in s3.get_bucket_logging(Bucket=bucket)
    good = {
        "TargetBucket": logs,
        "TargetPrefix": "log/",
        "TargetObjectKeyFormat": {"PartitionedPrefix": {"PartitionDateSource": "EventTime"}},
    }
    put(Bucket=bucket, BucketLoggingStatus={"LoggingEnabled": good})
    assert s3.get_bucket_logging(Bucket=bucket)["LoggingEnabled"] == good
    put(Bucket=bucket, BucketLoggingStatus={})
    assert "LoggingEnabled" not in s3.get_bucket_logging(Bucket=bucket)


# Kinds of which a bucket has many.

INVENTORY = {
    "Id": "all.of-it_1",
    "IsEnabled": True,
    "Destination": {
        "S3BucketDestination": {"Bucket": "arn:aws:s3:::reports", "Format": "CSV", "Prefix": "p/", "AccountId": "123456789012"}
    },
    "Filter": {"Prefix": "photos/"},
    "IncludedObjectVersions": "Current",
    "OptionalFields": ["Size", "ETag"],
    "Schedule": {"Frequency": "Daily"},
}
ANALYTICS = {
    "Id": "all.of-it_1",
    "Filter": {"And": {"Prefix": "a", "Tags": [{"Key": "k", "Value": "v"}]}},
    "StorageClassAnalysis": {
        "DataExport": {
            "OutputSchemaVersion": "V_1",
            "Destination": {"S3BucketDestination": {"Format": "CSV", "Bucket": "arn:aws:s3:::reports"}},
        }
    },
}
METRICS = {"Id": "all.of-it_1", "Filter": {"Tag": {"Key": "k", "Value": "v"}}}
TIERING = {
    "Id": "all.of-it_1",
    "Filter": {"Prefix": "cold/"},
    "Status": "Enabled",
    "Tierings": [{"Days": 90, "AccessTier": "ARCHIVE_ACCESS"}, {"Days": 180, "AccessTier": "DEEP_ARCHIVE_ACCESS"}],
}


@pytest.mark.parametrize(
    "kind, argument, good",
    [
        ("inventory", "InventoryConfiguration", INVENTORY),
        ("analytics", "AnalyticsConfiguration", ANALYTICS),
        ("metrics", "MetricsConfiguration", METRICS),
        ("intelligent_tiering", "IntelligentTieringConfiguration", TIERING),
    ],
)
def test_many_of_a_kind_are_kept_by_their_ids(s3, bucket, kind, argument, good):
    put = getattr(s3, f"put_bucket_{kind}_configuration")
    get = getattr(s3, f"get_bucket_{kind}_configuration")
    delete = getattr(s3, f"delete_bucket_{kind}_configuration")
    listing = getattr(s3, f"list_bucket_{kind}_configurations")
    identity = good["Id"]
    assert code(get, Bucket=bucket, Id=identity) == ("NoSuchConfiguration", 404)
    assert code(delete, Bucket=bucket, Id=identity) == ("NoSuchConfiguration", 404)
    assert not listing(Bucket=bucket)["IsTruncated"]
    put(Bucket=bucket, Id=identity, **{argument: good})
    assert get(Bucket=bucket, Id=identity)[argument] == good
    assert code(put, Bucket=bucket, Id="other", **{argument: good}) == ("IdMismatch", 400)
    assert code(put, Bucket=bucket, Id="a b", **{argument: good | {"Id": "a b"}}) == ("InvalidConfigurationId", 400)
    second = good | {"Id": "a-second"}
    put(Bucket=bucket, Id="a-second", **{argument: second})
    assert listing(Bucket=bucket)[f"{argument}List"] == [second, good]
    delete(Bucket=bucket, Id=identity)
    assert listing(Bucket=bucket)[f"{argument}List"] == [second]
    assert code(get, Bucket=bucket, Id=identity) == ("NoSuchConfiguration", 404)


def test_configurations_are_listed_in_pages(s3, bucket):
    ids = [f"id-{n:03}" for n in range(105)]
    for identity in ids:
        s3.put_bucket_metrics_configuration(Bucket=bucket, Id=identity, MetricsConfiguration={"Id": identity})
    first = s3.list_bucket_metrics_configurations(Bucket=bucket)
    assert first["IsTruncated"] and len(first["MetricsConfigurationList"]) == 100
    token = first["NextContinuationToken"]
    second = s3.list_bucket_metrics_configurations(Bucket=bucket, ContinuationToken=token)
    assert not second["IsTruncated"]
    pages = first["MetricsConfigurationList"] + second["MetricsConfigurationList"]
    assert [entry["Id"] for entry in pages] == ids
    listing = s3.list_bucket_metrics_configurations
    assert code(listing, Bucket=bucket, ContinuationToken="not one!") == ("InvalidArgument", 400)


@pytest.mark.parametrize(
    "kind, argument, wrong, expected",
    [
        ("inventory", "InventoryConfiguration", INVENTORY | {"Schedule": {"Frequency": "Hourly"}}, "MalformedXML"),
        ("inventory", "InventoryConfiguration", INVENTORY | {"IncludedObjectVersions": "Some"}, "MalformedXML"),
        (
            "inventory", "InventoryConfiguration",
            INVENTORY | {"Destination": {"S3BucketDestination": {"Bucket": "reports", "Format": "CSV"}}}, "InvalidArgument",
        ),
        ("intelligent_tiering", "IntelligentTieringConfiguration", TIERING | {"Status": "On"}, "MalformedXML"),
        (
            "intelligent_tiering", "IntelligentTieringConfiguration",
            TIERING | {"Tierings": [{"Days": 89, "AccessTier": "ARCHIVE_ACCESS"}]}, "InvalidArgument",
        ),
    ],
)
def test_bad_configurations_are_not_kept(s3, bucket, kind, argument, wrong, expected):
    put = getattr(s3, f"put_bucket_{kind}_configuration")
    assert code(put, Bucket=bucket, Id=wrong["Id"], **{argument: wrong}) == (expected, 400)
    assert f"{argument}List" not in getattr(s3, f"list_bucket_{kind}_configurations")(Bucket=bucket)


# What is not there is refused by name.


def test_replication_is_refused_by_name(s3, bucket):
    rule = {"ID": "r", "Status": "Enabled", "Prefix": "", "Destination": {"Bucket": "arn:aws:s3:::b"}}
    replication = {"Role": "arn:aws:iam::1:role/r", "Rules": [rule]}
    assert code(s3.put_bucket_replication, Bucket=bucket, ReplicationConfiguration=replication) == ("NotImplemented", 501)


# The same through the aws command line.


def test_aws_s3api(server, s3, bucket, require, tmp_path):
    import json

    aws = require("aws")
    environment = weir.clean_environment() | {
        "AWS_ACCESS_KEY_ID": weir.ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": weir.SECRET_KEY, "AWS_DEFAULT_REGION": weir.REGION,
        "AWS_CONFIG_FILE": str(tmp_path / "none"), "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none"),
    }

    def s3api(*arguments):
        command = [aws, "--endpoint-url", server.endpoint, "s3api", *arguments, "--bucket", bucket]
        output = weir.run(command, env=environment).stdout
        return json.loads(output) if output.strip() else {}

    s3api("put-bucket-cors", "--cors-configuration", json.dumps(CORS_RULES))
    assert s3api("get-bucket-cors") == CORS_RULES
    s3api("put-bucket-lifecycle-configuration", "--lifecycle-configuration", json.dumps(LIFECYCLE))
    assert s3api("get-bucket-lifecycle-configuration")["Rules"] == LIFECYCLE["Rules"]
    s3api("put-bucket-versioning", "--versioning-configuration", "Status=Enabled")
    assert s3api("get-bucket-versioning") == {"Status": "Enabled"}
    s3api("delete-bucket-cors")
    assert code(s3.get_bucket_cors, Bucket=bucket) == ("NoSuchCORSConfiguration", 404)
