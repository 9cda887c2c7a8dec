"""Access control lists and object ownership, between two accounts and nobody."""

import uuid

import pytest
import weir
from accounts import DENIED, account, nobody, refused



@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """A server whose new buckets have lists, and are not closed to the public."""
    flags = ["--object-ownership", "ObjectWriter", "--allow-public-access"]
    running = weir.Server(tmp_path_factory.mktemp("acl") / "data", flags=flags).start()
    yield running
    assert running.stop() == 0


@pytest.fixture(scope="module")
def ann(shared):
    return account(shared, "ann")


@pytest.fixture(scope="module")
def bob(shared):
    return account(shared, "bob")


@pytest.fixture(scope="module")
def anybody(shared):
    return nobody(shared)


@pytest.fixture
def place(ann):
    """Ann's bucket, with a key in it."""
    bucket = f"acl-{uuid.uuid4().hex[:20]}"
    ann.create_bucket(Bucket=bucket)
    ann.put_object(Bucket=bucket, Key="k", Body=b"anns")
    return bucket


def grants(answer):
    def name(grantee):
        return grantee.get("ID") or grantee["URI"].rsplit("/", 1)[1]

    return sorted((name(grant["Grantee"]), grant["Permission"]) for grant in answer["Grants"])


OWN = [("ann", "FULL_CONTROL")]

OPERATIONS = {
    "list": lambda s3, bucket: s3.list_objects_v2(Bucket=bucket),
    "versions": lambda s3, bucket: s3.list_object_versions(Bucket=bucket),
    "uploads": lambda s3, bucket: s3.list_multipart_uploads(Bucket=bucket),
    "head bucket": lambda s3, bucket: s3.head_bucket(Bucket=bucket),
    "put": lambda s3, bucket: s3.put_object(Bucket=bucket, Key="new", Body=b"x"),
    "upload": lambda s3, bucket: s3.create_multipart_upload(Bucket=bucket, Key="big"),
    "delete": lambda s3, bucket: s3.delete_object(Bucket=bucket, Key="gone"),
    "read bucket acl": lambda s3, bucket: s3.get_bucket_acl(Bucket=bucket),
    "write bucket acl": lambda s3, bucket: s3.put_bucket_acl(Bucket=bucket, GrantFullControl="id=ann,id=bob"),
    "get": lambda s3, bucket: s3.get_object(Bucket=bucket, Key="k"),
    "head": lambda s3, bucket: s3.head_object(Bucket=bucket, Key="k"),
    "read acl": lambda s3, bucket: s3.get_object_acl(Bucket=bucket, Key="k"),
    "write acl": lambda s3, bucket: s3.put_object_acl(Bucket=bucket, Key="k", GrantFullControl="id=ann,id=bob"),
    "policy": lambda s3, bucket: s3.get_bucket_policy(Bucket=bucket),
    "tags": lambda s3, bucket: s3.get_object_tagging(Bucket=bucket, Key="k"),
    "delete bucket": lambda s3, bucket: s3.delete_bucket(Bucket=bucket),
    "ownership": lambda s3, bucket: s3.delete_bucket_ownership_controls(Bucket=bucket),
}


def allowed(s3, bucket):
    done = set()
    for name, operation in OPERATIONS.items():
        try:
            operation(s3, bucket)
            done.add(name)
        except s3.exceptions.ClientError as error:
            assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 403, (name, error)
    return done


READS = {"list", "versions", "uploads", "head bucket"}
WRITES = {"put", "upload", "delete"}
BUCKET_ROWS = {
    "READ": READS,
    "WRITE": WRITES,
    "READ_ACP": {"read bucket acl"},
    "WRITE_ACP": {"write bucket acl"},
    "FULL_CONTROL": READS | WRITES | {"read bucket acl", "write bucket acl"},
}
OBJECT_ROWS = {
    "READ": {"get", "head"},
    "WRITE": set(),
    "READ_ACP": {"read acl"},
    "WRITE_ACP": {"write acl"},
    "FULL_CONTROL": {"get", "head", "read acl", "write acl"},
}
HEADER = {
    "READ": "GrantRead", "WRITE": "GrantWrite", "READ_ACP": "GrantReadACP", "WRITE_ACP": "GrantWriteACP",
    "FULL_CONTROL": "GrantFullControl",
}


