/**
 * The part passport: reads the file, and lets in only one whose parts belong together. Nothing else is verified here.
 *
 * Source: docs/formats.md, passport; docs/verification.md.
 */

import { fromHex, toHex, type Bytes, type Hex } from "./bytes.js";
import { detailDigest } from "./digests.js";
import { BrokenPart, Malformed } from "./failures.js";
import { address, base64UrlBytes, checksummed, digest, field, hexBytes, items, lengthOf, line, lines, record, whole } from "./fields.js";
import { isObject, parse, type JsonObject, type JsonValue } from "./json.js";
import { decodeEntry, type Ended, type Redeemed } from "./log_entry.js";
import { readManifest, type Manifest } from "./manifest.js";
import { ledgerDomain, licenseDomain, readProfile, registryDomain, type Profile } from "./profile.js";
import { readEnvelope, type Envelope } from "./receipt.js";
import { readSerial, serialOf } from "./serial.js";
import { MOST_JWS_CHARACTERS } from "./statements.js";
import { readStruct, REGISTRATION, RESERVATION, TERMS, type Struct } from "./typed_data.js";

export const MOST_BYTES = 4 << 20;

const VERSION = 1;

export interface Logged {
  readonly entry: Bytes;
  readonly index: number;
  readonly proof: readonly Bytes[];
}

export interface Anchor {
  readonly gateway: Hex;
  readonly epoch: number;
  readonly size: number;
  readonly root: Hex;
  readonly tilesDigest: Hex;
  readonly blockNumber: number;
  readonly blockHash: Hex;
  readonly transaction: Hex;
}

export interface Passport {
  readonly serial: string;
  readonly sequence: number;
  readonly designId: Hex;
  readonly licenseId: Hex;
  readonly tokenId: Hex;
  readonly revision: number;
  readonly registration: Struct;
  readonly manifest: Manifest;
  readonly terms: Struct;
  readonly profile: Profile;
  readonly permission: Struct;
  readonly permissionSignature: Bytes;
  readonly release: string;
  readonly redeemed: Logged;
  readonly request: Redeemed;
  readonly outcome: { readonly logged: Logged; readonly entry: Ended } | null;
  readonly receipt: { readonly envelope: Envelope; readonly salt: Bytes } | null;
  readonly anchor: Anchor | null;
  /** RLP of the header of the anchor's block, where there are storage proofs. */
  readonly header: Bytes | null;
  readonly content: { readonly salt: Bytes; readonly filesRoot: Hex } | null;
  /** The digest that the opened detail gives, which the request must hold. */
  readonly detail: Hex | null;
  readonly responsible: { readonly name: string; readonly contact: string } | null;
  readonly material: string;
  readonly warnings: readonly string[];
}

