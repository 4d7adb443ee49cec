// The page: streams on the left, the picture in the middle, objects on the right.

import { Commands } from "./commands.js";
import { Connection } from "./connection.js";
import { Mask } from "./masks.js";
import { Objects } from "./objects.js";
import { Stage } from "./stage.js";
import { Tiles, element } from "./tiles.js";
import {
  explain, fail, get, isBeingRead, knownTheme, press, reasonOf, say, status, theme, toolsOf,
} from "./toolbar.js";

const LOG_LINES = 60;
const RESIZED_MS = 300;
const KEYS = [
  ["Click", "on an object: begin or correct it; on a mask: choose its object"],
  ["Right or Alt click, long press", "this is not part of the object"],
  ["Drag", "a box around an object"],
  ["Enter", "accept the new object"],
  ["Escape", "give it up; choose nothing"],
  ["Z", "undo the last command"],
  ["R, Delete", "rename, remove the chosen object"],
  ["1 … 9", "choose an object"],
  ["C, X, B", "tools: click, box, brush (Alt wipes)"],
  ["Space", "hold the picture; nothing is missed meanwhile"],
  ["Arrows, M", "move a cross over the picture (Shift: far), click there (Shift: not part of it)"],
  ["N, P", "next, previous stream"],
  ["A, T, ?", "add a stream, dark or light, this help"],
];

const settings = await (await fetch("settings.json")).json();
const connection = new Connection();
const stage = new Stage(get("canvas"), settings.colours);
const setTool = toolsOf(stage);
const tiles = new Tiles(get("tiles"), (id) => stage.colourOf(id));
const objects = new Objects(get("objects"), (id) => stage.colourOf(id));
const commands = new Commands(connection);

/** Notes once that something is gone, and how long it was. */
class Outage {
  #what;
  #since = null;

  constructor(what) {
    this.#what = what;
  }

