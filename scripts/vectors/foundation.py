"""Vectors of the formats underneath: digests, typed data, accounts, files, trees, tiles, notes, log entries."""

import hashlib
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, get_args, get_type_hints

from platemark.protocol import checkpoint, cid, digests, log_entry, merkle, sealed_file, tiles, typed_data
from platemark.protocol.accounts import AccountKey, to_compact
from platemark.protocol.content_key import ContentKey, KeyPackage, wrapping_context
from platemark.protocol.sealing import RecipientKey, deposit_info, release_info, token_info
from platemark.protocol.units import Address, DesignId, Digest32, TokenId, UnixSeconds, address_text, keccak256

CHAIN_ID = 31337
SECRET = hashlib.sha256(b"platemark vectors: account").digest()


def build() -> Mapping[str, Any]:
    """Return the files by name."""
    return {
        "digests": _digests(),
        "typed_data": _typed_data(),
        "cid": _cids(),
        "sealed_file": _sealed_files(),
        "content_key": _content_keys(),
        "recipient_key": _recipient_keys(),
        "trees": _trees(),
        "tiles": _tiles(),
        "log_entry": _entries(),
    }


def pattern(size: int) -> bytes:
    """Return `size` bytes in which every run of 256 differs: byte i is (i + i // 256 + i // 65,536) mod 251."""
    return bytes((i + (i >> 8) + (i >> 16)) % 251 for i in range(size))


def _word(name: str) -> Digest32:
    return keccak256(f"platemark vectors: {name}".encode())


def _account(name: str) -> Address:
    return Address(_word(name)[12:])


def _digests() -> Any:
    token = TokenId(int.from_bytes(_word("token"), "big"))
    made = {
        "commitment": digests.commitment(_account("registrant"), _word("salt"), _word("files root")),
        "keyCommitment": digests.key_commitment(_word("content key")),
        "tokenDigest": digests.token_digest("eyJhbGciOiJFZERTQSJ9.e30.c2lnbmF0dXJl"),
        "recipientDigest": digests.recipient_digest(pattern(1216)),
        "requestDigest": digests.request_digest(
            _word("token digest"), _word("print id")[:16], _word("recipient"), 17, _word("block"), _word("detail")
        ),
        "detailDigest": digests.detail_digest(_word("salt"), {"printer": "bay 4", "parts": ["lid", "body"]}),
        "receiptDigest": digests.receipt_digest(_word("salt"), b'{"_type":"https://in-toto.io/Statement/v1"}'),
        "serialDigest": digests.serial_digest(token, 3),
        "privateFileHash": digests.private_file_hash(_word("salt"), _word("file")),
    }
    return {"digests": {name: digest.hex() for name, digest in made.items()}}


def _typed_data() -> Any:
    key = AccountKey(SECRET)
    domains = {
        "registry": typed_data.registry_domain(CHAIN_ID, _account("registry")),
        "license": typed_data.license_domain(CHAIN_ID, _account("license")),
        "ledger": typed_data.ledger_domain(CHAIN_ID, _account("ledger")),
    }
    structs = (
        ("registry", typed_data.Registration),
        ("registry", typed_data.Publication),
        ("registry", typed_data.Recall),
        ("registry", typed_data.RegistrationBatch),
        ("registry", typed_data.EditionLimit),
        ("registry", typed_data.Deposit),
        ("license", typed_data.Terms),
        ("license", typed_data.Acceptance),
        ("license", typed_data.Offer),
        ("license", typed_data.Mint),
        ("license", typed_data.Grant),
        ("license", typed_data.MintBatch),
        ("license", typed_data.Sale),
        ("license", typed_data.Move),
        ("license", typed_data.Return),
        ("license", typed_data.Withdrawal),
        ("ledger", typed_data.Reservation),
        ("ledger", typed_data.TokenRequest),
        ("ledger", typed_data.Redemption),
        ("ledger", typed_data.Outcome),
        ("ledger", typed_data.Close),
        ("ledger", typed_data.Declaration),
        ("ledger", typed_data.Appointment),
        ("ledger", typed_data.Stop),
    )
    rows = []
    for domain, struct in structs:
        for name, made in (("typical", _sample(struct, largest=False)), ("largest", _sample(struct, largest=True))):
            digest = made.digest(domains[domain])
            signature = key.sign(digest)
            r, vs = to_compact(signature)
            rows.append(
                {
                    "name": f"{struct.__name__} {name}",
                    "struct": struct.__name__,
                    "domain": domain,
                    "type": struct.TYPE,
                    "typeHash": "0x" + keccak256(struct.TYPE.encode()).hex(),
                    "values": made.to_json(),
                    "structHash": "0x" + made.struct_hash().hex(),
                    "digest": "0x" + digest.hex(),
                    "signature": "0x" + signature.hex(),
                    "r": "0x" + r.hex(),
                    "vs": "0x" + vs.hex(),
                }
            )
    return {
        "chainId": CHAIN_ID,
        "secret": "0x" + SECRET.hex(),
        "signer": address_text(key.address),
        "domains": {
            name: {
                "name": domain.name,
                "verifyingContract": address_text(domain.verifying_contract),
                "separator": "0x" + domain.separator().hex(),
            }
            for name, domain in domains.items()
        },
        "structs": rows,
    }


