"""Makes the golden disk of a format: a small real disk as the program left it, and a list of what is on it.

    WEIR_BINARY=target/debug/weir python make_golden.py ../../storage/tests/golden/format-1

Run it again only before the format's first release: afterwards the point of the file is that nobody makes it anew.
`storage/tests/golden.rs` opens what it wrote.
"""

import hashlib
import json
import os
import random
import sys
import tarfile
import tempfile
import time
from pathlib import Path

import weir

COMPACTED_WITHIN_S = 60


def fill(server):
    """Every kind of record that this program writes, over two runs, one killed; gives what must be there."""
    numbers = random.Random(1)
    s3 = weir.boto3_client(server)
    live = {}

    def put(bucket, key, length, **more):
        body = numbers.randbytes(length)
        s3.put_object(Bucket=bucket, Key=key, Body=body, **more)
        live[bucket, key] = body

    for bucket in "golden-one", "golden-two", "golden-gone":
        s3.create_bucket(Bucket=bucket)
    # All of this dies, so that there is something to compact.
    for index in range(40):
        put("golden-one", f"dead/{index}", 900)
    for key in ["small", "deep/er/file", "ünï/日本", "a//b", "/leading", "trailing/", "../up", "line\nbreak", "z" * 1024]:
        put("golden-one", key, 100, ContentType="text/plain", CacheControl="no-store", Metadata={"note": "one"})
    put("golden-one", "empty", 0)
    put("golden-one", "file", 2000)
    put("golden-one", "two blocks", 70_000)
    put("golden-one", "replaced", 3000)
    for index in range(40):
        s3.delete_object(Bucket="golden-one", Key=f"dead/{index}")
        del live["golden-one", f"dead/{index}"]
    s3.delete_bucket(Bucket="golden-gone")
    server.restart_killed()
    wait_for_compaction(server)

    s3 = weir.boto3_client(server)
    put("golden-one", "replaced", 50)
    put("golden-two", "after the kill", 1500, ChecksumAlgorithm="SHA256")
    s3.copy_object(Bucket="golden-two", Key="copy", CopySource={"Bucket": "golden-one", "Key": "file"})
    live["golden-two", "copy"] = live["golden-one", "file"]
    body = numbers.randbytes(5000)
    upload = s3.create_multipart_upload(Bucket="golden-two", Key="multipart")["UploadId"]
    part = {"Bucket": "golden-two", "Key": "multipart", "UploadId": upload, "PartNumber": 1}
    s3.upload_part(**part, Body=b"replaced")
    etag = s3.upload_part(**part, Body=body)["ETag"]
    s3.complete_multipart_upload(
        Bucket="golden-two", Key="multipart", UploadId=upload,
        MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": etag}]},
    )
    live["golden-two", "multipart"] = body
    for key in "aborted", "open":
        upload = s3.create_multipart_upload(Bucket="golden-two", Key=key)["UploadId"]
        s3.upload_part(Bucket="golden-two", Key=key, UploadId=upload, PartNumber=1, Body=b"part")
        if key == "aborted":
            s3.abort_multipart_upload(Bucket="golden-two", Key=key, UploadId=upload)
    return live


def wait_for_compaction(server):
    until = time.monotonic() + COMPACTED_WITHIN_S
    while not any(path.name.endswith(".0001.tar") for path in (server.data / "log").iterdir()):
        assert time.monotonic() < until, "nothing was compacted"
        time.sleep(0.2)


def pack(disk, archive):
    """Without spare segments and without what is derived: index and view."""
    kept = [disk / "weir-disk.json"]
    for folder in "log", "objects":
        kept += [path for path in (disk / folder).rglob("*") if path.is_file() and not path.name.startswith("spare-")]
    with tarfile.open(archive, "w", format=tarfile.USTAR_FORMAT) as tar:
        for path in sorted(kept):
            about = tar.gettarinfo(path, arcname=str(path.relative_to(disk)))
            about.uid = about.gid = about.mtime = 0
            about.uname = about.gname = ""
            # A second name of the same bytes stands for itself.
            about.type, about.linkname, about.size = tarfile.REGTYPE, "", path.stat().st_size
            with path.open("rb") as file:
                tar.addfile(about, file)


def main():
    out = Path(sys.argv[1])
    os.environ |= {"WEIR_STORAGE__SEGMENT_BYTES": str(1 << 20), "WEIR_STORAGE__INLINE_BYTES_MAX": "1024"}
    with tempfile.TemporaryDirectory() as folder:
        server = weir.Server(Path(folder) / "disk").start()
        try:
            live = fill(server)
            assert server.stop() == 0
        finally:
            if server.process is not None:
                server.kill()
        out.mkdir(parents=True, exist_ok=True)
        pack(server.data, out / "disk.tar")
    lines = [
        {"bucket": bucket, "key": key, "size": len(body), "md5": hashlib.md5(body).hexdigest()}
        for (bucket, key), body in sorted(live.items())
    ]
    (out / "manifest.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    print(f"{out}: {len(lines)} objects, {(out / 'disk.tar').stat().st_size} bytes")


if __name__ == "__main__":
    main()
