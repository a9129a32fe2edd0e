// The nodes: who reports, how far behind, and whether every line is accounted for.

import { bytes, count, element, roughly, visible } from "./text.js";

// An agent sends a summary at least once a minute.
const QUIET_MS = 2 * 60_000;
const LOST_MS = 10 * 60_000;

// Name, title, class, sort value, cell.
const COLUMNS = [
  ["node", "", "name", (node) => node.node, (node) => button(node)],
  ["seen", "time since the agent was last heard of", "number", (node) => node.age_ms, (node) => seen(node)],
  ["flagged", "sessions flagged now, as stored here", "number", (node) => node.sessions_flagged, (node) => count(node.sessions_flagged)],
  ["scored", "times a session was scored", "number", (node) => node.metrics.sessions_scored, (node) => count(node.metrics.sessions_scored)],
  ["open", "sessions that the agent remembers", "number", (node) => node.metrics.sessions_open, (node) => count(node.metrics.sessions_open)],
  ["lag", "bytes of log not read yet", "number", (node) => node.metrics.lag_bytes, (node) => bytes(node.metrics.lag_bytes)],
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

export class NodeTable {
  constructor(filter) {
    this.filter = filter;
    this.table = document.getElementById("nodes-table");
    this.sort = { column: 0, down: false };
    this.nodes = [];
    this.table.tBodies[0].addEventListener("click", (event) => {
      const name = event.target.closest("button")?.dataset.node;
      if (name !== undefined) this.filter({ node: name, view: "sessions" });
    });
    this.heads = COLUMNS.map(([name, title, kind], column) => {
      const sort = element("button", { type: "button", title }, name);
      sort.addEventListener("click", () => {
        this.sort = { column, down: this.sort.column === column ? !this.sort.down : kind === "number" };
        this.render();
      });
      return element("th", { scope: "col", class: kind }, sort);
    });
    this.table.tHead.append(element("tr", {}, ...this.heads));
  }

  // Shows the nodes whose name contains `text`.
  show(nodes, text) {
    this.nodes = nodes.filter((node) => node.node.includes(text));
    this.render();
  }

  render() {
    const { column, down } = this.sort;
    const value = COLUMNS[column][3];
    const sorted = [...this.nodes].sort((a, b) => order(value(a), value(b)) * (down ? -1 : 1) || order(a.node, b.node));
    this.heads.forEach((head, index) => {
      head.setAttribute("aria-sort", index === column ? (down ? "descending" : "ascending") : "none");
    });
    const focused = this.table.contains(document.activeElement) ? document.activeElement.dataset.node : undefined;
    this.table.tBodies[0].replaceChildren(...sorted.map(row));
    if (focused === undefined) return;
    for (const candidate of this.table.querySelectorAll("tbody button")) {
      if (candidate.dataset.node === focused) candidate.focus({ preventScroll: true });
    }
  }
}

// How long ago each node was heard of, by the collector's clock, and whether that is fine.
export function withAge(nodes, now) {
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
