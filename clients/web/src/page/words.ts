/** What the page says of a part: headline, explanation, and whose word was taken. */

import type { Facts } from "../verify/chain.js";
import { readable, type Cid } from "../verify/fields.js";
import type { Passport } from "../verify/passport.js";
import type { Report } from "../verify/report.js";
import { statusOf, type Status } from "../verify/status.js";
import type { Shape } from "./dom.js";

/** Where a passport came from: a gateway that also says what the part is today, or a file. */
export type Origin =
  | { readonly kind: "gateway"; readonly status: string | null; readonly reason: Cid | null }
  | { readonly kind: "file"; readonly name: string };

const MOST_OF_REASON = 500;

export interface Headline {
  readonly status: Status;
  readonly title: string;
  readonly text: string;
  readonly shape: Shape;
}

const TITLES: Readonly<Record<Status, readonly [title: string, shape: Shape]>> = {
  valid: ["Valid", "holds"],
  recalled: ["Recalled", "warns"],
  voided: ["Voided", "fails"],
  provisional: ["Provisional", "waits"],
  unknown: ["Does not hold", "fails"],
};

/**
 * The headline of a passport: what was verified here, but that a recall is believed to the gateway at once. Without a
 * chain nothing is valid by the page's own word: the headline says whose word it is.
 */
export function headline(passport: Passport, report: Report, origin: Origin, facts: Facts | null): Headline {
  const own = statusOf(passport, report);
  const isRecalled = own !== "unknown" && origin.kind === "gateway" && origin.status === "recalled";
  const status = isRecalled ? "recalled" : own;
  const [title, shape] = TITLES[status];
  const text = explained(status, own, passport, report);
  if (status !== "valid" || facts !== null) return { status, title, shape, text };
  if (origin.kind === "gateway" && origin.status === "valid") {
    const word = "That nobody recalled it is the gateway's word until you ask a chain.";
    return { status, title: "Valid, says the gateway", shape, text: `${text} ${word}` };
  }
  const open = "Whether the chain agrees was not asked, nor whether the revision was recalled since.";
  return { status, title: "Holds by itself", shape, text: `${text} ${open}` };
}

function explained(status: Status, own: Status, passport: Passport, report: Report): string {
  const outcome = passport.outcome?.entry;
  switch (status) {
    case "valid":
      return "Every signature and proof in this passport holds: the print was permitted, counted and completed.";
    case "recalled": {
      const by = own === "recalled" ? "the chain" : "the gateway";
      return `The design's owner withdrew this revision, says ${by}. Ask ${answerer(passport)} before you use it.`;
    }
    case "voided":
      return `This print was counted and ${outcome?.result === "failed" ? "failed" : `was ${outcome?.result}`}${
        outcome?.spareUsed === true ? ", and was given back" : ""
      }. It should not be in use.`;
    case "provisional":
      return passport.anchor === null
        ? "Signatures hold, but the log is not anchored on chain yet: so far the gateway's promise is all there is."
        : "Signatures and proofs hold, but how the print ended is not shown: it may have failed or been rejected.";
    case "unknown": {
      const [first, ...more] = report.failures;
      const others = more.length === 0 ? "" : ` (and ${more.length} more)`;
      return `Step ${first?.step} ${first?.name} fails: ${first?.detail}${others}.`;
    }
  }
}

/** Whom to ask about a part: only the printed label and the print centre's file have a name, not the gateway's passport. */
function answerer(passport: Passport): string {
  return passport.responsible === null ? "whoever is named on the printed label" : "who answers for the part";
}

/** What is to be said of the passport that a label's code names; `own` is the status of the one that is shown. */
export function labelWords(isExact: boolean, own: Status): string {
  if (isExact) return "The label was made from exactly this passport.";
  if (own === "unknown") return "The label was not made from this passport.";
  return (
    "The label was made from another state of this passport. That is usual: the print centre's file also names who answers " +
    "for the part, or is from before an anchor. The serial is the label's, and everything below was checked all the same. " +
    "To see the label's own state, choose the print centre's file below."
  );
}

/** Whose word was taken, in full sentences. */
export function trust(origin: Origin, facts: Facts | null, endpoints: readonly string[]): string[] {
  const found = ["Signatures and proofs were verified here, in your browser: nobody was trusted for them."];
  if (facts !== null) {
    found.push(
      endpoints.length === 1
        ? `Trusted for the chain: this RPC endpoint, ${endpoints[0]}.`
        : `Trusted for the chain: ${endpoints.length} RPC endpoints that agree.`,
      `Read up to final block ${facts.final.number}.`,
    );
    return found;
  }
  found.push("Chain facts not verified: that root, reservation and revision are on chain is the passport's own statement.");
  if (origin.kind === "file") found.push("Whether the revision was recalled was not asked.");
  else if (origin.status === null) found.push("The gateway did not say what the part is today.");
  else found.push(`The gateway calls the part ${origin.status} today.`);
  return found;
}

/** What is to be said of a recall's reason; `data` is the block that the gateway names, or null where nobody gave it. */
export function reasonOf(named: Cid, data: Uint8Array | null): string {
  if (data === null) return `The gateway names a reason, but its text is not to be had here: block ${named.text}.`;
  const words = readable(new TextDecoder().decode(data), MOST_OF_REASON);
  return words === null
    ? "The owner gave no reason that can be read, says the gateway."
    : `The reason in the owner's words, as the gateway has them: “${words}”`;
}

/** When the part was made, as an interval that nobody could move: blocks, and their times where the chain told them. */
export function interval(passport: Passport, facts: Facts | null): string {
  const from = `block ${passport.request.seenBlock}`;
  const after = facts?.seen == null ? from : `${moment(facts.seen.timestamp)} (${from})`;
  if (passport.anchor === null) return `after ${after}; not anchored so far`;
  const to = `block ${passport.anchor.blockNumber}`;
  const before = facts?.anchorBlock == null ? to : `${moment(facts.anchorBlock.timestamp)} (${to})`;
  return `between ${after} and ${before}`;
}

export function moment(seconds: number): string {
  const date = new Date(seconds * 1000);
  return Number.isNaN(date.getTime()) ? "an impossible time" : `${date.toISOString().slice(0, 16).replace("T", " ")} UTC`;
}
