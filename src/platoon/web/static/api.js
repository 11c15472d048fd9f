// Talking to Platoon: JSON over HTTP, and one WebSocket that comes back by itself.

import { askAgainIf, checkSession } from "./session.js";

const CLOCKS_AGREE_MS = 2000;
const RETRY_FIRST_MS = 1000;
const RETRY_LONGEST_MS = 15000;

let skewMs = 0;

/** Milliseconds since 1970 by the server's clock: ages and countdowns hold on a machine whose clock is wrong. */
export const now = () => Date.now() + skewMs;

/** The JSON at `path`; throws an Error with the server's own message. */
export async function getJson(path, parameters = {}) {
  const given = Object.entries(parameters).filter(([, value]) => value !== null && value !== "");
  const query = new URLSearchParams(given).toString();
  const response = await fetch(query ? `${path}?${query}` : path);
  const difference = Date.parse(response.headers.get("date")) - Date.now();
  skewMs = Math.abs(difference) > CLOCKS_AGREE_MS ? difference : 0;
  askAgainIf(response.status);
  const body = await response.json();
  if (!response.ok) throw new Error(body.error?.message ?? response.statusText);
  return body;
}

/**
 * Receive every message of the site, over as many connections as it takes.
 *
 * `onState` is called with "live" or "disconnected"; after each "live" the caller fetches what it missed.
 */
export function listen({ onMessage, onState }) {
  let wait = RETRY_FIRST_MS;
  const connect = () => {
    const socket = new WebSocket(`${location.origin.replace(/^http/, "ws")}/api/ws`);
    socket.onopen = () => {
      wait = RETRY_FIRST_MS;
      onState("live");
    };
    socket.onmessage = ({ data }) => onMessage(JSON.parse(data));
    socket.onclose = () => {
      onState("disconnected");
      checkSession();
      setTimeout(connect, wait * (0.7 + 0.6 * Math.random()));
      wait = Math.min(wait * 2, RETRY_LONGEST_MS);
    };
  };
  connect();
}
