// The nodes: who reports, how far behind, and whether every line is accounted for.

import { ask } from "./api.js";
import { bytes, count, element, percent, roughly, span, visible } from "./text.js";

// An agent sends a summary at least once a minute.
const QUIET_MS = 2 * 60_000;
const LOST_MS = 10 * 60_000;

// Name, title, class, sort value, cell.
const COLUMNS = [
  ["node", "", "name", (node) => node.node, (node) => button(node)],
  ["seen", "time since the agent was last heard of", "number", (node) => node.age_ms, (node) => seen(node)],
  ["flagged", "sessions flagged now, as stored here", "number", (node) => node.sessions_flagged, (node) => count(node.sessions_flagged)],
  ["rate", "share of scored sessions that are flagged", "number", (node) => rate(node), (node) => (rate(node) === undefined ? "–" : percent(rate(node)))],
  ["scored", "times a session was scored", "number", (node) => node.metrics.sessions_scored, (node) => count(node.metrics.sessions_scored)],
  ["open", "sessions that the agent remembers", "number", (node) => node.metrics.sessions_open, (node) => count(node.metrics.sessions_open)],
  ["lag", "bytes of log not read yet", "number", (node) => node.metrics.lag_bytes, (node) => bytes(node.metrics.lag_bytes)],
  ["behind", "age of the oldest line not read yet", "number", (node) => node.metrics.lag_ms, (node) => (node.metrics.lag_ms === undefined ? "–" : span(node.metrics.lag_ms))],
  ["spool", "reports that wait at the agent", "number", (node) => node.metrics.spool_reports, (node) => count(node.metrics.spool_reports)],
  ["lines read", "", "number", (node) => node.metrics.lines_read, (node) => count(node.metrics.lines_read)],
  ["in sessions", "lines that name a block", "number", (node) => node.metrics.lines_in_sessions, (node) => count(node.metrics.lines_in_sessions)],
  ["without key", "lines that name no block", "number", (node) => node.metrics.lines_without_key, (node) => count(node.metrics.lines_without_key)],
  ["skipped", "lines that belong to no record", "number", (node) => skipped(node), (node) => skippedCell(node)],
  ["ledger", "lines read = in sessions + without key + skipped", "", (node) => ledger(node), (node) => ledgerCell(node)],
  ["log read", "bytes of log", "number", (node) => node.metrics.bytes_read, (node) => bytes(node.metrics.bytes_read)],
  ["shipped", "bytes sent to the collector", "number", (node) => node.metrics.bytes_shipped, (node) => bytes(node.metrics.bytes_shipped)],
  ["agent", "version", "name", (node) => node.agent_version, (node) => visible(node.agent_version || "–")],
  ["model", "", "name", (node) => node.model, (node) => visible(node.model || "–")],
];

// Height of a row in pixels, as the style sheet has it, and rows drawn beyond those that are seen.
const ROW = 24;
const SPARE = 12;
const REFRESH_MS = 5_000;

// The fleet. Of thousands of rows only those are in the page that can be seen.
export class Fleet {
  constructor(root, go) {
    this.go = go;
    this.sort = { column: 1, down: true };
    this.nodes = [];
    this.shown = [];
    this.asked = 0;
    this.summary = element("p", { class: "summary" });
    this.body = element("tbody", {});
    this.heads = COLUMNS.map(([name, title, kind], column) => {
      const sort = element("button", { type: "button", title }, name);
      sort.addEventListener("click", () => {
        this.sort = { column, down: this.sort.column === column ? !this.sort.down : kind === "number" };
        this.order();
      });
      return element("th", { scope: "col", class: kind }, sort);
    });
    this.table = element("table", { class: "fleet" }, element("thead", {}, element("tr", {}, ...this.heads)), this.body);
    this.scroller = element("div", { class: "scroller", tabindex: "0", "aria-label": "nodes" }, this.table);
    this.empty = element("p", { class: "note" }, "No agent has reported yet.");
    root.append(this.summary, this.scroller, this.empty);
    this.scroller.addEventListener("scroll", () => this.draw());
    new ResizeObserver(() => this.draw()).observe(this.scroller);
    this.body.addEventListener("click", (event) => {
      const name = event.target.closest("button")?.dataset.node;
      if (name !== undefined) this.go({ view: "sessions", node: name, block: "", id: "" });
    });
  }

  async refresh(state) {
    // The list is long; it need not follow every report.
    if (Date.now() - this.asked >= REFRESH_MS) {
      const fleet = await ask("/api/nodes?limit=10000");
      this.asked = Date.now();
      this.nodes = withAge(fleet.nodes, fleet.now);
      this.showSummary();
    }
    this.text = state.node;
    this.order();
  }