def granting(permission, grantee):
    given = {"GrantFullControl": "id=ann"}
    given[HEADER[permission]] = "id=ann," + grantee if permission == "FULL_CONTROL" else grantee
    return given


def test_nothing_is_allowed_without_a_grant(place, ann, bob, anybody):
    assert grants(ann.get_bucket_acl(Bucket=place)) == grants(ann.get_object_acl(Bucket=place, Key="k")) == OWN
    assert allowed(bob, place) == allowed(anybody, place) == set()


@pytest.mark.parametrize("permission", BUCKET_ROWS)
def test_each_grant_on_a_bucket_allows_its_row(place, ann, bob, anybody, permission):
    ann.put_bucket_acl(Bucket=place, **granting(permission, "id=bob"))
    assert grants(ann.get_bucket_acl(Bucket=place)) == sorted([("bob", permission), *OWN])
    assert allowed(anybody, place) == set()
    assert allowed(bob, place) == BUCKET_ROWS[permission]


@pytest.mark.parametrize("permission", OBJECT_ROWS)
def test_each_grant_on_an_object_allows_its_row(place, ann, bob, anybody, permission):
    ann.put_object_acl(Bucket=place, Key="k", **granting(permission, 'id="bob"'))
    assert grants(ann.get_object_acl(Bucket=place, Key="k")) == sorted([("bob", permission), *OWN])
    assert allowed(anybody, place) == set()
    assert allowed(bob, place) == OBJECT_ROWS[permission]


def test_groups_are_everybody_and_everybody_with_a_key(place, ann, bob, anybody):
    ann.put_object_acl(Bucket=place, Key="k", ACL="authenticated-read")
    assert bob.get_object(Bucket=place, Key="k")["Body"].read() == b"anns"
    assert refused(anybody.get_object, Bucket=place, Key="k") == DENIED
    ann.put_object_acl(Bucket=place, Key="k", ACL="public-read")
    assert anybody.get_object(Bucket=place, Key="k")["Body"].read() == b"anns"
    assert grants(ann.get_object_acl(Bucket=place, Key="k")) == [("AllUsers", "READ"), *OWN]
    # A key that is not there is 403 for who may not list the bucket, else 404.
    assert refused(anybody.get_object, Bucket=place, Key="none") == DENIED
    ann.put_bucket_acl(Bucket=place, ACL="public-read")
    assert [entry["Key"] for entry in anybody.list_objects_v2(Bucket=place)["Contents"]] == ["k"]
    assert refused(anybody.get_object, Bucket=place, Key="none") == (404, "NoSuchKey")
    ann.put_object_acl(Bucket=place, Key="k", ACL="private")
    assert refused(anybody.get_object, Bucket=place, Key="k") == DENIED


def test_an_object_of_another_account_is_not_the_bucket_owners_to_read(place, ann, bob):
    ann.put_bucket_acl(Bucket=place, GrantFullControl="id=ann", GrantWrite="id=bob")
    bob.put_object(Bucket=place, Key="b", Body=b"bobs")
    for call in [ann.get_object, ann.head_object, ann.get_object_acl, ann.get_object_tagging]:
        assert refused(call, Bucket=place, Key="b")[0] == 403
    assert refused(ann.put_object_acl, Bucket=place, Key="b", ACL="public-read") == DENIED
    assert refused(ann.copy_object, Bucket=place, Key="c", CopySource=f"{place}/b") == DENIED
    assert bob.get_object(Bucket=place, Key="b")["Body"].read() == b"bobs"
    listed = {entry["Key"]: entry["Owner"]["ID"] for entry in ann.list_objects_v2(Bucket=place, FetchOwner=True)["Contents"]}
    assert listed == {"k": "ann", "b": "bob"}
    versions = {entry["Key"]: entry["Owner"]["ID"] for entry in ann.list_object_versions(Bucket=place)["Versions"]}
    assert versions == {"k": "ann", "b": "bob"}
    bob.put_object_acl(Bucket=place, Key="b", ACL="bucket-owner-read")
    assert ann.get_object(Bucket=place, Key="b")["Body"].read() == b"bobs"
    assert refused(ann.get_object_acl, Bucket=place, Key="b") == DENIED
    bob.put_object_acl(Bucket=place, Key="b", ACL="bucket-owner-full-control")
    assert grants(ann.get_object_acl(Bucket=place, Key="b")) == [("ann", "FULL_CONTROL"), ("bob", "FULL_CONTROL")]
    # To delete it is the bucket owner's in any case.
    bob.put_object_acl(Bucket=place, Key="b", ACL="private")
    ann.delete_object(Bucket=place, Key="b")
    assert refused(bob.get_object, Bucket=place, Key="b") == DENIED


