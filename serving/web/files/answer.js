// An answer of the endpoint in words, tables and curves.

import { chart, months, ticks } from "./chart.js";

const $ = (selector) => document.querySelector(selector);

/** Make an element with children: texts or elements. */
export function el(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

const known = (x) => typeof x === "number";
const whole = (x) => Math.round(100 * x);
const percent = (x) => (known(x) ? `${whole(x)} %` : "not known");
const signed = (x) => (x < 0 ? "−" : x > 0 ? "+" : "") + Math.abs(x);
const points = (x) => `${signed(whole(x))} points`;
const capital = (text) => text[0].toUpperCase() + text.slice(1);
const decimal = (x, digits = 1) => x.toFixed(digits);
const paragraphs = (place, texts) => place.replaceChildren(...texts.filter(Boolean).map((t) => el("p", {}, t)));

function table(place, caption, head, rows) {
  const cells = (tag, row) => row.map((c, i) => el(tag === "th" || i === 0 ? "th" : "td", tag === "th" ? { scope: "col" } : i === 0 ? { scope: "row" } : {}, c));
  place.replaceChildren(el("table", {},
    el("caption", {}, caption),
    el("thead", {}, el("tr", {}, ...cells("th", head))),
    el("tbody", {}, ...rows.map((row) => el("tr", {}, ...cells("td", row))))));
  // A wide table has to scroll by the keyboard too.
  const wide = place.scrollWidth > place.clientWidth;
  for (const [name, value] of Object.entries({ tabindex: "0", role: "region", "aria-label": caption })) {
    if (wide) place.setAttribute(name, value);
    else place.removeAttribute(name);
  }
}

const series = (name, look, answer) => ({ name, look, points: answer.curve.map((p) => ({ x: p.time, y: p.survival, low: p.low, high: p.high })) });
const at = (answer, time) => answer.curve.reduce((a, b) => (Math.abs(b.time - time) < Math.abs(a.time - time) ? b : a));
const between = (p) => (known(p.low) ? `${whole(p.low)} to ${whole(p.high)} %` : "not known");
/** The interval after a value, where the model has one. */
const around = (p, words = "") => (known(p.low) ? ` (${words}${whole(p.low)} to ${whole(p.high)})` : "");

function survivalChart(figure, config, lines, caption, alt) {
  const horizon = config.endpoints[0].horizon;
  chart(figure, {
    series: lines,
    caption,
    alt,
    x: { low: 0, high: horizon, ticks: months(horizon), label: "Months", format: (t) => String(t) },
    y: { low: 0, high: 1, ticks: [0, 0.25, 0.5, 0.75, 1], format: percent },
  });
}

/** The treatment's advice in an answer: its look, a badge, and words. */
export function advice(config, said) {
  const { label } = config.treatment, [kind, ...why] = said.split(": ");
  if (kind === "abstains") return ["caution", "No advice", `The model abstains: ${why.join(": ")}.`];
  if (kind === "favours none") return ["alarm", "Against", `The model speaks against ${label}: harm is likely.`];
  if (kind === "no clear benefit") return ["quiet", "No clear benefit", `A worthwhile gain from ${label} is unlikely: its chance is below 20 %.`];
  return ["shown", "In favour", `The model favours ${label}: a gain of more than 3 points is likely.`];
}

/** The benefit of an endpoint's treatment in one sentence. */
function gain(config, answer, endpoint, prefix = "") {
  const h = endpoint.benefit, found = ["", "_low", "_high"].map((part) => answer[`${prefix}benefit${part}@${h}`]);
  if (!known(found[0])) return "";
  return `${points(found[0])} at ${h} months (80 % interval ${signed(whole(found[1]))} to ${signed(whole(found[2]))})`;
}

function median(answer, horizon) {
  const i = answer.curve.findIndex((p) => p.survival <= 0.5);
  if (i < 1) return `More than half are expected to be so at ${horizon} months, as far as the model reaches.`;
  const [a, b] = [answer.curve[i - 1], answer.curve[i]];
  const time = a.time + ((a.survival - 0.5) / (a.survival - b.survival || 1)) * (b.time - a.time);
  return `For half of such patients that lasts longer than about ${Math.round(time)} months.`;
}

function survival(config, answer) {
  const [first, ...others] = config.endpoints, time = config.times.at(-1), end = at(answer, Number(time));
  const ratio = Math.exp(answer.risk), close = Math.abs(ratio - 1) < 0.05;
  const relative = close ? "about the same as that of" : `about ${decimal(ratio)} times that of`;
  const group = answer.risk_group ? ` Its risk is in the ${answer.risk_group} third of the training patients${known(answer.risk_centile) ? `, higher than that of ${Math.round(answer.risk_centile)} % of them` : ""}.` : "";
  const rmst = answer[`rmst@${first.benefit}`];
  paragraphs($("#survival-words"), [
    `Of 100 patients like this one about ${whole(end.survival)} are expected to be ${first.free} at ${time} months${around(end, "80 % interval ")}. ${median(answer, Math.round(first.horizon))}`,
    known(rmst) ? `Of the first ${first.benefit} months such patients are ${first.free} for ${decimal(rmst)} on average.` : "",
    `The hazard is ${relative} the average training patient.${group}`,
  ]);
  survivalChart($("#survival-chart"), config, [series(first.label, "given", answer)],
    known(end.low) ? "Line: expected survival of patients like this one. Band: its 80 % interval. Of ten such intervals about eight hold the true survival." : "Expected survival of patients like this one; this model has no interval.",
    `${first.label} from ${percent(1)} at month 0 to ${percent(end.survival)} at month ${time}; the table has the values.`);
  table($("#survival-table"), "Survival by month", ["Month", first.label, "80 % interval", ...others.map((e) => e.label)],
    config.times.map((t) => [t, percent(answer[`survival@${t}`]), between(at(answer, Number(t))),
      ...others.map((e) => (Number(t) <= e.horizon ? percent(answer[`${e.name}.survival@${t}`]) : "beyond its horizon"))]));
  return `About ${whole(end.survival)} of 100 such patients ${first.free} at ${time} months${around(end, "80 % interval ")}.`;
}

function treatment(config, answer, [without, withIt]) {
  const [first, ...others] = config.endpoints, { label } = config.treatment;
  const [tone, badge, text] = advice(config, answer.advice), place = $("#advice");
  place.className = `verdict ${tone}`;
  place.replaceChildren(el("span", { class: "badge" }, badge), ` ${text}`);
  const h = first.benefit, all = gain(config, answer, first), rmst = answer[`rmst_gain@${h}`];
  paragraphs($("#treatment-words"), [
    all ? `Expected change of survival with ${label}: ${all}. Of 100 such patients about ${whole(at(withIt, Number(h)).survival)} would be ${first.free} with it and ${whole(at(without, Number(h)).survival)} without.` : "The model could not estimate an effect.",
    known(answer.p_benefit) ? `The chance that it gains more than 3 points is ${percent(answer.p_benefit)}.${known(rmst) ? ` Mean time within ${h} months: ${signed(decimal(Math.abs(rmst)) * Math.sign(rmst))} months.` : ""}` : "",
    ...others.map((e) => [e, gain(config, answer, e, `${e.name}.`)]).map(([e, g]) => (g ? `${e.label}: ${g}.` : "")),
  ]);
  const lines = [series(`With ${label}`, "with", withIt), series(`Without ${label}`, "without", without)];
  survivalChart($("#treatment-chart"), config, lines,
    `Expected survival with and without ${label}, ${known(withIt.curve[0].low) ? "each with its 80 % interval" : "without intervals"}.`,
    `At month ${h}: ${percent(at(withIt, Number(h)).survival)} with ${label}, ${percent(at(without, Number(h)).survival)} without; the table has the values.`);
  table($("#treatment-table"), known(withIt.curve[0].low) ? "Survival by month; in parentheses its 80 % interval" : "Survival by month", ["Month", `With ${label}`, `Without ${label}`],
    config.times.map((t) => [t, ...[withIt, without].map((a) => `${percent(a[`survival@${t}`])}${around(at(a, Number(t)))}`)]));
  return [`${badge}. ${all ? `${capital(all)}.` : text}`, tone];
}

/** How the gain depends on the main modifier: the same patient over its usual values. */
export function modifier(config, slider, values, answers, own) {
  const h = config.endpoints[0].benefit, line = values.map((x, i) => ({ x, y: answers[i][`benefit@${h}`], low: answers[i][`benefit_low@${h}`], high: answers[i][`benefit_high@${h}`] }));
  const place = $("#modifier");
  place.hidden = !line.every((p) => known(p.y));
  if (place.hidden) return;
  const { label, unit } = slider.dataset, name = config.treatment.label;
  $("#modifier-h").textContent = `Does ${label} change what ${name} gains?`;
  const low = Math.min(-0.05, ...line.map((p) => p.low)), high = Math.max(0.05, ...line.map((p) => p.high));
  const steps = ticks(low, high, 6);
  chart($("#modifier-chart"), {
    series: [{ name: `Gain at ${h} months, with its 80 % interval`, look: "given", points: line }],
    caption: `The same patient with other values of ${label}.`,
    alt: `Gain from ${name} by ${label}: ${points(line[0].y)} at ${values[0]}, ${points(line.at(-1).y)} at ${values.at(-1)}.`,
    mark: known(own) ? { x: own, label: "this patient" } : undefined,
    x: { low: values[0], high: values.at(-1), ticks: ticks(values[0], values.at(-1)), label: unit ? `${label} (${unit})` : label, format: (t) => String(t) },
    y: { low, high, ticks: steps, format: (v) => signed(whole(v)) },
  });
  const [a, b] = [line[0], line.at(-1)], { more } = config.modifier, sure = Math.max(more, 1 - more);
  $("#modifier-words").textContent = `At ${values[0]} the gain would be ${points(a.y)} (${signed(whole(a.low))} to ${signed(whole(a.high))}), at ${values.at(-1)} ${points(b.y)} (${signed(whole(b.low))} to ${signed(whole(b.high))}).${known(more) ? ` By the hazard ratio ${name} does ${more < 0.5 ? "less" : "more"} where ${label} is higher, with a probability of ${sure > 0.99 ? "more than 99 %" : percent(sure)}; 50 % would say nothing.` : ""}`;
}

function responses(config, answer) {
  const place = $("#else-words"), found = config.responses.map((r) => [r, answer[`response.${r.name}`]]);
  place.replaceChildren(...found.flatMap(([r, p]) => [
    el("p", {}, el("span", { class: "badge caution" }, "exploratory"), known(p)
      ? ` Probability of ${r.label}: ${percent(p)}${r.rate ? `; where the model is used ${percent(r.rate)} of patients have it` : ""}.`
      : ` Probability of ${r.label}: the model has too few labels to say.`),
    ...(r.verdict ? [el("p", { class: "help" }, `How good that is: ${r.verdict}.`)] : []),
  ]));
  return found.map(([r, p]) => `${capital(r.label)}: ${percent(p)}`).join("; ") + " (exploratory).";
}

/** The meaning of an answer's flags: texts for all, and notes for the fields they are about. */
export function flags(config, found, labels) {
  const said = [], notes = {}, absent = [];
  const label = (name) => labels[name] ?? name;
  for (const flag of found) {
    const [kind, ...rest] = flag.split(":"), about = rest.join(":");
    if (kind === "missing") absent.push(about), notes[about] = ["quiet", "Not given."];
    else if (kind === "missing_modality" && about === "treatment" && config.treatment) said.push(`${capital(config.treatment.label)} is to be decided: the first curve is of such patients as they were treated.`);
    else if (kind === "missing_modality") absent.push(`all of ${config.modalities[about] ?? about}`);
    else if (kind === "out_of_range") notes[about] = ["caution", "Outside the plausible range: check it. The model takes it as the nearest value in its training range."];
    else if (kind === "outside_training") notes[about] = ["caution", "Far outside the values of the patients that the model learned from: check it and its unit."];
    else if (kind === "outside_training_modality") said.push(`The values of ${config.modalities[about] ?? about} are far outside those that the model learned from, as if measured on another scale.`);
    else if (kind === "unknown_level") notes[about] = ["caution", "Not one of the levels: taken as not known."];
    else if (kind === "not_a_number") notes[about] = ["caution", "Not a number: taken as not known."];
    else if (kind === "unknown_column") said.push(`The model does not know ${about}: left out.`);
    else if (kind === "unknown_columns") said.push(`It does not know ${about}: left out.`);
    else if (kind === "beyond_follow_up") said.push("The last months of the curve lie beyond the follow-up of all patients that the model learned from: survival there is extrapolated.");
    else if (kind === "unknown_assay") said.push("Expression was measured on a scale that the model does not know: it is ranked among all training patients, which may be wrong.");
    else said.push(flag.replaceAll("_", " "));
    if (notes[about]?.[0] === "caution") said.push(`${label(about)}: ${notes[about][1]}`);
  }
  if (absent.length) said.push(`Not given: ${absent.map(label).join(", ")}. The model works with what is known of the others.`);
  return { said, notes };
}

/** Write the whole answer into the page; what a reader who listens is told comes back. */
export function show(config, { answer, sides, explained }, labels) {
  const glance = [];
  if (answer.curve) glance.push(["Survival", survival(config, answer)]);
  if (sides) {
    const [text, tone] = treatment(config, answer, sides);
    glance.push([capital(config.treatment.label), text, tone]);
  }
  if (config.responses.length) glance.push(["What else", responses(config, answer)]);
  $("#glance").replaceChildren(...glance.map(([term, text, tone = "shown"]) => el("div", { class: tone }, el("dt", {}, term), el("dd", {}, text))));
  $("#why").hidden = !explained;
  if (explained) why(config, explained, labels);
  return glance.map(([term, text]) => `${term}: ${text}`).join(" ");
}

function why(config, { features, base }, labels) {
  const parts = Object.entries(features).filter(([, part]) => known(part)).sort((a, b) => Math.abs(b[1]) - Math.abs(a[1]));
  const shown = parts.slice(0, 6).filter(([, part]) => Math.abs(part) >= 0.005), others = parts.slice(shown.length);
  const most = Math.max(...shown.map(([, part]) => Math.abs(part)), 0.05);
  if (others.length) shown.push([null, others.reduce((sum, [, part]) => sum + part, 0)]);
  const typical = config.treatment ? `a typical training patient without ${config.treatment.label}` : "a typical training patient";
  $("#why-words").textContent = `What each value does to the hazard, against ${typical}, whose own is ${decimal(Math.exp(base), 2)} times the average. It describes the model, not causes.`;
  table($("#why-table"), "What drives this patient's risk", ["Value", "Effect", "Hazard"], shown.map(([name, part]) => [
    name === null ? `${others.length} others` : labels[name] ?? name, bar(part / most), `× ${decimal(Math.exp(part), 2)} ${Math.abs(part) < 0.005 ? "no change" : part > 0 ? "raises" : "lowers"}`,
  ]));
}

function bar(part) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg"), length = Math.min(Math.abs(part), 1) * 58;
  for (const [k, v] of Object.entries({ viewBox: "0 0 120 14", width: 120, height: 14, "aria-hidden": "true" })) svg.setAttribute(k, v);
  svg.innerHTML = `<rect class="${part > 0 ? "raises" : "lowers"}" x="${part > 0 ? 60 : 60 - length}" y="2" width="${length}" height="10"/><line class="axis" x1="60" x2="60" y1="0" y2="14"/>`;
  return svg;
}

