// What both pages have around the picture: tools, buttons, messages, keys and the theme.

import { element } from "./tiles.js";

const NEWS_MS = 3000;
const BAD_NEWS_MS = 8000;

export const get = (id) => document.getElementById(id);

let readUntil = 0;

/** True until what was said last has been there long enough to be read. */
export const isBeingRead = () => performance.now() < readUntil;

export function say(id, text, bad = false) {
  get(id).textContent = get(id).title = text;
  get(id).classList.toggle("bad", bad);
}

/** Say something, and leave it there long enough to be read; good news never hide bad ones. */
export function status(text, bad = false) {
  if (!bad && isBeingRead() && get("status").classList.contains("bad")) return;
  readUntil = performance.now() + (bad ? BAD_NEWS_MS : NEWS_MS);
  say("status", text, bad);
}

/** What an Error says, and how to fix it. */
export const reasonOf = ({ message, hint }) => [message, hint].filter(Boolean).join("; ");

export const fail = (error) => status(reasonOf(error), true);

export function press(item, on) {
  item.setAttribute("aria-pressed", String(on));
}

/** Let the buttons choose the tool of a stage; a function that chooses it by its name. */
export function toolsOf(stage) {
  const items = document.querySelectorAll("[data-tool]");
  const setTool = (tool) => {
    stage.tool = tool;
    for (const item of items) press(item, item.dataset.tool === tool);
  };
  for (const item of items) item.addEventListener("click", () => setTool(item.dataset.tool));
  return setTool;
}

/** Be dark or light: as is said, or what the page is not. */
export function theme(next = document.documentElement.dataset.theme === "light" ? "dark" : "light") {
  document.documentElement.dataset.theme = next;
  localStorage.setItem("theme", next);
}

/** The theme that was chosen before, or else the system's. */
export const knownTheme = () =>
  localStorage.getItem("theme") ?? (matchMedia("(prefers-color-scheme: light)").matches ? "light" : "dark");

/** List terms and what they mean. */
export function explain(id, rows) {
  for (const [term, what] of rows) get(id).append(element("dt", "", term), element("dd", "", what));
}
