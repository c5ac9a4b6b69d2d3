import { vi } from "vitest";

/** Takes away the cache, token, time limits and proxy of whoever runs the tests, until `vi.unstubAllEnvs`. */
export function forgetHubSettings(): void {
  for (const name of Object.keys(process.env)) {
    if (/^(?:HF_|HUGGING|XDG_|.*_proxy$)/i.test(name)) vi.stubEnv(name, undefined);
  }
}