def test_uploads_and_copies_belong_to_who_makes_them(place, ann, bob, anybody):
    ann.put_bucket_acl(Bucket=place, ACL="public-read-write")
    upload = bob.create_multipart_upload(Bucket=place, Key="big", ACL="public-read")["UploadId"]
    assert [entry["Owner"]["ID"] for entry in ann.list_multipart_uploads(Bucket=place)["Uploads"]] == ["bob"]
    part = bob.upload_part(Bucket=place, Key="big", UploadId=upload, PartNumber=1, Body=b"part")
    assert bob.list_parts(Bucket=place, Key="big", UploadId=upload)["Owner"]["ID"] == "bob"
    done = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    bob.complete_multipart_upload(Bucket=place, Key="big", UploadId=upload, MultipartUpload=done)
    assert anybody.get_object(Bucket=place, Key="big")["Body"].read() == b"part"
    assert grants(bob.get_object_acl(Bucket=place, Key="big")) == [("AllUsers", "READ"), ("bob", "FULL_CONTROL")]
    # A copy has a list of its own, and not its source's.
    ann.copy_object(Bucket=place, Key="copy", CopySource=f"{place}/big")
    assert grants(ann.get_object_acl(Bucket=place, Key="copy")) == OWN
    ann.copy_object(Bucket=place, Key="copy", CopySource=f"{place}/big", ACL="public-read")
    assert anybody.get_object(Bucket=place, Key="copy")["Body"].read() == b"part"
    # Nobody's objects are nobody's, unless they are handed over with full control.
    anybody.put_object(Bucket=place, Key="nobodys", Body=b"n")
    assert refused(ann.get_object, Bucket=place, Key="nobodys") == DENIED
    anybody.put_object(Bucket=place, Key="nobodys", Body=b"n", ACL="bucket-owner-full-control")
    assert ann.get_object(Bucket=place, Key="nobodys")["Body"].read() == b"n"


def test_lists_belong_to_versions(place, ann, anybody):
    ann.put_bucket_versioning(Bucket=place, VersioningConfiguration={"Status": "Enabled"})
    first = ann.put_object(Bucket=place, Key="v", Body=b"1", ACL="public-read")["VersionId"]
    second = ann.put_object(Bucket=place, Key="v", Body=b"2")["VersionId"]
    assert refused(anybody.get_object, Bucket=place, Key="v") == DENIED
    assert anybody.get_object(Bucket=place, Key="v", VersionId=first)["Body"].read() == b"1"
    ann.put_object_acl(Bucket=place, Key="v", ACL="public-read")
    ann.put_object_acl(Bucket=place, Key="v", VersionId=first, ACL="private")
    assert anybody.get_object(Bucket=place, Key="v")["Body"].read() == b"2"
    assert refused(anybody.get_object, Bucket=place, Key="v", VersionId=first) == DENIED
    versions = ann.list_object_versions(Bucket=place, Prefix="v")["Versions"]
    assert [version["VersionId"] for version in versions] == [second, first]


