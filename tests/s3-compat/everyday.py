"""What every client does all day, as one list of tests.

A client's file names a subclass of `Client` for each of its versions, whose methods say how the client does it, and lets
`Everyday` run. What a client cannot do stands in its `lacks` with the reason, and so in `docs/clients.md`.
"""

import hashlib
import os
import shutil
import urllib.error
import urllib.request

import pytest

import weir

OPERATIONS = []

LARGE = 20 * 1024 * 1024 + 17

# One command for each costs a second with some clients, so these are few; `test_sync` sends all of `weir.ODD_NAMES`.
ODD_NAMES = [
    "with space+and&amp%20percent#question?.txt",
    "-dash/.hidden/ünï-日本-🦀;colon:=equals~(paren)[bracket]$@quote'double\"<less>\\",
]


def operation(name):
    """A row of the table for every client."""
    OPERATIONS.append(name)
    return pytest.mark.operation(name)


class Client:
    label = ""
    # Operation -> why the client does not have it.
    lacks = {}
    # Operation -> why it fails in this client, with any server. It must fail.
    limits = {}
    # A file of this length is uploaded in parts.
    large = LARGE
    names_it_cannot_say = ()
    # It shows a folder as a file system does.
    is_file_system = False
    # It uploads everything in parts, also a thousand bytes.
    always_in_parts = False
    # Its second sync sends everything again.
    sends_all_again = False

    def __init__(self, server, home):
        self.server, self.home = server, home

    @classmethod
    def program(cls):
        """The path of the binary; None: not installed."""
        raise NotImplementedError

    @classmethod
    def open(cls, server, home):
        if cls.program() is None:
            pytest.skip(f"{cls.label} is not installed")
        home.mkdir()
        return cls(server, home)

    def version(self):
        raise NotImplementedError

    def use(self, bucket):
        """Called once for a bucket that is there."""

    def close(self):
        """At the end of a test."""


def clients(*classes):
    """The fixture `client`: one after the other."""

    @pytest.fixture(params=classes, ids=[kind.label for kind in classes])
    def client(request, server, tmp_path):
        opened = request.param.open(server, tmp_path / "home")
        yield opened
        opened.close()

    return client


