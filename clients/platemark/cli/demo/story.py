"""The demonstration's story: register, license, print, settle; then the gateway is gone, and its work is audited.

Chain, gateway, designer, print centre, stranger and auditor are processes of their own. Whatever is shown was read
from what these processes answered; the auditor gets a chain endpoint and two folders, nothing else.

    1  servers      the embedded chain and a gateway, each a process, on loopback
    2  designer     makes a key, checks, registers and licenses a design; needs no coin
    3  centre       buys prints with its own coin, permits its agent, obtains a print token
    4  prints       five products on two printers; one fails and is taken again on the spare, one moves
    5  refusals     a flipped byte, a stranger's agent, a sixth product: refused, nothing counted
    6  settlement   counts and roots reach the chain
    7  end          the gateway is stopped and its database deleted
    8  audit        log, part, passport, file and design, from chain, blocks and tiles
    9  lies         three copies of the log, signed by the gateway's own key, each found out
"""

import json
import os
import secrets
import shutil
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from platemark.cli.demo.lies import LIES, plant
from platemark.cli.demo.processes import Outcome, Role, Server, gateway_program
from platemark.cli.exit_codes import ExitCode, exit_code
from platemark.errors import Kind, LocalError, PlatemarkError
from platemark.protocol import canonical
from platemark.protocol.accounts import AccountKey
from platemark.protocol.checkpoint import NoteSigner
from platemark.protocol.cid import Cid
from platemark.protocol.digests import token_digest
from platemark.protocol.manifest import Manifest
from platemark.protocol.sealing import RecipientKey
from platemark.protocol.typed_data import ledger_domain
from platemark.protocol.units import Digest32, TokenId, parse_address
from platemark.protocol.voucher import RedemptionRequest

PRINTS: Final = 5
SPARES: Final = 1
PRINTERS: Final = ("ada", "grace")
FAIL_AT: Final = "0.4"
SETTLE_SECONDS: Final = 60
_COUNTS: Final = ("released", "voided", "printsLeft", "sparesLeft")
_CENTRE_NAME: Final = "Print centre North"


@dataclass(slots=True)
class Findings:
    """What the demonstration found, for the screen and for --json."""

    design_id: str = ""
    license_id: str = ""
    token_id: str = ""
    prints: list[Mapping[str, Any]] = field(default_factory=list)
    refusals: list[Mapping[str, Any]] = field(default_factory=list)
    audits: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    lies: list[Mapping[str, Any]] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    folders: dict[str, str] = field(default_factory=dict)
    again: list[list[str]] = field(default_factory=list)
    """Commands that start the chain again and repeat the audit, as they are typed where the demonstration was."""
    seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON."""
        return {
            "designId": self.design_id,
            "licenseId": self.license_id,
            "tokenId": self.token_id,
            "prints": self.prints,
            "refusals": self.refusals,
            "audits": self.audits,
            "lies": self.lies,
            "files": self.files,
            "folders": self.folders,
            "again": self.again,
            "seconds": round(self.seconds, 1),
        }


class Screen:
    """Where the story is told; `table` gets rows, `line` one sentence."""

    def chapter(self, number: int, title: str) -> None:
        """Begin a chapter."""

    def command(self, who: str, argv: Sequence[str]) -> None:
        """Show a command that a role runs."""

    def line(self, text: str) -> None:
        """Say one thing that was found."""

    def table(self, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Show a table."""


