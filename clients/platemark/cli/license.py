"""`platemark license`: offering licences, minting and buying their prints."""

from typing import TYPE_CHECKING, Annotated

import typer

from platemark.cli import license_money, license_moving, values
from platemark.cli.config import EVERYWHERE, Connection, Invocation, invocation
from platemark.cli.token import LicenseArgument
from platemark.cli.ui import plural
from platemark.errors import MalformedError, UsageError
from platemark.protocol.canonical import JsonValue
from platemark.protocol.units import (
    ZERO_ADDRESS,
    DesignId,
    UnixSeconds,
    address_text,
    id_text,
)

if TYPE_CHECKING:
    from platemark.designer.licensing import Licensor
    from platemark.designer.templates import Template
    from platemark.protocol.manifest import Manifest
    from platemark.protocol.terms_document import TermsDocument
    from platemark.sdk.answers import LicenseState

app = typer.Typer(
    help="Offer licences, mint or buy prints.",
    epilog=EVERYWHERE,
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
)

PAYOUTS = ("purchase", "as-printed")
_LEGEND = "held by the contract on chain, by the print centre's agent, or by nothing but the agreement on paper"


@app.command()
def offer(
    context: typer.Context,
    design: Annotated[str, typer.Argument(help="The design's id, or the beginning of one that is known here.")],
    template: Annotated[str | None, typer.Option(help="Begin with ready terms: personal, shop-batch, repair.")] = None,
    cap: Annotated[int | None, typer.Option("--cap", "--prints", help="Most prints of this licence.")] = None,
    price: Annotated[
        str | None, typer.Option(help="Of one print: 0.01, 5gwei; of a token also: 1250 units. [default: 0]")
    ] = None,
    currency: Annotated[str | None, typer.Option(metavar="ADDRESS", help="The ERC-20 of the price.")] = None,
    payout: Annotated[
        str | None, typer.Option(help="When you are paid: purchase, or as-printed. [default: purchase]")
    ] = None,
    spares_flat: Annotated[
        int | None, typer.Option(min=0, max=65_535, help="Failed prints given back a reservation. [default: 0]")
    ] = None,
    spares_per_hundred: Annotated[
        int | None, typer.Option(min=0, max=65_535, help="And for every 100 prints. [default: 0]")
    ] = None,
    smallest: Annotated[int | None, typer.Option(min=1, max=65_535, help="Smallest reservation. [default: 1]")] = None,
    protection: Annotated[str | None, typer.Option(help="stream, delete-after or file. [default: stream]")] = None,
    not_before: Annotated[str | None, typer.Option(help="Reservations from: 2031-01-01, +1d.")] = None,
    not_after: Annotated[str | None, typer.Option(help="Reservations until: 2031-12-31, +90d.")] = None,
    on_sale: Annotated[bool, typer.Option("--on-sale", help="Let anybody buy; otherwise you mint.")] = False,
    transferable: Annotated[
        bool | None, typer.Option("--transferable/--not-transferable", help="May prints be passed on. [default: no]")
    ] = None,
    materials: Annotated[list[str] | None, typer.Option("--material", help="An allowed material.")] = None,
    any_material: Annotated[bool, typer.Option("--any-material", help="Leave the material to the design.")] = False,
    commercial: Annotated[
        bool | None, typer.Option("--commercial/--non-commercial", help="May parts be sold. [default: yes]")
    ] = None,
    attribution: Annotated[
        bool | None,
        typer.Option("--attribution/--no-attribution", help="Is the designer named with the part. [default: no]"),
    ] = None,
    clauses: Annotated[
        list[str] | None, typer.Option("--clause", help="A further sentence, held by paper; instead of a template's.")
    ] = None,
    revision: Annotated[int | None, typer.Option(min=1, help="The latest by default.")] = None,
    only_show: Annotated[bool, typer.Option("--show", help="Only show the terms; nothing is signed.")] = False,
) -> None:
    """Offer a licence: you read its terms, the gateway accepts it, you sign it, the chain keeps it."""
    from platemark.designer.licensing import check_materials
    from platemark.designer.templates import chosen
    from platemark.protocol.license_terms import OPEN_END, Protection
    from platemark.protocol.terms_document import TermsDocument

    run = invocation(context)
    number = values.design_id(run, design)
    choices = chosen(
        template,
        {
            "cap": cap,
            "price": price,
            "payout": payout,
            "spares_flat": spares_flat,
            "spares_per_hundred": spares_per_hundred,
            "smallest_reservation": smallest,
            "protection": protection,
            "transferable": transferable,
            "materials": () if any_material else tuple(materials) if materials else None,
            "commercial": commercial,
            "attribution": attribution,
            "clauses": tuple(clauses) if clauses else None,
        },
    )
    _check_choices(choices)
    if materials and any_material:
        raise UsageError("--material and --any-material exclude each other")
    if currency is not None and price is None and template is not None:
        raise UsageError("a template's price is in the chain's coin, not in a token", hint="--price N")
    with run.connect(run.account) as connection:
        now = connection.clock.now()
        licensed, manifest = _revision(run, connection, number, revision)
        token = ZERO_ADDRESS if currency is None else values.address(currency)
        try:
            document = TermsDocument(
                title=manifest.title,
                design_id=number,
                gateway=connection.gateway.address,
                protection=Protection(choices.protection),
                cap=choices.cap,
                price=license_money.price(run, connection, choices.price, token),
                currency=token,
                payout=PAYOUTS.index(choices.payout),
                not_before=UnixSeconds(0) if not_before is None else values.moment(not_before, now),
                not_after=OPEN_END if not_after is None else values.moment(not_after, now),
                spares_flat=choices.spares_flat,
                spares_per_hundred=choices.spares_per_hundred,
                smallest_reservation=choices.smallest_reservation,
                transferable=choices.transferable,
                materials=choices.materials,
                commercial=choices.commercial,
                attribution=choices.attribution,
                clauses=choices.clauses,
            )
            document.encode()
        except MalformedError as error:
            raise UsageError(error.message, code=error.code, hint=error.hint) from error
        check_materials(document, manifest)
        _tell_spares(run, document)
        if only_show:
            run.ui.result({"document": document.to_json()}, _words(document))
            run.ui.tell(_LEGEND)
            return
        run.ui.tell(f"you sign these terms ({_LEGEND}):")
        for line in _words(document):
            run.ui.tell(f"  {line}")
        run.unfinished.hint = f"the offer may be under way; look before you repeat it: {_listing(number)}"
        license_id, state = _licensor(run, connection).offer(
            document, revision=licensed, key_commitment=manifest.key_commitment, on_sale=on_sale
        )
    spares = document.spares(document.smallest_reservation)
    run.ui.result({**_state(state), "smallestSpares": spares}, [id_text(license_id)])
    if on_sale:
        run.ui.tell(f"anybody can buy now: platemark license buy {id_text(license_id)} --prints N")
    elif document.payout:
        run.ui.tell(f"prints paid as printed are sold only; next: platemark license sale {id_text(license_id)} on")
    else:
        run.ui.tell(f"next: platemark license mint {id_text(license_id)} --to ADDRESS --prints N")


