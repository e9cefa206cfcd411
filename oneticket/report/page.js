"use strict";
// Draws every panel of the page that can be seen, as wide as it stands there; folded ones when they are opened. Stills
// stand there until then, and on paper. Expressions are interpreted, so that the page's policy need not allow eval.
const drawn = new Map();
const dark = matchMedia("(prefers-color-scheme: dark)").matches;

// Axes speak their descriptions; Vega itself makes up others.
function spoken(part) {
  for (const axis of part.axes || []) {
    if (axis.description) axis.encode = { ...axis.encode, axis: { update: { description: { value: axis.description } } } };
  }
  for (const inner of part.marks || []) spoken(inner);
  return part;
}

async function draw(panel) {
  if (drawn.has(panel) || panel.offsetParent === null) return;
  const chart = panel.querySelector(".chart");
  const spec = JSON.parse(document.getElementById(chart.dataset.charts).textContent)[chart.dataset.panel];
  const options = { actions: false, ast: true, mode: "vega-lite", renderer: "svg", patch: spoken, tooltip: { theme: dark ? "dark" : "light" } };
  const width = panel.clientWidth;
  drawn.set(panel, { width });
  try {
    if (spec.autosize) spec.width = Math.max(width, 320);
    const { view } = await vegaEmbed(chart, spec, options);
    for (const inner of chart.querySelectorAll(".role-axis > [aria-label]")) {
      for (const name of ["aria-label", "role", "aria-roledescription"]) inner.removeAttribute(name); // the axis has them
    }
    drawn.set(panel, { view, width, fits: Boolean(spec.autosize) });
    panel.classList.add("drawn");
    const menu = panel.closest("figure").querySelector(".menu select");
    if (menu) choose(view, menu);
  } catch (error) {
    console.error(error);
  }
}

async function drawAll(root) {
  for (const panel of root.querySelectorAll(".panel")) await draw(panel);
}

function choose(view, menu) {
  view.signal(menu.dataset.signal, Number(menu.value)).runAsync();
}

for (const menu of document.querySelectorAll(".menu select")) {
  menu.addEventListener("change", () => {
    for (const [panel, { view }] of drawn) if (view && panel.closest("figure").contains(menu)) choose(view, menu);
  });
}

addEventListener("resize", () => {
  for (const [panel, state] of drawn) {
    const width = panel.clientWidth;
    if (!state.fits || panel.offsetParent === null || width === state.width || matchMedia("print").matches) continue;
    state.width = width;
    state.view.width(Math.max(width, 320)).resize().runAsync();
  }
});
document.addEventListener("toggle", (event) => drawAll(event.target), true);
drawAll(document).then(() => { document.body.dataset.drawn = "yes"; });

// The contents stand open beside a wide page, and are a closed bar above a narrow one.
const contents = document.querySelector("nav details");
const wide = matchMedia("(min-width: 64rem)");
const fold = () => { contents.open = wide.matches; };
wide.addEventListener("change", fold);
fold();
contents.addEventListener("click", (event) => {
  if (event.target.closest("a") && !wide.matches) contents.open = false;
});

// A link into something folded opens it.
const unfold = () => {
  let place = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  for (; place; place = place.parentElement) if (place.tagName === "DETAILS") place.open = true;
};
addEventListener("hashchange", unfold);
unfold();

// The contents tell which section is read.
const links = new Map([...contents.querySelectorAll("a")].map((link) => [link.hash.slice(1), link]));
const inSight = new Set();
const watch = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) inSight[isIntersecting ? "add" : "delete"](target.id);
  const read = [...links.keys()].filter((name) => inSight.has(name)).at(-1);
  for (const [name, link] of links) {
    if (name === read) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  }
}, { rootMargin: "0px 0px -60% 0px" });
for (const name of links.keys()) watch.observe(document.getElementById(name));

// On paper everything is expanded, but for what its summary says the page has.
const closed = [];
addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("main details:not([open]):not(.more)")) {
    closed.push(details);
    details.open = true;
  }
});
addEventListener("afterprint", () => {
  for (const details of closed.splice(0)) details.open = false;
});
