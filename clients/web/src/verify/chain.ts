/**
 * The chain's part: what the three contracts store of a part's design, licence, reservation, gateway and anchor, read by
 * plain JSON-RPC. Facts that permit are read in the final block, a recall in the latest.
 *
 * Less than `platemark audit passport --rpc`: state only, no events, and that there is code at the addresses, not whose.
 *
 * Source: docs/verification.md; contracts/src/interfaces.
 */

import { fromHex, toHex, unsigned, utf8, type Hex } from "./bytes.js";
import { keccak256, sha256 } from "./digests.js";
import { Refuted, same } from "./failures.js";
import { checksummed } from "./fields.js";
import type { Passport } from "./passport.js";
import type { Report } from "./report.js";

const FROM = "chain";
const SECONDS = 15;
/** What nodes keep a block's number in: they refuse to be asked for more, and no passport is to end the reading so. */
const LAST_BLOCK = (1n << 63n) - 1n;
const ZERO = `0x${"0".repeat(64)}`;

/** An endpoint cannot be reached, answers something else than JSON-RPC, or differs from another one. */
export class Unreachable extends Error {}

/** The contract refuses the call: it does not know what was asked for. */
class Reverted extends Error {}

export interface Block {
  readonly number: number;
  readonly hash: Hex;
  readonly timestamp: number;
}

export interface Facts {
  readonly chainId: bigint;
  readonly final: Block;
  readonly hasCode: boolean;
  readonly registrant: Hex | null;
  readonly isPrintable: boolean;
  readonly latestRevision: number;
  /** The manifest's digest of a revision after the first. */
  readonly publishedManifest: Hex | null;
  readonly license: { readonly cap: number; readonly minted: number } | null;
  readonly reservation: { readonly agent: Hex; readonly prints: number; readonly burned: number; readonly spares: number };
  readonly gateway: { readonly profileDigest: Hex; readonly epoch: number };
  /** SHA-256(root ‖ tiles digest), zero when there is none. */
  readonly anchored: Hex;
  readonly seen: Block | null;
  readonly anchorBlock: Block | null;
  /** The block of the anchor's transaction. */
  readonly transactionBlock: Hex | null;
}

/** Asks one thing of every endpoint; they must agree. */
export type Ask = (method: string, ...params: unknown[]) => Promise<unknown>;

export function askAll(endpoints: readonly string[], fetcher: typeof fetch = fetch): Ask {
  return async (method, ...params) => {
    const answers = await Promise.all(endpoints.map((endpoint) => askOne(endpoint, fetcher, method, params)));
    const texts = new Set(answers.map((answer) => JSON.stringify(answer)));
    if (texts.size > 1) throw new Unreachable(`the endpoints disagree about ${method}`);
    return answers[0];
  };
}

async function askOne(endpoint: string, fetcher: typeof fetch, method: string, params: unknown[]): Promise<unknown> {
  let answer: unknown;
  try {
    const response = await fetcher(endpoint, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ jsonrpc: "2.0", id: 1, method, params }),
      credentials: "omit",
      referrerPolicy: "no-referrer",
      signal: AbortSignal.timeout(SECONDS * 1000),
    });
    answer = await response.json();
  } catch (error) {
    throw new Unreachable(`${endpoint} does not answer`, { cause: error });
  }
  if (typeof answer === "object" && answer !== null) {
    if ("result" in answer) return answer.result;
    if ("error" in answer && /revert/i.test(JSON.stringify(answer.error))) throw new Reverted();
  }
  throw new Unreachable(`${endpoint} refuses ${method}`);
}

