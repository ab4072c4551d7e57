/**
 * The page: takes a passport from the gateway that serves it, or from a file, verifies it here, and shows what it found.
 *
 * The address is that of a label's code: `…/v1/parts/<serial>#<first 16 bytes of the SHA-256 of the label's passport>`.
 */

import { fromHex, toHex } from "../verify/bytes.js";
import { askAll, readFacts, Unreachable, verifyOnChain, type Facts } from "../verify/chain.js";
import { sha256 } from "../verify/digests.js";
import { BrokenPart, Malformed } from "../verify/failures.js";
import { encode, isObject, parse } from "../verify/json.js";
import { cid, type Cid } from "../verify/fields.js";
import { MOST_BYTES, readPassport, type Passport } from "../verify/passport.js";
import { refusedReport, type Report } from "../verify/report.js";
import { grouped, readSerial } from "../verify/serial.js";
import { statusOf } from "../verify/status.js";
import { skipChain, verifyOffline } from "../verify/verify.js";
import { element } from "./dom.js";
import { partView, refusedView, verdict } from "./view.js";
import { labelWords, reasonOf, type Origin } from "./words.js";

interface Taken {
  readonly data: Uint8Array;
  readonly origin: Origin;
}

let taken: Taken | null = null;
let pictureUrl: string | null = null;

/** The serial in the page's address; null where the page is a file, or the address is another one. */
function serialInAddress(): string | null {
  if (!location.protocol.startsWith("http")) return null;
  try {
    return readSerial(decodeURIComponent(location.pathname.split("/").at(-1) ?? ""));
  } catch {
    return null;
  }
}

async function fromGateway(serial: string): Promise<void> {
  const base = location.pathname.replace(/\/$/, "");
  const ask = (path: string): Promise<Response> => fetch(path, { headers: { Accept: "application/json" }, cache: "no-cache" });
  let answers: [Response, Response];
  try {
    answers = await Promise.all([ask(base), ask(`${base}/passport`)]);
  } catch {
    show(verdict("unknown", "Not reached", "The gateway does not answer. A passport file can be verified without it.", "warns"));
    return;
  }
  const [view, passport] = answers;
  const said = view.ok ? partIn(new Uint8Array(await view.arrayBuffer())) : { status: null, reason: null };
  if (passport.ok) {
    await take({ data: new Uint8Array(await passport.arrayBuffer()), origin: { kind: "gateway", ...said } });
  } else if (passport.status === 404) {
    const text = `This gateway knows no part ${grouped(serial)}. Compare the serial with the label's.`;
    show(verdict("unknown", "Unknown", text, "fails"));
  } else {
    const text = "The gateway has no whole passport of this part now. Ask again later, or verify a passport file.";
    show(verdict("unknown", "No passport", text, "warns"));
  }
}

/** What the gateway says of the part: its status today, and the block with the reason of a recall. */
function partIn(data: Uint8Array): { status: string | null; reason: Cid | null } {
  try {
    const found = parse(data, MOST_BYTES);
    if (!isObject(found)) return { status: null, reason: null };
    const status = found.get("status");
    const reason = found.get("recallReasonCid") ?? null;
    return { status: typeof status === "string" ? status : null, reason: reason === null ? null : cid(reason) };
  } catch {
    return { status: null, reason: null };
  }
}

async function take(next: Taken): Promise<void> {
  taken = next;
  await showPassport(next, null, []);
}

async function showPassport({ data, origin }: Taken, facts: Facts | null, endpoints: readonly string[]): Promise<void> {
  let passport: Passport;
  try {
    passport = readPassport(data);
  } catch (error) {
    if (error instanceof BrokenPart) show(...refusedView(refusedReport(error)));
    else if (error instanceof Malformed) show(verdict("unknown", "No passport", `This is no part passport: ${error.message}.`, "fails"));
    else throw error;
    return;
  }
  const serial = serialInAddress();
  if (origin.kind === "gateway" && serial !== passport.serial) {
    const text = `The gateway gave the passport of another part, ${grouped(passport.serial)}.`;
    show(verdict("unknown", "Does not hold", text, "fails"));
    return;
  }
  const report = verifyOffline(passport);
  if (facts === null) skipChain(report);
  else verifyOnChain(report, passport, facts);
  document.title = `${passport.manifest.title} · ${grouped(passport.serial)}`;
  show(...partView({ passport, report, origin, facts, endpoints, label: labelNote(data, passport, report) }));
  if (origin.kind === "gateway") await Promise.all([showPicture(passport), showReason(origin.reason)]);
}

