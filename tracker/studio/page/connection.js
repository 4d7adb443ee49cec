// A WebSocket to the studio: JSON both ways, scenes as binary; it comes back by itself.

const FIRST_MS = 500;
const LONGEST_MS = 5000;

export class Connection extends EventTarget {
  #socket = null;
  #calls = new Map();
  #next = 1;
  #wait = FIRST_MS;
  #watch = null;
  #path;

  constructor(path = "/socket") {
    super();
    this.#path = path;
  }

  open() {
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const socket = new WebSocket(`${scheme}://${location.host}${this.#path}`);
    socket.binaryType = "arraybuffer";
    this.#socket = socket;
    socket.onopen = () => {
      this.#wait = FIRST_MS;
      this.#emit("open");
      if (this.#watch) this.#send(this.#watch);
    };
    socket.onmessage = ({ data }) => {
      if (typeof data === "string") this.#take(JSON.parse(data));
      else this.#takeScene(data);
    };
    socket.onclose = ({ reason }) => {
      for (const { reject } of this.#calls.values()) reject(new Error("the connection was lost"));
      this.#calls.clear();
      this.#emit("lost", reason);
      setTimeout(() => this.open(), this.#wait);
      this.#wait = Math.min(2 * this.#wait, LONGEST_MS);
    };
  }

  /** Say which stream is shown large, in how many pixels, and which as tiles. */
  watch(stage, stagePx, tiles) {
    this.#watch = { type: "watch", stage, stage_px: stagePx, tiles };
    this.#send(this.#watch);
  }

  /** Say that a scene was shown or left out: another may come. */
  shown(n) {
    this.#send({ type: "shown", n });
  }

  /** Ask the daemon; the result, or an Error with `hint` and `code`. */
  call(request) {
    const id = this.#next++;
    return new Promise((resolve, reject) => {
      if (this.#socket?.readyState !== WebSocket.OPEN) {
        reject(new Error("there is no connection"));
        return;
      }
      this.#calls.set(id, { resolve, reject });
      this.#send({ type: "call", id, request });
    });
  }

  #send(message) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(message));
  }

  #take(message) {
    if (message.type !== "reply") {
      this.#emit(message.type, message);
      return;
    }
    const call = this.#calls.get(message.id);
    this.#calls.delete(message.id);
    if (!call) return;
    if (message.error === undefined) call.resolve(message.result);
    else call.reject(Object.assign(new Error(message.error), { hint: message.hint, code: message.code }));
  }

  #takeScene(buffer) {
    const length = new DataView(buffer).getUint32(0);
    const scene = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
    scene.jpeg = new Blob([new Uint8Array(buffer, 4 + length)], { type: "image/jpeg" });
    this.#emit("scene", scene);
  }

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
