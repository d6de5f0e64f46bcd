// Flame graphs: a tree of calls, the outermost on top, each as wide as what it used. A click zooms, a search marks.
(function () {
  const page = window.bobbin;
  const HIGH = 18, NARROWEST = 0.6, NAMED_FROM = 28;
  // Frames drawn at a time; the innermost ones are left out first.
  const FRAMES_MAX = 6000;

  // A steady colour of a name; warm for what was used more than before, cold for less.
  function colour(node, isDifference) {
    if (isDifference) {
      const share = Math.max(-1, Math.min(1, node.value / (Math.abs(node.value) + Math.abs(node.self) + 1)));
      return node.value > 0 ? `hsl(8 75% ${72 - 22 * share}%)` : node.value < 0 ? `hsl(215 70% ${72 + 22 * share}%)` : "hsl(0 0% 75%)";
    }
    let hash = 0;
    const module = node.name.split("::")[0];
    for (const char of module) hash = (hash * 31 + char.charCodeAt(0)) >>> 0;
    let shade = 0;
    for (const char of node.name) shade = (shade * 17 + char.charCodeAt(0)) >>> 0;
    return `hsl(${12 + (hash % 44)} ${70 + (hash % 20)}% ${62 + (shade % 14)}%)`;
  }

  function amount(value, unit) {
    if (unit === "nanoseconds") {
      const size = Math.abs(value);
      if (size >= 1e9) return (value / 1e9).toFixed(2) + " s";
      if (size >= 1e6) return (value / 1e6).toFixed(2) + " ms";
      return (value / 1e3).toFixed(1) + " µs";
    }
    if (unit === "bytes") {
      const size = Math.abs(value);
      for (const [step, name] of [[2 ** 30, "GiB"], [2 ** 20, "MiB"], [2 ** 10, "KiB"]])
        if (size >= step) return (value / step).toFixed(2) + " " + name;
      return value + " B";
    }
    return String(value);
  }

  // How wide a node is to be: in a difference its parts may cancel each other, so widths are of what changed at all.
  function measure(root) {
    const order = [[root, null, 0]];
    let deepest = 0;
    for (let at = 0; at < order.length; at++) {
      const [node, parent, depth] = order[at];
      node.parent = parent;
      node.depth = depth;
      deepest = Math.max(deepest, depth);
      for (const child of node.children || []) order.push([child, node, depth + 1]);
    }
    for (let at = order.length - 1; at >= 0; at--) {
      const node = order[at][0];
      const inner = (node.children || []).reduce((sum, child) => sum + child.width, 0);
      node.width = Math.max(Math.abs(node.value), inner + Math.abs(node.self || 0));
    }
    return { deepest, isDifference: order.some(([node]) => node.value < 0) };
  }

  class Flame {
    constructor(place, data) {
      this.place = place;
      this.unit = data.unit;
      this.root = this.focus = data.root;
      const { deepest, isDifference } = measure(this.root);
      this.isDifference = isDifference;
      this.box = page.element("div", "flame");
      this.box.style.height = (deepest + 1) * HIGH + "px";
      this.search = page.element("input");
      this.search.type = "search";
      this.search.placeholder = "Mark functions";
      this.search.setAttribute("aria-label", "Mark functions");
      this.reset = page.element("button", "", "Show all");
      this.found = page.element("span", "dim");
      const tools = page.element("div", "tools");
      tools.append(this.search, this.reset, this.found);
      this.path = page.element("div", "path");
      place.replaceChildren(tools, this.box, this.path);
      this.search.addEventListener("input", () => this.draw());
      this.reset.addEventListener("click", () => this.zoom(this.root));
      const node = (event) => this.nodes.get(event.target);
      this.box.addEventListener("click", (event) => { if (node(event)) this.zoom(node(event)); });
      this.box.addEventListener("keydown", (event) => { if (event.key === "Enter" && node(event)) this.zoom(node(event)); });
      this.box.addEventListener("mousemove", (event) => (node(event) ? this.tell(event, node(event)) : page.hideTip()));
      this.box.addEventListener("mouseleave", () => page.hideTip());
      window.addEventListener("resize", () => this.draw());
      this.draw();
    }

    zoom(node) { this.focus = node; this.draw(); }

    draw() {
      const wide = this.box.clientWidth;
      const wanted = this.search.value.trim().toLowerCase();
      const made = document.createDocumentFragment();
      this.nodes = new Map();
      let marked = 0;
      const frame = (node, x, length, isAbove, isInMarked) => {
        const isMarked = wanted !== "" && node.name.toLowerCase().includes(wanted);
        if (isMarked && !isInMarked && !isAbove) marked += node.width;
        const box = page.element("div", "frame" + (isAbove ? " above" : "") + (isMarked ? " marked" : ""));
        if (length > NAMED_FROM) { box.textContent = node.name; box.tabIndex = 0; }
        box.dataset.frame = node.depth;
        box.style.left = x + "px";
        box.style.top = node.depth * HIGH + "px";
        box.style.width = Math.max(length - 0.5, 0.4) + "px";
        if (!isMarked) box.style.background = colour(node, this.isDifference);
        this.nodes.set(box, node);
        made.append(box);
        return isMarked || isInMarked;
      };
      for (let node = this.focus.parent; node; node = node.parent) frame(node, 0, wide, true, false);
      const scale = wide / Math.max(1, this.focus.width);
      const open = [[this.focus, 0, false]];
      for (let at = 0; at < open.length && at < FRAMES_MAX; at++) {
        const [node, x, isInMarked] = open[at];
        const inMarked = frame(node, x, node.width * scale, false, isInMarked);
        let start = x;
        for (const child of node.children || []) {
          const length = child.width * scale;
          if (length >= NARROWEST) open.push([child, start, inMarked]);
          start += length;
        }
      }
      this.box.replaceChildren(made);
      const share = (100 * marked) / Math.max(1, this.focus.width);
      this.found.textContent = wanted ? share.toFixed(1) + "% marked" : amount(this.root.value, this.unit) + " in all";
      const names = [];
      for (let node = this.focus; node && node !== this.root; node = node.parent) names.unshift(node.name);
      this.path.textContent = names.join(" › ");
      this.reset.disabled = this.focus === this.root;
    }

    tell(event, node) {
      const share = ((100 * node.value) / (this.root.value || 1)).toFixed(2) + "%";
      page.showTip(event, node.name + "\n" + amount(node.value, this.unit) + " (" + share + "), itself " + amount(node.self || 0, this.unit));
    }
  }

  // Fills a place with the graph at its address. Taking the profile may last as long as the address says.
  page.flame = async function (place) {
    const note = page.element("div", "note", place.textContent);
    place.replaceChildren(note);
    const seconds = Number(place.dataset.seconds || 0);
    const begin = Date.now();
    const timer = seconds && setInterval(() => {
      const left = Math.ceil(seconds - (Date.now() - begin) / 1000);
      note.textContent = left > 0 ? "Taking samples, " + left + " s left" : "Putting the graph together";
    }, 250);
    try {
      const answer = await fetch(place.dataset.flame);
      if (!answer.ok) {
        const told = await answer.json().catch(() => ({}));
        note.textContent = told.error || "The server answered with " + answer.status + ".";
        note.className = "notice bad";
        return;
      }
      const data = await answer.json();
      if (!data.root || !(data.root.children || []).length) { note.textContent = "There are no samples."; return; }
      new Flame(place, data);
      const id = answer.headers.get("x-profile-id");
      if (id) {
        const link = page.element("a", "", "keep this graph's address");
        link.href = location.pathname + "?view=" + encodeURIComponent(id);
        place.querySelector(".tools").append(link);
      }
      document.dispatchEvent(new CustomEvent("flame-ready"));
    } catch (error) {
      note.textContent = "The profile could not be fetched.";
      note.className = "notice bad";
    } finally { clearInterval(timer); }
  };
})();
