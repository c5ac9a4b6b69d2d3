import { homedir } from "node:os";
import { join } from "node:path";

import { HubNameError } from "../errors.ts";

/** The environment's settings, with the names and defaults of huggingface_hub. */
export interface HubSettings {
  /** HF_ENDPOINT */
  readonly endpoint: string;
  /** HF_HOME, else `$XDG_CACHE_HOME/huggingface`, else `~/.cache/huggingface` */
  readonly home: string;
  /** HF_HUB_CACHE, else HUGGINGFACE_HUB_CACHE, else `hub` below the home */
  readonly cacheFolder: string;
  /** HF_TOKEN_PATH, else `token` below the home */
  readonly tokenFile: string;
  /** HF_TOKEN, else HUGGING_FACE_HUB_TOKEN */
  readonly tokenVariable: string | undefined;
  /** Not HF_HUB_DISABLE_IMPLICIT_TOKEN */
  readonly implicitToken: boolean;
  /** HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE */
  readonly offline: boolean;
  /** Not HF_HUB_DISABLE_SYMLINKS */
  readonly symlinks: boolean;
  /** Not HF_HUB_DISABLE_PROGRESS_BARS: for programs that draw bars from events */
  readonly progressBars: boolean;
  /** HF_HUB_ETAG_TIMEOUT, seconds there, 10 by default */
  readonly responseTimeoutMs: number;
  /** HF_HUB_DOWNLOAD_TIMEOUT, seconds there, 10 by default */
  readonly stallTimeoutMs: number;
}

/** Environment variables, as in `process.env`. */
export type Environment = Readonly<Record<string, string | undefined>>;

/**
 * Reads the settings of huggingface_hub from environment variables: `1`, `ON`, `YES`, `TRUE` are true in any case,
 * paths may hold `~` and `$VARIABLES`.
 *
 * @throws HubNameError when a time limit is not a positive number
 */
export function readSettings(environment: Environment, userHome: string = homedir()): HubSettings {
  const path = (text: string): string => expand(text, environment, userHome);
  const home = path(
    environment["HF_HOME"] ?? join(environment["XDG_CACHE_HOME"] ?? join(userHome, ".cache"), "huggingface"),
  );
  return {
    endpoint: environment["HF_ENDPOINT"] || "https://huggingface.co",
    home,
    cacheFolder: path(environment["HF_HUB_CACHE"] ?? environment["HUGGINGFACE_HUB_CACHE"] ?? join(home, "hub")),
    tokenFile: path(environment["HF_TOKEN_PATH"] ?? join(home, "token")),
    tokenVariable: ["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"].find((name) => environment[name]),
    implicitToken: !isTrue(environment["HF_HUB_DISABLE_IMPLICIT_TOKEN"]),
    offline: isTrue(environment["HF_HUB_OFFLINE"] || environment["TRANSFORMERS_OFFLINE"]),
    symlinks: !isTrue(environment["HF_HUB_DISABLE_SYMLINKS"]),
    progressBars: !isTrue(environment["HF_HUB_DISABLE_PROGRESS_BARS"]),
    responseTimeoutMs: milliseconds("HF_HUB_ETAG_TIMEOUT", environment),
    stallTimeoutMs: milliseconds("HF_HUB_DOWNLOAD_TIMEOUT", environment),
  };
}

function isTrue(value: string | undefined): boolean {
  return /^(?:1|on|yes|true)$/i.test(value ?? "");
}

function milliseconds(name: string, environment: Environment): number {
  const value = environment[name];
  if (value === undefined || value === "") return 10_000;
  const seconds = Number(value);
  if (!(seconds > 0 && seconds < 2 ** 31 / 1000)) {
    throw new HubNameError(`${name} must be a number of seconds above 0, found ${JSON.stringify(value)}.`, {
      name,
      value,
    });
  }
  return seconds * 1000;
}

/** Python's `expanduser`, then `expandvars`: variables that are not set stay as they are. */
function expand(path: string, environment: Environment, userHome: string): string {
  const fromHome = path === "~" || /^~[/\\]/.test(path) ? userHome + path.slice(1) : path;
  return fromHome.replace(
    /\$(?:(\w+)|\{([^}]*)\})/g,
    (whole, plain: string | undefined, braced: string | undefined) => environment[plain ?? braced ?? ""] ?? whole,
  );
}
