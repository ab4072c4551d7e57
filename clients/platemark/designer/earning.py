"""What licences owe an account, taken out; prints that were paid as printed and not reserved, given back.

Withdrawals and returns are signatures that the gateway brings to the chain. `withdraw_for` and `return_for` are
transactions of somebody's own: the first pays a contract that owns designs and cannot sign, the second frees what an
ended licence still holds.
"""

from collections.abc import Callable, Sequence

from platemark.designer.signing import Signer
from platemark.errors import Kind, RefusedError, VerificationError
from platemark.protocol.accounts import AccountKey
from platemark.protocol.typed_data import Return, Withdrawal
from platemark.protocol.units import Address, Wei, address_text, digest_text
from platemark.sdk.answers import Owed, TransactionState
from platemark.sdk.chain import ChainClient, Sent
from platemark.sdk.gateway import GatewayClient
from platemark.sdk.licenses import License
from platemark.sdk.trust import TrustedGateway
from platemark.sdk.waiting import Patience, final_in


class Earner(Signer):
    """Acts for one account that licences owe something, or that holds prints to give back."""

    def withdraw(self, currency: Address, to: Address, *, at_least: Wei) -> TransactionState | None:
        """Have everything that is owed in a currency paid out to an account, and return the final transaction.

        Args:
            currency: Zero is the chain's coin.
            to: Who gets it.
            at_least: What must be owed when it is brought, usually what is owed now; while it is less, the contract
                refuses, and nobody uses the signature up.

        Errors: RefusedError `nothing-owed`; those of the gateway and the contract (`owed-too-little`).
        """
        if not at_least:
            raise RefusedError(
                "nothing is owed to this account in this currency", kind=Kind.CONFLICT, code="nothing-owed"
            )
        made = Withdrawal(self._account.address, currency, to, at_least, self._number(), self._deadline())
        return self._until_final(self._client.withdraw(made, self._sign(made)), "the payment")

    def return_prints(self, license_: License, prints: int) -> TransactionState | None:
        """Give unreserved prints back for their price, which is owed to the account then; returns as `withdraw`.

        Errors: RefusedError `not-returnable`; those of the gateway and the contract.
        """
        _require_returnable(license_)
        made = Return(self._account.address, license_.state.license_id, prints, self._number(), self._deadline())
        return self._until_final(self._client.return_prints(made, self._sign(made)), "the return")

    def _until_final(self, transaction: str | None, what: str) -> TransactionState | None:
        self._tell(f"{what} is on its way; {self._when_final()}")
        return self._until_sent(transaction)


def _require_returnable(license_: License) -> None:
    if license_.terms.payout == 0:
        raise RefusedError(
            "the price of these prints was paid out at purchase",
            kind=Kind.CONFLICT,
            code="not-returnable",
            hint="only prints of a licence that pays as printed are returned",
        )


def earnings(client: GatewayClient, gateway: TrustedGateway, payee: Address, chain: ChainClient | None) -> list[Owed]:
    """Return what the contract owes an account, by currency; with a chain endpoint, each amount is the chain's.

    Errors: VerificationError `earnings-differ` when the gateway answers for another account.
    """
    told = client.earnings(payee)
    if told.payee != payee:
        raise VerificationError(
            "the gateway told what somebody else is owed",
            step="earnings",
            code="earnings-differ",
            expected=address_text(payee),
            found=address_text(told.payee),
        )
    if chain is None:
        return list(told.items)
    return [Owed(item.currency, owed(chain, gateway, payee, item.currency)) for item in told.items]


def owed(chain: ChainClient, gateway: TrustedGateway, payee: Address, currency: Address) -> Wei:
    """Return what the contract owes an account in a currency, by the chain's latest block."""
    license_contract = gateway.deployment.license
    found = chain.read("PrintLicense", license_contract, "owed", address_text(payee), address_text(currency))
    return Wei(int(found))


def withdraw_for(
    account: AccountKey,
    payee: Address,
    currencies: Sequence[Address],
    *,
    gateway: TrustedGateway,
    chain: ChainClient,
    tell: Callable[[str], None],
    patience: Patience,
) -> list[Sent]:
    """Send a payee what it is owed, in each currency where that is something, with transactions of `account`."""
    sent = []
    deployment = gateway.deployment
    for currency in currencies:
        if not owed(chain, gateway, payee, currency):
            continue
        transaction = chain.transact(
            account,
            "PrintLicense",
            deployment.license,
            "withdrawFor",
            address_text(payee),
            address_text(currency),
            chain_id=deployment.chain_id,
        )
        tell(f"sent: {digest_text(transaction)}; {final_in(gateway.final_after_seconds)}")
        sent.append(chain.wait(transaction, seconds=patience.seconds))
    return sent


def return_for(
    account: AccountKey,
    license_: License,
    holder: Address,
    *,
    gateway: TrustedGateway,
    chain: ChainClient,
    tell: Callable[[str], None],
    patience: Patience,
) -> Sent:
    """Return all that a holder has unreserved of an ended licence for its price, with a transaction of `account`.

    The price is owed to the holder; cap and edition are free again.

    Errors: RefusedError `not-returnable`; the contract's (`license-not-ended`).
    """
    _require_returnable(license_)
    deployment = gateway.deployment
    transaction = chain.transact(
        account,
        "PrintLicense",
        deployment.license,
        "returnPrintsFor",
        license_.state.license_id,
        address_text(holder),
        chain_id=deployment.chain_id,
    )
    tell(f"sent: {digest_text(transaction)}; {final_in(gateway.final_after_seconds)}")
    return chain.wait(transaction, seconds=patience.seconds)
