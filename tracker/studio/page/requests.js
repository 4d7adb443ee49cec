// Requests of the annotation page over HTTP, and uploads in pieces that go on where they stopped.

const TRIES = 5;
const WAIT_MS = 1000;

/** The JSON of an answer; an Error with `hint` where it says what is wrong. */
export async function ask(address, body = null, options = {}) {
  const sent = body === null ? {} : { method: "POST", body: JSON.stringify(body) };
  const answer = await fetch(address, { ...sent, ...options });
  const said = await answer.json().catch(() => ({ error: `the studio answers ${answer.status}` }));
  if (!answer.ok) throw Object.assign(new Error(said.error), { hint: said.hint, status: answer.status });
  return said;
}

/** Upload a file; resolves to the id of its project. */
export async function upload(file, pieceBytes, onProgress) {
  const key = `upload ${file.name} ${file.size} ${file.lastModified}`;
  let at = await begun(key);
  at ??= await ask("uploads", { name: file.name, size: file.size });
  localStorage.setItem(key, at.upload);
  try {
    while (at.received < file.size) {
      at = await piece(at.upload, file, at.received, pieceBytes);
      onProgress(at.received / file.size);
    }
    return (await ask(`uploads/${at.upload}/finish`, {})).project;
  } finally {
    if (at.received >= file.size) localStorage.removeItem(key);
  }
}

/** An upload of the same file that stopped; null where there is none. */
async function begun(key) {
  const id = localStorage.getItem(key);
  return id ? ask(`uploads/${id}`).catch(() => null) : null;
}

async function piece(id, file, offset, pieceBytes) {
  for (let tried = 1; ; tried += 1) {
    try {
      const body = file.slice(offset, offset + pieceBytes);
      return await ask(`uploads/${id}?offset=${offset}`, null, { method: "PUT", body });
    } catch (error) {
      if (error.status === 413 || tried === TRIES) throw error;
      await new Promise((done) => setTimeout(done, WAIT_MS * tried));
      const at = await ask(`uploads/${id}`).catch(() => null);
      if (at && at.received !== offset) return at;
    }
  }
}