@app.command()
def templates(context: typer.Context) -> None:
    """List the ready terms that an offer can begin with."""
    from platemark.designer.templates import TEMPLATES

    run = invocation(context)
    run.ui.table(
        "templates",
        [{"name": each.name, "purpose": each.purpose, "choices": each.choices()} for each in TEMPLATES.values()],
        ["template", "what it is for"],
        [[each.name, each.purpose] for each in TEMPLATES.values()],
    )
    run.ui.tell("its terms: platemark license offer DESIGN --template NAME --show")


@app.command()
def mint(
    context: typer.Context,
    license_id: LicenseArgument,
    to: Annotated[list[str], typer.Option(help="Who gets them: ADDRESS, or ADDRESS=N; give it several times.")],
    prints: Annotated[int | None, typer.Option(min=1, help="How many for each ADDRESS without a number.")] = None,
) -> None:
    """Give prints of a licence to one account, or to several with one signature."""
    from platemark.protocol.typed_data import Grant

    run = invocation(context)
    typed, receivers = values.id_text_of(license_id, "licence"), [values.receiver(text, prints) for text in to]
    with run.connect(run.account) as connection:
        number = values.license_id(typed, connection)
        look = license_money.look(number, receivers[0][0])
        run.unfinished.hint = f"some prints may be minted already; look before you repeat it: {look}"
        licensor = _licensor(run, connection)
        if len(receivers) == 1:
            state = licensor.mint(number, *receivers[0])
        else:
            state = licensor.mint_all([Grant(number, holder, count) for holder, count in receivers])
        balances = {holder: connection.client.balance(number, holder) for holder, _ in receivers}
    value: dict[str, JsonValue] = {
        "licenseId": id_text(number),
        "transaction": values.transaction_hash(state),
    }
    told: list[dict[str, JsonValue]] = [
        {"to": address_text(holder), "prints": count, "balance": balances[holder]} for holder, count in receivers
    ]
    run.ui.result(
        value | (told[0] if len(told) == 1 else {"grants": list(told)}),
        [f"{address_text(holder)} holds {plural(balance, 'print')}" for holder, balance in balances.items()],
    )