/** Reads all facts of one passport. Throws `Unreachable`. */
export async function readFacts(passport: Passport, ask: Ask): Promise<Facts> {
  const { profile, permission, anchor, revision, designId, licenseId, tokenId } = passport;
  const final = await blockOf(ask, "finalized");
  if (final === null) throw new Unreachable("the endpoint has no final block");
  const at = quantity(final.number);
  const words = async (to: Hex, signature: string, args: readonly (Hex | number)[], tag: string = at): Promise<Hex[] | null> => {
    try {
      return split(text(await ask("eth_call", { to, data: callData(signature, args) }, tag)));
    } catch (error) {
      if (error instanceof Reverted) return null;
      throw error;
    }
  };
  const { registry, license, ledger } = profile;
  const gateway = permission.text("gateway");
  const design = await words(registry, "registrantOf(uint256)", [designId]);
  const codes = await Promise.all([registry, license, ledger].map((one) => ask("eth_getCode", one, at)));
  const terms = await words(license, "termsOf(uint256)", [licenseId]);
  const publication = revision === 1 ? null : await words(registry, "publicationOf(uint256,uint16)", [designId, revision]);
  const state = await words(ledger, "reservationOf(address,uint256,uint256)", [gateway, licenseId, tokenId]);
  const declared = await words(ledger, "gateways(address)", [gateway]);
  const anchored = anchor && (await words(ledger, "anchorAt(address,uint32,uint64)", [anchor.gateway, anchor.epoch, anchor.size]));
  const printable = await words(registry, "isPrintable(uint256,uint16)", [designId, revision], "latest");
  const latest = await words(registry, "latestRevision(uint256)", [designId], "latest");
  return {
    chainId: BigInt(text(await ask("eth_chainId"))),
    final,
    hasCode: codes.every((code) => typeof code === "string" && code.length > 2),
    registrant: design === null ? null : addressOf(design[0]),
    isPrintable: numberOf(printable?.[0]) === 1,
    latestRevision: numberOf(latest?.[0]),
    publishedManifest: publication && wordOf(publication[1]),
    license: terms && { cap: numberOf(terms[4]), minted: numberOf(terms[5]) },
    reservation: {
      agent: addressOf(state?.[0]),
      prints: numberOf(state?.[2]),
      burned: numberOf(state?.[3]),
      spares: numberOf(state?.[5]),
    },
    gateway: { profileDigest: wordOf(declared?.[0]), epoch: numberOf(declared?.[1]) },
    anchored: wordOf(anchored?.[0]),
    seen: await blockAt(ask, passport.request.seenBlock),
    anchorBlock: anchor && (await blockAt(ask, BigInt(anchor.blockNumber))),
    transactionBlock: anchor && (await blockOfTransaction(ask, anchor.transaction)),
  };
}

/** Adds steps 0, 3 to 8, 10, 12 and 13 as the chain's state tells them. */
export function verifyOnChain(report: Report, passport: Passport, facts: Facts): void {
  const { profile, permission, manifest, anchor, request, revision, sequence } = passport;
  report.check("contracts", `chain ${profile.chainId} has code at the passport's addresses`, FROM, () => {
    same(BigInt(profile.chainId), facts.chainId, "wrong-chain", "the passport is of another chain");
    same(facts.hasCode, true, "wrong-chain", "there is no contract at the passport's addresses");
  });
  report.check("registration", "the design is registered", FROM, () => {
    const registrant = passport.registration.text("registrant");
    same(facts.registrant, registrant, "design-unknown", "this design was never registered here");
  });
  report.check("revision", `revision ${revision} was published and is not recalled`, FROM, () => {
    if (revision > facts.latestRevision) {
      throw new Refuted(`revision ${revision} was never published`, "revision-unknown", `1 to ${facts.latestRevision}`, revision);
    }
    if (!facts.isPrintable) {
      throw new Refuted(`revision ${revision} was recalled by the design's owner`, "revision-recalled", "not recalled", "recalled");
    }
    const published = facts.publishedManifest ?? manifest.digest; // the first one's stands in the design's id
    same(manifest.digest, published, "manifest-digest", "the manifest is not the one that was published");
  });
  report.check("terms", "the licence was offered on these terms", FROM, () =>
    same(facts.license?.cap, Number(passport.terms.number("cap")), "license-unknown", "this licence was never offered"),
  );
  const prints = Number(permission.number("prints"));
  report.check("mint", `${facts.license?.minted ?? 0} prints of the licence exist`, FROM, () => {
    const exist = facts.license?.minted ?? 0;
    if (prints > exist) throw new Refuted("the token is for more prints than exist", "reserved-above-minted", `at most ${exist}`, prints);
  });
  const { reservation } = facts;
  report.check("permission", "the prints were reserved for this agent", FROM, () => {
    if (/^0x0*$/.test(reservation.agent)) {
      throw new Refuted("these prints were never reserved", "entry-without-reservation", "a reservation", "none");
    }
    same(reservation.agent, permission.text("agent"), "agent-mismatch", "the ledger holds another agent than the permission names");
    same(reservation.prints, prints, "prints-mismatch", "the ledger holds another number of prints than the permission names");
  });
  report.check("voucher", `the agent had seen block ${request.seenBlock}`, FROM, () =>
    same(facts.seen?.hash, request.seenHash, "seen-block", "the request cites a block that this chain does not have"),
  );
  keys(report, passport, facts);
  if (anchor === null) {
    report.skip("anchor", "provisional: no anchor in the passport", "passport");
  } else {
    report.check("anchor", `the root of ${anchor.size} entries is on chain`, FROM, () => {
      if (facts.anchored === ZERO) throw new Refuted("no such root was ever anchored", "anchor-root", "an anchor", "none");
      const stated = toHex(sha256(fromHex(anchor.root), fromHex(anchor.tilesDigest)));
      same(stated, facts.anchored, "anchor-storage", "the ledger holds another root than the passport states");
      same(anchor.blockHash, facts.anchorBlock?.hash, "anchor-block", "the passport states another block than the chain");
      same(facts.transactionBlock, anchor.blockHash, "anchor-transaction", "the anchor's transaction is not in its block");
      if (anchor.blockNumber > facts.final.number) {
        throw new Refuted("the anchor's block is not final", "anchor-block", `block ${facts.final.number} or before`, anchor.blockNumber);
      }
    });
  }
  const limit = reservation.prints + reservation.spares;
  report.check("counts", `print ${sequence} of at most ${limit}; ${reservation.burned} settled`, FROM, () => {
    if (sequence > limit) throw new Refuted("the sequence is above what was reserved", "count-exceeded", `at most ${limit}`, sequence);
  });
}

