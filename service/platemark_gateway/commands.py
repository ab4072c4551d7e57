"""What the commands `serve`, `worker`, `deploy`, `migrate` and `doctor` do; heavy imports happen inside."""

import asyncio
import contextlib
import gc
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from platemark.errors import PlatemarkError, UsageError

if TYPE_CHECKING:
    from platemark_gateway.settings import Settings

Data = Annotated[
    Path | None,
    typer.Option("--data", help="folder of the vault, blocks, log and database [default: platemark-gateway]"),
]
Rpc = Annotated[
    str | None,
    typer.Option(
        "--rpc",
        help="the chain's JSON-RPC address; several with commas between them [default: a `dev` folder's own chain, "
        "else http://127.0.0.1:8545]",
    ),
]
DatabaseUrl = Annotated[str | None, typer.Option("--database-url", help="SQLite in the data folder by default")]
Url = Annotated[str | None, typer.Option("--url", help="address under which clients reach the gateway")]
PassphraseFile = Annotated[
    Path | None, typer.Option("--passphrase-file", help="or PLATEMARK_GATEWAY_PASSPHRASE; else DIR/passphrase")
]
IpfsApi = Annotated[str | None, typer.Option("--ipfs-api", help="a Kubo node, such as /ip4/127.0.0.1/tcp/5001")]
IpfsReplicaApi = Annotated[
    str | None, typer.Option("--ipfs-replica-api", help="a second Kubo node, which has everything too")
]


def serve(
    data: Data = None,
    rpc: Rpc = None,
    host: Annotated[str | None, typer.Option(help="address to listen on [default: 127.0.0.1]")] = None,
    port: Annotated[
        int | None, typer.Option(help="port; 0 takes the last one again, or any free one [default: 8420]")
    ] = None,
    url: Url = None,
    database_url: DatabaseUrl = None,
    passphrase_file: PassphraseFile = None,
    ipfs_api: IpfsApi = None,
    ipfs_replica_api: IpfsReplicaApi = None,
    worker: Annotated[bool | None, typer.Option("--worker/--no-worker", help="work in this process too")] = None,
) -> None:
    """Run the gateway."""
    settings = settings_of(
        data=data,
        rpc_url=rpc,
        host=host,
        port=port,
        url=url,
        database_url=database_url,
        passphrase_file=passphrase_file,
        ipfs_api=ipfs_api,
        ipfs_replica_api=ipfs_replica_api,
        worker=worker,
    )
    _open_ahead(settings)
    _serving().serve(settings)


def worker(
    data: Data = None,
    rpc: Rpc = None,
    url: Url = None,
    database_url: DatabaseUrl = None,
    passphrase_file: PassphraseFile = None,
    ipfs_api: IpfsApi = None,
    ipfs_replica_api: IpfsReplicaApi = None,
) -> None:
    """Run the background work of a gateway that serves with --no-worker."""
    settings = settings_of(
        data=data,
        rpc_url=rpc,
        url=url,
        database_url=database_url,
        passphrase_file=passphrase_file,
        ipfs_api=ipfs_api,
        ipfs_replica_api=ipfs_replica_api,
    )
    _open_ahead(settings)
    _serving().work(settings)


def deploy(
    data: Data = None,
    rpc: Rpc = None,
    passphrase_file: PassphraseFile = None,
    deployments: Annotated[
        Path | None, typer.Option("--deployments", help="also write the record to this folder, as CHAIN-ID.json")
    ] = None,
    own_deployer: Annotated[
        bool,
        typer.Option(
            "--own-deployer", help="where the chain refuses the deterministic deployer: create a copy, other addresses"
        ),
    ] = False,
) -> None:
    """Put the contracts on a chain with the gateway's account, and write deployment.json into the data folder.

    The addresses follow from the contracts' code; they are the same on every chain. What stands already is checked and
    left as it is. The account needs coins when something must be sent; its address is printed first.
    """
    settings = settings_of(data=data, rpc_url=rpc, passphrase_file=passphrase_file)
    record = asyncio.run(_serving().deploy_contracts(settings, deployments=deployments, own_deployer=own_deployer))
    sys.stdout.write(json.dumps(record, indent=1) + "\n")


