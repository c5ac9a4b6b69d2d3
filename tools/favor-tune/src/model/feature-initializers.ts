/**
 * Initializers that `convertAttention` writes for feature maps. If a model has several sites, a number is appended.
 */
const featureStems = [
  "omega_query",
  "omega_key",
  "bias_query",
  "weight_key",
  "balance_key",
  "shift_key",
  "norm_key",
  // the scale of the estimate, of which a part only counts alongside exact keys
  "norm_query",
  "balance_query",
  "shift_query",
  "bias_key",
  "core",
  "weight_state",
  "phase_query",
  "phase_key",
] as const;

type FeatureStem = (typeof featureStems)[number];

const pattern = new RegExp(String.raw`^favor/(${featureStems.join("|")})(_\d+)?$`);

/** Whether the initializer belongs to a feature map. Distillation freezes everything else. */
export function isFeatureInitializer(name: string): boolean {
  return pattern.test(name);
}

/**
 * Whether the initializer must stay positive, because the estimate of attention could otherwise become negative: the core
 * and the weights of the features.
 */
export function isPositive(name: string): boolean {
  const stem = pattern.exec(name)?.[1] as FeatureStem | undefined;
  return stem === "core" || stem === "weight_state";
}
