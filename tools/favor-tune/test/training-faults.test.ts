import { describe, expect, test } from "vitest";

import { trainingFault } from "../src/training/faults.ts";

describe("an error of the backend is told in terms of what the user can change", () => {
  test.each([
    ["WebAssembly.Memory.grow(): Maximum memory size exceeded: out of memory", "out-of-memory"],
    ["Aborted(). Build with -sASSERTIONS for more info.", "out-of-memory"],
    ["memory access out of bounds", "out-of-memory"],
    ["A valid external Instance reference no longer exists: device was lost", "device-lost"],
  ])("%s: %s", (message, code) => {
    expect(trainingFault(new Error(message), 3, "train.fasta", [])).toMatchObject({ code, details: { step: 3 } });
  });

  test("any other error stays as it is", () => {
    const error = new Error("shapes do not match");
    expect(trainingFault(error, 0, "train.fasta", [])).toBe(error);
  });
});
