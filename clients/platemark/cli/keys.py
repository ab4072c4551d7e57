"""`platemark keys`: account keys and recovery kits."""

from pathlib import Path
from typing import Annotated, Final

import typer

from platemark.cli.config import EVERYWHERE, invocation
from platemark.cli.values import check_outputs, coin_text, design_id, write_out
from platemark.errors import UsageError
from platemark.protocol.canonical import JsonValue
from platemark.protocol.recovery_kit import SHORTEST_PASSPHRASE
from platemark.protocol.units import address_text, digest_text, id_text

app = typer.Typer(
    help="Make, list and keep account keys and recovery kits.",
    epilog=EVERYWHERE,
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
)
kit_app = typer.Typer(
    help="Write, open and deposit recovery kits.",
    epilog=EVERYWHERE,
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(kit_app, name="kit")

DEFAULT_NAME: Final = "main"

Output = Annotated[Path | None, typer.Option("-o", "--output", help="File to write, instead of stdout.")]
Name = Annotated[str | None, typer.Argument(help="The key's name or address; the only one, or main, by default.")]
Kit = Annotated[Path, typer.Argument(help="A recovery kit.")]


@app.command()
def new(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="What to call it.")] = DEFAULT_NAME,
) -> None:
    """Make a new account key, encrypted under the passphrase."""
    run = invocation(context)
    passphrase = run.new_passphrase
    if len(passphrase) < SHORTEST_PASSPHRASE:
        raise UsageError(
            f"the passphrase has fewer than {SHORTEST_PASSPHRASE} characters",
            code="passphrase-short",
            hint="several words are easy to keep and hard to guess",
        )
    key = run.keys.create(name, passphrase)
    address = address_text(key.address)
    path = run.keys.entry(name).path
    run.ui.result({"name": name, "address": address, "path": str(path)}, [address])
    run.ui.tell(f"key {name} is in {path}; without its passphrase nobody can use it, you included")


@app.command("list")
def list_(context: typer.Context) -> None:
    """List the keys on this machine."""
    run = invocation(context)
    entries = run.keys.entries()
    values: list[dict[str, JsonValue]] = [
        {"name": entry.name, "address": address_text(entry.address), "path": str(entry.path)} for entry in entries
    ]
    rows = [[entry.name, address_text(entry.address)] for entry in entries]
    run.ui.table("keys", values, ["name", "address"], rows)


@app.command()
def show(context: typer.Context, name: Name = None) -> None:
    """Show a key's address."""
    run = invocation(context)
    entry = run.keys.entry(name or run.options.key)
    address = address_text(entry.address)
    run.ui.result({"name": entry.name, "address": address, "path": str(entry.path)}, [address])


@app.command()
def fund(context: typer.Context, name: Name = None) -> None:
    """Ask the embedded chain's faucet for coins; no other chain has one."""
    run = invocation(context)
    entry = run.keys.entry(name or run.options.key)
    coins = run.required_chain.fund(entry.address)
    address = address_text(entry.address)
    run.ui.result(
        {"name": entry.name, "address": address, "balance": str(coins)}, [f"{address} has {coin_text(coins)}"]
    )
    run.ui.tell("these coins are the embedded chain's own; they are worth nothing elsewhere")


@app.command()
def export(context: typer.Context, name: Name = None, output: Output = None) -> None:
    """Give a key's encrypted file (Web3 Secret Storage), which other wallets read."""
    run = invocation(context)
    data = run.keys.exported(name or run.options.key)
    if write_out(output, data):
        run.ui.result({"path": str(output)}, [str(output)])
        return
    typer.echo(data.decode(), nl=False)


@kit_app.command("write")
def write(
    context: typer.Context,
    design: Annotated[str, typer.Argument(help="A design of this machine.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="File to write.")],
    revision: Annotated[int | None, typer.Option(help="The latest by default.")] = None,
) -> None:
    """Write a revision's recovery kit, to be kept elsewhere: it heals a lost gateway."""
    from platemark.sdk.files import read_limited

    run = invocation(context)
    check_outputs(output)
    record = run.designs.find(design_id(run, design))
    if record is None:
        raise UsageError("this machine did not register that design", code="design-unknown")
    number = revision or max(record.revisions())
    found = record.revision(number)
    found.kit(run.passphrase)
    write_out(output, read_limited(found.kit_path, max_bytes=4 << 20))
    run.ui.result({"designId": id_text(record.design_id), "revision": number, "path": str(output)}, [str(output)])
    run.ui.tell("keep it apart from this machine; it opens with the same passphrase")


@kit_app.command("open")
def open_(context: typer.Context, file: Kit) -> None:
    """Open a recovery kit and show what it is for, not the key."""
    from platemark.protocol.typed_data import registry_domain
    from platemark.sdk.recovery import read_kit

    run = invocation(context)
    kit = read_kit(file, run.passphrase)
    number = id_text(kit.design_id(registry_domain(kit.chain_id, kit.registry)))
    value: dict[str, JsonValue] = {
        "designId": number,
        "revision": kit.revision,
        "title": kit.manifest.title,
        "chainId": kit.chain_id,
        "registry": address_text(kit.registry),
        "registrant": address_text(kit.registration.registrant),
        "keyCommitment": digest_text(kit.manifest.key_commitment),
        "files": [item.name for item in kit.manifest.files],
    }
    run.ui.result(
        value,
        [
            f"design    {number}",
            f"revision  {kit.revision}",
            f"title     {kit.manifest.title}",
            f"files     {', '.join(item.name for item in kit.manifest.files)}",
        ],
    )


@kit_app.command("deposit")
def deposit(context: typer.Context, file: Kit) -> None:
    """Deposit a kit's key with the gateway again, or with another one; its account must own the design."""
    from platemark.designer.registering import Registrar
    from platemark.sdk.recovery import read_kit

    run = invocation(context)
    kit = read_kit(file, run.passphrase)
    with run.connect(run.account) as connection:
        registrar = Registrar(
            connection.client,
            connection.gateway,
            run.account,
            run.designs,
            clock=connection.clock,
            tell=run.ui.tell,
            patience=run.patience,
        )
        number = registrar.deposit_kit(kit)
    run.ui.result({"designId": id_text(number), "revision": kit.revision, "state": "deposited"}, ["deposited"])
