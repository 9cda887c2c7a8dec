"""The real server as a process, and the clients' settings for it."""

import json
import os
import random
import re
import select
import shutil
import signal
import subprocess
import time
import urllib.parse
import urllib.request
from pathlib import Path

ACCESS_KEY = "WEIRTESTADMIN0000001"
SECRET_KEY = "client/tests+secret+of+forty+characters0"
REGION = "us-east-1"
READY_WITHIN_S = 60


def binary():
    path = os.environ.get("WEIR_BINARY")
    assert path, "WEIR_BINARY must name the weir binary (`cargo xtask test` sets it)"
    return str(Path(path).resolve())


class Server:
    """`weir serve` on a data folder. The port stays the same over restarts, so that clients can retry."""

    # What a client needs to trust the endpoint; there is no TLS here.
    certificate = None

    def __init__(self, data, log=None, flags=()):
        self.data = Path(data)
        self.flags = list(flags)
        self.log = Path(log) if log else self.data.parent / (self.data.name + ".log")
        self.process = None
        self.port = 0
        self.admin_port = 0

    def start(self):
        assert self.process is None, "already started"
        command = [binary(), "serve", "--data", str(self.data), *self.flags]
        command += ["--listen", f"127.0.0.1:{self.port}", "--admin-listen", f"127.0.0.1:{self.admin_port}"]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, env=self.environment()
            )
        self._wait_until_ready()
        return self

    def _wait_until_ready(self):
        """Reads standard output up to the line that names the port, then asks the port."""
        until = time.monotonic() + READY_WITHIN_S
        output = b""
        descriptor = self.process.stdout.fileno()
        while True:
            found = re.search(rb"weir is ready: S3 at http://127\.0\.0\.1:(\d+)", output)
            if found:
                break
            readable, _, _ = select.select([descriptor], [], [], max(0, until - time.monotonic()))
            chunk = os.read(descriptor, 65536) if readable else None
            if not chunk:
                what = "ended" if chunk == b"" else f"not ready within {READY_WITHIN_S} s"
                self.kill()
                raise AssertionError(f"weir serve: {what}\n{output.decode()}\n{self.log.read_text()[-4000:]}")
            output += chunk
        self.port = int(found[1])
        with urllib.request.urlopen(self.endpoint + "/-/ready", timeout=10) as answer:
            assert answer.status == 200
        with urllib.request.urlopen(self.endpoint + "/-/info", timeout=10) as answer:
            self.admin_port = urllib.parse.urlsplit(json.load(answer)["admin"]).port

    @property
    def endpoint(self):
        return f"http://127.0.0.1:{self.port}"

    @property
    def admin_endpoint(self):
        return f"http://127.0.0.1:{self.admin_port}"

    def environment(self):
        """For the server and for its own command line."""
        settings = {"WEIR_ADMIN_ACCESS_KEY": ACCESS_KEY, "WEIR_ADMIN_SECRET_KEY": SECRET_KEY}
        if self.process is not None:
            settings |= {"WEIR_ENDPOINT": self.endpoint, "WEIR_ADMIN_ENDPOINT": self.admin_endpoint}
        return clean_environment() | settings

    def run(self, *arguments):
        """A verb of the command line against this server."""
        return run([binary(), *arguments], env=self.environment())

    def command(self, *arguments):
        """The same of one that may fail, also without a server that runs."""
        return run([binary(), *arguments], env=self.environment(), may_fail=True)

    def stop(self):
        """SIGTERM; returns the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self._gone(30)

    def kill(self):
        self.process.kill()
        return self._gone(30)

    def _gone(self, within):
        process, self.process = self.process, None
        try:
            return process.wait(within)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
            process.stdout.close()

    def restart_killed(self):
        self.kill()
        return self.start()

    def staging_files(self):
        return sorted(str(path) for path in (self.data / "staging").rglob("*") if path.is_file())


def clean_environment():
    """This machine's own settings of the clients must not leak into a test."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "WEIR_ADMIN", "WEIR_END"))}


def client_environment(server, home):
    """For aws and for scripts: keys and endpoint, nothing else from this machine."""
    return clean_environment() | {
        "HOME": str(home),
        "AWS_CONFIG_FILE": str(Path(home) / "aws-config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(Path(home) / "aws-credentials"),
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_PAGER": "",
    } | ({"AWS_CA_BUNDLE": str(server.certificate)} if server.certificate else {})


def run(command, env=None, cwd=None, may_fail=False, timeout=280):
    """Runs a client to its end without standard input; its words are part of a failure."""
    done = subprocess.run(
        command, env=env, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout
    )
    if not may_fail:
        assert done.returncode == 0, f"{command} exited with {done.returncode}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return done


def boto3_client(server, access_key=ACCESS_KEY, secret_key=SECRET_KEY, **config):
    import boto3
    from botocore.config import Config

    # A retry would hide a request that got no answer.
    settings = {"retries": {"total_max_attempts": 1, "mode": "standard"}, "s3": {"addressing_style": "path"}} | config
    return boto3.client(
        "s3",
        endpoint_url=server.endpoint,
        region_name=REGION,
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        verify=server.certificate and str(server.certificate),
        config=Config(signature_version="s3v4", **settings),
    )


def write_s3cmd_config(server, path):
    host = f"127.0.0.1:{server.port}"
    path.write_text(
        "[default]\n"
        f"access_key = {ACCESS_KEY}\nsecret_key = {SECRET_KEY}\n"
        f"host_base = {host}\nhost_bucket = {host}\nbucket_location = {REGION}\n"
        "use_https = False\nsignature_v2 = False\nguess_mime_type = True\ncheck_ssl_certificate = False\n"
    )
    path.chmod(0o600)
    return path


# Names that a file system holds and that clients, URLs and XML like to get wrong.
ODD_NAMES = [
    "with space.txt", "plus+and&amp.txt", "percent%20literal.txt", "quote'single.txt", 'quote"double.txt',
    "ünïcödé-日本語.bin", "emoji-🦀.bin", "semi;colon,comma=equals.txt", "hash#question?.txt", "tilde~(paren)[bracket].txt",
    ".hidden", "-dash-first", "less<greater>.xml", "back\\slash.txt", "dollar$at@.txt", "deep/er/and/deeper/leaf.txt",
    "dot.dir/file", "UPPER/lower.TXT", "colon:name.txt", "star*.txt", "trailing.", "a" * 200 + ".txt",
]


def make_tree(root, seed=1, plain_files=60):
    """A tree with odd names and every kind of length; the same for the same seed."""
    numbers = random.Random(seed)
    lengths = [0, 1, 100, 4096, 65535, 65536, 65537, 200 * 1024, 1024 * 1024]
    names = ODD_NAMES + [f"plain/{index % 7}/file-{index:04}.dat" for index in range(plain_files)]
    for index, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(numbers.randbytes(lengths[index % len(lengths)]))
    # Long enough for a multipart upload with the clients' default of 8 MiB.
    (root / "large.bin").write_bytes(numbers.randbytes(20 * 1024 * 1024 + 17))
    return root


def assert_same_tree(one, other):
    """By `diff -r`, which is not ours."""
    done = subprocess.run(["diff", "-r", str(one), str(other)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[:4000] + done.stderr[:2000]


def available(*binaries):
    """Those that are installed, by their full path, each once."""
    found = [shutil.which(name) for name in binaries]
    return list(dict.fromkeys(path for path in found if path))