def migrate(data: Data = None, database_url: DatabaseUrl = None) -> None:
    """Bring the database to the newest revision."""
    settings = settings_of(data=data, database_url=database_url)
    asyncio.run(_serving().migrate(settings))


def doctor(
    data: Data = None,
    rpc: Rpc = None,
    database_url: DatabaseUrl = None,
    passphrase_file: PassphraseFile = None,
    ipfs_api: IpfsApi = None,
    ipfs_replica_api: IpfsReplicaApi = None,
) -> None:
    """Check settings, disk, keys, clocks, database, chain, contracts, blocks and log; exit 1 when anything is wrong."""
    settings = settings_of(
        data=data,
        rpc_url=rpc,
        database_url=database_url,
        passphrase_file=passphrase_file,
        ipfs_api=ipfs_api,
        ipfs_replica_api=ipfs_replica_api,
    )
    from platemark_gateway import diagnosis

    findings = asyncio.run(diagnosis.examine(settings))
    for finding in findings:
        sys.stdout.write(f"{finding.level:<4} {finding.part}: {finding.text}\n")
    if any(finding.level is diagnosis.Level.WRONG for finding in findings):
        raise typer.Exit(1)


def support_bundle(
    out: Annotated[Path, typer.Option("-o", "--out", help="file to write")],
    data: Data = None,
    rpc: Rpc = None,
    database_url: DatabaseUrl = None,
    passphrase_file: PassphraseFile = None,
    ipfs_api: IpfsApi = None,
    ipfs_replica_api: IpfsReplicaApi = None,
) -> None:
    """Write what helps others to help into one JSON file: versions, settings, findings, counts. It holds no secret."""
    settings = settings_of(
        data=data,
        rpc_url=rpc,
        database_url=database_url,
        passphrase_file=passphrase_file,
        ipfs_api=ipfs_api,
        ipfs_replica_api=ipfs_replica_api,
    )
    from platemark_gateway import support
    from platemark_gateway.chain.files import write_atomically

    content = asyncio.run(support.bundle(settings))
    write_atomically(out, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    sys.stderr.write(f"{out} can be read and sent: it holds no secret, but names of hosts\n")


def _open_ahead(settings: "Settings") -> None:
    """Begin to stretch the vault's passphrase, which takes as long as half of the imports; errors come with `serve`."""
    from platemark_gateway.recovery.state import VAULT
    from platemark_gateway.vault.document import stretch_ahead
    from platemark_gateway.vault.passphrases import passphrase_of

    with contextlib.suppress(PlatemarkError):
        stretch_ahead(settings.data / VAULT, passphrase_of(settings).get_secret_value())


def _serving() -> ModuleType:
    """Import what serves. The garbage collector waits: modules make much, none of it garbage."""
    gc.disable()
    try:
        from platemark_gateway import serving
    finally:
        gc.enable()
    return serving


def settings_of(**given: Any) -> "Settings":
    """Return the settings with the flags that were given; of a `dev` folder its own chain, if no other is named.

    Errors: UsageError `settings`.
    """
    from pydantic import ValidationError
    from pydantic_settings import SettingsError

    from platemark_gateway.recovery.state import own_chain
    from platemark_gateway.settings import Settings

    try:
        settings = Settings(**{name: value for name, value in given.items() if value is not None})
    except SettingsError as error:
        raise UsageError(str(error), code="settings", hint='a list is JSON: ["one", "two"]') from None
    except ValidationError as error:
        told = (f"{'.'.join(str(part) for part in each['loc'])}: {each['msg']}" for each in error.errors())
        raise UsageError("; ".join(told), code="settings") from None  # the cause shows values
    own = None if "rpc_url" in settings.model_fields_set else own_chain(settings.data)
    return settings if own is None else settings.model_copy(update={"rpc_url": own})
