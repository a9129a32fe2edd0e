// Sessions: the list, newest first, and beside it the session that is open.

import { ask, query, Refused } from "./api.js";
import { SessionList } from "./sessions.js";
import { showNote, showSession } from "./session.js";
import { element } from "./text.js";

const PAGE = 100; // sessions per page
const SHOWN_MAX = 500; // sessions kept fresh; the API's limit
const at = (id) => document.getElementById(id);

export class Browse {
  constructor(root, go, person) {
    this.go = go;
    this.person = person;
    this.list = new SessionList((id) => go({ id }));
    this.listed = ""; // the filter that the list shows
    this.shown = []; // sessions in the list
    this.held = []; // what the last answer had but the list does not show yet
    this.next = null; // cursor of older sessions
    this.opened = ""; // id and arrival of the session on the right
    at("fresh").addEventListener("click", () => {
      at("list").scrollTop = 0;
      this.showList(this.held);
    });
    at("older").addEventListener("click", () => this.showOlder());
  }

  async refresh(state) {
    this.state = state;
    this.list.select(state.id);
    document.body.classList.toggle("reading", state.id !== "");
    const filter = query({ flagged: state.flagged, node: state.node, block: state.block, min_score: state.score });
    if (this.listed !== filter) {
      this.listed = filter;
      this.shown = [];
      this.list.clear();
      at("list").scrollTop = 0;
    }
    at("export-csv").setAttribute("href", `/api/sessions?${filter}&format=csv`);
    at("export-ndjson").setAttribute("href", `/api/sessions?${filter}&format=ndjson`);
    const limit = Math.min(SHOWN_MAX, Math.max(PAGE, this.shown.length));
    const page = await ask(`/api/sessions?${filter}&limit=${limit}`);
    if (filter === this.listed) this.receive(page, limit);
    await this.showOpened(state.id);
  }

  // Sessions older than the newest page stay as they were when somebody asked for them.
  receive(page, limit) {
    const oldest = page.sessions.at(-1)?.cursor ?? 0;
    const ids = new Set(page.sessions.map((session) => session.id));
    const older = page.next === null ? [] : this.shown.filter((session) => session.cursor < oldest && !ids.has(session.id));
    if (older.length === 0) this.next = page.next;
    this.held = [...page.sessions, ...older];
    const fresh = this.list.unknown(page.sessions).filter((session) => this.shown.length > 0 && session.cursor > this.shown[0].cursor);
    const wait = this.list.isScrolled() && fresh.length > 0;
    at("fresh").hidden = !wait;
    if (wait) at("fresh").textContent = `↑ ${fresh.length}${fresh.length === limit ? "+" : ""} new`;
    else this.showList(this.held);
  }

  showList(sessions) {
    this.shown = sessions;
    this.list.show(sessions);
    at("fresh").hidden = true;
    at("older").hidden = this.next === null;
    at("list").classList.toggle("is-empty", sessions.length === 0);
    at("empty").hidden = sessions.length > 0;
    const { node, block, score, flagged } = this.state;
    const filtered = node || block || score || flagged !== "true";
    at("empty").replaceChildren(element("h2", {}, filtered ? "No session matches the filter" : "Nothing is flagged"),
      element("p", {}, filtered ? "Change it or press clear, top right." : "Flagged sessions appear here by themselves."));
  }

  async showOlder() {
    const filter = this.listed;
    const page = await ask(`/api/sessions?${filter}&limit=${PAGE}&before=${this.next}`);
    if (filter !== this.listed) return;
    this.next = page.next;
    const ids = new Set(this.shown.map((session) => session.id));
    this.showList([...this.shown, ...page.sessions.filter((session) => !ids.has(session.id))]);
  }

  // The session on the right; drawn again only when it has changed.
  async showOpened(id) {
    const root = at("session");
    if (id === "") {
      if (this.opened !== "none") showNote(root, "Choose a session to see its events.");
      this.opened = "none";
      return;
    }
    try {
      const session = await ask(`/api/sessions/${encodeURIComponent(id)}`);
      const related = session.block ? (await ask(`/api/sessions?${query({ block: session.block, flagged: "any", limit: 50 })}`)).sessions : [];
      if (id !== this.state.id) return;
      const version = [id, session.received, session.mark?.marked, ...related.map((other) => other.cursor)].join();
      if (version === this.opened) return;
      this.opened = version;
      const pool = session.pool || related.find((other) => other.pool)?.pool;
      showSession(root, session, related, this.person, {
        filter: (changes) => this.go(changes),
        open: (other) => this.go({ id: other }),
        incident: () => this.go({ view: "incident", incident: pool ? `${pool}:${session.block}` : session.block }),
        close: () => this.go({ id: "" }),
        changed: () => this.showOpened(id),
      });
    } catch (error) {
      if (!(error instanceof Refused) || error.status === 0 || error.status === 401) throw error;
      this.opened = "";
      showNote(root, error.message);
    }
  }

  // The keys that this view has beside those of the page.
  key(event) {
    const inSession = at("session").contains(event.target);
    if (event.key === "Escape" && this.state.id) return () => this.go({ id: "" });
    if (event.key === "j" || (event.key === "ArrowDown" && !inSession)) return () => this.list.move(1);
    if (event.key === "k" || (event.key === "ArrowUp" && !inSession)) return () => this.list.move(-1);
    if (event.key === "Enter" && event.target.closest("tr[data-id]")) return () => at("session").focus();
    return undefined;
  }
}
