"""Under the protection `stream`, nothing readable may reach a disk: traced, not believed."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from platemark.agent.slicers import memory
from platemark.geometry.part import PART_NAME, load_part
from simulators.print_desk import make_world

TESTS = Path(__file__).parents[2]

PROGRAM = """
import json, os, sys
sys.path.insert(0, sys.argv[1])
written = []

def watch(event, arguments):
    if event == "open":
        path, mode, flags = arguments
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_APPEND):
            written.append(str(path))
    elif event in ("os.rename", "os.link", "os.symlink", "shutil.copyfile", "sqlite3.connect"):
        written.append(f"{event} {arguments!r}")

sys.addaudithook(watch)
import itertools
from pathlib import Path
import sample_documents as sample
from simulators.print_desk import FixedClock, make_world
from platemark.agent.printers.simulated import simulated_printers
from platemark.agent.printing import PrintingAgent
from platemark.agent.slicers.choice import find_slicers
from platemark.agent.spool import Spool
from platemark.geometry.part import PART_NAME, load_part

world = make_world([(PART_NAME, load_part())], private=True)
del written[:]
spool = Spool(Path(sys.argv[2]))
spool.add(world.record)
printer = simulated_printers()["ada"]
gcode = []

class Keeping(type(printer)):
    def print(self, data, **more):
        gcode.append(data)
        return super().print(data, **more)

agent = PrintingAgent(
    spool=spool, seed=world.seed, desk=world, blocks=world.blocks, chain=world, profiles=[sample.PROFILE],
    printers={"ada": Keeping("ada", printer.volume_mm)}, slicers=find_slicers(sys.argv[3]), clock=FixedClock(),
)
made, reported = agent.print_one(world.record.token_id, ["ada"])
first = gcode[0].splitlines()[1000].decode()
print(json.dumps({"complete": made.complete, "slicer": made.history.attempts[0][0].slicer, "written": written,
                  "line": first}))
"""


def _run(tmp_path: Path, slicer: str, *, under: tuple[str, ...] = ()) -> dict[str, object]:
    home = tmp_path / "home"
    home.mkdir()
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "TMPDIR": str(home), "PYTHONDONTWRITEBYTECODE": "1"}
    finished = subprocess.run(
        [*under, sys.executable, "-c", PROGRAM, str(TESTS), str(home / "spool"), slicer],
        capture_output=True,
        env=environment,
        cwd=home,
        timeout=120,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr.decode()
    found: dict[str, object] = json.loads(finished.stdout)
    assert found["complete"]
    return found


def _nothing_readable(home: Path, line: str) -> None:
    stl = load_part()
    files = [path for path in home.rglob("*") if path.is_file()]
    assert any(path.name == "spool.sqlite3" for path in files)
    for path in files:
        data = path.read_bytes()
        assert stl[84:184] not in data, path
        assert line.encode() not in data, path


@pytest.mark.parametrize("slicer", ["basic", pytest.param("prusa", marks=pytest.mark.prusaslicer)])
def test_an_agent_opens_no_file_for_writing_but_its_spool(tmp_path: Path, slicer: str) -> None:
    found = _run(tmp_path, slicer)
    spool = str(tmp_path / "home" / "spool")
    written = found["written"]
    assert isinstance(written, list)
    assert any(spool in entry for entry in written)
    in_memory = str(memory.memory_folder())
    allowed = (spool, "/dev/null", in_memory, f"sqlite3.connect (PosixPath('{spool}")
    for entry in written:
        kept = entry.isdecimal() or entry.startswith(allowed) or (entry.startswith("os.symlink") and in_memory in entry)
        assert kept, entry
    _nothing_readable(tmp_path / "home", str(found["line"]))


@pytest.mark.prusaslicer
@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace to see what the slicer itself opens")
def test_the_slicer_opens_files_for_writing_in_memory_only(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    calls = "openat,open,creat,rename,renameat,renameat2,link,linkat"
    found = _run(tmp_path, "prusa", under=("strace", "-f", "-qq", "-e", f"trace={calls}", "-o", str(trace)))
    assert found["slicer"] == "prusa-slicer"
    spool = str(tmp_path / "home" / "spool")
    in_memory = str(memory.memory_folder())
    checked = 0
    for line in trace.read_text(errors="replace").splitlines():
        if "ENOENT" in line or not any(flag in line for flag in ("O_WRONLY", "O_RDWR", "O_CREAT", "rename", "link(")):
            continue
        if "openat" in line and not any(flag in line for flag in ("O_WRONLY", "O_RDWR", "O_CREAT")):
            continue
        checked += 1
        assert any(place in line for place in (spool, in_memory, '"/dev/null"', '"/proc/', '"/dev/')), line
    assert checked > 5
    _nothing_readable(tmp_path / "home", str(found["line"]))


def test_the_trace_would_notice_a_written_mesh(tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / "spool").mkdir(parents=True)
    (home / "spool" / "spool.sqlite3").write_bytes(b"")
    (home / "leak.bin").write_bytes(b"..." + load_part())
    with pytest.raises(AssertionError):
        _nothing_readable(home, "G1 X1 Y1")
    assert make_world([(PART_NAME, load_part())]).manifest.files[0].name == PART_NAME
