/**
 * Receipts: an in-toto Statement about a print, in a DSSE envelope that agent and gateway signed.
 *
 * Source: in-toto Statement v1, DSSE v1; docs/formats.md, receipt.
 */

import { signerOf } from "./accounts.js";
import { concat, fromBase64, fromHex, toHex, utf8, type Bytes, type Hex } from "./bytes.js";
import { serialDigest, sha256 } from "./digests.js";
import { Malformed, Refuted, same } from "./failures.js";
import { address, decimal, digest, field, items, line, record, whole } from "./fields.js";
import { decode, encode, type JsonValue } from "./json.js";
import { RESULTS, type Result } from "./log_entry.js";
import { serialOf } from "./serial.js";
import { checkSignature, keyId } from "./statements.js";

const MOST_BYTES = 262_144;
const PAYLOAD_TYPE = "application/vnd.in-toto+json";
const SOURCES = ["meter", "printer", "slicer", "operator", "none"];
const UNITS = {
  materialInPart: "g",
  materialInSupports: "g",
  materialPurged: "g",
  materialFailed: "g",
  duration: "min",
  energy: "kWh",
};

export interface Envelope {
  readonly statement: Bytes;
  readonly agent: Hex;
  readonly agentSignature: Bytes;
  readonly gateway: { readonly keyId: string; readonly signature: Bytes } | null;
}

export interface Receipt {
  readonly designId: Hex;
  readonly revision: number;
  readonly licenseId: Hex;
  readonly tokenId: Hex;
  readonly sequence: number;
  readonly result: Result;
  readonly startedAt: number | null;
  readonly finishedAt: number | null;
  readonly material: Material | null;
}

export interface Material {
  readonly name: string;
  readonly lot: string;
  readonly recycledPercent: string | null;
}

export function readEnvelope(value: JsonValue): Envelope {
  const found = record(value, ["payload", "payloadType", "signatures"]);
  if (found.get("payloadType") !== PAYLOAD_TYPE) throw wrong("the envelope holds something else than a statement");
  const [first, second] = items(field(found, "signatures"), 2, 1);
  const agent = readSignature(first ?? null, 65);
  const gateway = second === undefined ? null : readSignature(second, 64);
  return {
    statement: base64(field(found, "payload"), MOST_BYTES),
    agent: address(agent.keyId),
    agentSignature: agent.signature,
    gateway,
  };
}

/** Returns if the token's agent signed SHA-256(PAE), and the gateway's release key PAE itself. */
export function checkEnvelope(envelope: Envelope, agent: Hex, releaseKey: Uint8Array): void {
  const signed = preAuthentication(envelope.statement);
  const signer = signerOf(sha256(signed), envelope.agentSignature);
  if (signer !== agent || envelope.agent !== agent) {
    throw new Refuted("the receipt is not signed by the token's agent", "signature-invalid", agent, signer);
  }
  const found = envelope.gateway?.keyId ?? "no signature";
  same(found, keyId(releaseKey), "signature-invalid", "the receipt is not countersigned by this gateway");
  checkSignature(releaseKey, signed, envelope.gateway?.signature ?? new Uint8Array());
}

/** DSSE's pre-authentication encoding of a statement. */
export function preAuthentication(statement: Uint8Array): Bytes {
  return concat(utf8(`DSSEv1 ${PAYLOAD_TYPE.length} ${PAYLOAD_TYPE} ${statement.length} `), statement);
}

