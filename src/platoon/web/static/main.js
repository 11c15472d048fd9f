// The operator's page: cameras on one side, plates on the other, both fed by one WebSocket.

import { getJson, listen } from "./api.js";
import { Detail } from "./detail.js";
import { byId, h } from "./dom.js";
import { Feed } from "./feed.js";
import { clock, count } from "./format.js";
import { showSession } from "./session.js";
import { Tile } from "./tile.js";

const TYPING_PAUSE_MS = 200;
const SUMMARY_PAUSE_MS = 2000;
const RATES_PAUSE_MS = 3000;

let statesHeard = 0;
const statuses = new Map(); // id → status, in the registry's order
const tiles = new Map();
const cameraName = (id) => statuses.get(id)?.name || id;
const detail = new Detail({ cameraName });
const feed = new Feed({ cameraName, onOpen: (event) => detail.open(event) });
const filter = byId("camera-filter");

const watcher = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    target.onScreen = isIntersecting;
    tiles.get(target.dataset.camera)?.seen(isIntersecting && !document.hidden);
  }
});

function showCamera(status) {
  const known = statuses.get(status.id);
  statuses.set(status.id, status);
  const tile = tiles.get(status.id);
  if (tile) {
    tile.update(status);
  } else {
    const added = new Tile(status, { onPick: pickCamera });
    tiles.set(status.id, added);
    byId("grid").append(added.element);
    filter.append(h("option", { value: status.id }, cameraName(status.id)));
    watcher.observe(added.element);
  }
  if (known?.name !== status.name) {
    [...filter.options].find(({ value }) => value === status.id).textContent = cameraName(status.id);
    feed.rename();
  }
  countCameras();
}

function removeCamera(id) {
  tiles.get(id)?.remove();
  tiles.delete(id);
  statuses.delete(id);
  [...filter.options].find(({ value }) => value === id)?.remove();
  countCameras();
}

function countCameras() {
  const enabled = [...statuses.values()].filter((status) => status.enabled);
  const live = enabled.filter((status) => status.state === "live").length;
  byId("live-count").textContent = `${count(live)} / ${count(enabled.length)}`;
  byId("no-cameras").hidden = statuses.size > 0;
}

function pickCamera(id) {
  filter.value = filter.value === id ? "" : id;
  filter.dispatchEvent(new Event("change"));
}

async function refreshCameras() {
  const heard = statesHeard;
  const { cameras } = await getJson("/api/cameras");
  if (heard !== statesHeard) return; // a newer state came meanwhile, and must not be overwritten by an older one
  const ids = new Set(cameras.map(({ id }) => id));
  for (const id of [...statuses.keys()]) if (!ids.has(id)) removeCamera(id);
  cameras.forEach(showCamera);
  const [grid, ordered] = [byId("grid"), cameras.map(({ id }) => tiles.get(id).element)];
  if (ordered.some((element, place) => grid.children[place] !== element)) grid.append(...ordered);
  countCameras();
}

async function catchUp() {
  await Promise.all([refreshCameras(), feed.reload(), summarise()]);
}

async function summarise() {
  const midnight = new Date().setHours(0, 0, 0, 0) / 1000;
  const { plates } = await getJson("/api/summary", { since: midnight });
  byId("plates-today").textContent = count(plates);
}

let summaryDue = 0;

function showEvent(event) {
  feed.add(event, { fresh: true });
  detail.update(event);
  if (event.state === "preview") return;
  byId("announcer").textContent = `${event.text}, ${cameraName(event.camera)}`;
  summaryDue ||= setTimeout(() => {
    summaryDue = 0;
    summarise().catch(() => {});
  }, SUMMARY_PAUSE_MS);
}

const receive = {
  camera: ({ camera }) => {
    statesHeard += 1;
    showCamera(camera);
  },
  removed: ({ camera }) => {
    statesHeard += 1;
    removeCamera(camera);
  },
  overlay: (message) => tiles.get(message.camera)?.overlay(message),
  event: ({ event }) => event.kind || showEvent(event), // those of plates name no kind
};

function showLink(state) {
  const [link, lost] = [byId("link"), byId("lost")];
  if (state === "disconnected" && link.dataset.state !== "disconnected") {
    lost.textContent = `No connection to Platoon since ${clock(new Date())}. What you see is from then; trying again.`;
  }
  link.dataset.state = document.body.dataset.link = state;
  link.textContent = state === "live" ? "Connected" : "Disconnected";
  lost.hidden = state === "live";
  if (state === "live") catchUp().catch(() => {});
}

let typing = 0;

byId("query").addEventListener("input", ({ target }) => {
  clearTimeout(typing);
  typing = setTimeout(() => feed.filter({ plate: target.value.trim() }), TYPING_PAUSE_MS);
});
byId("search").addEventListener("submit", (event) => {
  event.preventDefault();
  clearTimeout(typing);
  feed.filter({ plate: byId("query").value.trim() });
});
filter.addEventListener("change", () => {
  for (const [id, tile] of tiles) tile.element.classList.toggle("picked", id === filter.value);
  feed.filter({ camera: filter.value });
});
document.addEventListener("keydown", (event) => {
  const typingElsewhere = event.target.closest("input, select, dialog");
  if (event.key === "/" && !typingElsewhere) {
    event.preventDefault();
    byId("query").focus();
  }
});
document.addEventListener("visibilitychange", () => {
  for (const tile of tiles.values()) tile.seen(tile.element.onScreen && !document.hidden);
});
setInterval(() => tiles.forEach((tile) => tile.tick()), 1000);
setInterval(() => feed.tick(), 5000);
setInterval(() => {
  // States arrive as messages; rates change all the time, and are asked for while somebody looks.
  if (!document.hidden && document.body.dataset.link === "live") refreshCameras().catch(() => {});
}, RATES_PAUSE_MS);

showSession();
listen({ onMessage: (message) => receive[message.type]?.(message), onState: showLink });