@app.command("raise")
def raise_(
    context: typer.Context,
    license_id: LicenseArgument,
    revision: Annotated[int | None, typer.Option(min=1, help="The latest by default.")] = None,
) -> None:
    """Let a licence's prints be of a later revision; the gateway accepts it and brings that to the chain."""
    from platemark.sdk.licenses import fetch_license

    run = invocation(context)
    typed = values.id_text_of(license_id, "licence")
    with run.connect(run.account) as connection:
        number = values.license_id(typed, connection)
        design = fetch_license(connection.client, connection.gateway, number).terms.design_id
        chosen, manifest = _revision(run, connection, design, revision)
        state = _licensor(run, connection).raise_revision(
            number, revision=chosen, key_commitment=manifest.key_commitment
        )
    run.ui.result(
        {
            "licenseId": id_text(number),
            "revision": chosen,
            "transaction": values.transaction_hash(state),
        },
        [f"prints of this licence are of revision {chosen} from now on"],
    )


@app.command()
def sale(
    context: typer.Context,
    license_id: LicenseArgument,
    which: Annotated[str, typer.Argument(metavar="on|off", help="Whether anybody may buy.")],
) -> None:
    """Open or end a licence's sale to anybody; your signature is all it needs."""
    if which not in {"on", "off"}:
        raise UsageError(f"{which[:20]!r} is neither on nor off")
    run = invocation(context)
    typed, on_sale = values.id_text_of(license_id, "licence"), which == "on"
    with run.connect(run.account) as connection:
        number = values.license_id(typed, connection)
        state = _licensor(run, connection).set_sale(number, on_sale=on_sale)
    run.ui.result(
        {
            "licenseId": id_text(number),
            "onSale": on_sale,
            "transaction": values.transaction_hash(state),
        },
        ["anybody can buy now" if on_sale else "nobody can buy any more"],
    )
    if on_sale:
        run.ui.tell(f"buyers run: platemark license buy {id_text(number)} --prints N")


app.command()(license_money.buy)
app.command()(license_moving.move)
app.command("return")(license_money.return_)
app.command()(license_money.earnings)
app.command()(license_money.withdraw)


@app.command("list")
def list_(
    context: typer.Context,
    design: Annotated[str | None, typer.Option(help="Only this design's.")] = None,
) -> None:
    """List licences that the gateway knows, with what is left of them."""
    run = invocation(context)
    number = None if design is None else values.design_id(run, design)
    with run.connect() as connection:
        states = connection.client.licenses(number)
    run.ui.table(
        "licenses",
        [_state(item) for item in states],
        ["licence", "left", "cap", "price", "sale", "status"],
        [
            [
                id_text(item.license_id),
                str(item.terms.cap - item.minted),
                str(item.terms.cap),
                license_money.price_text(item.terms),
                "yes" if item.on_sale else "no",
                item.status,
            ]
            for item in states
        ],
    )


