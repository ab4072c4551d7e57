"""Redemption and outcomes: where prints are counted. The numbers are those of docs/flows/redemption.md."""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Self

from sqlalchemy.ext.asyncio import AsyncSession

from platemark.errors import PlatemarkError, VerificationError
from platemark.protocol import merkle
from platemark.protocol.content_key import KeyPackage, wrapping_context
from platemark.protocol.digests import receipt_digest, token_digest
from platemark.protocol.jws import header_key_id
from platemark.protocol.jws import key_id as key_id_of
from platemark.protocol.log_entry import ClosedEntry, CloseReason, OutcomeEntry, RedeemedEntry
from platemark.protocol.outcome import Promise, Result, SignedOutcome, gives_back, result_text
from platemark.protocol.permission import LAST_RELEASE_BEFORE_EXPIRY_SECONDS, SETTLE_BY_ANYBODY_SECONDS
from platemark.protocol.profile import GatewayProfile
from platemark.protocol.receipt import Envelope, Receipt
from platemark.protocol.release import Release, seal_package
from platemark.protocol.serial import serial_of
from platemark.protocol.token import PrintToken
from platemark.protocol.units import Address, DesignId, Digest32, TokenId, UnixSeconds, digest_text, id_text
from platemark.protocol.voucher import SignedRequest
from platemark_gateway import profiles, telemetry
from platemark_gateway.audit import journal
from platemark_gateway.clock import chain_now
from platemark_gateway.container import Container
from platemark_gateway.db.statements import Statements
from platemark_gateway.errors import VaultError, not_final
from platemark_gateway.models.print import PrintOutcome
from platemark_gateway.models.printlog import LogHead
from platemark_gateway.models.token import Deciding, Token
from platemark_gateway.ports import ChainProgress, FactStatus, KeyKind
from platemark_gateway.prints import errors, repository
from platemark_gateway.prints.repository import KnownPrint
from platemark_gateway.tokens import errors as token_errors
from platemark_gateway.tokens import service as tokens

OUTCOME_SECONDS: Final = SETTLE_BY_ANYBODY_SECONDS
"""Outcomes are taken until so long after the token's expiry, less the merge delay that their anchor may need."""
_ENDED_AT_ONCE: Final = 100


@dataclass(frozen=True, slots=True)
class Order:
    """A redemption whose voucher was checked: the request, the key to seal to, and whose voucher it is."""

    signed: SignedRequest
    recipient_public: bytes
    agent: Address
    correlation_id: str = field(default_factory=telemetry.correlation_id)
    """Of the request that brought it: a batch is counted outside of each."""


