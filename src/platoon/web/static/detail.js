// All that is known of one plate, in a dialog.

import { byId, h, svg } from "./dom.js";
import { ago, fullTime, percent, readCount } from "./format.js";
import { crop, plateText, stateWord } from "./plate.js";

export class Detail {
  #shown = null;

  constructor({ cameraName }) {
    this.cameraName = cameraName;
    this.dialog = byId("detail");
    this.dialog.onclick = ({ target }) => target === this.dialog && this.dialog.close();
    this.dialog.onclose = () => (this.#shown = null);
  }

  open(event) {
    this.#fill(event);
    this.dialog.showModal();
  }

  /** A newer state of the event that is open takes its place. */
  update(event) {
    if (this.#shown === event.id) this.#fill(event);
  }

  #fill(event) {
    this.#shown = event.id;
    const time = new Date(event.time);
    const close = h("button", { type: "button", className: "close", "aria-label": "Close" }, "×");
    close.onclick = () => this.dialog.close();
    this.dialog.replaceChildren(
      close,
      h("div", { className: "evidence" }, crop(event)),
      h("h2", { id: "detail-title" }, plateText(event), h("span", { className: "state" }, stateWord(event))),
      h(
        "dl",
        { className: "known" },
        ...fact("Camera", this.cameraName(event.camera)),
        ...fact("Time", h("time", { dateTime: event.time }, fullTime(time)), ` (${ago(time)})`),
        ...fact("Confidence", meter(event.confidence)),
        ...fact("Agreement", meter(event.agreement), ` of ${readCount(event.reads)}`),
        ...fact("As read", h("code", {}, event.raw)),
        ...whose(event),
        ...fact("In the picture", place(event), h("code", {}, event.box.map(Math.round).join(", "))),
      ),
      h("h3", {}, "Candidates"),
      h(
        "ol",
        { className: "candidates" },
        ...event.candidates.map(({ text, confidence }) => h("li", {}, h("code", {}, text), meter(confidence))),
      ),
      h("p", { className: "id" }, `Event ${event.id}`),
    );
  }
}

const fact = (name, ...value) => [h("dt", {}, name), h("dd", {}, ...value)];

// Events stored before countries had probabilities have none.
function whose({ country_probabilities: countries = {} }) {
  const likeliest = Object.entries(countries).slice(0, 3).map(([code, share]) => `${code} ${percent(share)}`);
  return likeliest.length ? fact("Country", likeliest.join(", ")) : [];
}

const meter = (share) =>
  h("span", { className: "meter" }, h("progress", { max: 1, value: share, "aria-hidden": "true" }), percent(share));

function place({ box: [x1, y1, x2, y2], width, height }) {
  const least = width / 40; // a far plate would be too small to see
  return svg(
    "svg",
    { class: "place", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": "Where in the picture" },
    svg("rect", { class: "box", x: x1, y: y1, width: Math.max(least, x2 - x1), height: Math.max(least, y2 - y1) }),
  );
}
