// The page: state in the address, views, news from the collector, keys. What things look like is in the other files.

import { change, listen, me, Refused } from "./api.js";
import { Browse } from "./browse.js";
import { IncidentView } from "./incident.js";
import { Incidents } from "./incidents.js";
import { showLogin } from "./login.js";
import { Models } from "./models.js";
import { Fleet } from "./nodes.js";
import { Overview } from "./overview.js";
import { RANGES, RANGE_DEFAULT } from "./range.js";
import { Templates } from "./templates.js";
import { element, time } from "./text.js";

// Without news the views are brought up to date this often; with news at most this often.
const IDLE_MS = 30_000;
const HURRY_MS = 2_000;
const RETRY_MS = 3_000;
const VIEWS = ["overview", "incidents", "sessions", "fleet", "templates", "models"];
const FILTERS = ["node", "block", "score", "flagged"];
const DEFAULTS = { view: "overview", range: RANGE_DEFAULT, flagged: "true" };
const NAMES = ["view", "range", "from", "to", "node", "block", "score", "flagged", "id", "incident", "culprit_kind", "culprit", "min_nodes", "known"];
const at = (id) => document.getElementById(id);

let state = {};
let views = {};
let timer = 0;
let last = 0; // when the view was brought up to date
let round = 0; // only the latest round may say how it went

// State lives in the address, so that it can be sent to a colleague and survives a reload.
function readState() {
  const hash = new URLSearchParams(location.hash.slice(1));
  state = {};
  for (const name of NAMES) state[name] = hash.get(name) ?? DEFAULTS[name] ?? "";
  if (![...VIEWS, "incident"].includes(state.view)) state.view = DEFAULTS.view;
  if (!["true", "false", "any"].includes(state.flagged)) state.flagged = DEFAULTS.flagged;
  if (!(state.range in RANGES)) state.range = DEFAULTS.range;
}

function address(changes) {
  const wanted = { ...state, ...changes };
  // What is of one view alone does not follow into another.
  if (wanted.view !== "incident") wanted.incident = "";
  if (wanted.view !== "sessions") wanted.id = "";
  const hash = new URLSearchParams();
  for (const name of NAMES) {
    if (wanted[name] && wanted[name] !== DEFAULTS[name]) hash.set(name, wanted[name]);
  }
  return `#${hash}`;
}

function go(changes) {
  const text = address(changes);
  if (text === location.hash || (text === "#" && location.hash === "")) return;
  // Walking through a list does not fill the browser's history.
  if ((changes.view ?? state.view) === state.view && "id" in changes) history.replaceState(null, "", text);
  else history.pushState(null, "", text);
  apply(true);
}

// Follows the address. Nobody's typing is overwritten, unless they went back or followed a link.
function apply(typing = false) {
  readState();
  for (const view of [...VIEWS, "incident"]) at(`${view}-view`).hidden = state.view !== view;
  for (const view of VIEWS) {
    const tab = at(`tab-${view}`);
    tab.setAttribute("aria-current", String(state.view === view || (view === "incidents" && state.view === "incident")));
    tab.setAttribute("href", address({ view }));
  }
  for (const name of FILTERS) {
    const input = at(`filter-${name}`);
    if (!typing || input !== document.activeElement) input.value = state[name];
  }
  at("filters").hidden = !["sessions", "fleet"].includes(state.view);
  for (const name of ["block", "score", "flagged"]) at(`filter-${name}`).parentElement.hidden = state.view !== "sessions";
  at("clear").hidden = !FILTERS.some((name) => state[name] !== (DEFAULTS[name] ?? ""));
  at("ranges").hidden = !["overview", "incidents", "templates"].includes(state.view);
  showRange();
  document.title = state.view === "incident" ? `${state.incident} · blocksift` : `${state.view} · blocksift`;
  refresh();
}

function showRange() {
  const zoomed = state.from !== "" && state.to !== "";
  at("range").value = zoomed ? "" : state.range;
  at("zoomed").hidden = !zoomed;
  at("zoomed").textContent = zoomed ? `${time(state.from).slice(0, 16)} – ${time(state.to).slice(0, 16)} ×` : "";
}

// Brings the view up to date.
async function refresh() {
  clearTimeout(timer);
  const mine = ++round;
  let next = IDLE_MS;
  try {
    last = Date.now();
    await views[state.view].refresh(state);
    if (mine === round) live("live", "live", "up to date");
  } catch (error) {
    if (mine !== round) return;
    next = RETRY_MS;
    if (!(error instanceof Refused)) throw error;
    if (error.status === 401) return logIn();
    if (error.status >= 400 && error.status < 500) live("refused", error.message);
    else live("broken", "collector not reachable", `${error.message}; trying again`);
  }
  if (mine === round) timer = setTimeout(refresh, next);
}

function live(kind, text, title = "") {
  const place = at("live");
  if (place.textContent !== text) place.textContent = text;
  place.title = title;
  place.className = kind;
}

// Something was stored. A page that nobody looks at waits until somebody does.
function news() {
  if (document.hidden) return;
  clearTimeout(timer);
  timer = setTimeout(refresh, Math.max(0, last + HURRY_MS - Date.now()));
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = event.target.closest("input, select, textarea") !== null;
  if (typing) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  let action = views[state.view].key?.(event);
  if (/^[1-6]$/.test(event.key)) action = () => go({ view: VIEWS[Number(event.key) - 1] });
  if (event.key === "/") action = () => { go({ view: "sessions" }); at("filter-block").select(); };
  if (event.key === "Escape" && state.view === "incident") action = () => history.back();
  if (!action) return;
  event.preventDefault();
  action();
}

let typed = 0;
function watchFilters() {
  at("filters").addEventListener("input", () => {
    clearTimeout(typed);
    typed = setTimeout(() => go(Object.fromEntries(FILTERS.map((name) => [name, at(`filter-${name}`).value.trim()]))), 300);
  });
  at("filters").addEventListener("submit", (event) => event.preventDefault());
  at("filters").addEventListener("reset", (event) => {
    event.preventDefault();
    document.activeElement?.blur();
    go({ node: "", block: "", score: "", flagged: "true" });
  });
  at("range").addEventListener("change", () => go({ range: at("range").value, from: "", to: "" }));
  at("zoomed").addEventListener("click", () => go({ from: "", to: "" }));
}

function logIn() {
  document.body.classList.add("locked");
  live("refused", "");
  showLogin(at("login"), () => location.reload());
}

async function start() {
  let person;
  try {
    person = await me();
  } catch (error) {
    if (error.status === 401) return logIn();
    live("broken", "collector not reachable", error.message);
    setTimeout(start, RETRY_MS);
    return undefined;
  }
  const root = (view) => at(`${view}-view`);
  views = {
    overview: new Overview(root("overview"), go), incidents: new Incidents(root("incidents"), go),
    incident: new IncidentView(root("incident"), go), sessions: new Browse(root("sessions"), go, person),
    fleet: new Fleet(root("fleet"), go), templates: new Templates(root("templates"), go), models: new Models(root("models")),
  };
  if (person.users) {
    const out = element("button", { type: "button", class: "link" }, "log out");
    out.addEventListener("click", async () => {
      await change("POST", "/api/logout");
      location.reload();
    });
    at("person").replaceChildren(person.name, " ", out);
  }
  watchFilters();
  document.addEventListener("keydown", onKey);
  document.addEventListener("visibilitychange", () => document.hidden || refresh());
  addEventListener("popstate", () => apply());
  listen(news, () => live("broken", "no news", "the collector does not answer; trying again"));
  apply();
  return undefined;
}

start();
