"""`platemark token`: requesting print tokens, seeing what is left of them, stopping and closing them."""

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Final

import typer

from platemark.cli import values
from platemark.cli.config import EVERYWHERE, Connection, Invocation, invocation
from platemark.cli.ui import plural
from platemark.errors import Kind, ReachError, RefusedError, UsageError
from platemark.protocol.canonical import JsonValue
from platemark.protocol.units import TokenId, UnixSeconds, address_text, id_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from platemark.agent.permissions import Permissions, SignedPermission
    from platemark.agent.spool import TokenRecord
    from platemark.protocol.typed_data import Close
    from platemark.sdk.answers import ReservationState
    from platemark.sdk.licenses import License

app = typer.Typer(
    help="Request print tokens and see what is left of them.",
    epilog=EVERYWHERE,
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
)

PERMISSION_SECONDS: Final = 24 * 3600
"""How long a signed permission may be brought to the chain."""
CLOSE_SECONDS: Final = 3600
CLAIM_SECONDS: Final = 120
USUAL_SECONDS: Final = 30 * 24 * 3600
RESUME: Final = "the permission is signed and kept; go on with: platemark token resume"

LicenseArgument = Annotated[
    str, typer.Argument(metavar="LICENSE", help="The licence's id, or the beginning of one that the gateway lists.")
]
Token = Annotated[str, typer.Argument(metavar="TOKEN", help="A print token's id, or the beginning of one.")]


@app.command()
def request(
    context: typer.Context,
    license_id: LicenseArgument,
    prints: Annotated[int, typer.Option(min=1, max=65_535, help="How many to reserve.")],
    expires: Annotated[
        str | None, typer.Option(help="When the token ends: 2031-12-31, +7d; 30 days or the licence's end by default.")
    ] = None,
) -> None:
    """Reserve prints and obtain their print token: your key permits, this machine's agent gets it."""
    from platemark.agent.obtaining import permission
    from platemark.agent.permissions import SignedPermission
    from platemark.sdk.licenses import fetch_license

    run = invocation(context)
    typed = values.id_text_of(license_id, "licence")
    seed = run.agent_seed
    with run.connect(run.account) as connection:
        number = values.license_id(typed, connection)
        found = fetch_license(connection.client, connection.gateway, number)
        now = connection.clock.now()
        reservation = permission(
            seed,
            found.terms,
            connection.gateway.profile,
            serving=found.state.gateway,
            holder=run.account.address,
            revision=found.state.revision,
            prints=prints,
            expires_at=_end(found, expires, now),
            deadline=UnixSeconds(now + PERMISSION_SECONDS),
            now=now,
        )
        _check_balance(connection, found, run, prints)
        domain = connection.gateway.deployment.ledger_domain
        signed = SignedPermission(connection.gateway.url, reservation, run.account.sign(reservation.digest(domain)))
        token_id = reservation.token_id(domain)
        _permissions(run).keep(token_id, signed)
        run.unfinished.hint = RESUME
        record = _finish(run, connection, token_id, signed, found)
    _obtained(run, record)


@app.command()
def resume(context: typer.Context) -> None:
    """Obtain the print tokens of permissions that were signed here and interrupted."""
    from platemark.sdk.licenses import fetch_license

    run = invocation(context)
    records = []
    with run.connect(run.account) as connection:
        run.unfinished.hint = RESUME
        for signed in list(_permissions(run).all()):
            if signed.gateway != connection.gateway.url:
                run.ui.tell(f"one more is for another gateway: {signed.gateway}")
                continue
            found = fetch_license(connection.client, connection.gateway, signed.reservation.license_id)
            token_id = signed.reservation.token_id(connection.gateway.deployment.ledger_domain)
            records.append(_finish(run, connection, token_id, signed, found))
    run.ui.result({"tokens": [_record(item) for item in records]}, [id_text(item.token_id) for item in records])
    if not records:
        run.ui.tell("nothing was interrupted")


@app.command("list")
def list_(context: typer.Context) -> None:
    """List the print tokens that this machine's agent holds, and what the gateway counts as left of them."""
    run = invocation(context)
    with run.spool() as spool:
        records = spool.tokens()
    states = _states(run, records)
    now = run.clock.now() if states else None
    known = [(item, states.get(item.token_id)) for item in records]
    run.ui.table(
        "tokens",
        [_record(item) | (_counts(state) if state else {}) for item, state in known],
        ["token", "status", "left", "until"],
        [
            [
                id_text(item.token_id),
                "not known" if state is None or now is None else _status(state, now),
                f"{'?' if state is None else _left(state)[0]} of {item.reservation.prints}",
                values.moment_text(item.reservation.expires_at),
            ]
            for item, state in known
        ],
    )


