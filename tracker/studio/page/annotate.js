// The page that annotates a file: a frame with its masks, prompts on any frame, and a timeline.

import { Connection } from "./connection.js";
import { showLibrary } from "./library.js";
import { Mask } from "./masks.js";
import { Objects } from "./objects.js";
import { ask } from "./requests.js";
import { Stage } from "./stage.js";
import { LEGEND, Timeline } from "./timeline.js";
import { element } from "./tiles.js";
import { explain, fail, get, knownTheme, press, reasonOf, say, status, theme, toolsOf } from "./toolbar.js";

const TIMELINE_MS = 1000;
const FAR = 10; // frames that Shift steps over
const KEPT_PICTURES = 48;
const STEP = 0.01, FAR_STEP = 0.05; // of the picture's width, of the keyboard's cursor
const STATES = {
  loading: "loading the model", tracking: "tracking", backward: "tracking towards the start",
  idle: "all is tracked", stopped: "stopped", failed: "failed",
};
const KEYS = [
  ["Click", "on an object: begin or correct it; on a mask: choose its object"],
  ["Right or Alt click, long press", "this is not part of the object"],
  ["Drag", "a box around an object"],
  ["Enter", "keep what is drawn, and track it"],
  ["Escape", "give it up; choose nothing"],
  ["Left, Right; with Shift", "one frame; ten"],
  ["Home, End; Space", "first, last frame; play"],
  ["N, P", "next doubtful stretch, the one before"],
  ["Z", "take the last change back"],
  ["R, Delete", "rename, remove the chosen object"],
  ["D, E", "take its prompt on this frame away; end it here, or not"],
  ["1 … 9, 0", "choose an object; none"],
  ["C, X, B", "tools: click, box, brush (Alt wipes)"],
  ["I J K L, M; with Shift", "move the keyboard's cursor, click at it; farther, not part of the object"],
  ["T, ?", "dark or light, this help"],
];

const settings = await (await fetch("settings.json")).json();
const id = new URLSearchParams(location.search).get("project");
const address = `projects/${encodeURIComponent(id)}`;
const connection = new Connection(`/${address}/socket`);
const stage = new Stage(get("canvas"), settings.colours);
const setTool = toolsOf(stage);
const colourOf = (number) => stage.colourOf(number);
const timeline = new Timeline(get("bars"), colourOf);
const objects = new Objects(get("objects"), colourOf, [
  ["ask", "Rename", "R"], ["unprompt", "Unprompt", "Take its prompt on this frame away (D)"],
  ["end", "End", "From this frame on it is gone, or not (E)"], ["remove", "Remove", "Delete"],
]);
const pictures = new Map();
let project = null;
let refused = false;
let frame = 0;
let shown = Promise.resolve();
let working = Promise.resolve();
let playing = false;
let timelineDue = 0;
let asking = false;
let askAgain = false;
let previewing = false;
let previewAgain = false;
let exporting = false;
let results = { is_current: false, objects: [] };

// --- frames

/** Show a frame and what was tracked on it. */
function go(number) {
  const wanted = Math.max(0, Math.min(project.frames - 1, number));
  if (isDrawn()) { status("keep or give up what is drawn first (Enter, Escape)", true); return; }
  frame = wanted;
  timeline.show(frame, stage.selected);
  get("number").value = frame;
  shown = shown.then(() => (frame === wanted ? show(wanted) : null)).catch(fail);
}

async function show(number) {
  const [{ jpeg, width, height }, found] = await Promise.all([picture(number), ask(`${address}/results/${number}.json`)]);
  if (frame !== number || isDrawn()) return;
  results = found;
  stage.hold(false);
  await stage.show({ jpeg, stream: id, frame: { seq: number, width, height }, objects: found.objects });
  get("canvas").dataset.current = found.is_current;
  listObjects();
  timeline.show(frame, stage.selected);
  for (const near of [number + 1, number + 2]) if (near < project.frames) picture(near).catch(() => {});
}

function picture(number) {
  if (!pictures.has(number)) {
    const coming = fetch(`${address}/frames/${number}.jpg`).then(async (answer) => {
      const [width, height] = (answer.headers.get("X-Frame-Size") ?? "").split("x").map(Number);
      if (answer.ok) return { jpeg: await answer.blob(), width, height };
      const { error } = await answer.json().catch(() => ({ error: `frame ${number} cannot be read` }));
      throw new Error(error);
    });
    coming.catch(() => pictures.delete(number));
    pictures.set(number, coming);
    if (pictures.size > KEPT_PICTURES) pictures.delete(pictures.keys().next().value);
  }
  return pictures.get(number);
}

