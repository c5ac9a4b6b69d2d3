import { faults } from "hub-server";
import type { HubServerOptions } from "hub-server";
import { describe, expect, it } from "vitest";

import { client, emptyCache, model, rejection, startServer } from "./loopback.ts";

describe("a revision that does not exist", () => {
  const files = { "config.json": "{}" };
  const released = { ...model, branches: { "refs-test": files }, tags: { "v1.0": files, "v1.1": files } };
  const asked = async (revision: string, options: Partial<HubServerOptions> = {}) => {
    const server = await startServer({ repositories: [released], ...options });
    const hub = client(server.endpoint, await emptyCache());
    return { server, error: () => rejection(hub.file("org/tiny", "config.json", { revision })) };
  };

  it("near the name of a tag", async () => {
    const { error } = await asked("v1");
    expect(await error()).toMatchObject({
      code: "hub-revision-not-found",
      message: expect.stringMatching(/ Nearest names: "v1\.0", "v1\.1"\.$/) as string,
      details: { nearest: ["v1.0", "v1.1"], revisions: ["main", "refs-test", "v1.0", "v1.1"] },
    });
  });

  it("unlike any: all that there are", async () => {
    const { error } = await asked("production");
    expect((await error()).message).toMatch(/ Its branches and tags: "main", "refs-test", "v1\.0", "v1\.1"\.$/);
  });

  it("a commit hash that the repository does not have", async () => {
    const { error } = await asked("0123456789".repeat(4));
    expect(await error()).toMatchObject({
      code: "hub-revision-not-found",
      message: expect.stringContaining("Its branches and tags: ") as string,
    });
  });

  it("where the list is refused or is none, the error itself remains", async () => {
    for (const fault of [faults.status(500), faults.body("<html>"), faults.body("null")]) {
      const { server, error } = await asked("production");
      server.fault({ path: /\/refs$/ }, fault);
      const found = await error();
      expect(found).toMatchObject({ code: "hub-revision-not-found", details: { nearest: [], revisions: [] } });
      expect(found.message).not.toContain("branches");
    }
  });
});
