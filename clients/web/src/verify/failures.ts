/**
 * What a reader or a check throws. `Malformed`: the data has a form that no writer gives it. `Refuted`: the form is
 * right and what it says is not. Codes are those of docs/errors.md.
 */

export class Malformed extends Error {
  readonly code: string;

  constructor(message: string, code: string) {
    super(message);
    this.name = "Malformed";
    this.code = code;
  }
}

/** A member of a passport is missing, broken, or not what the others give. */
export class BrokenPart extends Malformed {
  readonly part: string;

  constructor(message: string, part: string, code = "passport") {
    super(message, code);
    this.name = "BrokenPart";
    this.part = part;
  }
}

export class Refuted extends Error {
  readonly code: string;
  readonly expected: string;
  readonly found: string;

  constructor(message: string, code: string, expected: unknown, found: unknown) {
    super(message);
    this.name = "Refuted";
    this.code = code;
    this.expected = String(expected);
    this.found = String(found);
  }
}

/** Returns if `expected` and `found` are the same; throws `Refuted` otherwise. */
export function same(found: unknown, expected: unknown, code: string, message: string): void {
  if (found !== expected) throw new Refuted(message, code, expected, found);
}
