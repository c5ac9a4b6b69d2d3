/** exp(|x|^2/2) and exp(-|x|^2/2). With the first as g and h, and a Gaussian kernel, generalized attention is softmax's. */
export type RowFactorName = "exp-half-square" | "exp-minus-half-square";

/** What |x|^2/2 is multiplied by in the log of each factor. */
export const rowFactorExponents: Readonly<Record<RowFactorName, 1 | -1>> = {
  "exp-half-square": 1,
  "exp-minus-half-square": -1,
};