async function play(on) {
  if (on === playing) return;
  playing = on && !isDrawn();
  press(get("play"), playing);
  const wait = 1000 / (project.fps || 10);
  while (playing && frame < project.frames - 1) {
    const began = performance.now();
    go(frame + 1);
    await shown;
    await new Promise((done) => setTimeout(done, Math.max(0, wait - (performance.now() - began))));
  }
  playing = false;
  press(get("play"), false);
}

function doubtful(direction) {
  const next = timeline.doubtful(direction);
  if (next === null) status(direction > 0 ? "no doubtful stretch after this frame" : "none before this frame");
  else go(next);
}

function listObjects() {
  const here = new Map(stage.scene.objects.map((item) => [item.id, item]));
  objects.update(project.objects.map((item) => {
    const found = here.get(item.id);
    const state = found?.state ?? (item.prompts.includes(frame) ? "prompted" : "not here");
    return { ...item, state, score: found?.score ?? 0 };
  }), stage.selected);
}

function select(number) {
  if (isDrawn()) { status("keep or give up what is drawn first (Enter, Escape)", true); return; }
  stage.select(number);
  listObjects();
  timeline.show(frame, number);
}

// --- what comes from the studio

connection.addEventListener("open", () => { if (!refused) say("banner", "connected"); });
connection.addEventListener("lost", ({ detail }) => {
  if (!refused) say("banner", `the studio is not reached${detail ? `: ${detail}` : ""}; trying again`, true);
});
connection.addEventListener("refused", ({ detail }) => {
  refused = true; // and stays so until another try opens the project
  say("banner", `${detail.error}; trying again`, true);
});

connection.addEventListener("project", ({ detail }) => {
  const isFirst = project === null;
  project = detail;
  refused = false;
  say("banner", `${project.title}: ${project.frames} frames, ${project.model}`);
  get("undo").disabled = !project.can_undo;
  get("backward").checked = project.backward;
  timeline.update({
    frames: project.frames, objects: project.objects, every: project.thumbnails_every, address,
  });
  tracking(project.status);
  if (!project.objects.some((item) => item.id === stage.selected)) stage.selected = null;
  if (isFirst) go(project.objects[0]?.prompts[0] ?? 0);
  else if (stage.scene && !isDrawn()) go(frame);
});

connection.addEventListener("status", ({ detail }) => tracking(detail));

function tracking(now) {
  const before = project.status;
  project.status = now;
  const busy = ["loading", "tracking", "backward"].includes(now.state);
  const rate = now.fps ? `, ${now.fps.toFixed(1)} frames a second` : "";
  const far = now.state === "tracking" ? `: frame ${now.tracked_to} of ${project.frames}${rate}` : rate;
  say("tracking", now.state === "failed" ? now.error : `${STATES[now.state]}${far}`, now.state === "failed");
  get("tracking").dataset.state = now.state;
  get("tracked").value = now.done ? 1 : now.tracked_to / Math.max(1, project.frames);
  get("track").textContent = busy ? "Stop" : "Track";
  get("track").disabled = now.state === "idle";
  get("export").disabled = !now.done || !project.objects.length;
  timeline.update({ trackedTo: now.done ? project.frames : now.tracked_to });
  refreshBars(now.state !== before.state);
  if (stage.scene && !isDrawn() && !playing && !results.is_current && (now.done || frame < now.tracked_to)) go(frame);
}

/** Ask for the bars, once a second while tracking goes on. */
async function refreshBars(atOnce) {
  if (asking) { askAgain ||= atOnce; return; }
  if (!atOnce && performance.now() < timelineDue) return;
  asking = true;
  try {
    const { objects: spans } = await ask(`${address}/timeline.json`);
    timeline.update({ spans });
    get("bars").dataset.spans = JSON.stringify(spans);
  } catch (error) { fail(error); }
  asking = false;
  timelineDue = performance.now() + TIMELINE_MS;
  if (askAgain) { askAgain = false; refreshBars(true); }
}

// --- prompts

const isDrawn = () => stage.drawn !== null;