  begin() {
    if (this.#since !== null) return;
    this.#since = performance.now();
    note(`${this.#what} is not reached`, true);
  }

  end() {
    if (this.#since === null) return;
    const seconds = Math.round((performance.now() - this.#since) / 1000);
    this.#since = null;
    note(`${this.#what} is back after ${seconds} s`);
  }
}

let working = Promise.resolve();

// --- what comes from the studio

const studioGone = new Outage("the studio");
const daemonGone = new Outage("the daemon");

connection.addEventListener("open", () => {
  say("banner", "connected");
  studioGone.end();
});
connection.addEventListener("lost", ({ detail }) => {
  say("banner", `the studio is not reached${detail ? `: ${detail}` : ""}; trying again`, true);
  studioGone.begin();
});

connection.addEventListener("streams", ({ detail }) => {
  if (detail.reachable === false) {
    say("banner", `the daemon is not reached: ${detail.error}; trying again`, true);
    daemonGone.begin();
    return; // tiles stay as they were last seen
  }
  if (detail.reachable === null) return;
  daemonGone.end();
  const running = detail.streams.filter(({ state }) => state === "running").length;
  say("banner", `${detail.streams.length} streams, ${running} running`);
  tiles.update(detail.streams);
  const names = tiles.names;
  if (!names.includes(tiles.chosen)) choose(names[0] ?? null);
  else watch();
  get("hint").textContent = names.length ? "" : "no stream yet: add one";
});

connection.addEventListener("event", ({ detail }) => {
  const what = detail.object === null ? "" : ` object ${detail.object}`;
  const text = `${detail.stream}${what}: ${inWords(detail)}`;
  note(text, detail.event.endsWith("failed"), new Date(detail.at_ns / 1e6));
});

/** Add a line to what happened. */
function note(text, bad = false, at = new Date()) {
  get("log").prepend(element("li", bad ? "bad" : "", `${at.toLocaleTimeString()} ${text}`));
  while (get("log").childElementCount > LOG_LINES) get("log").lastElementChild.remove();
}

function inWords({ event, text, state, label }) {
  if (event === "object.state") return state;
  if (event === "object.relabelled") return label ? `named ${label}` : "has no name any more";
  return text || event.replace(/^.*\./, "");
}

connection.addEventListener("scene", async ({ detail: scene }) => {
  try {
    if (scene.size === "tile") {
      await tiles.show(scene);
    } else if (scene.stream === tiles.chosen) {
      await stage.show(scene);
      tiles.mirror(scene, get("canvas"));
    }
  } finally {
    connection.shown(scene.n);
  }
});

stage.addEventListener("scene", () => {
  objects.update(stage.scene.objects, stage.selected);
  const age = Date.now() - stage.scene.frame.captured_ns / 1e6;
  if (!stage.draft && !isBeingRead()) {
    say("status", `frame ${stage.scene.frame.seq}, ${Math.max(0, Math.round(age))} ms old`);
  }
});

// --- what a person does

stage.addEventListener("click", ({ detail: { point, label, hit } }) => {
  if (!stage.draft && hit !== null && label === 1 && hit !== stage.selected) {
    stage.select(hit);
    objects.update(stage.scene.objects, hit);
    return;
  }
  const place = { points: [point], labels: [label] };
  if (stage.draft || stage.selected === null) {
    if (!stage.draft && label === 0) { status("begin with a click on the object", true); return; }
    refine(place);
  } else {
    correct(place);
  }
});

stage.addEventListener("box", ({ detail: { box } }) => {
  if (stage.draft) { status("accept or give up the new object first", true); return; }
  stage.select(null);
  refine({ box });
});

stage.addEventListener("painted", showButtons);
stage.addEventListener("held", () => press(get("freeze"), stage.frozen));
commands.addEventListener("changed", showButtons);

/** Begin a new object, or give the one that is begun another click. */
function refine(place) {
  const draft = (stage.draft ??= { id: null, points: [], labels: [], box: null, mask: null, frame: stage.scene.frame });
  draft.points.push(...(place.points ?? []));
  draft.labels.push(...(place.labels ?? []));
  draft.box = place.box ?? draft.box;
  stage.hold(true);
  stage.draw();
  showButtons();
  const began = performance.now();
  work(async () => {
    const result = draft.id === null
      ? await commands.draft(place, draft.frame)
      : await commands.refineDraft(draft.id, place, draft.frame);
    draft.id = result.object.id;
    if (result.mask) draft.mask = Mask.of(result.mask);
    if (stage.draft !== draft) { await commands.giveUp(draft.id); return; } // given up meanwhile
    stage.draw();
    const took = Math.round(performance.now() - began);
    status(`object ${draft.id} in ${took} ms: Enter accepts, Escape gives up, more clicks refine`);
  }, () => { if (draft.id === null && stage.draft === draft) giveUp(); });
}

function correct(place) {
  const before = stage.scene.objects.find(({ id }) => id === stage.selected);
  if (!before) { status("the chosen object is not on this frame", true); return; }
  const { frame } = stage.scene;
  work(async () => {
    const result = await commands.correct(before, place, frame);
    if (result.mask) stage.replaceMask(before.id, frame, Mask.of(result.mask));
    status(`object ${before.id} corrected; ${result.deferred_frames} frames are tracked again`);
  });
}

function accept() {
  const { draft } = stage;
  const painted = stage.painted();
  const { frame } = stage.scene ?? {};
  if (!draft && !painted) return;
  stage.giveUp();
  stage.hold(false);
  showButtons();
  work(async () => {
    if (painted) {
      const result = await commands.begin({ mask: painted }, frame);
      stage.select(result.object.id);
      return;
    }
    await commands.accept(draft.id);
    stage.select(draft.id);
    status(`object ${draft.id} is tracked`);
  });
}

function giveUp() {
  const { draft } = stage;
  if (!draft && !stage.painted()) { stage.select(null); stage.hold(false); return; }
  stage.giveUp();
  stage.hold(false);
  stage.draw();
  showButtons();
  if (draft?.id) work(() => commands.giveUp(draft.id));
}

/** Do one thing after the other; what fails is said. */
function work(doing, failed = () => {}) {
  working = working.then(doing).catch((error) => {
    fail(error);
    failed();
  });
}

function withObject(id, doing) {
  const before = stage.scene?.objects.find((item) => item.id === id);
  if (before) work(() => doing(before));
}

const removeObject = (id) => withObject(id, async (before) => {
  await commands.remove(before);
  if (stage.selected === id) stage.select(null);
  status(`object ${id} removed; Z brings it back`);
});

objects.addEventListener("select", ({ detail: { id } }) => {
  stage.select(id);
  if (stage.scene) objects.update(stage.scene.objects, id);
});
objects.addEventListener("remove", ({ detail: { id } }) => removeObject(id));
objects.addEventListener("reset", ({ detail: { id } }) => withObject(id, (before) => commands.reset(before)));
objects.addEventListener("rename", ({ detail: { id, label } }) =>
  withObject(id, (before) => (label === before.label ? null : commands.rename(before, label))));

tiles.addEventListener("choose", ({ detail }) => choose(detail));
for (const action of ["pause", "resume", "remove"]) {
  tiles.addEventListener(action, ({ detail: stream }) => {
    if (action === "remove" && !confirm(`Remove the stream ${stream} and all its objects?`)) return;
    work(() => connection.call({ op: `stream.${action}`, stream }));
  });
}

function undo() {
  work(async () => {
    const what = await commands.undo();
    status(what ? `took back ${what}` : "there is nothing to undo");
  });
}

function choose(name) {
  if (name === tiles.chosen) return;
  giveUp();
  tiles.choose(name);
  commands.stream = name;
  commands.forget();
  stage.clear();
  objects.update([], null);
  watch();
}

let watched = "";
/** Have sent what is shown; nothing while the page is hidden. */
function watch() {
  const shows = document.visibilityState === "visible";
  const large = shows ? tiles.chosen : null;
  const small = shows ? tiles.names.filter((name) => name !== tiles.chosen) : [];
  const { width, height } = get("canvas").getBoundingClientRect();
  const sidePx = Math.round(devicePixelRatio * Math.max(width, height));
  const now = JSON.stringify([large, sidePx, small]);
  if (now === watched) return;
  watched = now;
  connection.watch(large, sidePx, small);
}
document.addEventListener("visibilitychange", watch);
let resized = 0;
addEventListener("resize", () => {
  clearTimeout(resized);
  resized = setTimeout(watch, RESIZED_MS);
});

function step(by) {
  const { names } = tiles;
  if (names.length) choose(names[(names.indexOf(tiles.chosen) + by + names.length) % names.length]);
}

// --- buttons, keys, dialogs

function showButtons() {
  const begun = stage.draft !== null || stage.painted() !== null;
  get("accept").disabled = get("cancel").disabled = !begun;
  get("undo").disabled = !commands.canUndo;
}

get("accept").addEventListener("click", accept);
get("cancel").addEventListener("click", giveUp);
get("undo").addEventListener("click", undo);
get("freeze").addEventListener("click", () => stage.hold(!stage.frozen));
get("theme").addEventListener("click", () => theme());
get("help").addEventListener("click", () => get("help-dialog").showModal());
get("add").addEventListener("click", openAdd);

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const NEAR = 0.005, FAR = 0.05; // of the picture's width

const ACTIONS = {
  Enter: accept, Escape: giveUp, z: undo, c: () => setTool("point"), x: () => setTool("box"),
  b: () => setTool("brush"), " ": () => stage.hold(!stage.frozen), n: () => step(1), p: () => step(-1),
  a: openAdd, t: () => theme(), "?": () => get("help-dialog").showModal(),
  r: () => stage.selected !== null && objects.rename(stage.selected),
  Delete: () => stage.selected !== null && removeObject(stage.selected),
};

addEventListener("keydown", (event) => {
  const typing = event.target.closest?.("input, dialog, button, .tile, li") && event.key !== "Escape";
  if (typing || event.ctrlKey || event.metaKey || document.querySelector("dialog[open]")) return;
  const number = Number(event.key);
  if (number >= 1 && number <= 9) {
    const item = stage.scene?.objects[number - 1];
    if (item) stage.select(item.id);
    return;
  }
  if (event.key in ARROWS) {
    const step = event.shiftKey ? FAR : NEAR;
    stage.moveCursor(...ARROWS[event.key].map((way) => way * step));
    event.preventDefault();
    return;
  }
  if (event.key.toLowerCase() === "m") { stage.mark(event.shiftKey ? 0 : 1); return; }
  const action = ACTIONS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  if (!action) return;
  event.preventDefault();
  action();
});

function openAdd() {
  get("add-error").textContent = "";
  get("add-dialog").showModal();
}

get("add-dialog").querySelector("form").addEventListener("submit", async (event) => {
  if (event.submitter?.value === "cancel") return;
  event.preventDefault();
  const loop = get("add-loop").checked;
  try {
    await connection.call({
      op: "stream.add", stream: get("add-name").value, url: get("add-url").value,
      realtime: loop, loop,
    });
    const name = get("add-name").value;
    get("add-url").value = get("add-name").value = "";
    get("add-dialog").close();
    status(`stream ${name} added`);
  } catch (error) {
    get("add-error").textContent = reasonOf(error);
  }
});

explain("keys", KEYS);
if (!settings.annotates) get("annotate").remove();
theme(knownTheme());
connection.open();
