// The page about documents: they are handed in on one side and shown on the other.

import { ask, batch, handIn, Refused } from "./documents_api.js";
import { byId, h } from "./dom.js";
import { OpenDocument } from "./open_document.js";
import { sentence, size, standing, underWay } from "./document_words.js";
import { clock } from "./format.js";
import { showSession } from "./session.js";

const LOOK_EVERY_MS = 1000;
const LOOK_AGAIN_MS = 3000;
const SAY_EVERY_MS = 5000;

const rows = new Map(); // id → the row of a document
const known = new Map(); // id → the document as it stood last
let open = null;
let maxBytes = Infinity;
let looking = 0;
let looks = 0;
let saidAt = 0;

/** A row of the list: what is on its way has no `href` yet. */
class Row {
  constructor(name) {
    this.link = h("a", { className: "title", title: name }, name);
    this.state = h("span", { className: "standing" });
    this.bar = h("progress", { max: 1, hidden: true, "aria-label": `Progress of ${name}` });
    this.button = h("button", { type: "button", className: "small" });
    this.time = h("time", {});
    this.element = h("li", {}, this.link, this.button, this.state, this.time, this.bar);
    this.offer("", "", null);
  }

  /** What the row's button does; nothing: there is none. */
  offer(text, label, action) {
    this.button.hidden = action === null;
    if (this.button.textContent !== text) this.button.textContent = text;
    this.button.setAttribute("aria-label", label);
    this.button.onclick = action;
  }

  setState(state, text, share) {
    this.element.dataset.state = state;
    this.state.textContent = text;
    this.bar.hidden = share === undefined;
    if (share === null) this.bar.removeAttribute("value");
    else if (share !== undefined) this.bar.value = share;
  }

  show(doc) {
    this.link.href = `#${doc.id}`;
    const created = new Date(doc.created * 1000);
    this.time.dateTime = created.toISOString();
    this.time.textContent = clock(created);
    const active = underWay(doc);
    this.setState(doc.state, standing(doc), active ? (doc.pages ? doc.done / doc.pages : null) : undefined);
    if (active) this.offer("Cancel", `Cancel ${doc.name}`, () => cancel(doc.id));
    else this.offer("", "", null);
  }
}

async function look() {
  clearTimeout(looking);
  const turn = ++looks;
  let pause = null;
  try {
    const { documents, max_bytes: most } = await ask("", { batch });
    if (turn !== looks) return; // a later call knows better, and goes on looking
    maxBytes = most;
    byId("lost").hidden = true;
    show(documents);
    if (documents.some(underWay)) pause = LOOK_EVERY_MS;
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    if (turn !== looks) return;
    showLost(error.message);
    pause = LOOK_AGAIN_MS;
  }
  if (pause !== null && !document.hidden) looking = setTimeout(look, pause);
}

function show(documents) {
  const ids = new Set(documents.map(({ id }) => id));
  for (const [id, row] of rows) {
    if (ids.has(id)) continue;
    row.element.remove();
    rows.delete(id);
    known.delete(id);
  }
  for (const doc of documents.toReversed()) {
    const before = known.get(doc.id);
    known.set(doc.id, doc);
    if (!rows.has(doc.id)) {
      rows.set(doc.id, new Row(doc.name || "Unnamed"));
      byId("recent").prepend(rows.get(doc.id).element);
    }
    rows.get(doc.id).show(doc);
    announce(doc, before);
  }
  follow();
}

/** Announce what changed to whoever hears the page: each change of state at once, pages now and then. */
function announce(doc, before) {
  const changed = before !== undefined && before.state !== doc.state;
  const further = before !== undefined && before.done !== doc.done && performance.now() - saidAt > SAY_EVERY_MS;
  if (!changed && !further) return;
  saidAt = performance.now();
  byId("announcer").textContent = `${doc.name}: ${standing(doc)}`;
}

/** Show the document that the address names, as it stands. */
function follow() {
  const id = location.hash.slice(1);
  const doc = known.get(id);
  for (const [other, row] of rows) {
    if (other === id) row.link.setAttribute("aria-current", "true");
    else row.link.removeAttribute("aria-current");
  }
  byId("nothing").hidden = doc !== undefined;
  if (open !== null && open.id !== doc?.id) {
    open.close();
    open = null;
  }
  if (doc === undefined) return;
  if (open === null) {
    open = new OpenDocument(doc, { onCancel: () => cancel(doc.id) });
    byId("shown").append(open.element);
  }
  open.update(doc);
}

async function cancel(id) {
  try {
    await ask(`/${id}`, { method: "DELETE" });
  } catch (error) {
    showLost(error.message);
  }
  await look();
}

async function take(files) {
  const fields = { pages: byId("pages").value, text_layer: byId("text-layer").value };
  const waiting = [...files].map((file) => ({ file, row: new Row(file.name) }));
  for (const { row } of waiting) {
    row.setState("sending", "Waits to be sent", 0);
    byId("recent").prepend(row.element);
  }
  await begun;
  let first = true;
  for (const { file, row } of waiting) {
    try {
      const doc = await send(file, row, fields);
      if (rows.has(doc.id)) row.element.remove();
      else rows.set(doc.id, row);
      await look();
      if (first) location.hash = doc.id;
      first = false;
    } catch (error) {
      row.setState("failed", sentence(error.message));
      row.offer("Dismiss", `Dismiss ${file.name}`, () => row.element.remove());
      byId("announcer").textContent = `${file.name}: ${error.message}`;
    }
  }
}

function send(file, row, fields) {
  if (file.size === 0) throw new Refused(0, "the file is empty");
  if (file.size > maxBytes) {
    throw new Refused(413, `the file has ${size(file.size)}; at most ${size(maxBytes)} are taken here`);
  }
  byId("announcer").textContent = `${file.name} is being sent`;
  row.setState("sending", "Is being sent", 0);
  const { taken, abort } = handIn(file, fields, (share) => row.setState("sending", "Is being sent", share));
  row.offer("Cancel", `Cancel ${file.name}`, abort);
  return taken;
}

function showLost(message) {
  const lost = byId("lost");
  lost.textContent = sentence(message);
  lost.hidden = false;
}

byId("skip").addEventListener("click", (event) => {
  event.preventDefault(); // the address names what is open
  byId("shown").focus();
});
byId("hand-in").addEventListener("submit", (event) => event.preventDefault());
byId("files").addEventListener("change", ({ target }) => {
  const files = [...target.files];
  target.value = ""; // so that the same file can be chosen again
  take(files);
});
addEventListener("dragover", (event) => {
  if (!event.dataTransfer.types.includes("Files")) return;
  event.preventDefault();
  document.body.classList.add("dropping");
});
addEventListener("dragleave", ({ relatedTarget }) => {
  if (relatedTarget === null) document.body.classList.remove("dropping");
});
addEventListener("drop", (event) => {
  document.body.classList.remove("dropping");
  if (!event.dataTransfer.files.length) return;
  event.preventDefault();
  take(event.dataTransfer.files);
});
addEventListener("paste", ({ clipboardData }) => take(clipboardData.files));
addEventListener("hashchange", () => {
  follow();
  byId("shown").scrollIntoView();
  byId("shown").focus({ preventScroll: true });
});
document.addEventListener("visibilitychange", () => document.hidden || look());

showSession();
const begun = look();
