"""Offering licences, minting their prints, opening their sale, raising and moving them: all by signature.

The numbers are those of docs/flows/licensing.md:

    1 terms and their document are made from one source, so that numbers and words agree
    2 the gateway accepts: it holds the key of this revision and will serve these terms
    3 the acceptance is checked, then the offer is signed and brought to the chain
    4 prints are minted by the owner's signature, or bought (`purchasing`)
    5 later: the sale is opened or ended, the revision raised, the licence moved to another gateway (`moving`)
    6 what was earned is withdrawn, what was not printed returned (`earning`)
"""

import secrets
from collections import Counter
from collections.abc import Callable, Sequence

from platemark.designer.signing import OFFER_SECONDS, Signer
from platemark.errors import Kind, RefusedError, UsageError
from platemark.protocol.accounts import AccountKey
from platemark.protocol.manifest import Manifest
from platemark.protocol.terms_document import TermsDocument
from platemark.protocol.typed_data import Acceptance, Grant, Mint, MintBatch, Move, Offer, Sale
from platemark.protocol.units import (
    Address,
    Digest32,
    LicenseId,
    UnixSeconds,
    address_text,
    digest32,
    id_text,
)
from platemark.sdk.answers import LicenseState, SignedAcceptance, TransactionState
from platemark.sdk.chain import ChainClient
from platemark.sdk.clock import Clock
from platemark.sdk.gateway import GatewayClient
from platemark.sdk.licenses import License, check_license_id, fetch_license
from platemark.sdk.trust import TrustedGateway, check_acceptance
from platemark.sdk.waiting import Patience, failed


