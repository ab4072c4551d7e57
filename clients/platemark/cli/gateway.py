"""`platemark gateway`: choosing a gateway, and what it is found to be."""

from typing import TYPE_CHECKING, Annotated

import typer

from platemark.cli.config import EVERYWHERE, Invocation, invocation
from platemark.protocol.canonical import JsonValue
from platemark.protocol.units import address_text, digest_text

if TYPE_CHECKING:
    from platemark.sdk.trust import TrustedGateway

app = typer.Typer(
    help="Choose a gateway and see what it is found to be.",
    epilog=EVERYWHERE,
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command()
def use(context: typer.Context, url: Annotated[str, typer.Argument(help="Its address.")]) -> None:
    """Check a gateway and use it from now on, with --rpc's chain endpoint if one is given."""
    from platemark.sdk.config import write_config
    from platemark.sdk.gateway import GatewayClient
    from platemark.sdk.trust import check_gateway

    run = invocation(context)
    with GatewayClient(url) as client:
        found = check_gateway(client, pin=run.settings.home.pinned(client.url), chain=run.chain)
    write_config(run.settings.home, gateway=found.url, rpc=run.settings.rpc)
    _show(run, found)
    run.ui.tell(f"{found.url} is used from now on")


@app.command()
def show(context: typer.Context) -> None:
    """Show what the gateway is, after checking it."""
    run = invocation(context)
    with run.connect() as connection:
        _show(run, connection.gateway)


@app.command()
def trust(context: typer.Context) -> None:
    """Replace what was pinned of the gateway by what it is now; only when its operator announced the change."""
    from platemark.sdk.gateway import GatewayClient
    from platemark.sdk.trust import check_gateway

    run = invocation(context)
    with GatewayClient(run.settings.gateway_url()) as client:
        found = check_gateway(client, pin=run.settings.home.pinned(client.url), chain=run.chain, renew=True)
    _show(run, found)


def _show(run: Invocation, found: "TrustedGateway") -> None:
    deployment = found.deployment
    value: dict[str, JsonValue] = {
        "url": found.url,
        "gateway": address_text(found.address),
        "chainId": deployment.chain_id,
        "registry": address_text(deployment.registry),
        "license": address_text(deployment.license),
        "ledger": address_text(deployment.ledger),
        "profileDigest": digest_text(found.profile_digest),
        "logOrigin": found.profile.log_origin,
        "mergeDelaySeconds": found.profile.merge_delay_seconds,
        "checkedOnChain": found.on_chain,
    }
    run.ui.result(
        value,
        [
            f"gateway   {address_text(found.address)}",
            f"address   {found.url}",
            f"chain     {deployment.chain_id}",
            f"registry  {address_text(deployment.registry)}",
            f"licences  {address_text(deployment.license)}",
            f"ledger    {address_text(deployment.ledger)}",
            f"profile   {digest_text(found.profile_digest)}",
        ],
    )
    if not found.on_chain:
        run.ui.tell("not checked on chain; name an endpoint to do so: --rpc URL")
