/**
 * Signatures of accounts and agents: secp256k1 over a digest of 32 bytes, in the one form r ‖ s ‖ v that is accepted.
 *
 * Source: docs/formats.md, conventions (signatures of accounts).
 */

import { secp256k1 } from "@noble/curves/secp256k1.js";

import { toHex, toInteger, type Hex } from "./bytes.js";
import { keccak256 } from "./digests.js";
import { Malformed } from "./failures.js";

const ORDER = secp256k1.Point.CURVE().n;

/** Throws unless these are 65 bytes, r and s in range, s in the lower half, v 27 or 28. */
export function checkForm(signature: Uint8Array): void {
  const r = toInteger(signature.subarray(0, 32));
  const s = toInteger(signature.subarray(32, 64));
  const v = signature[64];
  if (signature.length !== 65 || (v !== 27 && v !== 28) || r < 1n || r >= ORDER || s < 1n || s > ORDER / 2n) {
    throw new Malformed("a signature is r, s in the lower half, and 27 or 28", "signature-invalid");
  }
}

/** The address whose key signed. Throws `Malformed` for a signature of another form, or of no key. */
export function signerOf(digest: Uint8Array, signature: Uint8Array): Hex {
  checkForm(signature);
  try {
    const found = secp256k1.Signature.fromBytes(signature.slice(0, 64), "compact").addRecoveryBit((signature[64] ?? 0) - 27);
    return addressOf(found.recoverPublicKey(digest).toBytes(false));
  } catch {
    throw new Malformed("the signature fits no key", "signature-invalid");
  }
}

/** The last 20 bytes of the hash of a public key's two coordinates (uncompressed, 65 bytes). */
export function addressOf(publicKey: Uint8Array): Hex {
  return toHex(keccak256(publicKey.subarray(1)).subarray(12));
}
