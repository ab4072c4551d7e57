/** Every format reads what Python reads and refuses what Python refuses, by the same vectors. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { secp256k1 } from "@noble/curves/secp256k1.js";

import { addressOf, signerOf } from "../src/verify/accounts.js";
import { concat, fromHex, toHex, utf8, type Hex } from "../src/verify/bytes.js";
import * as digests from "../src/verify/digests.js";
import { address, checksummed, cid, digest, hexBytes, readable } from "../src/verify/fields.js";
import { decode, encode, parse, type JsonValue } from "../src/verify/json.js";
import { decodeEntry } from "../src/verify/log_entry.js";
import { readManifest } from "../src/verify/manifest.js";
import { checkInclusion, filesRoot, leafHash, treeHead } from "../src/verify/merkle.js";
import { readPassport } from "../src/verify/passport.js";
import { readProfile } from "../src/verify/profile.js";
import { preAuthentication, readEnvelope, readStatement } from "../src/verify/receipt.js";
import { openRelease, readRelease } from "../src/verify/release.js";
import { serialOf } from "../src/verify/serial.js";
import { keyId, openStatement } from "../src/verify/statements.js";
import { readStruct, separator, typeHash } from "../src/verify/typed_data.js";
import { bytesOf, changed, refusal, unhex, value, vectors } from "./vectors.js";

const MANY = 1 << 24;

test("canonical JSON has one form", () => {
  const { valid, notCanonical, invalid } = vectors("canonical");
  for (const { name, json, canonical } of valid) {
    assert.equal(toHex(encode(parse(utf8(json), MANY))), toHex(utf8(canonical)), name);
    assert.deepEqual(decode(utf8(canonical), MANY), parse(utf8(json), MANY), name);
  }
  for (const { name, json } of notCanonical) {
    parse(utf8(json), MANY);
    assert.equal(refusal(() => decode(utf8(json), MANY)), "canonical-form", name);
  }
  for (const { name, data } of invalid) {
    assert.equal(refusal(() => parse(unhex(data), MANY)), "canonical-form", name);
  }
});

test("JSON ends at 32 levels and at its limit of bytes", () => {
  const nested = (levels: number): Uint8Array => utf8("[".repeat(levels) + "]".repeat(levels));
  parse(nested(32), MANY);
  assert.equal(refusal(() => parse(nested(33), MANY)), "canonical-form");
  assert.equal(refusal(() => parse(nested(20_000), MANY)), "canonical-form");
  parse(utf8('["{[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["]'), MANY);
  assert.equal(refusal(() => parse(utf8("[1]"), 2)), "too-large");
});

test("a key named like a member of every object is a key like others", () => {
  const data = utf8('{"__proto__":{"x":1},"constructor":2}');
  assert.equal(toHex(encode(parse(data, MANY))), toHex(data));
});

test("any text has a line that can be read, or none", () => {
  const texts: [string, string | null][] = [
    ["the hook breaks", "the hook breaks"],
    [" two\r\nlines\t and\u2028more ", "two lines and more"],
    ["\x1b[2Jturned\u202e\u2066round", "[2Jturned round"],
    ["東京 👩‍🔧", "東京 👩‍🔧"],
    ["👩".repeat(200), "👩".repeat(200)],
    ["👩".repeat(201), `${"👩".repeat(200)}…`],
    ["\x00 \n", null],
    ["", null],
  ];
  for (const [text, line] of texts) assert.equal(readable(text, 200), line, text);
});

test("digests and addresses have one text", () => {
  const { keccak256, addresses, invalidAddresses, invalidDigests, accounts, compact } = vectors("values");
  for (const { text, digest: expected } of keccak256) assert.equal(toHex(digests.keccak256(utf8(text))), `0x${expected}`);
  for (const { name, text } of addresses) assert.equal(address(text), text.toLowerCase(), name);
  for (const { name, value: bad } of invalidAddresses) assert.equal(refusal(() => address(bad)), "address", name);
  for (const { name, value: bad } of invalidDigests) assert.equal(refusal(() => digest(bad)), "digest-length", name);
  for (const { secret, address: expected } of accounts) {
    assert.equal(checksummed(addressOf(secp256k1.getPublicKey(unhex(secret), false))), expected);
  }
  for (const { digest: signed, address: by, signature } of compact) {
    assert.equal(checksummed(signerOf(unhex(signed), unhex(signature))), by);
  }
});

test("tagged digests are those of the vectors", () => {
  const word = (name: string): Uint8Array => digests.keccak256(utf8(`platemark vectors: ${name}`));
  const pattern = Uint8Array.from({ length: 1216 }, (_, i) => (i + (i >> 8)) % 251);
  const made = {
    commitment: digests.commitment(word("registrant").subarray(12), word("salt"), word("files root")),
    keyCommitment: digests.keyCommitment(word("content key")),
    tokenDigest: digests.textDigest("eyJhbGciOiJFZERTQSJ9.e30.c2lnbmF0dXJl"),
    recipientDigest: digests.recipientDigest(pattern),
    requestDigest: digests.requestDigest({
      tokenDigest: word("token digest"),
      printId: word("print id").subarray(0, 16),
      recipientDigest: word("recipient"),
      seenBlock: 17n,
      seenHash: word("block"),
      detail: word("detail"),
    }),
    detailDigest: digests.detailDigest(word("salt"), value({ printer: "bay 4", parts: ["lid", "body"] })),
    receiptDigest: digests.receiptDigest(word("salt"), utf8('{"_type":"https://in-toto.io/Statement/v1"}')),
    serialDigest: digests.serialDigest(word("token"), 3),
    privateFileHash: digests.privateFileHash(word("salt"), word("file")),
  };
  const found = Object.fromEntries(Object.entries(made).map(([name, bytes]) => [name, toHex(bytes).slice(2)]));
  assert.deepEqual(found, vectors("digests").digests);
});

test("structs have the hashes and signatures of EIP-712", () => {
  const { chainId, signer, domains, structs } = vectors("typed_data");
  for (const one of structs) {
    const { name, verifyingContract, separator: expected } = domains[one.domain];
    const domain = { name, chainId, contract: verifyingContract.toLowerCase() as Hex };
    const struct = readStruct(one.type, value(one.values));
    assert.equal(toHex(separator(domain)), expected, one.name);
    assert.equal(toHex(typeHash(one.type)), one.typeHash, one.name);
    assert.equal(toHex(struct.hash()), one.structHash, one.name);
    assert.equal(struct.id(domain), one.digest, one.name);
    assert.equal(checksummed(signerOf(fromHex(one.digest), unhex(one.signature))), signer, one.name);
  }
});

test("integers of structs keep their range and their form", () => {
  const read = (kind: string, one: JsonValue): unknown => readStruct(`One(${kind} x)`, new Map([["x", one]]));
  read("uint16", 65_535);
  read("uint96", "79228162514264337593543950335");
  for (const [kind, bad] of [
    ["uint16", 65_536],
    ["uint16", -1],
    ["uint16", "1"],
    ["uint96", 1],
    ["uint96", "01"],
    ["uint96", "79228162514264337593543950336"],
  ] as const) {
    assert.equal(refusal(() => read(kind, bad)), "integer-range", `${kind} ${bad}`);
  }
});

test("log entries are read, hashed and signed as written", () => {
  const { ledger, chainId, signer, valid, invalid } = vectors("log_entry");
  const domain = { name: "Platemark PrintLedger", chainId, contract: ledger.toLowerCase() as Hex } as const;
  for (const { name, data, leaf } of valid) {
    const entry = decodeEntry(unhex(data));
    assert.equal(entry.kind, name);
    assert.equal(toHex(leafHash(unhex(data))), `0x${leaf}`);
    if (entry.kind !== "closed") {
      assert.equal(checksummed(signerOf(entry.voucher.digest(domain), entry.signature)), signer);
    }
  }
  for (const { name, data, code } of invalid) assert.equal(refusal(() => decodeEntry(unhex(data))), code, name);
});

test("trees have the roots and proofs of RFC 6962", () => {
  const counted = (size: number): Uint8Array[] => Array.from({ length: size }, (_, i) => new Uint8Array([i >> 24, i >> 16, i >> 8, i]));
  const { roots, inclusion, filesRoot: files } = vectors("trees");
  const published = vectors("published_trees");
  const data: Uint8Array[] = published.leaves.map(unhex);
  for (const [leavesOf, found] of [
    [counted, { roots, inclusion }],
    [(size: number) => data.slice(0, size), published],
  ] as const) {
    const rootOf = (size: number): Uint8Array => treeHead(leavesOf(size).map(leafHash));
    for (const { name, size, root } of found.roots) assert.equal(toHex(rootOf(size)), `0x${root}`, name);
    for (const { name, index, size, proof } of found.inclusion) {
      const hashes: Uint8Array[] = proof.map(unhex);
      const leaf = leafHash(leavesOf(size)[index] as Uint8Array);
      checkInclusion(leaf, index, size, hashes, rootOf(size));
      const refused = (at: number, of: number, with_: readonly Uint8Array[]): void =>
        assert.equal(refusal(() => checkInclusion(leaf, at, of, with_, rootOf(size))), "merkle-proof", name);
      refused(size, size, hashes);
      refused(index, size, [...hashes, leaf]);
      if (hashes.length > 0) refused(index, size, hashes.slice(1));
      if (hashes.length > 0) refused(index ^ 1, size, hashes);
    }
  }
  assert.equal(toHex(filesRoot(files.sha256s.map(unhex))), `0x${files.root}`);
  assert.equal(refusal(() => filesRoot([])), "files-root");
});

test("identifiers of blocks are read in one form", () => {
  const { shapes } = vectors("cid");
  for (const { root } of shapes) cid(root);
  const good: string = shapes[0].root;
  for (const bad of [good.toUpperCase(), `${good}a`, good.slice(0, -1), `z${good.slice(1)}`, good.slice(0, -1) + "b", null, 5]) {
    assert.equal(refusal(() => cid(bad)), "cid");
  }
});

test("statements are under their key, of their kind, and spelled once", () => {
  const { releaseKey, statements, ids, preAuthentication: pae } = vectors("statements");
  const key = new Uint8Array(Buffer.from(releaseKey.public, "base64url"));
  assert.equal(keyId(key), releaseKey.kid);
  for (const { typ, jws } of statements) openStatement(jws, typ, key);
  const [{ typ: other }, { typ, jws }] = statements;
  openRelease(jws, key);
  assert.equal(refusal(() => openStatement(jws, other, key)), "jws-type");
  assert.equal(refusal(() => openStatement(jws, typ, new Uint8Array(32))), "signature-invalid");
  const [header, payload, signature] = jws.split(".");
  const forged = Buffer.from(signature, "base64url");
  forged[0] = (forged[0] ?? 0) ^ 1;
  assert.equal(refusal(() => openStatement(`${header}.${payload}.${forged.toString("base64url")}`, typ, key)), "signature-invalid");
  for (const bad of [`${jws}.`, `${jws}=`, `${header}.${payload}.`, `${header}.e30=.${signature}`, `${header}.W10.${signature}`, "a".repeat(20_000)]) {
    assert.equal(refusal(() => openStatement(bad, typ, key)), "jws");
  }
  assert.equal(toHex(preAuthentication(utf8("{}"))), pae);
  assert.equal(serialOf(ids.tokenId, 1), ids.serial);
});

/** The documents that a passport is made of; the others are not read here. */
const READERS: Readonly<Record<string, (of: unknown) => unknown>> = {
  manifest: (of) => readManifest(value(of)),
  profile: (of) => readProfile(value(of)),
  receipt: (of) => readStatement(encode(value(of))),
  envelope: (of) => readEnvelope(value(of)),
  release: (of) => readRelease(value(of)),
  passport: (of) => readPassport(bytesOf(of)),
};

