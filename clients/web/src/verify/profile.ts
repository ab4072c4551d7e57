/** A gateway's profile: where it is and which keys are its. Source: docs/formats.md, gateway profile. */

import { equal, toHex, type Bytes, type Hex } from "./bytes.js";
import { sha256 } from "./digests.js";
import { Malformed } from "./failures.js";
import { address, base64UrlBytes, checksummed, field, line, record, url, whole } from "./fields.js";
import { encode, type JsonValue } from "./json.js";
import type { Domain } from "./typed_data.js";

const HPKE_BYTES = 1216;
const DAY_SECONDS = 86_400;

export interface Profile {
  readonly chainId: number;
  readonly registry: Hex;
  readonly license: Hex;
  readonly ledger: Hex;
  readonly gateway: Hex;
  readonly url: string;
  readonly releaseKey: Bytes;
  readonly logOrigin: string;
  readonly epoch: number;
  /** SHA-256 of the profile's block, which the gateway declares on chain. */
  readonly digest: Hex;
}

export function readProfile(value: JsonValue): Profile {
  const found = record(value, [
    "version",
    "chainId",
    "registry",
    "license",
    "ledger",
    "gateway",
    "url",
    "logKey",
    "releaseKey",
    "depositKey",
    "logOrigin",
    "mergeDelaySeconds",
  ]);
  whole(field(found, "version"), 1, 1);
  const chainId = whole(field(found, "chainId"), 1);
  const registry = address(field(found, "registry"));
  const license = address(field(found, "license"));
  const ledger = address(field(found, "ledger"));
  const gateway = address(field(found, "gateway"));
  const at = url(field(found, "url"));
  const logKey = base64UrlBytes(field(found, "logKey"), 32);
  const releaseKey = base64UrlBytes(field(found, "releaseKey"), 32);
  const depositKey = base64UrlBytes(field(found, "depositKey"), HPKE_BYTES);
  const logOrigin = line(field(found, "logOrigin"));
  const delay = whole(field(found, "mergeDelaySeconds"));
  const log = `${chainId}/${checksummed(ledger)}/${checksummed(gateway)}/`;
  const epoch = logOrigin.startsWith(log) ? logOrigin.slice(log.length) : "";
  const fits = [
    /^[1-9][0-9]{0,9}$/.test(epoch),
    logKey.length === 32 && releaseKey.length === 32 && !equal(logKey, releaseKey),
    depositKey.length === HPKE_BYTES,
    delay >= 1 && delay <= DAY_SECONDS,
  ];
  if (fits.includes(false)) throw new Malformed("the profile's members contradict each other", "profile");
  const written = new Map(found);
  for (const [name, one] of Object.entries({ registry, license, ledger, gateway })) written.set(name, checksummed(one));
  return {
    chainId,
    registry,
    license,
    ledger,
    gateway,
    url: at,
    releaseKey,
    logOrigin,
    epoch: Number(epoch),
    digest: toHex(sha256(encode(written))),
  };
}

export function registryDomain(profile: Profile): Domain {
  return { name: "Platemark DesignRegistry", chainId: profile.chainId, contract: profile.registry };
}

export function licenseDomain(profile: Profile): Domain {
  return { name: "Platemark PrintLicense", chainId: profile.chainId, contract: profile.license };
}

export function ledgerDomain(profile: Profile): Domain {
  return { name: "Platemark PrintLedger", chainId: profile.chainId, contract: profile.ledger };
}