/** The receipt in a statement's bytes, which are canonical. */
export function readStatement(data: Uint8Array): Receipt {
  const statement = record(decode(data, MOST_BYTES), ["_type", "subject", "predicateType", "predicate"]);
  const types = [statement.get("_type"), statement.get("predicateType")];
  if (types[0] !== "https://in-toto.io/Statement/v1" || types[1] !== "https://platemark.example/print-receipt/v1") {
    throw new Malformed("this is no statement about a print", "receipt-type");
  }
  const found = record(
    field(statement, "predicate"),
    ["designId", "revision", "licenseId", "tokenId", "sequence", "serial", "result", "slicer", "attempts", "objects", "quantities"],
    ["material"],
  );
  const slicer = record(field(found, "slicer"), ["name", "version", "profileSha256"]);
  const attempts = items(field(found, "attempts"), 64);
  const objects = items(field(found, "objects"), 4096);
  const designId = digest(field(found, "designId"));
  const revision = whole(field(found, "revision"), 1, 65_535);
  const licenseId = digest(field(found, "licenseId"));
  const tokenId = digest(field(found, "tokenId"));
  const sequence = whole(field(found, "sequence"), 1, 65_535);
  const result = readResult(field(found, "result"));
  line(field(slicer, "name"), 60);
  line(field(slicer, "version"), 60);
  digest(field(slicer, "profileSha256"));
  const times = attempts.map(readAttempt);
  objects.forEach(readObject);
  readQuantities(field(found, "quantities"));
  const material = found.has("material") ? readMaterial(field(found, "material")) : null;
  const serial = serialOf(tokenId, sequence);
  const subject = [
    new Map<string, JsonValue>([
      ["name", serial],
      ["digest", new Map([["sha256", toHex(serialDigest(fromHex(tokenId), sequence)).slice(2)]])],
    ]),
  ];
  const isAbout = toHex(encode(field(statement, "subject"))) === toHex(encode(subject)) && found.get("serial") === serial;
  if (!isAbout) throw new Malformed("the statement is about another part than it says", "receipt-subject");
  return {
    designId,
    revision,
    licenseId,
    tokenId,
    sequence,
    result,
    startedAt: times[0]?.startedAt ?? null,
    finishedAt: times.at(-1)?.finishedAt ?? null,
    material,
  };
}

function readAttempt(value: JsonValue): { startedAt: number; finishedAt: number } {
  const found = record(value, ["printer", "gcodeSha256", "startedAt", "finishedAt", "result", "reason"]);
  const startedAt = whole(field(found, "startedAt"));
  const printer = record(field(found, "printer"), ["name", "model", "driver"]);
  line(field(printer, "name"));
  line(field(printer, "model"));
  line(field(printer, "driver"), 60);
  digest(field(found, "gcodeSha256"));
  const finishedAt = whole(field(found, "finishedAt"), startedAt);
  readResult(field(found, "result"));
  line(field(found, "reason"), 200, true);
  return { startedAt, finishedAt };
}

function readObject(value: JsonValue): void {
  const found = record(value, ["part", "index", "result"]);
  line(field(found, "part"), 120);
  whole(field(found, "index"));
  readResult(field(found, "result"));
}

/** Each quantity has a value exactly when somebody measured it. */
function readQuantities(value: JsonValue): void {
  const found = record(value, Object.keys(UNITS));
  for (const [name, unit] of Object.entries(UNITS)) {
    const quantity = record(field(found, name), ["unit", "source"], ["value"]);
    const source = quantity.get("source");
    if (quantity.get("unit") !== unit || typeof source !== "string" || !SOURCES.includes(source)) {
      throw new Malformed(`a quantity in ${unit} with a known source was expected`, "quantity");
    }
    if (quantity.has("value")) decimal(field(quantity, "value"));
    if (quantity.has("value") === (source === "none")) {
      throw new Malformed("a quantity has a value exactly when somebody measured it", "quantity");
    }
  }
}

function readMaterial(value: JsonValue): Material {
  const found = record(value, ["name", "lot"], ["recycledPercent", "documentSha256"]);
  const name = line(field(found, "name"), 120);
  const lot = line(field(found, "lot"), 120, true);
  const recycledPercent = found.has("recycledPercent") ? decimal(field(found, "recycledPercent")) : null;
  if (found.has("documentSha256")) digest(field(found, "documentSha256"));
  if (recycledPercent !== null && (!found.has("documentSha256") || Number(recycledPercent) > 100)) {
    throw new Malformed("a recycled share is at most 100 and has a document", "material");
  }
  return { name, lot, recycledPercent };
}

function readResult(value: JsonValue): Result {
  const word = line(value);
  const result = RESULTS.find((known) => known === word);
  if (result === undefined) throw new Malformed("a result is completed, failed, cancelled or rejected", "result");
  return result;
}

function readSignature(value: JsonValue, size: number): { keyId: string; signature: Bytes } {
  const found = record(value, ["keyid", "sig"]);
  const signature = base64(field(found, "sig"), size);
  if (signature.length !== size) throw wrong("a signature in the envelope has a wrong length");
  return { keyId: line(field(found, "keyid"), 64), signature };
}

function base64(value: JsonValue, most: number): Bytes {
  const data = typeof value === "string" ? fromBase64(value) : null;
  if (data === null || data.length > most) throw wrong("base64 in its only form was expected");
  return data;
}

function wrong(message: string): Malformed {
  return new Malformed(message, "envelope");
}
