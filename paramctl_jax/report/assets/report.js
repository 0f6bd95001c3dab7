"use strict";
// The slider. Images are those of the grid: each stimulus is in the page once.
(() => {
  const find = (id) => document.getElementById(id);
  const source = find("stimulus-data");
  if (!source) return;
  const data = JSON.parse(source.textContent);
  const images = new Map();
  document.querySelectorAll("img[data-i]").forEach((image) => images.set(Number(image.dataset.i), image));
  const svg = find("chart").namespaceURI;
  const [site, seed, model, level] = ["pick-site", "pick-seed", "pick-model", "pick-level"].map(find);

  const text = (value) => (value === null ? "–" : value.toFixed(2).replace("-", "−"));
  const ticks = (low, high) => {
    const least = (high - low || 1) / 6, power = 10 ** Math.floor(Math.log10(least));
    const step = power * [1, 2, 5, 10].find((k) => k * power >= least);
    const first = Math.ceil(low / step), last = Math.floor(high / step);
    return Array.from({ length: last - first + 1 }, (_, i) => Number(((first + i) * step).toFixed(6)));
  };
  const element = (tag, kind, content) => {
    const made = document.createElement(tag);
    if (kind) made.className = kind;
    if (content !== undefined) made.textContent = content;
    return made;
  };
  const fill = (select, names) => {
    const before = select.value;
    select.replaceChildren(...names.map(([value, name]) => {
      const option = element("option", "", name);
      option.value = value;
      return option;
    }));
    if (names.some(([value]) => String(value) === before)) select.value = before;
  };
  const index = (list) => list.map((stimulus, i) => ({ ...stimulus, i }));
  const stimuli = index(data.stimuli);
  const at = () => stimuli.filter((s) => s.site === Number(site.value));
  const shown = () => at().filter((s) => s.seed === seed.value && (model.value === "all" || s.model === Number(model.value)));
  const levels = () => [...new Set(shown().filter((s) => s.level !== null).map((s) => s.level))].sort((a, b) => a - b);

  // One image with its numbers. The seed image is one pane for all models, each of which
  // predicts it, and each of whose seed rows was recorded, for itself: `same` holds them.
  function pane(same, label, colour) {
    const stimulus = same[0];
    const box = element("div", "pane" + (stimulus.level !== null && !stimulus.hit ? " miss" : ""));
    const name = element("div", "name");
    const tag = element("span", colour ? "model" : "muted", label);
    if (colour) tag.style.setProperty("--c", colour);
    name.append(tag);
    const frame = element("div", "frame");
    const image = element("img");
    image.src = images.get(stimulus.i).src;
    image.alt = images.get(stimulus.i).alt;
    frame.append(image);
    const facts = element("dl");
    const units = data.units ? " " + data.units : "";
    const value = (number) => (number === null ? "–" : text(number) + units);
    const row = (term, content, model) => {
      const name = element("dt", model === undefined ? "" : "of", term);
      if (model !== undefined) {
        name.style.setProperty("--c", data.colours[model]);
        name.title = data.models[model];
      }
      facts.append(name, element("dd", "", content));
    };
    row("target", stimulus.level === null ? "none" : value(stimulus.target));
    for (const key of ["predicted", "recorded"]) {
      for (const s of same) row(key, value(s[key]), same.length > 1 ? s.model : undefined);
    }
    const repeats = [...new Set(same.map((s) => s.repeats))].filter((n) => n !== null);
    if (repeats.length) row("repeats", repeats.join(", "));
    box.append(name, frame, facts);
    return box;
  }

  function chart(now) {
    const plot = find("chart");
    const draw = (tag, attributes, content) => {
      const made = document.createElementNS(svg, tag);
      for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
      if (content !== undefined) made.textContent = content;
      plot.append(made);
      return made;
    };
    plot.replaceChildren();
    const points = shown().filter((s) => s.level !== null && s.target !== null);
    const xs = points.map((s) => s.target);
    const ys = points.flatMap((s) => [s.predicted, s.recorded]).filter((y) => y !== null);
    if (!xs.length || !ys.length) return;
    const scale = (values, from, to) => {
      const low = Math.min(...values), high = Math.max(...values), range = high - low || 1;
      return Object.assign((v) => from + ((v - low) / range) * (to - from), { low, high });
    };
    const x = scale(xs, 60, 406), y = scale(ys, 244, 16);
    draw("line", { class: "axis", x1: 50, x2: 414, y1: 252, y2: 252 });
    draw("line", { class: "axis", x1: 50, x2: 50, y1: 8, y2: 252 });
    for (const v of ticks(y.low, y.high)) {
      draw("line", { class: "axis", x1: 46, x2: 50, y1: y(v), y2: y(v) });
      draw("text", { x: 42, y: y(v) + 4, "text-anchor": "end" }, String(v).replace("-", "−"));
    }
    for (const v of ticks(x.low, x.high)) {
      draw("line", { class: "axis", x1: x(v), x2: x(v), y1: 252, y2: 256 });
      draw("text", { x: x(v), y: 270, "text-anchor": "middle" }, String(v).replace("-", "−"));
    }
    draw("text", { x: 232, y: 290, "text-anchor": "middle" }, `target level (${data.units})`);
    draw("text", { x: 12, y: 130, "text-anchor": "middle", transform: "rotate(-90 12 130)" }, `response (${data.units})`);
    for (const s of points.filter((p) => p.level === now)) draw("line", { class: "now", x1: x(s.target), x2: x(s.target), y1: 8, y2: 252 });
    for (const m of new Set(points.map((s) => s.model))) {
      const own = points.filter((s) => s.model === m).sort((a, b) => a.level - b.level);
      const colour = data.colours[m];
      const line = (key) => own.filter((s) => s[key] !== null).map((s) => `${x(s.target)},${y(s[key])}`).join(" ");
      draw("polyline", { points: line("predicted"), fill: "none", stroke: colour, "stroke-width": 1.2, "stroke-dasharray": "5 4", opacity: 0.7 });
      draw("polyline", { points: line("recorded"), fill: "none", stroke: colour, "stroke-width": 1.8 });
      for (const s of own.filter((p) => p.recorded !== null)) {
        draw("circle", { cx: x(s.target), cy: y(s.recorded), r: s.level === now ? 5.5 : 2.6, fill: colour });
      }
      for (const s of own.filter((p) => p.predicted !== null && p.level === now)) {
        draw("circle", { class: "ring", cx: x(s.target), cy: y(s.predicted), r: 5.5, fill: "none", stroke: colour, "stroke-width": 1.8 });
      }
    }
  }

  function render() {
    const steps = levels();
    level.max = Math.max(steps.length - 1, 0);
    const now = steps[Number(level.value)];
    const current = shown().filter((s) => s.level === now);
    const start = shown().filter((s) => s.level === null);
    find("panes").replaceChildren(
      ...(start.length ? [pane(start, "seed image", null)] : []),
      ...current.map((s) => pane([s], data.models[s.model], data.colours[s.model])),
    );
    const targets = [...new Set(current.map((s) => text(s.target)))];
    find("level-text").textContent = `${Number(level.value) + 1} of ${steps.length}` + (targets.length === 1 ? `: ${targets[0]} ${data.units}` : "");
    document.querySelectorAll(".grid button.shown").forEach((button) => button.classList.remove("shown"));
    for (const s of current) images.get(s.i).parentElement.classList.add("shown");
    // What a screen reader says of the slider: the level, and every shown model's numbers.
    level.setAttribute("aria-valuetext", [find("level-text").textContent, ...current.map((s) =>
      `${data.models[s.model]}: predicted ${text(s.predicted)}, recorded ${text(s.recorded)}`)].join("; "));
    chart(now);
  }

  // The page of the chosen site is opened, the others are folded.
  function unfold() {
    document.querySelectorAll("details.site").forEach((block) => { block.open = block.dataset.site === site.value; });
  }

  function choose() {
    fill(seed, [...new Set(at().map((s) => s.seed))].map((name) => [name, name]));
    const present = [...new Set(at().map((s) => s.model))].sort((a, b) => a - b);
    const each = present.map((m) => [m, data.models[m]]);
    fill(model, present.length > 1 ? [["all", "all, side by side"], ...each] : each);
    render();
  }

  const swept = [...new Set(stimuli.map((s) => s.site))].sort((a, b) => a - b);
  fill(site, swept.map((s) => [s, data.sites[s]]));
  site.addEventListener("change", () => { choose(); unfold(); });
  seed.addEventListener("change", render);
  model.addEventListener("change", render);
  level.addEventListener("input", render);
  document.querySelectorAll(".grid button").forEach((button) => button.addEventListener("click", () => {
    const picked = stimuli[Number(button.firstElementChild.dataset.i)];
    if (site.value !== String(picked.site)) { site.value = String(picked.site); choose(); }
    seed.value = picked.seed;
    if (model.value !== "all") model.value = String(picked.model);
    render();
    if (picked.level !== null) { level.value = levels().indexOf(picked.level); render(); }
    find("explorer").scrollIntoView({ block: "nearest" });
  }));
  choose();
  level.value = Math.max(levels().length - 1, 0);
  render();
  find("explorer").hidden = false;
})();
