// The page: state in the address, a poll every few seconds, keys. What things look like is in the other files.

import { NodeTable, withAge } from "./nodes.js";
import { showNote, showSession } from "./session.js";
import { SessionList } from "./sessions.js";
import { bytes, count, element } from "./text.js";

const POLL_MS = 3_000;
const FETCH_TIMEOUT_MS = 10_000;
const PAGE = 100; // sessions per page
const SHOWN_MAX = 500; // sessions kept fresh; the API's limit
const FILTERS = ["node", "block", "score", "flagged"];
const at = (id) => document.getElementById(id);

const list = new SessionList((id) => go({ id }));
const nodeTable = new NodeTable((changes) => go({ block: "", id: "", ...changes }));

let state = {}; // view, node, block, score, flagged, id
let listed = ""; // the filter that the list shows
let shown = []; // sessions in the list
let held = []; // what the last poll found but the list does not show yet
let next = null; // cursor of older sessions
let nodes = [];
let opened = ""; // id and arrival of the session on the right
let timer = 0;
let round = 0; // only the latest round may write

// State lives in the address, so that it can be sent to a colleague and survives a reload.
function readState() {
  const hash = new URLSearchParams(location.hash.slice(1));
  state = { view: hash.get("view") === "nodes" ? "nodes" : "sessions", id: hash.get("id") ?? "" };
  for (const name of FILTERS) state[name] = hash.get(name) ?? "";
  if (!["true", "false", "any"].includes(state.flagged)) state.flagged = "true";
}

function go(changes) {
  const wanted = { ...state, ...changes };
  const hash = new URLSearchParams();
  for (const [name, value] of Object.entries(wanted)) {
    if (value && !(name === "flagged" && value === "true")) hash.set(name, value);
  }
  const text = `#${hash}`;
  if (text === location.hash) return;
  // Walking through the list does not fill the browser's history.
  if (wanted.view === state.view && "id" in changes) history.replaceState(null, "", text);
  else history.pushState(null, "", text);
  apply(true);
}

// Follows the address. Nobody's typing is overwritten, unless they went back or followed a link.
function apply(typing = false) {
  readState();
  const sessions = state.view === "sessions";
  at("sessions-view").hidden = !sessions;
  at("nodes-view").hidden = sessions;
  at("tab-sessions").setAttribute("aria-current", String(sessions));
  at("tab-nodes").setAttribute("aria-current", String(!sessions));
  for (const name of FILTERS) {
    const input = at(`filter-${name}`);
    if (!typing || input !== document.activeElement) input.value = state[name];
  }
  at("clear").hidden = !isFiltered();
  document.body.classList.toggle("reading", state.id !== "");
  list.select(state.id);
  if (listed !== filterQuery()) {
    listed = filterQuery();
    shown = [];
    list.clear();
    at("list").scrollTop = 0;
  }
  poll();
}

const isFiltered = () => FILTERS.some((name) => state[name] !== "" && state[name] !== "true");

function filterQuery() {
  const query = new URLSearchParams({ flagged: state.flagged });
  if (state.node) query.set("node", state.node);
  if (state.block) query.set("block", state.block);
  if (state.score) query.set("min_score", state.score);
  return query.toString();
}

async function ask(path) {
  const response = await fetch(path, { signal: AbortSignal.timeout(FETCH_TIMEOUT_MS), cache: "no-store" });
  const body = await response.json();
  if (!response.ok) throw new Refused(body.error ?? `HTTP ${response.status}`, response.status);
  return body;
}

class Refused extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

