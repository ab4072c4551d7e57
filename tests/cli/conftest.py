"""What the scripts of commands find: files in the working folder, a home, a passphrase."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from platemark.geometry.part import load_part
from stack import PASSPHRASE, Stack, running_stack


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with files, and an environment in which nothing else is set."""
    for name in ("HOME", "GATEWAY", "RPC", "PASSPHRASE", "TRACEBACK"):
        monkeypatch.delenv(f"PLATEMARK_{name}", raising=False)
    monkeypatch.setenv("PLATEMARK_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PLATEMARK_PASSPHRASE", PASSPHRASE)
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bracket.stl").write_bytes(load_part())
    (tmp_path / "manual.pdf").write_bytes(b"%PDF-1.7 how to mount it")
    (tmp_path / "torn.stl").write_bytes(load_part()[:-7])
    (tmp_path / "empty.stl").write_bytes(b"")
    (tmp_path / "prose.txt").write_text("no mesh")
    with (tmp_path / "huge.stl").open("wb") as stream:
        stream.truncate(2 << 30)
    return tmp_path


@pytest.fixture(scope="session")
def shared_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A chain and a gateway as processes, for all tests of a worker."""
    with running_stack(tmp_path_factory.mktemp("stack")) as running:
        yield running


@pytest.fixture
def stack(shared_stack: Stack) -> Iterator[Stack]:
    """The chain and the gateway, awake while the test lasts."""
    with shared_stack.asleep_afterwards():
        yield shared_stack
