"""`platemark license move`: another gateway serves a licence from now on."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from platemark.cli import values
from platemark.cli.config import Invocation, invocation
from platemark.cli.token import LicenseArgument
from platemark.errors import UsageError
from platemark.protocol.units import DesignId, LicenseId, address_text, id_text

if TYPE_CHECKING:
    from platemark.protocol.recovery_kit import RecoveryKit
    from platemark.sdk.ipfs import BlockSource


def move(
    context: typer.Context,
    license_id: LicenseArgument,
    to: Annotated[str, typer.Option(metavar="GATEWAY_URL", help="The gateway that is to serve it.")],
    revision: Annotated[int | None, typer.Option(min=1, help="That of the licence by default; never older.")] = None,
    kit: Annotated[Path | None, typer.Option(help="The recovery kit, if this machine did not register it.")] = None,
    blocks: Annotated[
        str | None, typer.Option(help="Folder or IPFS gateway with what was published; the old gateway by default.")
    ] = None,
) -> None:
    """Move a licence to another gateway, with key and files; it need not ask the old one."""
    from platemark.designer.licensing import Licensor
    from platemark.designer.moving import Mover
    from platemark.designer.registering import Registrar
    from platemark.sdk.gateway import GatewayClient
    from platemark.sdk.trust import check_gateway

    run = invocation(context)
    # The old gateway is not asked, so nobody knows what a beginning stands for.
    number = LicenseId(
        values.begun(
            license_id, "licence", list, where="that a move can know", code="license-unknown", hint="type all of it"
        )
    )
    source = _source(run, blocks)
    with GatewayClient(to, account=run.account) as client:
        gateway = check_gateway(client, pin=run.settings.home.pinned(client.url), chain=run.chain)
        registrar = Registrar(
            client, gateway, run.account, run.designs, clock=run.clock, tell=run.ui.tell, patience=run.patience
        )
        licensor = Licensor(
            client, gateway, run.account, clock=run.clock, chain=run.chain, tell=run.ui.tell, patience=run.patience
        )
        mover = Mover(
            client,
            gateway,
            blocks=source,
            registrar=registrar,
            licensor=licensor,
            tell=run.ui.tell,
            patience=run.patience,
        )
        state, document = mover.terms(number)
        chosen = revision or state.revision
        mover.deliver(state.design_id, chosen, lambda: _kit(run, state.design_id, chosen, kit))
        moved = mover.move(state, document, revision=chosen)
    run.ui.result(
        {
            "licenseId": id_text(number),
            "from": address_text(state.gateway),
            "gateway": address_text(moved.gateway),
            "url": client.url,
            "revision": moved.revision,
        },
        [f"{client.url} serves this licence from now on"],
    )
    run.ui.tell("reservations that were made with the old gateway are printed, settled and closed there")
    run.ui.tell(f"print centres reserve with the new one: platemark gateway use {client.url}")


def _source(run: Invocation, blocks: str | None) -> "BlockSource":
    from platemark.sdk.ipfs import FolderSource, GatewaySource

    if blocks is not None and not blocks.startswith(("http://", "https://")):
        return FolderSource(Path(blocks))
    source = GatewaySource(blocks or run.settings.gateway_url())
    run.opened.callback(source.close)
    return source


def _kit(run: Invocation, design_id: DesignId, revision: int, path: Path | None) -> "RecoveryKit":
    from platemark.sdk.recovery import read_kit

    if path is not None:
        found = read_kit(path, run.passphrase)
        if found.revision != revision:
            raise UsageError(f"the kit is of revision {found.revision}, not {revision}", code="revision-unknown")
        return found
    record = run.designs.find(design_id)
    if record is None:
        raise UsageError(
            "this machine did not register the licence's design",
            code="design-unknown",
            hint="give its recovery kit: --kit FILE",
        )
    return record.revision(revision).kit(run.passphrase)
