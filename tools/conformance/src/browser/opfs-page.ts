// A page that downloads from a Hub on this machine into the browser's own file system. It loads three times: what is
// there after a reload is what the browser keeps, not what the page remembers. The test puts the Hub's endpoint before
// this script, and serves org/model slowly.
import { Hub, OpfsCache, type HubEvent } from "@favor/hub";

import type { OpfsReport } from "./opfs-report.ts";

declare const hubEndpoint: string;

const open = (offline: boolean): Hub<File> =>
  new Hub({ endpoint: hubEndpoint, cache: new OpfsCache(), offline, retry: { retries: 3, baseMs: 1, maxMs: 4 } });

async function sha256(file: File): Promise<string> {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", await file.arrayBuffer()));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

async function blobs(): Promise<string[]> {
  const root = await navigator.storage.getDirectory();
  let folder = root;
  for (const name of ["huggingface", "models--org--model", "blobs"]) folder = await folder.getDirectoryHandle(name);
  const sizes: string[] = [];
  for await (const [name, handle] of folder.entries()) {
    const { size } = await (handle as FileSystemFileHandle).getFile();
    sizes.push(`${name} ${size}`);
  }
  return sizes.toSorted();
}

const codeOf = (download: Promise<unknown>): Promise<string> =>
  download.then(
    () => "no error",
    (error: unknown) => (error as { code?: string }).code ?? String(error),
  );

/** Reloads the page while the first download is under way. */
function reloadBetween(event: HubEvent): void {
  if (event.type !== "progress" || event.fileBytes === 0) return;
  void blobs().then((names) => {
    sessionStorage.setItem("interrupted", JSON.stringify(names));
    sessionStorage.setItem("step", "second");
    location.reload();
  });
}

async function first(): Promise<void> {
  await open(false).file("org/model", "large.bin", { onEvent: reloadBetween });
}

/** Downloads it, and what is wrong; reloads. */
async function second(): Promise<void> {
  sessionStorage.setItem("downloaded", await sha256(await open(false).file("org/model", "large.bin")));
  sessionStorage.setItem("wrong", await codeOf(open(false).file("org/model", "wrong.bin")));
  sessionStorage.setItem("step", "third");
  location.reload();
}

/** Finds it, offline. */
async function third(): Promise<OpfsReport> {
  return {
    downloaded: sessionStorage.getItem("downloaded")!,
    reopened: await sha256(await open(true).file("org/model", "large.bin")),
    interrupted: JSON.parse(sessionStorage.getItem("interrupted")!) as string[],
    blobs: await blobs(),
    wrong: sessionStorage.getItem("wrong")!,
    missing: await codeOf(open(true).file("org/model", "wrong.bin")),
  };
}

const post = (report: unknown): Promise<Response> => fetch("/report", { method: "POST", body: JSON.stringify(report) });

try {
  const step = sessionStorage.getItem("step");
  if (step === null) await first();
  else if (step === "second") await second();
  else await post(await third());
} catch (error) {
  await post({ error: error instanceof Error ? `${error.message}\n${error.stack}` : String(error) });
}
