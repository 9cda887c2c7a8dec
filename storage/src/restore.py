#!/usr/bin/env python3
"""Gives back every live object of a Weir disk without Weir: restore.py [--no-verify] DISK... OUT

Writes OUT/objects/00000000 ... and OUT/index.jsonl, one line of JSON for each version of an object; "current" says whether
it is the one that a plain GET gives. Reads log/, objects/ and staging/
of the disks and changes nothing there; stop Weir first. The format is described in docs/on-disk-format.md. What is
damaged or missing is listed on standard error and makes the exit status 1; everything else is written all the same.
Needs Python 3.9 and its standard library, and about 1 KiB of memory for each object and deleted object of the log.
"""
import base64
import hashlib
import json
import re
import struct
import sys
from pathlib import Path

BLOCK = 64 * 1024  # data files have a checksum for each of these
ALIGN = 4096  # batches begin and end on multiples of this
OBJECT, TOMBSTONE, MARKER, UPLOAD, PART, UPLOAD_END, BUCKET, BUCKET_END, PIECE = range(9)
SEGMENT = re.compile(r"(\d{10})-(\d{10})\.(\d{4,5})\.tar")
PROBLEMS = []


def problem(text):
    PROBLEMS.append(text)
    print("restore: " + text, file=sys.stderr)


class Malformed(Exception):
    """Bytes that are not what was written."""


def _crc_tables():
    one = []
    for crc in range(256):
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
        one.append(crc)
    high = [one[(one[i & 255] ^ i >> 8) & 255] ^ (one[i & 255] ^ i >> 8) >> 8 for i in range(65536)]
    low = [high[i & 0xFFFF] ^ i >> 16 for i in high]
    return one, high, low


ONE, HIGH, LOW = _crc_tables()


def crc32c(data):
    crc, view = 0xFFFFFFFF, memoryview(data)
    whole = len(view) // 4 * 4
    for (word,) in struct.iter_unpack("<I", view[:whole]):
        crc ^= word
        crc = LOW[crc & 0xFFFF] ^ HIGH[crc >> 16]
    for byte in view[whole:]:
        crc = ONE[(crc ^ byte) & 255] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


class Postcard:
    """Reads the encoding of records, commit members and footers: little-endian base-128 numbers, lengths before contents."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def raw(self, count):
        self.at += count
        if self.at > len(self.data):
            raise Malformed("too short")
        return bytes(self.data[self.at - count : self.at])

    def number(self):
        value = shift = 0
        while True:
            byte = self.raw(1)[0]
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7

    def bytes(self):
        return self.raw(self.number())

    def text(self):
        return self.bytes().decode()

    def list(self, read):
        return [read() for _ in range(self.number())]

    def option(self, read):
        return read() if self.number() else None

    def version(self):
        return f"{self.number():016x}{self.number():016x}" if self.number() else "null"

    def pairs(self):
        return dict(self.list(lambda: (self.text(), self.text())))

    def chunk(self):
        return self.raw(16).hex(), self.number(), self.list(self.number)

    def bucket_record(self):
        return {"name": self.text(), "versioning": self.number(), "lock": self.number()}

    def more(self):
        """Behind a put's payload: its tags, the stamp of the put that made it, whether its bytes are encrypted."""
        self.option(lambda: (self.number(), self.bytes(), self.option(self.bytes)))
        self.number()
        tags = self.pairs()
        self.option(lambda: (self.number(), self.number()))
        self.number()
        since = self.option(self.number)
        sealed = self.option(lambda: (self.number(), self.bytes())) is not None
        return tags, since, sealed  # behind it stand causes and access control lists, which are the server's

    def subject(self):
        kind = self.number()
        if kind in (OBJECT, TOMBSTONE, MARKER):
            return kind, self.version()
        for _ in range({UPLOAD: 2, PART: 3, UPLOAD_END: 2, PIECE: 1}.get(kind, 0)):
            self.number()
        return kind, ""

    def entry(self):
        """stamp, bucket, key, subject, is a member, offset, length, checksum"""
        stamp, bucket, key, subject = self.number(), self.number(), self.text(), self.subject()
        return stamp, bucket, key, subject, self.number(), self.number(), self.number(), self.number()