class Story:
    """One run of the demonstration in an empty folder."""

    def __init__(
        self, out: Path, design: Path, *, title: str, protection: str, slicer: str, screen: Screen, lock: int
    ) -> None:
        """Args: `lock` is the open file whose lock says that this folder is in use; the servers hold it too."""
        self.out = out
        self.design = Path(shutil.copy(design, out / design.name))
        self.lock = lock
        self.title = title
        self.protection = protection
        self.slicer = slicer
        self.screen = screen
        self.found = Findings()
        self._stack = ExitStack()
        self._note = "what follows is typed in the folder; --home homes/NAME, --gateway and --rpc are left out"
        self._passphrase = secrets.token_urlsafe(24)
        self._rpc = ""
        self._url = ""
        self._gateway: Server | None = None
        self._manifest = ""
        self._signer: NoteSigner | None = None
        self._roles: dict[str, Role] = {}

    # --- the whole of it ---------------------------------------------------------------------------------

    def tell(self) -> Findings:
        """Run all chapters and return what was found; every process has ended afterwards.

        Errors: PlatemarkError with the first thing that went otherwise than it should.
        """
        began = time.monotonic()
        with self._stack:
            self._servers()
            self._designer()
            self._centre()
            self._prints()
            self._refusals()
            self._settlement()
            self._end_of_the_gateway()
            self._audit()
            self._lies()
            self._how_to_repeat()
            self.found.seconds = time.monotonic() - began
        return self.found

    @property
    def blocks(self) -> Path:
        """The folder of IPFS blocks."""
        return self.out / "gateway" / "blocks"

    @property
    def tiles(self) -> Path:
        """The folder of the print log's static files."""
        return self.out / "gateway" / "log"

    # --- 1 servers ---------------------------------------------------------------------------------------

    def _servers(self) -> None:
        self.screen.chapter(1, "A chain and a gateway, each a process of its own")
        program = gateway_program()
        logs = self.out / "logs"
        logs.mkdir()
        data = self.out / "gateway"
        environment = self._environment() | {
            "PLATEMARK_GATEWAY_PASSPHRASE": self._passphrase,
            "PLATEMARK_GATEWAY_FINALITY_SECONDS": "1",
            "PLATEMARK_GATEWAY_POLL_SECONDS": "0.2",
            "PLATEMARK_GATEWAY_ANCHOR_SECONDS": "5",
            "PLATEMARK_GATEWAY_SETTLE_SECONDS": "5",
        }
        chain = Server(
            "chain",
            [program, "chain", "--data", str(self.out / "chain"), "--port", "0"],
            log=logs / "chain.log",
            environment=environment,
            keeps_open=(self.lock,),
        )
        self._stack.callback(chain.stop)
        self._rpc = str(chain.ready()["url"])
        gateway = Server(
            "gateway",
            [program, "serve", "--data", str(data), "--rpc", self._rpc, "--port", "0"],
            log=logs / "gateway.log",
            environment=environment,
            keeps_open=(self.lock,),
        )
        self._stack.callback(gateway.stop)
        said = gateway.ready()
        self._url = str(said["url"])
        self._gateway = gateway
        self.screen.line(f"chain {said['chainId']} at {self._rpc}, process {chain.process.pid}")
        self.screen.line(f"gateway at {self._url}, process {gateway.process.pid}, account {said['gateway']}")
        self.screen.line(f"contracts deployed: ledger {said['ledger']}")
        self.screen.line(self._note)

    # --- 2 designer --------------------------------------------------------------------------------------

    def _designer(self) -> None:
        self.screen.chapter(2, "The designer registers and licenses a design, without owning a coin")
        self._run("designer", "keys", "new")
        checked = self._run("designer", "design", "check", str(self.design))
        self._tell_check(checked)
        registered = self._run(
            "designer", "design", "register", str(self.design), "--title", self.title, "--material", "PLA"
        )
        self.found.design_id = str(registered["designId"])
        self._manifest = str(registered["manifest"])
        self.screen.line(f"registered, revealed and deposited: design {self.found.design_id[:18]}…")
        offered = self._run(
            "designer",
            "license",
            "offer",
            self.found.design_id,
            *("--cap", str(PRINTS), "--price", "0.001"),
            *("--spares-flat", str(SPARES), "--smallest", str(PRINTS)),
            *("--protection", self.protection, "--on-sale"),
        )
        self.found.license_id = str(offered["licenseId"])
        self.screen.line(
            f"offered with the gateway's acceptance: {PRINTS} prints, {SPARES} spare, 0.001 coin each; "
            f"protection {self.protection}"
        )

    def _tell_check(self, checked: Mapping[str, Any]) -> None:
        for file in checked.get("files", []):
            box = " x ".join(str(side) for side in file.get("sizeMm", []))
            self.screen.line(f"{file.get('name')}: {box} mm, {file.get('volumeMm3')} mm³ (measured on the mesh)")

    # --- 3 centre ----------------------------------------------------------------------------------------

    def _centre(self) -> None:
        self.screen.chapter(3, "A print centre buys prints with its own coin and obtains a print token")
        key = self._run("centre", "keys", "new")
        self._fund(str(key["address"]))
        self._run("centre", "license", "buy", self.found.license_id, "--prints", str(PRINTS))
        token = self._run("centre", "token", "request", self.found.license_id, "--prints", str(PRINTS))
        self.found.token_id = str(token["tokenId"])
        self.screen.line(
            f"token {self.found.token_id[:18]}…: {token['prints']} prints, {token['spares']} spare, "
            f"sealed to agent {token['agent']}"
        )

    # --- 4 prints ----------------------------------------------------------------------------------------

    def _prints(self) -> None:
        ada, grace = PRINTERS
        self.screen.chapter(4, "Five products on two simulated printers")
        plan: tuple[tuple[str, tuple[str, ...]], ...] = (
            ("", ("--printer", ada)),
            ("", ("--printer", grace)),
            ("fails for good, given back", ("--printer", ada, "--fail-at", f"{ada}={FAIL_AT}", "--attempts", "1")),
            ("taken again on the spare", ("--printer", ada)),
            ("moved to the other printer", ("--printer", ada, "--printer", grace, "--fail-at", f"{ada}={FAIL_AT}")),
            ("", ("--printer", grace)),
        )
        for number, (note, options) in enumerate(plan):
            if number == len(plan) - 1:
                self._flipped_byte()
                self._stranger()
            made = self._print(*options, fails=note.startswith("fails"))
            self.found.prints.append({**made, "note": note})
        rows = [
            [
                str(made["sequence"]),
                str(made["serial"]),
                str(made["result"]),
                str(made["attempts"]),
                _grams(made),
                f"{made['printsLeft']} / {made['sparesLeft']}",
                str(made["note"]),
            ]
            for made in self.found.prints
        ]
        self.screen.table(("print", "serial", "result", "runs", "grams (source)", "prints / spares left", ""), rows)

    def _print(self, *options: str, fails: bool) -> Mapping[str, Any]:
        """Make one print; one that `fails` for good says so by its exit code, 1, and is reported all the same."""
        number = len(self.found.prints) + 1
        folder = self.out / "prints" / str(number)
        folder.mkdir(parents=True)
        kept = () if self.protection == "stream" else ("--keep-gcode", str(folder))
        return self._run(
            "centre",
            "print",
            self.found.token_id,
            *options,
            *("--slicer", self.slicer, "--material", "PLA", "--output", str(folder / "receipt.json")),
            *kept,
            ends=ExitCode.FAILED if fails else ExitCode.OK,
        )

    # --- 5 refusals --------------------------------------------------------------------------------------

    def _flipped_byte(self) -> None:
        """Let the centre print from a copy of the blocks in which one byte of the sealed file is another."""
        manifest = Manifest.parse(self._block(self.blocks, Cid.parse(self._manifest)).read_bytes())
        copy = self.out / "flipped" / "blocks"
        shutil.copytree(self.blocks, copy)
        block = self._block(copy, manifest.files[0].sealed_cid)
        good = block.read_bytes()
        middle = len(good) // 2
        block.chmod(0o644)
        block.write_bytes(good[:middle] + bytes([good[middle] ^ 1]) + good[middle + 1 :])
        self._refused(
            "one flipped byte in the sealed file",
            lambda: self._try_to_print("centre", "--ipfs", str(copy), "--only-ipfs"),
        )

    def _block(self, folder: Path, cid: Cid) -> Path:
        return folder / cid.text[-3:-1] / cid.text

    def _refusals(self) -> None:
        self.screen.chapter(5, "What is refused, and what was counted for it: nothing")
        self._refused(f"product {PRINTS + 1} of {PRINTS}", lambda: self._try_to_print("centre"))
        rows = [
            [str(item["what"]), str(item["exitCode"]), str(item["why"]), str(item["counted"])]
            for item in self.found.refusals
        ]
        self.screen.table(("tried", "exit code", "refused because", "counted"), rows)

    def _stranger(self) -> None:
        """Let somebody who copied the centre's token try it: with an agent of his own, then straight at the gateway."""
        spool, home = self.out / "homes" / "centre" / "agent" / "spool", self.out / "homes" / "stranger"
        self._attempt("stranger", "keys", "new")
        shutil.copytree(spool, home / "agent" / "spool")
        self._refused("a stranger's agent with a copied token", lambda: self._try_to_print("stranger"))
        self._refused("a stranger's signature, sent straight to the gateway", lambda: self._forge(home))

    def _forge(self, home: Path) -> Outcome:
        """Send a request for the next print, true in everything but the key that signed it."""
        from platemark.agent.spool import Spool
        from platemark.sdk.chain import ChainClient
        from platemark.sdk.gateway import GatewayClient

        with Spool(home / "agent" / "spool") as spool:
            record = spool.token(TokenId(int(self.found.token_id, 16)))
        recipient, seen = RecipientKey.generate(), ChainClient(self._rpc).final_block()
        request = RedemptionRequest(
            token_id=record.token_id,
            sequence=len(self.found.prints) + 1,
            token_digest=token_digest(record.text),
            print_id=secrets.token_bytes(16),
            recipient_digest=recipient.digest,
            seen_block=seen.number,
            seen_hash=seen.hash,
            detail=Digest32(secrets.token_bytes(32)),
        )
        signed = request.sign(AccountKey(secrets.token_bytes(32)), record.domain)
        argv = ("POST", "/v1/prints")
        try:
            with GatewayClient(self._url) as client:
                client.redeem(canonical.encode(signed.to_body(recipient.public_bytes)))
        except PlatemarkError as error:
            told = json.dumps({"error": {"code": error.code, "message": error.message}})
            return Outcome(argv, exit_code(error), told, f"platemark: {error.message}\n")
        return Outcome(argv, 0, "{}", "")

    def _try_to_print(self, who: str, *options: str) -> Outcome:
        argv = ("print", self.found.token_id, "--printer", PRINTERS[0], "--slicer", self.slicer, "--material", "PLA")
        return self._attempt(who, *argv, *options)

    def _refused(self, what: str, attempt: Callable[[], Outcome]) -> None:
        """Try something that must be refused, and compare what the gateway counts before and after.

        Errors: PlatemarkError `demo-not-refused` when it was not, or when something was counted.
        """
        before = self._counts()
        tried = attempt()
        after = self._counts()
        if tried.exit_code == 0 or before != after:
            raise PlatemarkError(f"{what} was not refused", kind=Kind.INTERNAL, code="demo-not-refused")
        self.found.refusals.append(
            {
                "what": what,
                "exitCode": tried.exit_code,
                "code": tried.error_code,
                "why": tried.complaint,
                "counted": "nothing",
                "counts": after,
            }
        )

    def _counts(self) -> Mapping[str, Any]:
        """Return what the gateway counts of the centre's token; what settlement changes meanwhile is left out."""
        shown = self._attempt("centre", "token", "show", self.found.token_id).value
        return {name: shown[name] for name in _COUNTS}

    # --- 6 settlement ------------------------------------------------------------------------------------

    def _settlement(self) -> None:
        self.screen.chapter(6, "Counts and roots reach the chain")
        ends_at = time.monotonic() + SETTLE_SECONDS
        while True:
            report = self._attempt("auditor", *self._audit_arguments("log")).value
            pending = [found for found in report["findings"] if found["verdict"] == "not checked"]
            if report["holds"] and not report["facts"]["unsettled"] and not pending:
                break
            if time.monotonic() > ends_at:
                raise PlatemarkError("the counts did not reach the chain", kind=Kind.INTERNAL, code="demo-unsettled")
            time.sleep(0.5)
        self.screen.line(f"settled on chain: {report['facts']['settled']} prints, proven by the agent's vouchers")
        for made in self.found.prints:
            if made["result"] == "completed":
                self._passport(made)
                break

    def _passport(self, made: Mapping[str, Any]) -> None:
        self._run(
            "centre",
            "passport",
            str(made["serial"]),
            *("--output", str(self.out / "passport.json")),
            *("--label", str(self.out / "label.pdf"), "--qr", str(self.out / "passport-qr.svg")),
            *("--preview", str(self.out / "preview.png")),
            *("--responsible", _CENTRE_NAME),
        )

    # --- 7 end -------------------------------------------------------------------------------------------

    def _end_of_the_gateway(self) -> None:
        self.screen.chapter(7, "The gateway is stopped and its database deleted")
        key = self._log_key()
        if self._gateway is not None:
            self._gateway.stop()
        deleted = sorted((self.out / "gateway").glob("gateway.sqlite3*"))
        if not deleted:
            raise LocalError("the gateway's database is not where it should be", code="demo-database")
        for path in deleted:
            path.unlink()
        self._signer = NoteSigner.parse(key)
        self.screen.line(f"deleted {', '.join(path.name for path in deleted)}; what remains: chain, blocks, tiles")

    def _log_key(self) -> str:
        """Return the log's private key, as an operator exports it: the lies of chapter 9 are signed with it."""
        import subprocess

        done = subprocess.run(
            [gateway_program(), "keys", "export-log-key", "--data", str(self.out / "gateway")],
            env=self._environment() | {"PLATEMARK_GATEWAY_PASSPHRASE": self._passphrase},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        if done.returncode != 0:
            raise LocalError("the log's key cannot be exported", code="server-failed", hint=done.stderr.strip()[:300])
        return done.stdout.strip()

    # --- 8 audit -----------------------------------------------------------------------------------------

    def _audit(self) -> None:
        self.screen.chapter(8, "An auditor checks everything, from chain, blocks and tiles")
        report = self._audited("log", *self._audit_arguments("log"), "--html", str(self.out / "report.html"))
        self.screen.table(("step", "result", "what was found", "read from"), _finding_rows(report))
        serial = str(next(made["serial"] for made in self.found.prints if made["result"] == "completed"))
        shared = ("--blocks", str(self.blocks), "--tiles", str(self.tiles))
        rows = []
        for name, argv in (
            ("part", ("audit", "part", serial, *shared)),
            ("passport", ("audit", "passport", str(self.out / "passport.json"))),
            ("file", ("audit", "file", str(self.design), *shared)),
            ("design", ("audit", "design", self.found.design_id, *shared)),
        ):
            found = self._audited(name, *argv)
            holds = sum(1 for item in found["findings"] if item["verdict"] == "holds")
            rows.append([name, str(found["subject"])[:60], f"{holds} checks hold", _status(found)])
        self.screen.table(("audit", "of", "result", "says"), rows)

    def _audited(self, name: str, *argv: str) -> Mapping[str, Any]:
        report = self._run("auditor", *argv)
        self.found.audits[name] = report
        return report

    def _audit_arguments(self, what: str) -> tuple[str, ...]:
        return ("audit", what, "--blocks", str(self.blocks), "--tiles", str(self.tiles))

    # --- 9 lies ------------------------------------------------------------------------------------------

    def _lies(self) -> None:
        self.screen.chapter(9, "Three lies, signed with the gateway's own key into valid logs")
        signer = self._signer
        if signer is None:
            raise LocalError("the log's key was not exported", code="server-failed")
        chain_id, ledger = signer.key.name.split("/")[:2]
        domain = ledger_domain(int(chain_id), parse_address(ledger))
        rows = []
        for lie in LIES:
            copy = self.out / "lies" / lie.name
            plant(lie, self.tiles, copy, signer, domain)
            told = self._attempt("auditor", "audit", "log", "--blocks", str(self.blocks), "--tiles", str(copy))
            report = told.value
            failures = [found for found in report.get("findings", []) if found["verdict"] == "fails"]
            if told.exit_code != 3 or not failures:
                raise PlatemarkError(f"the lie “{lie.pretends}” was not found", kind=Kind.INTERNAL, code="demo-lie")
            self.found.lies.append({"lie": lie.name, "pretends": lie.pretends, "failures": failures})
            rows.append([lie.pretends, f"{len(failures)} found", str(failures[0]["detail"])])
        self.screen.table(("the copy pretends", "discrepancies", "the first"), rows)

    # --- 10 what remains ---------------------------------------------------------------------------------

    def _how_to_repeat(self) -> None:
        """Note what lies where, and the commands that start the chain again and repeat the audit."""
        self.found.folders = {
            "chain": "the embedded chain",
            "gateway": "what the gateway left: blocks, log, vault; its database is deleted",
            "homes": "keys and records of designer, centre, stranger and auditor",
            "prints": "receipts, and G-code where the terms let it be kept",
            "lies": "the three copies of the log that lie",
            "flipped": "the copy of the blocks with one byte changed",
            "logs": "what each process said, and every command with its time",
        }
        port = self._rpc.rpartition(":")[2]
        shared = ["--rpc", f"http://127.0.0.1:{port}", "--blocks", "gateway/blocks"]
        serial = next(str(made["serial"]) for made in self.found.prints if made["result"] == "completed")
        self.found.again = [
            ["platemark-gateway", "chain", "--data", "chain", "--port", port],
            ["platemark", "audit", "log", *shared, "--tiles", "gateway/log"],
            ["platemark", "audit", "part", serial, *shared, "--tiles", "gateway/log"],
            ["platemark", "audit", "log", *shared, "--tiles", f"lies/{LIES[0].name}"],
        ]

    # --- inside ------------------------------------------------------------------------------------------

    def _environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PLATEMARK_")}
        return kept | {"PYTHONUNBUFFERED": "1"}

    def _role(self, name: str) -> Role:
        role = self._roles.get(name)
        if role is None:
            environment = self._environment() | {"PLATEMARK_RPC": self._rpc}
            if name != "auditor":
                environment |= {"PLATEMARK_GATEWAY": self._url, "PLATEMARK_PASSPHRASE": self._passphrase}
            home = self.out / "homes" / name
            home.mkdir(parents=True)
            role = Role(name, home, environment=environment, log=self.out / "logs" / f"{name}.log")
            self._stack.callback(role.close)
            self._roles[name] = role
        return role

    def _run(self, who: str, *argv: str, ends: ExitCode = ExitCode.OK) -> Mapping[str, Any]:
        """Show and run a command that must end so; errors: PlatemarkError with what it said."""
        self.screen.command(who, [item.removeprefix(f"{self.out}/") for item in argv])
        outcome = self._attempt(who, *argv)
        if outcome.exit_code != ends or outcome.error_code is not None:
            raise PlatemarkError(
                f"{who}: platemark {' '.join(argv[:2])} failed: {outcome.complaint or outcome.stderr.strip()}",
                kind=Kind.INTERNAL,
                code=outcome.error_code or "command-failed",
            )
        return outcome.value

    def _attempt(self, who: str, *argv: str) -> Outcome:
        """Run a command, note it with its time in logs/commands.jsonl, and return how it ended."""
        role = self._role(who)
        began = time.monotonic()
        outcome = role.attempt(*argv)
        noted = {
            "role": who,
            "argv": argv,
            "exitCode": outcome.exit_code,
            "seconds": round(time.monotonic() - began, 3),
        }
        with (self.out / "logs" / "commands.jsonl").open("a", encoding="utf-8") as log:
            log.write(json.dumps(noted) + "\n")
        return outcome

    def _fund(self, address: str) -> None:
        """Ask the embedded chain's faucet for coins; no other chain has one."""
        body = {"jsonrpc": "2.0", "id": 1, "method": "platemark_fund", "params": [address]}
        request = urllib.request.Request(  # noqa: S310 (loopback, our own chain)
            self._rpc, json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
            found = json.load(answer)
        if "error" in found:
            raise LocalError("the chain's faucet refused", code="server-failed", hint=str(found["error"])[:200])


def _grams(made: Mapping[str, Any]) -> str:
    """Return the grams that an ended print used, part and failed together, with where the figure comes from."""
    quantities = made.get("quantities") or {}
    found = [quantities[name] for name in ("materialInPart", "materialFailed") if name in quantities]
    measured = [item for item in found if item.get("source") != "none"]
    if not measured:
        return "not measured"
    total = sum(Decimal(item["value"]) for item in measured)
    return f"{total} ({', '.join(sorted({str(item['source']) for item in measured}))})"


def _finding_rows(report: Mapping[str, Any]) -> list[list[str]]:
    marks = {"holds": "ok", "fails": "FAIL", "not checked": "—"}
    ordered = sorted(report["findings"], key=lambda found: found["step"])
    return [
        [f"{found['step']} {found['name']}", marks[found["verdict"]], found["detail"], found["source"]]
        for found in ordered
    ]


def _status(report: Mapping[str, Any]) -> str:
    facts = report["facts"]
    if "status" in facts:
        return str(facts["status"])
    if "claims" in facts:
        return f"{len(facts['claims'])} claim"
    return f"owner {facts.get('owner', '')[:12]}…"
