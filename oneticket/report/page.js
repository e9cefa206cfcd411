"use strict";
// Draws every chart of the page. Expressions are interpreted, so that the page's policy need not allow eval.
(async () => {
  const options = { actions: false, ast: true, mode: "vega-lite", renderer: "svg" };
  for (const chart of document.querySelectorAll(".chart")) {
    try {
      await vegaEmbed(chart, JSON.parse(document.getElementById(chart.dataset.spec).textContent), options);
      chart.dataset.drawn = "yes";
    } catch (error) {
      chart.textContent = "This chart could not be drawn; its files are linked below.";
      console.error(error);
    }
  }
  document.body.dataset.drawn = "yes";
})();

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

// On paper everything is expanded, but for what the cards and tables before it say already.
const closed = [];
addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("main details:not([open])")) {
    closed.push(details);
    details.open = true;
  }
});
addEventListener("afterprint", () => {
  for (const details of closed.splice(0)) details.open = false;
});
