"""rclone, whose S3 library is that of Go: V1 listings, Content-MD5 of each part, changes of metadata by copies."""

import os
import subprocess

import pytest

import weir


@pytest.fixture
def rclone(require, server, tmp_path):
    program = require("rclone")
    home = tmp_path / "home"
    home.mkdir()
    environment = weir.clean_environment() | {
        "HOME": str(home),
        "RCLONE_CONFIG": os.devnull,
        "RCLONE_CONFIG_W_TYPE": "s3",
        "RCLONE_CONFIG_W_PROVIDER": "Other",
        "RCLONE_CONFIG_W_ENDPOINT": server.endpoint,
        "RCLONE_CONFIG_W_ACCESS_KEY_ID": weir.ACCESS_KEY,
        "RCLONE_CONFIG_W_SECRET_ACCESS_KEY": weir.SECRET_KEY,
    }
    # Go's S3 library and rclone's transport cannot both have it.
    environment.pop("AWS_CA_BUNDLE", None)

    def run(*arguments, **options):
        # A retry would hide a request that got no answer.
        command = [program, "--retries", "1", "--low-level-retries", "1", *map(str, arguments)]
        return weir.run(command, env=environment, **options)

    run.program, run.environment = program, environment
    return run


def test_sync_check_copy_and_purge(rclone, name, tmp_path):
    tree = weir.make_tree(tmp_path / "tree", seed=3)
    rclone("mkdir", f"w:{name}")
    rclone("mkdir", f"w:{name}")  # as often as one likes
    rclone("sync", tree, f"w:{name}/tree")
    rclone("check", tree, f"w:{name}/tree")
    rclone("check", "--download", tree, f"w:{name}/tree")
    rclone("sync", f"w:{name}/tree", tmp_path / "back")
    weir.assert_same_tree(tree, tmp_path / "back")
    rclone("copy", f"w:{name}/tree", f"w:{name}/copy")
    rclone("check", f"w:{name}/tree", f"w:{name}/copy")
    rclone("moveto", f"w:{name}/copy/large.bin", f"w:{name}/moved.bin")
    assert rclone("lsf", f"w:{name}").stdout.split() == ["copy/", "moved.bin", "tree/"]
    rclone("purge", f"w:{name}")
    assert name not in rclone("lsd", "w:").stdout


def test_times_are_changed_by_copies(rclone, name, tmp_path):
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "file").write_bytes(b"x" * 100_000)
    rclone("mkdir", f"w:{name}")
    rclone("sync", tree, f"w:{name}")
    os.utime(tree / "file", (1_500_000_000, 1_500_000_000))
    rclone("sync", tree, f"w:{name}")
    assert "2017-07-14" in rclone("lsl", f"w:{name}").stdout
    rclone("check", tree, f"w:{name}")


def test_a_stream_of_unknown_length(rclone, bucket):
    body = os.urandom(11 * 1024 * 1024)
    command = [rclone.program, "--retries", "1", "rcat", f"w:{bucket}/stream"]
    done = subprocess.run(command, env=rclone.environment, input=body, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr
    command = [rclone.program, "cat", f"w:{bucket}/stream"]
    assert subprocess.run(command, env=rclone.environment, capture_output=True, timeout=120).stdout == body
