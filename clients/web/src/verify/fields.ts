/**
 * Reads the fields of documents: each function takes a JSON value and returns it as what it stands for, or throws
 * `Malformed` with the code of what is wrong.
 *
 * Source: docs/formats.md, conventions; decimals, texts, lists; files on IPFS.
 */

import { fromBase32, fromBase64Url, fromHex, toHex, utf8, type Bytes, type Hex } from "./bytes.js";
import { keccak256 } from "./digests.js";
import { Malformed } from "./failures.js";
import { isArray, isObject, type JsonObject, type JsonValue } from "./json.js";

/** An object with exactly these fields, and perhaps some of `optional`. */
export function record(value: JsonValue, fields: readonly string[], optional: readonly string[] = []): JsonObject {
  if (!isObject(value)) throw new Malformed("an object was expected", "canonical-form");
  const missing = fields.find((name) => !value.has(name));
  if (missing !== undefined) throw new Malformed(`missing field: ${missing}`, "canonical-form");
  const unknown = [...value.keys()].find((name) => !fields.includes(name) && !optional.includes(name));
  if (unknown !== undefined) throw new Malformed(`unknown field: ${unknown.slice(0, 200)}`, "canonical-form");
  return value;
}

/** A field that `record` has seen. */
export function field(object: JsonObject, name: string): JsonValue {
  const value = object.get(name);
  if (value === undefined) throw new TypeError(`no field ${name}`);
  return value;
}

export function whole(value: JsonValue, low = 0, high = Number.MAX_SAFE_INTEGER): number {
  if (typeof value !== "number" || value < low || value > high) {
    throw new Malformed(`an integer from ${low} to ${high} was expected`, "integer-range");
  }
  return value;
}

export function flag(value: JsonValue): boolean {
  if (typeof value !== "boolean") throw new Malformed("true or false was expected", "canonical-form");
  return value;
}

/** A text's characters are its code points. */
export function lengthOf(text: string): number {
  let length = 0;
  for (const _ of text) length++;
  return length;
}

/** What moves a cursor or turns the reading order around. */
const UNREADABLE = /[\p{Cc}\p{Zl}\p{Zp}\u202a-\u202e\u2066-\u2069]/u;

/** One line that people can read, without anything that moves a cursor or turns the reading order around. */
export function line(value: JsonValue, maxLength = 200, mayBeEmpty = false): string {
  if (typeof value !== "string" || lengthOf(value) > maxLength || (value === "" && !mayBeEmpty)) {
    throw new Malformed(`a text of at most ${maxLength} characters was expected`, "plain-text");
  }
  if (/^\p{White_Space}|\p{White_Space}$/u.test(value)) {
    throw new Malformed("a text begins and ends with a visible character", "plain-text");
  }
  if (UNREADABLE.test(value)) throw new Malformed("a text has no control characters", "plain-text");
  return value;
}

/** The first characters of any text as such a line; null where nothing in it can be read. */
export function readable(text: string, maxLength: number): string | null {
  const characters = [...text.split(UNREADABLE).join(" ").replace(/\p{White_Space}+/gu, " ").trim()];
  if (characters.length === 0) return null;
  return characters.length <= maxLength ? characters.join("") : `${characters.slice(0, maxLength).join("")}…`;
}

/** An array whose items are counted before any of them is read. */
export function items(value: JsonValue, maxItems: number, minItems = 0): readonly JsonValue[] {
  if (!isArray(value)) throw new Malformed("an array was expected", "canonical-form");
  if (value.length < minItems || value.length > maxItems) {
    throw new Malformed(`${value.length} items, where ${minItems} to ${maxItems} may be`, "count-limit");
  }
  return value;
}

export function lines(value: JsonValue, maxItems: number, maxLength = 200): string[] {
  return items(value, maxItems).map((item) => line(item, maxLength));
}

/** 32 bytes: a digest, an id, any uint256. */
export function digest(value: JsonValue): Hex {
  if (typeof value !== "string" || !/^0x[0-9a-f]{64}$/.test(value)) {
    throw new Malformed("a digest is 0x and 64 lowercase hexadecimal digits", "digest-length");
  }
  return value as Hex;
}