def _sample(struct: type[typed_data.Struct], *, largest: bool) -> typed_data.Struct:
    """Return a struct whose members are derived from their names, or are the largest of their types."""
    hints = get_type_hints(struct)
    members = typed_data._MEMBER.findall(struct.TYPE.partition("(")[2].partition(")")[0])  # noqa: SLF001 (its rule)
    values: dict[str, Any] = {}
    for field, (kind, name) in zip(fields(struct), members, strict=True):
        if kind == "address":
            values[field.name] = Address(b"\xff" * 20) if largest else _account(name)
        elif kind == "bytes32":
            values[field.name] = Digest32(b"\xff" * 32) if largest else _word(name)
        elif kind == "bool":
            values[field.name] = True
        elif kind.startswith("uint"):
            bits = int(kind[4:])
            values[field.name] = (1 << bits) - 1 if largest else int.from_bytes(_word(name), "big") >> 256 - bits // 2
        elif kind.endswith("[]"):
            (item, _) = get_args(hints[field.name])
            values[field.name] = tuple(_sample(item, largest=each) for each in ((False, True) if largest else (False,)))
        else:
            values[field.name] = _sample(hints[field.name], largest=largest)
    return struct(**values)


def _cids() -> Any:
    shapes = []
    for leaf_bytes, links, size in (
        (4, 3, 0), (4, 3, 4), (4, 3, 5), (4, 3, 12), (4, 3, 13), (4, 3, 36), (4, 3, 37), (4, 3, 109), (1, 2, 9),
    ):  # fmt: skip
        blocks = list(cid.unixfs_blocks([pattern(size)], leaf_bytes=leaf_bytes, max_links=links))
        shapes.append(
            {
                "name": f"{size} bytes in leaves of {leaf_bytes}, {links} links",
                "leafBytes": leaf_bytes,
                "maxLinks": links,
                "size": size,
                "blocks": len(blocks),
                "root": blocks[-1].cid.text,
                "rootData": blocks[-1].data.hex(),
            }
        )
    return {"shapes": shapes}


def _sealed_files() -> Any:
    first = sealed_file.SEGMENT_BYTES - sealed_file.HEADER_BYTES - sealed_file.TAG_BYTES
    rows = []
    for size in (0, 1, 1000, first - 1, first, first + 1, 2 * sealed_file.SEGMENT_BYTES + 12345):
        fixed = {32: _word(f"salt {size}"), 7: _word(f"prefix {size}")[:7]}
        sealed = b"".join(sealed_file.seal(SECRET, [pattern(size)], random_bytes=fixed.__getitem__))
        row = {
            "name": f"{size} bytes",
            "key": SECRET.hex(),
            "size": size,
            "sealedBytes": len(sealed),
            "salt": sealed[1:33].hex(),
            "prefix": sealed[33:40].hex(),
            "sha256": hashlib.sha256(sealed).hexdigest(),
        }
        if size <= 1000:
            row["sealed"] = sealed.hex()
        rows.append(row)
    return {"files": rows}


def _content_keys() -> Any:
    key = ContentKey(SECRET)
    package = KeyPackage(key, _word("salt"), _word("files root"))
    return {
        "key": SECRET.hex(),
        "commitment": key.commitment().hex(),
        "fileKeys": [
            {"name": f"file {index}", "index": index, "key": key.file_key(index).hex()} for index in (0, 1, 65535)
        ],
        "package": package.to_bytes().hex(),
        "registrant": _account("registrant").hex(),
        "contentCommitment": package.commitment(_account("registrant")).hex(),
        "wrappingContext": wrapping_context(CHAIN_ID, _account("registry"), DesignId(7), 2, key.commitment()).hex(),
    }


