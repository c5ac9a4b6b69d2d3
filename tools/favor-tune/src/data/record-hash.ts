import { createHash } from "node:crypto";

/** 48 bits of the SHA-256 of a text, so that equal texts have equal hashes in any file and order. */
export function recordHash(text: string): number {
  return createHash("sha256").update(text).digest().readUIntBE(0, 6);
}

const hashes = 2 ** 48;

/** The share of records, by hash, that is held out of the training data for measuring. */
const heldOutShare = 0.05;

/** The largest share of the other records that weights are chosen by. */
export const validationShare = 0.05;

/** Whether a record of this hash is held out. */
export function isHeldOut(hash: number): boolean {
  return hash < heldOutShare * hashes;
}
