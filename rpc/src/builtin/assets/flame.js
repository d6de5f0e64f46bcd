// Flame graphs: a tree of calls, the outermost on top, each as wide as what it used. A click zooms, a search marks.
(function () {
  const page = window.bobbin;
  const HIGH = 18, NARROWEST = 0.6;

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

  const width = (node) => node.width;

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
      this.canvas = page.element("canvas");
      this.canvas.style.height = (deepest + 1) * HIGH + "px";
      this.search = page.element("input");
      this.search.type = "search";
      this.search.placeholder = "Mark functions";
      this.search.setAttribute("aria-label", "Mark functions");
      this.reset = page.element("button", "", "Show all");
      this.found = page.element("span", "dim");
      const tools = page.element("div", "tools");
      tools.append(this.search, this.reset, this.found);
      this.box = page.element("div", "flame");
      this.box.append(this.canvas);
      this.path = page.element("div", "path");
      place.replaceChildren(tools, this.box, this.path);
      this.search.addEventListener("input", () => this.draw());
      this.reset.addEventListener("click", () => this.zoom(this.root));
      this.canvas.addEventListener("click", (event) => { const hit = this.at(event); if (hit) this.zoom(hit); });
      this.canvas.addEventListener("mousemove", (event) => this.point(event));
      this.canvas.addEventListener("mouseleave", () => page.hideTip());
      window.addEventListener("resize", () => this.draw());
      matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
      this.draw();
    }

    zoom(node) { this.focus = node; this.draw(); }

    draw() {
      const { pen, width: wide } = page.pen(this.canvas);
      const wanted = this.search.value.trim().toLowerCase();
      this.boxes = [];
      let marked = 0;
      pen.font = "11.5px ui-monospace, monospace";
      pen.textBaseline = "middle";
      const paint = (node, x, length, isAbove, isInMarked) => {
        const y = node.depth * HIGH;
        const isMarked = wanted !== "" && node.name.toLowerCase().includes(wanted);
        if (isMarked && !isInMarked && !isAbove) marked += node.width;
        pen.globalAlpha = isAbove ? 0.45 : 1;
        pen.fillStyle = isMarked ? "#d946ef" : colour(node, this.isDifference);
        pen.fillRect(x, y, Math.max(length - 0.5, 0.4), HIGH - 1);
        if (length > 28) {
          pen.fillStyle = isMarked ? "#ffffff" : "#1b2430";
          pen.save();
          pen.beginPath(); pen.rect(x, y, length - 2, HIGH); pen.clip();
          pen.fillText(node.name, x + 4, y + HIGH / 2);
          pen.restore();
        }
        pen.globalAlpha = 1;
        this.boxes.push({ node, x, y, length });
        return isMarked || isInMarked;
      };
      for (let node = this.focus.parent; node; node = node.parent) paint(node, 0, wide, true, false);
      const scale = wide / Math.max(1, this.focus.width);
      const open = [[this.focus, 0, false]];
      while (open.length) {
        const [node, x, isInMarked] = open.pop();
        const inMarked = paint(node, x, width(node) * scale, false, isInMarked);
        let start = x;
        for (const child of node.children || []) {
          const length = child.width * scale;
          if (length >= NARROWEST) open.push([child, start, inMarked]);
          start += length;
        }
      }
      const share = (100 * marked) / Math.max(1, this.focus.width);
      this.found.textContent = wanted ? share.toFixed(1) + "% marked" : amount(this.root.value, this.unit) + " in all";
      const names = [];
      for (let node = this.focus; node && node !== this.root; node = node.parent) names.unshift(node.name);
      this.path.textContent = names.join(" › ");
      this.reset.disabled = this.focus === this.root;
    }

    at(event) {
      const box = this.canvas.getBoundingClientRect();
      const x = event.clientX - box.left, y = event.clientY - box.top;
      const hit = this.boxes.find((one) => x >= one.x && x < one.x + one.length && y >= one.y && y < one.y + HIGH);
      return hit && hit.node;
    }

    point(event) {
      const node = this.at(event);
      this.canvas.style.cursor = node ? "pointer" : "default";
      if (!node) return page.hideTip();
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
