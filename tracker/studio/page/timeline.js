// The timeline: thumbnails, and for each object a bar of what was tracked on each frame.

const THUMBS_PX = 56, ROW_PX = 24, RULER_PX = 18, LEFT_PX = 96;
const LOUD = "#f0c000", BAD = "#ff5a3c";
export const DOUBTFUL = ["low", "jump", "occluded", "lost"];
export const LEGEND = [
  ["full bar", "visible"], ["full bar, striped", "score, mask or identity is doubtful"],
  ["half bar", "occluded"], ["thin line", "lost"], ["red tick", "the area jumps"],
  ["diamond", "prompted here"], ["cross", "ends here"], ["hatched", "not tracked again yet"],
];

export class Timeline extends EventTarget {
  #canvas;
  #colourOf;
  #thumbnails = new Map();
  #loading = 0;
  state = { frames: 1, trackedTo: 0, objects: [], spans: {}, every: 0, address: "" };
  frame = 0;
  selected = null;

  constructor(canvas, colourOf) {
    super();
    this.#canvas = canvas;
    this.#colourOf = colourOf;
    canvas.addEventListener("pointerdown", (event) => { canvas.setPointerCapture(event.pointerId); this.#seek(event); });
    canvas.addEventListener("pointermove", (event) => { if (event.buttons) this.#seek(event); });
    new ResizeObserver(() => this.draw()).observe(canvas.parentElement);
  }

  update(state) {
    Object.assign(this.state, state);
    this.draw();
  }

  show(frame, selected) {
    this.frame = frame;
    this.selected = selected;
    this.draw();
  }

  /** The first frame of the next doubtful stretch of any object, or of the one before; null for none. */
  doubtful(direction) {
    const starts = Object.values(this.state.spans).flat()
      .filter(([kind, start]) => DOUBTFUL.includes(kind) && (start - this.frame) * direction > 0)
      .map(([, start]) => start);
    if (!starts.length) return null;
    return direction > 0 ? Math.min(...starts) : Math.max(...starts);
  }

  #at(frame) {
    const wide = this.#canvas.clientWidth - LEFT_PX;
    return LEFT_PX + (frame * wide) / Math.max(1, this.state.frames);
  }

  #seek({ clientX, clientY }) {
    const { left, top, width } = this.#canvas.getBoundingClientRect();
    const row = Math.floor((clientY - top - THUMBS_PX - RULER_PX) / ROW_PX);
    const wide = width - LEFT_PX;
    const frame = Math.floor(((clientX - left - LEFT_PX) * this.state.frames) / wide);
    const object = this.state.objects[row]?.id ?? null;
    const detail = { frame: Math.max(0, Math.min(this.state.frames - 1, frame)), object, named: clientX - left < LEFT_PX };
    this.dispatchEvent(new CustomEvent("seek", { detail }));
  }

  draw() {
    const canvas = this.#canvas, scale = devicePixelRatio || 1;
    const wide = canvas.parentElement.clientWidth;
    const high = THUMBS_PX + RULER_PX + ROW_PX * Math.max(1, this.state.objects.length) + 4;
    if (!wide) return;
    canvas.style.height = `${high}px`;
    canvas.width = Math.round(wide * scale);
    canvas.height = Math.round(high * scale);
    const context = canvas.getContext("2d");
    context.scale(scale, scale);
    const style = getComputedStyle(document.documentElement);
    const text = style.getPropertyValue("--text"), dim = style.getPropertyValue("--dim");
    this.#drawThumbnails(context, wide);
    this.#drawRuler(context, wide, dim);
    this.state.objects.forEach((item, row) => this.#drawRow(context, item, THUMBS_PX + RULER_PX + row * ROW_PX, text, dim));
    this.#drawStale(context, wide, high);
    const x = this.#at(this.frame + 0.5);
    context.fillStyle = text;
    context.fillRect(x - 1, 0, 2, high);
    canvas.dataset.objects = this.state.objects.length;
  }

  #drawThumbnails(context, wide) {
    const { every, frames } = this.state;
    let x = LEFT_PX;
    while (every && x < wide) {
      const frame = Math.floor(((x - LEFT_PX) * frames) / (wide - LEFT_PX) / every) * every;
      const image = this.#thumbnail(frame);
      const ratio = image ? image.width / image.height : 16 / 9;
      const thumbWide = THUMBS_PX * ratio;
      if (image) context.drawImage(image, x, 0, thumbWide, THUMBS_PX);
      x += thumbWide;
    }
  }

  /** A thumbnail, once it is there; asking for it draws it later. */
  #thumbnail(frame) {
    if (this.#thumbnails.has(frame)) return this.#thumbnails.get(frame);
    if (this.#loading >= 6) return null;
    this.#thumbnails.set(frame, null);
    this.#loading += 1;
    fetch(`${this.state.address}/thumbnails/${frame}.jpg`)
      .then((answer) => (answer.ok ? answer.blob() : Promise.reject()))
      .then((blob) => createImageBitmap(blob))
      .then((bitmap) => this.#thumbnails.set(frame, bitmap))
      .catch(() => {})
      .finally(() => { this.#loading -= 1; this.draw(); });
    return null;
  }

  #drawRuler(context, wide, dim) {
    const { frames } = this.state;
    const least = (frames * 60) / Math.max(1, wide - LEFT_PX);
    const step = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 50000].find((n) => n >= least) ?? frames;
    context.fillStyle = dim;
    context.font = "11px system-ui, sans-serif";
    context.textBaseline = "top";
    for (let frame = 0; frame < frames; frame += step) {
      context.fillRect(this.#at(frame), THUMBS_PX, 1, 4);
      context.fillText(frame, this.#at(frame) + 3, THUMBS_PX + 3);
    }
  }

  #drawRow(context, item, top, text, dim) {
    const [red, green, blue] = this.#colourOf(item.id);
    const colour = `rgb(${red} ${green} ${blue})`, middle = top + ROW_PX / 2;
    context.fillStyle = item.id === this.selected ? text : dim;
    context.font = `${item.id === this.selected ? 600 : 400} 12px system-ui, sans-serif`;
    context.textBaseline = "middle";
    context.fillText(`${item.id} ${item.label ?? ""}`.slice(0, 13), 6, middle);
    for (const [kind, start, stop] of this.state.spans[item.id] ?? []) {
      const x = this.#at(start), wide = Math.max(1, this.#at(stop) - x);
      const high = { occluded: 7, lost: 2 }[kind] ?? 14;
      context.fillStyle = kind === "lost" ? dim : colour;
      context.fillRect(x, middle - high / 2, wide, high);
      if (kind === "low") stripe(context, x, middle - 7, wide, 14, LOUD);
      if (kind === "jump") { context.fillStyle = BAD; context.fillRect(x, top + 1, Math.max(2, wide), ROW_PX - 2); }
    }
    for (const frame of item.prompts) diamond(context, this.#at(frame + 0.5), middle);
    context.strokeStyle = BAD;
    context.lineWidth = 2;
    for (const frame of item.removed_at) cross(context, this.#at(frame), middle);
  }

  #drawStale(context, wide, high) {
    const x = this.#at(this.state.trackedTo), top = THUMBS_PX + RULER_PX;
    if (this.state.trackedTo < this.state.frames && this.state.objects.length) {
      stripe(context, x, top, wide - x, high - top, "#8888", 8);
    }
  }
}

function stripe(context, x, y, wide, high, colour, step = 5) {
  context.save();
  context.beginPath();
  context.rect(x, y, wide, high);
  context.clip();
  context.strokeStyle = colour;
  context.lineWidth = 1.5;
  context.beginPath();
  for (let at = x - high; at < x + wide; at += step) { context.moveTo(at, y + high); context.lineTo(at + high, y); }
  context.stroke();
  context.restore();
}

function diamond(context, x, y) {
  context.beginPath();
  context.moveTo(x, y - 6); context.lineTo(x + 5, y); context.lineTo(x, y + 6); context.lineTo(x - 5, y);
  context.closePath();
  context.fillStyle = "#fff";
  context.strokeStyle = "#000";
  context.lineWidth = 1;
  context.fill();
  context.stroke();
}

function cross(context, x, y) {
  context.beginPath();
  context.moveTo(x - 4, y - 4); context.lineTo(x + 4, y + 4);
  context.moveTo(x + 4, y - 4); context.lineTo(x - 4, y + 4);
  context.stroke();
}