def record(data):
    """A record about an object or a bucket: stamp, operation, content."""
    if len(data) < 5 or struct.unpack("<I", data[-4:])[0] != crc32c(data[:-4]):
        raise Malformed("a record does not match its checksum")
    if data[0] not in (1, 2, 3):  # 2 is 1 and behind it checksums, 3 is 2 and behind it what `more` reads
        raise Malformed(f"a record of version {data[0]}, this program knows 1 to 3")
    card = Postcard(data[1:-4])
    stamp, _bucket, _key, operation = card.number(), card.number(), card.text(), card.number()
    if operation == 6:
        return stamp, card.bucket_record()
    if operation != 0:
        raise Malformed("a record of another kind than its name says")
    content = {"version": card.version(), "modified_ms": card.number(), "size": card.number()}
    content["md5"], content["parts"] = card.raw(16), card.number()
    card.list(lambda: (card.number(), card.bytes()))  # checksums: the ETag and the blocks' sums are enough here
    content["headers"], content["metadata"] = card.pairs(), card.pairs()
    card.option(lambda: (card.number(), card.number()))
    card.number()
    kind = card.number()
    content["inline"] = card.number() if kind == 0 else None
    content["chunks"] = card.list(card.chunk) if kind == 1 else None
    content["table"] = (card.chunk(), card.number()) if kind == 2 else None
    content["tags"], since, content["sealed"] = card.more() if data[0] == 3 else ({}, None, False)
    # Its place among the versions of its key.
    content["since"] = since_of(content["version"], since or stamp)
    return stamp, content


def since_of(version, stamp):
    return stamp if version == "null" else int(version[:16], 16)


