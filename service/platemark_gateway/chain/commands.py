"""What the commands `chain` and `dev` of `platemark-gateway` do; heavy imports happen inside."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from platemark.protocol.units import Address, parse_address


def chain(
    data: Annotated[Path, typer.Option("--data", help="folder that keeps the chain")],
    host: Annotated[str, typer.Option(help="address to listen on")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="port; 0 takes the last one again, or any free one", min=0, max=65535)] = 0,
    chain_id: Annotated[int | None, typer.Option("--chain-id", help="chosen at first start, then kept", min=1)] = None,
    time_travel: Annotated[
        bool, typer.Option("--time-travel", help="offer evm_increaseTime and evm_mine (tests)")
    ] = False,
    fund: Annotated[
        list[str] | None, typer.Option("--fund", help="account that gets coins if it has none; repeatable")
    ] = None,
) -> None:
    """Run the embedded chain: an Ethereum node for one machine, kept in a folder."""
    accounts: tuple[Address, ...] = tuple(parse_address(each) for each in fund or [])
    from platemark_gateway.chain.server import serve

    serve(data, host=host, port=port, chain_id=chain_id, time_travel=time_travel, fund=accounts)


def dev(
    data: Annotated[Path, typer.Option("--data", help="folder of everything; it survives restarts")],
    host: Annotated[str, typer.Option(help="address the gateway listens on")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(help="the gateway's port; 0 takes the last one again, or any free one", min=0, max=65535)
    ] = 0,
    chain_port: Annotated[int, typer.Option("--chain-port", help="the chain's port; as --port", min=0, max=65535)] = 0,
    time_travel: Annotated[bool, typer.Option("--time-travel", help="let tests move the chain's clock")] = False,
) -> None:
    """Run chain and gateway together, for one machine; needs no set-up."""
    from platemark_gateway.chain import development

    def announce(line: str) -> None:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()

    development.run(data, host=host, port=port, chain_port=chain_port, time_travel=time_travel, announce=announce)
