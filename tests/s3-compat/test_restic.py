"""restic: a repository of backups in a bucket, checked by reading all of it."""

import json
import os
import shutil

import pytest

import everyday
import weir
from everyday import clients


class Restic(everyday.Client):
    label = "restic"

    def __init__(self, server, home):
        super().__init__(server, home)
        self.environment = weir.client_environment(server, home) | {
            "RESTIC_PASSWORD": "of the tests", "RESTIC_CACHE_DIR": str(home / "cache"),
        }

    @classmethod
    def program(cls):
        return everyday.on_path("restic")

    def __call__(self, *arguments, **options):
        return weir.run([self.program(), *map(str, arguments)], env=self.environment, **options)

    def use(self, bucket):
        self.environment["RESTIC_REPOSITORY"] = f"s3:{self.server.endpoint}/{bucket}"

    def version(self):
        return " ".join(self("version").stdout.split()[:2])


client = clients(Restic)


@pytest.mark.operation("init (makes the bucket), backups, `check --read-data`, restore, `diff`, `forget --prune`")
def test_backups(client, s3, name, tmp_path):
    tree = weir.make_tree(tmp_path / "tree", seed=5)
    client.use(name)
    client("init")
    client("backup", "--quiet", tree)
    (tree / "large.bin").write_bytes(os.urandom(9 * 1024 * 1024))
    shutil.rmtree(tree / "plain" / "2")
    client("backup", "--quiet", tree)
    assert "no errors were found" in client("check", "--read-data").stdout
    client("restore", "--quiet", "latest", "--target", tmp_path / "back")
    weir.assert_same_tree(tree, tmp_path / "back" / tree.relative_to("/"))

    first, second = [snapshot["id"] for snapshot in json.loads(client("snapshots", "--json").stdout)]
    assert "M    " + str(tree / "large.bin") in client("diff", first, second).stdout
    stored = sum(entry["Size"] for entry in s3.list_objects_v2(Bucket=name)["Contents"])
    client("forget", "--quiet", "--keep-last", "1", "--prune")
    assert sum(entry["Size"] for entry in s3.list_objects_v2(Bucket=name)["Contents"]) < stored - 15_000_000
    assert "no errors were found" in client("check", "--read-data").stdout
    client("restore", "--quiet", second, "--target", tmp_path / "again")
    weir.assert_same_tree(tree, tmp_path / "again" / tree.relative_to("/"))
