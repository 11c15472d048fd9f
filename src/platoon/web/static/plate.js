// A plate as it is shown everywhere: its text set like a plate, its crop, its state in words.

import { h } from "./dom.js";

const STATES = { preview: "reading", final: "final", revised: "revised" };

export const plateText = (event) => h("span", { className: `plate ${event.state}` }, event.text);

export const stateWord = (event) => STATES[event.state] ?? event.state;

/** The picture that was read, or a word in its place once it is no longer kept. */
export function crop(event) {
  if (!event.crop) return h("span", { className: "crop none" }, "picture no longer kept");
  // The key in the address: a final's crop may differ from its preview's.
  const source = `/api/events/${encodeURIComponent(event.id)}/crop.jpg?v=${encodeURIComponent(event.crop)}`;
  const picture = h("img", { className: "crop", alt: `The picture read as ${event.text}`, loading: "lazy", src: source });
  picture.onerror = () => picture.replaceWith(h("span", { className: "crop none" }, "picture no longer kept"));
  return picture;
}
