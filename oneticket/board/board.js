"use strict";
// Looks at the page again now and then, and brings it up to date without disturbing who reads it.
(() => {
  let every = 1000 * Number(document.body.dataset.every);
  const lost = document.getElementById("lost");
  if (!every) return;
  let seen = null;

  // What a node is for: a section by its id, a row or card by where it leads. "" for what has only its place.
  const name = (node) => {
    if (node.nodeType !== Node.ELEMENT_NODE) return "";
    return node.id || (node.matches("li, tr") && node.querySelector("a")?.getAttribute("href")) || "";
  };

  // Makes `old` like `fresh`. Nodes that are alike stay, and with them focus, scrolling, selection and open folds.
  const morph = (old, fresh) => {
    if (old.nodeType !== Node.ELEMENT_NODE) {
      if (old.data !== fresh.data) old.data = fresh.data;
      return;
    }
    for (const { name: key } of [...old.attributes]) {
      if (!fresh.hasAttribute(key) && !(key === "open" && old.localName === "details")) old.removeAttribute(key);
    }
    for (const { name: key, value } of fresh.attributes) {
      if (old.getAttribute(key) !== value) old.setAttribute(key, value);
    }
    const named = new Map([...old.childNodes].filter(name).map((child) => [name(child), child]));
    let at = old.firstChild;
    for (const child of [...fresh.childNodes]) {
      const place = at && !name(at) && at.nodeName === child.nodeName ? at : null;
      const same = name(child) ? named.get(name(child)) : place;
      if (!same || same.nodeName !== child.nodeName) old.insertBefore(document.adoptNode(child), at);
      else {
        if (same === at) at = at.nextSibling;
        else old.insertBefore(same, at);
        named.delete(name(child));
        morph(same, child);
      }
    }
    while (at) {
      const next = at.nextSibling;
      at.remove();
      at = next;
    }
  };

  const put = (text) => {
    const fresh = new DOMParser().parseFromString(text, "text/html");
    morph(document.querySelector("main"), fresh.querySelector("main"));
    document.title = fresh.title;
    every = 1000 * Number(fresh.body.dataset.every);
  };

  const tell = (words) => {
    if (lost.textContent !== words) lost.textContent = words;
    lost.hidden = !words;
  };

  const look = async () => {
    if (!document.hidden) {
      try {
        const answer = await fetch(location.href, { headers: seen ? { "If-None-Match": seen } : {}, cache: "no-store" });
        if (answer.status === 200) {
          seen = answer.headers.get("etag");
          put(await answer.text());
        }
        if (answer.ok || answer.status === 304) tell("");
        else {
          const why = answer.status === 404 ? "There is nothing at this address any more." : (await answer.text()).trim();
          tell(`${why} This is what the page showed last.`);
        }
      } catch {
        tell("The board does not answer any more. This is what it showed last; start it again to go on.");
      }
    }
    if (every) setTimeout(look, every);
  };
  setTimeout(look, every);
})();
