// The range of time that a view shows: the last hours, or from and to after a zoom. It lives in the address.

import { query } from "./api.js";

const HOUR_MS = 3_600_000;
export const RANGES = { "1h": 1, "6h": 6, "24h": 24, "7d": 7 * 24, "30d": 30 * 24, "90d": 90 * 24 };
export const RANGE_DEFAULT = "24h";

// From and to of a state, in ms.
export function rangeOf(state) {
  const [from, to] = [Date.parse(state.from), Date.parse(state.to)];
  if (from < to) return { from, to };
  const now = Date.now();
  return { from: now - (RANGES[state.range] ?? RANGES[RANGE_DEFAULT]) * HOUR_MS, to: now };
}

// As parameters of the API.
export function rangeQuery(state, more = {}) {
  const { from, to } = rangeOf(state);
  return query({ from: new Date(from).toISOString(), to: new Date(to).toISOString(), ...more });
}

// What a zoom writes into the address.
export function zoomed(from, to) {
  if (from === null) return { from: "", to: "" };
  const second = (at) => new Date(at).toISOString().replace(/\.\d+Z$/, "Z");
  return { from: second(from), to: second(to) };
}