@dataclass(frozen=True, slots=True)
class Counted:
    """A committed print: with the release key that its profile names, all that its answer is made from."""

    release: Release
    profile: GatewayProfile
    design_id: DesignId
    revision: int
    wrapped_package: bytes
    prints_left: int
    spares_left: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What the agent gets: the release (compact JWS) and the key package, sealed to it."""

    release: str
    sealed_key: bytes
    sequence: int
    prints_left: int
    spares_left: int


# --- step 2: whose voucher it is --------------------------------------------------------------------------


async def agent_of(session: AsyncSession, container: Container, token_id: TokenId) -> Address:
    """Return the agent whom a token's holder named: the row's permission must have the token's id as its digest.

    Errors: NotFoundError `token-unknown`; VaultError `row-changed` for a row that is not what the holder signed.
    """
    row = await repository.get_token(session, token_id)
    if row is None or row.gateway != container.vault.account:
        raise token_errors.token_unknown()
    if tokens.permission_of(row).token_id(container.chain.deployment.ledger_domain()) != token_id:
        raise VaultError("a token's row is not the permission that its holder signed", code="row-changed")
    return row.agent


def check_voucher(container: Container, signed: SignedRequest, agent: Address) -> None:
    """Pass when the agent signed; errors: MalformedError, UnauthenticatedError `signature-invalid`."""
    if signed.signer(container.chain.deployment.ledger_domain()) != agent:
        raise errors.not_agent()


# --- steps 4 to 7: count, in one transaction --------------------------------------------------------------


async def count(
    statements: Statements, container: Container, plates: Sequence[Sequence[Order]]
) -> list[list[Counted] | PlatemarkError]:
    """Count a batch of redemptions in the caller's transaction and return, for each plate, what was decided.

    A plate is what was asked for together, mostly a single redemption: all of it is counted, or nothing. A refusal
    changes nothing and does not disturb the others. The caller must have committed before anything that is returned
    here is signed or sealed. A request that is known has its stored answer in quarantine too.

    Errors: UnavailableError `quarantine` before the log was opened, `index-empty`: for the whole batch.
    """
    batch = await _Batch.load(statements, container, [order for plate in plates for order in plate])
    decided = [batch.decide(plate) for plate in plates]
    await batch.write(statements)
    return decided


def _why_closed(log: repository.LogState, now: UnixSeconds) -> PlatemarkError | None:
    """Return why nothing new is released: quarantine, or an entry that waits longer for an anchor than it may."""
    if log.quarantine is not None:
        return token_errors.quarantine(log.quarantine)
    since = log.unanchored_since
    return errors.backlog(now - since) if since is not None and now - since > log.merge_delay_seconds else None


@functools.lru_cache(maxsize=4096)
def _verified(text: str, release_keys: tuple[bytes, ...]) -> PrintToken:
    """Return the claims of a token that one of the release keys signed; remembered, because none of it ever changes."""
    key_id = header_key_id(text)
    for public in release_keys:
        if key_id_of(public) == key_id:
            return PrintToken.verify(text, public)
    raise VaultError("a token's row is not signed by any key of this vault", code="row-changed")


class _Batch:
    """One transaction's redemptions: rows are locked, read, decided upon, and written together."""

    def __init__(
        self,
        container: Container,
        log: repository.LogState,
        progress: ChainProgress,
        locked: Mapping[TokenId, Deciding],
        revisions: Mapping[tuple[DesignId, int], repository.Deposited],
    ) -> None:
        """Take what decides for all."""
        self._container = container
        self._log = log
        self._progress = progress
        self._now = chain_now(container.clock, progress.head.timestamp)
        self._closed = _why_closed(log, self._now)
        self._tokens = locked
        self._released = {token_id: row.released for token_id, row in locked.items()}
        self._revisions = revisions
        self._origins = {log.epoch: log.origin}
        self._prints: dict[tuple[TokenId, int], KnownPrint] = {}
        self._print_ids: set[bytes] = set()
        self._profiles: dict[Digest32, GatewayProfile] = {}
        self._new_prints: list[dict[str, Any]] = []
        self._new_entries: list[dict[str, Any]] = []
        self._acts: list[dict[str, Any]] = []

    @classmethod
    async def load(cls, statements: Statements, container: Container, orders: Sequence[Order]) -> Self:
        """Step 4: lock the tokens, then read everything that decides.

        Errors: UnavailableError `quarantine` before the log was opened, `index-empty`.
        """
        requests = [order.signed.request for order in orders]
        locked = await repository.lock_deciding(statements, [request.token_id for request in requests])
        asked = repository.Asked(
            frozenset((item.token_id, item.sequence) for item in requests),
            frozenset(item.print_id for item in requests),
        )
        keys = {(row.design_id, row.revision) for row in locked.values()}
        found = await repository.situation(statements, container.index, container.vault.account, keys, asked)
        if found.log is None:
            raise token_errors.log_closed()
        if found.progress is None:
            raise tokens.index_empty()
        batch = cls(container, found.log, found.progress, locked, found.revisions)
        await batch._load_profile(statements, found.log.profile_digest)
        if found.is_known:
            await batch._load_known(statements, asked)
        return batch

    async def _load_profile(self, statements: Statements, digest: Digest32) -> None:
        if digest == profiles.digest_of(self._container.profile):
            self._profiles[digest] = self._container.profile
        elif digest not in self._profiles:
            stored = await repository.profile_bytes(statements, digest)
            self._profiles[digest] = await profiles.opened(self._container, digest, stored)

    async def _load_known(self, statements: Statements, asked: repository.Asked) -> None:
        self._prints, self._print_ids = await repository.known_prints(statements, asked)
        if any(row.epoch not in self._origins for row in self._prints.values()):
            self._origins = await repository.origins(statements)
        for digest in {row.profile_digest for row in self._prints.values()}:
            await self._load_profile(statements, digest)

    def decide(self, plate: Sequence[Order]) -> list[Counted] | PlatemarkError:
        """Step 5: the rule of release, for all of a plate or for nothing of it."""
        noted = len(self._new_prints)
        decided: list[Counted] = []
        for place, order in enumerate(plate):
            try:
                decided.append(self._decide(order))
            except PlatemarkError as refusal:
                self._forget(noted)
                return refusal if len(plate) == 1 else errors.at_place(refusal, place)
        return decided

    def _forget(self, noted: int) -> None:
        """Take back what was noted for a plate of which something is refused."""
        for values in self._new_prints[noted:]:
            self._released[values["token_id"]] = values["sequence"] - 1
            self._print_ids.discard(values["print_id"])
            del self._prints[values["token_id"], values["sequence"]]
        del self._new_prints[noted:]
        del self._new_entries[noted:]
        del self._acts[noted:]

    def _decide(self, order: Order) -> Counted:
        request = order.signed.request
        row = self._tokens.get(request.token_id)
        if row is None or row.gateway != self._container.vault.account:
            raise token_errors.token_unknown()
        if row.agent != order.agent:
            raise errors.not_agent()
        known = self._prints.get((request.token_id, request.sequence))
        if known is not None:
            if (known.request_digest, known.signature) != (request.request_digest(), order.signed.signature):
                raise errors.sequence_expected(self._released[row.token_id] + 1)
            return self._counted(row, known)
        if self._closed is not None:
            raise self._closed
        released = self._released[row.token_id]
        if request.sequence != released + 1:
            raise errors.sequence_expected(released + 1)
        if request.print_id in self._print_ids:
            raise errors.print_id_used()
        claims = self._token_of(row, order)
        tokens.check_open(row, self._progress, self._now)
        if self._progress.status(row.seen_block) is not FactStatus.FINAL:
            raise not_final(self._container.settings.finality_seconds, self._progress.dispute)
        revision = self._deposited(claims)
        if released - row.voided >= claims.prints or released >= claims.prints + claims.spares:
            raise errors.count_spent(claims.prints)
        return self._add(row, claims, revision, order)

    def _token_of(self, row: Deciding, order: Order) -> PrintToken:
        """Return the claims of the issued token, which the redemption must cite; the row must agree with them."""
        request = order.signed.request
        if row.wrapped_token is None:
            raise errors.not_issued() if row.issued_at is None else token_errors.token_lost()
        text = tokens.issued_text(self._container, row)
        if token_digest(text) != request.token_digest:
            raise errors.token_mismatch()
        claims = _verified(text, self._container.vault.public_keys(KeyKind.RELEASE))
        stated = (claims.token_id, claims.agent, claims.design_id, claims.revision, claims.prints, claims.spares)
        if stated != (row.token_id, row.agent, row.design_id, row.revision, row.prints, row.spares):
            raise VaultError("a token's row is not what its signed token says", code="row-changed")
        if claims.expires_at != row.expires_at:
            raise VaultError("a token's row is not what its signed token says", code="row-changed")
        if claims.recipient_digest != request.recipient_digest:
            raise errors.recipient_mismatch()
        return claims

    def _deposited(self, claims: PrintToken) -> repository.Deposited:
        revision = self._revisions.get((claims.design_id, claims.revision))
        if revision is None or revision.wrapped_package is None or revision.key_commitment is None:
            raise errors.key_not_deposited()
        if revision.manifest_digest != claims.manifest.digest:
            raise VaultError("a revision's row is not what the signed token says", code="row-changed")
        if revision.recalled_block is not None or revision.recall_signed_at is not None:
            raise token_errors.revision_recalled()
        return revision

    def _add(self, row: Deciding, claims: PrintToken, revision: repository.Deposited, order: Order) -> Counted:
        """Step 6: note the print and its log entry, for `write`."""
        request = order.signed.request
        entry = RedeemedEntry(
            token_id=request.token_id,
            sequence=request.sequence,
            token_digest=request.token_digest,
            print_id=request.print_id,
            recipient_digest=request.recipient_digest,
            seen_block=request.seen_block,
            seen_hash=request.seen_hash,
            detail=request.detail,
            signature=order.signed.signature,
        ).to_bytes()
        leaf = merkle.leaf_hash(entry)
        values: dict[str, Any] = {
            "token_id": request.token_id,
            "sequence": request.sequence,
            "print_id": request.print_id,
            "serial": serial_of(request.token_id, request.sequence),
            "request_digest": request.request_digest(),
            "token_digest": request.token_digest,
            "recipient_digest": request.recipient_digest,
            "seen_block": request.seen_block,
            "seen_hash": request.seen_hash,
            "detail": request.detail,
            "signature": order.signed.signature,
            "leaf_hash": leaf,
            "epoch": self._log.epoch,
            "profile_digest": self._log.profile_digest,
            "manifest_digest": claims.manifest.digest,
            "key_commitment": revision.key_commitment,
            "merge_by": self._now + self._log.merge_delay_seconds,
            "created_at": self._now,
        }
        self._new_prints.append(values)
        self._new_entries.append(repository.entry_values(RedeemedEntry.KIND, request.token_id, entry, leaf, self._now))
        self._acts.append(
            journal.entry(
                self._container.clock,
                actor=row.agent,
                action="print.release",
                subject=id_text(row.token_id),
                detail={"sequence": request.sequence},
                correlation_id=order.correlation_id,
            )
        )
        self._released[row.token_id] = request.sequence
        self._print_ids.add(request.print_id)
        known = KnownPrint(**{name: values[name] for name in KnownPrint._fields})
        self._prints[request.token_id, request.sequence] = known
        return self._counted(row, known)

    def _counted(self, row: Deciding, known: KnownPrint) -> Counted:
        revision = self._revisions.get((row.design_id, row.revision))
        if revision is None or revision.wrapped_package is None:
            raise errors.key_not_deposited()
        released = self._released[row.token_id]
        return Counted(
            release=Release(
                origin=self._origins[known.epoch],
                leaf_hash=known.leaf_hash,
                token_id=known.token_id,
                sequence=known.sequence,
                print_id=known.print_id,
                key_commitment=known.key_commitment,
                manifest_digest=known.manifest_digest,
                merge_by=known.merge_by,
                profile_digest=known.profile_digest,
            ),
            profile=self._profiles[known.profile_digest],
            design_id=row.design_id,
            revision=row.revision,
            wrapped_package=revision.wrapped_package,
            prints_left=min(row.prints - (released - row.voided), row.prints + row.spares - released),
            spares_left=row.spares - row.voided,
        )

    async def write(self, statements: Statements) -> None:
        """Step 7: raise the counts under their conditions, insert prints and entries."""
        if not self._new_prints:
            return
        latest_expiry = UnixSeconds(self._now + LAST_RELEASE_BEFORE_EXPIRY_SECONDS)
        counts = [
            repository.Count(token_id=token_id, released=row.released, uses=uses, latest_expiry=latest_expiry)
            for token_id, row in self._tokens.items()
            if (uses := self._released[token_id] - row.released)
        ]
        if not await repository.release(statements, counts, self._new_prints, self._new_entries, self._acts):
            raise VaultError("a locked token changed under its lock", code="row-changed")


