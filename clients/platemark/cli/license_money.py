"""`platemark license buy | return | earnings | withdraw`: what prints cost, and what licences earn."""

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Final

import typer

from platemark.cli import values
from platemark.cli.config import Connection, Invocation, invocation
from platemark.cli.token import LicenseArgument
from platemark.cli.ui import plural
from platemark.errors import PlatemarkError, UsageError
from platemark.protocol.canonical import JsonValue
from platemark.protocol.units import ZERO_ADDRESS, Address, LicenseId, Wei, address_text, digest_text, id_text

if TYPE_CHECKING:
    from platemark.designer.earning import Earner
    from platemark.protocol.typed_data import Terms
    from platemark.sdk.erc20 import Token

_GATEWAY_SECONDS: Final = 60
Prints = Annotated[int, typer.Option(min=1, help="How many.")]
Currency = Annotated[str | None, typer.Option(metavar="ADDRESS", help="An ERC-20; the chain's coin by default.")]


def buy(context: typer.Context, license_id: LicenseArgument, prints: Prints) -> None:
    """Buy prints with a transaction that your key signs and pays; needs a chain endpoint."""
    from platemark.designer.purchasing import buy as buy_prints
    from platemark.sdk.licenses import fetch_license

    run = invocation(context)
    typed, chain = values.id_text_of(license_id, "licence"), run.required_chain
    with run.connect(run.account) as connection:
        number = values.license_id(typed, connection)
        run.unfinished.hint = (
            f"the purchase may be under way; look before you repeat it: {look(number, run.account.address)}"
        )
        found = fetch_license(connection.client, connection.gateway, number)
        cost = Wei(found.terms.price * prints)
        run.ui.tell(f"{plural(prints, 'print')} for {_shown(run, connection, cost, found.terms.currency)}")
        sent = buy_prints(
            run.account,
            found,
            prints,
            gateway=connection.gateway,
            chain=chain,
            clock=connection.clock,
            tell=run.ui.tell,
            patience=run.patience,
        )
        holder = address_text(run.account.address)
        balance = int(chain.read("PrintLicense", connection.gateway.deployment.license, "balanceOf", holder, number))
        _await_gateway(run, connection, number, found.state.minted + prints)
    run.ui.result(
        {
            "licenseId": id_text(number),
            "prints": prints,
            "paid": str(cost),
            "currency": address_text(found.terms.currency),
            "balance": balance,
            "transaction": digest_text(sent.hash),
            "block": sent.block,
        },
        [f"{holder} holds {plural(balance, 'print')}"],
    )
    run.ui.tell(f"next: platemark token request {id_text(number)} --prints {prints}")
    if found.terms.payout:
        run.ui.tell(
            f"what you do not reserve, you may give back: platemark license return {id_text(number)} --prints N"
        )


def _await_gateway(run: Invocation, connection: Connection, license_id: LicenseId, minted: int) -> None:
    """Wait until the gateway has read a purchase too, which is made in any case."""
    patience = replace(run.patience, seconds=min(run.patience.seconds, _GATEWAY_SECONDS))
    try:
        patience.until(lambda: connection.client.license(license_id).minted, lambda found: found >= minted, "it")
    except PlatemarkError:
        run.ui.tell("the gateway has not read the purchase so far; it will")


def return_(
    context: typer.Context,
    license_id: LicenseArgument,
    prints: Annotated[int | None, typer.Option(min=1, help="How many.")] = None,
    holder: Annotated[
        str | None,
        typer.Option("--for", metavar="ADDRESS", help="Return all that somebody else has of a licence that ended."),
    ] = None,
) -> None:
    """Give back prints that are paid as printed and not reserved, by signature; with --for by a transaction."""
    from platemark.sdk.licenses import fetch_license

    run = invocation(context)
    typed = values.id_text_of(license_id, "licence")
    if (prints is None) == (holder is None):
        raise UsageError("how many of your prints, or whose", hint="give either --prints or --for")
    if prints is None:
        _return_for(run, typed, values.address(str(holder)))
        return
    with run.connect(run.account) as connection:
        number = values.license_id(typed, connection)
        found = fetch_license(connection.client, connection.gateway, number)
        state = _earner(run, connection).return_prints(found, prints)
        balance = connection.client.balance(number, run.account.address)
        refund = Wei(found.terms.price * prints)
        shown = _shown(run, connection, refund, found.terms.currency)
    run.ui.result(
        {
            "licenseId": id_text(number),
            "prints": prints,
            "refund": str(refund),
            "currency": address_text(found.terms.currency),
            "balance": balance,
            "transaction": values.transaction_hash(state),
        },
        [f"{plural(prints, 'print')} returned for {shown}; {plural(balance, 'print')} left"],
    )
    option = "" if found.terms.currency == ZERO_ADDRESS else f" --currency {address_text(found.terms.currency)}"
    run.ui.tell(f"the refund is owed to you; next: platemark license withdraw{option}")


def _return_for(run: Invocation, typed: str, holder: Address) -> None:
    from platemark.designer.earning import return_for
    from platemark.sdk.licenses import fetch_license

    chain = run.required_chain
    with run.connect(run.account) as connection:
        number = values.license_id(typed, connection)
        found = fetch_license(connection.client, connection.gateway, number)
        sent = return_for(
            run.account,
            found,
            holder,
            gateway=connection.gateway,
            chain=chain,
            tell=run.ui.tell,
            patience=run.patience,
        )
    run.ui.result(
        {"licenseId": id_text(number), "holder": address_text(holder), "transaction": digest_text(sent.hash)},
        [f"what {address_text(holder)} had is returned; the price is owed to that account"],
    )


