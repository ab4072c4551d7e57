/**
 * Merkle trees of RFC 6962.
 *
 * Source: RFC 6962, 2.1; RFC 9162, 2.1.3.2; docs/formats.md, trees.
 */

import { concat, equal, toHex, type Bytes } from "./bytes.js";
import { sha256 } from "./digests.js";
import { Malformed, Refuted } from "./failures.js";

export function leafHash(data: Uint8Array): Bytes {
  return sha256(concat(new Uint8Array([0]), data));
}

export function nodeHash(left: Uint8Array, right: Uint8Array): Bytes {
  return sha256(concat(new Uint8Array([1]), left, right));
}

/** RFC 6962's MTH over hashes of leaves. */
export function treeHead(leaves: readonly Uint8Array[]): Bytes {
  if (leaves.length <= 1) return leaves[0] === undefined ? sha256() : new Uint8Array(leaves[0]);
  let left = 1;
  while (2 * left < leaves.length) left *= 2;
  return nodeHash(treeHead(leaves.slice(0, left)), treeHead(leaves.slice(left)));
}

/** The root of a design's files: the head over their SHA-256 in ascending order, each as a leaf's data. */
export function filesRoot(digests: readonly Uint8Array[]): Bytes {
  if (digests.length === 0) throw new Malformed("a design has at least one file", "files-root");
  const sorted = [...digests].sort((one, other) => (toHex(one) < toHex(other) ? -1 : 1));
  return treeHead(sorted.map(leafHash));
}

/** RFC 9162's verification, step by step. Throws `Refuted` `merkle-proof`. */
export function checkInclusion(
  leaf: Uint8Array,
  index: number,
  size: number,
  proof: readonly Uint8Array[],
  root: Uint8Array,
): void {
  if (index >= size) throw refuted(`an index below ${size}`, String(index));
  let fn = BigInt(index);
  let sn = BigInt(size - 1);
  let head = leaf;
  for (const sibling of proof) {
    if (sn === 0n) throw refuted("a shorter proof", `${proof.length} hashes`);
    if ((fn & 1n) === 1n || fn === sn) {
      head = nodeHash(sibling, head);
      while ((fn & 1n) === 0n && fn !== 0n) {
        fn >>= 1n;
        sn >>= 1n;
      }
    } else {
      head = nodeHash(head, sibling);
    }
    fn >>= 1n;
    sn >>= 1n;
  }
  if (sn !== 0n) throw refuted("a longer proof", `${proof.length} hashes`);
  if (!equal(head, root)) throw refuted(toHex(root), toHex(head));
}

function refuted(expected: string, found: string): Refuted {
  return new Refuted("the proof of inclusion does not hold", "merkle-proof", expected, found);
}