/** How each member of the file is read, in the order of the steps that the members belong to. */
const MEMBERS = {
  version: (value: JsonValue) => whole(value, VERSION, VERSION),
  chainId: (value: JsonValue) => whole(value),
  contracts: (value: JsonValue) => record(value, ["registry", "license", "ledger"]),
  manifest: readManifest,
  material: (value: JsonValue) => line(value, 200, true),
  warnings: (value: JsonValue) => lines(value, 64, 500),
  registration: (value: JsonValue) => readStruct(REGISTRATION, value),
  designId: digest,
  content: (value: JsonValue) => {
    const found = record(value, ["salt", "filesRoot"]);
    return { salt: hexBytes(field(found, "salt"), { exact: 32 }), filesRoot: digest(field(found, "filesRoot")) };
  },
  form: (value: JsonValue) => {
    if (typeof value === "string" && lengthOf(value) <= 1024) return value;
    throw new Malformed("a text was expected", "canonical-form");
  },
  revision: (value: JsonValue) => whole(value, 1, 65_535),
  terms: (value: JsonValue) => readStruct(TERMS, value),
  licenseId: digest,
  permission: (value: JsonValue) => readStruct(RESERVATION, value),
  permissionSignature: (value: JsonValue) => {
    const signature = hexBytes(value, { most: 4096 });
    if (signature.length < 65) throw new Malformed("an account's signature has at least 65 bytes", "hex");
    return signature;
  },
  tokenId: digest,
  sequence: (value: JsonValue) => whole(value, 1, 65_535),
  serial: readSerial,
  tokenDigest: digest,
  redeemed: readLogged,
  outcome: readLogged,
  detail: (value: JsonValue) => {
    const found = record(value, ["salt", "intended"]);
    const salt = hexBytes(field(found, "salt"), { exact: 32 });
    const intended = record(field(found, "intended"), ["printer", "parts", "references"]);
    line(field(intended, "printer"));
    lines(field(intended, "parts"), 256);
    lines(field(intended, "references"), 32);
    return toHex(detailDigest(salt, intended));
  },
  receipt: (value: JsonValue) => {
    const found = record(value, ["envelope", "salt"]);
    return { envelope: readEnvelope(field(found, "envelope")), salt: hexBytes(field(found, "salt"), { exact: 32 }) };
  },
  responsible: (value: JsonValue) => {
    const found = record(value, ["name", "contact"]);
    return { name: line(field(found, "name")), contact: line(field(found, "contact"), 200, true) };
  },
  profile: readProfile,
  release: (value: JsonValue) => {
    if (typeof value === "string" && value !== "" && lengthOf(value) <= MOST_JWS_CHARACTERS) return value;
    throw new Malformed("a release is a compact JWS", "jws");
  },
  anchor: readAnchor,
  chainProof: readChainProof,
} as const;

type Name = keyof typeof MEMBERS;

const OPTIONAL = ["outcome", "receipt", "anchor", "chainProof", "content", "detail", "responsible"] as const;
type Optional = (typeof OPTIONAL)[number];
type Read = { readonly [name in Exclude<Name, Optional>]: ReturnType<(typeof MEMBERS)[name]> } & {
  readonly [name in Optional]?: ReturnType<(typeof MEMBERS)[name]>;
};

const NAMES = Object.keys(MEMBERS) as Name[];
const REQUIRED = NAMES.filter((name) => !OPTIONAL.some((other) => other === name));

/**
 * The passport in a file. Throws `BrokenPart` naming the first part, in the order of the steps, that is missing,
 * broken or not what the others give; `Malformed` for what is no passport at all, or one of a later version.
 */
export function readPassport(data: Uint8Array): Passport {
  const value = parse(data, MOST_BYTES);
  if (!isObject(value) || 2 * REQUIRED.filter((name) => value.has(name)).length < REQUIRED.length) {
    throw new Malformed("this is no passport", "canonical-form");
  }
  const version = value.get("version");
  if (typeof version === "number" && version > VERSION) {
    throw new Malformed(`a passport of version ${version}; this reads version ${VERSION}`, "integer-range");
  }
  const found = readMembers(value);
  const domains = {
    registry: registryDomain(found.profile),
    license: licenseDomain(found.profile),
    ledger: ledgerDomain(found.profile),
  };
  checkStated(value, found, {
    chainId: found.profile.chainId,
    designId: found.registration.id(domains.registry),
    form: found.content === undefined && found.detail === undefined ? "public" : "full",
    licenseId: found.terms.id(domains.license),
    tokenId: found.permission.id(domains.ledger),
  });
  if (found.terms.text("designId") !== found.designId) throw contradicts("terms");
  if (found.permission.text("licenseId") !== found.licenseId) throw contradicts("permission");
  const request = entryOf("redeemed", found.redeemed);
  if (request.tokenId !== found.tokenId || request.sequence !== found.sequence) throw contradicts("redeemed");
  if (request.tokenDigest !== found.tokenDigest) throw contradicts("tokenDigest");
  const ended = found.outcome === undefined ? null : { logged: found.outcome, entry: entryOf("outcome", found.outcome) };
  if (ended !== null && (ended.entry.tokenId !== found.tokenId || ended.entry.sequence !== found.sequence)) {
    throw contradicts("outcome");
  }
  if (found.chainProof !== undefined && found.anchor === undefined) throw contradicts("chainProof");
  if (value.get("serial") !== serialOf(found.tokenId, found.sequence)) throw contradicts("serial");
  return {
    ...found,
    request,
    outcome: ended,
    receipt: found.receipt ?? null,
    anchor: found.anchor ?? null,
    header: found.chainProof ?? null,
    content: found.content ?? null,
    detail: found.detail ?? null,
    responsible: found.responsible ?? null,
  };
}

