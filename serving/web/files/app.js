// The page: asks for the form, reads it, asks the endpoint, and shows what it says.

import { ask, MOVED, Refused, useModel, useToken, whatIf } from "./client.js";
import { compare, el, flags, modifier, show } from "./answer.js";

const $ = (selector) => document.querySelector(selector);
const $$ = (selector) => [...document.querySelectorAll(selector)];
const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;
/** Values of the modifier at which the gain is asked for, and milliseconds a slider rests. */
const MODIFIER_POINTS = 9, REST = 150;

let config, labels, asked, running, sliding, last;

/** Ask for the form, or for a token first. */
async function start() {
  const model = $("#model");
  try {
    const text = await ask("app/form", { as: "text" });
    // Made by this server's template, which escapes every name.
    model.innerHTML = text;
    $("#access").hidden = true;
    ready();
  } catch (error) {
    if (error.status === 401) return askForToken(error, start);
    const again = el("button", { class: "main" }, "Try again");
    again.onclick = start;
    model.replaceChildren(el("p", { class: "wait", role: "alert" }, error.message), again);
  } finally {
    model.removeAttribute("aria-busy");
  }
}

function askForToken(error, then) {
  const form = $("#access"), field = $("#token");
  $("#access-wrong").textContent = form.hidden && !field.dataset.tried ? "" : error.message;
  if (!$("#patient")) $("#model").replaceChildren();
  form.hidden = false;
  field.focus();
  form.onsubmit = (event) => {
    event.preventDefault();
    useToken(field.value);
    field.value = "";
    field.dataset.tried = "yes";
    form.hidden = Boolean($("#patient"));
    then();
  };
}

function ready() {
  const form = $("#patient");
  config = JSON.parse(form.dataset.config);
  useModel(form.dataset.model);
  labels = Object.fromEntries($$(".field[data-name]").map((f) => [f.dataset.name, f.querySelector("label").firstChild.textContent.trim()]));
  document.title = `${$(".model").textContent}: one patient`;
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    submit();
  });
  form.addEventListener("reset", () => setTimeout(clear));
  form.addEventListener("input", () => {
    count();
    $("#stale").hidden = !asked;
  });
  $("#example").onclick = example;
  $("#print").onclick = () => window.print();
  $("#back").onclick = () => {
    running?.abort();
    settle();
    $("#said").textContent = "Back to the values entered.";
  };
  for (const slider of $$(".slider")) {
    slider.querySelector("input, select").addEventListener("input", () => {
      label(slider);
      clearTimeout(sliding);
      sliding = setTimeout(() => slid(slider), REST);
    });
  }
  count();
}

/** Fields of the form with what is in them. */
const fields = () => $$("#patient .field [name]");

function count() {
  for (const group of $$(".group")) {
    const place = group.querySelector(".count"), given = [...group.querySelectorAll("[name]")].filter((f) => f.value.trim()).length;
    place.textContent = `${given} of ${place.dataset.of} given`;
  }
}

function example() {
  for (const field of fields()) field.value = field.dataset.example;
  $("#reference").value = "made-up patient";
  forget();
  count();
  $("#stale").hidden = !asked;
}

function clear() {
  forget();
  running?.abort();
  asked = undefined;
  $("#result").hidden = true;
  $("#failed").hidden = true;
  $("#empty").hidden = false;
  count();
}

