// What the page asks the collector: JSON with a time limit, changes with the token that shows they come from here, and the
// stream that says when something new was stored.

const FETCH_TIMEOUT_MS = 10_000;

let csrf = "";

// An answer that is not a success. Status 0: no answer.
export class Refused extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

export async function ask(path) {
  return send("GET", path);
}

// Sends a change; `body` becomes JSON.
export async function change(method, path, body) {
  return send(method, path, body);
}

async function send(method, path, body) {
  const headers = {};
  if (method !== "GET") headers["x-blocksift-csrf"] = csrf;
  if (body !== undefined) headers["content-type"] = "application/json";
  let response;
  try {
    response = await fetch(path, {
      method, headers, cache: "no-store", signal: AbortSignal.timeout(FETCH_TIMEOUT_MS),
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch (error) {
    throw new Refused(error.message, 0);
  }
  if (response.status === 204) return null;
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Refused(answer.error ?? `HTTP ${response.status}`, response.status);
  return answer;
}

// Who is in front of the page.
export async function me() {
  const person = await ask("/api/me");
  csrf = person.csrf;
  return person;
}

// Calls `changed` whenever something was stored; the browser connects again by itself.
export function listen(changed, lost) {
  const source = new EventSource("/api/live");
  source.addEventListener("stored", changed);
  source.addEventListener("error", lost);
  return source;
}

// A query string of what is set.
export function query(parameters) {
  const set = Object.entries(parameters).filter(([, value]) => value !== undefined && value !== null && value !== "");
  return new URLSearchParams(set).toString();
}
