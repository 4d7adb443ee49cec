// The list of projects, the folders that may be opened, and the place to drop a file.

import { ask, upload } from "./requests.js";
import { button, element } from "./tiles.js";

const get = (id) => document.getElementById(id);

export async function showLibrary() {
  get("library").hidden = false;
  const asked = ask("projects.json");
  takeFiles(asked);
  const known = await asked;
  listProjects(known.projects);
  listFolders(known.folders);
  return known.projects.length === 1 ? "1 project" : `${known.projects.length} projects`;
}

// From the first moment, whenever the limits come: a browser would leave the page for a dropped file.
function takeFiles(asked) {
  const send = (file) => file && asked.then((known) => sendFile(file, known), () => {});
  get("file").addEventListener("change", ({ target }) => send(target.files[0]));
  const drop = get("drop");
  addEventListener("dragover", (event) => { event.preventDefault(); drop.classList.add("over"); });
  addEventListener("dragleave", () => drop.classList.remove("over"));
  addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    send(event.dataTransfer.files[0]);
  });
}

function listProjects(projects) {
  const list = get("project-list");
  list.replaceChildren();
  if (!projects.length) list.append(element("li", "", "none yet"));
  for (const { id, title, source, error } of projects) {
    const link = element("a", "button", title);
    link.href = `annotate.html?project=${encodeURIComponent(id)}`;
    link.append(" ", element("small", error ? "error" : "", error ?? source));
    const item = element("li");
    item.append(link);
    list.append(item);
  }
}

function listFolders(folders) {
  get("place").textContent = folders.length ? "" : "start trackd studio with --folder to open files there";
  const list = get("entries");
  list.replaceChildren();
  folders.forEach((name, folder) => choice(list, `${name}/`, () => browse(folder, name, "")));
}

async function browse(folder, name, path) {
  const list = get("entries");
  let listing;
  try {
    listing = await ask(`browse.json?folder=${folder}&path=${encodeURIComponent(path)}`);
  } catch (error) { say(error); return; }
  get("place").textContent = path ? `${name}/${path}` : name;
  list.replaceChildren();
  const above = path.split("/").slice(0, -1).join("/");
  choice(list, "Back", () => (path ? browse(folder, name, above) : showAgain()));
  const inside = (entry) => (path ? `${path}/${entry}` : entry);
  if (listing.pictures) choice(list, `These ${listing.pictures} pictures`, () => create(folder, path));
  for (const entry of listing.entries) {
    if (entry.kind === "folder") choice(list, `${entry.name}/`, () => browse(folder, name, inside(entry.name)));
    else choice(list, entry.name, () => create(folder, inside(entry.name)));
  }
  if (listing.left_out) list.append(element("li", "", `${listing.left_out} more are not shown`));
}

async function showAgain() {
  listFolders((await ask("projects.json")).folders);
}

function choice(list, text, doing) {
  const item = element("li"), made = button(text);
  made.addEventListener("click", doing);
  item.append(made);
  list.append(item);
}

let creating = false;
/** Make a project and open it; a second click meanwhile makes no second one. */
async function create(folder, path) {
  if (creating) return;
  creating = true;
  try {
    open(await ask("projects", { folder, path }));
  } catch (error) {
    say(error);
    creating = false;
  }
}

function open({ project }) {
  location.href = `annotate.html?project=${encodeURIComponent(project)}`;
}

async function sendFile(file, { max_upload_bytes: most, piece_bytes: pieceBytes }) {
  say(null);
  if (file.size > most) {
    say(Object.assign(new Error(`${file.name} is larger than ${(most / 2 ** 30).toFixed(1)} GiB`), { hint: "put it into a folder of --folder" }));
    return;
  }
  const bar = get("progress");
  bar.hidden = false;
  try {
    open({ project: await upload(file, pieceBytes, (done) => { bar.value = done; }) });
  } catch (error) {
    say(error);
  } finally {
    bar.hidden = true;
  }
}

function say(error) {
  get("library-error").textContent = error ? [error.message, error.hint].filter(Boolean).join("; ") : "";
}