/** The patient as a request has it, and what cannot be read, by field. */
function read() {
  const patient = {}, problems = [];
  for (const field of fields()) {
    const text = field.value.trim(), name = field.labels[0].firstChild.textContent.trim();
    if (!text) continue;
    if (!("number" in field.dataset)) patient[field.name] = text;
    else if (NUMBER.test(text) && Number.isFinite(Number(text))) patient[field.name] = Number(text);
    else problems.push([field, /^[^,]*\d,\d+$/.test(text) ? `${name}: write the decimal with a point` : `${name} must be a number, or empty where it is not known`]);
  }
  for (const area of $$("[data-paste]")) {
    for (const [i, line] of area.value.split("\n").entries()) {
      const [, key, value] = line.trim().match(/^(\S+)[\s,;:=]+(\S+)$/) ?? [];
      if (!line.trim()) continue;
      if (!key || !NUMBER.test(value) || !Number.isFinite(Number(value))) problems.push([area, `Line ${i + 1}: write a name, a space and a number`]);
      else if (key in patient) problems.push([area, `Line ${i + 1}: this feature is given twice`]);
      else patient[key] = Number(value);
    }
  }
  if (!problems.length && !Object.keys(patient).some((key) => key !== config.centre)) problems.push([fields()[0], "Fill in at least one value"]);
  return { patient, problems };
}

async function submit() {
  forget();
  const { patient, problems } = read();
  if (problems.length) return refuse(problems);
  running?.abort();
  running = new AbortController();
  const { signal } = running, { treatment } = config, slider = config.modifier && $$(".slider").find((s) => field(s).name === config.modifier.key);
  const values = slider ? spread(slider.querySelector("input")) : [];
  $("#answer").setAttribute("aria-busy", "true");
  try {
    const both = treatment && config.endpoints.length;
    const [answer, sides, over, explained] = await Promise.all([
      ask("predict", { body: { patient }, signal }),
      both ? whatIf(patient, treatment.key, [treatment.without, treatment.with], signal) : undefined,
      both && slider ? whatIf(patient, config.modifier.key, values, signal) : undefined,
      config.endpoints.length ? ask("explain", { body: { patient }, signal }) : undefined,
    ]);
    asked = { patient, answer };
    shown({ answer, sides, over, explained, values, slider });
  } catch (error) {
    if (error.name !== "AbortError") fail(error, submit);
  } finally {
    if (!signal.aborted) $("#answer").removeAttribute("aria-busy");
  }
}

function shown(found) {
  const { answer, over, values, slider } = found, { said, notes } = flags(config, answer.flags, labels);
  $("#empty").hidden = true;
  $("#result").hidden = false;
  $("#stale").hidden = true;
  const told = show(config, found, labels);
  if (over) modifier(config, slider, values, over, asked.patient[config.modifier.key]);
  $("#odd").hidden = !said.length;
  $("#odd ul").replaceChildren(...said.map((text) => el("li", {}, text)));
  for (const place of $$(".field[data-name]")) {
    const [tone, text] = notes[place.dataset.name] ?? ["", ""], note = place.querySelector(".note");
    note.className = `note ${tone}`;
    note.textContent = text;
    if (tone === "caution") place.closest("details")?.setAttribute("open", "");
  }
  const given = Object.entries(asked.patient).map(([key, value]) => {
    const own = fields().find((f) => f.name === key);
    return el("div", {}, el("dt", {}, own ? own.labels[0].textContent.trim() : key), el("dd", {}, String(value)));
  });
  $("#entered").replaceChildren(...given);
  $("#printed").textContent = `${$("#reference").value.trim() || "No reference"}, ${new Date().toLocaleString()}`;
  settle();
  $("#said").textContent = `Answer. ${told}`;
  if (matchMedia("(max-width: 63.99rem)").matches) $("#answer").scrollIntoView();
  $("#answer").focus({ preventScroll: true });
}

/** Say at each field, and once above all of them, what is wrong. */
function refuse(problems) {
  const items = problems.map(([field, text]) => {
    field.setAttribute("aria-invalid", "true");
    field.closest("details")?.setAttribute("open", "");
    const note = document.getElementById(`${field.id}-note`);
    note.className = "note wrong";
    note.textContent = note.textContent ? `${note.textContent}. ${text}` : text;
    const link = el("a", { href: `#${field.id}` }, text);
    link.onclick = (event) => {
      event.preventDefault();
      field.focus();
    };
    return el("li", {}, link);
  });
  const place = $("#problems");
  place.querySelector("ul").replaceChildren(...items);
  place.hidden = false;
  place.focus();
}

