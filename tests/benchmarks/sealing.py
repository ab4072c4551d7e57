"""Sealing a file in one pass, beside the arithmetic that it cannot do without.

One pass hashes the plaintext, encrypts it, hashes the ciphertext for the manifest and once more, in blocks, for the
IPFS identifier: three SHA-256 and one AES-256-GCM over the same bytes, in one thread. The baseline does just that
with the same library and no framing. Opening hashes each block as it comes, decrypts, and hashes the plaintext. Where
`age` is installed, it is measured too, for orientation: it encrypts with
ChaCha20-Poly1305 and hashes nothing.
"""

import hashlib
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from benchmarks.paired import HEAD, alternate
from platemark.designer import preparing
from platemark.protocol.sealed_file import TAG_BYTES, open_sealed

MIB: Final = 1 << 20
BAR: Final = 0.9
MEMORY_BAR_MIB: Final = 64
IN_MEMORY: Final = Path("/dev/shm")


def make_file(path: Path, mib: int) -> None:
    """Write a file that does not compress."""
    with path.open("wb") as stream:
        for _ in range(mib):
            stream.write(secrets.token_bytes(MIB))


def arithmetic(path: Path, target: Path) -> None:
    """Read, hash three times, encrypt, write: what every sealing has to do."""
    cipher, plain, sealed = AESGCM(bytes(32)), hashlib.sha256(), hashlib.sha256()
    with path.open("rb") as stream, target.with_suffix(".arithmetic").open("wb") as output:
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
    digest, _ = preparing._seal_file(inspection, bytes(32), target, secrets.token_bytes, lambda *_: None)
    target.with_suffix(".sha256").write_bytes(digest)


def open_arithmetic(_path: Path, target: Path) -> None:
    """Read, hash, decrypt, hash: what every opening of a file that came in verified blocks has to do."""
    cipher, plain = AESGCM(bytes(32)), hashlib.sha256()
    with target.with_suffix(".arithmetic").open("rb") as stream:
        number = 0
        while chunk := stream.read(MIB + TAG_BYTES):
            hashlib.sha256(chunk).digest()
            plain.update(cipher.decrypt(number.to_bytes(12, "big"), chunk, None))
            number += 1


def unseal(_path: Path, target: Path) -> None:
    """Open the sealed file as it comes from the network: each block is hashed, then opened, the whole hashed."""
    plain = hashlib.sha256()

    def blocks() -> Iterator[bytes]:
        with target.open("rb") as stream:
            while chunk := stream.read(MIB):
                hashlib.sha256(chunk).digest()
                yield chunk

    for segment in open_sealed(bytes(32), blocks()):
        plain.update(segment)
    if plain.digest() != target.with_suffix(".sha256").read_bytes():
        raise AssertionError("what was opened is not what was sealed")


def rate(path: Path, work: str) -> float:
    """Return MiB per second of a piece of work in a process of its own, without its start."""
    return in_process("benchmarks.sealing", work, str(path))[0]


def in_process(module: str, *arguments: str) -> tuple[float, float]:
    """Return what a module measures: its rate, and how many MiB of memory the work added to the process's peak."""
    argv = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    speed, memory = done.stdout.split()
    return float(speed), float(memory)


def _openssl(*algorithm: str) -> float:
    """Return MiB per second of an algorithm over blocks of 1 MiB."""
    argv = ["openssl", "speed", "-mr", "-seconds", "2", "-bytes", str(MIB), *algorithm]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    return float(done.stdout.strip().splitlines()[-1].rsplit(":", 1)[1]) / MIB


def _age(path: Path) -> float:
    recipient = subprocess.run(["age-keygen"], capture_output=True, text=True, check=True).stderr.split()[-1]
    started = time.perf_counter()
    subprocess.run(["age", "-r", recipient, "-o", str(path) + ".age", str(path)], check=True)
    return path.stat().st_size / MIB / (time.perf_counter() - started)


async def run(*, pairs: int, mib: int) -> list[str]:
    """Return the lines of a table."""
    # In memory if there is such a folder: a disk's speed is no part of this.
    with tempfile.TemporaryDirectory(dir=IN_MEMORY if IN_MEMORY.is_dir() else None) as folder:
        path = Path(folder) / "design.bin"
        make_file(path, mib)

        def paced(work: str) -> Callable[[], Awaitable[float]]:
            async def measure() -> float:
                return rate(path, work)

            return measure

        sealed = await alternate(pairs, paced("arithmetic"), paced("seal"))
        opened = await alternate(pairs, paced("open_arithmetic"), paced("open"))
        seal_memory, open_memory = (in_process("benchmarks.sealing", work, str(path))[1] for work in ("seal", "open"))
        lines = [
            HEAD,
            sealed.row(f"seal {mib:,} MiB: hash, encrypt, hash, CID", "MiB/s", BAR),
            opened.row(f"open {mib:,} MiB: hash of each block, decrypt, hash", "MiB/s", BAR),
            "",
            f"Memory added: {seal_memory:.0f} MiB by sealing, {open_memory:.0f} by opening (bar ≤ {MEMORY_BAR_MIB}).",
        ]
        if shutil.which("openssl"):
            gcm, sha = _openssl("-evp", "aes-256-gcm"), _openssl("sha256")
            lines.append(
                f"`openssl speed`, one thread: AES-256-GCM {gcm:,.0f} MiB/s, SHA-256 {sha:,.0f} MiB/s; sealing (one "
                f"and three times over the bytes) cannot pass {1 / (1 / gcm + 3 / sha):,.0f} MiB/s, opening (one and "
                f"two) {1 / (1 / gcm + 2 / sha):,.0f} MiB/s."
            )
        if shutil.which("age") and shutil.which("age-keygen"):
            lines.append(f"`age` over the same file: {_age(path):,.0f} MiB/s.")
        return lines


def peak_mib() -> float:
    """Return the most memory that this process had so far, in MiB."""
    status = Path("/proc/self/status").read_text(encoding="ascii")  # getrusage would begin with the parent's
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


_WORK: Final = {"arithmetic": arithmetic, "seal": seal, "open_arithmetic": open_arithmetic, "open": unseal}


def _main(argv: list[str]) -> Iterator[str]:
    work, name = argv
    path, target = Path(name), Path(name + ".sealed")
    before, started = peak_mib(), time.perf_counter()
    _WORK[work](path, target)
    seconds = time.perf_counter() - started
    yield f"{path.stat().st_size / MIB / seconds}"
    yield f"{peak_mib() - before}"


if __name__ == "__main__":
    sys.stdout.write(" ".join(_main(sys.argv[1:])))
