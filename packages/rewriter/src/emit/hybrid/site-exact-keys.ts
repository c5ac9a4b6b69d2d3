import { ArgumentError } from "@favor/core";
import { GraphError } from "@favor/onnx/graph";
import type { AttentionSite } from "../../attention/site.ts";
import { exactKeysOf, exactKeysOpset, type Settings } from "../../options.ts";
import type { SiteExactKeys } from "../../report.ts";

/**
 * The exact keys of a site as the options give them; undefined for none. Cross-attention has no near field, and so none
 * without chosen blocks.
 *
 * @throws GraphError "cannot-have-exact-keys" for ALiBi, and below opset 11
 * @throws ArgumentError if the site is to have neither exact keys nor features
 */
export function siteExactKeys(site: AttentionSite, settings: Settings, opset: number): SiteExactKeys | undefined {
  const given = exactKeysOf(settings, site.index);
  const { chosenBlocks = 0, group = 16 } = given ?? {};
  if (given === undefined || (site.kind === "cross" && chosenBlocks === 0)) {
    if (settings.featureMaps?.[site.index]?.length !== 0) return undefined;
    throw new ArgumentError(
      `options.featureMaps[${site.index}]`,
      "a feature map per head, because no key is exact",
      [],
    );
  }
  if (site.mask.alibi !== undefined) {
    const advice = "Leave this site out of exactKeys, or convert without exact keys.";
    throw cannot(site, "it has ALiBi, whose bias the features of far blocks do not have", advice);
  }
  if (opset < exactKeysOpset) {
    throw cannot(
      site,
      `the model has opset ${opset}, and they need ${exactKeysOpset}`,
      "Export the model with a newer opset.",
    );
  }
  return { window: given.window, chosenBlocks, group };
}

function cannot(site: AttentionSite, why: string, advice: string): GraphError {
  const message = `Attention ${site.index}, "${site.name}", cannot have exact keys: ${why}. ${advice}`;
  return new GraphError("cannot-have-exact-keys", message, { site: site.index, layer: site.layer });
}