class Licensor(Signer):
    """Offers licences and mints prints as a design's owner, through a gateway."""

    def __init__(
        self,
        client: GatewayClient,
        gateway: TrustedGateway,
        account: AccountKey,
        *,
        clock: Clock,
        chain: ChainClient | None,
        tell: Callable[[str], None],
        patience: Patience,
        randomness: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        """Args: see the classes; `tell` gets one line about what happens next."""
        super().__init__(client, gateway, account, clock=clock, tell=tell, patience=patience, randomness=randomness)
        self._chain = chain

    def offer(
        self, document: TermsDocument, *, revision: int, key_commitment: Digest32, on_sale: bool
    ) -> tuple[LicenseId, LicenseState]:
        """Offer a licence and return it once its offer is final (steps 1 to 3).

        Args:
            document: What the designer chose.
            revision: The design's revision that the gateway must be able to deliver.
            key_commitment: Of that revision's content key.
            on_sale: Whether anybody may buy; otherwise the owner mints.

        Errors: those of the gateway and the contract; VerificationError `acceptance`.
        """
        if document.gateway != self._gateway.address:
            raise UsageError("the terms name another gateway", code="gateway-mismatch")
        domain = self._gateway.deployment.license_domain
        terms = document.terms(digest32(self._randomness(32)))
        license_id = terms.license_id(domain)
        signed = self._client.acceptance(document.design_id, revision, terms, document.to_json())
        now = self._clock.now()
        acceptance = check_acceptance(
            signed,
            gateway=self._gateway,
            design_id=document.design_id,
            revision=revision,
            key_commitment=key_commitment,
            terms_digest=terms.terms_digest,
            now=now,
            chain=self._chain,
        )
        self._tell("the gateway accepts: it holds the key and will serve these terms")
        offer = Offer(terms, on_sale, UnixSeconds(now + OFFER_SECONDS))
        self._client.offer(
            terms,
            on_sale=on_sale,
            deadline=offer.deadline,
            signature=self._account.sign(offer.digest(domain)),
            acceptance=acceptance,
            acceptance_signature=signed.signature,
            document=document.to_json(),
        )
        self._tell(f"licence {id_text(license_id)} is on its way to the chain; {self._when_final()}")
        return license_id, self._until_final(license_id)

    def mint(self, license_id: LicenseId, to: Address, prints: int) -> TransactionState | None:
        """Mint prints of a licence to an account and return the final transaction (step 4), if one was needed.

        Errors: RefusedError `cap-exceeded` before anything is sent; those of the gateway and the contract.
        """
        license_ = fetch_license(self._client, self._gateway, license_id)
        check_room(license_.state, prints)
        mint = Mint(self._account.address, license_id, to, prints, self._number(), self._deadline())
        transaction = self._client.mint(mint, self._sign(mint))
        self._tell(f"{prints} prints for {address_text(to)} are on their way; {self._when_final()}")
        return self._until_sent(transaction)

    def mint_all(self, grants: Sequence[Grant]) -> TransactionState | None:
        """Mint prints to several accounts under one signature, all or none, and return as `mint`.

        Errors: as `mint`, `cap-exceeded` for each licence's prints together.
        """
        totals: Counter[LicenseId] = Counter()
        for grant in grants:
            totals[grant.license_id] += grant.prints
        for license_id, prints in totals.items():
            check_room(fetch_license(self._client, self._gateway, license_id).state, prints)
        minting = MintBatch(self._account.address, tuple(grants), self._number(), self._deadline())
        transaction = self._client.mint_batch(minting, self._sign(minting))
        self._tell(
            f"{totals.total()} prints for {len(grants)} accounts are on their way, all or none; {self._when_final()}"
        )
        return self._until_sent(transaction)

    def raise_revision(
        self, license_id: LicenseId, *, revision: int, key_commitment: Digest32
    ) -> TransactionState | None:
        """Let a licence's prints be of a later revision: the gateway accepts it and brings that to the chain.

        Returns the final transaction, None when the licence is at that revision.

        Errors: RefusedError `license-moved`; VerificationError `acceptance`, `license-differs`; those of the gateway.
        """
        found = fetch_license(self._client, self._gateway, license_id)
        signed, acceptance = self._accepted(found, revision=revision, key_commitment=key_commitment)
        transaction = self._client.raise_revision(license_id, acceptance, signed.signature)
        self._tell(f"the gateway accepts revision {revision}; {self._when_final()}")
        return self._until_sent(transaction)

    def set_sale(self, license_id: LicenseId, *, on_sale: bool) -> TransactionState | None:
        """Open or end a licence's sale to strangers, by signature; returns as `mint`."""
        sale = Sale(self._account.address, license_id, on_sale, self._number(), self._deadline())
        transaction = self._client.set_sale(sale, self._sign(sale))
        self._tell(f"the sale is being {'opened' if on_sale else 'ended'}; {self._when_final()}")
        return self._until_sent(transaction)

    def move_here(
        self, license_id: LicenseId, document: TermsDocument, *, revision: int, key_commitment: Digest32
    ) -> LicenseState:
        """Move a licence to this licensor's gateway and return it once that is final.

        The gateway must hold the key of `revision`; `document` is the licence's, checked.

        Errors: VerificationError `acceptance`, `license-differs`, `terms-differ`; the gateway's and the contract's.
        """
        state = self._client.license(license_id)
        check_license_id(state, license_id, self._gateway)
        document.check_terms(state.terms)
        found = License(state, document)
        signed, acceptance = self._accepted(found, revision=revision, key_commitment=key_commitment)
        self._tell("the new gateway accepts: it holds the key and will serve these terms")
        move = Move(self._account.address, license_id, self._gateway.address, self._number(), self._deadline())
        transaction = self._client.move(
            move,
            self._sign(move),
            acceptance=acceptance,
            acceptance_signature=signed.signature,
            document=document.to_json(),
        )
        self._tell(f"the licence is on its way to {address_text(self._gateway.address)}; {self._when_final()}")
        self._until_sent(transaction)
        return self._patience.until(
            lambda: self._client.license(license_id), lambda now: now.gateway == self._gateway.address, "the move"
        )

    def _accepted(
        self, found: License, *, revision: int, key_commitment: Digest32
    ) -> tuple[SignedAcceptance, Acceptance]:
        terms = found.terms
        signed = self._client.acceptance(terms.design_id, revision, terms, found.document.to_json())
        return signed, check_acceptance(
            signed,
            gateway=self._gateway,
            design_id=terms.design_id,
            revision=revision,
            key_commitment=key_commitment,
            terms_digest=terms.terms_digest,
            now=self._clock.now(),
            chain=self._chain,
        )

    def _until_final(self, license_id: LicenseId) -> LicenseState:
        def final(state: LicenseState) -> bool:
            if state.status == "failed":
                reason = None if state.transaction is None else self._client.transaction(state.transaction).reason
                raise failed("offer", reason)
            return state.status == "final"

        return self._patience.until(lambda: self._client.license(license_id), final, "the offer")


def check_materials(document: TermsDocument, manifest: Manifest) -> None:
    """Pass when some material is allowed by terms and design alike; an agent would refuse every print otherwise.

    Errors: UsageError `materials-exclusive`.
    """
    ours, theirs = document.materials, manifest.constraints.materials
    if ours and theirs and not {name.casefold() for name in ours} & {name.casefold() for name in theirs}:
        raise UsageError(
            f"the terms allow {' or '.join(ours)}, the design {' or '.join(theirs)}",
            code="materials-exclusive",
            hint="--material NAME, or --any-material",
        )


def check_room(state: LicenseState, prints: int) -> None:
    """Pass when a licence has so many prints left; the contract decides, this says it earlier.

    Errors: UsageError for no prints; RefusedError `cap-exceeded`.
    """
    if prints < 1:
        raise UsageError("at least one print", hint="--prints N")
    left = state.terms.cap - state.minted
    if prints > left:
        raise RefusedError(
            f"the licence has {left} of {state.terms.cap} prints left, not {prints}",
            kind=Kind.CONFLICT,
            code="cap-exceeded",
            hint="its cap is final; the design's owner can offer another licence: platemark license offer",
        )