stage.brushStart = () => {
  const item = stage.scene.objects.find((other) => other.id === stage.selected);
  return stage.selected === null ? null : { id: stage.selected, ...(item?.mask ? { pixels: item.mask.pixels.slice() } : {}) };
};

stage.addEventListener("click", ({ detail: { point, label, hit } }) => {
  if (!stage.draft && hit !== null && label === 1 && hit !== stage.selected) { select(hit); return; }
  if (!stage.draft && stage.selected === null && label === 0) { status("begin with a click on the object", true); return; }
  refine({ points: [point], labels: [label] });
});

stage.addEventListener("box", ({ detail: { box } }) => {
  if (stage.draft) { status("keep or give up what is drawn first (Enter, Escape)", true); return; }
  refine({ box });
});

stage.addEventListener("painted", () => { play(false); showButtons(); });

/** Draw a prompt, or add to the one that is drawn; its mask is shown before it is kept. */
function refine(place) {
  play(false);
  const draft = (stage.draft ??= { object: stage.selected, id: null, points: [], labels: [], box: null, mask: null, frame });
  draft.points.push(...(place.points ?? []));
  draft.labels.push(...(place.labels ?? []));
  draft.box = place.box ?? draft.box;
  stage.draw();
  showButtons();
  preview();
}

/** Ask for the mask of what is drawn; what is drawn meanwhile is asked for together. */
async function preview() {
  if (previewing) { previewAgain = true; return; }
  previewing = true;
  previewAgain = false;
  const { draft } = stage, began = performance.now();
  const waits = draft.object !== null && draft.frame > project.status.tracked_to;
  status(waits ? `the mask comes when frame ${draft.frame} is tracked; Enter keeps the prompt unseen` : "looking");
  try {
    const result = await connection.call({ op: "draft", object: draft.object, prompt: promptOf(draft) });
    if (stage.draft === draft) {
      draft.id = result.object;
      draft.mask = new Mask(result.mask.counts, result.mask.size[1], result.mask.size[0]);
      stage.draw();
      get("canvas").dataset.draft = draft.points.length + (draft.box ? 1 : 0);
      status(`object ${draft.id} in ${Math.round(performance.now() - began)} ms: Enter keeps it, more clicks refine`);
    }
  } catch (error) {
    if (stage.draft === draft) fail(error);
  }
  previewing = false;
  if (previewAgain && stage.draft) preview();
}

const promptOf = ({ frame: number, points, labels, box }) => ({ frame: number, points, labels, ...(box ? { box } : {}) });

function accept() {
  const { drawn, draft } = stage;
  if (!drawn) return;
  const painted = stage.painted();
  const object = painted ? stage.selected : draft.object;
  const prompt = painted ? { frame, mask: painted } : promptOf(draft);
  work(async () => {
    if (stage.drawn !== drawn) return; // kept already, or given up
    const kept = await call({ op: "prompt", object, prompt });
    status(`object ${kept.object} is kept from frame ${prompt.frame} on`);
    if (stage.drawn !== drawn) return; // given up meanwhile
    clearDrawn();
    stage.select(kept.object);
    go(prompt.frame);
  });
}

function giveUp() {
  if (!isDrawn()) { select(null); return; }
  clearDrawn();
  go(frame);
}

function clearDrawn() {
  stage.giveUp();
  stage.hold(false);
  delete get("canvas").dataset.draft;
  stage.draw();
  showButtons();
}

const call = (request) => connection.call(request);

/** Do one thing after the other; what fails is said. */
function work(doing) {
  working = working.then(doing).catch(fail);
}

/** Change an object, unless it is gone by then. */
function change(op, object, fields = {}) {
  if (object === null) { status("choose an object first", true); return; }
  work(async () => {
    if (project.objects.some((item) => item.id === object)) await call({ op, object, ...fields });
  });
}

const undo = () => work(async () => status((await call({ op: "undo" })) ? "taken back" : "there is nothing to take back"));
const remove = (object) => change("remove_object", object);
const unprompt = (object) => change("remove_prompt", object, { frame });
const end = (object) => change("end_object", object, { frame });

objects.addEventListener("select", ({ detail }) => select(detail.id));
objects.addEventListener("rename", ({ detail: { id: object, label } }) => {
  const before = project.objects.find((item) => item.id === object);
  if (before && before.label !== label) change("relabel", object, { label: label?.slice(0, 100) ?? null });
});
for (const [type, doing] of Object.entries({ remove, unprompt, end })) {
  objects.addEventListener(type, ({ detail }) => doing(detail.id));
}
timeline.addEventListener("seek", ({ detail: { frame: number, object, named } }) => {
  play(false);
  if (named) { if (object !== null) select(object); } else if (number !== frame) go(number);
});

