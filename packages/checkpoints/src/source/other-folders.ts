import { readdirSync } from "node:fs";
import { posix } from "node:path";

/** A checkpoint's weights or graph, as it is chosen from. */
const checkpointFile = /(^|\/)(model\.safetensors|pytorch_model\.bin|model\.onnx)(\.index\.json)?$/;

/** Entries below a folder that are looked at, and how deep: enough for the Hub's cache and for a Trainer's output. */
const mostEntries = 5000;
const deepest = 4;

/**
 * Says what a folder or repository without a model at its top is instead, and what to give: an adapter, the Hub's cache,
 * a checkpoint of older sentence-transformers, or a folder of checkpoints.
 *
 * @param place - the folder, or the id of a repository, for the message.
 * @param paths - every file below it, with forward slashes.
 * @returns sentences, or undefined if nothing is recognised.
 */
export function otherFolder(place: string, paths: readonly string[], isHub: boolean): string | undefined {
  if (paths.includes("adapter_config.json")) {
    return (
      `${place} is a PEFT adapter, not a model. Load its base model and the adapter with PEFT, then call ` +
      "`merge_and_unload().save_pretrained(folder)`, and give that folder."
    );
  }
  const inside = [...new Set(paths.filter((path) => checkpointFile.test(path)).map((path) => modelFolder(path)))];
  const nested = inside.filter((folder) => folder !== ".").toSorted();
  if (nested.length === 0) return undefined;
  const cached = /(?:^|\/)models--([^/]+?)--([^/]+)$/.exec(place.replaceAll("\\", "/").replace(/\/+$/, ""));
  const folders = nested.slice(0, 4).map((folder) => `${place}/${folder}`);
  const more = nested.length > folders.length ? ` or another of ${nested.length}` : "";
  if (cached !== null && nested.every((folder) => folder.startsWith("snapshots/"))) {
    const [, organisation, name] = cached;
    return `${place} is the Hub cache's folder of ${organisation}/${name}. Give that id, or ${folders.join(" or ")}${more}.`;
  }
  if (nested.some((folder) => /^models--[^/]+\/snapshots\//.test(folder))) {
    return `${place} is the Hub's cache. Give the id of a model, or ${folders.join(" or ")}${more}.`;
  }
  const kind = nested.some((folder) => /^0_\w+$/.test(folder))
    ? `${place} is a model in the layout of older sentence-transformers, with its Transformer in a folder.`
    : `${place} holds checkpoints in folders.`;
  const download = isHub ? " Download the repository, then give " : " Give ";
  return `${kind}${download}${folders.join(" or ")}${more}.`;
}

/** The folder of the checkpoint that a file belongs to. */
function modelFolder(path: string): string {
  const folder = posix.dirname(path);
  return posix.basename(folder) === "onnx" ? posix.dirname(folder) : folder;
}

/** The files below a folder, relative to it, the nearest first. Links to folders are not followed. */
export function pathsBelow(folder: string): string[] {
  const paths: string[] = [];
  let seen = 0;
  const folders = [{ path: "", depth: 0 }];
  for (const { path, depth } of folders) {
    for (const entry of entriesOf(posix.join(folder, path))) {
      if (++seen > mostEntries) return paths;
      const inner = posix.join(path, entry.name);
      if (!entry.isDirectory()) paths.push(inner);
      else if (depth < deepest) folders.push({ path: inner, depth: depth + 1 });
    }
  }
  return paths;
}

function entriesOf(folder: string): { readonly name: string; isDirectory(): boolean }[] {
  try {
    return readdirSync(folder, { withFileTypes: true });
  } catch {
    return [];
  }
}