@app.command()
def show(
    context: typer.Context,
    license_id: LicenseArgument,
    holder: Annotated[str | None, typer.Option(help="Also this account's balance.")] = None,
) -> None:
    """Show a licence's terms in plain words, after checking them against its id."""
    from platemark.sdk.licenses import fetch_license

    run = invocation(context)
    typed = values.id_text_of(license_id, "licence")
    account = None if holder is None else values.address(holder)
    with run.connect() as connection:
        number = values.license_id(typed, connection)
        found = fetch_license(connection.client, connection.gateway, number)
        balance = None if account is None else connection.client.balance(number, account)
    value = _state(found.state)
    value["document"] = found.document.to_json()
    lines = _words(found.document)
    lines.append(f"{found.state.minted} of {found.terms.cap} prints are minted.")
    if found.state.gateway != found.terms.gateway:
        lines.append(f"It was moved: the gateway {address_text(found.state.gateway)} serves it now.")
    if balance is not None:
        value["balance"] = balance
        lines.append(f"The account holds {plural(balance, 'print')}.")
    run.ui.result(value, lines)


def _licensor(run: Invocation, connection: Connection) -> "Licensor":
    from platemark.designer.licensing import Licensor

    return Licensor(
        connection.client,
        connection.gateway,
        run.account,
        clock=connection.clock,
        chain=connection.chain,
        tell=run.ui.tell,
        patience=run.patience,
    )


def _revision(
    run: Invocation, connection: Connection, number: DesignId, revision: int | None
) -> tuple[int, "Manifest"]:
    """Return the revision to license and its manifest, from our record or checked."""
    from platemark.designer.registering import fetch_manifest

    record = run.designs.find(number)
    if record is None:
        return fetch_manifest(connection.client, number, revision)
    chosen = revision or max(record.revisions())
    return chosen, record.revision(chosen).manifest


def _check_choices(choices: "Template") -> None:
    """Pass when the choices are such that a document may be made of them; errors: UsageError."""
    from platemark.protocol.license_terms import Protection

    if choices.cap < 1:
        raise UsageError(f"a licence has at least one print, not {choices.cap}", hint="--cap N, or --template NAME")
    if choices.protection not in set(Protection):
        raise UsageError(f"{choices.protection[:20]!r} is no protection", hint=f"one of {', '.join(Protection)}")
    if choices.payout not in PAYOUTS:
        raise UsageError(f"{choices.payout[:20]!r} is no payout", hint=f"one of {', '.join(PAYOUTS)}")


def _words(document: "TermsDocument") -> list[str]:
    """Return terms as they are shown, each with who holds it."""
    return [f"{sentence.text} [{sentence.enforced_by}]" for sentence in document.sentences()]


def _tell_spares(run: Invocation, terms: "TermsDocument") -> None:
    prints = terms.smallest_reservation
    spares = terms.spares(prints)
    run.ui.tell(f"spares: {spares or 'none'} for {plural(prints, 'print')}, the smallest reservation")
    if spares:
        return
    if terms.spares_per_hundred:
        run.ui.tell(f"warning: a reservation has its first spare from {-(-100 // terms.spares_per_hundred)} prints on")
    else:
        run.ui.tell("warning: no failed print is given back; offer spares with --spares-flat or --spares-per-hundred")


def _listing(design_id: DesignId) -> str:
    return f"platemark license list --design {id_text(design_id)[:14]}"


def _state(state: "LicenseState") -> dict[str, JsonValue]:
    return {
        "licenseId": id_text(state.license_id),
        "designId": id_text(state.design_id),
        "gateway": address_text(state.gateway),
        "revision": state.revision,
        "status": state.status,
        "minted": state.minted,
        "onSale": state.on_sale,
        "terms": state.terms.to_json(),
    }
