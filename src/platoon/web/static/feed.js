// The plates, newest first. A final takes the place of its preview; filters hold for what comes live, too.

import { getJson } from "./api.js";
import { byId, h } from "./dom.js";
import { ago, clock, fullTime, percent, readCount, searchable } from "./format.js";
import { crop, plateText, stateWord } from "./plate.js";

const PAGE = 60;
const MOST_ROWS = 600;
const RANK = { preview: 0, final: 1, revised: 2 };

export class Feed {
  #rows = new Map(); // id → { event, element, time }
  #filter = { plate: "", camera: "" };
  #load = 0; // of several loads only the last may show its result
  #more = false;

  constructor({ cameraName, onOpen }) {
    this.cameraName = cameraName;
    this.onOpen = onOpen;
    this.list = byId("feed");
    this.note = byId("no-plates");
    this.older = byId("older");
    this.older.onclick = () => this.#fetch({ until: this.#oldest() });
  }

  filter(change) {
    this.#filter = { ...this.#filter, ...change };
    this.#clear();
    return this.reload();
  }

  /** Fetch the newest events; what is shown stays where they join up with it. */
  reload() {
    return this.#fetch({});
  }

  /** Show an event where it belongs, unless it is filtered out or older than what is shown of it. */
  add(event, { fresh = false } = {}) {
    const known = this.#rows.get(event.id);
    if (!this.#matches(event)) {
      if (known) this.#drop(event.id);
      return;
    }
    if (known && RANK[known.event.state] > RANK[event.state]) return;
    const row = this.#row(event);
    if (known) {
      known.element.remove();
      row.element.classList.add("settled");
    } else if (fresh) {
      row.element.classList.add("new");
    }
    this.#rows.set(event.id, row);
    const after = this.#firstNotAfter(row.time);
    this.list.insertBefore(row.element, after);
    if (this.list.children.length > MOST_ROWS) this.#drop(this.list.lastElementChild.dataset.event);
    this.#explain();
  }

  /** Every few seconds: ages grow. */
  tick() {
    for (const { element, time } of this.#rows.values()) element.querySelector(".ago").textContent = ago(time);
  }

  /** Names of cameras have changed or become known. */
  rename() {
    for (const { element, event } of this.#rows.values()) {
      element.querySelector(".camera").textContent = this.cameraName(event.camera);
    }
  }

  async #fetch(bounds) {
    const load = ++this.#load;
    try {
      const { events } = await getJson("/api/events", { ...this.#filter, ...bounds, limit: PAGE });
      if (load !== this.#load) return;
      this.#more = events.length === PAGE;
      // After a long absence the newest page may not reach what is shown: rather start again than show a gap.
      if (this.#more && bounds.until === undefined && !events.some(({ id }) => this.#rows.has(id))) this.#clear();
      for (const event of events) this.add(event);
      this.#explain();
    } catch (error) {
      if (load === this.#load && this.#rows.size === 0) this.#say("The plates cannot be shown now.", error.message);
    }
  }

  #matches(event) {
    const { plate, camera } = this.#filter;
    return (!camera || event.camera === camera) && (!plate || searchable(event.text).includes(searchable(plate)));
  }

  #row(event) {
    const time = new Date(event.time);
    const facts = [percent(event.confidence), readCount(event.reads)];
    const element = h(
      "li",
      { "data-event": event.id, "data-state": event.state },
      h(
        "button",
        { type: "button", onclick: () => this.onOpen(this.#rows.get(event.id).event) },
        crop(event),
        h(
          "span",
          { className: "what" },
          plateText(event),
          event.state === "final" ? null : h("span", { className: "state" }, stateWord(event)),
          h("span", { className: "facts" }, ...facts.map((fact) => h("span", {}, fact))),
        ),
        h(
          "span",
          { className: "where" },
          h("span", { className: "camera" }, this.cameraName(event.camera)),
          h("time", { dateTime: event.time, title: fullTime(time) }, clock(time)),
          h("span", { className: "ago" }, ago(time)),
        ),
      ),
    );
    return { event, element, time };
  }

  #firstNotAfter(time) {
    for (const element of this.list.children) {
      if (this.#rows.get(element.dataset.event).time <= time) return element;
    }
    return null;
  }

  #oldest() {
    return Math.min(...[...this.#rows.values()].map(({ time }) => time.getTime() / 1000));
  }

  #drop(id) {
    this.#rows.get(id).element.remove();
    this.#rows.delete(id);
    this.#explain();
  }

  #clear() {
    this.#rows.clear();
    this.list.replaceChildren();
  }

  #explain() {
    const { plate, camera } = this.#filter;
    this.older.hidden = !this.#more || this.#rows.size === 0 || this.#rows.size >= MOST_ROWS;
    this.note.hidden = this.#rows.size > 0;
    if (this.#rows.size > 0) return;
    const where = camera ? ` at ${this.cameraName(camera)}` : "";
    if (plate) this.#say(`No plate${where} holds “${plate}”.`, "Try fewer characters, or another camera.");
    else this.#say(`No plates${where} yet.`, "They appear a moment after a vehicle has passed a live camera.");
  }

  #say(title, hint) {
    this.note.hidden = false;
    this.note.replaceChildren(h("strong", {}, title), " ", hint);
  }
}
