/** The page's words say whose word a status is, and raise no suspicion of a part of which everything holds. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { headline, labelWords, type Origin } from "../src/page/words.js";
import { readPassport } from "../src/verify/passport.js";
import { skipChain, verifyOffline } from "../src/verify/verify.js";
import { bytesOf, vectors } from "./vectors.js";

const { passport } = vectors("passports");
const { responsible: _, ...nameless } = passport;

function said(document: unknown, origin: Origin): { title: string; text: string } {
  const read = readPassport(bytesOf(document));
  const report = verifyOffline(read);
  skipChain(report);
  return headline(read, report, origin, null);
}

function gateway(status: string | null): Origin {
  return { kind: "gateway", status, reason: null };
}

test("a part is valid by the gateway's word until a chain was asked", () => {
  const { title, text } = said(passport, gateway("valid"));
  assert.equal(title, "Valid, says the gateway");
  assert.match(text, /That nobody recalled it is the gateway's word until you ask a chain\.$/);
});

test("without anybody's word a passport holds by itself", () => {
  for (const origin of [gateway(null), gateway("provisional"), { kind: "file", name: "passport.json" } as const]) {
    const { title, text } = said(passport, origin);
    assert.equal(title, "Holds by itself");
    assert.match(text, /nor whether the revision was recalled since\.$/);
  }
});

test("a recall sends to whoever has a name: in the passport, else on the label", () => {
  assert.match(said(passport, gateway("recalled")).text, /Ask who answers for the part before you use it\.$/);
  assert.match(said(nameless, gateway("recalled")).text, /Ask whoever is named on the printed label before you use it\.$/);
});

test("a label of another state is usual, but for a passport that does not hold there is no excuse", () => {
  assert.match(labelWords(false, "valid"), /another state of this passport\. That is usual/);
  assert.equal(labelWords(false, "unknown"), "The label was not made from this passport.");
  assert.equal(labelWords(true, "unknown"), "The label was made from exactly this passport.");
});
