// What a person does to objects, as requests to the daemon, each with its way back.

const UNDO_LIMIT = 50;
// The mask on the frame that was clicked on comes at once; the frames since are tracked after that.
const MASK_FIRST = { return_mask: true, defer_replay: true };

export class Commands extends EventTarget {
  #connection;
  #undo = [];
  stream = null;

  constructor(connection) {
    super();
    this.#connection = connection;
  }

  get canUndo() {
    return this.#undo.length > 0;
  }

  /** Begin an object that is not kept yet; its mask comes back. */
  draft(place, frame) {
    return this.#ask({ op: "prompt", ...place, frame: address(frame), draft: true, ...MASK_FIRST });
  }

  refineDraft(object, place, frame) {
    return this.#ask({ op: "object.correct", object, ...place, frame: address(frame), ...MASK_FIRST });
  }

  async accept(object) {
    await this.#ask({ op: "object.accept", object });
    this.#remember("the new object", () => this.#ask({ op: "object.remove", object }));
  }

  giveUp(object) {
    return this.#ask({ op: "object.remove", object });
  }

  /** Track what was painted. */
  async begin(place, frame) {
    const result = await this.#ask({ op: "prompt", ...place, frame: address(frame) });
    this.#remember("the new object", () => this.#ask({ op: "object.remove", object: result.object.id }));
    return result;
  }

  /** Correct an object that is tracked; `before` is how it was on that frame. */
  async correct(before, place, frame) {
    const result = await this.#ask({ op: "object.correct", object: before.id, ...place, frame: address(frame), ...MASK_FIRST });
    this.#remember("the correction", () => this.#back(before));
    return result;
  }

  async remove(before) {
    await this.#ask({ op: "object.remove", object: before.id });
    this.#remember("the removal", () => this.#back(before));
  }

  async reset(before) {
    await this.#ask({ op: "object.reset", object: before.id });
    this.#remember("the reset", () => this.#back(before));
  }

  async rename(before, label) {
    await this.#ask({ op: "object.relabel", object: before.id, label });
    this.#remember("the name", () => this.#ask({ op: "object.relabel", object: before.id, label: before.label }));
  }

  /** Take the last command back; its name, or null where there is none. */
  async undo() {
    const last = this.#undo.pop();
    this.#changed();
    if (!last) return null;
    await last.back();
    return last.what;
  }

  forget() {
    this.#undo = [];
    this.#changed();
  }

  /** Track an object again by the mask that it had. */
  async #back({ id, label, mask }) {
    if (!mask) throw new Error(`object ${id} had no mask to go back to`);
    const place = { mask: { size: [mask.height, mask.width], counts: mask.counts } };
    await this.#ask({ op: "object.remove", object: id }).catch(() => {});
    await this.#ask({ op: "prompt", object: id, ...(label ? { label } : {}), ...place });
  }

  #ask(request) {
    return this.#connection.call({ stream: this.stream, ...request });
  }

  #remember(what, back) {
    this.#undo.push({ what, back });
    if (this.#undo.length > UNDO_LIMIT) this.#undo.shift();
    this.#changed();
  }

  #changed() {
    this.dispatchEvent(new Event("changed"));
  }
}

function address({ seq, epoch }) {
  return epoch ? { seq, epoch } : { seq };
}