def _recipient_keys() -> Any:
    derived = RecipientKey.derive(SECRET, CHAIN_ID, _account("ledger"), _word("salt"))
    jws = "eyJhbGciOiJFZERTQSJ9.e30.c2lnbmF0dXJl"
    token = TokenId(int.from_bytes(_word("token"), "big"))
    deposit = deposit_info(CHAIN_ID, _account("registry"), DesignId(7), 2, _word("key commitment"), _account("gateway"))
    return {
        "agentSeed": SECRET.hex(),
        "chainId": CHAIN_ID,
        "ledger": _account("ledger").hex(),
        "salt": _word("salt").hex(),
        "seed": derived.seed().hex(),
        "publicSha256": hashlib.sha256(derived.public_bytes).hexdigest(),
        "digest": derived.digest.hex(),
        "infos": {
            "deposit": deposit.hex(),
            "token": token_info(token, _word("recipient")).hex(),
            "release": release_info(jws).hex(),
        },
    }


def _trees() -> Any:
    leaves = [merkle.leaf_hash(index.to_bytes(4, "big")) for index in range(300)]
    sizes = (0, 1, 2, 3, 5, 8, 13, 64, 100, 255, 256, 257, 300)
    return {
        "leaves": "leaf i is the u32 i, big-endian",
        "roots": [
            {"name": f"{size} leaves", "size": size, "root": merkle.tree_head(leaves[:size]).hex()} for size in sizes
        ],
        "inclusion": [
            {"name": f"{index} in {size}", "index": index, "size": size,
             "proof": [digest.hex() for digest in merkle.inclusion_proof(index, leaves[:size])]}
            for index, size in ((0, 1), (0, 2), (2, 3), (4, 5), (99, 100), (256, 257), (17, 300))
        ],
        "consistency": [
            {"name": f"{old} to {new}", "old": old, "new": new,
             "proof": [digest.hex() for digest in merkle.consistency_proof(old, leaves[:new])]}
            for old, new in ((0, 5), (1, 2), (3, 7), (4, 8), (6, 8), (100, 256), (256, 300), (300, 300))
        ],
        "filesRoot": {
            "sha256s": [_word("file b").hex(), _word("file a").hex(), _word("file c").hex()],
            "root": merkle.files_root([_word("file b"), _word("file a"), _word("file c")]).hex(),
        },
    }  # fmt: skip


def _tiles() -> Any:
    rows = []
    for sizes in ((1,), (256,), (3, 256, 257), (255, 512, 700), (1000, 66000)):
        edge = tiles.Edge.empty()
        files: dict[str, bytes] = {}
        for size in sizes:
            grown = tiles.grow(edge, [b"entry %d\n" % index for index in range(edge.size, size)])
            edge = grown.edge
            files.update(grown.files)
        names = hashlib.sha256()
        for path in sorted(files):
            names.update(path.encode() + b"\n" + hashlib.sha256(files[path]).digest())
        rows.append(
            {
                "name": " then ".join(map(str, sizes)),
                "sizes": list(sizes),
                "root": edge.root().hex(),
                "files": len(files),
                "filesSha256": names.hexdigest(),
            }
        )
    signer = checkpoint.NoteSigner.from_seed("31337/0x0000000000000000000000000000000000000001/1", SECRET)
    signed = checkpoint.sign_checkpoint(
        checkpoint.Checkpoint(signer.key.name, 2**40 + 1, _word("root"), ("an extension",)), signer
    )
    witness = checkpoint.NoteSigner.from_seed("witness.example/1", _word("witness"), checkpoint.KeyType.COSIGNATURE)
    note = checkpoint.Note.parse(signed)
    cosigned = note.with_signatures(witness.cosign(note.text, UnixSeconds(1_800_000_000)))
    return {
        "entries": "entry i is `entry <i>` and a line feed",
        "filesSha256": "SHA-256 over each path in order, a line feed and the SHA-256 of its bytes",
        "logs": rows,
        "note": {
            "key": signer.key.text,
            "witness": witness.key.text,
            "signed": signed.decode(),
            "cosigned": cosigned.to_bytes().decode(),
        },
    }