def test_ownership_decides_whose_objects_are(ann, bob, place):
    def put(key, **more):
        bob.put_object(Bucket=place, Key=key, Body=b"x", **more)
        listed = ann.list_objects_v2(Bucket=place, Prefix=key, FetchOwner=True)["Contents"]
        return listed[0]["Owner"]["ID"]

    def control(word):
        ann.put_bucket_ownership_controls(Bucket=place, OwnershipControls={"Rules": [{"ObjectOwnership": word}]})
        return ann.get_bucket_ownership_controls(Bucket=place)["OwnershipControls"]["Rules"] == [{"ObjectOwnership": word}]

    ann.put_bucket_acl(Bucket=place, GrantFullControl="id=ann", GrantWrite="id=bob")
    assert put("writer", ACL="bucket-owner-full-control") == "bob"
    assert control("BucketOwnerPreferred")
    assert put("plain") == "bob"
    assert put("handed", ACL="bucket-owner-full-control") == "ann"
    assert grants(ann.get_object_acl(Bucket=place, Key="handed")) == OWN
    enforced = {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    code = refused(ann.put_bucket_ownership_controls, Bucket=place, OwnershipControls=enforced)
    assert code == (400, "InvalidBucketAclWithObjectOwnership")
    ann.put_bucket_acl(Bucket=place, ACL="private")
    assert control("BucketOwnerEnforced")
    # Now all are the bucket owner's, and no list counts or is taken.
    assert ann.get_object(Bucket=place, Key="plain")["Body"].read() == b"x"
    assert refused(bob.get_object, Bucket=place, Key="plain") == DENIED
    for acl in ["public-read", "bucket-owner-read", "authenticated-read"]:
        assert refused(ann.put_object, Bucket=place, Key="k", Body=b"", ACL=acl) == (400, "AccessControlListNotSupported")
        assert refused(ann.put_object_acl, Bucket=place, Key="k", ACL=acl) == (400, "AccessControlListNotSupported")
        assert refused(ann.put_bucket_acl, Bucket=place, ACL=acl) == (400, "AccessControlListNotSupported")
    ann.put_object(Bucket=place, Key="k", Body=b"", ACL="bucket-owner-full-control")
    ann.delete_bucket_ownership_controls(Bucket=place)
    assert refused(ann.get_bucket_ownership_controls, Bucket=place) == (404, "OwnershipControlsNotFoundError")
    assert refused(ann.put_object_acl, Bucket=place, Key="k", ACL="public-read") == (400, "AccessControlListNotSupported")


def test_a_new_bucket_has_no_lists_unless_told(s3, server, name):
    s3.create_bucket(Bucket=name)
    rules = s3.get_bucket_ownership_controls(Bucket=name)["OwnershipControls"]["Rules"]
    assert rules == [{"ObjectOwnership": "BucketOwnerEnforced"}]
    assert refused(s3.put_bucket_acl, Bucket=name, ACL="public-read") == (400, "AccessControlListNotSupported")
    code = refused(s3.create_bucket, Bucket=name + "2", ACL="public-read")
    assert code == (400, "InvalidBucketAclWithObjectOwnership")
    code = refused(s3.create_bucket, Bucket=name + "2", ACL="public-read", ObjectOwnership="ObjectWriter")
    assert code == (400, "InvalidBucketAclWithBlockPublicAccessError")
    assert refused(s3.create_bucket, Bucket=name + "2", ObjectOwnership="Nobody") == (400, "InvalidArgument")
    s3.create_bucket(Bucket=name + "2", ObjectOwnership="ObjectWriter")
    assert refused(s3.put_bucket_acl, Bucket=name + "2", ACL="public-read") == DENIED


def test_public_access_blocks_bind_lists(place, ann, anybody):
    ann.put_object_acl(Bucket=place, Key="k", ACL="public-read")
    ann.put_public_access_block(Bucket=place, PublicAccessBlockConfiguration={"IgnorePublicAcls": True})
    assert refused(anybody.get_object, Bucket=place, Key="k") == DENIED
    ann.put_public_access_block(Bucket=place, PublicAccessBlockConfiguration={"BlockPublicAcls": True})
    assert anybody.get_object(Bucket=place, Key="k")["Body"].read() == b"anns"
    for call, more in [(ann.put_object, {"Key": "n"}), (ann.put_object_acl, {"Key": "k"}), (ann.put_bucket_acl, {})]:
        for acl in ["public-read", "public-read-write", "authenticated-read"]:
            assert refused(call, Bucket=place, ACL=acl, **more) == DENIED
    ann.put_object_acl(Bucket=place, Key="k", ACL="private")


def test_lists_are_taken_strictly(place, ann, bob):
    def policy(*grants, owner="ann"):
        return {"Owner": {"ID": owner}, "Grants": list(grants)}

    def grant(permission="READ", **grantee):
        return {"Grantee": grantee, "Permission": permission}

    user = {"Type": "CanonicalUser", "ID": "bob"}
    put = lambda document: ann.put_object_acl(Bucket=place, Key="k", AccessControlPolicy=document)  # noqa: E731
    put(policy(grant(**user), grant("FULL_CONTROL", Type="CanonicalUser", ID="ann")))
    assert bob.get_object(Bucket=place, Key="k")["Body"].read() == b"anns"
    for document, code in [
        (policy(grant(**user), owner="bob"), DENIED),
        (policy(grant("DELETE", **user)), (400, "MalformedACLError")),
        (policy(grant(Type="CanonicalUser", ID="nobody-here")), (400, "InvalidArgument")),
        (policy(grant(Type="Group", URI="http://acs.amazonaws.com/groups/global/Everyone")), (400, "InvalidArgument")),
        (policy(grant(Type="Group", ID="bob")), (400, "MalformedACLError")),
        (policy(grant(Type="AmazonCustomerByEmail", EmailAddress="x@y.z")), (400, "UnresolvableGrantByEmailAddress")),
        (policy(*[grant(**user)] * 101), (400, "MalformedACLError")),
    ]:
        assert refused(put, document=document) == code, document
    assert refused(ann.put_object, Bucket=place, Key="k", Body=b"", ACL="public-ready") == (400, "InvalidArgument")
    assert refused(ann.put_object, Bucket=place, Key="k", Body=b"", GrantRead="bob") == (400, "InvalidArgument")
    code = refused(ann.put_object, Bucket=place, Key="k", Body=b"", ACL="private", GrantRead="id=bob")
    assert code == (400, "InvalidRequest")
    # None of it changed anything.
    assert grants(ann.get_object_acl(Bucket=place, Key="k")) == [("ann", "FULL_CONTROL"), ("bob", "READ")]


def test_s3cmd_opens_a_key(shared, place, tmp_path, require):
    require("s3cmd")
    config = weir.write_s3cmd_config(shared, tmp_path / "s3cmd")

    def s3cmd(*arguments):
        return weir.run(["s3cmd", "-c", str(config), *arguments]).stdout

    (tmp_path / "file").write_text("from s3cmd")
    bucket = f"acl-{uuid.uuid4().hex[:20]}"
    s3cmd("mb", f"s3://{bucket}")
    s3cmd("put", str(tmp_path / "file"), f"s3://{bucket}/k")
    url = f"{shared.endpoint}/{bucket}/k"
    status = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", url]
    assert weir.run(status).stdout == "403"
    s3cmd("setacl", "--acl-public", f"s3://{bucket}/k")
    assert weir.run(["curl", "-s", "--fail", url]).stdout == "from s3cmd"
    assert "anon*: READ" in s3cmd("info", f"s3://{bucket}/k").replace("*anon*", "anon*")
    s3cmd("setacl", "--acl-private", f"s3://{bucket}/k")
    assert weir.run(status).stdout == "403"


def test_aws_uploads_a_public_key(shared, tmp_path, require):
    require("aws")
    bucket = f"acl-{uuid.uuid4().hex[:20]}"
    env = weir.client_environment(shared, tmp_path)

    def aws(*arguments):
        weir.run(["aws", "--endpoint-url", shared.endpoint, "s3", *arguments], env=env)

    aws("mb", f"s3://{bucket}")
    (tmp_path / "file").write_text("from aws")
    for key, acl in [("open", ["--acl", "public-read"]), ("closed", [])]:
        aws("cp", str(tmp_path / "file"), f"s3://{bucket}/{key}", *acl)
    assert weir.run(["curl", "-s", "--fail", f"{shared.endpoint}/{bucket}/open"]).stdout == "from aws"
    status = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", f"{shared.endpoint}/{bucket}/closed"]
    assert weir.run(status).stdout == "403"
