/**
 * Hashes. Each of ours begins with the tag of its purpose, `platemark/v1/<purpose>\0`, so that a digest of one kind is
 * never taken for another.
 *
 * Source: docs/formats.md, conventions.
 */

import { sha256 as sha2 } from "@noble/hashes/sha2.js";
import { keccak_256 } from "@noble/hashes/sha3.js";

import { concat, unsigned, utf8, type Bytes } from "./bytes.js";
import { encode, type JsonValue } from "./json.js";

export function sha256(...parts: readonly Uint8Array[]): Bytes {
  return new Uint8Array(sha2(concat(...parts)));
}

/** The hash of the EVM, which is not SHA3-256. */
export function keccak256(data: Uint8Array): Bytes {
  return new Uint8Array(keccak_256(data));
}

function tagged(purpose: string, ...parts: readonly Uint8Array[]): Bytes {
  return sha256(utf8(`platemark/v1/${purpose}\0`), ...parts);
}

export function commitment(registrant: Uint8Array, salt: Uint8Array, filesRoot: Uint8Array): Bytes {
  return tagged("content", registrant, salt, filesRoot);
}

export function keyCommitment(contentKey: Uint8Array): Bytes {
  return tagged("key", contentKey);
}

export function recipientDigest(publicKey: Uint8Array): Bytes {
  return tagged("recipient", publicKey);
}

export interface Request {
  readonly tokenDigest: Uint8Array;
  readonly printId: Uint8Array;
  readonly recipientDigest: Uint8Array;
  readonly seenBlock: bigint;
  readonly seenHash: Uint8Array;
  readonly detail: Uint8Array;
}

export function requestDigest(of: Request): Bytes {
  const seenBlock = unsigned(of.seenBlock, 8);
  return tagged("request", of.tokenDigest, of.printId, of.recipientDigest, seenBlock, of.seenHash, of.detail);
}

export function detailDigest(salt: Uint8Array, intended: JsonValue): Bytes {
  return tagged("commit", salt, encode(intended));
}

export function receiptDigest(salt: Uint8Array, statement: Uint8Array): Bytes {
  return tagged("receipt", salt, statement);
}

export function serialDigest(tokenId: Uint8Array, sequence: number): Bytes {
  return tagged("serial", tokenId, unsigned(sequence, 4));
}

export function privateFileHash(salt: Uint8Array, plaintext: Uint8Array): Bytes {
  return tagged("private-file", salt, plaintext);
}

/** The digest of a compact JWS is that of its characters, without a tag. */
export function textDigest(text: string): Bytes {
  return sha256(utf8(text));
}
