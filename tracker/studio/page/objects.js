// The list of objects of the stream that is shown large.

import { button, element } from "./tiles.js";

const ACTIONS = [
  ["ask", "Rename", "R"], ["reset", "Reset", "Forget what it looks like"], ["remove", "Remove", "Delete"],
];

export class Objects extends EventTarget {
  #list;
  #colourOf;
  #rows = new Map();

  #actions;

  constructor(list, colourOf, actions = ACTIONS) {
    super();
    this.#actions = actions;
    this.#list = list;
    this.#colourOf = colourOf;
  }

  /** Follow the objects of a scene. */
  update(objects, selected) {
    const ids = new Set(objects.map(({ id }) => id));
    for (const [id, row] of this.#rows) {
      if (!ids.has(id)) { row.root.remove(); this.#rows.delete(id); }
    }
    for (const item of objects) {
      const row = this.#rows.get(item.id) ?? this.#make(item.id);
      row.item = item;
      const name = `${item.id} ${item.label ?? ""}`;
      if (row.name.textContent !== name) row.name.textContent = row.name.title = name;
      row.state.textContent = item.state === "visible" ? `visible ${item.score.toFixed(2)}` : item.state;
      row.state.className = `state ${item.state}`;
      row.root.classList.toggle("chosen", item.id === selected);
    }
  }

  /** Ask for a new name in the row of an object. */
  rename(id) {
    const row = this.#rows.get(id);
    if (!row || row.input) return;
    const input = element("input");
    input.value = row.item.label ?? "";
    input.maxLength = 200;
    row.input = input;
    row.name.replaceWith(input);
    input.focus();
    input.select();
    const end = (keep) => {
      if (!row.input) return;
      row.input = null;
      input.replaceWith(row.name);
      if (keep) this.#emit("rename", { id, label: input.value.trim() || null });
    };
    input.addEventListener("keydown", (event) => {
      event.stopPropagation();
      if (event.key === "Enter") end(true);
      if (event.key === "Escape") end(false);
    });
    input.addEventListener("blur", () => end(true));
  }

  #make(id) {
    const root = element("li");
    root.tabIndex = 0;
    const swatch = element("span", "swatch");
    const [red, green, blue] = this.#colourOf(id);
    swatch.style.background = `rgb(${red} ${green} ${blue})`;
    const name = element("span", "name");
    const state = element("span", "state");
    const row = element("div", "do");
    for (const [type, text, title] of this.#actions) {
      const action = button(text, title);
      action.addEventListener("click", (event) => {
        event.stopPropagation();
        if (type === "ask") this.rename(id);
        else this.#emit(type, { id });
      });
      row.append(action);
    }
    root.append(swatch, name, state, row);
    root.addEventListener("click", () => this.#emit("select", { id }));
    root.addEventListener("keydown", ({ key, target }) => {
      if (key === "Enter" && target === root) this.#emit("select", { id });
    });
    const made = { root, name, state, item: null, input: null };
    this.#rows.set(id, made);
    this.#list.append(root);
    return made;
  }

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
