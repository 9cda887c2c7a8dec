"""The AWS command line: version 1 of the Python environment, version 2 of Debian."""

import os
import shutil
import urllib.error
import urllib.request

import pytest

import weir


def which(version):
    if version == "v2":
        path = "/usr/bin/aws"
        if not os.access(path, os.X_OK):
            pytest.skip("aws v2 is not installed: apt-get install awscli")
        return path
    path = shutil.which("aws")
    if path is None:
        pytest.skip("aws v1 is not installed")
    return path


@pytest.fixture(params=["v1", "v2"])
def aws(request, server, tmp_path):
    program = which(request.param)
    home = tmp_path / "home"
    home.mkdir()
    # Version 1 still makes presigned URLs of Signature Version 2 when nobody tells it not to.
    (home / "aws-config").write_text("[default]\ns3 =\n    signature_version = s3v4\n")

    def run(*arguments, **options):
        command = [program, "--endpoint-url", server.endpoint, "--cli-read-timeout", "20", *map(str, arguments)]
        # A retry would hide a request that got no answer.
        environment = weir.client_environment(server, home) | {"AWS_MAX_ATTEMPTS": "1"}
        return weir.run(command, env=environment, **options)

    assert f"aws-cli/{request.param[1]}." in (lambda done: done.stdout + done.stderr)(run("--version"))
    run.version = request.param
    return run


def test_make_and_remove_bucket(aws, name):
    aws("s3", "mb", f"s3://{name}")
    assert name in aws("s3", "ls").stdout
    aws("s3", "rb", f"s3://{name}")
    assert name not in aws("s3", "ls").stdout
    assert aws("s3", "ls", f"s3://{name}", may_fail=True).returncode != 0


def test_copy_up_between_and_down(aws, name, tmp_path):
    aws("s3", "mb", f"s3://{name}")
    small, large = tmp_path / "small.txt", tmp_path / "large.bin"
    small.write_text("hello\n")
    large.write_bytes(os.urandom(9 * 1024 * 1024 + 1))
    for path in small, large:
        aws("s3", "cp", path, f"s3://{name}/in/{path.name}", "--metadata", "color=blue")
        aws("s3", "cp", f"s3://{name}/in/{path.name}", f"s3://{name}/copied/{path.name}")
        aws("s3", "mv", f"s3://{name}/copied/{path.name}", f"s3://{name}/moved/{path.name}")
        back = tmp_path / f"back-{path.name}"
        aws("s3", "cp", f"s3://{name}/moved/{path.name}", back)
        assert back.read_bytes() == path.read_bytes()
        if path == small or aws.version == "v2":  # version 1 drops the metadata when it copies by parts
            head = aws("s3api", "head-object", "--bucket", name, "--key", f"moved/{path.name}").stdout
            assert '"color": "blue"' in head
    listed = aws("s3", "ls", "--recursive", f"s3://{name}").stdout
    assert "copied/" not in listed and listed.count("moved/") == 2


def test_sync_up_and_down_is_the_same_tree(aws, name, tmp_path):
    tree = weir.make_tree(tmp_path / "tree")
    aws("s3", "mb", f"s3://{name}")
    aws("s3", "sync", tree, f"s3://{name}/tree", "--only-show-errors")
    back = tmp_path / "back"
    aws("s3", "sync", f"s3://{name}/tree", back, "--only-show-errors")
    weir.assert_same_tree(tree, back)

    # A second sync has nothing to do, and --delete takes away what is gone.
    assert aws("s3", "sync", tree, f"s3://{name}/tree", "--size-only").stdout == ""
    shutil.rmtree(tree / "plain" / "3")
    aws("s3", "sync", tree, f"s3://{name}/tree", "--delete", "--size-only", "--only-show-errors")
    aws("s3", "sync", f"s3://{name}/tree", back, "--delete", "--size-only", "--only-show-errors")
    shutil.rmtree(back / "plain" / "3", ignore_errors=True)  # sync leaves empty folders
    weir.assert_same_tree(tree, back)

    aws("s3", "rm", f"s3://{name}", "--recursive", "--only-show-errors")
    assert aws("s3", "ls", "--recursive", f"s3://{name}", may_fail=True).stdout == ""
    aws("s3", "rb", f"s3://{name}")


def test_presigned_url_works_without_keys(aws, name, tmp_path):
    path = tmp_path / "a b.txt"
    path.write_text("for everyone with the link\n")
    aws("s3", "mb", f"s3://{name}")
    aws("s3", "cp", path, f"s3://{name}/folder/a b.txt")
    url = aws("s3", "presign", f"s3://{name}/folder/a b.txt", "--expires-in", 60).stdout.strip()
    with urllib.request.urlopen(url, timeout=30) as answer:
        assert answer.read() == path.read_bytes()
    for broken in url.replace("a%20b", "a%20c"), url.split("?")[0]:
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(broken, timeout=30)
        assert refused.value.code == 403


def test_exit_status_and_words_of_errors(aws, name, bucket):
    missing = aws("s3api", "get-object", "--bucket", bucket, "--key", "nothing", os.devnull, may_fail=True)
    assert missing.returncode != 0 and "NoSuchKey" in missing.stderr
    nowhere = aws("s3api", "list-objects-v2", "--bucket", name + "-none", may_fail=True)
    assert nowhere.returncode != 0 and "NoSuchBucket" in nowhere.stderr
