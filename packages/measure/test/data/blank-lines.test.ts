import { gzipSync } from "node:zlib";

import { readRecords } from "@favor/measure/data";
import { temporaryFile } from "@favor/test-support/temporary-folder";
import { expect, test } from "vitest";

const [mebi, newline, space] = [2 ** 20, 10, 32];

/** A gzip file of a few kilobytes: `begin`, so many mebibytes of lines as `line` fills them, `end`. */
async function unfolding(begin: string, line: string, mebibytes: number, end: string): Promise<string> {
  const block = gzipSync(Buffer.alloc(mebi, line), { level: 9 });
  const blocks = Array.from({ length: mebibytes }, () => block);
  return temporaryFile("data.fasta.gz", Buffer.concat([gzipSync(begin), ...blocks, gzipSync(end)]));
}

async function records(path: string): Promise<(readonly [line: number, text: string])[]> {
  const found: (readonly [number, string])[] = [];
  for await (const { line, text } of readRecords(path)) found.push([line, text]);
  return found;
}

test("a hundred million blank lines are skipped at the speed of the decompressor, and counted", async () => {
  const path = await unfolding(">a\nACD\n", "\n", 96, ">b\nEFG\n");
  const before = process.cpuUsage();
  expect(await records(path)).toEqual([
    [1, "ACD"],
    [3 + 96 * mebi, "EFG"],
  ]);
  const { user, system } = process.cpuUsage(before);
  // 2 s on a slow machine; a step of an asynchronous iteration per line took a minute.
  expect((user + system) / 1e6).toBeLessThan(15);
});

test.each([
  ["line ends", "\n"],
  ["line ends of Windows", "\r\n"],
  ["lines of spaces", `${String.fromCharCode(space).repeat(63)}${String.fromCharCode(newline)}`],
])("more than 256 MiB of blank lines are refused: %s", async (_, line) => {
  const path = await unfolding(">a\nACD\n", line, 260, ">b\nEFG\n");
  await expect(records(path)).rejects.toMatchObject({
    code: "data-malformed",
    message: expect.stringMatching(/data\.fasta\.gz, line \d+: more than 268435456 characters of blank lines\./),
  });
});

test("so are more than a million comments in a row", async () => {
  const path = await unfolding(">a\nACD\n", ";\n", 3, ">b\nEFG\n");
  await expect(records(path)).rejects.toThrow(/more than 1000000 comment lines in a row/);
});
