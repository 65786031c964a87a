"use strict";
// Look closer: choose a heatmap's cell and see its curves. Without this script the page is whole.
(() => {
  const WIDE = 20;

  // A level as the rest of the page writes it: 0.1, 1e-4.
  const level = (value) => {
    if (typeof value !== "number") return String(value);
    const size = Math.abs(value);
    if (Number.isInteger(value) && size < 1e6) return String(value);
    if (size >= 1e-2 && size < 1e4) return String(Number(value.toPrecision(3)));
    return value.toExponential(2).replace(/\.?0*e\+?/, "e");
  };

  // A measured value, with four digits so that a column compares.
  const text = (value) => {
    if (value === null || value === undefined) return "–";
    return value === 0 || (Math.abs(value) >= 1e-3 && Math.abs(value) < 1e4) ? value.toPrecision(4) : value.toExponential(3);
  };

  const element = (tag, attributes = {}, ...children) => {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    made.append(...children);
    return made;
  };

  // The library lies in the page as text: unpacked and read when the first chart is wanted.
  let library;
  const unpack = async () => {
    const packed = atob(document.getElementById("library").textContent);
    const bytes = Uint8Array.from(packed, (c) => c.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    document.head.append(element("script", {}, await new Response(stream).text()));
  };
  const vega = () => (library ??= unpack().then(() => window.vegaEmbed));

  const lossScale = (values) =>
    Math.min(...values) > 0 && Math.max(...values) / Math.min(...values) >= WIDE ? { type: "log" } : { type: "linear", zero: false };

  // lr may be zero and change its sign: linear around zero then, logarithmic beyond.
  const lrScale = (values) => {
    const sizes = values.filter((v) => v !== 0).map(Math.abs);
    if (!sizes.length || values.every((v) => v > 0)) return lossScale(values);
    return { type: "symlog", constant: Math.min(...sizes) };
  };

  // Vega has linear ticks on a symlog axis: these are zero and decades instead.
  const signedTicks = (values, smallest) => {
    const most = Math.ceil(Math.log10(Math.max(...values.map(Math.abs)) || 1));
    const least = Math.ceil(Math.log10(smallest)), every = Math.max(1, Math.ceil((most - least) / 3));
    const up = [];
    for (let e = most; e >= least; e -= every) up.push(Number(`1e${e}`));
    return [...up.map((t) => -t), 0, ...up];
  };

  // On a log axis: decades, and 2 and 5 between them where there are few.
  const axisOf = (values, scale) => {
    if (scale.type === "symlog") return { values: signedTicks(values, scale.constant), labelExpr: "level(datum.value)" };
    if (scale.type === "linear") return { tickCount: 4, labelExpr: "level(datum.value)" };
    const named = Math.max(...values) / Math.min(...values) > 200 ? "decade(datum.value) === 1" : "indexof([1, 2, 5], decade(datum.value)) >= 0";
    const only = { condition: { test: named, value: 1 }, value: 0 };
    return { labelExpr: `${named} ? level(datum.value) : ""`, gridOpacity: only, tickOpacity: only };
  };
  const decade = (value) => Number(value.toExponential(0).split("e")[0]);

  const line = (kind, dash) => ({
    name: kind,
    transform: [{ filter: `datum.kind === "${kind}"` }],
    mark: { type: "line", clip: true, stroke: `var(--${kind === "own" ? "accent" : "base"})`, strokeWidth: 1.5, strokeDash: dash },
    encoding: { detail: { field: "name", sort: null } },
  });

  // One chart: curves are {steps, values, kind, name}.
  const chartSpec = (curves, scaleOf) => {
    const rows = curves.flatMap((c) =>
      c.steps.map((step, i) => ({ step, value: c.values[i], name: c.name, kind: c.kind })).filter((r) => r.value !== null));
    const values = rows.map((r) => r.value), scale = scaleOf(values);
    const axis = (of, scaled) => ({ labelOverlap: "greedy", ...axisOf(of, scaled) });
    const x = { nice: false, type: "log" };
    return {
      width: "container", height: 130, padding: 2,
      autosize: { type: "fit-x", contains: "padding" },
      background: "transparent",
      data: { values: rows },
      encoding: {
        x: { field: "step", type: "quantitative", scale: x, axis: { ...axis(rows.map((r) => r.step), x), grid: false } },
        y: { field: "value", type: "quantitative", scale: { nice: false, ...scale }, axis: { ...axis(values, scale), title: null } },
        tooltip: [{ field: "name", title: "curve" }, { field: "step" }, { field: "value", format: ".4~g" }],
      },
      layer: [
        ...(rows.some((r) => r.kind === "base") ? [line("base", [4, 2])] : []),
        ...(rows.some((r) => r.kind === "own") ? [line("own", [1, 0])] : []),
        { mark: { type: "point", clip: true, size: 60, opacity: 0, filled: true },
          params: [{ name: "view", bind: "scales",
            select: { type: "interval", zoom: "wheel![event.ctrlKey || event.metaKey]" } }] },
      ],
      config: {
        view: { stroke: null },
        font: "inherit",
        axis: { labelColor: "var(--muted)", titleColor: "var(--muted)", gridColor: "var(--rule)", domainColor: "var(--rule)",
          tickColor: "var(--rule)", labelFontSize: 11, titleFontSize: 11, titleFontWeight: "normal" },
      },
    };
  };

  const chart = (title, curves, scaleOf) => {
    if (!curves.some((c) => c.values.some((v) => v !== null))) {
      return element("p", { class: "muted" }, `${title}: nothing was recorded`);
    }
    const place = element("div", { class: "chart", role: "img", "aria-label": `${title} over steps; the table has its end by seed` });
    const options = { renderer: "svg", actions: false, expressionFunctions: { level, decade }, tooltip: { theme: "custom" } };
    seen(place, async () => {
      const embed = await vega();
      if (place.isConnected) place.drawn = await embed(place, chartSpec(curves, scaleOf), options);
    });
    return element("figure", {}, element("figcaption", {}, title), place);
  };

  // Draw when a chart comes into view: a page that is only opened stays quick.
  const seen = (place, draw) => {
    const watch = new IntersectionObserver((entries) => {
      if (!entries.some((e) => e.isIntersecting)) return;
      watch.disconnect();
      draw().catch(() => place.replaceChildren("This browser cannot draw the curves; the numbers stand below."));
    }, { rootMargin: "300px" });
    watch.observe(place);
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
    const head = element("tr", {}, ...names.map((n, i) => element("th", i < 2 ? { scope: "col", class: "text" } : { scope: "col" }, n.replace("_", " "))));
    const rows = runs.map((run) =>
      element(
        "tr",
        { "data-cell": run.id },
        element("th", { scope: "row" }, String(run.seed)),
        element("td", { class: "text" }, [run.outcome, run.note].filter(Boolean).join(": ")),
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
    const names = (data.by === "cell" ? runs.map((r) => `seed ${r.seed}`) : ["median over seeds"])
      .map((name) => (kind === "base" ? `${data.points[id].arm}, ${name}` : name));
    return keys.flatMap((key, i) => {
      const found = data.curves.of[key];
      if (!found) return [];
      return [{ kind, name: names[i], steps: data.curves.steps[found[0]], lr: found[1], loss: found[2] }];
    });
  };

  const show = (panel, data, id) => {
    const point = data.points[id];
    for (const place of panel.querySelectorAll(".chart")) place.drawn?.finalize();
    if (!point) {
      panel.replaceChildren(element("p", {}, "The curves of this point are in the results folder."));
      return;
    }
    const runs = data.runs.filter((run) => run.point === id);
    const seeds = [...new Set(runs.map((run) => run.seed))];
    const base = data.points[point.base]; // of many points, some are left out
    const curves = [...(base ? curvesOf(data, point.base, "base") : []), ...curvesOf(data, id, "own")];
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
      element("p", { class: "muted reading" },
        (base ? `Grey, dashed: ${base.arm} at the same lr. ` : "") +
        "Point at a curve to read it; pinch or Ctrl + wheel zooms, dragging moves, a double click resets."),
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
    return { mark, start: points[Number(heat.dataset.start)] };
  };

  const wire = (section, data) => {
    const panel = section.querySelector(".closer");
    const heats = [];
    const choose = (id) => {
      for (const heat of heats) heat.mark(id);
      show(panel, data, id);
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
