import type { SiteReport } from "@favor/rewriter";

import type { ModelConfig } from "@favor/checkpoints/node";

/**
 * Where `config.json` and the graph disagree. The graph is what runs, so it counts; the reader should know.
 *
 * @returns a sentence for each disagreement.
 */
export function checkConfiguration(config: ModelConfig, sites: readonly SiteReport[]): string[] {
  const notes: string[] = [];
  const own = sites.filter((site) => site.kind === "self");
  const heads = config.num_attention_heads;
  const odd = own.find((site) => site.heads !== heads);
  if (typeof heads === "number" && odd !== undefined) {
    notes.push(
      `config.json says ${heads} attention heads, the graph has ${odd.heads} in layer ${odd.layer}; the graph counts.`,
    );
  }
  const layers = config.num_hidden_layers;
  if (typeof layers === "number" && own.length > 0 && own.length !== layers) {
    notes.push(`config.json says ${layers} layers, ${own.length} self-attention sites were found in the graph.`);
  }
  return notes;
}