@app.command()
def show(context: typer.Context, token: Token) -> None:
    """Show what is left of a print token, as the gateway counts."""
    run = invocation(context)
    token_id = values.token_id(run, token)
    with run.connect() as connection:
        state = connection.client.reservation(token_id)
        _check_ours(connection, state, token_id)
        status = _status(state, connection.clock.now())
    prints_left, spares_left = _left(state)
    run.ui.result(
        _state(state),
        [
            f"token    {id_text(token_id)}",
            f"status   {status}",
            f"prints   {prints_left} of {state.reservation.prints} left",
            f"spares   {spares_left} of {state.spares} left",
            f"until    {values.moment_text(state.reservation.expires_at)}",
        ],
    )


@app.command()
def stop(context: typer.Context, token: Token) -> None:
    """End a token's releases at once; unused prints come back when it is closed or expires.

    Works while the chain endpoint is away, with a gateway that was met before and is the same.
    """
    from platemark.protocol.typed_data import Stop

    run = invocation(context)
    token_id = values.token_id(run, token)
    with run.connect(run.account, forbids=True) as connection:
        order = Stop(token_id, UnixSeconds(connection.clock.now() + CLOSE_SECONDS))
        connection.client.stop(order, run.account.sign(order.digest(connection.gateway.deployment.ledger_domain)))
    run.ui.result({"tokenId": id_text(token_id), "stopped": True}, ["stopped: no further key is released"])


@app.command()
def close(context: typer.Context, token: Token) -> None:
    """Agree with the gateway on the final counts; unused prints come back at once.

    A chain endpoint, where one is named, must answer: what is signed gives up prints, so the gateway is checked first.
    """
    run = invocation(context)
    token_id = values.token_id(run, token)
    with run.connect(run.account) as connection:
        counts = _close(run, connection, token_id)
    run.ui.result(
        {"tokenId": id_text(token_id), "released": counts.released, "voided": counts.voided},
        [f"closed with {plural(counts.released, 'release')}; unused prints are back with you"],
    )


@app.command()
def renew(
    context: typer.Context,
    token: Annotated[
        str | None, typer.Argument(metavar="[TOKEN]", help="A print token's id; without it, all that are lost.")
    ] = None,
) -> None:
    """Close a token and reserve what is left of it anew: what a gateway does not know any more is of use again.

    The new token ends when the old one would have. Interrupted, the same command goes on.
    """
    run = invocation(context)
    named = None if token is None else values.token_id(run, token)
    with run.connect(run.account) as connection:
        chosen = _lost(run, connection) if named is None else [named]
        renewed = [(token_id, _renew(run, connection, token_id)) for token_id in chosen]
    run.ui.result(
        {"renewed": [{"replaces": id_text(old), **_record(record)} for old, record in renewed]},
        [id_text(record.token_id) for _, record in renewed],
    )
    if not renewed:
        run.ui.tell("no token of this agent is lost")


@app.command()
def erase(
    context: typer.Context,
    serial: Annotated[str, typer.Argument(help="A part that this machine's agent made.")],
    yes: Annotated[bool, typer.Option("--yes", help="It cannot be undone.")] = False,
) -> None:
    """Erase what opens a part's salted digests here: your references, the intended printer, the receipt, both salts."""
    from platemark.protocol.serial import grouped

    run = invocation(context)
    number = values.serial(serial)
    if not yes:
        raise UsageError("nothing was erased: it cannot be undone", hint="the same command with --yes")
    with run.spool() as spool:
        token_id, sequence = spool.find(number)
        with spool.claim(token_id, sequence):
            erased = spool.erase(token_id, sequence)
    run.ui.result(
        {"serial": number, "tokenId": id_text(token_id), "sequence": sequence, "erased": erased},
        [f"{grouped(number)}  {'erased' if erased else 'was erased before'}"],
    )
    run.ui.tell("not erased by this: the gateway's copy of the receipt, and files that you wrote or gave away")


def _lost(run: Invocation, connection: Connection) -> list[TokenId]:
    """Return the tokens that this machine's agent holds, this gateway has lost, and no other has replaced."""
    from platemark.agent.renewing import renewal_salt

    with run.spool() as spool:
        records = [item for item in spool.tokens() if item.reservation.gateway == connection.gateway.address]
    replaced = {item.reservation.salt for item in records}
    states = [
        connection.client.reservation(item.token_id)
        for item in records
        if renewal_salt(item.token_id) not in replaced and item.reservation.expires_at > connection.clock.now()
    ]
    return [state.token_id for state in states if state.lost and state.prints_returned > 0]