async function poll() {
  clearTimeout(timer);
  const mine = ++round;
  try {
    const limit = Math.min(SHOWN_MAX, Math.max(PAGE, shown.length));
    const [page, fleet] = await Promise.all([ask(`/api/sessions?${listed}&limit=${limit}`), ask("/api/nodes?limit=10000")]);
    if (mine !== round) return;
    nodes = withAge(fleet.nodes, fleet.now);
    receive(page, limit);
    showNodes();
    await showOpened();
    live("live", "live", "up to date");
  } catch (error) {
    if (mine !== round) return;
    if (error instanceof Refused && error.status === 400) refuse(error.message);
    else live("broken", "collector not reachable", `${error.message}; trying again`);
  }
  if (mine === round) timer = setTimeout(poll, document.hidden ? 10 * POLL_MS : POLL_MS);
}

// The collector does not understand the filter.
function refuse(message) {
  live("refused", "filter");
  next = null;
  showList([]);
  at("empty").replaceChildren(element("h2", {}, "The filter cannot be used"), element("p", {}, message));
}

function live(kind, text, title = "") {
  const place = at("live");
  if (place.textContent !== text) place.textContent = text;
  place.title = title;
  place.className = kind;
}

// Sessions older than the newest page stay as they were when somebody asked for them.
function receive(page, limit) {
  const oldest = page.sessions.at(-1)?.cursor ?? 0;
  const ids = new Set(page.sessions.map((session) => session.id));
  const older = page.next === null ? [] : shown.filter((session) => session.cursor < oldest && !ids.has(session.id));
  if (older.length === 0) next = page.next;
  held = [...page.sessions, ...older];
  const fresh = list.unknown(page.sessions).filter((session) => shown.length > 0 && session.cursor > shown[0].cursor);
  const wait = list.isScrolled() && fresh.length > 0;
  at("fresh").hidden = !wait;
  if (wait) at("fresh").textContent = `↑ ${fresh.length}${fresh.length === limit ? "+" : ""} new`;
  else showList(held);
}

function showList(sessions) {
  shown = sessions;
  list.show(sessions);
  at("fresh").hidden = true;
  at("older").hidden = next === null;
  at("list").classList.toggle("is-empty", sessions.length === 0);
  at("empty").hidden = sessions.length > 0;
  if (sessions.length === 0) at("empty").replaceChildren(...emptyList());
}

function emptyList() {
  if (isFiltered()) return [element("h2", {}, "No session matches the filter"), element("p", {}, "Change it or press clear, top right.")];
  if (nodes.length > 0) {
    const lines = nodes.reduce((sum, node) => sum + (node.metrics.lines_read ?? 0), 0);
    return [element("h2", {}, "Nothing is flagged"),
      element("p", {}, `${count(nodes.length)} node${nodes.length === 1 ? " reports" : "s report"}, ${count(lines)} lines read. Flagged sessions appear here by themselves.`)];
  }
  return noNodes();
}

function noNodes() {
  return [element("h2", {}, "No agent has reported yet"),
    element("p", {}, "Start an agent on a node of the cluster, with this in its configuration:"),
    element("pre", {}, `[ship]\nendpoint = "${location.origin}"`),
    element("p", {}, "blocksift-agent validate says whether the configuration is right. The node appears here by itself within a minute of the agent's start."),
    element("p", { class: "dim" }, "Any other sender of OTLP/HTTP can post to /v1/logs and /v1/metrics.")];
}

async function showOlder() {
  const filter = listed;
  const page = await ask(`/api/sessions?${filter}&limit=${PAGE}&before=${next}`);
  if (filter !== listed) return;
  next = page.next;
  const ids = new Set(shown.map((session) => session.id));
  showList([...shown, ...page.sessions.filter((session) => !ids.has(session.id))]);
}

