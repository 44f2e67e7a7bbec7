"use strict";
(() => {
  const root = document.documentElement;

  // Theme: the system's, until the reader chooses. Storage may be refused for local files.
  const remembered = {
    get() { try { return localStorage.getItem("ste-ray-theme"); } catch { return null; } },
    set(value) { try { localStorage.setItem("ste-ray-theme", value); } catch { /* not kept */ } },
  };
  const button = document.getElementById("theme");
  const dark = () => root.dataset.theme === "dark" ||
    (!root.dataset.theme && matchMedia("(prefers-color-scheme: dark)").matches);
  const label = () => { button.textContent = dark() ? "Light" : "Dark"; };
  const saved = remembered.get();
  if (saved === "light" || saved === "dark") root.dataset.theme = saved;
  button.addEventListener("click", () => {
    root.dataset.theme = dark() ? "light" : "dark";
    remembered.set(root.dataset.theme);
    label();
  });
  label();

  // Filters: each select compares with the data attribute of its name; all words must be found.
  // Until the reader filters or asks for all, a long list shows its beginning.
  const BEGINNING = 15;
  for (const form of document.querySelectorAll("form[data-filters]")) {
    const list = document.getElementById(form.dataset.filters);
    const items = [...list.querySelectorAll(":scope > .item")];
    const texts = items.map((item) => item.textContent.toLowerCase());
    const output = form.querySelector("output");
    const empty = list.querySelector(":scope > .empty");
    const more = document.createElement("button");
    let all = items.length <= BEGINNING;
    const apply = () => {
      const words = form.elements.text.value.toLowerCase().split(/\s+/).filter(Boolean);
      const selects = [...form.querySelectorAll("select")].filter((select) => select.value);
      const unlimited = all || words.length > 0 || selects.length > 0;
      let shown = 0;
      items.forEach((item, index) => {
        const match = selects.every((select) => item.dataset[select.name] === select.value) &&
          words.every((word) => texts[index].includes(word)) &&
          (unlimited || index < BEGINNING);
        item.hidden = !match;
        shown += match;
      });
      output.textContent = `${shown} of ${items.length}`;
      empty.hidden = shown > 0;
      more.hidden = unlimited;
    };
    more.type = "button";
    more.className = "more";
    more.textContent = `Show all ${items.length}`;
    more.addEventListener("click", () => { all = true; apply(); });
    list.append(more);
    form.addEventListener("input", apply);
    form.addEventListener("submit", (event) => event.preventDefault());
    apply(); // a browser may have kept the fields of an earlier visit
  }

  // Sorting: a click on a heading sorts by that column, a second one turns the order round.
  const valueOf = (row, column) => {
    const cell = row.cells[column];
    const number = parseFloat(cell.dataset.value ?? cell.textContent.replace(/,/g, ""));
    return Number.isNaN(number) ? cell.textContent.trim().toLowerCase() : number;
  };
  const compare = (a, b) =>
    typeof a === typeof b ? (a < b ? -1 : a > b ? 1 : 0) : typeof a === "number" ? -1 : 1;
  for (const table of document.querySelectorAll("table[data-sortable]")) {
    const headings = [...table.tHead.rows[0].cells];
    headings.forEach((heading, column) => {
      if ("unsortable" in heading.dataset) return;
      const sorter = document.createElement("button");
      sorter.type = "button";
      sorter.append(...heading.childNodes);
      heading.append(sorter);
      sorter.addEventListener("click", () => {
        const order = heading.ariaSort === "ascending" ? "descending" : "ascending";
        headings.forEach((other) => other.removeAttribute("aria-sort"));
        heading.ariaSort = order;
        const sign = order === "ascending" ? 1 : -1;
        const body = table.tBodies[0];
        const rows = [...body.rows].map((row) => [valueOf(row, column), row]);
        rows.sort((a, b) => sign * compare(a[0], b[0]));
        body.append(...rows.map(([, row]) => row));
      });
    });
  }

  root.classList.add("js");
})();
