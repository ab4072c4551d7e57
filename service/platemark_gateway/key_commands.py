"""What the commands `keys …` of `platemark-gateway` do; heavy imports happen inside."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from platemark_gateway.commands import Data, DatabaseUrl, IpfsApi, PassphraseFile, Rpc, settings_of

Kind = Literal["release", "log", "deposit", "all", "sender"]


def list_keys(
    data: Data = None,
    rpc: Rpc = None,
    database_url: DatabaseUrl = None,
    passphrase_file: PassphraseFile = None,
    ipfs_api: IpfsApi = None,
) -> None:
    """List the vault's keys: which are declared on chain, which are old, which wait for a rotation to be finished."""
    settings = settings_of(
        data=data, rpc_url=rpc, database_url=database_url, passphrase_file=passphrase_file, ipfs_api=ipfs_api
    )
    from platemark_gateway import rotation, telemetry

    telemetry.configure(as_json=settings.log_json, level="WARNING")
    for key in asyncio.run(rotation.states(settings)):
        sys.stdout.write(f"{key.kind:<8} {key.state:<9} {key.name}\n")


def rotate(
    kind: Annotated[Kind, typer.Argument(help="which key; `all` for each of the first three")],
    data: Data = None,
    rpc: Rpc = None,
    database_url: DatabaseUrl = None,
    passphrase_file: PassphraseFile = None,
    ipfs_api: IpfsApi = None,
) -> None:
    """Make a new key and declare it on chain; running gateways go over to it. A new log key begins a new epoch.

    The gateway goes on meanwhile; with a new log key it releases nothing until the new epoch has begun. Killed, the
    same command goes on where it was. Keys that are declared and lost are replaced too.

    `sender` puts another account in the place of the one that sends transactions, as an operator of the gateway's own.
    The new one gets the coins that the earlier one can spare; that one finishes what it has under way and is withdrawn.
    """
    settings = settings_of(
        data=data, rpc_url=rpc, database_url=database_url, passphrase_file=passphrase_file, ipfs_api=ipfs_api
    )
    from platemark.protocol.units import address_text
    from platemark_gateway import rotation, succession, telemetry
    from platemark_gateway.ports import KeyKind

    telemetry.configure(as_json=settings.log_json, level="WARNING")
    if kind == "sender":
        sys.stdout.write(json.dumps({"sender": address_text(asyncio.run(succession.rotate_sender(settings)))}) + "\n")
    else:
        kinds = tuple(KeyKind) if kind == "all" else (KeyKind(kind),)
        profile = asyncio.run(rotation.rotate(settings, kinds))
        sys.stdout.write(json.dumps(rotation.told(profile), indent=1) + "\n")
    sys.stderr.write("next: platemark-gateway backup; an earlier one lacks the new key\n")


def export_log_key(data: Data = None, database_url: DatabaseUrl = None, passphrase_file: PassphraseFile = None) -> None:
    """Write the log's private key to standard output, as C2SP tools read it. Keep it secret. The audit table tells."""
    settings = settings_of(data=data, database_url=database_url, passphrase_file=passphrase_file)
    from platemark_gateway import serving

    sys.stdout.write(asyncio.run(serving.log_key_text(settings)) + "\n")


def export_account(data: Data = None, database_url: DatabaseUrl = None, passphrase_file: PassphraseFile = None) -> None:
    """Write the account's key to standard output, to outlive the vault. Keep it secret; the audit table tells."""
    settings = settings_of(data=data, database_url=database_url, passphrase_file=passphrase_file)
    from platemark_gateway import serving

    sys.stdout.write(asyncio.run(serving.account_key_text(settings)) + "\n")


def import_account(
    file: Annotated[Path, typer.Argument(help="what `keys export-account` wrote; - for standard input")],
    data: Data = None,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Make a new vault around an account that was kept; every other key in it is new, for `keys rotate` to declare."""
    settings = settings_of(data=data, passphrase_file=passphrase_file)
    from platemark_gateway import rotation

    text = sys.stdin.read(256) if str(file) == "-" else rotation.read_secret(file)
    sys.stdout.write(rotation.import_account(settings, text) + "\n")
