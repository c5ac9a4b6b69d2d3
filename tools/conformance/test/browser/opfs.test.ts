import { createHash } from "node:crypto";
import { fileURLToPath } from "node:url";

import { HubServer, faults, memoryContent } from "hub-server";
import { describe, expect, it, onTestFinished } from "vitest";

import { bundle } from "@favor/test-support/bundle";
import { findChromium, runPage } from "@favor/test-support/chromium";
import type { OpfsReport } from "./opfs-report.ts";

const chromium = findChromium();

/** 3 MB without a period of its size. */
const large = Uint8Array.from({ length: 3_000_000 }, (_, i) => (i * i) >> 7);
const sha256 = createHash("sha256").update(large).digest("hex");

describe.skipIf(!chromium)("the cache in Chromium's own file system (skipped: no chromium on PATH)", () => {
  it("survives reloads, starts over what was interrupted, keeps nothing that is wrong, continues a cut connection", async () => {
    const files = { "large.bin": memoryContent(large, "lfs"), "wrong.bin": memoryContent(large.subarray(9), "lfs") };
    const server = await HubServer.start({ repositories: [{ id: "org/model", files }] });
    onTestFinished(() => server.close());
    const wrong = createHash("sha256").update(large.subarray(9)).digest("hex");
    // The first answer stops on its way, until the page is loaded again.
    server.fault({ part: "storage", path: new RegExp(sha256), times: 1 }, faults.stall(2_000_000));
    server.fault({ part: "storage", path: new RegExp(sha256), times: 1, after: 1 }, faults.cut(2_000_000));
    server.fault({ part: "storage", path: new RegExp(wrong) }, faults.corrupt);

    const page = await bundle(fileURLToPath(new URL("./opfs-page.ts", import.meta.url)));
    const script = `globalThis.hubEndpoint = ${JSON.stringify(server.endpoint)};\n${page}`;
    const report = (await runPage(chromium!, script, false)) as OpfsReport;
    expect(report.error).toBeUndefined();
    // The browser shows a file's bytes once it is closed; until then they may have a name of its own beside it.
    expect(report.interrupted).toContain(`${sha256} 0`);
    expect(report).toMatchObject({
      downloaded: sha256,
      reopened: sha256,
      blobs: [`${sha256} ${large.length}`],
      wrong: "hub-hash-mismatch",
      missing: "hub-offline",
    });
    const asked = server.requests.filter(({ part, path }) => part === "storage" && path.includes(sha256));
    const ranges = asked.map(({ headers }) => headers["range"] ?? "whole");
    expect(ranges).toEqual(["whole", "whole", expect.stringMatching(/^bytes=[1-9]\d*-2999999$/)]);
  });
});
