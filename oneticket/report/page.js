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

// On paper everything is expanded.
const closed = [];
addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("details:not([open])")) {
    closed.push(details);
    details.open = true;
  }
});
addEventListener("afterprint", () => {
  for (const details of closed.splice(0)) details.open = false;
});
