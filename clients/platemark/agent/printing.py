"""One print from token to receipt (docs/flows/printing.md carries the same numbers).

    1  prepare    every check that can fail for local reasons; nothing is counted yet
    2  redeem     sign, record, send; the answer is recorded before it is opened
    3  open       verify the release, take out the key, decrypt in memory, compare every hash
    4  slice      on the printer that is free now
    5  print      record the attempt, run it, record how it ended; what failed is tried again, also elsewhere
    6  report     receipt and outcome: sign, record, send; the promise and the countersignature are verified

A process may die anywhere: recorded requests and outcomes are sent again as the same bytes, a recorded release is
printed again, and nothing is counted twice.
"""

import hashlib
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Final, Protocol

from platemark.agent import opening
from platemark.agent.job import Body, Job, LicenseDesk, Product, check_printer, check_time, prepare, reopen
from platemark.agent.machine import Acknowledgement, Answer, Request, TokenMachine, Use
from platemark.agent.printers.printing import Printer, PrintRun, Progress
from platemark.agent.receipts import End, History, SentReport, Start, countersigned, make_receipt, make_report
from platemark.agent.registered import ChainView
from platemark.agent.slicers.slicing import Estimates, Sliced, Slicer
from platemark.agent.spool import Spool, TokenRecord
from platemark.errors import Kind, LocalError, RefusedError, UpstreamError, UsageError, VerificationError
from platemark.geometry.mesh import Mesh
from platemark.protocol import canonical, log_entry
from platemark.protocol.cid import Cid, Codec
from platemark.protocol.digests import recipient_digest, token_digest
from platemark.protocol.license_terms import Protection
from platemark.protocol.log_entry import OutcomeEntry
from platemark.protocol.outcome import Promise, Result
from platemark.protocol.permission import AgentSeed
from platemark.protocol.profile import GatewayProfile
from platemark.protocol.receipt import MAX_ATTEMPTS, Envelope, Material
from platemark.protocol.serial import serial_of
from platemark.protocol.typed_data import Reservation
from platemark.protocol.units import Digest32, TokenId, digest_text, id_text
from platemark.protocol.voucher import IntendedPrint, RedemptionRequest
from platemark.sdk.answers import OutcomeAnswer, PrintAnswer
from platemark.sdk.clock import Clock
from platemark.sdk.ipfs import BlockSource
from platemark.sdk.transport import ServerProblemError
from platemark.verify.keys import KeyHistory

_TOKEN_CLAIM_SECONDS: Final = 60.0


class PrintDesk(LicenseDesk, Protocol):
    """The part of a gateway that a printing agent talks to."""

    def reserve(self, reservation: Reservation, signature: bytes) -> object:
        """Take a permission with its holder's signature; again is harmless."""
        ...

    def redeem(self, request: bytes) -> PrintAnswer:
        """Return the release and sealed key for a request's bytes."""
        ...

    def outcome(self, token_id: TokenId, sequence: int, report: bytes) -> OutcomeAnswer:
        """Return the promise and countersigned receipt for an outcome's bytes."""
        ...


class Stage(StrEnum):
    """What an agent tells while it works."""

    PREPARED = "prepared"
    REDEEMED = "redeemed"
    OPENED = "opened"
    SLICED = "sliced"
    PRINTING = "printing"
    ENDED = "ended"
    REPORTED = "reported"


@dataclass(frozen=True, slots=True)
class Note:
    """One thing that happened: the stage, a line for people, and the printer's progress while it prints."""

    stage: Stage
    text: str
    progress: Progress | None = None


