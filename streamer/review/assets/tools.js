/* What every part of the review page needs: elements, messages, requests, words for numbers. */

const COLOURED = ["negative", "positive", "surprise", "unsure"];

export const $ = (id) => document.getElementById(id);

export const store = {
  get: (name) => {
    try { return localStorage.getItem(`glint-review-${name}`); } catch { return null; }
  },
  set: (name, value) => {
    try { localStorage.setItem(`glint-review-${name}`, value); } catch { /* a private window */ }
  },
};

/** Build an element; `text` is never taken for markup. */
export const make = (tag, attributes = {}, ...children) => {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name in node && typeof value !== "string") node[name] = value;
    else node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
};

/** Say something for some seconds; an action is offered for longer. */
export const toast = (text, { error = false, action = null } = {}) => {
  const node = make("div", { class: error ? "toast error" : "toast" }, make("span", {}, text));
  if (action) node.append(make("button", { type: "button", onclick: () => { node.remove(); action.run(); } }, action.name));
  $("toasts").append(node);
  setTimeout(() => node.remove(), error ? 9000 : action ? 15000 : 2600);
};

/** Ask the server; what it refuses becomes an error with its sentence. */
export const ask = async (path, options = {}) => {
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new Error("The review does not answer: is it still running?");
  }
  if (response.ok) return response;
  const told = await response.json().catch(() => ({}));
  throw new Error(told.error || `The review refused this (${response.status}).`);
};
export const read = async (path) => (await ask(path)).json();
export const send = async (path, body) => (await ask(path, { method: "POST", body: JSON.stringify(body) })).json();
/** The same function, with its errors said instead of thrown. */
export const attempt = (work) => async (...given) => {
  try {
    return await work(...given);
  } catch (error) {
    toast(error.message, { error: true });
    return undefined;
  }
};

export const clock = (seconds, decimals = 3) => {
  const rounded = Number(seconds.toFixed(decimals)); // not 0:60.000
  const minutes = Math.floor(rounded / 60);
  const rest = (rounded - 60 * minutes).toFixed(decimals).padStart(decimals ? 3 + decimals : 2, "0");
  const hours = Math.floor(minutes / 60);
  return hours ? `${hours}:${String(minutes % 60).padStart(2, "0")}:${rest}` : `${minutes}:${rest}`;
};
export const ms = (seconds) => `${Math.round(1000 * seconds)} ms`;
export const words = (name) => String(name).replaceAll("_", " ");
export const day = (utc) => new Date(utc).toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
export const number = (value, digits = 2) => (value === null || value === undefined ? "–" : value.toFixed(digits));
export const colourOf = (emotion) => (COLOURED.includes(emotion) ? emotion : "other");
export const dot = (emotion) => make("i", { class: `dot e-${colourOf(emotion)}` });

export const download = async (path) => {
  const response = await ask(path);
  const named = /filename\*?=(?:utf-8'')?"?([^";]+)/i.exec(response.headers.get("content-disposition") || "");
  const address = URL.createObjectURL(await response.blob());
  make("a", { href: address, download: named ? decodeURIComponent(named[1]) : "export" }).click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
};
/** Last part of a path. */
export const shorter = (path) => path.split(/[\\/]/).filter(Boolean).pop() || path;