# --- step 8: after the commit -----------------------------------------------------------------------------


def answer(container: Container, counted: Counted, recipient_public: bytes) -> Answer:
    """Return the signed release and the sealed key of a committed print.

    Every byte of the release follows from committed rows; the sealed key opens to the same package each time.

    Errors: VaultError for a deposit that was moved or changed; VerificationError `key-commitment`.
    """
    release = counted.release.sign(profiles.signer_of(container, counted.profile))
    deployment = container.chain.deployment
    context = wrapping_context(
        deployment.chain_id,
        deployment.registry,
        counted.design_id,
        counted.revision,
        counted.release.key_commitment,
    )
    package = KeyPackage.from_bytes(container.vault.unwrap(counted.wrapped_package, context))
    package.key.check(counted.release.key_commitment)
    return Answer(
        release=release,
        sealed_key=seal_package(package, release, recipient_public),
        sequence=counted.release.sequence,
        prints_left=counted.prints_left,
        spares_left=counted.spares_left,
    )


# --- outcomes ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Report:
    """An agent's report of how a print ended: the signed outcome, and the receipt that its digest stands for."""

    signed: SignedOutcome
    receipt_salt: Digest32
    statement: bytes
    envelope_signature: bytes


@dataclass(frozen=True, slots=True)
class OutcomeAnswer:
    """The promise (compact JWS), the countersigned receipt, and what is left."""

    promise: str
    receipt: Envelope
    spare_used: bool
    prints_left: int
    spares_left: int