function showNodes() {
  const of = (kind) => nodes.filter((node) => node.state === kind).length;
  const sum = (name) => nodes.reduce((total, node) => total + (node.metrics[name] ?? 0), 0);
  const flagged = nodes.reduce((total, node) => total + node.sessions_flagged, 0);
  at("count-sessions").textContent = count(flagged);
  at("count-nodes").textContent = count(nodes.length);
  const facts = [`${count(sum("lines_read"))} lines read`, `${count(sum("sessions_scored"))} sessions scored`, `${count(flagged)} flagged`,
    `${bytes(sum("bytes_read"))} of log, ${bytes(sum("bytes_shipped"))} shipped`, `lag ${bytes(sum("lag_bytes"))}`];
  const states = [["fine", "reporting"], ["quiet", "quiet for 2 min"], ["lost", "quiet for 10 min"]]
    .filter(([kind]) => of(kind) > 0)
    .map(([kind, words]) => element("span", { class: `state ${kind}` }, `${count(of(kind))} ${words}`));
  at("fleet").hidden = nodes.length === 0;
  at("fleet").replaceChildren(...states, ...facts.map((fact) => element("span", {}, fact)));
  at("nodes-empty").hidden = nodes.length > 0;
  at("nodes-table").hidden = nodes.length === 0;
  if (nodes.length === 0) at("nodes-empty").replaceChildren(...noNodes());
  if (state.view === "nodes") nodeTable.show(nodes, state.node);
  showNames();
}

function showNames() {
  const names = at("node-names");
  if (names.children.length === nodes.length) return;
  names.replaceChildren(...nodes.map((node) => {
    const option = element("option");
    option.value = node.node;
    return option;
  }));
}

// The session on the right; drawn again only when it has changed.
async function showOpened() {
  const { id } = state;
  const root = at("session");
  if (id === "") {
    if (opened !== "none") showNote(root, "Choose a session to see its events.");
    opened = "none";
    return;
  }
  try {
    const session = await ask(`/api/sessions/${encodeURIComponent(id)}`);
    const query = new URLSearchParams({ block: session.block, flagged: "any", limit: "50" });
    const related = session.block ? (await ask(`/api/sessions?${query}`)).sessions : [];
    if (id !== state.id) return;
    const version = [id, session.received, ...related.map((other) => other.cursor)].join();
    if (version === opened) return;
    opened = version;
    showSession(root, session, related, { filter: (changes) => go(changes), open: (other) => go({ id: other }), close: () => go({ id: "" }) });
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    opened = "";
    showNote(root, error.message);
  }
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = event.target.closest("input, select, textarea") !== null;
  if (event.key === "Escape") {
    if (typing) event.target.blur();
    else if (state.id) go({ id: "" });
    return;
  }
  if (typing) return;
  const inSession = at("session").contains(event.target);
  const keys = {
    j: () => list.move(1),
    k: () => list.move(-1),
    "/": () => at("filter-block").select(),
    1: () => go({ view: "sessions" }),
    2: () => go({ view: "nodes" }),
  };
  if (!inSession) {
    Object.assign(keys, { ArrowDown: keys.j, ArrowUp: keys.k });
    if (event.target.closest("tr[data-id]")) keys.Enter = () => at("session").focus();
  }
  const action = keys[event.key];
  if (!action || (state.view === "nodes" && !["1", "2", "/"].includes(event.key))) return;
  event.preventDefault();
  action();
}

let typed = 0;
at("filters").addEventListener("input", () => {
  clearTimeout(typed);
  typed = setTimeout(() => {
    const changes = {};
    for (const name of FILTERS) changes[name] = at(`filter-${name}`).value.trim();
    go(changes);
  }, 300);
});
at("filters").addEventListener("submit", (event) => event.preventDefault());
at("filters").addEventListener("reset", (event) => {
  event.preventDefault();
  document.activeElement?.blur();
  go({ node: "", block: "", score: "", flagged: "true" });
});
at("fresh").addEventListener("click", () => {
  at("list").scrollTop = 0;
  showList(held);
});
at("older").addEventListener("click", () => showOlder().catch((error) => live("broken", error.message)));
for (const view of ["sessions", "nodes"]) {
  at(`tab-${view}`).addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    go({ view });
  });
}
document.addEventListener("keydown", onKey);
document.addEventListener("visibilitychange", () => document.hidden || poll());
addEventListener("popstate", () => apply());
apply();
