import { expect, it, vi } from "vitest";

it("one FAVOR layer learns what the model without it cannot", async () => {
  const log = vi.spyOn(console, "log").mockImplementation(() => {});
  await import("../demo.js");
  const accuracy = (name) => {
    const line = log.mock.calls.map(([text]) => text).find((text) => text.startsWith(name));
    return Number(/accuracy ([\d.]+)/.exec(line)[1]);
  };
  expect(accuracy("as it was")).toBeLessThan(0.7);
  expect(accuracy("one FAVOR layer")).toBeGreaterThan(0.9);
  log.mockRestore();
});
