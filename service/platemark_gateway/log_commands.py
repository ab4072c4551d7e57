"""What the commands `log …` of `platemark-gateway` do; heavy imports happen inside."""

import asyncio
import sys
from pathlib import Path
from typing import Annotated

import typer

from platemark_gateway.commands import Data, DatabaseUrl, IpfsApi, settings_of


def export(
    target: Annotated[Path, typer.Argument(help="a folder; a static host may serve it")],
    car: Annotated[Path | None, typer.Option("--car", help="also write it as one CAR file, for IPFS")] = None,
    data: Data = None,
    database_url: DatabaseUrl = None,
    ipfs_api: IpfsApi = None,
) -> None:
    """Write the print log and all that an audit of it reads into a folder: tiles, checkpoint, profiles, documents.

    The gateway may be running, or off. Killed or given again, it goes on where it was.
    """
    settings = settings_of(data=data, database_url=database_url, ipfs_api=ipfs_api)
    from platemark_gateway import serving

    found = asyncio.run(serving.export_log(settings, target))
    sys.stdout.write(f"{target}: {found.size} entries, {found.tiles} tiles, {found.blocks} blocks\n")
    if car is not None:
        from platemark_gateway.printlog.exporting import export_car

        written = export_car(target, car)
        sys.stdout.write(f"{car}: {written.blocks} blocks; the log is /ipfs/{written.root}\n")
    if found.missing:
        sys.stderr.write(f"{found.missing} blocks are not here; an audit lists what it could not check\n")