@dataclass(frozen=True, slots=True)
class Made:
    """A use of a token as far as it has come: what every attempt did, and which bodies are still to be made."""

    token_id: TokenId
    sequence: int
    history: History
    missing: tuple[Body, ...]

    @property
    def serial(self) -> str:
        """The part's serial."""
        return serial_of(self.token_id, self.sequence)

    @property
    def complete(self) -> bool:
        """Whether all bodies of the product were made."""
        return not self.missing

    @property
    def awaits_inspection(self) -> bool:
        """Whether all bodies were made, to be inspected before anything is reported."""
        return self.complete and self.history.attempts[-1][0].inspect

    @property
    def cancelled(self) -> bool:
        """Whether somebody stopped the last attempt; the use is left open then."""
        return bool(self.history.attempts) and self.history.attempts[-1][1].result is Result.CANCELLED


@dataclass(frozen=True, slots=True)
class Reported:
    """A use whose outcome the gateway promised to log; `receipt` bears both signatures, `salt` opens its digest."""

    serial: str
    result: Result
    receipt: Envelope
    salt: bytes
    promise: Promise
    spare_used: bool


def _silent(_: Note) -> None:
    """Tell nobody."""


def _never() -> bool:
    return False


@dataclass(slots=True)
class PrintingAgent:
    """A print centre's agent: its memory, its keys, its gateway, its printers.

    `profiles` are those of the gateway that are at hand, others that it declared are blocks; `slicers` in the order of
    preference; `stop` is asked while a printer runs; `keep_gcode` is given each file of G-code by name, where the terms
    allow a file.
    """

    spool: Spool
    seed: AgentSeed
    desk: PrintDesk
    blocks: BlockSource
    chain: ChainView
    profiles: Sequence[GatewayProfile]
    printers: Mapping[str, Printer]
    slicers: Sequence[Slicer]
    clock: Clock
    random_bytes: Callable[[int], bytes] = secrets.token_bytes
    tell: Callable[[Note], None] = _silent
    stop: Callable[[], bool] = _never
    keep_gcode: Callable[[str, bytes], None] | None = None

    # --- the whole of it --------------------------------------------------------------------------------

    def print_one(
        self,
        token_id: TokenId,
        printers: Sequence[str],
        *,
        material: Material | None = None,
        references: Sequence[str] = (),
        attempts: int = 2,
        inspect: bool = False,
    ) -> tuple[Made, Reported | None]:
        """Return a product made and, unless somebody wants to `inspect` it first, reported.

        A release that an earlier run left open is printed and reported before anything new is redeemed; but nothing is
        while its product waits for inspection, until somebody has said how it came out (`report`).

        Args:
            token_id: The print token.
            printers: Names of the printers that may make it, in the order in which they are tried.
            material: What is loaded in them.
            references: The centre's own references, told to nobody (a salted digest is).
            attempts: How often it is tried with one release before the print is reported as failed.
            inspect: Leave the outcome to `report`.

        Errors: those of `prepare`, `redeem`, `print_released` and `report`; RefusedError `outcome-missing`.
        """
        job = self.prepare(token_id, printers, material=material)
        with self.claimed_use(job, printers, references=references) as use:
            if self._made(job, use.sequence).awaits_inspection:
                raise RefusedError(
                    f"print {use.sequence} was made by an earlier run and is to be inspected first",
                    kind=Kind.CONFLICT,
                    code="outcome-missing",
                    hint=f"inspect it, then platemark outcome {id_text(token_id)[:14]} --print {use.sequence} "
                    "--result completed",
                )
            made = self.print_released(job, use, printers, attempts=attempts, inspect=inspect)
        if made.cancelled or (inspect and made.complete):
            return made, None
        result = Result.COMPLETED if made.complete else Result.FAILED
        return made, self.report(token_id, made.sequence, result, job=job)

    # --- 1 prepare -------------------------------------------------------------------------------------

    def prepare(self, token_id: TokenId, printers: Sequence[str], *, material: Material | None = None) -> Job:
        """Step 1: return a job that every one of these printers can make; see `job.prepare`."""
        job = prepare(
            self.spool.token(token_id),
            desk=self.desk,
            blocks=self.blocks,
            chain=self.chain,
            printers=[self._printer(name) for name in printers],
            slicers=self.slicers,
            material=material,
            now=self.clock.now(),
        )
        protection = job.document.demands().protection
        if self.keep_gcode is not None and protection is not Protection.FILE:
            raise RefusedError(
                f"the terms' protection is {protection}: no G-code may be kept",
                kind=Kind.CONFLICT,
                code="protection-not-kept",
                hint="print without keeping it",
            )
        self.tell(Note(Stage.PREPARED, f"{job.manifest.title}: checked, {len(job.bodies())} to make"))
        return job

    def product(self, token_id: TokenId, *, material: Material | None = None) -> Product:
        """Return what a print of a token was, for `report` after it was made; see `job.reopen`."""
        return reopen(self.spool.token(token_id), blocks=self.blocks, material=material)

    # --- 2 redeem --------------------------------------------------------------------------------------

    @contextmanager
    def claimed_use(self, job: Job, printers: Sequence[str], *, references: Sequence[str] = ()) -> Iterator[Use]:
        """Step 2: give a released use to print, claimed for this process: one that was left open, or a new one.

        Errors: LocalError `spool-busy`; RefusedError with the gateway's reason; VerificationError
            `sequence-ahead`, `release-differs`.
        """
        token_id = job.token.token_id
        with ExitStack() as claims:
            with self.spool.claim(token_id, wait_seconds=_TOKEN_CLAIM_SECONDS):
                use = self._left_open(token_id, claims)
                if use is None:
                    use = self._redeem(job, printers, references)
                    claims.enter_context(self.spool.claim(token_id, use.sequence))
            yield use

    def _left_open(self, token_id: TokenId, claims: ExitStack) -> Use | None:
        """Return a use that was released and not reported, which no living process prints."""
        for use in self.spool.machine(token_id).open:
            try:
                claims.enter_context(self.spool.claim(token_id, use.sequence))
            except LocalError as error:
                if error.code != "spool-busy":
                    raise
                continue
            return use
        return None

    def _redeem(self, job: Job, printers: Sequence[str], references: Sequence[str]) -> Use:
        token_id = job.token.token_id
        machine = self.spool.machine(token_id)
        request = machine.pending
        if request is None:
            check_time(job.token, self.clock.now())
            request = self._sign(job, machine.next_sequence(), printers, references)
            self.spool.record(token_id, machine.sign(request))
        answer = self._ask(job.record, machine, request)
        use = machine.answered(request.sequence, answer)
        self.spool.record(token_id, use)
        self.tell(Note(Stage.REDEEMED, f"print {use.sequence} redeemed, serial {serial_of(token_id, use.sequence)}"))
        return use

    def _sign(self, job: Job, sequence: int, printers: Sequence[str], references: Sequence[str]) -> Request:
        agent, recipient = job.record.agent_key(self.seed), job.record.recipient_key(self.seed)
        intended = IntendedPrint(printers[0], tuple(part.name for part in job.manifest.parts), tuple(references))
        salt = self.random_bytes(32)
        seen = self.chain.final_block()
        wanted = RedemptionRequest(
            token_id=job.token.token_id,
            sequence=sequence,
            token_digest=token_digest(job.record.text),
            print_id=self.random_bytes(16),
            recipient_digest=recipient_digest(recipient.public_bytes),
            seen_block=seen.number,
            seen_hash=seen.hash,
            detail=intended.digest(salt),
        )
        return Request.make(wanted.sign(agent, job.record.domain), recipient.public_bytes, salt, intended.to_json())

    def _ask(self, record: TokenRecord, machine: TokenMachine, request: Request) -> Answer:
        """Send the pending request; a gateway that lost earlier uses is given those again first, outcomes too."""
        try:
            return _answer(self.desk.redeem(request.body))
        except ServerProblemError as error:
            expected = error.details.get("expected")
            if error.code != "sequence-expected" or not isinstance(expected, int):
                raise
            again = machine.resend_from(expected)
            if len(again) < 2:
                raise VerificationError(
                    "the gateway refuses the very request that it says it expects",
                    step="voucher",
                    code="request-refused",
                    expected=f"an answer to print {request.sequence}",
                    found=f"print {expected} expected",
                    hint="another agent has used this token, or the gateway miscounts",
                ) from error
        for earlier in again[:-1]:
            self.desk.redeem(earlier.request.body)  # it was answered before: this agent has that release
            if earlier.acknowledgement is not None and earlier.can_report:
                self._send_report(record, machine, earlier)
        return _answer(self.desk.redeem(request.body))

    # --- 3 to 5 open, slice, print ---------------------------------------------------------------------

    def print_released(
        self, job: Job, use: Use, printers: Sequence[str], *, attempts: int = 2, inspect: bool = False
    ) -> Made:
        """Steps 3 to 5: return what was made of a released use; the caller holds the claim on it.

        Errors: VerificationError when release or files are not what was bought; errors of slicer and printer.
        """
        token_id, sequence = job.token.token_id, use.sequence
        if use.answer is None or not printers or attempts < 1:
            raise UsageError("there is a release, a printer and an attempt")
        opening.forbid_dumps()
        release = opening.verify_release(job, use.request, use.answer, self._keys(job.record))
        package = opening.open_release(job, release, use.answer, job.record.recipient_key(self.seed))
        meshes = opening.decrypt_meshes(job, package)
        counted = "1 mesh" if len(meshes) == 1 else f"{len(meshes)} meshes"
        self.tell(Note(Stage.OPENED, f"{counted} decrypted in memory and compared"))
        self._close_interrupted(token_id, sequence)
        if job.material is not None:
            self.spool.keep_material(token_id, sequence, job.material)
        made = self._made(job, sequence)
        for number in range(attempts):
            if made.complete:
                break
            printer = self._printer(printers[number % len(printers)])
            end = self._attempt(job, made, meshes, printer, inspect=inspect)
            made = self._made(job, sequence)
            if end.result is Result.CANCELLED:
                break
        return made

    def _attempt(self, job: Job, made: Made, meshes: Mapping[str, Mesh], printer: Printer, *, inspect: bool) -> End:
        if len(made.history.attempts) >= MAX_ATTEMPTS:
            raise RefusedError(
                f"a print is tried {MAX_ATTEMPTS} times at most", kind=Kind.CONFLICT, code="attempts-spent"
            )
        token_id, sequence = made.token_id, made.sequence
        slicer = check_printer(job.manifest, job.document.demands(), printer, self.slicers)
        supports = bool(job.manifest.constraints.supports)
        sliced = {
            part: self._slice(slicer, printer, part, meshes[part], supports=supports)
            for part in {body.part for body in made.missing}
        }
        start = Start.of(
            printer,
            slicer,
            gcode_sha256=_digest(sliced[body.part].gcode for body in made.missing),
            started_at=self.clock.now(),
            bodies=made.missing,
            estimate=_together(sliced[body.part].estimates for body in made.missing),
            inspect=inspect,
        )
        if self.keep_gcode is not None:
            number = 1 + len(made.history.attempts)
            for part, made_of in sliced.items():
                self.keep_gcode(f"print-{sequence}-run-{number}-{part}.gcode", made_of.gcode)
        number = self.spool.start_attempt(token_id, sequence, start.to_json())  # from here on a printer runs
        runs: list[tuple[Body, PrintRun]] = []
        with self._recorded(token_id, sequence, number, runs):
            for body in made.missing:
                run = printer.print(sliced[body.part].gcode, on_progress=self._progress(printer, body), stop=self.stop)
                runs.append((body, run))
                if not run.finished:
                    break
        end = End.of(runs, self.clock.now())
        self.tell(Note(Stage.ENDED, f"{printer.name}: {end.reason or 'finished'}"))
        return end

    @contextmanager
    def _recorded(
        self, token_id: TokenId, sequence: int, number: int, runs: list[tuple[Body, PrintRun]]
    ) -> Iterator[None]:
        """Record how an attempt ended, also when its printer could not be followed to the end."""
        try:
            yield
        except BaseException:
            end = End.interrupted(self.clock.now(), runs)
            self.spool.end_attempt(token_id, sequence, number, end.to_json())
            raise
        self.spool.end_attempt(token_id, sequence, number, End.of(runs, self.clock.now()).to_json())

    def _slice(self, slicer: Slicer, printer: Printer, part: str, mesh: Mesh, *, supports: bool) -> Sliced:
        sliced = slicer.slice(mesh, printer.volume_mm, supports=supports)
        grams, minutes = sliced.estimates.grams, -(-sliced.estimates.duration_seconds // 60)
        self.tell(Note(Stage.SLICED, f"{part}: {slicer.name} expects {grams} g and {minutes} min"))
        for warning in sliced.warnings:
            self.tell(Note(Stage.SLICED, f"{part}: {warning}"))
        return sliced

    def _progress(self, printer: Printer, body: Body) -> Callable[[Progress], None]:
        def tell(progress: Progress) -> None:
            self.tell(Note(Stage.PRINTING, f"{printer.name}: {body.part} {body.index + 1}", progress))

        return tell

    def _close_interrupted(self, token_id: TokenId, sequence: int) -> None:
        """Give attempts that their process left open an end, so that the receipt can name them."""
        for record in self.spool.attempts(token_id, sequence):
            if record.ended is None:
                ended = End.interrupted(self.clock.now()).to_json()
                self.spool.end_attempt(token_id, sequence, record.number, ended)

    def _made(self, job: Product, sequence: int) -> Made:
        history = History.of(self.spool.attempts(job.token.token_id, sequence))
        finished = history.finished()
        missing = tuple(body for body in job.bodies() if body not in finished)
        return Made(job.token.token_id, sequence, history, missing)

    # --- 6 report --------------------------------------------------------------------------------------

    def report(
        self,
        token_id: TokenId,
        sequence: int,
        result: Result,
        *,
        job: Product,
        rejected: frozenset[Body] = frozenset(),
    ) -> Reported:
        """Step 6: report how a use ended and return the gateway's verified promise; the first outcome is final.

        The receipt's material is the job's, or else what was loaded when the use was printed.

        Errors: RefusedError `outcome-final`, `not-released`, `receipt-erased`, `print-incomplete` when it is said to
            be completed and is not; VerificationError when promise or countersignature are not the gateway's.
        """
        record = job.record
        with self.spool.claim(token_id, sequence):
            machine = self.spool.machine(token_id)
            use = machine.use(sequence)
            if use.report is None:
                self._close_interrupted(token_id, sequence)
                made = self._made(job, sequence)
                if result is Result.COMPLETED and not made.complete:
                    raise RefusedError(
                        f"{len(made.missing)} of {len(job.bodies())} bodies were not made",
                        kind=Kind.CONFLICT,
                        code="print-incomplete",
                        hint="print them, or report the print as failed",
                    )
                receipt = make_receipt(
                    job.token,
                    sequence,
                    result,
                    bodies=job.bodies(),
                    history=made.history,
                    material=job.material or self.spool.material(token_id, sequence),
                    rejected=rejected,
                )
                agent = record.agent_key(self.seed)
                report = make_report(receipt, agent=agent, domain=record.domain, random_bytes=self.random_bytes)
                use = machine.reported(sequence, report)
                self.spool.record(token_id, use)
            elif use.report.result != int(result):
                raise RefusedError(
                    f"print {sequence} was reported already, with another result",
                    kind=Kind.CONFLICT,
                    code="outcome-final",
                )
            elif not use.report.body:
                raise RefusedError(
                    f"print {sequence} was reported, and its receipt was erased here",
                    kind=Kind.CONFLICT,
                    code="receipt-erased",
                )
            return self._send_report(record, machine, use)

    def resend(self, token_id: TokenId) -> list[Reported]:
        """Send permission and all outcomes again, and return the answers: a gateway that has one answers as before.

        Those that were acknowledged too: a gateway that was restored from a backup may have lost them.
        """
        record = self.spool.token(token_id)
        self.desk.reserve(record.reservation, record.holder_signature)
        sent: list[Reported] = []
        for use in self.spool.machine(token_id).reports:
            with self.spool.claim(token_id, use.sequence):
                sent.append(self._send_report(record, self.spool.machine(token_id), use))
        return sent

    def _send_report(self, record: TokenRecord, machine: TokenMachine, use: Use) -> Reported:
        if use.report is None:
            raise UsageError("there is an outcome to send")
        sent = SentReport.parse(use.report, record.reservation.agent)
        found = self.desk.outcome(machine.token_id, use.sequence, use.report.body)
        acknowledgement = Acknowledgement(found.promise, canonical.encode(found.receipt))
        reported = self._check_promise(record, use, sent, acknowledgement)
        if use.acknowledgement is None:
            self.spool.record(machine.token_id, machine.acknowledged(use.sequence, acknowledgement))
        self.tell(Note(Stage.REPORTED, f"print {use.sequence} reported as {reported.result.name.lower()}"))
        return reported

    def _keys(self, record: TokenRecord) -> KeyHistory:
        """Return what the gateway declared until now: keys give way to others while an agent holds what they signed."""
        profiles = {profile.digest(): profile for profile in (*self.profiles, record.profile)}

        def get_profile(digest: Digest32) -> GatewayProfile | None:
            if digest not in profiles:
                try:
                    profiles[digest] = GatewayProfile.parse(self.blocks.get(Cid(Codec.RAW, digest)))
                except UpstreamError:
                    return None
            return profiles[digest]

        return KeyHistory(self.chain.gateway(record.profile), get_profile)

    def _check_promise(self, record: TokenRecord, use: Use, sent: SentReport, answer: Acknowledgement) -> Reported:
        known = self._keys(record).profiles_of(answer.promise, since=use.request.signed.request.seen_block)
        promise = Promise.verify(answer.promise, known[0].release_key)
        profile = opening.stated_profile(promise.profile_digest, known)
        outcome = sent.outcome.outcome
        entry = OutcomeEntry(
            token_id=outcome.token_id,
            sequence=outcome.sequence,
            result=sent.outcome.result(),
            spare_used=promise.spare_used,
            receipt_digest=outcome.receipt_digest,
            signature=sent.outcome.signature,
        )
        expected = log_entry.leaf_hash(entry)
        if promise.leaf_hash != expected or promise.origin != profile.log_origin:
            raise VerificationError(
                "the gateway promises to log another outcome",
                step="promise",
                code="promise-mismatch",
                expected=f"{profile.log_origin} {digest_text(expected)}",
                found=f"{promise.origin} {digest_text(promise.leaf_hash)}",
            )
        found = canonical.decode(answer.receipt)
        if not isinstance(found, Mapping):
            raise VerificationError(
                "the gateway's receipt is none",
                step="receipt",
                code="envelope",
                expected="an envelope",
                found="something else",
            )
        envelope = countersigned(found, sent, profile.release_key)
        serial = serial_of(outcome.token_id, outcome.sequence)
        return Reported(serial, sent.outcome.result(), envelope, sent.salt, promise, promise.spare_used)

    # --- inside ----------------------------------------------------------------------------------------

    def _printer(self, name: str) -> Printer:
        if name not in self.printers:
            raise UsageError(
                f"there is no printer {name!r}", code="printer-unknown", hint=f"there are: {', '.join(self.printers)}"
            )
        return self.printers[name]


def _answer(found: PrintAnswer) -> Answer:
    return Answer(found.release, found.sealed_key)


def _digest(pieces: Iterator[bytes]) -> Digest32:
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    return Digest32(digest.digest())


def _together(estimates: Iterator[Estimates]) -> Estimates:
    found = list(estimates)
    grams = sum((estimate.grams for estimate in found), Decimal(0))
    return Estimates(grams, sum(estimate.duration_seconds for estimate in found))
