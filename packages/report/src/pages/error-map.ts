import type { FavorSite } from "../record/favor-file.ts";
import { Html, html, scrolling, table } from "./page.ts";

/** What the error of an attention says, and what it does not. */
const meaning =
  "How far each head's attention matrix is from softmax's, on activations of the original model: the Frobenius norm of the " +
  "difference, relative to softmax's own norm. 0 is equal; 1 is as far as a matrix of zeros. It is the error of one layer " +
  "alone, and says which layers and heads are hard, not how good the model is: outputs average over many keys, and large " +
  "errors can leave them almost as they were. The quality above is what counts.";

/** Where keys are exact, what each part brings: the error with the others left out. */
const parts = ["error of near keys alone", "with chosen blocks, no features"];

/** The errors of the attention matrices, folded away with what they mean; nothing if none was measured. */
export function errorDetails(sites: readonly FavorSite[]): Html {
  const measured = sites.filter(({ error }) => error !== undefined);
  if (measured.length === 0) return html``;
  const hasParts = measured.some(({ error }) => error!.parts !== undefined);
  return html`<details>
    <summary>Errors of the attention matrices, by layer and head</summary>
    <p class="muted">${meaning}</p>
    ${table(
      ["layer", "error, mean", "error, worst head", ...(hasParts ? parts : [])],
      measured.map(({ layer, error }) => [
        layer,
        error!.mean.toFixed(4),
        error!.worst.toFixed(4),
        ...(hasParts ? [error!.parts?.near.toFixed(4) ?? "", error!.parts?.chosen.toFixed(4) ?? ""] : []),
      ]),
      "Relative error of the attention matrices.",
    )}
    ${errorMap(sites)}
  </details>`;
}

/** A table of every head's error, darker where it is larger; nothing if no error was measured. */
function errorMap(sites: readonly FavorSite[]): Html {
  const measured = sites.flatMap(({ layer, error }) =>
    error?.heads === undefined ? [] : [{ layer, heads: error.heads }],
  );
  if (measured.length === 0) return html``;
  const most = Math.max(...measured.map(({ heads }) => heads.length));
  const caption = "Error of every head: one row per attention, in the order of data flow";
  return scrolling(
    html`<table class="map">
      <caption>
        ${caption}
      </caption>
      <thead>
        <tr>
          <th scope="col">layer</th>
          ${Array.from({ length: most }, (_, head) => html`<th scope="col">head ${head}</th>`)}
        </tr>
      </thead>
      <tbody>
        ${measured.map(
          ({ layer, heads }) =>
            html`<tr>
              <th scope="row">${layer}</th>
              ${heads.map((error) => html`<td style="--error: ${Math.min(1, error).toFixed(2)}">${error.toFixed(2)}</td>`)}
            </tr> `,
        )}
      </tbody>
    </table>`,
    caption,
  );
}