  showSummary() {
    const sum = (name) => this.nodes.reduce((total, node) => total + (node.metrics[name] ?? 0), 0);
    const of = (kind) => this.nodes.filter((node) => node.state === kind).length;
    const states = [["fine", "reporting"], ["quiet", "quiet for 2 min"], ["lost", "quiet for 10 min"]].filter(([kind]) => of(kind) > 0);
    this.summary.replaceChildren(
      ...states.map(([kind, words]) => element("span", { class: `state ${kind}` }, `${count(of(kind))} ${words}`)),
      ...[`${count(sum("lines_read"))} lines read`, `${count(sum("sessions_scored"))} sessions scored`, `${bytes(sum("bytes_read"))} of log`,
        `${bytes(sum("bytes_shipped"))} shipped`, `lag ${bytes(sum("lag_bytes"))}`].map((fact) => element("span", {}, fact)));
  }

  // Sorts, filters by the node's name, and draws.
  order() {
    const { column, down } = this.sort;
    const value = COLUMNS[column][3];
    this.shown = this.nodes.filter((node) => node.node.includes(this.text ?? ""))
      .sort((a, b) => order(value(a), value(b)) * (down ? -1 : 1) || order(a.node, b.node));
    this.heads.forEach((head, index) => head.setAttribute("aria-sort", index === column ? (down ? "descending" : "ascending") : "none"));
    this.scroller.hidden = this.shown.length === 0;
    this.empty.hidden = this.shown.length > 0;
    this.empty.textContent = this.nodes.length > 0 ? "No node has a name like this." : "No agent has reported yet.";
    this.draw();
  }

  draw() {
    const first = Math.max(0, Math.floor(this.scroller.scrollTop / ROW) - SPARE);
    const last = Math.min(this.shown.length, first + Math.ceil(this.scroller.clientHeight / ROW) + 2 * SPARE);
    const focused = this.body.contains(document.activeElement) ? document.activeElement.dataset.node : undefined;
    this.body.replaceChildren(space(first), ...this.shown.slice(first, last).map(row), space(this.shown.length - last));
    if (focused === undefined) return;
    for (const candidate of this.body.querySelectorAll("button")) {
      if (candidate.dataset.node === focused) candidate.focus({ preventScroll: true });
    }
  }
}

// Stands for rows that are not drawn.
function space(rows) {
  const cell = element("td", { colspan: COLUMNS.length });
  cell.style.height = `${rows * ROW}px`;
  const line = element("tr", { class: "space" }, cell);
  line.hidden = rows === 0;
  return line;
}

// How long ago each node was heard of, by the collector's clock, and whether that is fine.
function withAge(nodes, now) {
  return nodes.map((node) => {
    const age_ms = Math.max(0, Date.parse(now) - Date.parse(node.last_seen));
    return { ...node, age_ms, state: age_ms > LOST_MS ? "lost" : age_ms > QUIET_MS ? "quiet" : "fine" };
  });
}

function order(a, b) {
  if (a === b) return 0;
  if (a === undefined) return -1;
  if (b === undefined) return 1;
  return typeof a === "string" ? a.localeCompare(b, "en", { numeric: true }) : a - b;
}

function row(node) {
  return element("tr", {}, ...COLUMNS.map(([, , kind, , cell]) => element("td", { class: kind }, cell(node))));
}

function rate(node) {
  const { sessions_scored } = node.metrics;
  return sessions_scored > 0 ? Math.min(1, node.sessions_flagged / sessions_scored) : undefined;
}

function button(node) {
  const link = element("button", { type: "button", class: "link", title: "show its sessions" }, visible(node.node));
  link.dataset.node = node.node;
  return link;
}

function seen(node) {
  return element("span", { class: `state ${node.state}`, title: node.last_seen }, roughly(node.age_ms));
}

function skipped(node) {
  const value = node.metrics.lines_skipped;
  if (value === undefined || typeof value === "number") return value;
  return Object.values(value).reduce((sum, part) => sum + part, 0);
}

function skippedCell(node) {
  const value = node.metrics.lines_skipped;
  const parts = typeof value === "object" ? Object.entries(value).map(([reason, lines]) => `${reason}: ${count(lines)}`) : [];
  return element("span", { title: parts.join(", ") }, count(skipped(node)));
}

// Lines that are in no class; undefined where the node has not said.
function ledger(node) {
  const { lines_read, lines_in_sessions, lines_without_key } = node.metrics;
  const missing = lines_read - lines_in_sessions - lines_without_key - (skipped(node) ?? 0);
  return Number.isNaN(missing) ? undefined : missing;
}

function ledgerCell(node) {
  const missing = ledger(node);
  if (missing === undefined) return "–";
  if (missing === 0) return element("span", { class: "state fine", title: "every line read is accounted for" }, "adds up");
  return element("span", { class: "state lost" }, `${count(missing)} off`);
}