def _renew(run: Invocation, connection: Connection, token_id: TokenId) -> "TokenRecord":
    """Take the steps of `agent.renewing` from where they were left, alone with the token."""
    from platemark.agent.obtaining import permission
    from platemark.agent.permissions import SignedPermission
    from platemark.agent.renewing import check_renewable, is_renewal, renewal_salt
    from platemark.sdk.licenses import fetch_license

    with run.spool() as spool, spool.claim(token_id, wait_seconds=CLAIM_SECONDS):
        records = spool.tokens()
        machine = spool.machine(token_id) if token_id in [item.token_id for item in records] else None
        for record in records:
            if is_renewal(record.reservation, token_id):
                return record
        state = connection.client.reservation(token_id)
        _check_ours(connection, state, token_id)
        if state.reservation.holder != run.account.address:
            raise RefusedError("only its holder renews a token", kind=Kind.FORBIDDEN, code="not-holder")
        found = fetch_license(connection.client, connection.gateway, state.reservation.license_id)
        pending = next((item for item in _permissions(run).all() if is_renewal(item.reservation, token_id)), None)
        if pending is None:
            now = connection.clock.now()
            design = connection.client.design(found.terms.design_id)
            check_renewable(state, design, found.state.revision, machine)
            reservation = permission(
                run.agent_seed,
                found.terms,
                connection.gateway.profile,
                serving=found.state.gateway,
                holder=run.account.address,
                revision=found.state.revision,
                prints=state.prints_returned,
                expires_at=state.reservation.expires_at,
                deadline=UnixSeconds(now + PERMISSION_SECONDS),
                now=now,
                random_bytes=lambda _: renewal_salt(token_id),
            )
            if not state.closed:
                _close_for_renewal(run, connection, token_id)
                left = connection.client.reservation(token_id).prints_returned
                reservation = replace(reservation, prints=left)
            digest = reservation.digest(connection.gateway.deployment.ledger_domain)
            pending = SignedPermission(connection.gateway.url, reservation, run.account.sign(digest))
            _permissions(run).keep(TokenId(int.from_bytes(digest, "big")), pending)
        run.unfinished.hint = RESUME
        token = pending.reservation.token_id(connection.gateway.deployment.ledger_domain)
        return _finish(run, connection, token, pending, found)


def _close_for_renewal(run: Invocation, connection: Connection, token_id: TokenId) -> None:
    """Close a token, or wait for the closing that an interrupted run asked for."""
    try:
        _close(run, connection, token_id)
    except RefusedError as error:
        if error.code != "token-closed":
            raise
        _until_closed(run, connection, token_id)


def _close(run: Invocation, connection: Connection, token_id: TokenId) -> "Close":
    """Agree on a token's counts, wait until it is closed, and return them."""
    offered = connection.client.close_offer(token_id, UnixSeconds(connection.clock.now() + CLOSE_SECONDS))
    if offered.close.token_id != token_id:
        raise RefusedError("the gateway offers to close another token", kind=Kind.CONFLICT, code="path-mismatch")
    run.ui.tell(f"the gateway counts {offered.close.released} released, {offered.close.voided} given back")
    domain = connection.gateway.deployment.ledger_domain
    connection.client.close_token(token_id, offered.close.deadline, run.account.sign(offered.close.digest(domain)))
    _until_closed(run, connection, token_id)
    return offered.close


def _until_closed(run: Invocation, connection: Connection, token_id: TokenId) -> None:
    run.patience.until(lambda: connection.client.reservation(token_id), lambda state: state.closed, "the closing")


def _finish(
    run: Invocation, connection: Connection, token_id: TokenId, signed: "SignedPermission", found: "License"
) -> "TokenRecord":
    """Bring a permission to the chain, wait, obtain its token and keep it."""
    from platemark.agent.obtaining import obtain
    from platemark.sdk.waiting import failed, final_in

    try:
        connection.client.reserve(signed.reservation, signed.signature)
    except RefusedError:
        _permissions(run).drop(token_id)
        raise
    run.ui.tell(
        f"reserving {plural(signed.reservation.prints, 'print')}; {final_in(connection.gateway.final_after_seconds)}"
    )

    def final(state: "ReservationState") -> bool:
        if state.status == "failed":
            reason = None if state.transaction is None else connection.client.transaction(state.transaction).reason
            _permissions(run).drop(token_id)
            raise failed("reservation", reason)
        return state.status == "final"

    run.patience.until(lambda: connection.client.reservation(token_id), final, "the reservation")
    record = run.patience.when_ready(
        lambda: obtain(
            connection.client,
            run.agent_seed,
            signed.reservation,
            signed.signature,
            terms=found.terms,
            profile=connection.gateway.profile,
            now=connection.clock.now(),
        )
    )
    with run.spool() as spool:
        spool.add(record)
    _permissions(run).drop(token_id)
    return record


