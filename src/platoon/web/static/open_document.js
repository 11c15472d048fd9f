// The document that is open: how far it is, its other forms, and its pages, of which those near the screen are loaded.

import { ask } from "./documents_api.js";
import { h } from "./dom.js";
import { clock } from "./format.js";
import { pageCount, sentence, standing, underWay } from "./document_words.js";
import { Sheet } from "./sheet.js";

const FORMS = {
  md: "Markdown",
  txt: "Text",
  json: "JSON",
  hocr: "hOCR",
  alto: "ALTO",
  pdf: "Searchable PDF",
};
const LOADED_AHEAD = "900px 0px";

export class OpenDocument {
  #doc = {};
  #sheets = new Map(); // number → sheet
  #watcher;

  constructor({ id, name, address }, { onCancel }) {
    this.id = id;
    this.address = address;
    this.state = h("p", { className: "standing" });
    this.bar = h("progress", { max: 1, "aria-label": "Pages read" });
    this.cancel = h("button", { type: "button", className: "quiet", onclick: onCancel }, "Cancel");
    this.kept = h("p", { className: "note" });
    this.why = h("p", { className: "why", role: "alert", hidden: true });
    const forms = Object.entries(FORMS).map(this.#form);
    this.forms = h("ul", { className: "forms", "aria-label": "Download as" }, h("li", { "aria-hidden": "true" }, "Download"), ...forms);
    this.marked = h("input", { type: "checkbox", checked: true });
    this.marked.onchange = () => this.element.classList.toggle("unmarked", !this.marked.checked);
    this.tools = h("div", { className: "tools" }, this.forms, h("label", {}, this.marked, "Show blocks"));
    this.pages = h("ol", { className: "sheets" });
    this.element = h(
      "article",
      { className: "opened" },
      h(
        "header",
        {},
        h("h1", {}, name || "Unnamed"),
        h("div", { className: "progress" }, this.state, this.bar, this.cancel, this.kept),
        this.tools,
        this.why,
      ),
      this.pages,
    );
    this.#watcher = new IntersectionObserver((entries) => this.#near(entries), { rootMargin: LOADED_AHEAD });
  }

  /** Show how it stands now. */
  update(doc) {
    const before = this.#doc;
    this.#doc = doc;
    const { state, pages, done, error, expires } = doc;
    this.element.dataset.state = state;
    this.state.textContent = standing(doc);
    this.bar.hidden = this.cancel.hidden = !underWay(doc);
    if (pages) this.bar.value = done / pages;
    else this.bar.removeAttribute("value");
    this.kept.textContent = expires ? `Kept until ${clock(new Date(expires * 1000))}` : "";
    this.why.hidden = state !== "failed";
    if (state === "failed" && before.state !== state) this.why.textContent = sentence(error ?? "");
    this.tools.hidden = done === 0;
    for (const link of this.forms.querySelectorAll("a")) {
      if (state === "done") link.href = link.dataset.address;
      else link.removeAttribute("href");
    }
    if (before.done !== done) this.#list().catch(() => (this.#doc = { ...doc, done: -1 })); // next time again
  }

  close() {
    this.#watcher.disconnect();
    this.element.remove();
  }

  #form = ([form, name]) =>
    h("li", {}, h("a", { "data-address": `${this.address}/exports/${form}`, download: "", className: "quiet" }, name));

  async #list() {
    if (this.#doc.done === 0) return;
    const { numbers } = await ask(`/${this.id}`);
    let next = null;
    for (const number of numbers.toReversed()) {
      if (!this.#sheets.has(number)) {
        const picture = `${this.address}/pages/${number}.jpg`;
        const sheet = new Sheet(number, picture, () => ask(`/${this.id}/pages/${number}`));
        this.#sheets.set(number, sheet);
        this.pages.insertBefore(sheet.element, next);
        this.#watcher.observe(sheet.element);
      }
      next = this.#sheets.get(number).element;
    }
    this.pages.setAttribute("aria-label", pageCount(numbers.length));
  }

  #near(entries) {
    for (const { target, isIntersecting } of entries) {
      if (!isIntersecting) continue;
      this.#watcher.unobserve(target);
      this.#sheets.get(Number(target.dataset.number)).load();
    }
  }
}
