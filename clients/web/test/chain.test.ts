/** What the chain stores confirms a passport, and each fact that differs is named. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { fromHex, toHex, type Hex } from "../src/verify/bytes.js";
import { askAll, readFacts, Unreachable, verifyOnChain, type Ask, type Facts } from "../src/verify/chain.js";
import { sha256 } from "../src/verify/digests.js";
import { readPassport, type Passport } from "../src/verify/passport.js";
import { Report } from "../src/verify/report.js";
import { statusOf } from "../src/verify/status.js";
import { bytesOf, vectors } from "./vectors.js";

const PASSPORT: Passport = readPassport(bytesOf(vectors("passports").passport));
const ANCHOR = PASSPORT.anchor ?? assert.fail("the sample is anchored");
const OTHER: Hex = `0x${"ab".repeat(32)}`;

const FACTS: Facts = {
  chainId: BigInt(PASSPORT.profile.chainId),
  final: { number: ANCHOR.blockNumber + 10, hash: OTHER, timestamp: 1_790_000_000 },
  hasCode: true,
  registrant: PASSPORT.manifest.registrant,
  isPrintable: true,
  latestRevision: 1,
  publishedManifest: null,
  license: { cap: Number(PASSPORT.terms.number("cap")), minted: 40 },
  reservation: { agent: PASSPORT.permission.text("agent"), prints: 10, burned: 0, spares: 1 },
  gateway: { profileDigest: PASSPORT.profile.digest, epoch: 1 },
  anchored: toHex(sha256(fromHex(ANCHOR.root), fromHex(ANCHOR.tilesDigest))),
  seen: { number: 17, hash: PASSPORT.request.seenHash, timestamp: 1_789_000_000 },
  anchorBlock: { number: ANCHOR.blockNumber, hash: ANCHOR.blockHash, timestamp: 1_789_100_000 },
  transactionBlock: ANCHOR.blockHash,
};

function onChain(changes: Partial<Facts> = {}): Report {
  const report = new Report();
  verifyOnChain(report, PASSPORT, { ...FACTS, ...changes });
  return report;
}

test("facts that agree hold in every step of the chain", () => {
  const report = onChain();
  assert.deepEqual(report.failures, []);
  assert.deepEqual(report.findings.map(({ step }) => step), [0, 3, 4, 5, 6, 7, 8, 10, 12, 13]);
  assert.equal(statusOf(PASSPORT, report), "valid");
});

const CHANGES: readonly [name: string, changes: Partial<Facts>, found: string][] = [
  ["another chain", { chainId: 1n }, "0 wrong-chain"],
  ["no contract", { hasCode: false }, "0 wrong-chain"],
  ["an unknown design", { registrant: null }, "3 design-unknown"],
  ["a recalled revision", { isPrintable: false }, "4 revision-recalled"],
  ["an unknown revision", { latestRevision: 0 }, "4 revision-unknown"],
  ["another manifest", { publishedManifest: OTHER }, "4 manifest-digest"],
  ["an unknown licence", { license: null }, "5 license-unknown, 6 reserved-above-minted"],
  ["too few prints", { license: { cap: 100, minted: 9 } }, "6 reserved-above-minted"],
  ["no reservation", { reservation: { agent: `0x${"0".repeat(40)}`, prints: 10, burned: 0, spares: 1 } }, "7 entry-without-reservation"],
  ["another agent", { reservation: { ...FACTS.reservation, agent: `0x${"1".repeat(40)}` } }, "7 agent-mismatch"],
  ["another number of prints", { reservation: { ...FACTS.reservation, prints: 9 } }, "7 prints-mismatch"],
  ["an unknown block that was seen", { seen: null }, "8 seen-block"],
  ["an undeclared gateway", { gateway: { profileDigest: OTHER, epoch: 0 } }, "10 gateway-not-accepted"],
  ["no anchor", { anchored: `0x${"0".repeat(64)}` }, "12 anchor-root"],
  ["another root", { anchored: OTHER }, "12 anchor-storage"],
  ["another block of the anchor", { anchorBlock: null }, "12 anchor-block"],
  ["another transaction", { transactionBlock: null }, "12 anchor-transaction"],
  ["an anchor that is not final", { final: { ...FACTS.final, number: ANCHOR.blockNumber - 1 } }, "12 anchor-block"],
  ["too high a sequence", { reservation: { ...FACTS.reservation, prints: 10, spares: -10 } }, "13 count-exceeded"],
];

for (const [name, changes, found] of CHANGES) {
  test(`a chain with ${name} is named`, () => {
    const report = onChain(changes);
    assert.equal(report.failures.map(({ step, code }) => `${step} ${code}`).join(", "), found);
    assert.equal(statusOf(PASSPORT, report), found.endsWith("recalled") ? "recalled" : "unknown");
  });
}

test("keys that were replaced since are not checked, instead of refused", () => {
  const keys = onChain({ gateway: { profileDigest: OTHER, epoch: 1 } }).findings.find(({ step }) => step === 10);
  assert.equal(keys?.verdict, "not checked");
});

/** Endpoints whose answers are the same but for one. */
function answering(answers: Readonly<Record<string, unknown>>): typeof fetch {
  return async (input) => new Response(JSON.stringify(answers[String(input)]));
}

test("endpoints must agree, answer, and answer what was asked", async () => {
  const from = (one: unknown, other: unknown): Ask =>
    askAll(["https://one.example", "https://other.example"], answering({ "https://one.example": one, "https://other.example": other }));
  assert.equal(await from({ result: "0x1" }, { result: "0x1" })("eth_chainId"), "0x1");
  await assert.rejects(from({ result: "0x1" }, { result: "0x2" })("eth_chainId"), Unreachable);
  await assert.rejects(from({ result: "0x1" }, { error: { code: -32_601 } })("eth_chainId"), Unreachable);
  await assert.rejects(from(null, null)("eth_chainId"), Unreachable);
  const broken = askAll(["https://one.example"], () => Promise.reject(new TypeError("no network")));
  await assert.rejects(broken("eth_chainId"), Unreachable);
});

test("a block beyond what nodes can number is unknown, and nobody is asked for it", async () => {
  const answers: Readonly<Record<string, unknown>> = { eth_chainId: "0x1", eth_getCode: "0x00", eth_getTransactionReceipt: null };
  const asked: unknown[] = [];
  const ask: Ask = async (method, ...params) => {
    if (method === "eth_call") return `0x${"0".repeat(64 * 16)}`;
    if (method !== "eth_getBlockByNumber") return answers[method];
    asked.push(params[0]);
    return { number: "0x5", hash: OTHER, timestamp: "0x1" };
  };
  for (const [seenBlock, seen] of [[(1n << 63n) - 1n, true], [1n << 63n, false], [(1n << 64n) - 1n, false]] as const) {
    asked.length = 0;
    const facts = await readFacts({ ...PASSPORT, request: { ...PASSPORT.request, seenBlock } }, ask);
    assert.equal(facts.seen !== null, seen);
    assert.equal(asked.includes(`0x${seenBlock.toString(16)}`), seen);
  }
});

test("answers of another form are refused", async () => {
  const wrong: Ask = async (method) => (method === "eth_getBlockByNumber" ? { number: 5 } : "0x");
  await assert.rejects(readFacts(PASSPORT, wrong), Unreachable);
  await assert.rejects(readFacts(PASSPORT, async () => null), Unreachable);
});
