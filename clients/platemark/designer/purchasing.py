"""Buying prints of a licence that is on sale, with a transaction that the buyer's own key signs and pays.

The price is computed from the checked terms; the contract refuses any other. In the chain's coin it goes along with the
transaction. In a token, the contract takes it: by a permit for exactly the price that goes along too, where the token
knows them (ERC-2612), otherwise after a transaction of the buyer's that approves exactly the price.
"""

from collections.abc import Callable
from typing import Final

from platemark.designer.licensing import check_room
from platemark.errors import Kind, RefusedError
from platemark.protocol.accounts import AccountKey
from platemark.protocol.units import ZERO_ADDRESS, Digest32, UnixSeconds, Wei, address_text, digest_text
from platemark.sdk.chain import ChainClient, Sent
from platemark.sdk.clock import Clock
from platemark.sdk.erc20 import SignedPermit, Token
from platemark.sdk.licenses import License
from platemark.sdk.trust import TrustedGateway
from platemark.sdk.waiting import Patience, final_in

PERMIT_SECONDS: Final = 3600
"""How long a signed permit may be used."""


def buy(
    account: AccountKey,
    license_: License,
    prints: int,
    *,
    gateway: TrustedGateway,
    chain: ChainClient,
    clock: Clock,
    tell: Callable[[str], None],
    patience: Patience,
) -> Sent:
    """Buy prints and return the purchase once it is final.

    Errors: RefusedError `not-on-sale`, `cap-exceeded`, `coin-missing`, `tokens-missing`; the contract's.
    """
    terms, state = license_.terms, license_.state
    if not state.on_sale:
        raise RefusedError(
            "this licence is not on sale", kind=Kind.CONFLICT, code="not-on-sale", hint="its owner can mint prints"
        )
    check_room(state, prints)
    price = Wei(terms.price * prints)
    deployment = gateway.deployment
    to = (state.license_id, address_text(account.address), prints)

    def send(function: str, *arguments: object, value: Wei = Wei(0)) -> Digest32:  # noqa: B008 (an integer)
        return chain.transact(
            account,
            "PrintLicense",
            deployment.license,
            function,
            *to,
            *arguments,
            chain_id=deployment.chain_id,
            value=value,
        )

    if terms.currency == ZERO_ADDRESS:
        transaction = send("purchase", value=price)
    else:
        token = Token(chain, deployment.chain_id, terms.currency)
        permit = _allowed(account, token, gateway, price, clock=clock, tell=tell, patience=patience)
        if permit is None:
            transaction = send("purchase")
        else:
            transaction = send("purchaseWithPermit", permit.permit.deadline, permit.v, permit.r, permit.s)
    tell(f"the purchase is sent: {digest_text(transaction)}; {final_in(gateway.final_after_seconds)}")
    return chain.wait(transaction, seconds=patience.seconds)


def _allowed(
    account: AccountKey,
    token: Token,
    gateway: TrustedGateway,
    price: int,
    *,
    clock: Clock,
    tell: Callable[[str], None],
    patience: Patience,
) -> SignedPermit | None:
    """Return a permit for the price, or None once the contract may take the price without one."""
    spender = gateway.deployment.license
    if token.balance(account.address) < price:
        raise RefusedError(
            f"the account has too little of the token {address_text(token.address)}",
            kind=Kind.CONFLICT,
            code="tokens-missing",
            hint="send it some, then try again",
        )
    allowance = token.allowance(account.address, spender)
    if allowance >= price:
        return None
    permit = token.permit(account, spender, price, UnixSeconds(clock.now() + PERMIT_SECONDS))
    if permit is not None:
        tell("the token takes a signed permit for exactly the price: one transaction is enough")
        return permit
    if allowance:
        # Some tokens let nobody change an allowance but to or from nothing.
        chain_hash = token.approve(account, spender, 0)
        token.chain.wait(chain_hash, final=False, seconds=patience.seconds)
    approved = token.approve(account, spender, price)
    tell(f"the token is asked to let the contract take exactly the price: {digest_text(approved)}")
    token.chain.wait(approved, final=False, seconds=patience.seconds)
    return None
