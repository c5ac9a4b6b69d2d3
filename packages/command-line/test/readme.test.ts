import { readFileSync } from "node:fs";
import { Writable } from "node:stream";

import { runReadmeExample } from "@favor/test-support/readme-example";
import { expect, test } from "vitest";

import * as commandLine from "../src/index.ts";

/** A stream that keeps what is written to it. */
function collecting(): { readonly stream: Writable; readonly written: string[] } {
  const written: string[] = [];
  const stream = new Writable({
    write: (chunk: Buffer, _encoding, done) => {
      written.push(chunk.toString());
      done();
    },
  });
  return { stream, written };
}

test("the README's example prints what the README says", async () => {
  const [out, err] = [collecting(), collecting()];
  const process = { stdout: out.stream, stderr: err.stream, env: {} };
  const readme = new URL("../README.md", import.meta.url);
  const modules = { "@favor/command-line": commandLine, "node:process": process };
  const { printed, promised } = await runReadmeExample(readme, modules);
  expect(out.written.join("") + printed).toBe(promised);
  expect(readFileSync(readme, "utf8")).toContain(`\`${err.written.join("").trim()}\``);
});
