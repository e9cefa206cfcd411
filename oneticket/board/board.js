"use strict";
// Looks at the page again now and then, and puts in place those sections that have changed.
(() => {
  const every = 1000 * Number(document.body.dataset.every);
  const lost = document.getElementById("lost");
  if (!every) return;
  let seen = null;

  const put = (text) => {
    const fresh = new DOMParser().parseFromString(text, "text/html");
    for (const section of fresh.querySelectorAll("[data-live]")) {
      const old = document.getElementById(section.id);
      const folds = old ? [...old.querySelectorAll("details")] : [];
      section.querySelectorAll("details").forEach((fold, n) => { fold.open = Boolean(folds[n] && folds[n].open); });
      if (old && old.outerHTML !== section.outerHTML && !old.contains(document.activeElement)) {
        const boxes = [...old.querySelectorAll(".scroll")].map((box) => box.scrollLeft);
        old.replaceWith(document.adoptNode(section));
        section.querySelectorAll(".scroll").forEach((box, n) => { box.scrollLeft = boxes[n] || 0; });
      }
    }
    document.title = fresh.title;
  };

  const look = async () => {
    if (!document.hidden) {
      try {
        const answer = await fetch(location.href, { headers: seen ? { "If-None-Match": seen } : {}, cache: "no-store" });
        if (answer.status === 200) {
          seen = answer.headers.get("etag");
          put(await answer.text());
        }
        lost.hidden = true;
      } catch {
        lost.textContent = "The board does not answer any more. This is what it showed last; start it again to go on.";
        lost.hidden = false;
      }
    }
    setTimeout(look, every);
  };
  setTimeout(look, every);
})();