test("documents are read, and altered ones refused with their code", () => {
  const documents = vectors("documents");
  const { ids } = vectors("statements");
  for (const [name, read] of Object.entries(READERS)) {
    assert.ok(read(documents[name].json), name);
    assert.equal(toHex(digests.sha256(encode(value(documents[name].json)))), `0x${documents[name].sha256}`, name);
  }
  assert.equal(readManifest(value(documents.manifest.json)).digest, cid(ids.manifestCid).digest);
  assert.equal(readProfile(value(documents.profile.json)).digest, cid(ids.profileCid).digest);
  let tried = 0;
  for (const one of vectors("documents_invalid").cases) {
    const read = READERS[one.document];
    if (read === undefined) continue;
    tried++;
    assert.equal(refusal(() => read(changed(documents[one.document].json, one.path, one))), one.code, one.name);
  }
  assert.ok(tried > 120);
});

test("an address in small letters is the same address in every digest", () => {
  const { json } = vectors("documents").manifest;
  const lower = { ...json, registrant: json.registrant.toLowerCase() };
  assert.equal(readManifest(value(lower)).digest, readManifest(value(json)).digest);
});

test("names of files are alike in small and capital letters, of every script", () => {
  const { json } = vectors("documents").manifest;
  const named = (one: string, other: string): unknown => {
    const copy = changed(changed(json, ["files", 0, "name"], { value: one }), ["files", 1, "name"], { value: other });
    return readManifest(value(copy));
  };
  for (const [one, other] of [["a", "b"], ["i", "ı"], ["é", "e\u0301"]] as const) named(one, other);
  for (const [one, other] of [["straße", "STRASSE"], ["ẞ", "ss"], ["ΑΣ", "ας"], ["K", "\u212a"], ["ﬁ", "FI"]] as const) {
    assert.equal(refusal(() => named(one, other)), "manifest-files", `${one} ${other}`);
  }
});

test("hexadecimal texts have a limit", () => {
  assert.equal(hexBytes("0x0102", { most: 2 }).length, 2);
  assert.equal(refusal(() => hexBytes("0x010203", { most: 2 })), "hex");
  assert.equal(concat(new Uint8Array([1]), new Uint8Array([2])).length, 2);
});
