// Opened from a disk, the search page takes the pages from pages.js, since a browser does not fetch files.
if (location.protocol === "file:") {
  const loaded = new Promise((done) => {
    const script = document.createElement("script");
    script.src = "_static/pages.js";
    script.onload = done;
    document.head.append(script);
  });
  window.fetch = async (url) => {
    await loaded;
    const here = new URL(".", location).pathname;
    const page = new URL(url, location).pathname.slice(here.length);
    return { text: async () => window.PAGES[page] ?? "" };
  };
}
