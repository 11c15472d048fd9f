// The text of a page, as its Markdown says it: from blocks to elements, and never by way of markup.

import { h, svg } from "./dom.js";

const HEADINGS = ["h3", "h4", "h5"];
const MARGINAL = new Set(["header", "footer"]);

/** Elements for the blocks of a page in reading order, each with its place as `data-block`; margins are left out. */
export function textOf({ blocks, width, height }, picture) {
  const shown = blocks.flatMap((block, place) => {
    if (MARGINAL.has(block.label)) return [];
    const elements = elementsOf(block, { picture, width, height });
    for (const element of elements) element.dataset.block = place;
    return elements;
  });
  return shown.length ? shown : [h("p", { className: "note" }, "This page says nothing.")];
}

function elementsOf(block, page) {
  const { label, text, level, table } = block;
  if (label === "figure") return [figure(block, page)];
  if (label === "table" && table?.cells.length) return [tableOf(table)];
  if (!text.trim()) return [];
  if (label === "title") return [h(HEADINGS[level - 1], {}, onOneLine(text))];
  if (label.endsWith("caption")) return [h("p", { className: "caption-text" }, onOneLine(text))];
  return text.split(/\n{2,}/).map((paragraph) => h("p", { className: label }, paragraph));
}

/** The block's part of the page's picture. */
function figure({ text, box: [left, top, right, bottom] }, { picture, width, height }) {
  const name = onOneLine(text) || "Figure";
  const part = `${left} ${top} ${Math.max(1, right - left)} ${Math.max(1, bottom - top)}`;
  const image = svg("image", { href: picture, width, height, preserveAspectRatio: "none" });
  const drawn = svg("svg", { viewBox: part, role: "img", "aria-label": name }, image);
  drawn.style.width = `${(100 * (right - left)) / width}%`;
  return h("figure", {}, drawn);
}

function tableOf({ rows, cells }) {
  const body = Array.from({ length: rows }, () => h("tr"));
  for (const { row, rows: rowSpan, columns: colSpan, text } of cells.toSorted((a, b) => a.column - b.column)) {
    body[row].append(h(row === 0 ? "th" : "td", { rowSpan, colSpan }, text));
  }
  return h("div", { className: "wide", tabIndex: 0, role: "group", "aria-label": "Table" }, h("table", {}, ...body));
}

const onOneLine = (text) => text.split(/\s+/).join(" ").trim();
