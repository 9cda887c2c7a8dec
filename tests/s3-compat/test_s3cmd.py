"""s3cmd: the Python environment's and Debian's."""

import os
import shutil

import pytest

import weir


@pytest.fixture(params=["environment", "debian"])
def s3cmd(request, server, tmp_path):
    program = "/usr/bin/s3cmd" if request.param == "debian" else shutil.which("s3cmd")
    if program is None or not os.access(program, os.X_OK):
        pytest.skip("s3cmd is not installed")
    config = weir.write_s3cmd_config(server, tmp_path / "s3cfg")

    def run(*arguments, **options):
        return weir.run([program, "--config", str(config), "--no-progress", *map(str, arguments)], **options)

    return run


@pytest.fixture
def url(s3cmd, name):
    s3cmd("mb", f"s3://{name}")
    return f"s3://{name}"


def test_put_get_ls_info_del(s3cmd, url, tmp_path):
    assert url in s3cmd("ls").stdout
    path = tmp_path / "file.bin"
    path.write_bytes(os.urandom(300_000))
    s3cmd("put", path, f"{url}/folder/file.bin", "--add-header", "x-amz-meta-color:blue")
    assert f"{url}/folder/file.bin" in s3cmd("ls", f"{url}/folder/").stdout
    assert "DIR" in s3cmd("ls", url).stdout
    info = s3cmd("info", f"{url}/folder/file.bin").stdout
    assert "300000" in info and "x-amz-meta-color: blue" in info
    back = tmp_path / "back.bin"
    s3cmd("get", f"{url}/folder/file.bin", back)
    assert back.read_bytes() == path.read_bytes()
    s3cmd("del", f"{url}/folder/file.bin")
    assert s3cmd("ls", "--recursive", url).stdout == ""
    assert s3cmd("get", f"{url}/folder/file.bin", tmp_path / "gone", may_fail=True).returncode != 0


def test_du_counts_bytes_and_objects(s3cmd, url, tmp_path):
    for index, length in enumerate([0, 1, 1000, 70_000]):
        path = tmp_path / f"{index}"
        path.write_bytes(b"x" * length)
        s3cmd("put", path, f"{url}/{index}")
    words = s3cmd("du", url).stdout.split()
    assert words[:3] == ["71001", "4", "objects"]


def test_sync_up_and_down_is_the_same_tree(s3cmd, url, tmp_path):
    tree = weir.make_tree(tmp_path / "tree", seed=2)
    s3cmd("sync", f"{tree}/", f"{url}/tree/")
    back = tmp_path / "back"
    back.mkdir()
    s3cmd("sync", f"{url}/tree/", f"{back}/")
    weir.assert_same_tree(tree, back)
    assert "upload" not in s3cmd("sync", f"{tree}/", f"{url}/tree/").stdout
    s3cmd("del", "--recursive", "--force", f"{url}/tree/")
    s3cmd("rb", url)


def test_multipart_put_and_copy(s3cmd, url, tmp_path):
    path = tmp_path / "large.bin"
    path.write_bytes(os.urandom(12 * 1024 * 1024 + 5))
    s3cmd("put", "--multipart-chunk-size-mb=5", path, f"{url}/large.bin")
    s3cmd("cp", f"{url}/large.bin", f"{url}/copy.bin")
    back = tmp_path / "back.bin"
    s3cmd("get", f"{url}/copy.bin", back)
    assert back.read_bytes() == path.read_bytes()
