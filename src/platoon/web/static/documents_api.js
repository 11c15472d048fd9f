// Talking to Platoon about documents.

import { askAgainIf } from "./session.js";

const BATCH = "platoon-documents";

/** What Platoon has refused; `status` is HTTP's, 0 where nobody answered. */
export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** The name of this browser's documents, which nobody can guess. */
export const batch = (() => {
  const made = () => [...crypto.getRandomValues(new Uint8Array(24))].map((n) => n.toString(16).padStart(2, "0")).join("");
  const name = localStorage.getItem(BATCH) ?? made();
  localStorage.setItem(BATCH, name);
  return name;
})();

/** The JSON at a path below `/api/documents`. Throws Refused. */
export async function ask(path = "", { method = "GET", ...query } = {}) {
  const parameters = new URLSearchParams(query).toString();
  const address = `/api/documents${path}${parameters && `?${parameters}`}`;
  const response = await fetch(address, { method }).catch(() => {
    throw new Refused(0, "Platoon cannot be reached");
  });
  return answer(response.status, await response.text());
}

/**
 * Hand a file in; `onSent` hears which share of it is sent, from 0 to 1.
 *
 * `taken` is the promise of the document as Platoon answers it, or of Refused; `abort` gives up.
 */
export function handIn(file, fields, onSent) {
  // fetch does not say how much of a body was sent.
  const request = new XMLHttpRequest();
  const taken = new Promise((resolve, reject) => {
    request.onload = () => {
      try {
        resolve(answer(request.status, request.responseText));
      } catch (error) {
        reject(error);
      }
    };
    request.onerror = () => reject(new Refused(0, "it could not be sent: Platoon cannot be reached, or it is no file"));
    request.onabort = () => reject(new Refused(0, "cancelled"));
  });
  request.upload.onprogress = ({ loaded, total }) => onSent(total ? loaded / total : 0);
  request.open("POST", "/api/documents");
  const form = new FormData();
  for (const [name, value] of Object.entries({ ...fields, batch, name: file.name })) form.append(name, value);
  form.append("file", file);
  request.send(form);
  return { taken, abort: () => request.abort() };
}

function answer(status, text) {
  askAgainIf(status);
  let body = {};
  try {
    body = JSON.parse(text);
  } catch {
    // Something between here and Platoon has answered.
  }
  if (status < 200 || status > 299) throw new Refused(status, body.error?.message ?? `the answer was ${status}`);
  return body;
}