/** Take back all messages. */
function forget() {
  $("#problems").hidden = true;
  $("#failed").hidden = true;
  for (const field of $$("#patient [aria-invalid]")) field.removeAttribute("aria-invalid");
  for (const note of $$("#patient .note")) note.textContent = "";
}

/** Say what the server refused, at the field it is about where it names one. */
function fail(error, again) {
  if (!(error instanceof Refused)) throw error;
  if (error.status === 401) return askForToken(error, again);
  if (error.status === MOVED) return renew(error);
  const every = fields(), at = (where) => {
    const key = where.replace(/^patient\./, "");
    return every.find((f) => f.name === key) ?? $$(".field").find((f) => f.dataset.name === key)?.querySelector("input, select")
      ?? $$("[data-paste]").find((a) => a.value.includes(key));
  };
  const placed = (error.details ?? []).map(({ where, problem }) => [at(where), problem]).filter(([f]) => f);
  if (placed.length) return refuse(placed.map(([f, p]) => [f, `${f.labels[0].firstChild.textContent.trim()}: ${p}`]));
  const place = $("#failed");
  place.textContent = error.message;
  place.hidden = false;
}

/** Ask for the form of the model that answers now, and put in what was entered. */
async function renew(error) {
  const entered = () => [...fields(), ...$$("[data-paste]"), $("#reference")];
  const kept = new Map(entered().map((f) => [f.name || f.id, f.value]));
  await start();
  for (const f of entered()) f.value = kept.get(f.name || f.id) ?? "";
  clear();
  const place = $("#failed");
  place.textContent = error.message;
  place.hidden = false;
}

const field = (slider) => document.getElementById(slider.dataset.for);

/** Set all sliders to what was entered. */
function settle() {
  clearTimeout(sliding);
  last = {};
  for (const slider of $$(".slider")) {
    const input = slider.querySelector("input, select"), given = asked.patient[field(slider).name];
    if (input.type === "range") {
      input.min = Math.min(Number(input.dataset.low), given ?? Infinity);
      input.max = Math.max(Number(input.dataset.high), given ?? -Infinity);
      input.step = given === undefined ? input.dataset.step : "any";
    }
    input.value = given ?? input.dataset.typical ?? "";
    label(slider, given === undefined);
  }
  $("#changed").hidden = true;
  $("#back").hidden = true;
}

function label(slider, absent = false) {
  const input = slider.querySelector("input, select");
  if (input.type !== "range") return;
  const value = String(Number(Number(input.value).toPrecision(4)));
  slider.querySelector("output").textContent = absent ? "not given" : value;
  input.setAttribute("aria-valuetext", absent ? "not given" : `${value} ${slider.dataset.unit}`.trim());
}

/** Ask what the model says with the sliders where they are. */
async function slid(slider) {
  const input = slider.querySelector("input, select"), { name } = field(slider), { patient } = asked;
  const value = input.type === "range" ? Number(Number(input.value).toPrecision(4)) : input.value || null;
  last = { ...last, [name]: value };
  running?.abort();
  running = new AbortController();
  try {
    const [changed] = await whatIf({ ...patient, ...last }, name, [value], running.signal);
    const words = $$(".slider").filter((s) => field(s).name in last).map((s) => `${s.dataset.label} ${last[field(s).name] ?? "not known"}`).join(", ");
    $("#back").hidden = false;
    $("#failed").hidden = true;
    $("#said").textContent = compare(config, asked.answer, changed, words);
  } catch (error) {
    if (error.name !== "AbortError") fail(error, () => slid(slider));
  }
}

/** Evenly spread values of a slider. */
function spread(input) {
  const low = Number(input.dataset.low), high = Number(input.dataset.high);
  return Array.from({ length: MODIFIER_POINTS }, (_, i) => Number((low + ((high - low) * i) / (MODIFIER_POINTS - 1)).toPrecision(4)));
}

start();
