"use strict";
// Look closer: choose a heatmap's cell and see its curves. Without this script the page is whole.
(() => {
  const NS = "http://www.w3.org/2000/svg";
  const WIDE = 20;

  const text = (value) =>
    value === null || value === undefined ? "–" : String(Number(value.toPrecision(4)));

  // A level as the rest of the page writes it: 0.1, 1e-4.
  const level = (value) => {
    if (typeof value !== "number") return String(value);
    const size = Math.abs(value);
    if (size === 0 || (size >= 1e-2 && size < 1e4)) return String(Number(value.toPrecision(3)));
    return value.toExponential(2).replace(/\.?0*e\+?/, "e");
  };

  const element = (tag, attributes = {}, ...children) => {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    made.append(...children);
    return made;
  };

  const shape = (tag, attributes, content) => {
    const made = document.createElementNS(NS, tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    if (content !== undefined) made.textContent = content;
    return made;
  };

  // Scales: a function to place a value, and the values to write at the axis.
  const decades = (low, high) => {
    const all = [], factors = high - low < 1.5 ? [1, 2, 5] : [1];
    for (let e = Math.floor(low); e <= high; e++) {
      for (const f of factors) all.push(Number(`${f}e${e}`));
    }
    return thin(all.filter((t) => Math.log10(t) >= low - 1e-9 && Math.log10(t) <= high + 1e-9));
  };

  const thin = (all) => {
    const every = Math.max(1, Math.ceil(all.length / 5));
    return all.filter((_, i) => (all.length - 1 - i) % every === 0);
  };

  const logScale = (values) => {
    const logs = values.map(Math.log10);
    return { place: Math.log10, ticks: decades(Math.min(...logs), Math.max(...logs)) };
  };

  const linearScale = (values) => {
    const low = Math.min(...values), high = Math.max(...values);
    const unit = 10 ** Math.floor(Math.log10((high - low) / 3 || 1));
    const step = [1, 2, 5, 10].map((m) => m * unit).find((s) => (high - low) / s <= 4) || 1;
    const ticks = [];
    for (let t = Math.ceil(low / step) * step; t <= high + 1e-12; t += step) {
      ticks.push(Number(t.toPrecision(6)));
    }
    return { place: (v) => v, ticks };
  };

  const signedScale = (values, threshold) => {
    const place = (v) => Math.asinh(v / threshold);
    const high = Math.max(...values), low = Math.min(...values);
    const up = high > threshold ? decades(Math.log10(threshold), Math.log10(high)) : [];
    const down = low < -threshold ? decades(Math.log10(threshold), Math.log10(-low)) : [];
    return { place, ticks: [...down.map((t) => -t).reverse(), 0, ...up] };
  };

  const lossScale = (values) => {
    const low = Math.min(...values), high = Math.max(...values);
    return low > 0 && high / low >= WIDE ? logScale(values) : linearScale(values);
  };

  const lrScale = (values) => {
    const sizes = values.filter((v) => v !== 0).map(Math.abs);
    const low = sizes.length ? Math.min(...sizes) : 1;
    if (values.some((v) => v <= 0)) return signedScale(values, low);
    return Math.max(...sizes) / low >= WIDE ? logScale(values) : linearScale(values);
  };

  // One chart: curves are {steps, values, kind, name}.
  const chart = (title, curves, scaleOf) => {
    const box = { left: 52, top: 8, width: 300, height: 130 };
    const values = curves.flatMap((c) => c.values.filter((v) => v !== null));
    if (!values.length) return element("p", { class: "muted" }, `${title}: nothing was recorded`);
    const y = scaleOf(values), x = logScale(curves.flatMap((c) => c.steps));
    const spread = (scale, all, from, size) => {
      const placed = all.map(scale.place);
      const low = Math.min(...placed), range = Math.max(...placed) - low;
      return (v) => from + size * (range ? (scale.place(v) - low) / range : 0.5);
    };
    const atX = spread(x, curves.flatMap((c) => c.steps), box.left, box.width);
    const atY = spread(y, values, box.top + box.height, -box.height);
    const svg = shape("svg", { viewBox: "0 0 360 176", role: "img", "aria-label": title });
    for (const tick of y.ticks) {
      const attributes = { x1: box.left, x2: box.left + box.width, y1: atY(tick), y2: atY(tick) };
      svg.append(shape("line", { ...attributes, class: "grid" }));
      svg.append(shape("text", { x: box.left - 5, y: atY(tick) + 3.5, class: "tick end" }, level(tick)));
    }
    for (const tick of x.ticks) {
      svg.append(shape("text", { x: atX(tick), y: box.top + box.height + 15, class: "tick" }, level(tick)));
    }
    svg.append(shape("text", { x: box.left + box.width / 2, y: 172, class: "tick" }, "step"));
    for (const curve of curves) {
      const known = curve.steps.map((s, i) => [s, curve.values[i]]).filter(([, v]) => v !== null);
      const path = known.map(([s, v], i) => `${i ? "L" : "M"}${atX(s).toFixed(1)} ${atY(v).toFixed(1)}`);
      const line = shape("path", { d: path.join(""), class: `curve ${curve.kind}` });
      line.append(shape("title", {}, curve.name));
      svg.append(line);
    }
    return element("figure", {}, element("figcaption", {}, title), svg);
  };

  // The cell as a study file of its own; it has the same cell_id.
  const toml = (value) => {
    if (Array.isArray(value)) return `[${value.map(toml).join(", ")}]`;
    if (value === null || typeof value !== "object") return JSON.stringify(value);
    const pairs = Object.entries(value).map(([k, v]) => `${JSON.stringify(k)} = ${toml(v)}`);
    return pairs.length ? `{ ${pairs.join(", ")} }` : "{}";
  };

  const table = (name, content) =>
    [name, ...Object.entries(content).map(([k, v]) => `${k} = ${toml(v)}`), ""].join("\n");

  const studyOf = (study, point, seeds) => {
    const { lr, hypergrad_lr, ...factors } = point.at;
    const { baseline, ...arm } = study.arms.find((a) => a.name === point.arm);
    const levels = hypergrad_lr === undefined ? { lr } : { lr, hypergrad_lr };
    return [
      `name = "cell"\nseeds = ${toml(seeds)}\n`,
      table("[task]", study.task),
      table("[trace]", study.trace),
      table("[targets]", study.targets),
      table("[stop]", study.stop),
      table("[[arms]]", { ...arm, ...levels, factors }),
    ].join("\n");
  };

  const seedTable = (runs) => {
    const names = ["seed", "outcome", "train_loss", "valid_loss", "lr_final"];
    const head = element("tr", {}, ...names.map((n) => element("th", { scope: "col" }, n.replace("_", " "))));
    const rows = runs.map((run) =>
      element(
        "tr",
        { "data-cell": run.id },
        element("th", { scope: "row" }, String(run.seed)),
        element("td", {}, [run.outcome, run.note].filter(Boolean).join(": ")),
        ...names.slice(2).map((n) => element("td", { "data-value": n }, text(run[n])))
      )
    );
    return element("div", { class: "scroll" }, element("table", {}, element("thead", {}, head), element("tbody", {}, ...rows)));
  };

  const where = (point) =>
    [point.arm, ...Object.entries(point.at).map(([k, v]) => `${k} ${level(v)}`)].join(", ");

  const curvesOf = (data, id, kind) => {
    const runs = data.runs.filter((run) => run.point === id);
    const keys = data.by === "cell" ? runs.map((r) => r.id) : [id];
    const names = data.by === "cell" ? runs.map((r) => `seed ${r.seed}`) : ["median over seeds"];
    return keys.flatMap((key, i) => {
      const found = data.curves.of[key];
      if (!found) return [];
      return [{ kind, name: names[i], steps: data.curves.steps[found[0]], lr: found[1], loss: found[2] }];
    });
  };

  const show = (panel, data, id, base) => {
    const point = data.points[id];
    if (!point) {
      panel.replaceChildren(element("p", {}, "The curves of this point are in the results folder."));
      return;
    }
    const runs = data.runs.filter((run) => run.point === id);
    const seeds = [...new Set(runs.map((run) => run.seed))];
    const curves = [...(base >= 0 && base !== id ? curvesOf(data, base, "base") : []), ...curvesOf(data, id, "own")];
    const of = (name) => curves.map((c) => ({ ...c, values: c[name] }));
    const file = studyOf(data.study, point, seeds);
    const again = element("details", {},
      element("summary", {}, "Train this cell again"),
      element("p", {}, "Save ",
        element("a", { download: "cell.toml", href: `data:text/plain,${encodeURIComponent(file)}` }, "cell.toml"),
        ", then: ", element("code", {}, "hdsens run cell.toml")),
      element("pre", { class: "scroll", tabindex: "0" }, file));
    panel.replaceChildren(
      element("h3", {}, where(point)),
      chart("minibatch loss (nats)", of("loss"), lossScale),
      chart("lr", of("lr"), lrScale),
      ...(base >= 0 && base !== id ? [element("p", { class: "muted" }, "Grey: the base arm at the same lr.")] : []),
      ...(runs.length ? [seedTable(runs), again] : [element("p", { class: "muted" }, "Median over seeds, up to where the first of them ends.")])
    );
  };

  // A heatmap gets one button over its cells; pointer and arrow keys choose one of them, and every
  // heatmap of the section marks it, so that it stays chosen when the measure is switched.
  const attach = (heat, choose) => {
    const [left, top, width, height] = heat.dataset.box.split(" ").map(Number);
    const rows = Number(heat.dataset.rows), columns = Number(heat.dataset.columns);
    const points = heat.dataset.points.split(" ").map(Number);
    const cursor = element("span", { class: "cursor" });
    const button = element("button", { type: "button", class: "hits",
      "aria-label": `Look closer at ${heat.dataset.title}: arrow keys choose a cell` }, cursor);
    Object.assign(button.style, { left: `${left}%`, top: `${top}%`, width: `${width}%`, height: `${height}%` });
    let row = 0, column = 0;
    const mark = (id) => {
      const at = points.indexOf(id);
      cursor.classList.toggle("on", at >= 0);
      if (at < 0) return;
      row = Math.floor(at / columns);
      column = at % columns;
      Object.assign(cursor.style, { left: `${(100 * column) / columns}%`, top: `${(100 * row) / rows}%`,
        width: `${100 / columns}%`, height: `${100 / rows}%` });
    };
    const go = (toRow, toColumn) => {
      const at = Math.min(rows - 1, Math.max(0, toRow)) * columns + Math.min(columns - 1, Math.max(0, toColumn));
      if (points[at] >= 0) choose(points[at]);
    };
    button.addEventListener("click", (event) => {
      if (event.detail === 0) return go(row, column);
      const box = button.getBoundingClientRect();
      go(Math.floor((rows * (event.clientY - box.top)) / box.height),
        Math.floor((columns * (event.clientX - box.left)) / box.width));
    });
    button.addEventListener("keydown", (event) => {
      const move = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
      if (!move) return;
      event.preventDefault();
      go(row + move[0], column + move[1]);
    });
    heat.append(button);
    return { mark, points, columns, start: points[Number(heat.dataset.start)], hasBase: heat.dataset.base === "yes" };
  };

  const wire = (section, data) => {
    const panel = section.querySelector(".closer");
    const heats = [];
    // The baseline of a point stands in the first column of its row, in a heatmap that has one.
    const baseOf = (id) => {
      const heat = heats.find((h) => h.hasBase && h.points.includes(id));
      if (!heat) return -1;
      return heat.points[Math.floor(heat.points.indexOf(id) / heat.columns) * heat.columns];
    };
    const choose = (id) => {
      for (const heat of heats) heat.mark(id);
      show(panel, data, id, baseOf(id));
    };
    for (const heat of section.querySelectorAll(".heat")) heats.push(attach(heat, choose));
    if (!heats.length) return;
    panel.hidden = false;
    section.querySelector(".hint").hidden = false;
    choose(heats[0].start);
  };

  for (const article of document.querySelectorAll("article")) {
    const embedded = document.getElementById(`${article.id}-data`);
    if (!embedded) continue;
    const data = JSON.parse(embedded.textContent);
    for (const section of article.querySelectorAll(".evidence")) wire(section, data);
  }
})();
