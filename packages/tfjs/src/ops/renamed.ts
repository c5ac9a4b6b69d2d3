import { FavorError } from "@favor/core";

/**
 * The former name of `exactAttention`.
 *
 * @deprecated
 * @throws FavorError `renamed`, always.
 */
export function softmaxAttention(): never {
  throw new FavorError("softmaxAttention is called exactAttention now, as in @favor/core.", {
    code: "renamed",
    details: { name: "exactAttention" },
  });
}
