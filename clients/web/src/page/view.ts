/** The page's parts as elements: headline, facts about the part, warnings, steps. */

import type { Facts } from "../verify/chain.js";
import { checksummed } from "../verify/fields.js";
import type { Passport } from "../verify/passport.js";
import { readStatement, type Receipt } from "../verify/receipt.js";
import type { Finding, Report } from "../verify/report.js";
import { grouped } from "../verify/serial.js";
import { element, icon, type Child, type Shape } from "./dom.js";
import { headline, interval, moment, trust, type Origin } from "./words.js";

export interface Shown {
  readonly passport: Passport;
  readonly report: Report;
  readonly origin: Origin;
  readonly facts: Facts | null;
  readonly endpoints: readonly string[];
  /** What is to be said about the label's code, or nothing. */
  readonly label: string | null;
}

export function partView(shown: Shown): Node[] {
  const { passport, report, origin, facts, endpoints } = shown;
  const { status, title, text, shape } = headline(passport, report, origin, facts);
  return [
    verdict(status, title, text, shape, element("p", { id: "reason", hidden: "" })),
    element(
      "section",
      { class: "card", "aria-labelledby": "design" },
      element("div", { id: "picture", class: "picture", hidden: "" }),
      element("h2", { id: "design" }, passport.manifest.title),
      element("p", { class: "serial" }, element("span", { class: "label" }, "Serial "), grouped(passport.serial)),
      warnings(passport),
      facts_(passport, facts),
    ),
    element(
      "section",
      { class: "card", "aria-labelledby": "steps-title" },
      element("h2", { id: "steps-title" }, "What was verified"),
      element("ul", { class: "trust" }, ...[...trust(origin, facts, endpoints), ...(shown.label === null ? [] : [shown.label])].map(item)),
      steps(report),
    ),
  ];
}

/** The report on a passport whose parts contradict each other. */
export function refusedView(report: Report): Node[] {
  const [first] = report.failures;
  const text = `Step ${first?.step} ${first?.name} fails: ${first?.detail}. Nothing else of it was checked.`;
  return [
    verdict("unknown", "Does not hold", text, "fails"),
    element(
      "section",
      { class: "card", "aria-labelledby": "steps-title" },
      element("h2", { id: "steps-title" }, "What was verified"),
      steps(report),
    ),
  ];
}

export function verdict(status: string, title: string, text: string, shape: Shape, more: Child = null): HTMLElement {
  return element(
    "section",
    { class: `verdict ${status}`, id: "verdict" },
    icon(shape),
    element("div", {}, element("h1", { id: "status" }, title), element("p", { id: "explained" }, text), more),
  );
}

function warnings(passport: Passport): HTMLElement | null {
  const texts = [...new Set([...passport.warnings, ...passport.manifest.warnings])];
  if (texts.length === 0) return null;
  return element(
    "div",
    { class: "warnings" },
    icon("warns"),
    element("div", {}, element("h3", {}, "Warnings"), element("ul", {}, ...texts.map(item))),
  );
}

function facts_(passport: Passport, facts: Facts | null): HTMLElement {
  const { permission, profile, terms } = passport;
  const receipt = receiptOf(passport);
  const rows: [string, ...Child[]][] = [
    ["Who answers for it", ...responsible(passport)],
    ["Permitted by", code(checksummed(permission.text("holder"))), note("the holder of the prints; step 7 says whether it signed")],
    ["Requested by", code(checksummed(permission.text("agent"))), note("the print centre's key for this permission; step 8 says whether it signed")],
    ["Counted by the gateway", code(checksummed(profile.gateway)), note(`at ${profile.url}, says its profile`)],
    ["Material", materialOf(passport, receipt)],
    ["Made", interval(passport, facts)],
  ];
  if (receipt?.startedAt != null && receipt.finishedAt !== null) {
    rows.push(["Printed, says the print centre", `${moment(receipt.startedAt)} to ${moment(receipt.finishedAt)}`]);
  }
  const limit = `print ${passport.sequence} of a permission for ${permission.number("prints")}`;
  rows.push(
    ["Revision", String(passport.revision)],
    ["Counted as", `${limit}, under a licence for ${terms.number("cap")}`],
    ["Design", code(passport.designId)],
    ["Made the design", code(checksummed(passport.manifest.registrant))],
    ["Chain", `${profile.chainId}, ledger `, code(checksummed(profile.ledger))],
  );
  return element(
    "dl",
    { class: "facts" },
    ...rows.map(([name, ...values]) => element("div", {}, element("dt", {}, name), element("dd", {}, ...values))),
  );
}

/** Names are in a passport that the print centre wrote; in what a gateway hands out there are accounts alone. */
function responsible({ responsible: stated }: Passport): Child[] {
  if (stated === null) {
    return ["no name in this passport", note("gateways know accounts, not names: read the printed label, or ask the print centre for its passport file")];
  }
  return [[stated.name, stated.contact].filter(Boolean).join(" · "), note("claimed by whoever wrote the passport; no step checks it")];
}

/** What the receipt says of the material is better than what the passport does. */
function materialOf(passport: Passport, receipt: Receipt | null): string {
  const stated = receipt?.material;
  if (stated == null) return passport.material || "not said";
  const recycled = stated.recycledPercent === null ? "" : `, ${stated.recycledPercent} % recycled`;
  return `${stated.name}${stated.lot === "" ? "" : `, ${stated.lot}`}${recycled}`;
}

/** The receipt of a passport, for showing; whether it holds is step 9's matter. */
function receiptOf(passport: Passport): Receipt | null {
  try {
    return passport.receipt && readStatement(passport.receipt.envelope.statement);
  } catch {
    return null;
  }
}

function steps(report: Report): HTMLElement {
  const ordered = [...report.findings].sort((one, other) => one.step - other.step);
  return element("ol", { class: "steps" }, ...ordered.map(stepView));
}

function stepView(finding: Finding): HTMLElement {
  const { step, name, verdict: found, detail, source, code: reason } = finding;
  const kind = found.replace(" ", "-");
  return element(
    "li",
    { class: kind, "data-step": String(step), "data-verdict": found, "data-code": reason ?? "" },
    icon(found),
    element(
      "div",
      {},
      element(
        "p",
        { class: "head" },
        element("span", { class: "name" }, `${step} ${name}`),
        element("span", { class: "badge" }, found),
        element("span", { class: "source" }, source),
      ),
      element("p", {}, detail, reason === undefined ? null : element("code", { class: "reason" }, reason)),
      finding.expected === undefined ? null : difference(finding.expected, finding.found ?? ""),
    ),
  );
}

function difference(expected: string, found: string): HTMLElement {
  return element(
    "dl",
    { class: "difference" },
    element("div", {}, element("dt", {}, "expected"), element("dd", {}, code(expected))),
    element("div", {}, element("dt", {}, "found"), element("dd", {}, code(found))),
  );
}

function note(text: string): HTMLElement {
  return element("span", { class: "aside" }, text);
}

function code(text: string): HTMLElement {
  return element("code", {}, text);
}

function item(text: string): HTMLElement {
  return element("li", {}, text);
}
