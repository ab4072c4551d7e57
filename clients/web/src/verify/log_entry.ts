/**
 * Entries of the print log. They have fixed layouts: a table of fields gives each kind's length and its reader.
 *
 * Source: docs/formats.md, log entries.
 */

import { checkForm } from "./accounts.js";
import { toHex, toInteger, type Bytes, type Hex } from "./bytes.js";
import { requestDigest } from "./digests.js";
import { Malformed } from "./failures.js";
import { OUTCOME, REDEMPTION, Struct } from "./typed_data.js";

export const RESULTS = ["completed", "failed", "cancelled", "rejected"] as const;
export const REASONS = ["agreed", "expired", "stopped"] as const;
export type Result = (typeof RESULTS)[number];

export interface Redeemed {
  readonly kind: "redeemed";
  readonly tokenId: Hex;
  readonly sequence: number;
  readonly tokenDigest: Hex;
  readonly seenBlock: bigint;
  readonly seenHash: Hex;
  readonly detail: Hex;
  readonly voucher: Struct;
  readonly signature: Bytes;
}

export interface Ended {
  readonly kind: "outcome";
  readonly tokenId: Hex;
  readonly sequence: number;
  readonly result: Result;
  readonly spareUsed: boolean;
  readonly receiptDigest: Hex;
  readonly voucher: Struct;
  readonly signature: Bytes;
}

export interface Closed {
  readonly kind: "closed";
  readonly tokenId: Hex;
  readonly released: number;
  readonly voided: number;
  readonly reason: (typeof REASONS)[number];
}

export type LogEntry = Redeemed | Ended | Closed;

/** Bytes of each field after version and kind, in order. */
const LAYOUTS = {
  1: [32, 4, 32, 16, 32, 8, 32, 32, 65],
  2: [32, 4, 1, 1, 32, 65],
  3: [32, 4, 4, 1],
} as const;

/** The entry in `data`. Throws `Malformed` `log-entry`, or `signature-invalid` for a signature that no agent makes. */
export function decodeEntry(data: Uint8Array): LogEntry {
  const [version, kind] = data;
  if (version !== 1) throw wrong("this is no log entry of version 1");
  switch (kind) {
    case 1:
      return redeemed(split(data, LAYOUTS[kind]));
    case 2:
      return ended(split(data, LAYOUTS[kind]));
    case 3:
      return closed(split(data, LAYOUTS[kind]));
    default:
      throw wrong(`log entries of kind ${String(kind)} are unknown`);
  }
}

function redeemed(fields: readonly Bytes[]): Redeemed {
  const [token, sequence, tokenDigest, printId, recipient, block, seenHash, detail, signature] = fields as Nine;
  const tokenId = toHex(token);
  const number = sequenceOf(sequence);
  checkForm(signature);
  const seenBlock = toInteger(block);
  const request = requestDigest({ tokenDigest, printId, recipientDigest: recipient, seenBlock, seenHash, detail });
  return {
    kind: "redeemed",
    tokenId,
    sequence: number,
    tokenDigest: toHex(tokenDigest),
    seenBlock,
    seenHash: toHex(seenHash),
    detail: toHex(detail),
    voucher: new Struct(REDEMPTION, [
      ["tokenId", tokenId],
      ["sequence", BigInt(number)],
      ["requestDigest", toHex(request)],
    ]),
    signature,
  };
}

function ended(fields: readonly Bytes[]): Ended {
  const [token, sequence, code, spare, receipt, signature] = fields as Six;
  const tokenId = toHex(token);
  const result = RESULTS[code[0] - 1];
  if (result === undefined || spare[0] > 1) throw wrong("a field of an outcome is out of its range");
  const spareUsed = spare[0] === 1;
  if (spareUsed && result === "completed") throw wrong("a completed print gives nothing back");
  const number = sequenceOf(sequence);
  checkForm(signature);
  return {
    kind: "outcome",
    tokenId,
    sequence: number,
    result,
    spareUsed,
    receiptDigest: toHex(receipt),
    voucher: new Struct(OUTCOME, [
      ["tokenId", tokenId],
      ["sequence", BigInt(number)],
      ["result", BigInt(code[0])],
      ["receiptDigest", toHex(receipt)],
    ]),
    signature,
  };
}

function closed(fields: readonly Bytes[]): Closed {
  const [token, released, voided, code] = fields as Four;
  const reason = REASONS[code[0] - 1];
  if (reason === undefined) throw wrong("an unknown reason for closing");
  const counts = { released: Number(toInteger(released)), voided: Number(toInteger(voided)) };
  if (counts.voided > counts.released) throw wrong("more prints were given back than released");
  return { kind: "closed", tokenId: toHex(token), ...counts, reason };
}

type OneByte = Bytes & { readonly 0: number };
type Four = readonly [Bytes, Bytes, Bytes, OneByte];
type Six = readonly [Bytes, Bytes, OneByte, OneByte, Bytes, Bytes];
type Nine = readonly [Bytes, Bytes, Bytes, Bytes, Bytes, Bytes, Bytes, Bytes, Bytes];

function split(data: Uint8Array, layout: readonly number[]): Bytes[] {
  const length = layout.reduce((sum, size) => sum + size, 2);
  if (data.length !== length) throw wrong(`the log entry has ${data.length} bytes instead of ${length}`);
  let at = 2;
  return layout.map((size) => data.slice(at, (at += size)));
}

function sequenceOf(bytes: Uint8Array): number {
  const sequence = Number(toInteger(bytes));
  if (sequence < 1) throw wrong("sequences begin with 1");
  return sequence;
}

function wrong(message: string): Malformed {
  return new Malformed(message, "log-entry");
}
