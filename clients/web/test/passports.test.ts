/** A passport and each alteration of it have the findings that Python has, step by step. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { BrokenPart, Malformed } from "../src/verify/failures.js";
import { readPassport } from "../src/verify/passport.js";
import { refusedReport, type Report } from "../src/verify/report.js";
import { skipChain, verifyOffline } from "../src/verify/verify.js";
import { bytesOf, changed, vectors, type Vector } from "./vectors.js";

/** The report on a passport's JSON, or the code with which it is refused as none. */
function reportOf(document: unknown): Report | string {
  try {
    const report = verifyOffline(readPassport(bytesOf(document)));
    skipChain(report);
    return report;
  } catch (error) {
    if (error instanceof BrokenPart) return refusedReport(error);
    if (error instanceof Malformed) return error.code;
    throw error;
  }
}

function summaryOf(document: unknown): string {
  const report = reportOf(document);
  if (typeof report === "string") return `refused ${report}`;
  return report.failures.map(({ step, code }) => `${step} ${code}`).join(", ") || "holds";
}

const { passport, cases, changes } = vectors("passports");

for (const one of cases as Vector[]) {
  test(`passport ${one.name}`, () => {
    const document = { ...passport, ...one.set };
    for (const name of one.without) delete document[name];
    const report = reportOf(document);
    assert.ok(typeof report !== "string");
    const found = report.findings.map(({ step, name, verdict, code }) => `${step} ${name} ${verdict} ${code ?? ""}`.trim());
    assert.deepEqual(found, one.findings);
  });
}

test("another value in any place is found as Python finds it", () => {
  for (const one of changes as Vector[]) {
    const path = one.at.slice(1).split("/");
    assert.equal(summaryOf(changed(passport, path, one)), one.found, `${one.at} ${JSON.stringify(one.value)}`);
  }
  assert.ok(changes.length > 900);
});
