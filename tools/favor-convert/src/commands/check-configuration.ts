import type { SiteReport } from "@favor/rewriter";

import type { ModelConfig } from "@favor/checkpoints/node";

/**
 * Compares `config.json` with the graph. The graph is what runs, so it counts.
 *
 * @returns a note for each disagreement.
 */
export function checkConfiguration(config: ModelConfig, sites: readonly SiteReport[]): string[] {
  const notes: string[] = [];
  const own = sites.filter((site) => site.kind === "self");
  const heads = config.num_attention_heads;
  const odd = own.find((site) => site.heads !== heads);
  if (typeof heads === "number" && odd !== undefined) {
    notes.push(
      `config.json says ${heads} attention heads, but the graph has ${odd.heads} in layer ${odd.layer}. The graph counts.`,
    );
  }
  const layers = config.num_hidden_layers;
  if (typeof layers === "number" && own.length > 0 && own.length !== layers) {
    notes.push(`config.json says ${layers} layers, but the graph has ${own.length} self-attention sites.`);
  }
  return notes;
}
