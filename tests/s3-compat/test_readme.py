"""What README.md tells a person to type works.

A block of commands is run when the line before its fence is `<!-- run -->`; `<!-- run: server -->` marks the block whose
last command starts the appliance in the foreground. Blocks run in their order in one folder, with the variables that
earlier ones exported. The addresses of the text are replaced by free ports, and `cargo run ... --` and `weir` by the
binary under test, so that a README test neither builds nor meets a running appliance.
"""

import os
import re
import shlex
from pathlib import Path

import pytest

import weir

README = Path(__file__).resolve().parents[2] / "README.md"
BLOCK = re.compile(r"^<!-- run(?:: (server))? -->\n```(?:sh|bash|console)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks():
    if not README.exists():
        return []
    return [(found[1], found[2]) for found in BLOCK.finditer(README.read_text(encoding="utf-8"))]


def test_readme_has_marked_blocks():
    text = README.read_text(encoding="utf-8")
    assert len(blocks()) == text.count("<!-- run"), "a mark must stand on the line before its fence"
    kinds = [kind for kind, _ in blocks()]
    assert kinds.count("server") == 1, "one block starts the appliance"
    assert kinds.count(None) >= 1, "and others use it"


def test_readme_names_the_test_command():
    assert re.search(r"^\s*(\$ )?cargo xtask test$", README.read_text(encoding="utf-8"), re.MULTILINE)


def test_the_server_block_is_the_command_under_test():
    """The last line of the block starts `weir serve`, by cargo or by name."""
    [block] = [block for kind, block in blocks() if kind == "server"]
    words = shlex.split(commands(block).splitlines()[-1], comments=True)
    assert "serve" in words and (words[0] == "cargo" or Path(words[0]).name == "weir"), words


def commands(block):
    """Of a console block, the lines after a prompt; of any other, all."""
    if re.search(r"^\$ ", block, re.MULTILINE):
        return "\n".join(line[2:] for line in block.splitlines() if line.startswith("$ "))
    return block.strip()


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    folder = tmp_path_factory.mktemp("readme")
    server = weir.Server(folder / "weir-data").start()
    programs = folder / "bin"
    programs.mkdir()
    (programs / "weir").symlink_to(weir.binary())
    home = folder / "home"
    home.mkdir()
    environment = weir.client_environment(server, home) | server.environment() | {
        "HOME": str(home),
        "PATH": f"{programs}:{os.environ['PATH']}",
    }
    for name in "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION":
        environment[name] = weir.client_environment(server, home)[name]
    state = folder / "state.sh"
    state.write_text("")
    yield server, folder, environment, state
    server.kill()


@pytest.mark.parametrize("number", [number for number, (kind, _) in enumerate(blocks()) if kind is None])
def test_block_runs(session, number):
    server, folder, environment, state = session
    text = commands(blocks()[number][1])
    for port, free in ("9000", server.port), ("9001", server.admin_port):
        text = text.replace(f"127.0.0.1:{port}", f"127.0.0.1:{free}").replace(f"localhost:{port}", f"localhost:{free}")
    text = re.sub(r"^cargo run .*?-- ", "weir ", text, flags=re.MULTILINE)
    script = f"set -euo pipefail\n. {shlex.quote(str(state))}\n{text}\nexport -p > {shlex.quote(str(state))}\n"
    weir.run(["bash", "-c", script], env=environment, cwd=folder)
