/**
 * What a passport shows by itself: steps 2, 3, 5 and 7 to 11, as `platemark audit passport --offline` has them.
 *
 * Source: docs/verification.md.
 */

import { signerOf } from "./accounts.js";
import { fromHex, toHex, type Hex } from "./bytes.js";
import { commitment, receiptDigest } from "./digests.js";
import { Refuted, same } from "./failures.js";
import { checksummed } from "./fields.js";
import { checkInclusion, filesRoot, leafHash } from "./merkle.js";
import type { Passport } from "./passport.js";
import { ledgerDomain } from "./profile.js";
import { checkEnvelope, readStatement } from "./receipt.js";
import { openRelease } from "./release.js";
import { Report } from "./report.js";
import type { Struct } from "./typed_data.js";

const FROM = "passport";

/** The report of the steps that need nothing but the passport. */
export function verifyOffline(passport: Passport): Report {
  const report = new Report();
  documents(report, passport);
  signatures(report, passport);
  inclusion(report, passport);
  return report;
}

/** Adds what stays open without a chain. */
export function skipChain(report: Report): void {
  report.skip("contracts", "chain facts not verified", FROM);
  report.skip("revision", "whether the revision is recalled: needs the chain", FROM);
  report.skip("mint", "whether the prints exist: needs the chain", FROM);
  report.skip("anchor", "whether root, block and transaction are on chain: needs the chain", FROM);
  report.skip("counts", "what was reserved and counted: needs the chain", FROM);
}

function documents(report: Report, passport: Passport): void {
  const { manifest, registration, content, revision } = passport;
  const isFirst = revision === 1; // of a later one the registration does not speak
  report.check("manifest", `manifest of “${manifest.title}”`, FROM, () => {
    const registered = registration.text("manifestDigest");
    if (isFirst) same(manifest.digest, registered, "manifest-digest", "the manifest is not the one that was registered");
    const registrant = registration.text("registrant");
    same(manifest.registrant, registrant, "registrant", "the manifest names another registrant");
  });
  if (content === null) {
    report.skip("registration", "content not disclosed", FROM);
  } else if (isFirst) {
    report.check("registration", "the registrant committed to these files", FROM, () => {
      const registrant = fromHex(registration.text("registrant"));
      const opened = toHex(commitment(registrant, content.salt, fromHex(content.filesRoot)));
      const committed = registration.text("commitment");
      same(opened, committed, "commitment", "the registrant committed to other files");
      if (!manifest.isPrivate) sameRoot(manifest, content.filesRoot);
    });
  } else {
    if (!manifest.isPrivate) {
      const stated = "the files' root is that of the manifest";
      report.check("registration", stated, FROM, () => sameRoot(manifest, content.filesRoot));
    }
    report.skip("registration", "a later revision's commitment is not in the passport", FROM);
  }
  // A passport of which this is not true cannot be read at all.
  const cap = passport.terms.number("cap");
  report.hold("terms", `terms with a cap of ${cap} give the licence's id, which the permission names`, FROM);
}

function sameRoot(manifest: Passport["manifest"], stated: Hex): void {
  const root = toHex(filesRoot(manifest.files.map(fromHex)));
  same(root, stated, "files-root", "the files of the manifest have another root than was committed to");
}