/** Compares the passport with the one that the label was made from, where the address says which. */
function labelNote(data: Uint8Array, passport: Passport, report: Report): string | null {
  const stated = /^#([0-9a-f]{32})$/.exec(location.hash)?.[1];
  if (stated === undefined || serialInAddress() !== passport.serial) return null;
  const isExact = toHex(sha256(encode(parse(data, MOST_BYTES)))).slice(2, 34) === stated;
  return labelWords(isExact, statusOf(passport, report));
}

/** Shows the design's published picture, if it is the one that the manifest names. */
async function showPicture(passport: Passport): Promise<void> {
  const [picture] = passport.manifest.previews;
  const place = document.getElementById("picture");
  if (picture?.codec !== "raw" || place === null) return;
  const data = await block(picture);
  if (data === null || !isPng(data) || !place.isConnected) return;
  if (pictureUrl !== null) URL.revokeObjectURL(pictureUrl);
  pictureUrl = URL.createObjectURL(new Blob([data], { type: "image/png" }));
  place.replaceChildren(element("img", { src: pictureUrl, alt: "Picture of the design" }));
  place.hidden = false;
}

/** Shows why the revision was recalled, under a headline that says so. */
async function showReason(named: Cid | null): Promise<void> {
  const place = document.querySelector<HTMLElement>(".recalled #reason");
  if (named === null || place === null) return;
  const said = reasonOf(named, await block(named));
  if (!place.isConnected) return;
  place.replaceChildren(said);
  place.hidden = false;
  document.getElementById("announced")?.append(` ${said}`);
}

/** A block by its identifier, from the gateway; null where it does not give exactly that. */
async function block({ text, digest }: Cid): Promise<Uint8Array<ArrayBuffer> | null> {
  const prefix = location.pathname.replace(/\/v1\/parts\/[^/]*\/?$/, "");
  try {
    const response = await fetch(`${prefix}/ipfs/${text}?format=raw`);
    const data = new Uint8Array(await response.arrayBuffer());
    return response.ok && toHex(sha256(data)) === toHex(fromHex(digest)) ? data : null;
  } catch {
    return null;
  }
}

function isPng(data: Uint8Array): boolean {
  return toHex(data.subarray(0, 8)) === "0x89504e470d0a1a0a";
}

async function askChain(form: HTMLFormElement): Promise<void> {
  const current = taken;
  const endpoints = String(new FormData(form).get("endpoints")).split(/[\s,]+/).filter(Boolean);
  if (current === null || endpoints.length === 0) return;
  const button = form.querySelector("button");
  form.querySelector(".problem")?.remove();
  if (button !== null) button.disabled = true;
  try {
    await showPassport(current, await readFacts(readPassport(current.data), askAll(endpoints)), endpoints);
  } catch (error) {
    if (!(error instanceof Unreachable || error instanceof Malformed)) throw error;
    form.append(element("p", { class: "problem", role: "alert" }, `Nothing was read: ${error.message}.`));
  } finally {
    if (button !== null) button.disabled = false;
  }
}

async function takeFile(file: File | undefined): Promise<void> {
  if (file === undefined) return;
  if (file.size > MOST_BYTES) {
    show(verdict("unknown", "No passport", "This file is larger than any passport.", "fails"));
    return;
  }
  await take({ data: new Uint8Array(await file.arrayBuffer()), origin: { kind: "file", name: file.name } });
  document.getElementById("verdict")?.scrollIntoView({ block: "center" });
}

function show(...nodes: Node[]): void {
  document.getElementById("part")?.replaceChildren(...nodes);
  const said = ["status", "explained"].map((id) => document.getElementById(id)?.textContent ?? "").join(". ");
  document.getElementById("announced")?.replaceChildren(said); // to those who hear the page
}

function start(): void {
  const form = document.querySelector<HTMLFormElement>("#chain");
  form?.addEventListener("submit", (event) => {
    event.preventDefault();
    void askChain(form);
  });
  const chooser = document.querySelector<HTMLInputElement>("#file");
  chooser?.addEventListener("change", () => {
    void takeFile(chooser.files?.[0]);
    chooser.value = ""; // the same file may be chosen again after it was changed
  });
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    document.body.classList.add("dropping");
  });
  document.addEventListener("dragleave", () => document.body.classList.remove("dropping"));
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    document.body.classList.remove("dropping");
    void takeFile(event.dataTransfer?.files[0]);
  });
  const serial = serialInAddress();
  const isOfPart = location.protocol.startsWith("http") && /\/v1\/parts\/[^/]+$/.test(location.pathname);
  if (serial === null && isOfPart) {
    const text = "This address has no serial: one is 16 letters and digits, A to Z and 2 to 7. Compare the address with the label's.";
    show(verdict("unknown", "Unknown", text, "fails"));
  } else if (serial === null) show(element("p", { class: "note" }, "Drop a passport file here, or choose one below."));
  else void fromGateway(serial);
}

start();
