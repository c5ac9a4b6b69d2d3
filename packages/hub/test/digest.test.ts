import { createHash } from "node:crypto";

import { describe, expect, it } from "vitest";

import { nodeDigest } from "../src/node/digest.ts";
import { portableDigest, startDigest } from "../src/transfer/digest.ts";
import { noise, rejection } from "./loopback.ts";

const large = 64 * 2 ** 20;

describe.each([
  ["Node's hashes", nodeDigest, 1],
  ["Node's hashes in a thread", nodeDigest, large],
  ["the portable hashes", portableDigest, 1],
])("%s", (_, factory, size) => {
  it.each(["sha256", "sha1"] as const)("%s equals OpenSSL's, between and at the end", async (algorithm) => {
    const digest = factory(algorithm, size);
    const reference = createHash(algorithm);
    const found: string[] = [];
    const expected: string[] = [];
    const block = new Uint8Array(20_000);
    for (let round = 1; round <= 30; round++) {
      // The same memory each time, as a download reuses its blocks, and not always all of it.
      const bytes = block.subarray(0, round * 600);
      bytes.set(noise(bytes.length, round));
      await digest.update(bytes);
      reference.update(bytes);
      if (round % 10 > 0) continue;
      found.push(await digest.current());
      expected.push(reference.copy().digest("hex"));
    }
    expect(found).toEqual(expected);
    digest.close();
  });

  it("hashes Git's blobs", async () => {
    const file = { etag: "ce013625030ba8dba906f756967f9e9ca394464a", size: 6 };
    const digest = startDigest((algorithm) => factory(algorithm, size), file);
    await digest.update(new TextEncoder().encode("hello\n"));
    expect(await digest.current()).toBe(file.etag);
    digest.close();
  });
});

it("a hash in a thread that was closed leaves nobody waiting", async () => {
  const digest = nodeDigest("sha256", large);
  const pending = [rejection(Promise.resolve(digest.current()))];
  for (let count = 0; count < 12; count++) void digest.update(new Uint8Array(100_000));
  digest.close();
  expect((await Promise.all(pending))[0]!.message).toContain("closed");
  await rejection(Promise.resolve(digest.update(new Uint8Array(1))));
});
