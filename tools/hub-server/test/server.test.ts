import { describe, expect, it, onTestFinished } from "vitest";

import { faults, HubServer, memoryContent } from "../src/index.ts";
import { namedFault } from "../src/faults.ts";

async function start(): Promise<HubServer> {
  const server = await HubServer.start({
    repositories: [
      { id: "gpt2", files: { "config.json": "{}", "model.bin": memoryContent("0123456789", "lfs") } },
      { id: "org/secret", files: { a: "1" }, private: ["mine"] },
    ],
    pageSize: 1,
  });
  onTestFinished(() => server.close());
  return server;
}

describe("the Hub on loopback", () => {
  it("answers the API: commit, pages of the tree, paths", async () => {
    const { endpoint, ...server } = await start().then((hub) => ({
      endpoint: hub.endpoint,
      commit: hub.commit("gpt2"),
    }));
    const info = (await (await fetch(`${endpoint}/api/models/gpt2/revision/main`)).json()) as { sha: string };
    expect(info.sha).toBe(server.commit);
    const page = await fetch(`${endpoint}/api/models/gpt2/tree/main?recursive=true`);
    expect(await page.json()).toMatchObject([
      { type: "file", path: "config.json", size: 2, oid: "9e26dfeeb6e641a33dae4961196235bdb965b21b" },
    ]);
    const next = /<(.+)>; rel="next"/.exec(page.headers.get("link")!)![1]!;
    expect(await (await fetch(next)).json()).toMatchObject([{ path: "model.bin", lfs: { size: 10 } }]);
    const body = JSON.stringify({ paths: ["config.json", "nothing"] });
    const paths = await fetch(`${endpoint}/api/models/gpt2/paths-info/main`, { method: "POST", body });
    expect(await paths.json()).toHaveLength(1);
  });

  it("serves Git files itself, large ones from another origin, ranges of both", async () => {
    const server = await start();
    const config = await fetch(`${server.endpoint}/gpt2/resolve/main/config.json`);
    expect([await config.text(), config.headers.get("x-repo-commit")]).toEqual(["{}", server.commit("gpt2")]);
    const redirect = await fetch(`${server.endpoint}/gpt2/resolve/main/model.bin`, { redirect: "manual" });
    expect(redirect.status).toBe(302);
    expect(new URL(redirect.headers.get("location")!).origin).toBe(server.storage);
    const part = await fetch(redirect.headers.get("location")!, { headers: { range: "bytes=3-5" } });
    expect([part.status, await part.text(), part.headers.get("content-range")]).toEqual([206, "345", "bytes 3-5/10"]);
    const beyond = await fetch(redirect.headers.get("location")!, { headers: { range: "bytes=10-" } });
    expect(beyond.status).toBe(416);
  });

  it("hides what is private, and says which error it is as the Hub does", async () => {
    const { endpoint } = await start();
    const code = async (path: string, authorization?: string): Promise<unknown[]> => {
      const response = await fetch(endpoint + path, authorization === undefined ? {} : { headers: { authorization } });
      await response.arrayBuffer();
      return [response.status, response.headers.get("x-error-code")];
    };
    expect(await code("/org/secret/resolve/main/a")).toEqual([401, "RepoNotFound"]);
    expect(await code("/org/secret/resolve/main/a", "Bearer other")).toEqual([401, null]);
    expect(await code("/org/secret/resolve/main/a", "Bearer mine")).toEqual([200, null]);
    expect(await code("/gpt2/resolve/none/a")).toEqual([404, "RevisionNotFound"]);
    expect(await code("/gpt2/resolve/main/a")).toEqual([404, "EntryNotFound"]);
  });

  it("breaks on demand, as often as told", async () => {
    const server = await start();
    const read = (): Promise<string> =>
      fetch(`${server.endpoint}/gpt2/resolve/main/model.bin`).then((response) => response.text());
    server.fault({ part: "storage", times: 1, after: 1 }, faults.cut(4));
    expect(await read()).toBe("0123456789");
    await expect(read()).rejects.toThrow("terminated");
    expect(await read()).toBe("0123456789");
    server.fault({ part: "storage" }, faults.corrupt);
    expect(await read()).toBe("0123446789");
    expect(() => namedFault("explode")).toThrow("ignore-range");
  });
});
