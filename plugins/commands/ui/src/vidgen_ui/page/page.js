// The page's half of `vidgen ui`: the form becomes a wish, wishes become cards, cards follow what the server says.
"use strict";

const OFTEN = 400; // milliseconds between two looks at clips that are being made
const SELDOM = 3000;
const SMALL = 200; // pixels; what is narrower is shown with its pixels as squares
const TEXTS = ["negative_prompt"];
const VALUES = ["num_frames", "num_sampling_steps", "cfg_scale", "seed"];
const WORDS = {waiting: "waiting", running: "in work", done: "done", failed: "failed", cancelled: "cancelled"};

const find = (name, within = document) => within.querySelector(name);
const field = (id) => document.getElementById(id);
const references = new Map(); // list item -> the file's number
const cards = new Map(); // number of a clip -> its card
let start = null;
let timer = 0;

async function ask(path, options = {}) {
  const answer = await fetch(path, options);
  const data = await answer.json();
  if (!answer.ok) throw new Error(data.error);
  return data;
}

// Numbers as numbers; any other text as it is, for the server to say what is wrong with it.
function value(text) {
  const trimmed = text.trim();
  return /^[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$/i.test(trimmed) ? Number(trimmed) : trimmed;
}

function wish() {
  const asked = {prompt: field("prompt").value};
  asked.negative_prompt = field("negative_prompt").value.trim() || null;
  for (const name of VALUES) {
    const text = field(name).value;
    if (text.trim() !== "" && text !== String(start.fields[name])) asked[name] = value(text);
  }
  if (sizeKind() === "pixels") asked.image_size = [value(field("rows").value), value(field("columns").value)];
  else for (const name of ["resolution", "aspect_ratio"]) asked[name] = field(name).value;
  if (references.size) asked.references = [...references].map(([item, number]) => reference(item, number));
  return asked;
}

function reference(item, number) {
  const place = find(".place", item).value;
  const at = place === "first" ? 0 : place === "last" ? -1 : value(find(".at input", item).value);
  const asked = {file: number, at: at, edit: value(find(".edit", item).value)};
  const frames = find(".frames input", item).value.trim();
  if (frames) asked.frames = /^-?\d+$/.test(frames) ? Number(frames) : frames;
  return asked;
}

const sizeKind = () => find("input[name=size]:checked").value;

function chooseSize(kind) {
  find(`input[name=size][value=${kind}]`).checked = true;
  for (const row of document.querySelectorAll("[data-size]")) row.hidden = row.dataset.size !== kind;
}

function fill(values) {
  for (const name of [...TEXTS, ...VALUES]) field(name).value = values[name] ?? "";
  if (values.image_size) [field("rows").value, field("columns").value] = values.image_size;
  for (const name of ["resolution", "aspect_ratio"]) if (values[name]) field(name).value = values[name];
  chooseSize(values.resolution ? "named" : "pixels");
}

function tell(error) {
  const place = field("error");
  place.textContent = error ? error.message : "";
  place.hidden = !error;
}

async function send(event) {
  event.preventDefault();
  field("make").disabled = true;
  try {
    const headers = {"Content-Type": "application/json"};
    await ask("clips", {method: "POST", headers, body: JSON.stringify(wish())});
    tell(null);
  } catch (error) {
    tell(error);
  }
  field("make").disabled = false;
  look();
}

async function addReference() {
  const [file] = field("file").files;
  if (!file) return;
  field("make").disabled = true;
  try {
    if (file.size > start.largest_file) throw new Error(`${file.name}: ${file.size} bytes; it may have at most ${start.largest_file}`);
    const headers = {"Content-Type": "application/octet-stream"};
    const query = new URLSearchParams({name: file.name});
    showReference(await ask(`references?${query}`, {method: "POST", headers, body: file}));
    tell(null);
  } catch (error) {
    tell(error);
  }
  field("file").value = "";
  field("make").disabled = false;
}

function showReference(upload) {
  const item = find("li", field("reference").content.cloneNode(true));
  find(".name", item).textContent = upload.name;
  find(".frames", item).hidden = upload.kind !== "video";
  find(".place", item).addEventListener("change", (event) => {
    find(".at", item).hidden = event.target.value !== "at";
  });
  find(".remove", item).addEventListener("click", () => {
    references.delete(item);
    item.remove();
  });
  references.set(item, upload.number);
  field("reference_list").append(item);
}

async function look() {
  clearTimeout(timer);
  let pause = SELDOM;
  try {
    const clips = await ask("clips");
    field("lost").hidden = true;
    field("nothing").hidden = clips.length > 0;
    clips.forEach(show);
    if (clips.some((clip) => clip.state === "waiting" || clip.state === "running")) pause = OFTEN;
  } catch {
    field("lost").hidden = false;
  }
  clearTimeout(timer); // a second look may have begun meanwhile
  timer = setTimeout(look, pause);
}

function newCard(clip) {
  const card = find("article", field("clip").content.cloneNode(true));
  card.dataset.number = clip.number;
  find(".prompt", card).textContent = clip.wish.prompt;
  for (const [name, text] of Object.entries(clip.settings)) {
    const [term, detail] = [document.createElement("dt"), document.createElement("dd")];
    term.textContent = name;
    detail.textContent = text;
    find(".settings", card).append(term, detail);
  }
  find(".cancel", card).addEventListener("click", async () => {
    await ask(`clips/${clip.number}/cancel`, {method: "POST"}).catch(tell);
    look();
  });
  find(".again", card).addEventListener("click", () => {
    field("prompt").value = clip.wish.prompt;
    fill({...start.fields, ...("image_size" in clip.wish ? {resolution: null} : {}), ...clip.wish});
    field("prompt").focus();
  });
  field("clips").prepend(card);
  return card;
}

function show(clip) {
  if (!cards.has(clip.number)) cards.set(clip.number, newCard(clip));
  const card = cards.get(clip.number);
  const active = clip.state === "waiting" || clip.state === "running";
  const steps = clip.state === "running" && clip.total ? `, step ${clip.done} of ${clip.total}` : "";
  find(".state", card).textContent = WORDS[clip.state] + steps;
  const bar = find("progress", card);
  bar.hidden = clip.state !== "running";
  if (clip.total) [bar.max, bar.value] = [clip.total, clip.done];
  find(".cancel", card).hidden = !active;
  if (card.dataset.state === clip.state) return;
  card.dataset.state = clip.state;
  if (!active) finish(card, clip);
}

function finish(card, clip) {
  find(".error", card).textContent = clip.text;
  find(".error", card).hidden = !clip.text;
  for (const note of clip.notes) {
    const item = document.createElement("li");
    item.textContent = note;
    find(".notes", card).append(item);
  }
  if (clip.file) showFile(card, clip);
}

function showFile(card, clip) {
  find(".file", card).textContent = clip.file;
  const picture = document.createElement(clip.kind === "video" ? "video" : "img");
  if (clip.kind === "video") Object.assign(picture, {controls: true, loop: true, muted: true, autoplay: true, playsInline: true});
  else picture.alt = clip.wish.prompt;
  const sized = () => picture.classList.toggle("small", (picture.videoWidth || picture.naturalWidth) < SMALL);
  picture.addEventListener(clip.kind === "video" ? "loadedmetadata" : "load", sized);
  picture.src = `clips/${clip.number}`;
  find(".picture", card).append(picture);
}

async function begin() {
  start = await ask("start");
  field("about").textContent = [start.model, start.weights].filter(Boolean).join(", ");
  for (const [id, names] of [["resolution", start.resolutions], ["aspect_ratio", start.aspect_ratios]]) {
    field(id).append(...names.map((name) => new Option(name, name)));
  }
  field("references").disabled = !start.takes_references;
  field("no_references").hidden = start.takes_references;
  fill(start.fields);
  for (const radio of document.querySelectorAll("input[name=size]")) {
    radio.addEventListener("change", () => chooseSize(sizeKind()));
  }
  field("new_seed").addEventListener("click", () => {
    field("seed").value = Math.floor(Math.random() * 2 ** 31);
  });
  field("file").addEventListener("change", addReference);
  field("form").addEventListener("submit", send);
  document.body.dataset.ready = "yes";
  await look();
}

begin().catch(() => {
  field("lost").hidden = false;
});
