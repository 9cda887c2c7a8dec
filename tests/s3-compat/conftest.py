import os
import shutil
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import everyday  # noqa: E402  (the folder must be on the path first)
import matrix  # noqa: E402
import raw  # noqa: E402
import weir  # noqa: E402


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


@pytest.fixture(scope="session")
def many_keys(server):
    """A bucket whose listing has more than one page, for reading."""
    s3 = weir.boto3_client(server)
    bucket = f"many-{uuid.uuid4().hex[:20]}"
    s3.create_bucket(Bucket=bucket)
    keys = {f"{folder}/key-{index:04}" for folder in "ab" for index in range(550)}
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda key: s3.put_object(Bucket=bucket, Key=key, Body=b"x"), sorted(keys)))
    return bucket, keys


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
    # Its tests send what is refused, more often than an address may.
    running = weir.Server(tmp_path_factory.mktemp("scene") / "data", flags=["--failed-auth-rate", "0"]).start()
    yield Scene(running)
    assert running.stop() == 0, "SIGTERM must end the server with exit status 0"


# The table of clients and operations.


def pytest_configure(config):
    config.addinivalue_line("markers", "operation(name): a row of docs/clients.md")
    config.matrix = matrix.Matrix()
    config.matrix.everyday = everyday.OPERATIONS


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config, items):
    kept, lacking = [], []
    for item in items:
        mark = item.get_closest_marker("operation")
        if mark is None:
            kept.append(item)
            continue
        kind = item.callspec.params["client"]
        item.cell = config.matrix.cell(kind.label, mark.args[0], mark.args[0] in everyday.OPERATIONS)
        item.cell.lacks = kind.lacks.get(mark.args[0])
        limit = kind.limits.get(mark.args[0])
        if limit:
            item.cell.limit = limit
            item.add_marker(pytest.mark.xfail(reason=limit, strict=True))
        (lacking if item.cell.lacks else kept).append(item)
    config.hook.pytest_deselected(items=lacking)
    items[:] = kept


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    cell = getattr(item, "cell", None)
    if cell is None or (report.when != "call" and report.outcome == "passed"):
        return
    cell.outcomes.append("passed" if hasattr(report, "wasxfail") and report.outcome == "skipped" else report.outcome)
    client = item.funcargs.get("client")
    if client is not None and cell.version is None:
        cell.version = client.version()


def pytest_terminal_summary(terminalreporter, config):
    if config.matrix.cells:
        terminalreporter.write_line(config.matrix.summary())
    if os.environ.get("WEIR_MATRIX"):
        config.matrix.save(os.environ["WEIR_MATRIX"])
