// Charts of variables: one line or several over the last minutes, hours and days, asked for each second; or the latency
// that a share of the calls stays below.
(function () {
  const page = window.bobbin;
  const PERIOD = 1000;
  const LEFT = 46, RIGHT = 8, TOP = 14, BOTTOM = 18;
  // Where days, hours, minutes and seconds begin in a history of 174 points.
  const PARTS = [[0, "days"], [30, "hours"], [54, "minutes"], [114, "seconds"]];
  // How far to the right each part begins, and the end: what is recent has the most room.
  const POINTS = 174, BEGINS = [0, 0.1, 0.2, 0.45, 1];
  const charts = new Set();

  function colours(count) {
    return Array.from({ length: count }, (_, index) => page.colour("c" + (index % 6)));
  }

  // Where a point stands, as a share of the width.
  function share(at) {
    const part = PARTS.findLastIndex((one) => one[0] <= at);
    const first = PARTS[part][0], next = part + 1 < PARTS.length ? PARTS[part + 1][0] : POINTS - 1;
    return BEGINS[part] + ((at - first) / (next - first)) * (BEGINS[part + 1] - BEGINS[part]);
  }

  // The distance of the lines behind a chart: 1, 2 or 5 times a power of ten, so that some four fit in.
  function distance(range) {
    const rough = range / 4, power = 10 ** Math.floor(Math.log10(rough));
    return power * ([1, 2, 5, 10].find((step) => step * power >= rough * 0.999));
  }

  class Chart {
    constructor(details) {
      this.details = details;
      this.place = details.querySelector(".chart");
      this.isCdf = details.dataset.chart === "cdf";
      this.canvas = page.element("canvas");
      this.key = page.element("div", "key");
      this.place.replaceChildren(this.canvas, this.key);
      this.lines = [];
      this.pending = false;
      this.canvas.addEventListener("mousemove", (event) => this.point(event));
      this.canvas.addEventListener("mouseleave", () => { this.at = undefined; page.hideTip(); this.draw(); });
    }

    async ask() {
      if (this.pending) return;
      this.pending = true;
      try {
        const answer = await fetch(this.details.dataset.series);
        if (!answer.ok) { this.key.textContent = "no history"; return; }
        const data = await answer.json();
        this.lines = Array.isArray(data) ? data : [data];
        this.name();
        this.draw();
      } catch (_) { /* the server is gone; what was drawn stays */ } finally { this.pending = false; }
    }

    // The key, and the latest value beside the name.
    name() {
      const paint = colours(this.lines.length);
      const newest = this.lines.map((line) => (line.data.length ? line.data[line.data.length - 1][1] : 0));
      if (this.lines.length > 1)
        this.key.replaceChildren(...this.lines.map((line, index) => {
          const item = page.element("span", "", line.label + " " + page.short(newest[index]));
          const mark = page.element("i");
          mark.style.background = paint[index];
          item.prepend(mark);
          return item;
        }));
      if (!this.isCdf) {
        const value = this.details.querySelector(".value");
        if (value) value.textContent = newest.length === 1 ? String(newest[0]) : "[" + newest.join(",") + "]";
      }
    }

    scale(width, height) {
      const points = this.lines.flatMap((line) => line.data);
      const xs = points.map((point) => point[0]), ys = points.map((point) => point[1]);
      const firstX = Math.min(...xs), lastX = Math.max(...xs);
      let low = Math.min(0, ...ys), high = Math.max(0, ...ys);
      if (high === low) high = low + 1;
      const step = distance(high - low);
      low = Math.floor(low / step) * step;
      high = Math.ceil(high / step) * step;
      const isHistory = !this.isCdf && lastX === POINTS - 1;
      const part = isHistory ? share : (value) => (value - firstX) / Math.max(1, lastX - firstX);
      return {
        low, high, step, firstX, lastX,
        x: (value) => LEFT + part(value) * (width - LEFT - RIGHT),
        y: (value) => TOP + (1 - (value - low) / (high - low)) * (height - TOP - BOTTOM),
      };
    }

    draw() {
      const { pen, width, height } = page.pen(this.canvas);
      if (!this.lines.some((line) => line.data.length) || width === 0) return;
      const scale = this.scale(width, height);
      pen.font = "11px system-ui, sans-serif";
      pen.lineWidth = 1;
      pen.strokeStyle = page.colour("line");
      pen.fillStyle = page.colour("dim");
      pen.textAlign = "right";
      pen.textBaseline = "middle";
      for (let line = 0; line <= Math.round((scale.high - scale.low) / scale.step); line++) {
        const value = scale.low + line * scale.step;
        const y = Math.round(scale.y(value)) + 0.5;
        pen.beginPath(); pen.moveTo(LEFT, y); pen.lineTo(width - RIGHT, y); pen.stroke();
        pen.fillText(page.short(value), LEFT - 6, y);
      }
      pen.textAlign = "left";
      pen.textBaseline = "alphabetic";
      const marks = this.isCdf ? [[10, "10%"], [50, "50%"], [90, "90%"], [99, "99%"]] : PARTS;
      for (const [at, name] of marks) {
        const x = Math.round(scale.x(at)) + 0.5;
        if (x < LEFT || x > width - RIGHT) continue;
        pen.beginPath(); pen.moveTo(x, TOP); pen.lineTo(x, height - BOTTOM + 4); pen.stroke();
        pen.fillText(name, x + 3, height - 5);
      }
      const paint = colours(this.lines.length);
      this.lines.forEach((line, index) => {
        pen.strokeStyle = paint[index];
        pen.lineWidth = 1.5;
        pen.beginPath();
        line.data.forEach(([x, y], at) => (at ? pen.lineTo(scale.x(x), scale.y(y)) : pen.moveTo(scale.x(x), scale.y(y))));
        pen.stroke();
        if (this.lines.length === 1 && line.data.length > 1) {
          pen.lineTo(scale.x(scale.lastX), scale.y(Math.max(0, scale.low)));
          pen.lineTo(scale.x(scale.firstX), scale.y(Math.max(0, scale.low)));
          pen.globalAlpha = 0.1; pen.fillStyle = paint[index]; pen.fill(); pen.globalAlpha = 1;
        }
      });
      if (this.at !== undefined) {
        pen.strokeStyle = page.colour("dim");
        pen.lineWidth = 1;
        const x = Math.round(scale.x(this.at)) + 0.5;
        pen.beginPath(); pen.moveTo(x, TOP); pen.lineTo(x, height - BOTTOM); pen.stroke();
      }
    }

    point(event) {
      const first = this.lines[0];
      if (!first || !first.data.length) return;
      const box = this.canvas.getBoundingClientRect();
      const scale = this.scale(box.width, box.height);
      const far = (point) => Math.abs(scale.x(point[0]) - (event.clientX - box.left));
      const near = first.data.reduce((best, point) => (far(point) < far(best) ? point : best));
      this.at = near[0];
      const values = this.lines.map((line) => {
        const point = line.data.find((point) => point[0] === this.at);
        const label = this.lines.length > 1 ? line.label + ": " : "";
        return label + (point ? point[1] : "-");
      });
      page.showTip(event, this.when(this.at) + "\n" + values.join("\n"));
      this.draw();
    }

    when(at) {
      if (this.isCdf) return (at === 100 ? "99.9" : at === 101 ? "99.99" : at) + "% of calls";
      const [start, unit] = PARTS.filter((part) => part[0] <= at).pop();
      const end = { days: 30, hours: 54, minutes: 114, seconds: 174 }[unit];
      const ago = end - 1 - at;
      const name = ago === 1 ? unit.slice(0, -1) : unit;
      return ago === 0 && start === 114 ? "now" : ago + " " + name + " ago";
    }
  }

  function follow(details) {
    if (details.open && !details.chart) {
      details.chart = new Chart(details);
      charts.add(details.chart);
      details.chart.ask();
    } else if (!details.open && details.chart) {
      charts.delete(details.chart);
      details.chart = undefined;
    }
  }

  // Looks after the variables below an element.
  page.watch = function (root) {
    for (const details of root.querySelectorAll("details[data-series]")) {
      details.addEventListener("toggle", () => follow(details));
      follow(details);
    }
  };

  setInterval(() => {
    if (document.hidden) return;
    for (const chart of charts) {
      if (!chart.details.isConnected) { charts.delete(chart); continue; }
      const box = chart.place.getBoundingClientRect();
      if (box.bottom > 0 && box.top < window.innerHeight) chart.ask();
    }
  }, PERIOD);
  const redraw = () => charts.forEach((chart) => chart.draw());
  window.addEventListener("resize", redraw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
})();
