// The streams: a small picture each, its state, and what can be done with it.

const SIDE_PX = 320;
const MIRROR_MS = 500;
const STATES = {
  connecting: "connecting", running: "running", retrying: "trying again", failed: "failed",
  paused: "paused", ended: "ended", added: "added", removed: "removed",
};

export class Tiles extends EventTarget {
  #list;
  #tiles = new Map();
  #colourOf;
  chosen = null;

  constructor(list, colourOf) {
    super();
    this.#list = list;
    this.#colourOf = colourOf;
  }

  get names() {
    return [...this.#tiles.keys()];
  }

  /** Follow the list of streams. */
  update(streams) {
    const names = new Set(streams.map(({ stream }) => stream));
    for (const [name, tile] of this.#tiles) {
      if (!names.has(name)) { tile.root.remove(); this.#tiles.delete(name); }
    }
    for (const info of streams) {
      const tile = this.#tiles.get(info.stream) ?? this.#make(info.stream);
      tile.info = info;
      const pace = info.state === "running" ? `, ${info.fps.toFixed(1)} fps` : "";
      tile.facts.textContent = `${STATES[info.state] ?? info.state}${pace}`;
      tile.count = `${info.objects} ${info.objects === 1 ? "object" : "objects"}`;
      tile.why.textContent = info.error;
      tile.why.title = info.error;
      tile.root.title = `${info.url} ${info.width}×${info.height}`;
      tile.pause.textContent = info.state === "paused" ? "Resume" : "Pause";
    }
  }

  choose(name) {
    this.chosen = name;
    for (const [other, tile] of this.#tiles) tile.root.classList.toggle("chosen", other === name);
  }

  async show(scene) {
    const tile = this.#tiles.get(scene.stream);
    if (!tile) return;
    const bitmap = await createImageBitmap(scene.jpeg);
    const { canvas } = tile;
    if (canvas.width !== bitmap.width || canvas.height !== bitmap.height) {
      canvas.width = bitmap.width;
      canvas.height = bitmap.height;
    }
    const context = canvas.getContext("2d");
    const scale = bitmap.width / scene.frame.width;
    context.drawImage(bitmap, 0, 0);
    context.lineWidth = 2;
    for (const { id, box } of scene.objects) {
      if (!box) continue;
      const [red, green, blue] = this.#colourOf(id);
      context.strokeStyle = `rgb(${red} ${green} ${blue})`;
      context.strokeRect(box[0] * scale, box[1] * scale, (box[2] - box[0]) * scale, (box[3] - box[1]) * scale);
    }
    bitmap.close();
    this.age(scene);
  }

  /** Show what the large picture shows, twice a second. */
  mirror(scene, from) {
    const tile = this.#tiles.get(scene.stream);
    if (!tile) return;
    this.age(scene);
    const now = performance.now();
    if (now - tile.mirrored < MIRROR_MS) return;
    tile.mirrored = now;
    tile.canvas.width = SIDE_PX;
    tile.canvas.height = Math.max(1, Math.round((SIDE_PX * from.height) / from.width));
    tile.canvas.getContext("2d").drawImage(from, 0, 0, tile.canvas.width, tile.canvas.height);
  }

  /** Say how old the newest picture is. */
  age(scene) {
    const tile = this.#tiles.get(scene.stream);
    if (tile) tile.age.textContent = `${tile.count}, ${Math.round(scene.total_ms)} ms`;
  }

  #make(name) {
    const root = element("div", "tile");
    root.tabIndex = 0;
    const canvas = element("canvas");
    const age = element("div", "facts");
    const facts = element("div", "facts");
    const why = element("div", "why");
    const row = element("div", "row");
    const pause = button("Pause"), remove = button("Remove");
    row.append(pause, remove);
    root.append(canvas, element("div", "name", name), facts, age, why, row);
    root.addEventListener("click", () => this.#emit("choose", name));
    root.addEventListener("keydown", ({ key, target }) => {
      if (key === "Enter" && target === root) this.#emit("choose", name);
    });
    const tile = { root, canvas, facts, age, why, pause, info: null, count: "", mirrored: -MIRROR_MS };
    pause.addEventListener("click", (event) => {
      event.stopPropagation();
      this.#emit(tile.info.state === "paused" ? "resume" : "pause", name);
    });
    remove.addEventListener("click", (event) => {
      event.stopPropagation();
      this.#emit("remove", name);
    });
    this.#tiles.set(name, tile);
    this.#list.append(root);
    root.classList.toggle("chosen", name === this.chosen);
    return tile;
  }

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

export function element(tag, kind = "", text = "") {
  const made = document.createElement(tag);
  if (kind) made.className = kind;
  if (text) made.textContent = text;
  return made;
}

export function button(text, title = "") {
  const made = element("button", "", text);
  made.type = "button";
  if (title) made.title = title;
  return made;
}
