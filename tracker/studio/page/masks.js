// Masks as the protocol sends them: COCO run lengths down the columns, background first.

/** The run lengths of COCO's compressed text. */
export function runsOf(text) {
  const runs = [];
  let at = 0;
  while (at < text.length) {
    let value = 0, shift = 0, more = true;
    while (more) {
      const code = text.charCodeAt(at) - 48;
      value |= (code & 31) << shift;
      more = (code & 32) !== 0;
      at += 1;
      shift += 5;
      if (!more && code & 16) value |= -1 << shift;
    }
    if (runs.length > 2) value += runs[runs.length - 2];
    runs.push(value);
  }
  return runs;
}

/** The compressed text of run lengths. */
export function textOf(runs) {
  let text = "";
  runs.forEach((run, index) => {
    let value = index > 2 ? run - runs[index - 2] : run;
    let more = true;
    while (more) {
      let code = value & 31;
      value >>= 5;
      more = code & 16 ? value !== -1 : value !== 0;
      if (more) code |= 32;
      text += String.fromCharCode(code + 48);
    }
  });
  return text;
}

/** A mask of a frame, decoded once. Its pixels lie row by row, 1 on the object. */
export class Mask {
  constructor(counts, width, height) {
    this.counts = counts;
    this.width = width;
    this.height = height;
    this.pixels = new Uint8Array(width * height);
    let at = 0, on = 0;
    for (const run of runsOf(counts)) {
      if (on) {
        let x = Math.floor(at / height), y = at % height;
        for (let k = 0; k < run; k += 1) {
          this.pixels[y * width + x] = 1;
          y += 1;
          if (y === height) { y = 0; x += 1; }
        }
      }
      at += run;
      on ^= 1;
    }
  }

  /** A mask as replies have it. */
  static of({ counts, size: [height, width] }) {
    return new Mask(counts, width, height);
  }

  has(x, y) {
    return x >= 0 && y >= 0 && x < this.width && y < this.height
      && this.pixels[Math.floor(y) * this.width + Math.floor(x)] === 1;
  }
}

/** Run lengths of pixels that lie row by row. */
export function countsOf(pixels, width, height) {
  const runs = [];
  let run = 0, last = 0;
  for (let x = 0; x < width; x += 1) {
    for (let y = 0; y < height; y += 1) {
      const now = pixels[y * width + x] ? 1 : 0;
      if (now !== last) { runs.push(run); run = 0; last = now; }
      run += 1;
    }
  }
  runs.push(run);
  return textOf(runs);
}

/** Paint a mask into RGBA pixels of its size: a tint, and an opaque edge. */
export function paint(image, mask, box, [red, green, blue], opacity) {
  const { data, width } = image;
  const { pixels, height } = mask;
  const edge = Math.max(1, Math.round(Math.max(width, height) / 640));
  const [x0, y0, x1, y1] = box;
  for (let y = y0; y < y1; y += 1) {
    for (let x = x0; x < x1; x += 1) {
      const at = y * width + x;
      if (!pixels[at]) continue;
      const inside = x >= edge && y >= edge && x < width - edge && y < height - edge
        && pixels[at - edge] && pixels[at + edge] && pixels[at - edge * width] && pixels[at + edge * width];
      const to = 4 * at;
      data[to] = red; data[to + 1] = green; data[to + 2] = blue;
      data[to + 3] = inside ? opacity : 255;
    }
  }
}

/** The box of a mask: left, top, right, bottom edge; null where it is empty. */
export function boxOf({ pixels, width, height }) {
  let x0 = width, y0 = height, x1 = 0, y1 = 0;
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      if (!pixels[y * width + x]) continue;
      if (x < x0) x0 = x;
      if (x >= x1) x1 = x + 1;
      if (y < y0) y0 = y;
      y1 = y + 1;
    }
  }
  return x1 ? [x0, y0, x1, y1] : null;
}
