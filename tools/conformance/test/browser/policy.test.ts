import { fileURLToPath } from "node:url";
import { beforeAll, describe, expect, it } from "vitest";
import { bundle } from "@favor/test-support/bundle";
import { findChromium, openPage } from "@favor/test-support/chromium";

const chromium = findChromium();

describe.skipIf(!chromium)("workers under a page's content security policy (skipped: no chromium on PATH)", () => {
  let script: string;
  beforeAll(async () => {
    script = await bundle(fileURLToPath(new URL("policy-page.ts", import.meta.url)));
  });

  /** What each call of the workers gives in a page with that policy. */
  async function calls(policy: string): Promise<string[]> {
    const files = { "/": '<!doctype html><script type="module" src="/page.js"></script>', "/page.js": script };
    return (await openPage(chromium!, { files, path: "/", isolated: false, policy, seconds: 60 })) as string[];
  }

  it("run where the policy allows them", async () => {
    const allowed = "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; worker-src blob:";
    expect(await calls(allowed)).toEqual(["1,1,1,1,1,1,1,1", "1,1,1,1,1,1,1,1"]);
  });

  it.each(["default-src 'self'", "script-src 'self' 'wasm-unsafe-eval'", "worker-src 'self'", "child-src 'none'"])(
    "are unavailable under %s, and the error says what to allow",
    async (policy) => {
      const found = await calls(policy);
      expect(found.length).toBeGreaterThan(0);
      for (const text of found) {
        expect(text).toMatch(/^workers-unavailable: .* content security policy must allow "worker-src blob:"/);
      }
    },
  );
});
