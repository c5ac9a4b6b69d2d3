// A page that downloads from a Hub on this machine into the browser's own file system. It loads three times: what is
// there after a reload is what the browser keeps, not what the page remembers. The test puts the Hub's endpoint before
// this script, and its first answer with large.bin stops after 2 MB.
import { Hub, OpfsCache, type Fetch } from "@favor/hub";

import type { OpfsReport } from "./opfs-report.ts";

declare const hubEndpoint: string;

const options = { endpoint: hubEndpoint, retry: { retries: 3, baseMs: 1, maxMs: 4 } };

const open = (offline: boolean): Hub<File> => new Hub({ ...options, cache: new OpfsCache(), offline });

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

/** Notes what there is and reloads the page. */
async function interrupt(): Promise<void> {
  sessionStorage.setItem("interrupted", JSON.stringify(await blobs()));
  sessionStorage.setItem("step", "second");
  location.reload();
}

/** The browser's fetch, which calls back once a megabyte of a body has been read. */
function fetchUntil(reached: () => void): Fetch {
  return async (url, init) => {
    const { status, type, url: end, headers, body } = await fetch(url, init);
    let read = 0;
    const watch = new TransformStream<Uint8Array, Uint8Array>({
      transform(bytes, controller) {
        controller.enqueue(bytes);
        if (read < 1e6 && read + bytes.length >= 1e6) reached();
        read += bytes.length;
      },
    });
    return { status, type, url: end, headers, body: body === null ? null : body.pipeThrough(watch) };
  };
}

/** Reloads the page while the download is under way. */
async function first(): Promise<void> {
  const fetch = fetchUntil(() => void interrupt());
  const hub = new Hub({ ...options, cache: new OpfsCache(), fetch, stallTimeoutMs: 600_000 });
  await hub.file("org/model", "large.bin");
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