/** An address in lowercase digits; in JSON it is EIP-55 when of mixed case. */
export function address(value: JsonValue): Hex {
  if (typeof value !== "string" || !/^0x[0-9a-fA-F]{40}$/.test(value)) {
    throw new Malformed("an address is 0x and 40 hexadecimal digits", "address");
  }
  const lower = value.toLowerCase() as Hex;
  if (value !== lower && value !== checksummed(lower)) {
    throw new Malformed("the address's checksum is wrong", "address");
  }
  return lower;
}

/** EIP-55: a letter is a capital where the digit of the hash of the text, at the same place, is 8 or more. */
export function checksummed(lower: Hex): string {
  const marks = toHex(keccak256(utf8(lower.slice(2))));
  return "0x" + [...lower.slice(2)].map((digit, at) => ("89abcdef".includes(marks.charAt(2 + at)) ? digit.toUpperCase() : digit)).join("");
}

export function hexBytes(value: JsonValue, limit: { exact: number } | { most: number }): Bytes {
  const most = "exact" in limit ? limit.exact : limit.most;
  if (typeof value !== "string" || value.length > 2 + 2 * most || !/^0x(?:[0-9a-f]{2})*$/.test(value)) {
    throw new Malformed(`0x and digits of at most ${most} bytes were expected`, "hex");
  }
  const bytes = fromHex(value as Hex);
  if ("exact" in limit && bytes.length !== limit.exact) {
    throw new Malformed(`${limit.exact} bytes were expected, not ${bytes.length}`, "hex");
  }
  return bytes;
}

export function base64UrlBytes(value: JsonValue, maxBytes: number): Bytes {
  const bytes = typeof value === "string" && value.length <= 2 * maxBytes + 4 ? fromBase64Url(value) : null;
  if (bytes === null || bytes.length > maxBytes) {
    throw new Malformed(`base64url of at most ${maxBytes} bytes was expected`, "base64url");
  }
  return bytes;
}

/** A measured number: at most 12 digits before and 6 after the point, and no zeros that say nothing. */
export function decimal(value: JsonValue): string {
  if (typeof value !== "string" || !/^(?:0|[1-9][0-9]{0,11})(?:\.[0-9]{0,5}[1-9])?$/.test(value)) {
    throw new Malformed('a number is a text such as "12.38"', "decimal");
  }
  return value;
}

export interface Cid {
  readonly text: string;
  readonly codec: "raw" | "dag-pb";
  readonly digest: Hex;
}

/** A CIDv1 with a SHA-256: `b`, then base32 of version 1, codec, 0x12 0x20, digest. */
export function cid(value: JsonValue): Cid {
  if (typeof value !== "string" || !/^b[a-z2-7]{58}$/.test(value)) {
    throw new Malformed("a CID of ours is b and 58 characters of base32", "cid");
  }
  const bytes = fromBase32(value.slice(1).toUpperCase(), "cid");
  const [version, codec, hash, size] = bytes;
  if (version !== 1 || (codec !== 0x55 && codec !== 0x70) || hash !== 0x12 || size !== 0x20) {
    throw new Malformed("a CID of ours is version 1, raw or dag-pb, with a SHA-256", "cid");
  }
  return { text: value, codec: codec === 0x55 ? "raw" : "dag-pb", digest: toHex(bytes.subarray(4)) };
}

/** A file's bare name: at most 120 characters, no path in it. */
export function fileName(value: JsonValue): string {
  let name: string;
  try {
    name = line(value, 120);
  } catch (error) {
    throw error instanceof Malformed ? new Malformed("a file's name is one line of at most 120 characters", "file-name") : error;
  }
  if (name === "." || name === ".." || /[/\\:*?"<>|]/.test(name)) {
    throw new Malformed("a file's name has no path in it", "file-name");
  }
  return name;
}

/** An http or https address without query, fragment, credentials or final slash. */
export function url(value: JsonValue): string {
  const form = /^https?:\/\/[A-Za-z0-9.\-[\]:]+(?:\/[A-Za-z0-9._~%/-]*)?$/;
  if (typeof value !== "string" || value.length > 1024 || !form.test(value) || value.endsWith("/")) {
    throw new Malformed("an address such as https://prints.example was expected", "url");
  }
  return value;
}