async def check_report(session: AsyncSession, container: Container, report: Report) -> Envelope:
    """Pass when the agent signed outcome and receipt, and both say the same; return the agent's envelope.

    Errors: NotFoundError `token-unknown`; MalformedError; VerificationError `signature-invalid`, `receipt-digest`,
        `receipt-mismatch`.
    """
    outcome = report.signed.outcome
    agent = await agent_of(session, container, outcome.token_id)
    report.signed.verify(agent, container.chain.deployment.ledger_domain())
    found = receipt_digest(report.receipt_salt, report.statement)
    if found != outcome.receipt_digest:
        raise VerificationError(
            "the outcome is about another receipt",
            step="outcome",
            code="receipt-digest",
            expected=digest_text(outcome.receipt_digest),
            found=digest_text(found),
        )
    receipt = Receipt.parse(report.statement)
    row = await repository.get_token(session, outcome.token_id)
    if row is None:
        raise token_errors.token_unknown()
    stated = (receipt.token_id, receipt.sequence, receipt.result, receipt.design_id, receipt.revision)
    if stated != (outcome.token_id, outcome.sequence, report.signed.result(), row.design_id, row.revision) or (
        receipt.license_id != row.license_id
    ):
        raise VerificationError(
            "the receipt is about another print than the outcome",
            step="outcome",
            code="receipt-mismatch",
            expected=f"print {outcome.sequence} of {id_text(outcome.token_id)}, {result_text(report.signed.result())}",
            found=f"print {receipt.sequence} of {id_text(receipt.token_id)}, {result_text(receipt.result)}",
        )
    envelope = Envelope(report.statement, agent, report.envelope_signature)
    envelope.verify_agent(agent)
    return envelope