class Everyday:
    @pytest.fixture
    def place(self, client, bucket):
        client.use(bucket)
        return bucket

    @pytest.fixture
    def file(self, tmp_path):
        def file(length, name="file.bin"):
            path = tmp_path / "files" / name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(os.urandom(length))
            return path

        return file

    @staticmethod
    def etag(s3, bucket, key):
        return s3.head_object(Bucket=bucket, Key=key)["ETag"].strip('"')

    @staticmethod
    def keys(s3, bucket):
        """Without the empty objects by which some clients remember a folder."""
        keys = {entry["Key"] for entry in s3.list_objects_v2(Bucket=bucket).get("Contents", [])}
        return {key for key in keys if not key.endswith("/")}

    @operation("make a bucket, list buckets")
    def test_make_bucket(self, client, s3, name):
        client.make_bucket(name)
        assert name in [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]]
        assert name in client.buckets()

    @operation("put, get: small")
    def test_small(self, client, s3, place, file, tmp_path):
        path = file(1000)
        client.put(path, place, "folder/small.bin")
        if not client.always_in_parts:
            assert self.etag(s3, place, "folder/small.bin") == hashlib.md5(path.read_bytes()).hexdigest()
        client.get(place, "folder/small.bin", tmp_path / "back")
        assert (tmp_path / "back").read_bytes() == path.read_bytes()

    @operation("put, get: empty")
    def test_empty(self, client, s3, place, file, tmp_path):
        client.put(file(0), place, "empty")
        assert s3.head_object(Bucket=place, Key="empty")["ContentLength"] == 0
        client.get(place, "empty", tmp_path / "back")
        assert (tmp_path / "back").read_bytes() == b""

    @operation("put, get: large, in parts")
    def test_large(self, client, s3, place, file, tmp_path):
        path = file(client.large)
        client.put(path, place, "large.bin")
        assert "-" in self.etag(s3, place, "large.bin"), "not a multipart upload"
        client.get(place, "large.bin", tmp_path / "back")
        assert (tmp_path / "back").read_bytes() == path.read_bytes()

    @operation("odd names")
    def test_odd_names(self, client, s3, place, file, tmp_path):
        names = [name for name in ODD_NAMES if name not in client.names_it_cannot_say]
        for name in names:
            client.put(file(10), place, name)
        assert self.keys(s3, place) == set(names)
        assert set(client.keys(place)) == set(names)
        for index, name in enumerate(names):
            client.get(place, name, tmp_path / f"back-{index}")
            assert (tmp_path / f"back-{index}").stat().st_size == 10
            client.delete(place, name)
        assert self.keys(s3, place) == set()

    @operation("list below a prefix")
    def test_list(self, client, s3, place):
        for key in "a", "a/1", "a/b/2", "ab/3", "c":
            if key != "a" or not client.is_file_system:  # which has no file and folder of one name
                s3.put_object(Bucket=place, Key=key, Body=b"x")
        assert set(client.keys(place, "a/")) == {"a/1", "a/b/2"}
        assert set(client.keys(place)) >= {"a/1", "a/b/2", "ab/3", "c"}

    @operation("list more than 1,000 keys")
    def test_list_pages(self, client, many_keys):
        bucket, keys = many_keys
        client.use(bucket)
        found = client.keys(bucket)
        assert (len(found), set(found)) == (len(keys), keys)

    @operation("read a range")
    def test_range(self, client, s3, place):
        body = os.urandom(300_000)
        s3.put_object(Bucket=place, Key="k", Body=body)
        assert client.read_range(place, "k", 1000, 200_000) == body[1000:201_000]

    @operation("resume a download")
    def test_resume(self, client, s3, place, tmp_path):
        body = os.urandom(300_000)
        s3.put_object(Bucket=place, Key="k", Body=body)
        (tmp_path / "back").write_bytes(body[:100_000])
        client.resume(place, "k", tmp_path / "back")
        assert (tmp_path / "back").read_bytes() == body

    @operation("copy")
    @pytest.mark.parametrize("length", [1000, LARGE], ids=["small", "large"])
    def test_copy(self, client, s3, place, length):
        body = os.urandom(length)
        s3.put_object(Bucket=place, Key="one", Body=body)
        client.copy(place, "one", "folder/two")
        assert s3.get_object(Bucket=place, Key="folder/two")["Body"].read() == body
        assert "one" in self.keys(s3, place)

    @operation("move")
    @pytest.mark.parametrize("length", [1000, LARGE], ids=["small", "large"])
    def test_move(self, client, s3, place, length):
        body = os.urandom(length)
        s3.put_object(Bucket=place, Key="one", Body=body)
        client.move(place, "one", "two")
        assert s3.get_object(Bucket=place, Key="two")["Body"].read() == body
        assert self.keys(s3, place) == {"two"}

    @operation("content type")
    def test_content_type(self, client, s3, place, file):
        client.put_with_metadata(file(100), place, "k.bin", "text/x-weir", "color", "blue")
        assert s3.head_object(Bucket=place, Key="k.bin")["ContentType"] == "text/x-weir"

    @operation("user metadata")
    def test_user_metadata(self, client, s3, place, file):
        client.put_with_metadata(file(100), place, "k.bin", "text/x-weir", "color", "blue")
        assert s3.head_object(Bucket=place, Key="k.bin")["Metadata"]["color"] == "blue"

    @operation("sync up and down, `diff -r`")
    def test_sync(self, client, s3, place, tmp_path):
        tree = weir.make_tree(tmp_path / "tree", seed=len(client.label))
        for name in client.names_it_cannot_say:
            (tree / name).unlink(missing_ok=True)
        for path in tree.rglob("*"):
            # S3's times are whole seconds: a file of this very second would look newer than its object.
            os.utime(path, (1_500_000_000, 1_500_000_000))
        client.sync_up(tree, place, "tree")
        back = tmp_path / "back"
        back.mkdir()
        client.sync_down(place, "tree", back)
        weir.assert_same_tree(tree, back)
        assert "tree/plain/0/file-0000.dat" in self.keys(s3, place)

        # A second sync brings what is new, and only that.
        (tree / "plain" / "new.txt").write_text("new\n")
        before = {entry["Key"]: entry["LastModified"] for entry in s3.list_objects_v2(Bucket=place)["Contents"]}
        client.sync_up(tree, place, "tree")
        for entry in s3.list_objects_v2(Bucket=place)["Contents"]:
            if not entry["Key"].endswith("/") and not client.sends_all_again:
                assert entry["Key"] == "tree/plain/new.txt" or before[entry["Key"]] == entry["LastModified"]
        client.sync_down(place, "tree", back)
        weir.assert_same_tree(tree, back)

    @operation("presigned URL")
    def test_presign(self, client, s3, place):
        s3.put_object(Bucket=place, Key="folder/a b.txt", Body=b"for everyone with the link\n")
        url = client.presign(place, "folder/a b.txt")
        with urllib.request.urlopen(url, timeout=30) as answer:
            assert answer.read() == b"for everyone with the link\n"
        for broken in url.replace("a%20b", "a%20c"), url.split("?")[0]:
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(broken, timeout=30)
            assert refused.value.code == 403

    @operation("delete")
    def test_delete(self, client, s3, place):
        for key in "a/1", "a/2":
            s3.put_object(Bucket=place, Key=key, Body=b"x")
        client.delete(place, "a/1")
        assert self.keys(s3, place) == {"a/2"}

    @operation("delete a folder")
    def test_delete_folder(self, client, s3, place):
        for index in range(30):
            s3.put_object(Bucket=place, Key=f"a/{index % 3}/k{index} &<", Body=b"x")
        s3.put_object(Bucket=place, Key="b", Body=b"x")
        client.delete_folder(place, "a")
        assert self.keys(s3, place) == {"b"}

    @operation("remove a bucket")
    def test_remove_bucket(self, client, s3, place):
        client.remove_bucket(place)
        assert place not in [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]]

    @operation("an error is one")
    def test_errors(self, client, place, tmp_path):
        with pytest.raises(Exception):
            client.get(place, "never-was", tmp_path / "back")
        assert not (tmp_path / "back").exists()


def on_path(name):
    return shutil.which(name)


def debian(name):
    path = f"/usr/bin/{name}"
    return path if os.access(path, os.X_OK) else None


# Not on the path of ordinary users.
NGINX = "/usr/sbin/nginx"
