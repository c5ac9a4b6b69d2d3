import { visibleText } from "@favor/checkpoints";

/** HTML that is safe to insert into a page. */
export class Html {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

function escaped(value: unknown): string {
  if (value instanceof Html) return value.text;
  if (Array.isArray(value)) return value.map(escaped).join("");
  return visibleText(String(value))
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;")
    .replaceAll(">", "&gt;")
    .replaceAll('"', "&quot;");
}

/** Template tag that escapes every value, except {@link Html} and lists of it. */
export function html(parts: TemplateStringsArray, ...values: readonly unknown[]): Html {
  return new Html(parts.reduce((text, part, i) => text + escaped(values[i - 1]) + part));
}

export type Cell = string | number | Html;

/** A number with an optional unit and interval: `81.2 % (80.9 to 81.5)`. */
const quantity = /^[-+]?[\d.,]+(e[-+]?\d+)?( %)?( \([^a-z]*( to [^a-z]*)?\))?$/;

function isQuantity(cell: Cell): boolean {
  return typeof cell === "number" || (typeof cell === "string" && (cell === "" || quantity.test(cell)));
}

/**
 * A table with a head row, in a box that scrolls if the table is wider than the page. Columns of numbers are
 * right-aligned.
 *
 * @param caption - what the table shows; default: none.
 */
export function table(head: readonly string[], rows: readonly (readonly Cell[])[], caption?: string): Html {
  const classes = head.map((_, column) => {
    const isNumeric = rows.length > 0 && rows.every((row) => isQuantity(row[column] ?? ""));
    return isNumeric ? new Html(' class="number"') : "";
  });
  return scrolling(
    html`<table>
      ${
        caption === undefined
          ? ""
          : html`<caption>
              ${caption}
            </caption>`
      }
      <thead>
        <tr>
          ${head.map((name, i) => html`<th scope="col" ${classes[i]}>${name}</th>`)}
        </tr>
      </thead>
      <tbody>
        ${rows.map(
          (row) =>
            html`<tr>
              ${row.map((cell, i) => html`<td${classes[i]}>${cell}</td>`)}
            </tr> `,
        )}
      </tbody>
    </table>`,
    caption ?? head.filter((name) => name !== "").join(", "),
  );
}

/** A table of names and values, one per row. */
export function facts(rows: readonly (readonly [name: string, value: string | Html])[]): Html {
  return html`<table class="facts">
    <tbody>
      ${rows.map(
        ([name, value]) =>
          html`<tr>
            <th scope="row">${name}</th>
            <td>${value}</td>
          </tr> `,
      )}
    </tbody>
  </table>`;
}

/** A box that scrolls if its content is wider than the page, also by keyboard. */
export function scrolling(content: Html, label: string): Html {
  return html`<div class="scroll" role="region" aria-label="${label}" tabindex="0">${content}</div>`;
}

const style = `
:root { color-scheme: light dark; --ink: #212529; --page: #fff; --muted: #5c636a; --line: #dee2e6; --warn: #fff3bf; --edge: #e67700; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e9ecef; --page: #16181b; --muted: #adb5bd; --line: #373b40; --warn: #33290a; --edge: #f59f00; }
}
body { font: 1rem/1.5 system-ui, sans-serif; color: var(--ink); background: var(--page); max-width: 68rem; margin: 2rem auto; padding: 0 1rem; overflow-wrap: break-word; }
h1 { font-size: 1.6rem; line-height: 1.25; } h2 { font-size: 1.2rem; margin-top: 2.2rem; } h3 { font-size: 1rem; margin-top: 1.6rem; }
table { border-collapse: collapse; font-size: .94em; } caption { text-align: left; color: var(--muted); padding-bottom: .3rem; }
th, td { padding: .3rem .8rem .3rem 0; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
th { font-weight: 600; } thead th { vertical-align: bottom; } .number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
th:last-child, td:last-child { padding-right: 0; }
.facts th { white-space: nowrap; } .facts code, p code { overflow-wrap: anywhere; }
.scroll { overflow-x: auto; margin: .8rem 0; } .scroll td code { white-space: nowrap; } code { font-size: .9em; }
.lead { font-size: 1.1em; } .muted { color: var(--muted); }
.verdict { font-size: 1.2em; font-weight: 600; border-left: .3rem solid currentColor; padding-left: .8rem; }
.map td { text-align: center; padding: .2rem .45rem; border: 1px solid var(--page); background: color-mix(in srgb, #e8590c calc(var(--error) * 100%), transparent); font-variant-numeric: tabular-nums; font-size: .85em; }
.map th { font-weight: 400; padding: .2rem .45rem; border: 0; text-align: center; }
.warning { background: var(--warn); border-left: .3rem solid var(--edge); padding: .1rem 1rem; }
figure { margin: 1.4rem 0; } figcaption { font-weight: 600; } figure svg { display: block; width: 30rem; max-width: 100%; height: auto; }
@media (max-width: 42rem) { .facts th, .facts td { display: block; border: 0; padding: 0; } .facts td { padding-bottom: .6rem; } }
@media print {
  :root { --ink: #000; --page: #fff; --muted: #444; --line: #bbb; --warn: #fff; }
  body { font-size: 10pt; margin: 0; max-width: none; } figure, tr, .verdict { font-size: 1.2em; font-weight: 600; border-left: .3rem solid currentColor; padding-left: .8rem; }
.map td { text-align: center; padding: .2rem .45rem; border: 1px solid var(--page); background: color-mix(in srgb, #e8590c calc(var(--error) * 100%), transparent); font-variant-numeric: tabular-nums; font-size: .85em; }
.map th { font-weight: 400; padding: .2rem .45rem; border: 0; text-align: center; }
.warning { break-inside: avoid; } h2, h3 { break-after: avoid; }
  .scroll { overflow: visible; } .scroll td code { white-space: normal; overflow-wrap: anywhere; } figure svg { max-width: 100%; }
}
`;

/** A complete page that loads nothing: inline style, charts as SVG, no scripts. */
export function page(title: string, body: Html): string {
  return html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'" />
        <title>${title}</title>
        <style>
          ${new Html(style)}
        </style>
      </head>
      <body>
        <main>${body}</main>
      </body>
    </html> `.text;
}
