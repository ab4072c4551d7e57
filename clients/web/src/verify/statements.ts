/**
 * What gateways sign with their Ed25519 release key: compact JWS over canonical JSON, with the header
 * `{"alg":"Ed25519","kid":…,"typ":…}`, and bytes.
 *
 * Source: RFC 8032, RFC 7515, RFC 7638, RFC 9864; docs/formats.md, statements.
 */

import { ed25519 } from "@noble/curves/ed25519.js";
import { sha512 } from "@noble/hashes/sha2.js";

import { concat, equal, fromBase64Url, toBase64Url, toInteger, utf8 } from "./bytes.js";
import { sha256 } from "./digests.js";
import { lengthOf } from "./fields.js";
import { Malformed, Refuted, same } from "./failures.js";
import { decode, encode, isObject, type JsonObject } from "./json.js";

export const MOST_JWS_CHARACTERS = 16_384;

const L = ed25519.Point.CURVE().n;

/** RFC 7638's thumbprint of a public key (32 bytes). */
export function keyId(publicKey: Uint8Array): string {
  const members = new Map([
    ["crv", "Ed25519"],
    ["kty", "OKP"],
    ["x", toBase64Url(publicKey)],
  ]);
  return toBase64Url(sha256(encode(members)));
}

/** Returns if the key signed the message; throws `Refuted` `signature-invalid`. */
export function checkSignature(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): void {
  if (!holds(publicKey, message, signature)) {
    throw new Refuted("the signature is not by this key", "signature-invalid", `a signature by ${keyId(publicKey)}`, "another");
  }
}

/**
 * RFC 8032, 5.1.7, with the equation as it stands, without the cofactor: [S]B − [k]A must have exactly the bytes R.
 * Libraries differ for keys and signatures that nobody makes honestly; this is the reading of OpenSSL, which
 * gateways and auditors use.
 */
function holds(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean {
  if (signature.length !== 64) return false;
  const r = signature.subarray(0, 32);
  const s = toInteger(signature.slice(32).reverse());
  if (s >= L) return false;
  const k = toInteger(sha512(concat(r, publicKey, message)).reverse()) % L;
  try {
    const key = ed25519.Point.fromBytes(publicKey, true);
    return equal(ed25519.Point.BASE.multiplyUnsafe(s).add(key.negate().multiplyUnsafe(k)).toBytes(), r);
  } catch {
    return false; // the key is no point of the curve
  }
}

/**
 * The payload of a statement of type `typ` by this key. Throws `Malformed` `jws`; `Refuted` `jws-type`,
 * `signature-invalid`.
 */
export function openStatement(text: string, typ: string, publicKey: Uint8Array): JsonObject {
  const parts = text.split(".");
  const [first = "", second = "", third = ""] = parts;
  if (lengthOf(text) > MOST_JWS_CHARACTERS || parts.length !== 3) throw new Malformed("a compact JWS has three parts", "jws");
  const header = object(first);
  const kid = header.get("kid");
  const found = header.get("typ");
  if (header.size !== 3 || header.get("alg") !== "Ed25519" || typeof kid !== "string" || typeof found !== "string") {
    throw new Malformed("the header of a statement is alg Ed25519, kid and typ", "jws");
  }
  same(found, typ, "jws-type", "this is another kind of statement");
  const signature = fromBase64Url(third);
  if (signature?.length !== 64) throw new Malformed("an Ed25519 signature has 64 bytes", "jws");
  const payload = object(second);
  same(kid, keyId(publicKey), "signature-invalid", "the statement names another key");
  checkSignature(publicKey, utf8(`${first}.${second}`), signature);
  return payload;
}

function object(part: string): JsonObject {
  const bytes = fromBase64Url(part);
  try {
    const value = bytes === null ? null : decode(bytes, MOST_JWS_CHARACTERS);
    if (isObject(value)) return value;
  } catch (error) {
    if (!(error instanceof Malformed)) throw error;
  }
  throw new Malformed("a part of the statement is no canonical object in base64url", "jws");
}