async def record_outcome(
    session: AsyncSession, container: Container, report: Report, envelope: Envelope
) -> OutcomeAnswer:
    """Record the one final outcome of a print; the report was checked. The same report has the same answer.

    Whether it uses a spare is decided under the token's lock: it gives its print back while spares last and the
    counts are not frozen by a close. An outcome that is known has its stored answer in quarantine too.

    Errors: NotFoundError `print-unknown`; ConflictError `outcome-exists`, `outcome-late`; UnavailableError
        `quarantine`.
    """
    outcome = report.signed.outcome
    row = (await repository.lock_tokens(session, [outcome.token_id])).get(outcome.token_id)
    known = await repository.get_outcome(session, outcome.token_id, outcome.sequence)
    if row is not None and known is not None:
        if (known.result, known.receipt_digest) != (outcome.result, outcome.receipt_digest):
            raise errors.outcome_final(result_text(Result(known.result)))
        if known.promise is None:
            await _complete_outcome(session, container, await tokens.open_log(session), known, report)
        return _stored_outcome(container, row, known, envelope)
    head = await tokens.open_log(session)
    if row is None or await repository.get_print(session, outcome.token_id, outcome.sequence) is None:
        raise errors.print_unknown()
    progress = await tokens.progress_of(session, container)
    now = chain_now(container.clock, progress.head.timestamp)
    if row.ended_at is not None or now + head.merge_delay_seconds > row.expires_at + OUTCOME_SECONDS:
        raise errors.outcome_late()
    frozen = row.closed_block is not None or row.reclaimed_block is not None or tokens.is_closing(row, progress)
    result = report.signed.result()
    spare_used = gives_back(result) and not frozen and await repository.use_spare(session, row.token_id)
    entry = OutcomeEntry(
        token_id=outcome.token_id,
        sequence=outcome.sequence,
        result=result,
        spare_used=spare_used,
        receipt_digest=outcome.receipt_digest,
        signature=report.signed.signature,
    ).to_bytes()
    leaf = merkle.leaf_hash(entry)
    await repository.add_entries(session, [repository.entry_values(OutcomeEntry.KIND, row.token_id, entry, leaf, now)])
    known = PrintOutcome(
        token_id=outcome.token_id,
        sequence=outcome.sequence,
        result=int(result),
        spare_used=spare_used,
        receipt_digest=outcome.receipt_digest,
        signature=report.signed.signature,
        leaf_hash=leaf,
        epoch=head.epoch,
        created_at=now,
    )
    session.add(known)
    journal.record(
        session,
        container.clock,
        actor=row.agent,
        action="print.outcome",
        subject=id_text(row.token_id),
        detail={"sequence": outcome.sequence, "result": result_text(result)},
    )
    await _complete_outcome(session, container, head, known, report)
    await session.refresh(row)
    return _stored_outcome(container, row, known, envelope)


