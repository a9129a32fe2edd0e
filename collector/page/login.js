// The login, where the collector has users.

import { change } from "./api.js";
import { element } from "./text.js";

// Shows the form until somebody is let in.
export function showLogin(root, done) {
  const name = element("input", { type: "text", "aria-label": "name", placeholder: "name", autocomplete: "username", required: "" });
  const password = element("input", { type: "password", "aria-label": "password", placeholder: "password", autocomplete: "current-password", required: "" });
  const trouble = element("p", { class: "trouble", role: "alert" });
  const form = element("form", { class: "login" }, element("h2", {}, "Log in"), name, password, element("button", { type: "submit" }, "log in"), trouble);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      await change("POST", "/api/login", { name: name.value, password: password.value });
      done();
    } catch (error) {
      trouble.textContent = error.message;
      password.select();
    }
  });
  root.replaceChildren(form);
  name.focus();
}
