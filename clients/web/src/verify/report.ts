/**
 * The numbered steps, and the report on a part: every step with its verdict, every discrepancy, never only the first.
 *
 * Source: docs/verification.md.
 */

import { BrokenPart, Malformed, Refuted } from "./failures.js";

export const STEPS = [
  "contracts",
  "file",
  "manifest",
  "registration",
  "revision",
  "terms",
  "mint",
  "permission",
  "voucher",
  "receipt",
  "release",
  "inclusion",
  "anchor",
  "counts",
] as const;

export type Step = (typeof STEPS)[number];
export type Verdict = "holds" | "fails" | "not checked";
export type Source = "passport" | "chain";

export interface Finding {
  readonly step: number;
  readonly name: Step;
  readonly verdict: Verdict;
  readonly detail: string;
  readonly source: Source;
  readonly code?: string;
  readonly expected?: string;
  readonly found?: string;
}

export class Report {
  readonly findings: Finding[] = [];

  get failures(): Finding[] {
    return this.findings.filter((finding) => finding.verdict === "fails");
  }

  hold(name: Step, detail: string, source: Source): void {
    this.#add(name, "holds", detail, source);
  }

  skip(name: Step, detail: string, source: Source): void {
    this.#add(name, "not checked", detail, source);
  }

  /** Runs a check: what it throws about the data fails the step, anything else goes on. */
  check(name: Step, detail: string, source: Source, check: () => void): void {
    try {
      check();
    } catch (error) {
      this.fail(name, error, source);
      return;
    }
    this.hold(name, detail, source);
  }

  /** Records a discrepancy; rethrows what is none. */
  fail(name: Step, error: unknown, source: Source): void {
    if (error instanceof Refuted) {
      const { code, expected, found } = error;
      this.#add(name, "fails", error.message, source, { code, expected, found });
    } else if (error instanceof Malformed) {
      this.#add(name, "fails", error.message, source, { code: error.code });
    } else {
      throw error;
    }
  }

  #add(name: Step, verdict: Verdict, detail: string, source: Source, more: Partial<Finding> = {}): void {
    this.findings.push({ step: STEPS.indexOf(name), name, verdict, detail, source, ...more });
  }
}

/** The step that fails when a member of a passport is missing, broken, or not what the others give. */
const STEP_OF_PART: Readonly<Record<string, Step>> = {
  version: "contracts",
  chainId: "contracts",
  contracts: "contracts",
  manifest: "manifest",
  material: "manifest",
  warnings: "manifest",
  registration: "registration",
  designId: "registration",
  content: "registration",
  form: "registration",
  revision: "revision",
  terms: "terms",
  licenseId: "terms",
  permission: "permission",
  permissionSignature: "permission",
  tokenId: "permission",
  sequence: "voucher",
  serial: "voucher",
  tokenDigest: "voucher",
  redeemed: "voucher",
  outcome: "voucher",
  detail: "voucher",
  receipt: "receipt",
  responsible: "receipt",
  profile: "release",
  release: "release",
  anchor: "anchor",
  chainProof: "anchor",
};

/** The report on a passport whose parts contradict each other: the first step that fails, and no more. */
export function refusedReport(error: BrokenPart): Report {
  const report = new Report();
  const step = Object.hasOwn(STEP_OF_PART, error.part) ? STEP_OF_PART[error.part] : undefined;
  report.fail(step ?? "contracts", error, "passport");
  return report;
}
