import { execFile, execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { readdir, readFile, readlink } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import { describe, expect, it } from "vitest";

import { readSettings } from "../src/node/index.ts";
import { client, emptyCache, model, rejection, startServer } from "./loopback.ts";

const version = "2.4.0";
const python = makeEnvironment(version);

/** Python with a version of huggingface_hub, made once; `undefined` without Python or a package index. */
function makeEnvironment(wanted: string): string | undefined {
  const environment = fileURLToPath(new URL(`../node_modules/.favor-huggingface-hub-${wanted}`, import.meta.url));
  const program = join(environment, process.platform === "win32" ? "Scripts/python.exe" : "bin/python");
  const works = (): boolean => {
    try {
      return (
        existsSync(program) &&
        execFileSync(program, ["-c", "import huggingface_hub"], { stdio: "ignore" }) !== undefined
      );
    } catch {
      return false;
    }
  };
  if (works()) return program;
  for (const name of ["python3", "python"]) {
    try {
      execFileSync(name, ["-m", "venv", environment], { stdio: "ignore" });
      // Do not wait for an index that is not there.
      const waiting = ["--retries", "1", "--timeout", "15"];
      const quiet = ["--quiet", "--disable-pip-version-check"];
      const pip = ["-m", "pip", "install", ...waiting, ...quiet, `huggingface_hub==${wanted}`];
      execFileSync(program, pip, { stdio: "ignore", timeout: 120_000 });
      if (works()) return program;
    } catch {
      continue;
    }
  }
  return undefined;
}

/** Runs Python; what `result` is in the end comes back through JSON. */
async function run(
  cacheFolder: string,
  endpoint: string,
  offline: boolean,
  program: string,
  interpreter: string = python!,
): Promise<unknown> {
  const { stdout } = await promisify(execFile)(
    interpreter,
    ["-c", `import json\n${program}\nprint(json.dumps(result))`],
    {
      env: {
        PATH: process.env["PATH"],
        HF_HOME: join(cacheFolder, "home"),
        HF_HUB_CACHE: cacheFolder,
        HUGGINGFACE_HUB_CACHE: cacheFolder,
        HF_ENDPOINT: endpoint,
        HF_HUB_OFFLINE: offline ? "1" : "0",
        HF_HUB_DISABLE_XET: "1",
        HF_HUB_DISABLE_PROGRESS_BARS: "1",
        HF_HUB_DISABLE_TELEMETRY: "1",
        HF_HUB_DISABLE_UPDATE_CHECK: "1",
      },
    },
  );
  return JSON.parse(stdout) as unknown;
}

/** Everything in a cache but its locks: links by target, small files by content. */
async function contents(folder: string): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    const name = path.slice(folder.length + 1);
    if (name.startsWith(".locks") || name.startsWith("home") || entry.isDirectory()) continue;
    const bytes = entry.isSymbolicLink() ? undefined : await readFile(path);
    found[name] =
      bytes === undefined
        ? `-> ${await readlink(path)}`
        : bytes.length < 5000
          ? bytes.toString()
          : `${bytes.length} bytes`;
  }
  return found;
}

