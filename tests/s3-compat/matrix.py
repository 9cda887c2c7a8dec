"""The table of clients and operations: collected while the tests run, printed after them, kept in `docs/clients.md`.

`python matrix.py RESULTS DOCUMENT` compares the document with what the tests found, `--write` writes it. Nothing in the
document is typed by hand but this program's own sentences.
"""

import json
import re
import sys
from pathlib import Path

HEAD = """# Clients

What the client tests found (`tests/s3-compat`), written by `cargo xtask clients --write`; `cargo xtask test` fails when it no
longer holds. Every client is the unmodified program with nothing set but endpoint, keys, region and path style, and without
retries, which would hide a failure. More is set in three places: `signature_version = s3v4` for the presigned URLs of aws 1, a
part size for one test of DuckDB, and the header `x-amz-content-sha256` for curl, which does not send it before version 8.

`yes`: done and compared with what it must be. `-`: the client has no such operation. `limit`: the client fails for a reason
of its own. Reasons stand below the tables.
"""

EVERYDAY = "## What every client does"
OWN = "## What only some do"
REASONS = "## Reasons"
VERSIONS = "## Versions"


class Cell:
    """What is expected of a client's operation, and what came of it."""

    def __init__(self, client, operation, everyday):
        self.client, self.operation, self.everyday = client, operation, everyday
        self.lacks = self.limit = self.version = None
        self.outcomes = []

    def word(self):
        if self.lacks:
            return "-"
        if any(outcome == "failed" for outcome in self.outcomes):
            return "FAILED"
        if not self.outcomes or all(outcome == "skipped" for outcome in self.outcomes):
            return "not run"
        return "limit" if self.limit else "yes"

    def reason(self):
        return self.lacks or self.limit


class Matrix:
    def __init__(self):
        self.cells = {}
        self.everyday = []

    def cell(self, client, operation, everyday):
        return self.cells.setdefault((client, operation), Cell(client, operation, everyday))

    def save(self, path):
        with Path(path).open("a", encoding="utf-8") as file:
            for cell in self.cells.values():
                file.write(json.dumps(vars(cell) | {"order": self.everyday}) + "\n")

    @classmethod
    def load(cls, path):
        matrix = cls()
        for line in Path(path).read_text(encoding="utf-8").splitlines():
            found = json.loads(line)
            matrix.everyday = found.pop("order")
            cell = matrix.cell(found["client"], found["operation"], found["everyday"])
            outcomes = cell.outcomes + found["outcomes"]
            vars(cell).update(found, outcomes=outcomes)
        return matrix

    def clients(self, everyday):
        return sorted({cell.client for cell in self.cells.values() if cell.everyday == everyday}, key=str.lower)

    def own_operations(self):
        names = {}
        for cell in self.cells.values():
            if not cell.everyday:
                names.setdefault(cell.operation, []).append(cell)
        return names

    def render(self, known=None):
        """`known`: words for cells that did not run here, because their client is not installed."""
        known = known or {}

        def word(cell):
            found = cell.word() if cell else ""
            return known.get((cell.client, cell.operation), found) if found == "not run" else found

        lines = [HEAD, EVERYDAY, ""]
        clients = self.clients(True)
        lines += ["| | " + " | ".join(clients) + " |", "|---|" + "---|" * len(clients)]
        for operation in self.everyday:
            words = [word(self.cells.get((client, operation))) for client in clients]
            lines.append(f"| {operation} | " + " | ".join(words) + " |")
        lines += ["", OWN, "", "| operation | client | |", "|---|---|---|"]
        for operation, cells in self.own_operations().items():
            lines += [f"| {operation} | {cell.client} | {word(cell)} |" for cell in cells]
        lines += ["", REASONS, ""]
        reasons = {}
        for cell in self.cells.values():
            if cell.reason():
                reasons.setdefault((cell.client, cell.reason()), []).append(cell.operation)
        for (client, reason), operations in sorted(reasons.items(), key=lambda item: item[0][0].lower()):
            lines.append(f"- {client}: {', '.join(operations)}: {reason}")
        lines += ["", VERSIONS, ""]
        versions = {cell.client: cell.version for cell in self.cells.values() if cell.version}
        for client in sorted({cell.client for cell in self.cells.values()}, key=str.lower):
            lines.append(f"- {client}: {versions.get(client, 'not run')}")
        return "\n".join(lines) + "\n"

    def summary(self):
        words = [cell.word() for cell in self.cells.values()]
        counts = {word: words.count(word) for word in ("yes", "limit", "-", "not run", "FAILED")}
        clients = len({cell.client for cell in self.cells.values()})
        return f"{clients} clients: " + ", ".join(f"{count} {word}" for word, count in counts.items())


def parse(document):
    """The words of a document's tables."""
    words, header = {}, None
    for line in document.splitlines():
        fields = [field.strip() for field in line.strip("|").split("|")] if line.startswith("|") else []
        if not fields:
            header = None
        elif header is None:
            header = fields
        elif fields[0] == "---":
            pass
        elif header[0] == "operation":
            words[(fields[1], fields[0])] = fields[2]
        else:
            words |= {(client, fields[0]): word for client, word in zip(header[1:], fields[1:])}
    return words


def without_versions(document):
    return document.split(VERSIONS)[0]


def differences(matrix, document):
    """Lines that the document has and should not (-), or has not and should (+)."""
    wanted = without_versions(matrix.render(known=parse(document))).splitlines()
    found = without_versions(document).splitlines()
    lines = [f"- {line}" for line in found if line not in wanted] + [f"+ {line}" for line in wanted if line not in found]
    return lines or ([] if wanted == found else ["the lines are in another order"])


def main(arguments):
    write = "--write" in arguments
    results, document = [Path(name) for name in arguments if name != "--write"]
    matrix = Matrix.load(results)
    text = matrix.render()
    print(re.sub(r"^#.*?\n## ", "## ", text, count=1, flags=re.DOTALL))
    print(matrix.summary())
    unfit = [cell for cell in matrix.cells.values() if cell.word() in ("FAILED", "not run")]
    if write and not unfit:
        document.write_text(text, encoding="utf-8")
        return 0
    if write:
        print("\n".join(["not written:"] + [f"{cell.client}: {cell.operation}: {cell.word()}" for cell in unfit]))
        return 1
    wrong = differences(matrix, document.read_text(encoding="utf-8") if document.exists() else "")
    if wrong:
        print("\n".join([f"{document.name} is not what the tests found (`cargo xtask clients --write`):", *wrong]))
    return 1 if wrong or any(cell.word() == "FAILED" for cell in matrix.cells.values()) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
