import shutil
import sys
import uuid
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import raw  # noqa: E402
import weir  # noqa: E402  (the folder must be on the path first)


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """One server for all tests that leave it running."""
    running = weir.Server(tmp_path_factory.mktemp("server") / "data").start()
    yield running
    assert running.stop() == 0, "SIGTERM must end the server with exit status 0"


@pytest.fixture
def own_server(tmp_path):
    """A server that the test may stop, kill and break."""
    running = weir.Server(tmp_path / "data").start()
    yield running
    if running.process is not None:
        running.kill()


@pytest.fixture
def s3(server):
    return weir.boto3_client(server)


@pytest.fixture
def name():
    """A bucket name that no other test has."""
    return f"test-{uuid.uuid4().hex[:20]}"


@pytest.fixture
def bucket(s3, name):
    s3.create_bucket(Bucket=name)
    return name


@pytest.fixture
def require():
    def require(program):
        path = shutil.which(program)
        if path is None:
            pytest.skip(f"{program} is not installed")
        return path

    return require


class Scene:
    """A server of its own with one bucket, whose whole state is known."""

    def __init__(self, server):
        self.server = server
        self.s3 = weir.boto3_client(server)
        self.bucket = "raw-requests"
        self.s3.create_bucket(Bucket=self.bucket)
        self.s3.put_object(Bucket=self.bucket, Key="secret", Body=b"do not copy")
        self.before = raw.state(server, self.s3)

    def assert_unchanged(self):
        assert raw.state(self.server, self.s3) == self.before
        assert raw.settled_staging(self.server) == []


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    running = weir.Server(tmp_path_factory.mktemp("scene") / "data").start()
    yield Scene(running)
    assert running.stop() == 0, "SIGTERM must end the server with exit status 0"
