/** Serials: what a part bears. Source: docs/formats.md, serial. */

import { fromHex, toBase32, type Hex } from "./bytes.js";
import { serialDigest } from "./digests.js";
import { lengthOf } from "./fields.js";
import { Malformed } from "./failures.js";
import type { JsonValue } from "./json.js";

export function serialOf(tokenId: Hex, sequence: number): string {
  return toBase32(serialDigest(fromHex(tokenId), sequence).subarray(0, 10));
}

/** The serial that somebody wrote: small letters, spaces and dashes are forgiven. */
export function readSerial(value: JsonValue): string {
  if (typeof value === "string" && lengthOf(value) <= 64) {
    const serial = value.replace(/[\p{White_Space}\u001c-\u001f-]+/gu, "").toUpperCase();
    if (/^[A-Z2-7]{16}$/.test(serial)) return serial;
  }
  throw new Malformed("a serial has 16 letters and digits, A to Z and 2 to 7", "serial");
}

export function grouped(serial: string): string {
  return serial.replace(/(.{4})(?=.)/g, "$1-");
}