def earnings(
    context: typer.Context,
    payee: Annotated[str | None, typer.Option(metavar="ADDRESS", help="Another account's; yours by default.")] = None,
) -> None:
    """Show what sales, counted prints and returns owe an account and was not withdrawn yet."""
    from platemark.designer.earning import earnings as told

    run = invocation(context)
    account = run.account.address if payee is None else values.address(payee)
    with run.connect() as connection:
        found = told(connection.client, connection.gateway, account, connection.chain)
        rows = [(item, _shown(run, connection, item.owed, item.currency)) for item in found]
    items: list[JsonValue] = [{"currency": address_text(item.currency), "owed": str(item.owed)} for item, _ in rows]
    run.ui.result(
        {"address": address_text(account), "earnings": items},
        [shown for _, shown in rows] or ["nothing yet"],
    )
    if any(item.owed for item in found):
        run.ui.tell("next: platemark license withdraw --to ADDRESS")


def withdraw(
    context: typer.Context,
    to: Annotated[str | None, typer.Option(help="Where it goes; your own account by default.")] = None,
    currency: Currency = None,
    payee: Annotated[
        str | None,
        typer.Option("--for", metavar="ADDRESS", help="Send another payee, such as a contract, what it is owed."),
    ] = None,
) -> None:
    """Take out what licences owe you, by signature; with --for by a transaction of your own."""
    from platemark.designer.earning import earnings as told

    run = invocation(context)
    token = ZERO_ADDRESS if currency is None else values.address(currency)
    if payee is not None and to is not None:
        raise UsageError("what is sent to another payee goes to that payee", hint="leave out --to, or --for")
    if payee is not None:
        _withdraw_for(run, values.address(payee), token)
        return
    target = run.account.address if to is None else values.address(to)
    with run.connect(run.account) as connection:
        found = told(connection.client, connection.gateway, run.account.address, connection.chain)
        owed = next((item.owed for item in found if item.currency == token), Wei(0))
        state = _earner(run, connection).withdraw(token, target, at_least=owed)
        shown = _shown(run, connection, owed, token)
    run.ui.result(
        {
            "address": address_text(run.account.address),
            "currency": address_text(token),
            "amount": str(owed),
            "to": address_text(target),
            "transaction": values.transaction_hash(state),
        },
        [f"{shown} went to {address_text(target)}"],
    )


def _withdraw_for(run: Invocation, payee: Address, token: Address) -> None:
    from platemark.designer.earning import owed, withdraw_for

    chain = run.required_chain
    with run.connect(run.account) as connection:
        amount = owed(chain, connection.gateway, payee, token)
        sent = withdraw_for(
            run.account,
            payee,
            [token],
            gateway=connection.gateway,
            chain=chain,
            tell=run.ui.tell,
            patience=run.patience,
        )
        shown = _shown(run, connection, amount, token)
    run.ui.result(
        {
            "address": address_text(payee),
            "currency": address_text(token),
            "amount": str(amount),
            "to": address_text(payee),
            "transaction": digest_text(sent[0].hash) if sent else None,
        },
        [f"{shown} went to {address_text(payee)}" if sent else "nothing is owed to it in this currency"],
    )


def look(license_id: LicenseId, holder: Address) -> str:
    """Return the command that shows what a holder has of a licence."""
    return f"platemark license show {id_text(license_id)[:14]} --holder {address_text(holder)}"


def price(run: Invocation, connection: Connection, text: str, token: Address) -> Wei:
    """Return a price that a person typed, in the currency's smallest unit; the chain knows a token's decimals."""
    if token == ZERO_ADDRESS:
        return values.coin(text)

    def decimals() -> int:
        if run.chain is None:
            raise UsageError(
                "only the chain knows how many decimal places the token has",
                hint="give --rpc URL, or the price in the smallest unit: --price '1250 units'",
            )
        return _token(run, connection, token).decimals()

    return Wei(values.amount(text, decimals))


def price_text(terms: "Terms") -> str:
    """Return the price of a print as lists show it: a token's in its smallest unit, with its address."""
    if terms.currency == ZERO_ADDRESS:
        return values.coin_text(terms.price)
    return f"{terms.price} units of {address_text(terms.currency)}"


def price_with_currency(terms: "Terms") -> str:
    """Return the price of a print as sentences name it."""
    price = price_text(terms)
    return f"{price} of the chain's coin" if terms.currency == ZERO_ADDRESS else price


def _shown(run: Invocation, connection: Connection, amount: Wei, currency: Address) -> str:
    """Return an amount with its currency's name; a token's decimals and symbol are asked where there is an endpoint."""
    from platemark.errors import UpstreamError

    if currency == ZERO_ADDRESS:
        return f"{values.coin_text(amount)} of the chain's coin"
    plain = f"{amount} units of the token {address_text(currency)}"
    if run.chain is None:
        return plain
    token = _token(run, connection, currency)
    try:
        return f"{values.amount_text(amount, token.decimals())} {token.symbol()} ({address_text(currency)})"
    except UpstreamError:
        return plain


def _token(run: Invocation, connection: Connection, address: Address) -> "Token":
    from platemark.sdk.erc20 import Token

    return Token(run.required_chain, connection.gateway.deployment.chain_id, address)


def _earner(run: Invocation, connection: Connection) -> "Earner":
    from platemark.designer.earning import Earner

    return Earner(
        connection.client,
        connection.gateway,
        run.account,
        clock=connection.clock,
        tell=run.ui.tell,
        patience=run.patience,
    )