def _entries() -> Any:
    key = AccountKey(SECRET)
    domain = typed_data.ledger_domain(CHAIN_ID, _account("ledger"))
    token = TokenId(int.from_bytes(_word("token"), "big"))
    blank = log_entry.RedeemedEntry(
        token, 5, _word("token digest"), _word("print id")[:16], _word("recipient"), 1234567, _word("block"),
        _word("detail"), b"",
    )  # fmt: skip
    redeemed = log_entry.RedeemedEntry(
        **{field.name: getattr(blank, field.name) for field in fields(blank) if field.name != "signature"},
        signature=key.sign(blank.redemption().digest(domain)),
    )
    draft = log_entry.OutcomeEntry(token, 5, log_entry.Result.REJECTED, True, _word("receipt"), b"")
    outcome = log_entry.OutcomeEntry(
        token, 5, log_entry.Result.REJECTED, True, _word("receipt"), key.sign(draft.outcome().digest(domain))
    )
    closed = log_entry.ClosedEntry(token, 5, 1, log_entry.CloseReason.AGREED)
    rows = [
        {"name": name, "data": entry.to_bytes().hex(), "leaf": log_entry.leaf_hash(entry).hex()}
        for name, entry in (("redeemed", redeemed), ("outcome", outcome), ("closed", closed))
    ]
    good: dict[str, bytes] = {row["name"]: bytes.fromhex(row["data"]) for row in rows}
    high = (0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141).to_bytes(32, "big")

    def changed(name: str, at: int, new: bytes) -> bytes:
        return good[name][:at] + new + good[name][at + len(new) :]

    bad = [
        ("nothing", b"", "log-entry"),
        ("a version alone", b"\x01", "log-entry"),
        ("version 2", changed("closed", 0, b"\x02"), "log-entry"),
        ("kind 0", changed("closed", 1, b"\x00"), "log-entry"),
        ("kind 4", changed("closed", 1, b"\x04"), "log-entry"),
        ("redeemed, a byte short", good["redeemed"][:-1], "log-entry"),
        ("redeemed, a byte long", good["redeemed"] + b"\x00", "log-entry"),
        ("redeemed, sequence 0", changed("redeemed", 34, bytes(4)), "log-entry"),
        ("redeemed, v 29", changed("redeemed", 254, b"\x1d"), "signature-invalid"),
        ("redeemed, v 0", changed("redeemed", 254, b"\x00"), "signature-invalid"),
        ("redeemed, r 0", changed("redeemed", 190, bytes(32)), "signature-invalid"),
        ("redeemed, r of the order", changed("redeemed", 190, high), "signature-invalid"),
        ("redeemed, s in the upper half", changed("redeemed", 222, b"\xff"), "signature-invalid"),
        ("redeemed, s 0", changed("redeemed", 222, bytes(32)), "signature-invalid"),
        ("outcome, a byte short", good["outcome"][:-1], "log-entry"),
        ("outcome, a byte long", good["outcome"] + b"\x00", "log-entry"),
        ("outcome, sequence 0", changed("outcome", 34, bytes(4)), "log-entry"),
        ("outcome, result 0", changed("outcome", 38, b"\x00"), "log-entry"),
        ("outcome, result 5", changed("outcome", 38, b"\x05"), "log-entry"),
        ("outcome, spare 2", changed("outcome", 39, b"\x02"), "log-entry"),
        ("outcome, completed with a spare", changed("outcome", 38, b"\x01"), "log-entry"),
        ("closed, a byte short", good["closed"][:-1], "log-entry"),
        ("closed, a byte long", good["closed"] + b"\x00", "log-entry"),
        ("closed, more voided than released", changed("closed", 38, b"\x00\x00\x00\x06"), "log-entry"),
        ("closed, reason 0", changed("closed", 42, b"\x00"), "log-entry"),
        ("closed, reason 4", changed("closed", 42, b"\x04"), "log-entry"),
        ("closed, said to be redeemed", changed("closed", 1, b"\x01"), "log-entry"),
    ]
    return {
        "ledger": address_text(_account("ledger")),
        "chainId": CHAIN_ID,
        "signer": address_text(key.address),
        "valid": rows,
        "invalid": [{"name": name, "data": data.hex(), "code": code} for name, data, code in bad],
    }
