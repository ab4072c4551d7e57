/** A gateway's signed answer to a redemption. Source: docs/formats.md, release. */

import type { Hex } from "./bytes.js";
import { digest, field, hexBytes, line, record, whole } from "./fields.js";
import type { JsonValue } from "./json.js";
import { openStatement } from "./statements.js";

export interface Release {
  readonly origin: string;
  readonly leafHash: Hex;
  readonly keyCommitment: Hex;
  readonly manifestDigest: Hex;
  readonly profileDigest: Hex;
}

export function readRelease(value: JsonValue): Release {
  const found = record(value, [
    "version",
    "origin",
    "leafHash",
    "tokenId",
    "sequence",
    "printId",
    "keyCommitment",
    "manifestDigest",
    "mergeBy",
    "profileDigest",
  ]);
  whole(field(found, "version"), 1, 1);
  const origin = line(field(found, "origin"));
  const leafHash = digest(field(found, "leafHash"));
  digest(field(found, "tokenId"));
  whole(field(found, "sequence"), 1, 65_535);
  hexBytes(field(found, "printId"), { exact: 16 });
  const keyCommitment = digest(field(found, "keyCommitment"));
  const manifestDigest = digest(field(found, "manifestDigest"));
  whole(field(found, "mergeBy"));
  const profileDigest = digest(field(found, "profileDigest"));
  return { origin, leafHash, keyCommitment, manifestDigest, profileDigest };
}

/** The claims of a release that the key (32 bytes) signed; throws as `openStatement` and `readRelease`. */
export function openRelease(text: string, releaseKey: Uint8Array): Release {
  return readRelease(openStatement(text, "platemark-release+jwt", releaseKey));
}
