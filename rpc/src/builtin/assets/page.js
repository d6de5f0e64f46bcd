// The script of the debug pages: tables, searches, forms. Charts and flame graphs are in the files behind it. Whatever
// comes from the server is put into the page as text, or was made by the server's own writer of HTML.
"use strict";
(function () {
  const page = (window.bobbin = {});

  page.element = function (name, className, text) {
    const made = document.createElement(name);
    if (className) made.className = className;
    if (text !== undefined) made.textContent = text;
    return made;
  };

  // A colour of the style sheet, which follows the mode that the reader prefers.
  page.colour = (name) => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();

  // One tooltip for the whole page.
  const tip = page.element("div", "tip");
  tip.hidden = true;
  page.showTip = function (event, text) {
    tip.textContent = text;
    tip.hidden = false;
    const box = tip.getBoundingClientRect();
    const left = Math.min(event.clientX + 14, window.innerWidth - box.width - 6);
    const below = event.clientY + 18;
    const top = below + box.height > window.innerHeight ? event.clientY - box.height - 8 : below;
    tip.style.left = Math.max(4, left) + "px";
    tip.style.top = Math.max(4, top) + "px";
  };
  page.hideTip = () => { tip.hidden = true; };

  page.short = function (number) {
    const size = Math.abs(number);
    for (const [unit, name] of [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e4, "k"]])
      if (size >= unit) return trim(number / (unit === 1e4 ? 1e3 : unit)) + name;
    return trim(number);
  };
  const trim = (number) => String(Number(number.toFixed(Math.abs(number) < 10 ? 2 : 1)));

  // A canvas as sharp as the screen, cleared. Returns its pen and its size in the page's pixels.
  page.pen = function (canvas) {
    const ratio = window.devicePixelRatio || 1;
    const width = canvas.clientWidth, height = canvas.clientHeight;
    const wide = Math.round(width * ratio), high = Math.round(height * ratio);
    if (canvas.width !== wide || canvas.height !== high) { canvas.width = wide; canvas.height = high; }
    const pen = canvas.getContext("2d");
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, width, height);
    return { pen, width, height };
  };

  // --- tables that are sorted by a click on a heading
  function key(row, column) {
    const cell = row.cells[column];
    if (!cell) return "";
    const text = cell.dataset.sort !== undefined ? cell.dataset.sort : cell.textContent.trim();
    const number = parseFloat(text);
    return text !== "" && !isNaN(number) && /^[-+\d.,\/ %a-zµ]+$/i.test(text) && /^[-+\d.]/.test(text) && !/\d:\d/.test(text) && !/^\d{4}\//.test(text) ? number : text;
  }
  function compare(a, b) {
    if (typeof a === "number" && typeof b === "number") return a - b;
    return String(a).localeCompare(String(b), undefined, { numeric: true });
  }
  function makeSortable(table) {
    const headings = table.tHead ? Array.from(table.tHead.rows[0].cells) : [];
    table.classList.add("live");
    const first = table.tBodies[0].rows[0];
    headings.forEach((heading, column) => {
      heading.tabIndex = 0;
      if (first && first.cells[column] && first.cells[column].classList.contains("n")) heading.classList.add("n");
      const sort = () => {
        const down = heading.getAttribute("aria-sort") === "ascending";
        headings.forEach((other) => other.removeAttribute("aria-sort"));
        heading.setAttribute("aria-sort", down ? "descending" : "ascending");
        const body = table.tBodies[0];
        const rows = Array.from(body.rows).map((row) => [key(row, column), row]);
        rows.sort((a, b) => (down ? compare(b[0], a[0]) : compare(a[0], b[0])));
        body.append(...rows.map((pair) => pair[1]));
      };
      heading.addEventListener("click", sort);
      heading.addEventListener("keydown", (event) => { if (event.key === "Enter") sort(); });
    });
  }

  // --- searches
  const WAIT_AFTER_KEY = 200;
  function delayed(act) {
    let timer = 0;
    return () => { clearTimeout(timer); timer = setTimeout(act, WAIT_AFTER_KEY); };
  }

  // Filters the rows of a table that is there.
  function makeFilter(input) {
    const target = document.getElementById(input.dataset.filter);
    input.addEventListener("input", delayed(() => {
      const wanted = input.value.trim().toLowerCase();
      for (const row of target.querySelectorAll("tbody tr"))
        row.hidden = wanted !== "" && !row.textContent.toLowerCase().includes(wanted);
    }));
    input.form.addEventListener("submit", (event) => event.preventDefault());
  }

  // Asks the server for the variables that match.
  function makeLive(input) {
    const target = document.getElementById(input.dataset.live);
    const path = "/" + input.dataset.live;
    let latest = 0;
    const ask = async () => {
      const words = input.value.trim().split(/[\s,;]+/).filter(Boolean);
      const patterns = words.map((word) => (/[*$]/.test(word) ? word : "*" + word + "*")).join(";");
      const address = path + (patterns ? "/" + encodeURIComponent(patterns) : "");
      const mine = ++latest;
      try {
        const answer = await fetch(address + "?dataonly&console=0");
        const text = await answer.text();
        if (mine !== latest || !answer.ok) return;
        const made = new DOMParser().parseFromString(text, "text/html");
        target.replaceChildren(...Array.from(made.body.childNodes));
        page.watch(target);
        history.replaceState(null, "", address);
      } catch (_) { /* the server is gone; what is shown stays */ }
    };
    input.addEventListener("input", delayed(ask));
    input.form.addEventListener("submit", (event) => { event.preventDefault(); ask(); });
  }

  // A form whose one field becomes the last part of the path.
  function makeJump(form) {
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const value = form.querySelector("input").value.trim();
      if (value) location.href = form.getAttribute("action") + "/" + encodeURIComponent(value);
    });
  }

  // Leaves empty fields out of a search's address.
  function makeTidy(form) {
    form.addEventListener("submit", () => {
      for (const field of form.elements) if (field.name && !field.value) field.disabled = true;
    });
    window.addEventListener("pageshow", () => { for (const field of form.elements) field.disabled = false; });
  }

  window.addEventListener("DOMContentLoaded", () => {
    document.body.append(tip);
    document.querySelectorAll("table.sortable").forEach(makeSortable);
    document.querySelectorAll("input[data-filter]").forEach(makeFilter);
    document.querySelectorAll("input[data-live]").forEach(makeLive);
    document.querySelectorAll("form[data-jump]").forEach(makeJump);
    document.querySelectorAll("form[role=search]:not([method=post])").forEach(makeTidy);
    page.watch(document);
    document.querySelectorAll("[data-flame]").forEach((place) => page.flame(place));
  });
})();
