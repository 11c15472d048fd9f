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
        svg("g", { class: "marks" }, ...blocks.map((block, place) => outline(block, place, mark))),
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
function outline({ label, box, lines }, place, mark) {
  const [left, top, right, bottom] = box;
  const corners = [[left, top], [right, top], [right, bottom], [left, bottom]];
  const said = `${place + 1} ${label.replaceAll("_", " ")}`;
  const above = Math.max(0, top - mark * 1.35);
  const name = svg("text", { x: left + mark * 0.35, y: above + mark * 1.02, "font-size": mark }, said);
  const sign = svg("rect", { x: left, y: above, width: mark * (0.57 * said.length + 0.7), height: mark * 1.35, rx: mark * 0.2 });
  return svg(
    "g",
    { class: `block ${label}`, "data-block": place },
    svg("polygon", { class: "area", points: corners.join(" ") }),
    ...lines.map((line) => svg("polygon", { class: "line", points: line.join(" ") })),
    sign,
    name,
  );
}