function signatures(report: Report, passport: Passport): void {
  const { permission, permissionSignature, request, outcome } = passport;
  const domain = ledgerDomain(passport.profile);
  const agent = permission.text("agent");
  const signed = (struct: Struct, signature: Uint8Array, by: Hex, code: string, what: string): void => {
    const signer = signerOf(struct.digest(domain), signature);
    same(checksummed(signer), checksummed(by), code, `the ${what} is signed by another account`);
  };
  if (permissionSignature.length === 65) {
    report.check("permission", "the holder signed the permission", FROM, () =>
      signed(permission, permissionSignature, permission.text("holder"), "not-holder", "permission"),
    );
  } else {
    report.skip("permission", "a contract wallet signed: only the chain can tell", FROM);
  }
  report.check("permission", `the permission is for revision ${passport.revision}`, FROM, () =>
    same(
      BigInt(passport.revision),
      permission.number("revision"),
      "revision-mismatch",
      "the permission is for another revision than the passport states",
    ),
  );
  report.check("voucher", `the agent signed request ${request.sequence}`, FROM, () =>
    signed(request.voucher, request.signature, agent, "signature-invalid", "request"),
  );
  if (passport.detail !== null) {
    report.check("voucher", "the opened detail is the one in the request", FROM, () =>
      same(passport.detail, request.detail, "detail-mismatch", "the opened detail is not the one that the agent committed to"),
    );
  }
  if (outcome === null) {
    report.skip("voucher", "outcome not shown: the print may have failed, been rejected or given back", FROM);
  } else {
    const { voucher, signature, result } = outcome.entry;
    report.check("voucher", `the agent signed the outcome: ${result}`, FROM, () =>
      signed(voucher, signature, agent, "signature-invalid", "outcome"),
    );
  }
  if (passport.receipt === null) {
    report.skip("receipt", outcome === null ? "no receipt yet" : "receipt not disclosed", FROM);
  } else report.check("receipt", "agent and gateway signed the receipt", FROM, () => checkReceipt(passport));
  report.check("release", "the gateway that the holder permitted released and anchored", FROM, () => checkGateway(passport));
  report.check("release", "the gateway's release is for this entry", FROM, () => checkRelease(passport));
}

function checkReceipt(passport: Passport): void {
  const { receipt, outcome, permission, profile } = passport;
  if (receipt === null || outcome === null) {
    throw new Refuted("a receipt without an outcome in the log", "receipt-mismatch", "an outcome", "none");
  }
  const { statement } = receipt.envelope;
  checkEnvelope(receipt.envelope, permission.text("agent"), profile.releaseKey);
  const found = toHex(receiptDigest(receipt.salt, statement));
  same(found, outcome.entry.receiptDigest, "receipt-mismatch", "the receipt is not the one that the outcome signed");
  const stated = readStatement(statement);
  const print = (of: Omit<typeof stated, "startedAt" | "finishedAt" | "material">): string =>
    [of.designId, of.revision, of.licenseId, of.tokenId, of.sequence, of.result].join(", ");
  const expected = print({ ...passport, result: outcome.entry.result });
  same(print(stated), expected, "receipt-mismatch", "the receipt is for another print or tells another result");
}

/** The profile, whose log the release names, and the anchor are of the gateway that counted the print. */
function checkGateway(passport: Passport): void {
  const permitted = checksummed(passport.permission.text("gateway"));
  const stated = { profile: passport.profile.gateway, anchor: passport.anchor?.gateway };
  for (const [what, gateway] of Object.entries(stated)) {
    if (gateway !== undefined) {
      same(checksummed(gateway), permitted, "gateway-mismatch", `the ${what} is of another gateway than the holder permitted`);
    }
  }
}

function checkRelease(passport: Passport): void {
  const { profile, manifest, redeemed } = passport;
  const release = openRelease(passport.release, profile.releaseKey);
  same(release.leafHash, toHex(leafHash(redeemed.entry)), "release-mismatch", "the release is for another entry");
  same(release.origin, profile.logOrigin, "release-origin", "the release is of another log");
  same(release.profileDigest, profile.digest, "release-origin", "the release is under another profile");
  same(release.manifestDigest, manifest.digest, "release-mismatch", "the release is for another manifest");
  same(release.keyCommitment, manifest.keyCommitment, "release-mismatch", "the release is for another key");
}

function inclusion(report: Report, passport: Passport): void {
  const { anchor, redeemed, outcome } = passport;
  if (anchor === null) {
    report.skip("inclusion", "provisional: the log was not anchored yet", FROM);
    return;
  }
  const { size } = anchor;
  const root = fromHex(anchor.root);
  const entries = { "the print": redeemed, ...(outcome === null ? {} : { "its outcome": outcome.logged }) };
  for (const [what, { entry, index, proof }] of Object.entries(entries)) {
    report.check("inclusion", `${what} is entry ${index} of ${size}`, FROM, () =>
      checkInclusion(leafHash(entry), index, size, proof, root),
    );
  }
}
