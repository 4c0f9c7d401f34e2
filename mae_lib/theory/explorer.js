(() => {
  "use strict";
  const root = document.currentScript.closest(".mae-explorer");
  const data = JSON.parse(root.querySelector('script[type="application/json"]').textContent);
  const names = data.nodes.map((node) => node.name);
  const pixels = names.slice(data.latents);
  const hidden = new Set();

  // The closed form: 1 a hidden pixel below, 2 a visible one, 3 both.
  function locate() {
    const below = names.map((name, i) =>
      i < data.latents ? 0 : hidden.has(name) ? 1 : 2);
    for (const i of [...data.order].reverse()) {
      for (const parent of data.parents[i]) below[parent] |= below[i];
    }
    const pick = (test) => names.filter((_, i) => test(i));
    return {
      c: pick((i) => i < data.latents && below[i] === 3 &&
        data.children[i].every((child) => below[child] !== 3)),
      shared: pick((i) => i < data.latents && below[i] === 3),
      s_m: pick((i) => below[i] === 1),
      s_mc: pick((i) => below[i] === 2),
    };
  }

  function add(parent, tag, attributes = {}, text = "") {
    const svg = ["svg", "g", "line", "circle", "text"].includes(tag);
    const made = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag)
      : document.createElement(tag);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.textContent = text;
    parent.append(made);
    return made;
  }

  const unit = 60, radius = 18;
  const top = Math.max(...data.nodes.map((node) => node.y));
  const x = (i) => (data.nodes[i].x + 0.5) * unit;
  const y = (i) => (top - data.nodes[i].y) * 75 + radius + 8;
  const svg = add(root, "svg", { role: "img",
    viewBox: `0 0 ${pixels.length * unit} ${top * 75 + radius - 10}` });
  data.children.forEach((children, i) => children.forEach((child) => {
    const pixel = child >= data.latents;
    add(svg, "line", { x1: x(i), y1: y(i), x2: x(child), y2: pixel ? top * 75 + radius : y(child) });
  }));
  const latents = names.slice(0, data.latents).map((name, i) => {
    const group = add(svg, "g");
    add(group, "circle", { class: "node", cx: x(i), cy: y(i), r: radius });
    add(group, "circle", { class: "ring", cx: x(i), cy: y(i), r: radius + 5 });
    add(group, "text", { x: x(i), y: y(i) }, name);
    return group;
  });
  const row = add(root, "div", { class: "mae-pixels", role: "group",
    "aria-label": "Pixels; a pressed button is hidden" });
  const buttons = pixels.map((name) => {
    const button = add(row, "button", { type: "button" }, name);
    button.addEventListener("click", () => { flip(name); show(); });
    return button;
  });
  const bar = add(root, "div", { class: "mae-masks", role: "group", "aria-label": "Masks" });
  const choose = (label, wanted) =>
    add(bar, "button", { type: "button" }, label).addEventListener("click", () => {
      const next = wanted();
      hidden.clear();
      next.forEach((name) => hidden.add(name));
      show();
    });
  Object.entries(data.masks).forEach(([label, mask]) => choose(label, () => mask));
  choose("complement", () => pixels.filter((name) => !hidden.has(name)));
  choose("random", () => pixels.filter(() => Math.random() < 0.5));
  choose("show all", () => []);
  const words = add(root, "p", { "aria-live": "polite" });
  add(root, "p", { class: "mae-key" }, "Double ring: in c. Dashed outline: shared, but not in c. " +
    "Filled: on the hidden side only. A filled button is a hidden pixel.");

  const flip = (name) => hidden.has(name) ? hidden.delete(name) : hidden.add(name);
  const list = (members) => members.length ? members.join(", ") : "nothing";

  function show() {
    const found = locate();
    buttons.forEach((button, i) => button.setAttribute("aria-pressed", hidden.has(pixels[i])));
    latents.forEach((group, i) => {
      const role = ["c", "shared", "s_m"].find((set) => found[set].includes(names[i]));
      group.setAttribute("class", role || "");
    });
    const tall = data.nodes.filter((node) => found.c.includes(node.name)).map((n) => n.height);
    const mean = tall.reduce((sum, height) => sum + height, 0) / tall.length;
    const level = tall.length ? `, at mean height ${+mean.toFixed(2)}` : "";
    words.textContent = `Hidden: ${list(pixels.filter((name) => hidden.has(name)))}. ` +
      `Located (c): ${list(found.c)}${level}. All that is shared: ${list(found.shared)}. ` +
      `Hidden side only (s_m): ${list(found.s_m)}. Visible side only (s_mc): ${list(found.s_mc)}.`;
    svg.setAttribute("aria-label", `Hierarchy of ${data.latents} latents; in c: ${list(found.c)}`);
    root.dataset.found = JSON.stringify(found);
  }

  Object.values(data.masks)[0].forEach((name) => hidden.add(name));
  show();
})();