async def _complete_outcome(
    session: AsyncSession, container: Container, head: LogHead, known: PrintOutcome, report: Report
) -> None:
    """Add to an outcome what the log does not hold: the receipt, and the promise for the outcome's leaf."""
    known.receipt_salt = report.receipt_salt
    known.receipt = report.statement
    known.envelope_signature = report.envelope_signature
    known.promise = Promise(
        origin=head.origin,
        leaf_hash=known.leaf_hash,
        token_id=known.token_id,
        sequence=known.sequence,
        result=Result(known.result),
        spare_used=known.spare_used,
        merge_by=UnixSeconds(known.created_at + head.merge_delay_seconds),
        profile_digest=head.profile_digest,
    ).sign(profiles.signer_of(container, await profiles.profile_of(session, container, head.profile_digest)))
    await session.flush()


def _stored_outcome(container: Container, row: Token, known: PrintOutcome, envelope: Envelope) -> OutcomeAnswer:
    promise = known.promise or ""
    return OutcomeAnswer(
        promise=promise,
        receipt=envelope.countersign(profiles.signer_again(container, promise)),
        spare_used=known.spare_used,
        prints_left=tokens.prints_left(row),
        spares_left=row.spares - row.voided,
    )


def envelope_of(container: Container, known: PrintOutcome, agent: Address, profile: GatewayProfile) -> Envelope | None:
    """Return a stored receipt, countersigned under a profile; None for an outcome that was rebuilt from the log."""
    if known.receipt is None or known.envelope_signature is None:
        return None
    return Envelope(known.receipt, agent, known.envelope_signature).countersign(profiles.signer_of(container, profile))


# --- the end of a token -----------------------------------------------------------------------------------


async def end_finished(session: AsyncSession, container: Container) -> int:
    """Write the last log entry of tokens that yield no more prints and whose outcomes are all in, or too late.

    Nothing about a token follows that entry. Returns how many tokens ended.
    """
    progress = await container.index.progress(session)
    head = await tokens.open_log(session)
    if progress is None:
        return 0
    now = chain_now(container.clock, progress.head.timestamp)
    late = UnixSeconds(now + head.merge_delay_seconds - OUTCOME_SECONDS)
    found = await repository.finished_tokens(
        session,
        container.vault.account,
        final_block=progress.final.number,
        now=now,
        outcomes_until=late,
        limit=_ENDED_AT_ONCE,
    )
    ended = 0
    for row in (await repository.lock_tokens(session, found)).values():
        if row.ended_at is not None or (row.closed_block is None and tokens.is_closing(row, progress)):
            continue
        if row.closed_block is not None:
            reason = CloseReason.AGREED
        else:
            reason = CloseReason.STOPPED if row.stopped_at is not None else CloseReason.EXPIRED
        entry = ClosedEntry(row.token_id, row.released, row.voided, reason).to_bytes()
        await repository.add_entries(
            session,
            [repository.entry_values(ClosedEntry.KIND, row.token_id, entry, merkle.leaf_hash(entry), now)],
        )
        row.ended_at = now
        journal.record(
            session, container.clock, actor=journal.GATEWAY, action="token.end", subject=id_text(row.token_id)
        )
        ended += 1
    await session.flush()
    return ended
