/** The manifest of a revision. Source: docs/formats.md, manifest; decimals, texts, lists; sealed file. */

import { toHex, type Hex } from "./bytes.js";
import { sha256 } from "./digests.js";
import { Malformed } from "./failures.js";
import { address, checksummed, cid, decimal, digest, field, fileName, flag, items, line, lines, record, whole, type Cid } from "./fields.js";
import { encode, type JsonValue } from "./json.js";

const PROCESSES = ["FDM", "SLA", "SLS", "MJF", "DMLS"];
const SEGMENT = 1 << 20;
const HEADER = 40;
const TAG = 16;

export interface Manifest {
  readonly title: string;
  readonly registrant: Hex;
  readonly isPrivate: boolean;
  /** SHA-256 of each file, salted in a private manifest. */
  readonly files: readonly Hex[];
  readonly keyCommitment: Hex;
  readonly materials: readonly string[];
  readonly previews: readonly Cid[];
  readonly warnings: readonly string[];
  /** SHA-256 of the manifest's block, which the registration holds. */
  readonly digest: Hex;
}

export function readManifest(value: JsonValue): Manifest {
  const found = record(
    value,
    ["version", "title", "registrant", "private", "files", "keyCommitment", "parts", "constraints", "estimates", "previews", "warnings"],
    ["parentId"],
  );
  whole(field(found, "version"), 1, 1);
  const files = items(field(found, "files"), 256, 1);
  const parts = items(field(found, "parts"), 256, 1);
  const estimates = items(field(found, "estimates"), 16);
  const previews = items(field(found, "previews"), 16);
  const isPrivate = flag(field(found, "private"));
  const title = line(field(found, "title"));
  const registrant = address(field(found, "registrant"));
  const readFiles = files.map(readFile);
  const keyCommitment = digest(field(found, "keyCommitment"));
  const readParts = parts.map(readPart);
  const materials = readConstraints(field(found, "constraints"));
  estimates.forEach(readEstimate);
  const pictures = previews.map(cid);
  const warnings = lines(field(found, "warnings"), 32, 500);
  if (found.has("parentId")) digest(field(found, "parentId"));
  checkReferences(readFiles, readParts);
  const written = new Map([...found, ["registrant", checksummed(registrant)]]);
  return {
    title,
    registrant,
    isPrivate,
    files: readFiles.map((file) => file.sha256),
    keyCommitment,
    materials,
    previews: pictures,
    warnings,
    digest: toHex(sha256(encode(written))),
  };
}

interface File {
  readonly index: number;
  readonly name: string;
  readonly sha256: Hex;
}

interface Part {
  readonly name: string;
  readonly file: number;
}

function readFile(value: JsonValue): File {
  const found = record(value, ["index", "name", "mediaType", "bytes", "sha256", "sealed"]);
  const sealed = record(field(found, "sealed"), ["cid", "bytes", "sha256"]);
  const index = whole(field(found, "index"), 0, 255);
  const name = fileName(field(found, "name"));
  line(field(found, "mediaType"), 100);
  const size = whole(field(found, "bytes"), 0, 2 ** 40);
  const sha = digest(field(found, "sha256"));
  cid(field(sealed, "cid"));
  const sealedSize = whole(field(sealed, "bytes"));
  digest(field(sealed, "sha256"));
  if (sealedSize !== sealedBytes(size)) throw new Malformed(`${name} cannot have ${sealedSize} bytes when sealed`, "manifest-files");
  return { index, name, sha256: sha };
}

/** What a file has when sealed: a header, its bytes, and a tag for each segment of 1 MiB, header and tags included. */
function sealedBytes(size: number): number {
  const segments = Math.max(1, Math.ceil((size + HEADER) / (SEGMENT - TAG)));
  return HEADER + size + segments * TAG;
}

function readPart(value: JsonValue): Part {
  const found = record(value, ["name", "file", "quantity", "orientation", "boundingBoxMm", "volumeMm3"]);
  const angles = items(field(found, "orientation"), 3, 3);
  const sides = items(field(found, "boundingBoxMm"), 3, 3);
  for (const angle of angles) whole(angle, 0, 359);
  for (const side of sides) decimal(side);
  const name = line(field(found, "name"), 120);
  const file = whole(field(found, "file"), 0, 255);
  whole(field(found, "quantity"), 1, 10_000);
  decimal(field(found, "volumeMm3"));
  return { name, file };
}

/** Returns the materials that are allowed; none leaves it open. */
function readConstraints(value: JsonValue): string[] {
  const found = record(value, ["tsdc", "printing-process", "material"], ["infill", "resolution-mm", "supports", "nozzle-mm"]);
  const wrong = (message: string): Malformed => new Malformed(message, "manifest-constraints");
  if (found.get("tsdc") !== "3DP" || (found.has("supports") && typeof found.get("supports") !== "boolean")) {
    throw wrong("the constraints are not those of tsdc 3DP");
  }
  if (!PROCESSES.includes(line(field(found, "printing-process")))) throw wrong("the printing process is an unknown one");
  if (found.has("infill") && Number(decimal(field(found, "infill"))) > 100) throw wrong("infill is at most 100 percent");
  const materials = lines(field(found, "material"), 32, 60);
  if (found.has("resolution-mm")) decimal(field(found, "resolution-mm"));
  if (found.has("nozzle-mm")) decimal(field(found, "nozzle-mm"));
  return materials;
}

function readEstimate(value: JsonValue): void {
  const found = record(value, ["slicer", "slicerVersion", "profileSha256", "grams", "minutes"]);
  line(field(found, "slicer"), 60);
  line(field(found, "slicerVersion"), 60);
  digest(field(found, "profileSha256"));
  decimal(field(found, "grams"));
  decimal(field(found, "minutes"));
}

function checkReferences(files: readonly File[], parts: readonly Part[]): void {
  const wrong = (message: string): Malformed => new Malformed(message, "manifest-files");
  if (files.some((file, at) => file.index !== at)) throw wrong("files are numbered from 0 in their order");
  if (new Set(files.map((file) => folded(file.name))).size !== files.length) throw wrong("two files have the same name");
  if (new Set(parts.map((part) => part.name)).size !== parts.length) throw wrong("two parts have the same name");
  if (parts.some((part) => part.file >= files.length)) throw wrong("a part refers to a file that is not there");
}

/** A text of which small and capital letters are alike: Unicode's full case folding, in which the dotless i is no i. */
function folded(text: string): string {
  const alike = (character: string): string => character.toLowerCase().toUpperCase().toLowerCase();
  return [...text].map((character) => (character === "ı" ? character : alike(character))).join("");
}
