"""What the commands `backup` and `restore` of `platemark-gateway` do; heavy imports happen inside."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from platemark_gateway.commands import Data, DatabaseUrl, IpfsApi, PassphraseFile, settings_of


def backup(
    target: Annotated[Path, typer.Argument(help="a new folder")],
    data: Data = None,
    database_url: DatabaseUrl = None,
    ipfs_api: IpfsApi = None,
) -> None:
    """Write a consistent backup of a gateway, which may be running: database, keys, state, log and blocks.

    Keys stay encrypted under the vault's passphrase, which is not in the backup.
    """
    settings = settings_of(data=data, database_url=database_url, ipfs_api=ipfs_api)
    from platemark_gateway.clock import SystemClock
    from platemark_gateway.recovery.backup import back_up
    from platemark_gateway.recovery.state import CHAIN

    manifest = back_up(settings, target, SystemClock())
    size = sum(stored.size for stored in manifest.files.values())
    sys.stdout.write(f"{target}: {len(manifest.files)} files, {size} bytes\n")
    if (settings.data / CHAIN).is_dir():
        sys.stderr.write(
            f"the embedded chain is not in it, and without its chain a gateway cannot be brought back: "
            f"copy {settings.data / CHAIN} too, while `dev` is stopped\n"
        )


def restore(
    source: Annotated[Path, typer.Argument(help="the folder that `backup` wrote")],
    data: Data = None,
    database_url: DatabaseUrl = None,
    passphrase_file: PassphraseFile = None,
    tail: Annotated[Path | None, typer.Option("--tail", help="a shipped copy of the log, to go on from")] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="put it in the place of what is there, which is kept beside it")
    ] = False,
) -> None:
    """Bring a gateway back from a backup, after every byte of it was checked. Stop the gateway first.

    Killed, it leaves the old state or the new one: `serve`, or the same command again, finishes what was begun. The
    gateway then starts in quarantine and counts what its log has and the database lacks.
    """
    settings = settings_of(data=data, database_url=database_url, passphrase_file=passphrase_file)
    from platemark_gateway.clock import SystemClock
    from platemark_gateway.recovery.restoring import restore as put_back
    from platemark_gateway.vault.passphrases import passphrase_of

    restored = put_back(settings, source, passphrase_of(settings), SystemClock(), replace=replace, tail=tail)
    sys.stdout.write(f"restored; the log has {restored.log_size} entries, from {restored.log_from}\n")
