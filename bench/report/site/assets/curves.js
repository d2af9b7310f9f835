// Robust accuracy against eps: uPlot, with intervals as bands. The numbers are in a table below.
(function () {
  "use strict";
  var box = document.getElementById("curves"), curves = window.BENCH_RUN[box.dataset.run].curves, make = Dom.make, plot = null;
  var shown = curves.map(function (curve, i) { return i < 5; }), DASHES = [[], [8, 4], [2, 3], [10, 3, 2, 3], [5, 5], [1, 2]];
  var buttons = make("div", { class: "series", role: "group", "aria-label": "Curves shown" });
  var chart = make("div", { class: "chart" });
  var reading = make("p", { class: "reading", role: "status" });
  var start = "Point at the chart, or move along it with the arrow keys, to read values.";
  var frame = make("div", { tabindex: "0", role: "group", "aria-label": "Chart of robust accuracy against eps; arrow keys read values, the numbers are in the table below" }, [chart]);

  var eps = Array.from(new Set(curves.flatMap(function (c) { return c.points.map(function (p) { return p.eps; }); }))).sort(function (x, y) { return x - y; });
  function along(curve, key) {
    var at = new Map(curve.points.map(function (p) { return [p.eps, 100 * p[key]]; }));
    return eps.map(function (x) { return at.has(x) ? at.get(x) : null; });
  }
  function colour(name) { return getComputedStyle(document.documentElement).getPropertyValue(name).trim(); }
  function dash(i) { return DASHES[(i + Math.floor(i / 6)) % 6]; } // no two of 36 curves look the same
  function hue(i) { return colour("--s" + (i % 6)); }

  function options(width) {
    var series = [{}], bands = [];
    curves.forEach(function (curve, i) {
      var clear = { stroke: "transparent", points: { show: false }, spanGaps: true, show: shown[i] };
      series.push({ label: curve.name, stroke: hue(i), width: 2, dash: dash(i), spanGaps: true, show: shown[i], points: { show: true, size: 7, fill: hue(i) } });
      series.push(Object.assign({ label: "high" }, clear), Object.assign({ label: "low" }, clear));
      bands.push({ series: [3 * i + 2, 3 * i + 3], fill: hue(i) + "2e" });
    });
    var axis = { stroke: colour("--ink"), grid: { stroke: colour("--line"), width: 1 }, ticks: { stroke: colour("--line"), width: 1 } };
    return {
      width: width, height: 320, series: series, bands: bands, legend: { show: false },
      scales: { x: { time: false }, y: { range: [0, 100] } }, cursor: { drag: { x: false, y: false } },
      axes: [Object.assign({ label: "eps" }, axis), Object.assign({ label: "robust accuracy, %", size: 56 }, axis)],
      hooks: { setCursor: [function (u) { read(u.cursor.idx); }] }
    };
  }
  function draw() {
    var data = [eps];
    curves.forEach(function (c) { data.push(along(c, "robust"), along(c, "high"), along(c, "low")); });
    if (plot) plot.destroy();
    plot = new uPlot(options(Math.max(280, box.clientWidth)), data, chart);
    chart.querySelectorAll("canvas").forEach(function (c) { c.setAttribute("aria-hidden", "true"); });
    paint();
  }
  function read(at) {
    if (at === null || at === undefined) { reading.textContent = start; return; }
    var parts = [], text = null;
    curves.forEach(function (curve, i) {
      var point = curve.points.find(function (p) { return p.eps === eps[at]; });
      if (!point || !shown[i]) return;
      text = point.eps_text;
      parts.push(curve.name + " ≤ " + Dom.percent(point.robust) + " (" + Dom.limits(point.low, point.high) + ")");
    });
    reading.textContent = text === null ? start : "eps " + text + ": " + parts.join("; ");
  }
  function paint() { // the keys: colour, dashes and state of each curve
    buttons.replaceChildren.apply(buttons, curves.map(function (curve, i) {
      var line = Dom.svg("svg", { viewBox: "0 0 28 10", "aria-hidden": "true" }, [
        Dom.svg("path", { d: "M0 5H28", stroke: hue(i), "stroke-width": 2.5, "stroke-dasharray": dash(i).join(" ") || "none" })]);
      var button = make("button", { type: "button", "aria-pressed": String(shown[i]) }, [line, curve.name]);
      button.addEventListener("click", function () {
        shown[i] = !shown[i];
        plot.batch(function () { [1, 2, 3].forEach(function (k) { plot.setSeries(3 * i + k, { show: shown[i] }); }); });
        button.setAttribute("aria-pressed", String(shown[i]));
      });
      return button;
    }));
  }
  frame.addEventListener("keydown", function (event) {
    var step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    var at = plot.cursor.idx === null || plot.cursor.idx === undefined ? (step > 0 ? -1 : eps.length) : plot.cursor.idx;
    at = Math.min(eps.length - 1, Math.max(0, at + step));
    plot.setCursor({ left: plot.valToPos(eps[at], "x"), top: plot.valToPos(50, "y") });
    read(at);
  });
  reading.textContent = start;
  box.append(buttons, frame, reading);
  draw();
  document.addEventListener("theme", draw);
  var wait = 0;
  window.addEventListener("resize", function () { clearTimeout(wait); wait = setTimeout(draw, 150); });
})();
