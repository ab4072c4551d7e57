"""Sealing a file in one pass, beside the arithmetic that it cannot do without.

One pass hashes the plaintext, encrypts it, hashes the ciphertext for the manifest and once more, in blocks, for the
IPFS identifier: three SHA-256 and one AES-256-GCM over the same bytes, in one thread. The baseline does just that
with the same library and no framing. Where `age` is installed, it is measured too, for orientation: it encrypts with
ChaCha20-Poly1305 and hashes nothing.
"""

import hashlib
import resource
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from benchmarks.paired import HEAD, alternate
from platemark.designer import preparing

MIB: Final = 1 << 20
BAR: Final = 0.9
MEMORY_BAR_MIB: Final = 64


def make_file(path: Path, mib: int) -> None:
    """Write a file that does not compress."""
    with path.open("wb") as stream:
        for _ in range(mib):
            stream.write(secrets.token_bytes(MIB))


def arithmetic(path: Path, target: Path) -> None:
    """Read, hash three times, encrypt, write: what every sealing has to do."""
    cipher, plain, sealed = AESGCM(bytes(32)), hashlib.sha256(), hashlib.sha256()
    with path.open("rb") as stream, target.open("wb") as output:
        number = 0
        while chunk := stream.read(MIB):
            plain.update(chunk)
            body = cipher.encrypt(number.to_bytes(12, "big"), chunk, None)
            sealed.update(body)
            hashlib.sha256(body).digest()
            output.write(body)
            number += 1


def seal(path: Path, target: Path) -> None:
    """Seal the file as `platemark design register` does."""
    inspection = preparing.Inspection(path, path.name, "model/stl", path.stat().st_size)
    preparing._seal_file(inspection, bytes(32), target, secrets.token_bytes, lambda *_: None)


def rate(path: Path, work: str) -> float:
    """Return MiB per second of a piece of work in a process of its own, without its start."""
    return _in_process(path, work)[0]


def _in_process(path: Path, work: str) -> tuple[float, float]:
    """Return MiB per second, and how many MiB of memory the work added to the process's peak."""
    argv = [sys.executable, "-m", "benchmarks.sealing", work, str(path)]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    speed, memory = done.stdout.split()
    return float(speed), float(memory)


def _age(path: Path) -> float:
    recipient = subprocess.run(["age-keygen"], capture_output=True, text=True, check=True).stderr.split()[-1]
    started = time.perf_counter()
    subprocess.run(["age", "-r", recipient, "-o", str(path) + ".age", str(path)], check=True)
    return path.stat().st_size / MIB / (time.perf_counter() - started)


async def run(*, pairs: int, mib: int) -> list[str]:
    """Return the lines of a table."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "design.bin"
        make_file(path, mib)

        async def baseline() -> float:
            return rate(path, "arithmetic")

        async def subject() -> float:
            return rate(path, "seal")

        ratio = await alternate(pairs, baseline, subject)
        memory = _in_process(path, "seal")[1]
        lines = [HEAD, ratio.row(f"seal {mib:,} MiB: hash, encrypt, hash, CID", "MiB/s", BAR), ""]
        lines.append(f"Memory that sealing adds: {memory:.0f} MiB (bar ≤ {MEMORY_BAR_MIB} MiB).")
        if shutil.which("age") and shutil.which("age-keygen"):
            lines.append(f"`age` over the same file: {_age(path):,.0f} MiB/s.")
        return lines


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _main(argv: list[str]) -> Iterator[str]:
    work, name = argv
    path, target = Path(name), Path(name + ".sealed")
    before, started = _peak_mib(), time.perf_counter()
    {"seal": seal, "arithmetic": arithmetic}[work](path, target)
    seconds = time.perf_counter() - started
    yield f"{path.stat().st_size / MIB / seconds}"
    yield f"{_peak_mib() - before}"


if __name__ == "__main__":
    sys.stdout.write(" ".join(_main(sys.argv[1:])))
