/** Reads the vectors that Python reads too: tests/vectors/*.json. */

import { readFileSync } from "node:fs";
import { join } from "node:path";
import assert from "node:assert/strict";

import { utf8, type Bytes } from "../src/verify/bytes.js";
import { Malformed, Refuted } from "../src/verify/failures.js";
import { parse, type JsonValue } from "../src/verify/json.js";

const FOLDER = join(import.meta.dirname, "..", "..", "..", "..", "tests", "vectors");

export type Vector = any;

export function vectors(name: string): Vector {
  return JSON.parse(readFileSync(join(FOLDER, `${name}.json`), "utf8"));
}

/** The value as the strict reader gives it. */
export function value(of: unknown): JsonValue {
  return parse(bytesOf(of), 1 << 24);
}

export function bytesOf(of: unknown): Bytes {
  return utf8(JSON.stringify(of));
}

export function unhex(text: string): Bytes {
  return new Uint8Array(Buffer.from(text.replace(/^0x/, ""), "hex"));
}

/** The code with which a reader or a check refuses. */
export function refusal(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    if (error instanceof Malformed || error instanceof Refuted) return error.code;
    throw error;
  }
  return assert.fail("nothing was refused");
}

/** A copy of a document with one place changed: `delete`, or another `value`. */
export function changed(document: unknown, path: readonly (string | number)[], change: Vector): unknown {
  const copy = structuredClone(document) as Vector;
  let place = copy;
  for (const step of path.slice(0, -1)) place = place[step];
  const last = path.at(-1) as string;
  if (change.delete) delete place[last];
  else place[last] = change.value;
  return copy;
}
