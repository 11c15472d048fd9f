// What is said of documents, in the words of people.

import { count } from "./format.js";

const MEGABYTE = 1_000_000;

/** Whether something is still going to happen to a document. */
export const underWay = ({ state }) => state === "waiting" || state === "reading";

export const pageCount = (n) => (n === 1 ? "1 page" : `${count(n)} pages`);

/** Bytes as a size. */
export const size = (bytes) => `${(bytes / MEGABYTE).toLocaleString(undefined, { maximumSignificantDigits: 3 })} MB`;

/** A message of Platoon's as a sentence. */
export function sentence(message) {
  const begun = message.charAt(0).toUpperCase() + message.slice(1);
  return /[.!?]$/.test(begun) ? begun : `${begun}.`;
}

/** Where a document stands, in a few words. */
export function standing({ state, pages, done, queue_position: position, error }) {
  switch (state) {
    case "waiting":
      if (error) return `Will be tried again: ${error}`;
      return position === 1 ? "Next in the queue" : `Position ${count(position ?? 0)} in the queue`;
    case "reading":
      return pages === null ? "Being opened" : `${count(done)} of ${pageCount(pages)} read`;
    case "done":
      return pageCount(done);
    case "failed":
      return "Could not be read";
    default:
      return done ? `Cancelled after ${pageCount(done)}; nothing is kept` : "Cancelled";
  }
}
