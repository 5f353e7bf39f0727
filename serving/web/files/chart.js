// Curves with their bands as inline SVG, at the size of the place they are in.

const NS = "http://www.w3.org/2000/svg";
const MARGIN = { top: 10, right: 14, bottom: 42, left: 50 };
/** Width of a chart on paper, in pixels; null on a screen, where its place decides. */
let paper = null;

const known = (x) => typeof x === "number";

for (const [event, width] of [["beforeprint", 360], ["afterprint", null]]) {
  addEventListener(event, () => {
    paper = width;
    for (const figure of document.querySelectorAll("figure")) if (figure.what) draw(figure);
  });
}

function add(parent, tag, attributes, text) {
  const made = document.createElementNS(NS, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (text !== undefined) made.textContent = text;
  parent.append(made);
  return made;
}

/** Round ticks between two ends, about `count` of them. */
export function ticks(low, high, count = 5) {
  const rough = (high - low) / count, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((k) => k * power).find((s) => s >= rough * 0.99);
  const found = [];
  for (let t = Math.ceil(low / step - 1e-9) * step; t <= high + 1e-9; t += step) found.push(Number(t.toPrecision(10)));
  return found;
}

/** Ticks of months: whole years where there are some. */
export function months(horizon) {
  const step = [1, 2, 3, 6, 12, 24, 60, 120, 240].find((s) => horizon / s <= 6.01) ?? horizon / 5;
  return Array.from({ length: Math.floor(horizon / step + 1e-9) + 1 }, (_, i) => i * step);
}

/**
 * Draw lines with bands into a figure, and again whenever its width changes.
 *
 * `series`: name, look (a class of the style sheet) and points {x, y, low, high}; `x` and `y`: low,
 * high, ticks, label, format; `mark`: an x with a label; `alt`: what a reader who cannot see is told.
 */
export function chart(figure, what) {
  figure.what = what;
  figure.querySelector("figcaption").textContent = what.caption ?? "";
  const legend = figure.querySelector(".legend");
  legend.replaceChildren(...what.series.map(({ name, look }) => {
    const item = document.createElement("li"), key = document.createElementNS(NS, "svg");
    for (const [k, v] of Object.entries({ width: 34, height: 14, "aria-hidden": "true" })) key.setAttribute(k, v);
    add(key, "rect", { width: 34, height: 14, class: `band ${look}` });
    add(key, "line", { x1: 0, x2: 34, y1: 7, y2: 7, class: `line ${look}` });
    item.append(key, ` ${name}`);
    return item;
  }));
  if (!figure.watch) {
    figure.watch = new ResizeObserver(() => draw(figure));
    figure.watch.observe(figure.querySelector(".plot"));
  }
  draw(figure);
}

function draw(figure) {
  const { series, x, y, mark, alt } = figure.what, plot = figure.querySelector(".plot");
  const width = paper ?? Math.max(260, Math.min(plot.clientWidth || 560, 760)), height = paper ? 140 : Math.max(230, Math.min(0.5 * width, 340));
  if (figure.drawn === figure.what && plot.firstChild?.getAttribute("width") === String(width)) return;
  figure.drawn = figure.what;
  const svg = document.createElementNS(NS, "svg");
  const size = { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": alt };
  for (const [name, value] of Object.entries(size)) svg.setAttribute(name, value);
  const right = width - MARGIN.right, bottom = height - MARGIN.bottom;
  const at = (v) => MARGIN.left + ((v - x.low) / (x.high - x.low)) * (right - MARGIN.left);
  const up = (v) => bottom - ((v - y.low) / (y.high - y.low)) * (bottom - MARGIN.top);
  const to = (v) => Math.min(Math.max(v, y.low), y.high);
  for (const t of y.ticks) {
    add(svg, "line", { x1: MARGIN.left, x2: right, y1: up(t), y2: up(t), class: t === 0 ? "axis" : "grid" });
    add(svg, "text", { x: MARGIN.left - 7, y: up(t) + 4, "text-anchor": "end" }, y.format(t));
  }
  for (const t of x.ticks) {
    add(svg, "line", { x1: at(t), x2: at(t), y1: bottom, y2: bottom + 5, class: "axis" });
    add(svg, "text", { x: at(t), y: bottom + 19, "text-anchor": "middle" }, x.format(t));
  }
  add(svg, "line", { x1: MARGIN.left, x2: right, y1: bottom, y2: bottom, class: "axis" });
  add(svg, "text", { x: (MARGIN.left + right) / 2, y: height - 4, "text-anchor": "middle", class: "name" }, x.label);
  for (const { points, look } of series.filter((each) => known(each.points[0].low))) {
    const band = [...points.map((p) => [p.x, p.high]), ...[...points].reverse().map((p) => [p.x, p.low])];
    const path = band.map(([a, b]) => `${at(a).toFixed(1)},${up(to(b)).toFixed(1)}`).join(" ");
    add(svg, "polygon", { points: path, class: `band ${look}` });
  }
  for (const { points, look } of series) {
    const path = points.map((p) => `${at(p.x).toFixed(1)},${up(to(p.y)).toFixed(1)}`).join(" ");
    add(svg, "polyline", { points: path, class: `line ${look}` });
  }
  if (mark && mark.x >= x.low && mark.x <= x.high) {
    const late = at(mark.x) > (MARGIN.left + right) / 2;
    add(svg, "line", { x1: at(mark.x), x2: at(mark.x), y1: MARGIN.top, y2: bottom, class: "mark" });
    const place = { x: at(mark.x) + (late ? -5 : 5), y: MARGIN.top + 10, "text-anchor": late ? "end" : "start" };
    add(svg, "text", place, mark.label);
  }
  plot.replaceChildren(svg);
  read(figure, svg, (px) => x.low + ((px - MARGIN.left) / (right - MARGIN.left)) * (x.high - x.low), at, bottom);
}

/** Say the values under the pointer; the table has them for everybody else. */
function read(figure, svg, month, at, bottom) {
  const { series, x, y } = figure.what, readout = figure.querySelector(".readout");
  const line = add(svg, "line", { y1: MARGIN.top, y2: bottom, class: "pointer", visibility: "hidden" });
  svg.onpointermove = (event) => {
    const where = month(event.clientX - svg.getBoundingClientRect().left);
    const nearest = (points) => points.reduce((a, b) => (Math.abs(b.x - where) < Math.abs(a.x - where) ? b : a));
    const first = nearest(series[0].points);
    for (const end of ["x1", "x2"]) line.setAttribute(end, at(first.x));
    line.setAttribute("visibility", "visible");
    const said = series.map(({ name, points }) => {
      const p = nearest(points);
      return `${name} ${y.format(p.y)}${known(p.low) ? ` (${y.format(p.low)} to ${y.format(p.high)})` : ""}`;
    });
    readout.textContent = `${x.label} ${x.format(Number(first.x.toPrecision(3)))}: ${said.join("; ")}`;
  };
  svg.onpointerleave = () => {
    line.setAttribute("visibility", "hidden");
    readout.textContent = "";
  };
}
