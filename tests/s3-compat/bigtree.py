"""The show with real data: a tree of at least 20,000 files and 1 GiB goes up and down by three clients.

During the first way up the server is killed with -9 three times and started again while the client runs. Every way ends
with `diff -r`. Run by `cargo xtask bigtree`; takes tens of minutes.
"""

import argparse
import concurrent.futures
import http.client
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
from pathlib import Path

import weir

FILES_MIN = 20_000
BYTES_MIN = 1 << 30
KILLS = 3
SYNC_ATTEMPTS = 5
THREADS = 8


def measure(tree):
    count = total = 0
    for folder, _, files in os.walk(tree):
        for name in files:
            path = os.path.join(folder, name)
            if not os.path.islink(path):
                count += 1
                total += os.lstat(path).st_size
    return count, total


def make_tree(source, target):
    """Regular files of the source, and generated ones up to the promised size. Links and empty folders have no
    counterpart in S3, so they are left out."""
    for folder, _, files in os.walk(source):
        for name in files:
            path = Path(folder) / name
            if path.is_symlink() or not path.is_file():
                continue
            copy = target / path.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(path, copy)
            except OSError:
                shutil.copyfile(path, copy)
    weir.make_tree(target / "odd-names")
    count, total = measure(target)
    numbers = random.Random(1)
    missing_bytes = max(0, BYTES_MIN - total)
    more = max(0, FILES_MIN - count, -(-missing_bytes // (1 << 20)))
    for index in range(more):
        path = target / "generated" / f"{index % 100:02}" / f"{index:06}.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(numbers.randbytes(missing_bytes // more + 1))
    return measure(target)


class Table:
    def __init__(self, count, total):
        self.count, self.total, self.rows = count, total, []

    def time(self, name, step):
        print(f"-- {name}", flush=True)
        start = time.monotonic()
        note = step() or ""
        self.rows.append((name, time.monotonic() - start, note))

    def show(self):
        print(f"\n{self.count} files, {self.total / (1 << 20):.0f} MiB; {os.cpu_count()} cores")
        print(f"{'step':<34}{'s':>8}{'MiB/s':>8}{'files/s':>9}  note")
        for name, seconds, note in self.rows:
            rates = f"{self.total / (1 << 20) / seconds:>8.1f}{self.count / seconds:>9.0f}"
            print(f"{name:<34}{seconds:>8.1f}{rates}  {note}")


def sync_up_under_kills(server, aws, environment, tree, url, count):
    """Runs the client and kills the server at a quarter, a half and three quarters of the files. The client writes a
    line per file, which is counted here."""
    restarts = []
    for attempt in range(1, SYNC_ATTEMPTS + 1):
        client = subprocess.Popen(
            [aws, "--endpoint-url", server.endpoint, "s3", "sync", str(tree), url, "--no-progress"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment, text=True,
            errors="replace",
        )
        already = len(restarts)
        done = 0
        for line in client.stdout:
            done += line.startswith("upload: ")
            if len(restarts) < KILLS and done >= count * (len(restarts) - already + 1) // (KILLS + 1):
                start = time.monotonic()
                server.restart_killed()
                restarts.append(done)
                print(f"   killed at {done} files of run {attempt}, ready after {time.monotonic() - start:.2f} s", flush=True)
        status = client.wait()
        print(f"   run {attempt}: {done} files sent, exit status {status}", flush=True)
        if status == 0:
            break
    else:
        raise SystemExit(f"aws s3 sync still fails after {SYNC_ATTEMPTS} runs")
    if len(restarts) < KILLS:
        raise SystemExit(f"only {len(restarts)} kills happened during the upload")
    return f"{KILLS} kills, {attempt} runs"


def send_with_presigned_urls(server, bucket, tree):
    s3 = weir.boto3_client(server)
    files = sorted(path for path in tree.rglob("*") if path.is_file())
    connections = Connections(server.port)

    def send(path):
        key = path.relative_to(tree).as_posix()
        url = s3.generate_presigned_url("put_object", {"Bucket": bucket, "Key": key}, ExpiresIn=3600)
        connections.request("PUT", url, path.read_bytes())

    with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
        for _ in pool.map(send, files):
            pass


def fetch_with_presigned_urls(server, bucket, target):
    s3 = weir.boto3_client(server)
    connections = Connections(server.port)

    def fetch(key):
        url = s3.generate_presigned_url("get_object", {"Bucket": bucket, "Key": key}, ExpiresIn=3600)
        path = target / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(connections.request("GET", url))

    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket)
    keys = [entry["Key"] for page in pages for entry in page.get("Contents", [])]
    with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
        for _ in pool.map(fetch, keys):
            pass


class Connections:
    """One kept connection per thread."""

    def __init__(self, port):
        self.port, self.local = port, threading.local()

    def request(self, method, url, body=None):
        if not hasattr(self.local, "connection"):
            self.local.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        parts = urllib.parse.urlsplit(url)
        self.local.connection.request(method, f"{parts.path}?{parts.query}", body)
        answer = self.local.connection.getresponse()
        content = answer.read()
        if answer.status != 200:
            raise SystemExit(f"{method} {parts.path} answered {answer.status}: {content[:500]!r}")
        return content


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--tree", type=Path, help="default: the Rust toolchain")
    arguments.add_argument("--work-dir", type=Path, help="needs about six times the tree")
    options = arguments.parse_args()
    source = options.tree or Path(weir.run(["rustc", "--print", "sysroot"]).stdout.strip())
    if options.work_dir:
        options.work_dir.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix="weir-bigtree-", dir=options.work_dir))
    server = weir.Server(work / "data")
    try:
        show(server, source, work)
    finally:
        if server.process is not None:
            server.kill()
    shutil.rmtree(work)


