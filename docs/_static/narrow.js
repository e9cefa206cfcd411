// Tables that are wider than their page become lists, which narrow.css draws; the others stay as they are.
function fit() {
  for (const table of document.querySelectorAll("article table.docutils")) {
    const names = [...table.querySelectorAll("thead th")].map((head) => head.textContent);
    for (const row of table.querySelectorAll("tbody tr"))
      [...row.cells].forEach((cell, place) => (cell.dataset.label = names[place] ?? ""));
    table.classList.remove("stacked");
    const room = table.parentElement.clientWidth;
    table.classList.toggle("stacked", names.length > 0 && table.scrollWidth > room);
  }
}
addEventListener("DOMContentLoaded", fit);
addEventListener("resize", fit);
