/** What a part is, in one word. Source: docs/verification.md, status of a part. */

import type { Passport } from "./passport.js";
import type { Report } from "./report.js";

export type Status = "valid" | "recalled" | "voided" | "provisional" | "unknown";

export function statusOf(passport: Passport, report: Report): Status {
  if (report.failures.some(({ code }) => code === "revision-recalled")) return "recalled";
  if (report.failures.length > 0) return "unknown";
  if (passport.outcome !== null && passport.outcome.entry.result !== "completed") return "voided";
  return passport.anchor === null || passport.outcome === null ? "provisional" : "valid";
}
