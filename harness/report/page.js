"use strict";
// Moves the charts of a report: fills the sources of Bokeh's documents from the numbers of the page, as the controls say.
(() => {
  const numbers = JSON.parse(document.getElementById("numbers").textContent);
  const cells = numbers.cells;
  const clocks = numbers.clocks, measures = numbers.measures;
  const valuesOf = (key) => [...new Set(cells.map((cell) => cell[key]))].sort((a, b) => (a > b) - (a < b));
  const sizes = valuesOf("batch_size"), rates = valuesOf("learning_rate"), reductions = valuesOf("reduction");
  const settings = Object.keys(numbers.settings);
  const many = 12; // curves; of more, those at the best rates are shown first

  const coloured = numbers.coloured; // what colours tell apart
  const order = { batch_size: sizes, setting: settings, learning_rate: rates }[coloured];
  const colours = numbers.palette;
  const colourOf = (cell) => colours[order.indexOf(cell[coloured])];
  const dashOf = (cell) => (cell.reduction === "sum" ? [7, 4] : []);
  const markerOf = (cell) => (cell.reduction === "sum" ? "diamond" : "circle");
  const nameOf = (size) => `${size}`;
  const brief = (value) => (value === null ? "∞" : Number(value.toPrecision(3)).toString());
  const spread = ([low, middle, high]) => `${brief(middle)} [${brief(low)}, ${brief(high)}]`;

  const model = (name) => Bokeh.documents.map((one) => one.get_model_by_name(name)).find(Boolean);
  const fill = (name, rows, columns) => {
    const source = model(name);
    source.data = Object.fromEntries(columns.map((column) => [column, rows.map((row) => row[column])]));
  };
  const LINES = ["xs", "ys", "colour", "dash", "width", "alpha"], BANDS = ["xs", "ys", "colour"];
  const POINTS = ["x", "y", "colour", "size", "marker", "name", "value", "count", "command"];

  // Controls

  const element = (html) => {
    const template = document.createElement("template");
    template.innerHTML = html;
    return template.content.firstElementChild;
  };
  const safe = (text) => String(text).replace(/[&<>"]/g, (sign) => `&#${sign.charCodeAt(0)};`);
  const choice = (name, title, options) => element(
    `<label>${title} <select name="${name}">${Object.entries(options)
      .map(([value, text]) => `<option value="${safe(value)}">${safe(text)}</option>`).join("")}</select></label>`);
  const boxes = (name, title, values, swatch) => element(
    `<fieldset><legend>${title}</legend>${values.map((value, i) => `<label><input type="checkbox" name="${name}" ` +
      `value="${i}" checked>${swatch ? `<span class="swatch" style="background:${swatch(i)}"></span>` : ""}` +
      `${safe(value)}</label>`).join("")}</fieldset>`);
  const swatchOf = (key) => (coloured === key ? (i) => colours[i] : null);

  const filters = (form) => {
    if (settings.length > 1) {
      const all = coloured === "setting" ? { "": "all" } : {};
      form.append(choice("setting", "setting", { ...all, ...numbers.settings }));
    }
    if (sizes.length > 1) form.append(boxes("batch_size", "B", sizes.map(nameOf), swatchOf("batch_size")));
    if (reductions.length > 1) {
      form.append(boxes("reduction", "reduction", reductions.map((name) => (name === "sum" ? "sum (dashed)" : name))));
    }
  };
  const chosen = (form) => {
    const given = new FormData(form);
    const on = (name, values) => (form.elements[name] ? given.getAll(name).map((i) => values[i]) : values);
    const kept = { batch_size: on("batch_size", sizes), reduction: on("reduction", reductions) };
    kept.learning_rate = on("learning_rate", rates);
    const setting = given.get("setting");
    return cells.filter((cell) => (!setting || cell.setting === setting) && given.get("best") !== "best" | cell.best
      && Object.entries(kept).every(([key, values]) => values.includes(cell[key])));
  };
  const about = (cell) => ({
    colour: colourOf(cell), dash: dashOf(cell), marker: markerOf(cell), name: cell.name,
    command: cell.run ? `python -m harness verify ${cell.run.slice(0, 12)}` : "",
  });

  // Curves

  const curves = (form) => {
    const given = new FormData(form), clock = given.get("clock"), measure = given.get("measure");
    const scale = given.get("scale"), isCost = measure.endsWith("cost"), log = scale === "log";
    const top = isCost ? numbers.edge : Infinity, logX = clock !== "epoch";
    const lines = [], bands = [], points = [];
    for (const cell of chosen(form)) {
      const curve = numbers.curves[cell.id];
      if (!curve || !curve[measure]) continue;
      const [low, middle, high] = curve[measure], own = about(cell);
      const on = (value) => (value === null ? (isCost ? top : null) : Math.min(value, top));
      const shown = curve[clock].map((_, i) => i).filter((i) => (!logX || curve[clock][i] > 0)
        && on(middle[i]) !== null && (!log || on(middle[i]) > 0));
      const gone = shown.findIndex((i) => middle[i] === null);
      const kept = gone < 0 ? shown : shown.slice(0, gone + 1);
      const x = kept.map((i) => curve[clock][i]);
      const floor = (value) => (log && !(value > 0) ? 1e-12 : value);
      lines.push({ ...own, xs: x, ys: kept.map((i) => on(middle[i])), width: cell.best ? 2.4 : 1.4, alpha: 0.95 });
      if (cell.n > 1 && x.length > 1) {
        const upper = kept.map((i) => on(high[i])), lower = kept.map((i) => floor(on(low[i])));
        bands.push({ ...own, xs: [...x, ...[...x].reverse()], ys: [...upper, ...lower.reverse()] });
      }
      const first = kept.find((i) => curve.lost[i] > 0);
      for (const i of kept) {
        points.push({
          ...own, x: curve[clock][i], y: on(middle[i]), size: i === first ? 13 : 5,
          marker: i === first ? "x" : own.marker, value: `${measures[measure]}: ${spread([low[i], middle[i], high[i]])}`,
          count: `${clocks[clock]}: ${brief(curve[clock][i])}; ${cell.n - curve.lost[i]} of ${cell.n} replicas, ` +
            `${curve.lost[i]} diverged`,
        });
      }
    }
    fill("curves lines", lines, LINES);
    fill("curves bands", bands, BANDS);
    fill("curves points", points, POINTS);
    for (const x of ["linear", "log"]) {
      for (const y of ["linear", "log"]) {
        const plot = model(`curves ${x} ${y}`);
        plot.visible = x === (logX ? "log" : "linear") && y === (log ? "log" : "linear");
        plot.below[0].axis_label = clocks[clock];
        plot.left[0].axis_label = measures[measure];
      }
    }
    return `${lines.length} of ${cells.length} cells. Lines: medians over replicas; bands: quartiles; ` +
      "×: the first replica diverged, which counts as infinite.";
  };

  // Cost over learning rate

  const slice = (form) => {
    const part = Number(new FormData(form).get("units"));
    const lines = [], bands = [], points = [], strips = [];
    const groups = Map.groupBy ? Map.groupBy(chosen(form), groupOf) : grouped(chosen(form));
    const place = (cell) => cell.learning_rate ** (1 - part) * cell.lr_mean ** part;
    for (const group of groups.values()) {
      const own = about(group[0]), ranked = group.sort((a, b) => place(a) - place(b));
      const fine = ranked.filter((cell) => cell.cost[1] !== null && cell.cost[1] > 0);
      const top = numbers.edge, x = fine.map(place), cap = (value) => (value === null ? top : Math.min(value, top));
      lines.push({ ...own, xs: x, ys: fine.map((cell) => cap(cell.cost[1])), width: 2.2, alpha: 0.95 });
      if (fine.length > 1 && fine[0].n > 1) {
        bands.push({ ...own, xs: [...x, ...[...x].reverse()],
          ys: [...fine.map((cell) => cap(cell.cost[2])), ...fine.map((cell) => cap(cell.cost[0])).reverse()] });
      }
      for (const cell of fine) {
        points.push({ ...about(cell), x: place(cell), y: cap(cell.cost[1]), size: cell.best ? 13 : 7,
          value: `final training cost: ${spread(cell.cost)}`,
          count: `${cell.n - cell.lost} of ${cell.n} replicas, ${cell.lost} diverged` });
      }
      const lost = ranked.filter((cell) => cell.cost[1] === null).map(place);
      const hatch = group[0].reduction === "sum" ? "left_diagonal_line" : "right_diagonal_line";
      if (lost.length) strips.push({ ...own, hatch, from: Math.min(...lost) });
    }
    const right = Math.max(...[...groups.values()].flat().map(place)) * 1.5;
    const height = Math.min(0.035, 0.4 / Math.max(strips.length, 1));
    strips.forEach((strip, i) => {
      Object.assign(strip, { left: strip.from, right, top: 1 - i * height, bottom: 1 - (i + 0.85) * height });
    });
    fill("slice lines", lines, LINES);
    fill("slice bands", bands, BANDS);
    fill("slice points", points, POINTS);
    fill("slice strips", strips, ["left", "right", "top", "bottom", "colour", "hatch"]);
    const plot = model("slice");
    leaveRoom(plot.y_range, [...lines, ...bands].flatMap((one) => one.ys), strips.length * height);
    plot.below[0].axis_label = part === 0 ? "learning rate η" : part === 1
      ? "lr_mean (η for mean, ηB for sum)" : "from η to lr_mean";
    plot.left[0].axis_label = "final training cost per example";
    return "Lines: medians over replicas; bands: quartiles; large marks: the best rate tried; hatched strips: rates at " +
      `which half of the replicas or more diverged${reductions.length > 1 ? " (/ mean, \\ sum)" : ""}.`;
  };
  // Sets a log range in which all values lie below a part of its height.
  const leaveRoom = (range, values, part) => {
    const logs = values.filter((value) => value > 0).map(Math.log10);
    const [low, high] = logs.length ? [Math.min(...logs), Math.max(...logs)] : [-1, 1];
    const unit = Math.max(high - low, 0.3) / (0.9 - part), start = 10 ** (low - 0.05 * unit), end = start * 10 ** unit;
    Object.assign(range, { start, end, reset_start: start, reset_end: end });
  };
  const groupOf = (cell) => JSON.stringify([cell.setting, cell.batch_size, cell.reduction]);
  const grouped = (some) => {
    const found = new Map();
    for (const cell of some) found.set(groupOf(cell), [...(found.get(groupOf(cell)) ?? []), cell]);
    return found;
  };

  const controls = {
    curves: (form) => {
      form.append(choice("clock", "over", clocks), choice("measure", "show", measures),
        choice("scale", "scale", { log: "log", linear: "linear" }));
      filters(form);
      if (rates.length > 1) {
        form.append(boxes("learning_rate", "η", rates.map(brief), swatchOf("learning_rate")));
        form.append(choice("best", "rates", { all: "all", best: "the best of each B and reduction" }));
        if (cells.length > many) form.elements.best.value = "best";
      }
    },
    slice: (form) => {
      filters(form);
      form.append(element('<label>η <input type="range" name="units" min="0" max="1" step="0.02" value="0" ' +
        'aria-label="from raw to canonical units"> lr_mean</label>'));
    },
  };
  controls.parallel = () => {};
  const draw = { curves, slice, parallel: () => "A line for each cell: the lower its cost, the brighter and wider." };

  const begin = () => {
    for (const block of document.querySelectorAll(".moving")) {
      const name = block.dataset.chart, form = block.querySelector("form");
      const caption = element('<p class="caption" aria-live="polite"></p>');
      controls[name](form);
      block.append(caption);
      block.hidden = false;
      block.nextElementSibling.hidden = true;
      const redraw = () => { caption.textContent = draw[name](form); };
      form.addEventListener("input", redraw);
      form.addEventListener("submit", (event) => event.preventDefault());
      redraw();
    }
  };
  const wait = () => (Bokeh.documents.length && model("curves linear linear") ? begin() : setTimeout(wait, 20));
  wait();

  // Tables

  for (const table of document.querySelectorAll("table.cells")) {
    table.querySelectorAll("th").forEach((head, column) => head.addEventListener("click", () => {
      const ascending = head.getAttribute("aria-sort") !== "ascending";
      table.querySelectorAll("th").forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", ascending ? "ascending" : "descending");
      const key = (row) => row.cells[column].dataset.value;
      const compare = (a, b) => {
        const [x, y] = [Number(key(a)), Number(key(b))];
        if (Number.isNaN(x) || Number.isNaN(y)) return key(a) < key(b) ? -1 : key(a) > key(b) ? 1 : 0;
        return x - y;
      };
      const rows = [...table.tBodies[0].rows].sort((a, b) => (ascending ? compare(a, b) : compare(b, a)));
      table.tBodies[0].append(...rows);
    }));
  }
  addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((one) => { one.open = true; }));
})();
