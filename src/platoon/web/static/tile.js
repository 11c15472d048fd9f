// One camera: its picture while somebody can see it, the boxes found in that picture, its state and the cause.

import { now } from "./api.js";
import { h, svg } from "./dom.js";

const PICTURE_EVERY_MS = 500;
const OVERLAY_LASTS_MS = 1500;
const BEHIND_S = 0.5;
const STATES = {
  live: "Live",
  connecting: "Connecting",
  reconnecting: "Reconnecting",
  ended: "Ended",
  stopped: "Stopped",
  off: "Off",
};

export class Tile {
  #status;
  #overlay = null;
  #overlayAt = -Infinity;
  #onScreen = false;
  #loading = false;
  #timer = 0;

  constructor(status, { onPick }) {
    this.picture = h("img", { alt: "", hidden: true }); // until the first one has arrived
    this.boxes = svg("svg", { class: "boxes", "aria-hidden": "true" });
    this.cause = h("strong");
    this.message = h("span");
    this.retry = h("span", { className: "retry" });
    this.away = h("div", { className: "away" }, this.cause, this.message, this.retry);
    this.name = h("button", { type: "button", className: "name", onclick: () => onPick(status.id) });
    this.rate = h("span", { className: "rate" });
    this.chip = h("span", { className: "chip" });
    this.element = h(
      "li",
      { className: "tile", "data-camera": status.id },
      h("div", { className: "stage" }, this.picture, this.boxes, this.away),
      h("div", { className: "caption" }, this.name, this.rate, this.chip),
    );
    this.update(status);
  }

  update(status) {
    this.#status = status;
    const state = status.enabled ? status.state : "off";
    this.element.dataset.state = state;
    this.name.textContent = status.name || status.id;
    this.name.title = `Show only plates of ${status.name || status.id}`;
    const asleep = state === "live" && status.attention === "idle";
    this.chip.textContent = asleep ? "Asleep" : (STATES[state] ?? state);
    this.chip.title = asleep
      ? "Nothing moves: only its keyframes are decoded"
      : state === "live" && status.reason
        ? `Looked at, last because of: ${status.reason}`
        : "";
    const behind = status.lag > BEHIND_S ? ` · ${status.lag.toFixed(1)} s behind` : "";
    this.rate.textContent = state === "live" ? `${status.analysed_fps.toFixed(1)} fps${behind}` : "";
    this.rate.title = "Frames analysed per second" + (behind && "; decoding is slower than the camera");
    this.cause.textContent = status.cause ? status.cause.replaceAll("_", " ") : this.chip.textContent;
    this.message.textContent = status.enabled ? status.message : "Disabled in the registry";
    this.tick();
    this.#next();
  }

  /** Boxes for the next picture: drawn when it arrives, so that they lie where its vehicles are. */
  overlay(message) {
    this.#overlay = message;
    this.#overlayAt = performance.now();
  }

  /** Once a second: the countdown to the next attempt. */
  tick() {
    const { retry_at: retryAt, state } = this.#status;
    const seconds = retryAt === null ? null : Math.ceil(retryAt - now() / 1000);
    if (state === "live" || seconds === null) this.retry.textContent = "";
    else this.retry.textContent = seconds > 0 ? `next attempt in ${seconds} s` : "trying now";
  }

  /** Whether the tile is on the screen; without a viewer no picture is asked for. */
  seen(onScreen) {
    this.#onScreen = onScreen;
    this.#next();
  }

  remove() {
    clearTimeout(this.#timer);
    this.seen(false);
    this.element.remove();
  }

  #next() {
    const wanted = this.#onScreen && this.element.dataset.state === "live";
    if (!wanted || this.#loading) return;
    clearTimeout(this.#timer);
    this.#loading = true;
    const width = Math.min(1280, Math.max(160, Math.round(this.element.clientWidth * devicePixelRatio)));
    const askedAt = performance.now();
    const again = (pause) => {
      this.#loading = false;
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => this.#next(), Math.max(0, pause - (performance.now() - askedAt)));
    };
    const { id, name } = this.#status;
    const coming = h("img", { alt: `What ${name || id} sees` });
    coming.onload = () => {
      this.picture.replaceWith(coming);
      this.picture = coming;
      this.#draw();
      again(PICTURE_EVERY_MS);
    };
    coming.onerror = () => {
      this.picture.hidden = true; // what it showed is no longer what the camera sees
      this.boxes.replaceChildren();
      again(PICTURE_EVERY_MS * 4);
    };
    coming.src = `/api/cameras/${encodeURIComponent(id)}/preview.jpg?width=${width}&wake=false&t=${Date.now()}`;
  }

  #draw() {
    const fresh = performance.now() - this.#overlayAt < OVERLAY_LASTS_MS;
    if (!fresh) {
      this.boxes.replaceChildren();
      return;
    }
    const { width, height, boxes } = this.#overlay;
    this.boxes.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.boxes.replaceChildren(...boxes.map((box) => boxShape(box, height)));
  }
}

function boxShape({ box: [x1, y1, x2, y2], text, state }, frameHeight) {
  const size = frameHeight * 0.055;
  const shape = svg("rect", { x: x1, y: y1, width: x2 - x1, height: y2 - y1, rx: size * 0.12 });
  const above = y1 > size * 1.4;
  const label = svg("text", { x: x1, y: above ? y1 - size * 0.35 : y2 + size * 1.05, "font-size": size });
  label.textContent = text ?? "";
  return svg("g", { class: `box ${state}` }, shape, label);
}