/** Lay the changed answer over the one as entered. */
export function compare(config, answer, changed, words) {
  const rows = [], h = config.endpoints[0]?.benefit;
  for (const t of answer.curve ? config.times : []) rows.push([`Survival at ${t} months`, ...[answer, changed].map((a) => percent(a[`survival@${t}`]))]);
  if (config.treatment && answer.advice) {
    rows.push([`Gain from ${config.treatment.label} at ${h} months`, ...[answer, changed].map((a) => (known(a[`benefit@${h}`]) ? gainAlone(a, h) : "not known"))]);
    rows.push(["Advice", ...[answer, changed].map((a) => advice(config, a.advice)[1])]);
  }
  for (const r of config.responses) rows.push([capital(r.label), ...[answer, changed].map((a) => percent(a[`response.${r.name}`]))]);
  $("#changed").hidden = false;
  table($("#whatif-table"), `With ${words}`, ["Answer", "As entered", "Changed"], rows);
  if (answer.curve) {
    const t = config.times.at(-1);
    survivalChart($("#whatif-chart"), config, [series("As entered", "given", answer), series("Changed", "changed", changed)],
      `Changed: ${words}.`, `At month ${t}: ${percent(answer[`survival@${t}`])} as entered, ${percent(changed[`survival@${t}`])} changed; the table has the values.`);
  }
  return `With ${words}: ${rows.map(([name, , value]) => `${name} ${value}`).join("; ")}.`;
}

const gainAlone = (a, h) => `${points(a[`benefit@${h}`])} (${signed(whole(a[`benefit_low@${h}`]))} to ${signed(whole(a[`benefit_high@${h}`]))})`;
