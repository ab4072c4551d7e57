"""Vectors of the documents: manifest, profile, terms, token, voucher, release, outcome, receipt, passport, kit."""

import hashlib
from collections.abc import Mapping
from typing import Any

import sample_documents as sample
from platemark.protocol import canonical
from platemark.protocol.byte_text import base64url, hex_text, signature_text
from platemark.protocol.receipt import pre_authentication
from platemark.protocol.recovery_kit import LOWEST_COST, RecoveryKit, seal_kit
from platemark.protocol.release import TYPE as RELEASE_TYPE
from platemark.protocol.siwe import SignInMessage
from platemark.protocol.token import TYPE as TOKEN_TYPE
from platemark.protocol.units import UnixSeconds, address_text, digest_text, id_text
from platemark.protocol.voucher import burned

PASSPHRASE = "correct horse battery staple"  # noqa: S105 (a vector, not a secret)


def build() -> Mapping[str, Any]:
    """Return the files by name."""
    return {
        "documents": _documents(),
        "statements": _statements(),
        "agent_keys": _agent_keys(),
        "recovery_kit": _recovery_kit(),
        "sign_in": _sign_in(),
        "burned": _burned(),
    }


def _documents() -> Any:
    documents = {
        "manifest": sample.MANIFEST.to_json(),
        "profile": sample.PROFILE.to_json(),
        "terms": sample.TERMS_DOCUMENT.to_json(),
        "receipt": canonical.decode(sample.RECEIPT.statement()),
        "envelope": sample.ENVELOPE.to_json(),
        "redemption": sample.SIGNED_REQUEST.to_json(),
        "outcome": sample.OUTCOME.to_json(),
        "token": sample.TOKEN.to_json(),
        "release": sample.RELEASE.to_json(),
        "promise": sample.PROMISE.to_json(),
        "passport": sample.PASSPORT.to_json(),
    }
    return {
        name: {"sha256": hashlib.sha256(canonical.encode(value)).hexdigest(), "json": value}
        for name, value in documents.items()
    }


def _statements() -> Any:
    return {
        "releaseKey": {
            "public": base64url(sample.RELEASE_KEY.public_bytes),
            "kid": sample.RELEASE_KEY.key_id,
        },
        "statements": [
            {"name": "token", "typ": TOKEN_TYPE, "jws": sample.TOKEN_JWS},
            {"name": "release", "typ": RELEASE_TYPE, "jws": sample.RELEASE_JWS},
        ],
        "ids": {
            "designId": id_text(sample.DESIGN_ID),
            "licenseId": id_text(sample.LICENSE_ID),
            "tokenId": id_text(sample.TOKEN_ID),
            "tokenDigest": digest_text(sample.REQUEST.token_digest),
            "requestDigest": digest_text(sample.REQUEST.request_digest()),
            "serial": sample.PASSPORT.serial,
            "manifestCid": sample.MANIFEST.cid().text,
            "profileCid": sample.PROFILE.cid().text,
            "termsCid": sample.TERMS_DOCUMENT.cid().text,
        },
        "preAuthentication": hex_text(pre_authentication(b"{}")),
    }


def _agent_keys() -> Any:
    return {
        "seed": hex_text(sample.AGENT_SEED.secret()),
        "chainId": sample.CHAIN_ID,
        "ledger": address_text(sample.LEDGER),
        "salt": digest_text(sample.PERMISSION_SALT),
        "agent": address_text(sample.AGENT.address),
        "agentSecret": hex_text(sample.AGENT.secret()),
        "recipientSeed": hex_text(sample.RECIPIENT.seed()),
        "recipientDigest": digest_text(sample.RECIPIENT.digest),
    }


def _recovery_kit() -> Any:
    kit = RecoveryKit(sample.CHAIN_ID, sample.REGISTRY, sample.REGISTRATION, 1, sample.PACKAGE, sample.MANIFEST)
    sealed = seal_kit(kit, PASSPHRASE, cost=LOWEST_COST, random_bytes=lambda size: sample.word("kit")[:size])
    return {"passphrase": PASSPHRASE, "file": canonical.decode(sealed), "kit": kit.to_json()}


def _sign_in() -> Any:
    message = SignInMessage(
        domain="prints.example:8443",
        address=sample.HOLDER.address,
        statement="Sign in to Platemark.",
        uri="https://prints.example:8443",
        chain_id=sample.CHAIN_ID,
        nonce="k7rGq2vT9xWb",
        issued_at=sample.NOW,
        expires_at=UnixSeconds(sample.NOW + 600),
    )
    return {
        "address": address_text(sample.HOLDER.address),
        "text": message.text(),
        "digest": digest_text(message.digest()),
        "signature": signature_text(sample.HOLDER.sign(message.digest())),
    }


def _burned() -> Any:
    inputs = [
        ("nothing asked", 0, 0, 10),
        ("one of ten", 1, 0, 10),
        ("one given back", 1, 1, 10),
        ("all", 10, 0, 10),
        ("all, with spares used", 12, 2, 10),
        ("a spare asked that no outcome gave back", 11, 0, 10),
        ("spares asked, fewer given back", 12, 1, 10),
        ("more given back later than an old voucher asked", 2, 3, 10),
        ("a single print", 1, 0, 1),
        ("as many as can be", 65_535, 0, 65_535),
        ("as many uses as can be", 65_535, 21_845, 43_690),
    ]
    return {
        "cases": [
            {
                "name": name,
                "sequence": sequence,
                "voided": voided,
                "prints": prints,
                "burned": burned(sequence, voided, prints),
            }
            for name, sequence, voided, prints in inputs
        ]
    }
