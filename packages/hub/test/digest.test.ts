import { createHash } from "node:crypto";
import { open, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { describe, expect, it } from "vitest";

import { nodeDigest } from "../src/node/digest.ts";
import { portableDigest, startDigest } from "../src/transfer/digest.ts";
import { emptyCache, noise, rejection } from "./loopback.ts";

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

describe("a hash in a thread that reads the file itself", () => {
  it("equals that of the bytes, wherever the parts are cut", async () => {
    const bytes = noise(3_000_000);
    const path = join(await emptyCache(), "file");
    await writeFile(path, bytes);
    await using file = await open(path);
    const digest = nodeDigest("sha256", large);
    const cuts = [0, 1, 1_048_575, 1_048_577, 3_000_000];
    for (const [index, end] of cuts.entries()) if (index > 0) digest.updateFrom!(file.fd, cuts[index - 1]!, end);
    expect(await digest.current()).toBe(createHash("sha256").update(bytes).digest("hex"));
    digest.close();
  });

  it("is an error when the file ends early", async () => {
    const path = join(await emptyCache(), "file");
    await writeFile(path, noise(1000));
    await using file = await open(path);
    const digest = nodeDigest("sha256", large);
    digest.updateFrom!(file.fd, 0, 1001);
    expect((await rejection(Promise.resolve(digest.current()))).message).toContain("ends at 1000, before 1001");
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
