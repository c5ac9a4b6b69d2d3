import type { FavorSite } from "../record/favor-file.ts";
import { Html, html, scrolling } from "./page.ts";

/** A table of every head's error, darker where it is larger; nothing if no error was measured. */
export function errorMap(sites: readonly FavorSite[]): Html {
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