def show(server, source, work):
    tree = work / "tree"
    count, total = make_tree(source, tree)
    assert count >= FILES_MIN and total >= BYTES_MIN, (count, total)
    print(f"{source}: {count} files, {total / (1 << 20):.0f} MiB", flush=True)
    table = Table(count, total)
    server.start()
    home = work / "home"
    home.mkdir()
    environment = weir.client_environment(server, home) | {"AWS_MAX_ATTEMPTS": "10", "AWS_RETRY_MODE": "standard"}
    [aws, *_] = weir.available("aws", "/usr/bin/aws")
    s3cmd = [weir.available("s3cmd")[0], "--config", str(weir.write_s3cmd_config(server, work / "s3cfg")), "--quiet"]
    back = work / "back"

    def check():
        weir.assert_same_tree(tree, back)
        shutil.rmtree(back)
        return "diff -r is empty"

    def run(*command):
        weir.run([*map(str, command)], env=environment, timeout=3 * 3600)

    for bucket in "by-aws", "by-s3cmd", "by-url":
        weir.boto3_client(server).create_bucket(Bucket=bucket)
    endpoint = ["--endpoint-url", server.endpoint, "s3", "sync", "--only-show-errors"]
    table.time(
        "aws s3 sync up, under kill -9",
        lambda: sync_up_under_kills(server, aws, environment, tree, "s3://by-aws/tree", count),
    )
    table.time("aws s3 sync down", lambda: run(aws, *endpoint, "s3://by-aws/tree", back))
    table.time("compare", check)
    table.time("s3cmd sync up", lambda: run(*s3cmd, "sync", f"{tree}/", "s3://by-s3cmd/tree/"))
    back.mkdir()
    table.time("s3cmd sync down", lambda: run(*s3cmd, "sync", "s3://by-s3cmd/tree/", f"{back}/"))
    table.time("compare", check)
    table.time("presigned URLs up", lambda: send_with_presigned_urls(server, "by-url", tree))
    table.time("presigned URLs down", lambda: fetch_with_presigned_urls(server, "by-url", back))
    table.time("compare", check)
    table.time("stop", lambda: f"exit status {server.stop()}")
    table.show()


if __name__ == "__main__":
    sys.exit(main())
