// The list of sessions: rows keyed by session id, updated in place, so that a poll moves neither scroll, selection nor focus.

import { count, element, roughly, time, visible } from "./text.js";

export class SessionList {
  constructor(open) {
    this.open = open;
    this.rows = document.getElementById("rows");
    this.scroller = document.getElementById("list");
    this.byId = new Map(); // id -> { session, row }
    this.selected = "";
    this.rows.addEventListener("click", (event) => {
      const row = event.target.closest("tr");
      if (row) this.open(row.dataset.id);
    });
  }

  // Sessions by id that are not shown yet.
  unknown(sessions) {
    return sessions.filter((session) => !this.byId.has(session.id));
  }

  // Whether new rows on top would move what somebody is reading.
  isScrolled() {
    return this.scroller.scrollTop > 4;
  }

  clear() {
    this.byId.clear();
    this.rows.replaceChildren();
  }

  // Shows exactly `sessions`, in their order.
  show(sessions) {
    const keep = new Set(sessions.map((session) => session.id));
    for (const [id, { row }] of this.byId) {
      if (!keep.has(id)) {
        row.remove();
        this.byId.delete(id);
      }
    }
    let next = this.rows.firstElementChild;
    for (const session of sessions) {
      const row = this.rowOf(session);
      if (row === next) next = next.nextElementSibling;
      else this.rows.insertBefore(row, next);
    }
    this.mark();
  }

  rowOf(session) {
    const known = this.byId.get(session.id);
    if (known && known.session.cursor === session.cursor) {
      known.row.querySelector(".arrived").textContent = arrived(session);
      return known.row;
    }
    const row = known?.row ?? element("tr", { tabindex: "-1" });
    row.dataset.id = session.id;
    row.replaceChildren(...cells(session));
    this.byId.set(session.id, { session, row });
    return row;
  }

  // Marks the session that is open. One row is in the tab order: it, or the first.
  select(id) {
    this.selected = id;
    this.mark();
  }

  mark() {
    const tabbed = this.byId.get(this.selected)?.row ?? this.rows.firstElementChild;
    for (const row of this.rows.children) {
      row.setAttribute("aria-selected", String(row.dataset.id === this.selected));
      row.tabIndex = row === tabbed ? 0 : -1;
    }
  }

  // Opens the row `step` rows on.
  move(step) {
    const rows = [...this.rows.children];
    const current = rows.findIndex((row) => row.dataset.id === this.selected);
    const row = rows[Math.min(rows.length - 1, Math.max(0, current < 0 ? 0 : current + step))];
    if (!row) return;
    row.focus({ preventScroll: true });
    row.scrollIntoView({ block: "nearest" });
    this.open(row.dataset.id);
  }
}

function cells(session) {
  return [
    element("td", { class: "number" }, score(session)),
    element("td", { class: "name", title: session.node }, visible(session.node)),
    element("td", { class: "block", title: session.pool ? `${session.pool}:${session.block}` : session.block }, visible(session.block || "(node)")),
    element("td", { class: "number" }, count(session.events)),
    element("td", { class: "number time", title: `${session.start} to ${session.end}` }, shortTime(session.end)),
    element("td", { class: "number dim arrived", title: session.received }, arrived(session)),
    element("td", { class: "reasons" }, ...reasons(session)),
  ];
}

// A score with a bar behind it that begins at 0 and a colour that begins at the threshold.
export function score(session) {
  const bar = element("span", { class: "bar" });
  bar.style.width = `${100 * session.score}%`;
  const kind = session.flagged ? (session.score >= session.threshold ? "score high" : "score rule") : "score low";
  const title = `score ${session.score}, threshold ${session.threshold}`;
  return element("span", { class: kind, title }, bar, element("b", {}, session.score.toFixed(2)));
}

export function reasons(session) {
  if (!session.flagged) return [element("span", { class: "reason back" }, "taken back")];
  return session.reasons.map((reason) => element("span", { class: "reason" }, visible(reason.replaceAll("_", " "))));
}

function arrived(session) {
  return roughly(Date.now() - Date.parse(session.received));
}

// Without the day where it is today, without the year where it is this one, without fractions.
function shortTime(text) {
  const shown = time(text).replace(/\.\d+$/, "");
  const today = new Date().toISOString();
  if (shown.startsWith(today.slice(0, 10))) return shown.slice(11);
  return shown.startsWith(today.slice(0, 5)) ? shown.slice(5) : shown;
}