describe.skipIf(python === undefined)(
  `Python's huggingface_hub ${version} (skipped without Python or a package index)`,
  () => {
    it("reads offline what we wrote", async () => {
      const server = await startServer();
      const folder = await emptyCache();
      const hub = client(server.endpoint, folder);
      const { folder: ours, commit, files } = await hub.snapshot("org/tiny");
      await rejection(hub.file("org/tiny", "no/such.txt"));
      const requests = server.requests.length;
      const found = await run(
        folder,
        server.endpoint,
        true,
        `
from huggingface_hub import snapshot_download, hf_hub_download, try_to_load_from_cache, scan_cache_dir, get_cached_repo_tree, _CACHED_NO_EXIST
names = ${JSON.stringify([...files.keys()])}
info = scan_cache_dir("${folder}")
repo = next(iter(info.repos))
revision = next(iter(repo.revisions))
result = {
  "snapshot": snapshot_download("org/tiny"),
  "files": {name: hf_hub_download("org/tiny", name) for name in names},
  "cached": [try_to_load_from_cache("org/tiny", name) for name in names],
  "missing": try_to_load_from_cache("org/tiny", "no/such.txt") is _CACHED_NO_EXIST,
  "unknown": try_to_load_from_cache("org/tiny", "never-asked.txt"),
  "warnings": [str(warning) for warning in info.warnings],
  "repo": [repo.repo_id, repo.repo_type, repo.size_on_disk, repo.nb_files],
  "revision": [revision.commit_hash, sorted(revision.refs)],
  "incomplete": len(info.incomplete_files),
  "tree": {file.path: file.size for file in get_cached_repo_tree("org/tiny")},
}`,
      );
      expect(found).toEqual({
        snapshot: ours,
        files: Object.fromEntries(files),
        cached: [...files.values()],
        missing: true,
        unknown: null,
        warnings: [],
        repo: ["org/tiny", "model", 500_033, 5],
        revision: [commit, ["main"]],
        incomplete: 0,
        tree: {
          "config.json": 21,
          "empty.txt": 0,
          "model.safetensors": 100_000,
          "onnx/model.onnx": 400_000,
          "tokenizer/vocab.txt": 12,
        },
      });
      expect(server.requests).toHaveLength(requests);
    });

    it("wrote what we read offline", async () => {
      const server = await startServer();
      const folder = await emptyCache();
      const theirs = await run(
        folder,
        server.endpoint,
        false,
        `
from huggingface_hub import snapshot_download, hf_hub_download
result = snapshot_download("org/tiny")
try: hf_hub_download("org/tiny", "no/such.txt")
except Exception: pass`,
      );
      const requests = server.requests.length;
      const hub = client(server.endpoint, folder, { offline: true });
      const { folder: ours, files, commit } = await hub.snapshot("org/tiny");
      expect(ours).toBe(theirs);
      expect([...files.keys()].toSorted()).toEqual(Object.keys(model.files).toSorted());
      expect(await hub.file("org/tiny", "onnx/model.onnx")).toBe(join(ours, "onnx/model.onnx"));
      expect(server.requests).toHaveLength(requests);
      const missing = await rejection(
        client(server.endpoint, folder).file("org/tiny", "no/such.txt", { revision: commit }),
      );
      expect(missing).toMatchObject({ code: "hub-file-not-found" });
      expect(server.requests.slice(requests).some(({ path }) => path.includes("paths-info"))).toBe(false);
    });

    it.each(["0.17.3", version])("and single files that version %s of it wrote", async (wanted) => {
      const program = makeEnvironment(wanted);
      if (program === undefined) return;
      const server = await startServer();
      const folder = await emptyCache();
      const names = ["config.json", "model.safetensors"];
      const paths = await run(
        folder,
        server.endpoint,
        false,
        `
from huggingface_hub import hf_hub_download
result = [hf_hub_download("org/tiny", name) for name in ${JSON.stringify(names)}]`,
        program,
      );
      const requests = server.requests.length;
      const hub = client(server.endpoint, folder, { offline: true });
      const plan = await hub.plan("org/tiny");
      expect(plan).toMatchObject({ isLocal: true, isComplete: false, missingBytes: 0 });
      expect(plan.files.map(({ path }) => path)).toEqual(names);
      expect([...(await hub.snapshot("org/tiny")).files.values()]).toEqual(paths);
      expect(server.requests).toHaveLength(requests);
    });

    it("agrees with us on what HF_HUB_OFFLINE and the folders' variables mean", async () => {
      const cases = [
        ...["1", "0", "", "true", "True", "TRUE", "yes", "YES", "on", "ON", "y", "t", "2", " 1", "false"].map(
          (value) => ({
            HF_HUB_OFFLINE: value,
          }),
        ),
        { TRANSFORMERS_OFFLINE: "1" },
        { HF_HUB_OFFLINE: "0", TRANSFORMERS_OFFLINE: "1" },
        { HF_HUB_OFFLINE: "", TRANSFORMERS_OFFLINE: "yes" },
        { HF_HOME: "/a" },
        { HF_HOME: "~/b" },
        { HF_HOME: "$HOME/c-${HOME}" },
        { XDG_CACHE_HOME: "/x" },
        { HF_HUB_CACHE: "/h", HUGGINGFACE_HUB_CACHE: "/g" },
        { HUGGINGFACE_HUB_CACHE: "~/g" },
        { HF_HOME: "/a", TRANSFORMERS_CACHE: "/t" },
      ];
      for (const variables of cases) {
        const environment = { HOME: "/home/someone", ...variables };
        const { stdout } = await promisify(execFile)(
          python!,
          [
            "-c",
            "import json; from huggingface_hub import constants as c; print(json.dumps([c.HF_HUB_OFFLINE, c.HF_HUB_CACHE]))",
          ],
          { env: { PATH: process.env["PATH"], ...environment } },
        );
        const { offline, cacheFolder } = readSettings(environment, "/home/someone");
        expect([variables, offline, cacheFolder]).toEqual([variables, ...(JSON.parse(stdout) as unknown[])]);
      }
    });

    it("and we do not download again what the other has, and write the same bytes", async () => {
      const server = await startServer();
      const [ours, theirs] = [await emptyCache(), await emptyCache()];
      await client(server.endpoint, ours).snapshot("org/tiny");
      const program = `
from huggingface_hub import snapshot_download
result = snapshot_download("org/tiny")`;
      await run(theirs, server.endpoint, false, program);
      const requests = server.requests.length;
      await run(ours, server.endpoint, false, program);
      await client(server.endpoint, theirs).snapshot("org/tiny");
      expect(
        server.requests.slice(requests).filter(({ method, path }) => method === "GET" && /resolve|lfs/.test(path)),
      ).toEqual([]);
      expect(await contents(ours)).toEqual(await contents(theirs));
    });

    it("writes the same for branches, datasets and single files", async () => {
      const server = await startServer({
        repositories: [
          {
            id: "org/data",
            type: "dataset",
            files: { "a/b.csv": "1" },
            branches: { "refs/convert/parquet": { "a/b.csv": "2" } },
          },
        ],
      });
      const [ours, theirs] = [await emptyCache(), await emptyCache()];
      const hub = client(server.endpoint, ours);
      await hub.file("datasets/org/data", "a/b.csv");
      await hub.file("datasets/org/data", "a/b.csv", { revision: "refs/convert/parquet" });
      await rejection(hub.file("datasets/org/data", "a/c.csv"));
      await run(
        theirs,
        server.endpoint,
        false,
        `
from huggingface_hub import hf_hub_download
hf_hub_download("org/data", "a/b.csv", repo_type="dataset")
result = hf_hub_download("org/data", "a/b.csv", repo_type="dataset", revision="refs/convert/parquet")
try: hf_hub_download("org/data", "a/c.csv", repo_type="dataset")
except Exception: pass`,
      );
      expect(await contents(ours)).toEqual(await contents(theirs));
    });
  },
);
