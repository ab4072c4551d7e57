/**
 * EIP-712: what accounts sign, and the ids that are digests of it. A struct is read from JSON by its type text; a
 * member's form follows from its Solidity type.
 *
 * Source: EIP-712; docs/formats.md, conventions.
 */

import { concat, fromHex, toHex, unsigned, utf8, type Bytes, type Hex } from "./bytes.js";
import { keccak256 } from "./digests.js";
import { Malformed } from "./failures.js";
import { address, digest, field, flag, record } from "./fields.js";
import { isArray, type JsonValue } from "./json.js";

export const REGISTRATION =
  "Registration(address registrant,bytes32 commitment,bytes32 manifestDigest,bool isPrivate," +
  "uint256 parentId,uint16 resaleShare,uint16 derivativeShare,uint40 edition)";
export const TERMS =
  "Terms(uint256 designId,bytes32 termsDigest,address currency,uint96 price,address gateway,uint40 cap," +
  "uint40 notBefore,uint40 notAfter,uint16 sparesFlat,uint16 sparesPerHundred,uint16 smallestReservation," +
  "bool transferable,uint8 payout,bytes32 salt)";
export const RESERVATION =
  "Reservation(address holder,address gateway,address agent,uint256 licenseId,uint16 revision," +
  "uint16 prints,uint40 expiresAt,uint40 deadline,bytes32 salt)";
export const REDEMPTION = "Redemption(uint256 tokenId,uint32 sequence,bytes32 requestDigest)";
export const OUTCOME = "Outcome(uint256 tokenId,uint32 sequence,uint8 result,bytes32 receiptDigest)";

const DOMAIN = "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)";
const MOST_ITEMS = 1000;

export interface Domain {
  readonly name: "Platemark DesignRegistry" | "Platemark PrintLicense" | "Platemark PrintLedger";
  readonly chainId: number;
  readonly contract: Hex;
}

/** A member's value: 32-byte words and addresses as hexadecimal text, numbers as integers. */
export type Member = Hex | bigint | boolean | Struct | readonly Struct[];

interface Declared {
  readonly kind: string;
  readonly name: string;
}

interface Layout {
  readonly typeHash: Bytes;
  readonly members: readonly Declared[];
  readonly nested: ReadonlyMap<string, string>;
}

const LAYOUTS = new Map<string, Layout>();

/** A struct's values, checked against its type. */
export class Struct {
  readonly type: string;
  readonly #values: ReadonlyMap<string, Member>;

  constructor(type: string, values: Iterable<readonly [string, Member]>) {
    this.type = type;
    this.#values = new Map(values);
  }

  /** The member of a type that is text: an address, bytes32 or uint256. */
  text(name: string): Hex {
    const value = this.#values.get(name);
    if (typeof value !== "string") throw new TypeError(`${name} is no text`);
    return value;
  }

  /** The member of an integer type below uint256. */
  number(name: string): bigint {
    const value = this.#values.get(name);
    if (typeof value !== "bigint") throw new TypeError(`${name} is no number`);
    return value;
  }

  /** `hashStruct`: Keccak-256 of the type's hash and one word for each member. */
  hash(): Bytes {
    const { typeHash, members } = layoutOf(this.type);
    return keccak256(concat(typeHash, ...members.map(({ name }) => word(this.#values.get(name)))));
  }

  /** What is signed, and the id of what has one. */
  digest(domain: Domain): Bytes {
    return keccak256(concat(new Uint8Array([0x19, 0x01]), separator(domain), this.hash()));
  }

  /** The same as an id. */
  id(domain: Domain): Hex {
    return toHex(this.digest(domain));
  }
}

export function typeHash(type: string): Bytes {
  return layoutOf(type).typeHash;
}

/** The domain separator, 32 bytes. */
export function separator(domain: Domain): Bytes {
  return keccak256(
    concat(
      keccak256(utf8(DOMAIN)),
      keccak256(utf8(domain.name)),
      keccak256(utf8("1")),
      unsigned(domain.chainId, 32),
      word(domain.contract),
    ),
  );
}

/** Reads a struct from JSON: exactly its members, each in the one form of its type. */
export function readStruct(type: string, value: JsonValue): Struct {
  const { members, nested } = layoutOf(type);
  const found = record(
    value,
    members.map(({ name }) => name),
  );
  const values = members.map(({ kind, name }) => [name, readMember(kind, name, field(found, name), nested)] as const);
  members.forEach(({ kind, name }, at) => checkRange(kind, name, values[at]?.[1]));
  return new Struct(type, values);
}

function readMember(kind: string, name: string, value: JsonValue, nested: ReadonlyMap<string, string>): Member {
  if (kind === "address") return address(value);
  if (kind === "bytes32" || kind === "uint256") return digest(value);
  if (kind === "bool") return flag(value);
  if (kind.startsWith("uint")) return readInteger(bitsOf(kind), name, value);
  const struct = nested.get(kind.replace("[]", ""));
  if (struct === undefined) throw new TypeError(`no type ${kind}`);
  if (!kind.endsWith("[]")) return readStruct(struct, value);
  if (!isArray(value) || value.length > MOST_ITEMS) {
    throw new Malformed(`an array of at most ${MOST_ITEMS} was expected`, "canonical-form");
  }
  return value.map((item) => readStruct(struct, item));
}

/** Integers that may pass 2^53 travel as decimal text. */
function readInteger(bits: number, name: string, value: JsonValue): bigint {
  const isText = bits > 53;
  const fits = isText ? typeof value === "string" && /^(?:0|[1-9][0-9]{0,77})$/.test(value) : typeof value === "number";
  if (!fits) throw new Malformed(`${name} is ${isText ? "a decimal text" : "an integer"}`, "integer-range");
  return BigInt(value as string | number);
}

function checkRange(kind: string, name: string, value: Member | undefined): void {
  if (typeof value === "bigint" && (value < 0n || value >> BigInt(bitsOf(kind)) !== 0n)) {
    throw new Malformed(`${name} does not fit ${kind}`, "integer-range");
  }
}

function bitsOf(kind: string): number {
  return Number(kind.slice("uint".length));
}

function word(value: Member | undefined): Bytes {
  if (typeof value === "string") return concat(new Uint8Array(32 - (value.length - 2) / 2), fromHex(value));
  if (typeof value === "bigint") return unsigned(value, 32);
  if (typeof value === "boolean") return unsigned(value ? 1 : 0, 32);
  if (value instanceof Struct) return value.hash();
  if (value === undefined) throw new TypeError("a member without a value");
  return keccak256(concat(...value.map((item) => item.hash())));
}

/** Splits `A(x y,…)B(…)` into the primary type and those that it refers to. */
function layoutOf(type: string): Layout {
  const known = LAYOUTS.get(type);
  if (known !== undefined) return known;
  const [primary = "", ...others] = type.match(/\w+\([^)]*\)/g) ?? [];
  const made = {
    typeHash: keccak256(utf8(type)),
    members: primary
      .slice(primary.indexOf("(") + 1, -1)
      .split(",")
      .map((member) => ({ kind: member.split(" ")[0] ?? "", name: member.split(" ")[1] ?? "" })),
    nested: new Map(others.map((other) => [other.slice(0, other.indexOf("(")), other])),
  };
  LAYOUTS.set(type, made);
  return made;
}