def _obtained(run: Invocation, record: "TokenRecord") -> None:
    token = record.token()
    number = id_text(record.token_id)
    run.ui.result(_record(record), [number])
    run.ui.tell(
        f"the agent holds the token: {plural(token.prints, 'print')}, {plural(token.spares, 'spare')}, "
        f"until {values.moment_text(token.expires_at)}"
    )
    run.ui.tell(f"next: platemark print {number[:14]} --printer NAME")


def _end(found: "License", expires: str | None, now: UnixSeconds) -> UnixSeconds:
    """Return when a token is to end; no reservation outlasts its licence."""
    if expires is not None:
        return values.moment(expires, now)
    return min(UnixSeconds(now + USUAL_SECONDS), found.terms.not_after)


def _check_balance(connection: Connection, found: "License", run: Invocation, prints: int) -> None:
    balance = connection.client.balance(found.state.license_id, run.account.address)
    if balance < prints:
        raise RefusedError(
            f"{address_text(run.account.address)} holds {plural(balance, 'print')} of this licence, not {prints}",
            kind=Kind.CONFLICT,
            code="balance-short",
            hint="have more minted, or buy them: platemark license buy",
        )


def _check_ours(connection: Connection, state: "ReservationState", token_id: TokenId) -> None:
    """Pass when the gateway's permission has the id that was asked for."""
    from platemark.errors import VerificationError

    found = state.reservation.token_id(connection.gateway.deployment.ledger_domain)
    if found != token_id:
        raise VerificationError(
            "the gateway tells of another token",
            step="reservation",
            code="token-claims",
            expected=id_text(token_id),
            found=id_text(found),
        )


def _permissions(run: Invocation) -> "Permissions":
    from platemark.agent.permissions import Permissions

    return Permissions(run.settings.home.agent / "pending")


def _record(record: "TokenRecord") -> dict[str, JsonValue]:
    token = record.token()
    return {
        "tokenId": id_text(record.token_id),
        "licenseId": id_text(token.license_id),
        "designId": id_text(token.design_id),
        "revision": token.revision,
        "prints": token.prints,
        "spares": token.spares,
        "agent": address_text(token.agent),
        "expiresAt": token.expires_at,
        "gateway": token.gateway_url,
    }


def _states(run: Invocation, records: "Sequence[TokenRecord]") -> "dict[TokenId, ReservationState]":
    """Return what the gateway counts of its tokens among these, asked once for each holder; less, and told, without it.

    Errors: those of `check_gateway` for a gateway that is not what was pinned.
    """
    if not records:
        return {}
    if run.settings.gateway is None:
        run.ui.tell("what is left is not known: no gateway was named")
        return {}
    try:
        with run.connect() as connection:
            own = {
                item.reservation.holder for item in records if item.reservation.gateway == connection.gateway.address
            }
            return {state.token_id: state for each in sorted(own) for state in connection.client.reservations(each)}
    except ReachError as error:
        run.ui.tell(f"what is left is not known: {error.message}")
        return {}


def _status(state: "ReservationState", now: UnixSeconds) -> str:
    if state.closed:
        return "closed"
    if state.reservation.expires_at <= now:
        return "expired"
    if state.stopped:
        return "stopped"
    return "lost with the gateway's vault: platemark token renew" if state.lost else state.status


def _left(state: "ReservationState") -> tuple[int, int]:
    """Return the prints and spares that may still be used; none of a closed token, whose prints went back."""
    return (0, 0) if state.closed else (state.prints_left, state.spares_left)


def _state(state: "ReservationState") -> dict[str, JsonValue]:
    return {
        "tokenId": id_text(state.token_id),
        "licenseId": id_text(state.reservation.license_id),
        "prints": state.reservation.prints,
        "spares": state.spares,
        "expiresAt": state.reservation.expires_at,
        **_counts(state),
    }


def _counts(state: "ReservationState") -> dict[str, JsonValue]:
    return {
        "status": state.status,
        "released": state.released,
        "voided": state.voided,
        "printsLeft": state.prints_left,
        "sparesLeft": state.spares_left,
        "stopped": state.stopped,
        "lost": state.lost,
        "closed": state.closed,
        "burned": state.burned,
    }
