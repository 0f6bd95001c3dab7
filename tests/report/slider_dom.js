// Runs a report's script on a document of its ids and images; prints what is shown.
"use strict";
const fs = require("fs");
const [, , scriptFile, dataFile, actionsFile] = process.argv;
const data = fs.readFileSync(dataFile, "utf-8");
class Element {
  constructor(tag) {
    Object.assign(this, { tag, children: [], dataset: {}, own: {}, listeners: {}, classes: new Set(), hidden: true, open: false, text: "", chosen: "" });
    this.style = { setProperty() {} };
    this.classList = { add: (name) => this.classes.add(name), remove: (name) => this.classes.delete(name) };
    this.namespaceURI = "svg";
  }
  // A select without a value of its own shows its first option, as browsers do.
  get value() { return this.tag !== "select" || this.chosen !== "" ? this.chosen : this.children[0]?.value ?? ""; }
  set value(value) { this.chosen = String(value); }
  get textContent() { return this.text + this.children.map((child) => child.textContent).join(" "); }
  set textContent(text) { this.text = String(text); }
  get parentElement() { return this.parent; }
  get firstElementChild() { return this.children[0]; }
  append(...children) { this.children.push(...children); }
  replaceChildren(...children) { this.children = children; if (this.tag === "select") this.chosen = ""; }
  setAttribute(name, value) { this.own[name] = String(value); }
  addEventListener(name, listener) { this.listeners[name] = listener; }
  scrollIntoView() {}
}
const ids = {};
for (const id of ["pick-site", "pick-seed", "pick-model"]) ids[id] = new Element("select");
for (const id of ["pick-level", "level-text", "panes", "chart", "explorer", "stimulus-data"]) ids[id] = new Element("div");
ids["stimulus-data"].textContent = data;
const { stimuli, sites } = JSON.parse(data);
const buttons = stimuli.map((_, i) => {
  const [button, image] = [new Element("button"), new Element("img")];
  Object.assign(image, { dataset: { i: String(i) }, src: `image ${i}`, alt: `alt ${i}`, parent: button });
  button.append(image);
  return button;
});
const pages = sites.map((_, i) => Object.assign(new Element("details"), { dataset: { site: String(i) } }));
global.document = {
  getElementById: (id) => ids[id],
  createElement: (tag) => new Element(tag),
  createElementNS: (_, tag) => new Element(tag),
  querySelectorAll: (query) => ({
    "img[data-i]": buttons.map((button) => button.children[0]),
    "details.site": pages,
    ".grid button": buttons,
    ".grid button.shown": buttons.filter((button) => button.classes.has("shown")),
  })[query],
};
(0, eval)(fs.readFileSync(scriptFile, "utf-8"));
const find = (element, tag) => element.children.flatMap((child) => [...(child.tag === tag ? [child] : []), ...find(child, tag)]);
for (const [id, event, value] of JSON.parse(fs.readFileSync(actionsFile, "utf-8"))) {
  const target = id === null ? buttons[value] : ids[id];
  if (id !== null) target.value = value;
  target.listeners[event]();
}
console.log(JSON.stringify({
  panes: ids.panes.children.map((pane) => ({ name: pane.children[0].textContent, image: find(pane, "img")[0].src, facts: find(pane, "dd").map((dd) => dd.textContent) })),
  level: ids["level-text"].textContent,
  spoken: ids["pick-level"].own["aria-valuetext"],
  options: Object.fromEntries(["pick-site", "pick-seed", "pick-model"].map((id) => [id, ids[id].children.map((option) => option.textContent)])),
  circles: find(ids.chart, "circle").filter((circle) => Number(circle.own.r) > 5).length,
  open: pages.map((page) => page.open),
  hidden: ids.explorer.hidden,
  site: ids["pick-site"].value, seed: ids["pick-seed"].value, index: Number(ids["pick-level"].value),
}));