function readMembers(value: JsonObject): Read {
  const found: Partial<Record<Name, unknown>> = {};
  for (const name of NAMES) {
    const member = value.get(name);
    if (member !== undefined) found[name] = named(name, () => MEMBERS[name](member));
    else if (REQUIRED.includes(name)) throw new BrokenPart(`missing field: ${name}`, name, "canonical-form");
  }
  const unknown = [...value.keys()].find((name) => !Object.hasOwn(MEMBERS, name));
  if (unknown !== undefined) throw new BrokenPart(`unknown field: ${unknown.slice(0, 200)}`, unknown, "canonical-form");
  return found as Read;
}

/** What stands in the file beside the parts that give it must be what they give. */
function checkStated(value: JsonObject, found: Read, own: Readonly<Record<string, JsonValue>>): void {
  const { chainId, ...others } = own;
  if (value.get("chainId") !== chainId) throw contradicts("chainId");
  for (const name of ["registry", "license", "ledger"] as const) {
    if (found.contracts.get(name) !== checksummed(found.profile[name])) throw contradicts("contracts");
  }
  for (const [name, expected] of Object.entries(others)) {
    if (value.get(name) !== expected) throw contradicts(name);
  }
}

function entryOf(part: "redeemed", logged: Logged): Redeemed;
function entryOf(part: "outcome", logged: Logged): Ended;
function entryOf(part: "redeemed" | "outcome", logged: Logged): Redeemed | Ended {
  const entry = named(part, () => decodeEntry(logged.entry));
  if (entry.kind !== part) throw new BrokenPart(`the passport's ${part} is another kind of entry`, part);
  return entry as Redeemed | Ended;
}

function readLogged(value: JsonValue): Logged {
  const found = record(value, ["entry", "index", "proof"]);
  const proof = items(field(found, "proof"), 64);
  return {
    entry: base64UrlBytes(field(found, "entry"), 1024),
    index: whole(field(found, "index")),
    proof: proof.map((hash) => fromHex(digest(hash))),
  };
}

function readAnchor(value: JsonValue): Anchor {
  const names = ["gateway", "epoch", "size", "root", "tilesDigest", "blockNumber", "blockHash", "transaction"];
  const found = record(value, names);
  return {
    gateway: address(field(found, "gateway")),
    epoch: whole(field(found, "epoch"), 1, 2 ** 32 - 1),
    size: whole(field(found, "size"), 1),
    root: digest(field(found, "root")),
    tilesDigest: digest(field(found, "tilesDigest")),
    blockNumber: whole(field(found, "blockNumber")),
    blockHash: digest(field(found, "blockHash")),
    transaction: digest(field(found, "transaction")),
  };
}

/** Reads storage proofs for their form, and returns the block's header. */
function readChainProof(value: JsonValue): Bytes {
  const found = record(value, ["header", "accounts"]);
  const accounts = items(field(found, "accounts"), 8, 1);
  const header = hexBytes(field(found, "header"), { most: 4096 });
  for (const one of accounts) {
    const account = record(one, ["address", "proof", "slots"]);
    const slots = items(field(account, "slots"), 64);
    address(field(account, "address"));
    readNodes(field(account, "proof"));
    for (const each of slots) {
      const slot = record(each, ["key", "value", "proof"]);
      digest(field(slot, "key"));
      digest(field(slot, "value"));
      readNodes(field(slot, "proof"));
    }
  }
  return header;
}

function readNodes(value: JsonValue): void {
  for (const node of items(value, 80)) hexBytes(node, { most: 4096 });
}

function named<T>(part: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw error instanceof Malformed ? new BrokenPart(error.message, part, error.code) : error;
  }
}

function contradicts(part: string): BrokenPart {
  return new BrokenPart(`the passport's ${part} is not what its other parts give`, part);
}
