// Marks: "real" or "false alarm", with a comment.

import { change } from "./api.js";
import { element, time, visible } from "./text.js";

const MARKS = ["real", "false alarm"];

// The form under a session's heading; `changed` is called after a change.
export function markForm(session, person, changed) {
  const path = `/api/sessions/${encodeURIComponent(session.id)}/mark`;
  const { mark } = session;
  const said = mark ? [element("b", {}, mark.mark), mark.comment ? element("q", {}, visible(mark.comment)) : null,
    element("span", { class: "dim" }, `${mark.marked_by ? "by " : ""}`, visible(mark.marked_by), ` ${time(mark.marked).slice(0, 16)}`)] : [];
  if (person.role !== "operate") return mark ? element("div", { class: "mark" }, "marked", ...said) : null;
  const comment = element("input", { type: "text", "aria-label": "comment", placeholder: "comment (optional)", maxlength: 2000 });
  comment.value = mark?.comment ?? "";
  const trouble = element("span", { class: "trouble", role: "alert" });
  const act = async (method, body) => {
    try {
      await change(method, path, body);
      changed();
    } catch (error) {
      trouble.textContent = error.message;
    }
  };
  const buttons = MARKS.map((name) => {
    const button = element("button", { type: "button", "aria-pressed": String(mark?.mark === name) }, name);
    button.addEventListener("click", () => act("PUT", { mark: name, comment: comment.value }));
    return button;
  });
  const away = element("button", { type: "button" }, "take away");
  away.addEventListener("click", () => act("DELETE"));
  return element("div", { class: "mark" }, "it is ", ...buttons, comment, mark ? away : null, ...said.slice(2), trouble);
}