get("track").addEventListener("click", () => work(() => call({ op: get("track").textContent === "Stop" ? "stop" : "track" })));
get("backward").addEventListener("change", ({ target }) => work(() => call({ op: "backward", on: target.checked })));
get("export").addEventListener("click", writeExport);

/** Export beside what is done meanwhile, which need not wait for it. */
async function writeExport() {
  if (exporting) return;
  exporting = true;
  const format = get("format").value;
  say("exported", `writing ${format}`);
  try {
    const { file, bytes } = await ask(`${address}/exports`, { format });
    const link = element("a", "", `${file}, ${(bytes / 1024).toFixed(0)} KiB`);
    link.href = `${address}/exports/${encodeURIComponent(file)}`;
    link.download = "";
    say("exported", "");
    get("exported").append(link);
    link.click();
  } catch (error) {
    say("exported", reasonOf(error), true);
  }
  exporting = false;
}

// --- buttons, keys, messages

function showButtons() {
  get("accept").disabled = get("cancel").disabled = !isDrawn();
}

/** Be dark or light; the timeline is drawn in the colours of the theme. */
function recolour(next) {
  theme(next);
  timeline.draw();
}

const cursor = (dx, dy, far) => stage.moveCursor(dx * (far ? FAR_STEP : STEP), dy * (far ? FAR_STEP : STEP));

const ACTIONS = {
  Enter: accept, Escape: giveUp, z: undo, c: () => setTool("point"), x: () => setTool("box"),
  b: () => setTool("brush"), " ": () => play(!playing), n: () => doubtful(1), p: () => doubtful(-1),
  ArrowLeft: ({ shiftKey }) => go(frame - (shiftKey ? FAR : 1)), ArrowRight: ({ shiftKey }) => go(frame + (shiftKey ? FAR : 1)),
  Home: () => go(0), End: () => go(project.frames - 1), Delete: () => remove(stage.selected),
  d: () => unprompt(stage.selected), e: () => end(stage.selected),
  r: () => stage.selected !== null && objects.rename(stage.selected),
  i: ({ shiftKey }) => cursor(0, -1, shiftKey), k: ({ shiftKey }) => cursor(0, 1, shiftKey),
  j: ({ shiftKey }) => cursor(-1, 0, shiftKey), l: ({ shiftKey }) => cursor(1, 0, shiftKey),
  m: ({ shiftKey }) => stage.mark(shiftKey ? 0 : 1),
  t: () => recolour(), "?": () => get("help-dialog").showModal(),
};

addEventListener("keydown", (event) => {
  const typing = event.target.closest?.("input, select, dialog, button, li, a") && event.key !== "Escape";
  if (!project || typing || event.ctrlKey || event.metaKey || document.querySelector("dialog[open]")) return;
  if (event.key >= "0" && event.key <= "9") {
    const item = project.objects[Number(event.key) - 1];
    if (item || event.key === "0") select(item?.id ?? null);
    return;
  }
  const action = ACTIONS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  if (!action) return;
  event.preventDefault();
  if (!["Enter", "Escape"].includes(event.key)) get("canvas").focus({ preventScroll: true });
  action(event);
});

for (const [name, doing] of Object.entries({
  accept, cancel: giveUp, undo, theme: () => recolour(), help: () => get("help-dialog").showModal(),
  back: () => go(frame - 1), next: () => go(frame + 1), play: () => play(!playing),
  "to-next": () => doubtful(1), "to-before": () => doubtful(-1),
})) get(name).addEventListener("click", doing);
get("number").addEventListener("change", ({ target }) => {
  const number = Number.parseInt(target.value, 10);
  if (Number.isFinite(number)) go(number);
  target.value = frame;
});

explain("keys", KEYS);
explain("legend", LEGEND);
recolour(knownTheme());

if (id === null) {
  say("banner", await showLibrary().catch((error) => error.message));
} else {
  get("projects").hidden = get("annotate").hidden = false;
  for (const { name, help } of (await ask("projects.json")).formats) {
    const option = element("option", "", name);
    option.title = help;
    get("format").append(option);
  }
  connection.open();
}
