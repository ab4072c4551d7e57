/**
 * JSON as the formats use it: objects, arrays, texts, booleans, null and whole numbers within 2^53. A reader takes
 * nothing that could be read in two ways (a key twice, a fraction, a lone surrogate); a document that is hashed or
 * signed must stand in canonical form, RFC 8785.
 *
 * Source: RFC 8259, RFC 8785; docs/formats.md, conventions.
 */

import { utf8, equal, type Bytes } from "./bytes.js";
import { Malformed } from "./failures.js";

export type JsonObject = ReadonlyMap<string, JsonValue>;
export type JsonValue = null | boolean | number | string | readonly JsonValue[] | JsonObject;

const CODE = "canonical-form";
const DEEPEST = 32;
const SHORT_ESCAPES: Readonly<Record<string, string>> = {
  '"': '"',
  "\\": "\\",
  "/": "/",
  b: "\b",
  f: "\f",
  n: "\n",
  r: "\r",
  t: "\t",
};

/** Returns the value of JSON that need not be canonical. Throws `Malformed`: `too-large`, `canonical-form`. */
export function parse(data: Uint8Array, maxBytes: number): JsonValue {
  if (data.length > maxBytes) throw new Malformed(`the JSON has more than ${maxBytes} bytes`, "too-large");
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(data);
  } catch {
    throw new Malformed("this is not UTF-8", CODE);
  }
  return new Reader(text).document();
}

/** As `parse`, of bytes that are exactly those that `encode` writes. */
export function decode(data: Uint8Array, maxBytes: number): JsonValue {
  const value = parse(data, maxBytes);
  if (!equal(encode(value), data)) throw new Malformed("the JSON is not in canonical form", CODE);
  return value;
}

/** The RFC 8785 bytes of a value. */
export function encode(value: JsonValue): Bytes {
  return utf8(write(value));
}

export function isObject(value: JsonValue | undefined): value is JsonObject {
  return value instanceof Map;
}

export function isArray(value: JsonValue | undefined): value is readonly JsonValue[] {
  return Array.isArray(value);
}

function write(value: JsonValue): string {
  if (isArray(value)) return `[${value.map(write).join(",")}]`;
  if (isObject(value)) {
    // Strings compare by UTF-16 code units, which is RFC 8785's order.
    const keys = [...value.keys()].sort((one, other) => (one < other ? -1 : 1));
    return `{${keys.map((key) => `${JSON.stringify(key)}:${write(value.get(key) ?? null)}`).join(",")}}`;
  }
  return JSON.stringify(value); // texts in their shortest escapes (ECMA-262), whole numbers without a point
}

/** Reads one document from left to right. */
class Reader {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  document(): JsonValue {
    const value = this.#value(0);
    this.#space();
    if (this.#at !== this.#text.length) throw this.#wrong("more than one value");
    return value;
  }

  #value(depth: number): JsonValue {
    this.#space();
    const first = this.#text.charAt(this.#at);
    if (first === "{" || first === "[") {
      if (depth === DEEPEST) throw this.#wrong(`more than ${DEEPEST} levels`);
      this.#at++;
      return first === "{" ? this.#object(depth + 1) : this.#array(depth + 1);
    }
    if (first === '"') return this.#string();
    if (first === "-" || (first >= "0" && first <= "9")) return this.#number();
    for (const [word, value] of [
      ["true", true],
      ["false", false],
      ["null", null],
    ] as const) {
      if (this.#text.startsWith(word, this.#at)) {
        this.#at += word.length;
        return value;
      }
    }
    throw this.#wrong("no value");
  }

  #object(depth: number): JsonObject {
    const found = new Map<string, JsonValue>();
    if (this.#next("}")) return found;
    do {
      this.#space();
      if (this.#text.charAt(this.#at) !== '"') throw this.#wrong("a key that is no text");
      const key = this.#string();
      if (!this.#next(":")) throw this.#wrong("a key without a value");
      if (found.has(key)) throw this.#wrong("a key twice");
      found.set(key, this.#value(depth));
    } while (this.#next(","));
    if (!this.#next("}")) throw this.#wrong("an object without an end");
    return found;
  }

  #array(depth: number): JsonValue[] {
    const found: JsonValue[] = [];
    if (this.#next("]")) return found;
    do found.push(this.#value(depth));
    while (this.#next(","));
    if (!this.#next("]")) throw this.#wrong("an array without an end");
    return found;
  }

  #number(): number {
    const match = /-?(?:0|[1-9][0-9]*)(?![0-9.eE])/y;
    match.lastIndex = this.#at;
    const digits = match.exec(this.#text)?.[0];
    const value = Number(digits);
    if (digits === undefined || !Number.isSafeInteger(value)) throw this.#wrong("a number that is no whole one in range");
    this.#at += digits.length;
    return value === 0 ? 0 : value; // minus zero is zero
  }

  #string(): string {
    let found = "";
    let start = ++this.#at;
    for (;;) {
      const unit = this.#text.charCodeAt(this.#at); // NaN at the end
      if (!(unit >= 0x20)) throw this.#wrong("a text with a control character, or without an end");
      if (unit === 0x22) break;
      if (unit !== 0x5c) {
        this.#at++;
        continue;
      }
      found += this.#text.slice(start, this.#at) + this.#escape();
      start = this.#at;
    }
    found += this.#text.slice(start, this.#at++);
    if (/\p{Surrogate}/u.test(found)) throw this.#wrong("a lone surrogate");
    return found;
  }

  #escape(): string {
    const kind = this.#text.charAt(this.#at + 1);
    if (kind === "u") {
      const digits = this.#text.slice(this.#at + 2, this.#at + 6);
      if (!/^[0-9a-fA-F]{4}$/.test(digits)) throw this.#wrong("an unknown escape");
      this.#at += 6;
      return String.fromCharCode(Number.parseInt(digits, 16));
    }
    const character = Object.hasOwn(SHORT_ESCAPES, kind) ? SHORT_ESCAPES[kind] : undefined;
    if (character === undefined) throw this.#wrong("an unknown escape");
    this.#at += 2;
    return character;
  }

  #next(character: string): boolean {
    this.#space();
    if (this.#text.charAt(this.#at) !== character) return false;
    this.#at++;
    return true;
  }

  #space(): void {
    while (this.#at < this.#text.length && " \t\n\r".includes(this.#text.charAt(this.#at))) this.#at++;
  }

  #wrong(what: string): Malformed {
    return new Malformed(`this is not JSON of ours: ${what} (character ${this.#at})`, CODE);
  }
}
