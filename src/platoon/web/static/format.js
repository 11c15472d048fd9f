// Figures and times as an operator reads them, in the browser's own language and time zone.

import { now } from "./api.js";

const clockFormat = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const dayFormat = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const fullFormat = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "long" });
const relative = new Intl.RelativeTimeFormat(undefined, { numeric: "auto", style: "short" });

export const percent = (share) => `${Math.round(share * 100)} %`;
export const count = (n) => n.toLocaleString();
export const readCount = (n) => (n === 1 ? "1 read" : `${count(n)} reads`);
export const fullTime = (date) => fullFormat.format(date);

/** The time of day, with the day where it is not today. */
export function clock(date) {
  const today = new Date(now()).toDateString() === date.toDateString();
  return today ? clockFormat.format(date) : `${dayFormat.format(date)}, ${clockFormat.format(date)}`;
}

/** How long ago: "now", "12 sec. ago", "3 min. ago", … */
export function ago(date) {
  const seconds = Math.max(0, (now() - date.getTime()) / 1000);
  if (seconds < 5) return relative.format(0, "second");
  if (seconds < 60) return relative.format(-Math.round(seconds), "second");
  if (seconds < 3600) return relative.format(-Math.round(seconds / 60), "minute");
  if (seconds < 86400) return relative.format(-Math.round(seconds / 3600), "hour");
  return relative.format(-Math.round(seconds / 86400), "day");
}

/** Letters and digits in upper case: what the search compares. */
export const searchable = (text) => text.toUpperCase().replace(/[^\p{L}\p{N}]/gu, "");
