import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { delimiter, extname, join } from "node:path";
import { setTimeout } from "node:timers/promises";

const names = ["chromium", "chromium-browser", "google-chrome", "chrome"];

/** The program of a Chromium on this machine: CHROMIUM, or the first on PATH; undefined if there is none. */
export function findChromium(): string | undefined {
  const folders = (process.env.PATH ?? "").split(delimiter);
  const candidates = names.flatMap((name) => folders.map((folder) => join(folder, name)));
  return [process.env.CHROMIUM ?? "", ...candidates].find((path) => path !== "" && existsSync(path));
}

export interface Page {
  /** What is served, by path ("/page.js"). */
  readonly files: Readonly<Record<string, string | Uint8Array>>;
  /** With the query. */
  readonly path: string;
  /** Whether the page is cross-origin isolated, which gives it shared memory. */
  readonly isolated: boolean;
  /** Its content security policy. Default: none. */
  readonly policy?: string;
  /** How long to wait for its report. Default: without end. */
  readonly seconds?: number;
}

const types: Readonly<Record<string, string>> = {
  ".html": "text/html",
  ".js": "text/javascript",
  ".wasm": "application/wasm",
};

/**
 * Keeps a page open in a headless Chromium until there is an answer from it. Everything that Chromium writes goes into
 * a folder of its own, which is removed.
 *
 * @param graphics - Chromium's switches: what the page has of WebGL and WebGPU.
 */
export async function untilAnswered<T>(
  chromium: string,
  url: string,
  answer: Promise<T>,
  graphics: readonly string[],
): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), "favor-chromium-"));
  const flags = [
    "--headless",
    "--no-sandbox",
    "--no-first-run",
    // Containers have 64 MB of /dev/shm, in which pages die.
    "--disable-dev-shm-usage",
    ...graphics,
    `--user-data-dir=${join(folder, "profile")}`,
  ];
  const browser = spawn(chromium, [...flags, url], { stdio: "ignore", env: { ...process.env, TMPDIR: folder } });
  const ended = new Promise<void>((resolve) => browser.once("exit", () => resolve()));
  try {
    const early = ended.then(() => Promise.reject(new Error(`${chromium} ended before the page reported`)));
    return await Promise.race([answer, early]);
  } finally {
    browser.kill();
    await ended;
    await removeFolder(folder);
  }
}

/**
 * The browser's processes outlive it for a moment, in which they write. `rmSync`, even when it retries, lists a folder
 * once: what appears in it afterwards makes it fail.
 */
async function removeFolder(folder: string): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      return rmSync(folder, { recursive: true, force: true });
    } catch (cause) {
      // What the browser leaves behind says nothing about the page.
      if (attempt === 50) return process.emitWarning(`${folder} could not be removed: ${String(cause)}`);
      await setTimeout(100);
    }
  }
}

const softwareGraphics = ["--enable-unsafe-webgpu", "--enable-unsafe-swiftshader"];

/**
 * Opens a page in a headless Chromium with software WebGL and WebGPU; resolves with what it posts to /report, or with
 * undefined after the page's time.
 */
export async function openPage(chromium: string, { files, path, isolated, policy, seconds }: Page): Promise<unknown> {
  let received: (report: string) => void;
  const report = new Promise<string>((resolve) => (received = resolve));
  const late = seconds === undefined ? [] : [setTimeout(1000 * seconds, undefined, { ref: false })];
  const server = createServer((request, response) => {
    if (isolated) {
      response.setHeader("Cross-Origin-Opener-Policy", "same-origin");
      response.setHeader("Cross-Origin-Embedder-Policy", "require-corp");
    }
    if (policy !== undefined) response.setHeader("Content-Security-Policy", policy);
    if (request.method === "POST") {
      let body = "";
      request.setEncoding("utf8").on("data", (chunk: string) => (body += chunk));
      request.on("end", () => {
        response.end();
        received(body);
      });
      return;
    }
    const { pathname } = new URL(request.url ?? "/", "http://localhost");
    const file = files[pathname];
    response.setHeader("Content-Type", types[extname(pathname)] ?? "text/html");
    response.statusCode = file === undefined ? 404 : 200;
    response.end(file ?? "");
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  try {
    const url = `http://127.0.0.1:${port}${path}`;
    const answer = await untilAnswered(chromium, url, Promise.race([report, ...late]), softwareGraphics);
    return answer === undefined ? undefined : (JSON.parse(answer) as unknown);
  } finally {
    server.closeAllConnections();
    server.close();
  }
}

/**
 * {@link openPage} of one script, a module.
 * @param isolated Whether the page is cross-origin isolated, which gives it shared memory.
 */
export function runPage(chromium: string, script: string, isolated: boolean): Promise<unknown> {
  const files = { "/": '<!doctype html><script type="module" src="/page.js"></script>', "/page.js": script };
  return openPage(chromium, { files, path: "/", isolated });
}
