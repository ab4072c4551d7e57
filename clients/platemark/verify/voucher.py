"""Steps 7 and 8: the holder permitted the agent, and the agent signed each request and outcome."""

from platemark.protocol.accounts import recover
from platemark.protocol.log_entry import OutcomeEntry, RedeemedEntry
from platemark.protocol.typed_data import Domain
from platemark.protocol.units import Address, Digest32, address_text, digest_text, id_text
from platemark.verify.facts import Contracts, ReservationFact
from platemark.verify.steps import Step, require


def check_permission(fact: ReservationFact, contracts: Contracts, *, signature: bytes | None = None) -> None:
    """Pass when the token's id is the digest of the permission, and the ledger's storage names its agent.

    `signature`, where it is at hand, must be the holder's. The ledger checked it when the prints were reserved, also
    for contract wallets, whose signatures cannot be recovered here: give none for those.

    Errors: VerificationError `permission-digest`, `agent-mismatch`, `prints-mismatch`, `not-holder`; MalformedError
        `signature-invalid`.
    """
    digest = fact.permission.digest(contracts.ledger_domain)
    found = int.from_bytes(digest, "big")
    require(
        found == fact.token_id,
        Step.PERMISSION,
        "the token's id is not the digest of its permission",
        code="permission-digest",
        expected=id_text(fact.token_id),
        found=id_text(found),
    )
    require(
        fact.agent_in_storage == fact.permission.agent,
        Step.PERMISSION,
        "the ledger holds another agent than the permission names",
        code="agent-mismatch",
        expected=address_text(fact.permission.agent),
        found=address_text(fact.agent_in_storage),
    )
    require(
        fact.prints_in_storage == fact.permission.prints,
        Step.PERMISSION,
        "the ledger holds another number of prints than the permission names",
        code="prints-mismatch",
        expected=fact.permission.prints,
        found=fact.prints_in_storage,
    )
    if signature is not None:
        _check_signer(Step.PERMISSION, "permission", "not-holder", digest, signature, fact.permission.holder)


def check_redeemed(entry: RedeemedEntry, agent: Address, domain: Domain) -> None:
    """Pass when the agent signed the request that the entry records.

    Errors: VerificationError or MalformedError `signature-invalid`.
    """
    digest = entry.redemption().digest(domain)
    _check_signer(Step.VOUCHER, "request", "signature-invalid", digest, entry.signature, agent)


def check_outcome(entry: OutcomeEntry, agent: Address, domain: Domain) -> None:
    """Pass when the agent signed the outcome that the entry records.

    Errors: VerificationError or MalformedError `signature-invalid`.
    """
    digest = entry.outcome().digest(domain)
    _check_signer(Step.VOUCHER, "outcome", "signature-invalid", digest, entry.signature, agent)


def check_seen_block(entry: RedeemedEntry, known_hash: Digest32 | None) -> None:
    """Pass when the block that the agent says it saw is a block of this chain.

    Errors: VerificationError `seen-block`.
    """
    require(
        known_hash == entry.seen_hash,
        Step.VOUCHER,
        f"the request cites a block {entry.seen_block} that this chain does not have",
        code="seen-block",
        expected="no such block" if known_hash is None else digest_text(known_hash),
        found=digest_text(entry.seen_hash),
    )


def _check_signer(step: Step, what: str, code: str, digest: Digest32, signature: bytes, expected: Address) -> None:
    found = recover(digest, signature)
    require(
        found == expected,
        step,
        f"the {what} is signed by another account",
        code=code,
        expected=address_text(expected),
        found=address_text(found),
    )