def member(frame):
    """The record and the payload's place of a tar member: a pax header, a header, the payload."""
    length = int(frame[124:135], 8)
    pax, at = frame[512 : 512 + length], 0
    while at < len(pax):
        size = int(pax[at : pax.index(b" ", at)])
        name, _, value = pax[pax.index(b" ", at) + 1 : at + size - 1].partition(b"=")
        if name == b"SCHILY.xattr.user.weir":
            return record(base64.b64decode(value, validate=True)), 512 + -(-length // 512) * 512 + 512
        at += size
    raise Malformed("a member without a record")


class Segment:
    """One file of the log, and the names of what is in it."""

    def __init__(self, path, number):
        self.path, self.number, self.data = path, number, path.read_bytes()
        self.entries, self.buckets, self.batches = [], [], None
        if not self.read_footer():
            self.walk()

    def read_footer(self):
        """A sealed segment names all of its records at its end."""
        try:
            magic, version, length, offset, crc, own = struct.unpack("<8sIIQII", self.data[-1056:-1024])
            content = self.data[offset + 512 : offset + 512 + length]
            if (magic, version) != (b"WEIRFTR1", 1) or own != crc32c(self.data[-1056:-1028]) or crc != crc32c(content):
                return False
            card = Postcard(content)
            card.number()
            self.batches = card.number(), card.number(), card.number()
            self.buckets = card.list(lambda: (card.number(), card.number(), card.bucket_record()))
            holes = card.list(lambda: (card.number(), card.number()))
            self.entries = card.list(card.entry)
        except (struct.error, Malformed, ValueError):
            return False
        for start, end in holes:
            problem(f"{self.path}: what stood in bytes {start} to {end} is lost, names and all")
        return True

    def walk(self):
        """One that was being written: a batch counts when it is whole. What follows the last whole one never happened."""
        header, tails = self.data[512:564], {}
        nonce = struct.unpack("<Q", header[40:48])[0]
        known = header[:8] == b"WEIRSEG1" and struct.unpack("<I", header[48:52])[0] == crc32c(header[:48])
        for end in range(2 * ALIGN, len(self.data) + 1, ALIGN):
            fields = struct.unpack("<8sQQQQQIIII", self.data[end - 64 : end])
            magic, number, run, count, of_header, start, length = fields[:7]
            if magic == b"WEIREND1" and number == self.number and start + length == end and start >= ALIGN:
                if not known or of_header == nonce:
                    tails.setdefault(start, []).append((length, fields[7], fields[9], run, count))
        at = ALIGN
        whole = {start: tail for start in tails for tail in tails[start] if self.crc(start, tail[0]) == tail[2]}
        while at in whole or any(start > at for start in whole):
            if at not in whole:
                problem(f"{self.path}: damaged at {at}")
            candidates = [whole[at]] if at in whole else tails.get(at, [])
            named = [tail for tail in candidates if self.commit_member(at, *tail)]
            if not named:
                problem(f"{self.path}: what stood behind byte {at} is lost, names and all")
            at = at + named[0][0] if named else min(start for start in whole if start > at)

    def crc(self, start, length):
        return crc32c(memoryview(self.data)[start : start + length - 4])

    def commit_member(self, start, length, commit_at, _crc, run, count):
        begin = start + commit_at + 512
        head = self.data[begin : begin + 72]
        encoded_length, crc = struct.unpack("<12xI52xI", head)
        encoded = self.data[begin + 72 : begin + 72 + encoded_length]
        if head[:12] != b"WEIRBAT1\1\0\0\0" or crc != crc32c(head[:68] + encoded):
            return False
        card = Postcard(encoded)
        for entry in card.list(card.entry):
            shift = 0 if entry[4] else begin + 72 + encoded_length
            self.entries.append((*entry[:5], entry[5] + shift, *entry[6:]))
        self.batches = run, (self.batches or (0, count))[1], count
        return True

    def bytes(self, entry):
        return self.data[entry[5] : entry[5] + entry[6]]


def segments(disk):
    """The files that count, in the order of the log. Where a compaction was cut short its output wins over its inputs."""
    names = []
    for path in (disk / "log").iterdir():
        found = SEGMENT.fullmatch(path.name)
        if found:
            names.append((int(found[1]), int(found[2]), int(found[3]), path))
    covers = lambda big, small: big[2] > small[2] and big[0] <= small[0] and small[1] <= big[1]
    names = sorted(name for name in names if not any(covers(other, name) for other in names))
    before, following = None, 1
    for first, last, generation, path in names:
        if first != following:
            problem(f"{disk}: log segments {following} to {first - 1} are missing: objects may be older than they were")
        following = last + 1
        segment = Segment(path, first)
        counted = before and segment.batches and generation == 0 and before[0] == segment.batches[0]
        if counted and segment.batches[1] != before[2] + 1:
            problem(f"{path}: batches {before[2] + 1} to {segment.batches[1] - 1} before it are lost, names and all")
        before = segment.batches if generation == 0 else None
        yield segment


def read_names(disks):
    """The newest word about each version of each key, with the places where it stands, and the names of the buckets."""
    newest, buckets, removed = {}, {}, {}
    for disk in disks:
        for segment in segments(disk):
            found = [(identity, stamp, bucket["name"]) for identity, stamp, bucket in segment.buckets]
            for entry in segment.entries:
                stamp, bucket, key, (kind, version) = entry[:4]
                if kind == BUCKET:
                    try:
                        found.append((bucket, stamp, record(segment.bytes(entry))[1]["name"]))
                    except (Malformed, ValueError) as error:
                        problem(f"{segment.path}: the record of bucket {bucket}: {error}")
                elif kind == BUCKET_END:
                    removed[bucket] = max(stamp, removed.get(bucket, 0))
                elif kind in (OBJECT, TOMBSTONE, MARKER):
                    known = newest.get((bucket, key, version))
                    place = (segment.path, entry[5], entry[6], entry[4])
                    if known is None or stamp > known[0]:
                        newest[bucket, key, version] = (stamp, kind, [place])
                    elif stamp == known[0]:
                        known[2].append(place)
            for identity, stamp, name in found:
                if identity not in buckets or stamp >= buckets[identity][0]:
                    buckets[identity] = (stamp, name)
    live = [
        (buckets[bucket][1] if bucket in buckets else f"bucket-{bucket}", key, stamp, places)
        for (bucket, key, _), (stamp, kind, places) in newest.items()
        if kind == OBJECT and stamp > removed.get(bucket, 0)
    ]
    markers = {}
    for (bucket, key, version), (stamp, kind, _) in newest.items():
        if kind == MARKER and bucket in buckets:
            name = buckets[bucket][1], key
            markers[name] = max(markers.get(name, 0), since_of(version, stamp))
    return sorted(live), markers


def open_data(disks, identity):
    for disk in disks:
        for path in (disk / "objects" / identity[-2:] / identity, disk / "staging" / identity):
            if path.is_file():
                return path.open("rb")
    raise Malformed(f"data file {identity} is missing")


def check_blocks(data, blocks, what):
    for number, expected in enumerate(blocks):
        if crc32c(data[number * BLOCK : (number + 1) * BLOCK]) != expected:
            raise Malformed(f"{what} is damaged")


def listed_chunks(disks, table, count):
    """The chunk list of an object that has a table (`WEIRTBL1`)."""
    identity, length, blocks = table
    with open_data(disks, identity) as file:
        data = file.read()
    if len(data) != length:
        raise Malformed(f"chunk table {identity} has {len(data)} bytes, not {length}")
    check_blocks(data, blocks, f"chunk table {identity}")
    sums = struct.unpack(f"<{(length - 16 - 32 * count) // 4}I", data[16 + 32 * count :])
    for at in range(16, 16 + 32 * count, 32):
        size, first = struct.unpack("<QQ", data[at + 16 : at + 32])
        yield data[at : at + 16].hex(), size, sums[first : first - (-size // BLOCK)]


def pieces(disks, content, payload):
    """The payload as (bytes, their blocks' checksums, number of the chunk, what it is)."""
    if content["inline"] is not None:
        yield payload, [content["inline"]], 0, "the payload in the log"
        return
    chunks = content["chunks"]
    if chunks is None:
        chunks = listed_chunks(disks, *content["table"])
    for number, (identity, length, blocks) in enumerate(chunks):
        with open_data(disks, identity) as file:
            for first in range(0, max(len(blocks), 1), 64):
                data = file.read(64 * BLOCK)
                if len(data) != min(length - first * BLOCK, 64 * BLOCK):
                    raise Malformed(f"data file {identity} is too short")
                yield data, blocks[first : first + 64], number, f"data file {identity}"


def write_object(disks, place, stamp, path, verify):
    """Writes one object, verified. Its MD5 is the fast way; where that is not the ETag, the checksums of the blocks decide."""
    segment, offset, length, is_member = place
    with segment.open("rb") as file:
        file.seek(offset)
        frame = file.read(length)
    (found, content), start = member(frame) if is_member else (record(frame), 0)
    if found != stamp:
        raise Malformed("another record stands in its place")
    # An encrypted object comes out as it is stored: in blocks of 65,520 bytes, each with a tag of 16.
    stored = content["size"] + (16 * max(1, -(-content["size"] // 65520)) if content["sealed"] else 0)
    payload = frame[start : start + stored]
    parts, size = [], 0
    with path.open("wb") as out:
        for data, _, number, _ in pieces(disks, content, payload):
            if number == len(parts):
                parts.append(hashlib.md5())
            parts[number].update(data)
            size += out.write(data)
    if size != stored:
        raise Malformed(f"{size} bytes where {stored} were written")
    digest = hashlib.md5(b"".join(part.digest() for part in parts)).digest() if content["parts"] else parts[0].digest()
    if verify and digest != content["md5"]:
        for data, blocks, _, what in pieces(disks, content, payload):
            check_blocks(data, blocks, what)
    etag = content["md5"].hex() + (f"-{content['parts']}" if content["parts"] else "")
    names = ("size", "version", "since", "modified_ms", "headers", "metadata", "tags")
    about = {name: content[name] for name in names} | {"etag": etag}
    return about | {"encrypted": True} if content["sealed"] else about


def main(arguments):
    verify = "--no-verify" not in arguments
    arguments = [argument for argument in arguments if argument != "--no-verify"]
    if len(arguments) < 2 or any(argument.startswith("-") for argument in arguments):
        sys.exit(__doc__)
    disks, out = [Path(argument) for argument in arguments[:-1]], Path(arguments[-1])
    for disk in disks:
        identity = json.loads((disk / "weir-disk.json").read_text())
        if identity["format"] > 1:
            sys.exit(f"restore: {disk} has format {identity['format']}, this program knows 1: use that disk's restore.py")
    (out / "objects").mkdir(parents=True)
    written, of_key = 0, []
    live, markers = read_names(disks)

    def write_lines(index):
        """The versions of one key. The newest is current, unless a delete marker is newer."""
        newest = max((line["since"] for line in of_key), default=0)
        for line in of_key:
            since = line.pop("since")
            line["current"] = since == newest and since > markers.get((line["bucket"], line["key"]), 0)
            index.write(json.dumps(line) + "\n")
        of_key.clear()

    with (out / "index.jsonl").open("x") as index:
        for bucket, key, stamp, places in live:
            if of_key and (of_key[0]["bucket"], of_key[0]["key"]) != (bucket, key):
                write_lines(index)
            path = out / "objects" / f"{written:08}"
            for place in places:
                try:
                    about = write_object(disks, place, stamp, path, verify)
                except (Malformed, ValueError, IndexError, struct.error, OSError) as error:
                    path.unlink(missing_ok=True)
                    reason = str(error)
                    continue
                of_key.append({"bucket": bucket, "key": key, **about, "file": f"objects/{path.name}"})
                written += 1
                break
            else:
                problem(f"{bucket}/{key}: {reason}")
        write_lines(index)
    print(f"restore: {written} objects, {len(PROBLEMS)} problems", file=sys.stderr)
    return 1 if PROBLEMS else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
