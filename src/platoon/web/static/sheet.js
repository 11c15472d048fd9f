// One page: its picture with what was found on it, beside its text. A block that is pointed at is marked in both.

import { textOf } from "./blocks.js";
import { sentence } from "./document_words.js";
import { h, svg } from "./dom.js";

const MARKS_PER_SIDE = 68; // how many times as long as a mark is high the longer side of a page is

export class Sheet {
  #picture;
  #load;

  constructor(number, picture, load) {
    this.#picture = picture;
    this.#load = load;
    this.stage = h("div", { className: "paper" });
    this.text = h("div", { className: "markdown", "aria-busy": "true" });
    this.element = h(
      "li",
      { className: "sheet", "data-number": number },
      h("h2", {}, `Page ${number}`),
      h("div", { className: "sides" }, this.stage, this.text),
    );
    this.element.onpointerover = ({ target }) => this.#point(target.closest("[data-block]")?.dataset.block);
    this.element.onpointerleave = () => this.#point(undefined);
  }

  /** Fetch and show it. */
  async load() {
    try {
      this.#show(await this.#load());
    } catch (error) {
      const again = h("button", { type: "button", className: "quiet", onclick: () => this.load() }, "Try again");
      this.text.replaceChildren(h("p", { className: "why" }, sentence(error.message)), again);
    }
    this.text.removeAttribute("aria-busy");
  }

  #show(page) {
    const { number, width, height, error, blocks } = page;
    if (width && height) this.stage.style.aspectRatio = `${width} / ${height}`;
    const image = svg("image", { href: this.#picture, width, height, preserveAspectRatio: "none" });
    image.addEventListener("error", () => this.stage.replaceChildren(h("p", { className: "note" }, "This page has no picture.")));
    const mark = Math.max(width, height) / MARKS_PER_SIDE;
    this.stage.replaceChildren(
      svg(
        "svg",
        { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `Page ${number} as it looks` },
        image,
        svg("g", { class: "marks" }, ...blocks.map((block, place) => outline(block, place, mark, blocks))),
      ),
    );
    if (error) this.text.replaceChildren(h("p", { className: "why" }, sentence(`this page could not be read: ${error}`)));
    else this.text.replaceChildren(...textOf(page, this.#picture));
  }

  #point(block) {
    for (const one of this.element.querySelectorAll("[data-block]")) {
      one.classList.toggle("pointed", one.dataset.block === block);
    }
  }
}

/** A block and its lines, with its place in reading order and what it is. */
function outline(block, place, mark, blocks) {
  const { label, box, lines } = block;
  const [left, top, right, bottom] = box;
  const corners = [[left, top], [right, top], [right, bottom], [left, bottom]];
  const { said, x, y, wide, high } = signOf(block, place, mark, blocks);
  return svg(
    "g",
    { class: `block ${label}`, "data-block": place },
    svg("polygon", { class: "area", points: corners.join(" ") }),
    ...lines.map((line) => svg("polygon", { class: "line", points: line.join(" ") })),
    svg("rect", { x, y, width: wide, height: high, rx: mark * 0.2 }),
    svg("text", { x: x + mark * 0.35, y: y + mark * 1.02, "font-size": mark }, said),
  );
}

/** What stands at a block, and where: beside it, else above, where it hides no other; else its number alone. */
function signOf({ label, box: [left, top] }, place, mark, blocks) {
  const named = `${place + 1} ${label.replaceAll("_", " ")}`;
  const high = mark * 1.35;
  const sign = (said, beside) => {
    const wide = mark * (0.57 * said.length + 0.7);
    const [x, y] = beside ? [left - wide, top] : [left, top - high];
    return { said, x: Math.max(0, x), y: Math.max(0, y), wide, high };
  };
  const hidesNone = ({ x, y, wide }) =>
    blocks.every(
      ({ box }, other) => other === place || x >= box[2] || box[0] >= x + wide || y >= box[3] || box[1] >= y + high,
    );
  return [sign(named, true), sign(named, false)].find(hidesNone) ?? sign(`${place + 1}`, true);
}