/** Storage has the present declaration only: keys that were replaced since need the chain's history. */
function keys(report: Report, passport: Passport, facts: Facts): void {
  const { profile } = passport;
  if (facts.gateway.epoch === 0) {
    report.check("release", "", FROM, () => {
      const found = checksummed(profile.gateway);
      throw new Refuted("this gateway never declared keys here", "gateway-not-accepted", "a declaration", found);
    });
  } else if (facts.gateway.profileDigest === profile.digest && facts.gateway.epoch === profile.epoch) {
    report.hold("release", "the gateway declares these keys on chain", FROM);
  } else {
    report.skip("release", "the gateway declares other keys by now: `platemark audit passport --rpc` reads the earlier ones", FROM);
  }
}

async function blockAt(ask: Ask, number: bigint): Promise<Block | null> {
  return number > LAST_BLOCK ? null : blockOf(ask, quantity(number));
}

async function blockOf(ask: Ask, tag: string): Promise<Block | null> {
  const found = await ask("eth_getBlockByNumber", tag, false);
  if (found === null) return null;
  const { number, hash, timestamp } = members(found);
  return { number: Number(text(number)), hash: text(hash), timestamp: Number(text(timestamp)) };
}

async function blockOfTransaction(ask: Ask, hash: Hex): Promise<Hex | null> {
  const found = await ask("eth_getTransactionReceipt", hash);
  return found === null ? null : text(members(found).blockHash);
}

function members(value: unknown): Partial<Record<"number" | "hash" | "timestamp" | "blockHash", unknown>> {
  if (typeof value !== "object" || value === null) throw new Unreachable("the endpoint answers something else than was asked");
  return value;
}

function text(value: unknown): Hex {
  if (typeof value !== "string" || !/^0x[0-9a-fA-F]*$/.test(value)) {
    throw new Unreachable("the endpoint answers something else than was asked");
  }
  return value as Hex;
}

function quantity(value: number | bigint): Hex {
  return `0x${value.toString(16)}`;
}

/** A call's selector, and its arguments as words. */
function callData(signature: string, args: readonly (Hex | number)[]): Hex {
  const words = args.map((arg) => (typeof arg === "number" ? toHex(unsigned(arg, 32)) : arg).slice(2).padStart(64, "0"));
  return `${toHex(keccak256(utf8(signature)).subarray(0, 4))}${words.join("")}`;
}

function split(answer: Hex): Hex[] {
  return (answer.slice(2).match(/.{64}/g) ?? []).map((digits) => `0x${digits}` as const);
}

function wordOf(word: Hex | undefined): Hex {
  return word ?? (ZERO as Hex);
}

function numberOf(word: Hex | undefined): number {
  return Number(BigInt(wordOf(word)));
}

function addressOf(word: Hex | undefined): Hex {
  return `0x${wordOf(word).slice(26)}`;
}

