import { readFileSync } from "node:fs";

import { EnvHttpProxyAgent } from "undici";

import { AccessToken } from "../access-token.ts";
import { Hub } from "../hub.ts";
import type { HubOptions } from "../options.ts";
import type { Fetch } from "../transport/fetch.ts";
import { nodeDigest } from "./digest.ts";
import { FileCache } from "./file-cache.ts";
import { requestFetch } from "./request.ts";
import { readSettings, type Environment, type HubSettings } from "./settings.ts";

export { FileCache } from "./file-cache.ts";
export { isRunning, ownerOf, type Owner } from "./owner.ts";
export { readSettings, type Environment, type HubSettings } from "./settings.ts";
export type { Plan, PlannedFile, Snapshot } from "../options.ts";
export type { HubEvent } from "../transfer/progress.ts";
export type { FileSystem } from "./storage.ts";

/** What {@link openHub} takes from the environment unless it is given here. */
export interface OpenHubOptions extends Partial<Omit<HubOptions<string>, "token" | "cache">> {
  /** An access token; `false` for none, even if the environment has one. */
  readonly token?: string | false | undefined;
  /** The folder that holds `models--...`. */
  readonly cacheFolder?: string | undefined;
  readonly cache?: FileCache | undefined;
  /** `process.env` by default. */
  readonly environment?: Environment | undefined;
}

/**
 * A {@link Hub} over the Hugging Face cache on disk, set up by the environment variables of huggingface_hub (see
 * {@link HubSettings}) and by HTTP_PROXY, HTTPS_PROXY and NO_PROXY.
 *
 * @throws HubNameError when the endpoint, the token or a time limit is malformed
 */
export function openHub(options: OpenHubOptions = {}): Hub<string> {
  const environment = options.environment ?? process.env;
  const settings = readSettings(environment);
  const { token, cacheFolder, cache, environment: _, ...rest } = options;
  return new Hub({
    endpoint: settings.endpoint,
    offline: settings.offline,
    responseTimeoutMs: settings.responseTimeoutMs,
    stallTimeoutMs: settings.stallTimeoutMs,
    userAgent: "favor-hub",
    fetch: proxiedFetch(environment),
    digest: nodeDigest,
    ...rest,
    cache: cache ?? new FileCache(cacheFolder ?? settings.cacheFolder, { symlinks: settings.symlinks }),
    token: findToken(token, environment, settings),
  });
}

/** The token that a person means, and where it was found. */
function findToken(
  given: string | false | undefined,
  environment: Environment,
  settings: HubSettings,
): AccessToken | undefined {
  if (given === false) return undefined;
  if (given !== undefined) return new AccessToken(given.trim(), "the option `token`");
  if (!settings.implicitToken) return undefined;
  const { tokenVariable, tokenFile } = settings;
  const fromVariable = tokenVariable === undefined ? "" : (environment[tokenVariable] ?? "").trim();
  if (fromVariable !== "") return new AccessToken(fromVariable, `the environment variable ${tokenVariable}`);
  let fromFile: string;
  try {
    fromFile = readFileSync(tokenFile, "utf8").trim();
  } catch {
    // No such file, or not ours to read: then there is no token.
    return undefined;
  }
  return fromFile === "" ? undefined : new AccessToken(fromFile, `the file ${tokenFile}`);
}

/** undici's own, because the fetch built into Node 20 knows no proxies. */
function proxiedFetch(environment: Environment): Fetch {
  const variable = (name: string): string | undefined => environment[name.toLowerCase()] ?? environment[name];
  const dispatcher = new EnvHttpProxyAgent({
    httpProxy: variable("HTTP_PROXY") ?? "",
    httpsProxy: variable("HTTPS_PROXY") ?? "",
    noProxy: variable("NO_PROXY") ?? "",
    // Time limits are the transport's own: for the headers, and for pauses in a body.
    headersTimeout: 0,
    bodyTimeout: 0,
  });
  return requestFetch(dispatcher);
}
