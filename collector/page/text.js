// Text and elements. Everything that came from a log is hostile: it becomes text nodes, never markup, and characters that
// a terminal or browser would act on instead of showing are spelled out.

// C0 and C1 controls but for line feed and tab, soft hyphen, zero-width and bidirectional controls, line separators,
// interlinear annotations, tags, variation selectors.
const UNSEEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202f\u205f-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffc\u{1d173}-\u{1d17a}\u{e0000}-\u{e0fff}]/gu;

// A character that is not to be seen, spelled out: ESC, or U+202E.
function spelled(character) {
  const code = character.codePointAt(0);
  const names = { 0: "NUL", 7: "BEL", 8: "BS", 13: "CR", 27: "ESC", 127: "DEL" };
  return names[code] ?? "U+" + code.toString(16).toUpperCase().padStart(4, "0");
}

// A fragment that shows `text` exactly; `mark` is emphasised wherever it occurs.
export function visible(text, mark = "") {
  const fragment = document.createDocumentFragment();
  let rest = 0;
  for (const match of text.matchAll(UNSEEN)) {
    marked(fragment, text.slice(rest, match.index), mark);
    fragment.append(element("span", { class: "unseen", title: "a character that has no shape" }, spelled(match[0])));
    rest = match.index + match[0].length;
  }
  marked(fragment, text.slice(rest), mark);
  return fragment;
}

function marked(fragment, text, mark) {
  const parts = mark ? text.split(mark) : [text];
  parts.forEach((part, index) => {
    if (index > 0) fragment.append(element("mark", {}, mark));
    fragment.append(part);
  });
}

// What the clipboard gets: the text, unseen characters spelled out so that pasting into a terminal does nothing.
export function copyable(text) {
  return text.replace(UNSEEN, (character) => `<${spelled(character)}>`);
}

const ATTRIBUTES = ["type", "scope", "role", "tabindex", "colspan", "placeholder", "autocomplete", "required", "maxlength",
  "aria-label", "aria-selected", "aria-sort", "aria-pressed"];

// An element with text or elements in it. Only these properties, so that no text can become a handler or an address.
export function element(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === "class") node.className = value;
    else if (name === "title") node.title = copyable(value);
    else if (ATTRIBUTES.includes(name)) node.setAttribute(name, value);
    else throw new Error(`element: property ${name}`);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

// A button that copies.
export function copyButton(label, text) {
  const button = element("button", { type: "button", class: "copy", title: `copy ${label}`, "aria-label": `copy ${label}` }, "copy");
  button.addEventListener("click", async (event) => {
    event.stopPropagation();
    button.textContent = (await copied(copyable(text))) ? "copied" : "failed";
    setTimeout(() => { button.textContent = "copy"; }, 1500);
  });
  return button;
}

// The clipboard API exists on loopback and behind TLS only; elsewhere the old way still works.
async function copied(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = element("textarea", { class: "offscreen" });
    area.value = text;
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }
}

// "2008-11-09 20:35:18.123" of an RFC 3339 time in UTC, without a fraction of zero; what is no time is shown as it is.
export function time(text) {
  const match = /^(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d(?:\.\d*[1-9])?)(?:\.?0+)?Z$/.exec(text);
  return match ? `${match[1]} ${match[2]}` : text;
}

// A length of time in at most two units: "2 h 3 min".
export function span(ms) {
  const seconds = Math.max(0, ms) / 1000;
  if (seconds < 1) return seconds === 0 ? "0 s" : `${Math.round(ms)} ms`;
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return minutes < 10 ? `${minutes} min ${Math.floor(seconds % 60)} s` : `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return hours < 10 && minutes % 60 ? `${hours} h ${minutes % 60} min` : `${hours} h`;
  return `${Math.floor(hours / 24)} d`;
}

// A length of time in one unit: "3 min".
export function roughly(ms) {
  const seconds = Math.max(0, ms) / 1000;
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  return seconds < 48 * 3600 ? `${Math.floor(seconds / 3600)} h` : `${Math.floor(seconds / 86_400)} d`;
}

// A count with separators; nothing for what is not known.
export function count(number) {
  return typeof number === "number" ? Math.round(number).toLocaleString("en-US") : "–";
}

// Bytes in the unit that keeps them short.
export function bytes(number) {
  if (typeof number !== "number") return "–";
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  let unit = 0;
  while (number >= 1024 && unit < units.length - 1) {
    number /= 1024;
    unit += 1;
  }
  return `${unit === 0 || number >= 100 ? Math.round(number) : number.toFixed(1)} ${units[unit]}`;
}

// A share in percent, with as many digits as say something.
export function percent(share) {
  const value = 100 * share;
  if (value === 0) return "0 %";
  return `${value >= 10 ? Math.round(value) : value >= 1 ? value.toFixed(1) : value >= 0.01 ? value.toFixed(2) : value.toPrecision(1)} %`;
}
