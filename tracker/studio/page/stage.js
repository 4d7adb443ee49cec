// The large picture: drawn with the masks of its own frame, and clicked on.

import { Mask, boxOf, countsOf, paint } from "./masks.js";

const OPACITY = 110;
const DRAG_PX = 6;
const LONG_PRESS_MS = 500;

export class Stage extends EventTarget {
  scene = null; // what is on the canvas: bitmap, frame, objects with their masks
  tool = "point";
  selected = null;
  draft = null; // a new object that is not kept yet: clicks, box, mask, frame
  frozen = false;
  cursor = null; // the keyboard's, in pixels of the source
  brushStart = () => null; // the mask that painting begins with, as { id, pixels }; null for none

  #canvas;
  #context;
  #overlay = new OffscreenCanvas(1, 1);
  #colours = [];
  #drag = null;
  #corner = null; // the first one of a box that is marked by keyboard
  #brush = null;
  #press = 0;
  #turn = Promise.resolve();

  constructor(canvas, colours) {
    super();
    this.#canvas = canvas;
    this.#context = canvas.getContext("2d");
    this.#colours = colours.map((hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16)));
    canvas.addEventListener("pointerdown", (event) => this.#down(event));
    canvas.addEventListener("pointermove", (event) => this.#move(event));
    canvas.addEventListener("pointerup", (event) => this.#up(event));
    canvas.addEventListener("pointercancel", () => this.#forgetDrag());
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  }

  colourOf(id) {
    return this.#colours[(id - 1) % this.#colours.length];
  }

  /** Show a scene after those that came before it; resolves when it is on the canvas or left out. */
  show(scene) {
    this.#turn = this.#turn.then(() => this.#show(scene)).catch((error) => console.error(error));
    return this.#turn;
  }

  async #show(scene) {
    if (this.frozen) return;
    const bitmap = await createImageBitmap(scene.jpeg);
    if (this.frozen) { bitmap.close(); return; }
    const { width, height } = scene.frame;
    const objects = scene.objects.map((item) => ({
      ...item, mask: item.mask && item.box ? new Mask(item.mask, width, height) : null,
    }));
    this.scene?.bitmap.close();
    this.scene = { ...scene, bitmap, objects };
    this.draw();
    this.#emit("scene");
  }

  /** Forget the picture, as another stream will come. */
  clear() {
    this.scene?.bitmap.close();
    this.scene = null;
    this.selected = null;
    this.cursor = null;
    this.hold(false);
    this.giveUp();
    this.#context.clearRect(0, 0, this.#canvas.width, this.#canvas.height);
    delete this.#canvas.dataset.seq;
  }

  hold(frozen) {
    this.frozen = frozen && this.scene !== null;
    this.#emit("held");
  }

  /** Forget the new object and what was painted. */
  giveUp() {
    this.draft = null;
    this.#corner = null;
    this.#brush = null;
    this.#forgetDrag();
  }

  select(id) {
    this.selected = id;
    this.draw();
    this.#emit("selected");
  }

  /** Show a corrected mask, where its frame is still shown. */
  replaceMask(id, { seq, epoch }, mask) {
    const { frame, objects } = this.scene ?? { frame: {}, objects: [] };
    const at = objects.findIndex((one) => one.id === id);
    if (at < 0 || frame.seq !== seq || frame.epoch !== epoch) return;
    objects[at] = { ...objects[at], mask, box: boxOf(mask) };
    this.draw();
  }

  /** What is drawn and not kept yet: the brush's mask, or the draft; null where nothing is. */
  get drawn() {
    return this.#brush ?? this.draft;
  }

  /** What was painted with the brush, as run lengths; null where nothing was. */
  painted() {
    if (!this.#brush) return null;
    const { width, height, pixels } = this.#brush;
    return { size: [height, width], counts: countsOf(pixels, width, height) };
  }

  draw() {
    if (!this.scene) return;
    const { bitmap, frame, objects } = this.scene;
    const context = this.#context;
    if (this.#canvas.width !== bitmap.width || this.#canvas.height !== bitmap.height) {
      this.#canvas.width = bitmap.width;
      this.#canvas.height = bitmap.height;
    }
    const scale = bitmap.width / frame.width;
    context.drawImage(bitmap, 0, 0);
    this.#drawMasks(frame, objects);
    context.drawImage(this.#overlay, 0, 0, bitmap.width, bitmap.height);
    this.#drawNames(objects, scale);
    this.#drawMarks(scale);
    if (this.draft?.mask) this.#canvas.dataset.draft = this.draft.id;
    else delete this.#canvas.dataset.draft;
    this.#canvas.dataset.capturedNs = frame.captured_ns;
    this.#canvas.dataset.seq = frame.seq;
    this.#canvas.dataset.stream = this.scene.stream;
  }

  #drawMasks(frame, objects) {
    const overlay = this.#overlay;
    if (overlay.width !== frame.width || overlay.height !== frame.height) {
      overlay.width = frame.width;
      overlay.height = frame.height;
    }
    const context = overlay.getContext("2d");
    const image = context.createImageData(frame.width, frame.height);
    const replaced = this.draft?.mask ? this.draft.id : this.#brush?.id;
    for (const item of objects) {
      if (!item.mask || item.id === replaced) continue;
      paint(image, item.mask, item.box, this.colourOf(item.id), item.id === this.selected ? 160 : OPACITY);
    }
    if (this.draft?.mask) this.#paintWhole(image, this.draft.mask, this.colourOf(this.draft.id));
    if (this.#brush) this.#paintWhole(image, this.#brush, this.#brush.id ? this.colourOf(this.#brush.id) : [255, 255, 255]);
    context.putImageData(image, 0, 0);
  }

  #paintWhole(image, mask, colour) {
    const box = boxOf(mask);
    if (box) paint(image, mask, box, colour, OPACITY);
  }

  #drawNames(objects, scale) {
    const context = this.#context;
    const size = Math.max(13, Math.round(this.#canvas.height / 42));
    context.font = `600 ${size}px system-ui, sans-serif`;
    context.textBaseline = "bottom";
    for (const item of objects) {
      if (!item.box) continue;
      const text = `${item.id}${item.label ? ` ${item.label.slice(0, 32)}` : ""}`;
      const [red, green, blue] = this.colourOf(item.id);
      const x = item.box[0] * scale, y = Math.max(size + 6, item.box[1] * scale);
      const wide = context.measureText(text).width;
      context.fillStyle = `rgb(${red} ${green} ${blue})`;
      context.fillRect(x, y - size - 6, wide + 10, size + 6);
      context.fillStyle = 0.3 * red + 0.6 * green + 0.1 * blue > 140 ? "#000" : "#fff";
      context.fillText(text, x + 5, y - 3);
    }
  }

  #drawMarks(scale) {
    const context = this.#context;
    const draft = this.draft;
    context.lineWidth = Math.max(2, this.#canvas.height / 360);
    for (const [index, [x, y]] of (draft?.points ?? []).entries()) {
      context.beginPath();
      context.arc(x * scale, y * scale, 3 * context.lineWidth, 0, 2 * Math.PI);
      context.fillStyle = draft.labels[index] ? "#5fd0a0" : "#ff5a3c";
      context.strokeStyle = "#000";
      context.fill();
      context.stroke();
    }
    this.#drawCursor(scale);
    const box = this.#drag?.box ?? this.#markedBox ?? draft?.box;
    if (box) {
      context.setLineDash([8, 6]);
      context.strokeStyle = "#fff";
      context.strokeRect(box[0] * scale, box[1] * scale, (box[2] - box[0]) * scale, (box[3] - box[1]) * scale);
      context.setLineDash([]);
    }
  }

  // --- keyboard

  /** Move the keyboard's cursor by parts of the picture's width; it begins in the middle. */
  moveCursor(dx, dy) {
    if (!this.scene) return;
    const { width, height } = this.scene.frame;
    const [x, y] = this.cursor ?? [width / 2, height / 2];
    const within = (value, size) => Math.min(size - 1, Math.max(0, value));
    this.cursor = [within(x + dx * width, width), within(y + dy * width, height)];
    this.draw();
  }

  /** Click at the keyboard's cursor; for a box, mark its first corner, then the other. */
  mark(label) {
    if (!this.scene || !this.cursor || this.tool === "brush") return;
    const [x, y] = this.cursor;
    if (this.tool === "point") {
      this.#emit("click", { point: [x, y], label, hit: this.#hit([x, y]) });
    } else if (!this.#corner) {
      this.#corner = [x, y];
      this.hold(true);
      this.draw();
    } else if (this.#markedBox) {
      const box = this.#markedBox;
      this.#corner = null;
      this.#emit("box", { box });
    }
  }

  /** The box from the marked corner to the cursor; null while it is none. */
  get #markedBox() {
    if (!this.#corner || !this.cursor) return null;
    const [x0, y0] = this.#corner, [x1, y1] = this.cursor;
    if (x0 === x1 || y0 === y1) return null;
    return [Math.min(x0, x1), Math.min(y0, y1), Math.max(x0, x1), Math.max(y0, y1)];
  }

  #drawCursor(scale) {
    if (!this.cursor) return;
    const context = this.#context;
    const [x, y] = this.cursor.map((value) => value * scale);
    const arm = 8 * context.lineWidth;
    for (const [colour, wide] of [["#000", 3], ["#fff", 1]]) {
      context.lineWidth *= wide;
      context.strokeStyle = colour;
      context.beginPath();
      context.moveTo(x - arm, y);
      context.lineTo(x + arm, y);
      context.moveTo(x, y - arm);
      context.lineTo(x, y + arm);
      context.stroke();
      context.lineWidth /= wide;
    }
  }

  // --- mouse, pen and touch

  /** Where an event is, in pixels of the source; null beside the picture. */
  #at(event) {
    if (!this.scene) return null;
    const { left, top, width, height } = this.#canvas.getBoundingClientRect();
    const { frame } = this.scene;
    const shrunk = Math.min(width / frame.width, height / frame.height);
    const x = (event.clientX - left - (width - shrunk * frame.width) / 2) / shrunk;
    const y = (event.clientY - top - (height - shrunk * frame.height) / 2) / shrunk;
    return x >= 0 && y >= 0 && x < frame.width && y < frame.height ? [x, y] : null;
  }

  #down(event) {
    const at = this.#at(event);
    if (!at) return;
    this.#canvas.focus();
    this.#canvas.setPointerCapture(event.pointerId);
    this.#drag = { from: at, client: [event.clientX, event.clientY], box: null, negative: event.button === 2 || event.altKey };
    if (this.tool === "brush") {
      this.hold(true);
      this.#paintAt(at, event);
    } else if (event.pointerType === "touch") {
      this.#press = setTimeout(() => { if (this.#drag) this.#drag.negative = true; }, LONG_PRESS_MS);
    }
  }

  #move(event) {
    if (!this.#drag) return;
    const at = this.#at(event);
    if (!at) return;
    if (this.tool === "brush") { this.#paintAt(at, event); return; }
    const [x, y] = this.#drag.client;
    const moved = Math.hypot(event.clientX - x, event.clientY - y) >= DRAG_PX;
    if (!moved && !this.#drag.box) return;
    clearTimeout(this.#press);
    this.hold(true); // the box is drawn on this picture
    const [x0, y0] = this.#drag.from;
    this.#drag.box = [Math.min(x0, at[0]), Math.min(y0, at[1]), Math.max(x0, at[0]), Math.max(y0, at[1])];
    this.draw();
  }

  #up(event) {
    const drag = this.#drag;
    this.#forgetDrag();
    if (!drag || this.tool === "brush") return;
    if (drag.box) this.#emit("box", { box: drag.box });
    else if (this.tool === "point") this.#emit("click", { point: drag.from, label: drag.negative ? 0 : 1, hit: this.#hit(drag.from) });
    event.preventDefault();
  }

  #forgetDrag() {
    clearTimeout(this.#press);
    this.#drag = null;
  }

  /** The object whose mask is at a point: the smallest one. */
  #hit([x, y]) {
    const under = (this.scene?.objects ?? []).filter((item) => item.mask?.has(x, y));
    const area = ({ box }) => (box[2] - box[0]) * (box[3] - box[1]);
    return under.sort((a, b) => area(a) - area(b))[0]?.id ?? null;
  }

  #paintAt([x, y], event) {
    const { width, height } = this.scene.frame;
    this.#brush ??= { width, height, pixels: new Uint8Array(width * height), ...this.brushStart() };
    const radius = Math.max(3, Math.round(Math.min(width, height) / 60));
    const value = event.altKey || event.buttons === 2 ? 0 : 1;
    for (let dy = -radius; dy <= radius; dy += 1) {
      for (let dx = -radius; dx <= radius; dx += 1) {
        const px = Math.round(x + dx), py = Math.round(y + dy);
        if (dx * dx + dy * dy > radius * radius || px < 0 || py < 0 || px >= width || py >= height) continue;
        this.#brush.pixels[py * width + px] = value;
      }
    }
    this.draw();
    this.#emit("painted");
  }

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
