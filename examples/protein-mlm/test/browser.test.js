import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { createServer } from "vite";
import { describe, expect, it } from "vitest";
import { findChromium, untilAnswered } from "@favor/test-support/chromium";

const chromium = findChromium();

// presses the button and tells the test everything that the page shows
const watch = `
  const report = (facts) => fetch("/report", { method: "POST", body: JSON.stringify(facts) });
  addEventListener("error", ({ message }) => report({ error: message }));
  addEventListener("unhandledrejection", ({ reason }) => report({ error: String(reason.stack ?? reason) }));
  addEventListener("load", () => {
    const tell = (status) => {
      const canvas = document.querySelector("#plot canvas");
      const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
      let blue = 0;
      for (let i = 0; i < pixels.length; i += 4) if (pixels[i + 2] > 200 && pixels[i] < 60 && pixels[i + 3] > 0) blue++;
      report({ status, blue });
    };
    const output = document.getElementById("status");
    const changed = () => {
      const status = output.textContent;
      // once it is plotted
      requestAnimationFrame(() => tell(status));
    };
    new MutationObserver(changed).observe(output, { childList: true });
    document.getElementById("start").click();
  });`;

/** The report of the page, opened in a headless Chromium, with which it is `done`; or an error in the page. */
async function openPage(done) {
  let accept;
  const accepted = new Promise((resolve) => (accept = resolve));
  const reports = {
    name: "reports",
    configureServer: ({ middlewares }) => {
      middlewares.use("/report", (request, response) => {
        let body = "";
        request.setEncoding("utf8").on("data", (chunk) => (body += chunk));
        request.on("end", () => {
          response.end();
          const facts = JSON.parse(body);
          if (facts.error !== undefined || done(facts)) accept(facts);
        });
      });
    },
    transformIndexHtml: () => [{ tag: "script", children: watch, injectTo: "head-prepend" }],
  };
  const cacheDir = mkdtempSync(join(tmpdir(), "favor-protein-"));
  const server = await createServer({
    root: fileURLToPath(new URL("..", import.meta.url)),
    configFile: false,
    logLevel: "error",
    cacheDir,
    resolve: { conditions: ["@favor/source", "module", "browser", "default"] },
    server: { host: "127.0.0.1", port: 0, fs: { allow: [fileURLToPath(new URL("../../..", import.meta.url))] } },
    plugins: [reports],
  });
  await server.listen();
  const { port } = server.httpServer.address();
  try {
    return await untilAnswered(chromium, `http://127.0.0.1:${port}/`, accepted, ["--disable-gpu"]);
  } finally {
    await server.close();
    rmSync(cacheDir, { recursive: true, force: true });
  }
}

describe.skipIf(chromium === undefined)("in Chromium (skipped without one on PATH or in CHROMIUM)", () => {
  it("the page trains, its loss falls below the entropy of single residues, and it is plotted", async () => {
    const losses = [];
    const facts = await openPage(({ status }) => {
      const [, step, loss] = /step (\d+) of 300, loss ([\d.]+)/.exec(status) ?? [];
      if (step !== undefined) losses[Number(step)] = Number(loss);
      const seen = Object.values(losses);
      const last = seen.slice(-5);
      return last.length === 5 && last.reduce((a, b) => a + b) / 5 < 2.7;
    });
    expect(facts.error).toBeUndefined();
    expect(Object.values(losses)[0]).toBeGreaterThan(2.7);
    expect(facts.blue).toBeGreaterThan(100);
  });
});
