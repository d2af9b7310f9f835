// The board: DataTables with the standings, one ranking per group.
(function () {
  "use strict";
  var standings = window.BENCH_BOARD.standings, list = View.groups(standings), place = new Map();
  list.forEach(function (group) { place.set(group.name, group); });
  var el = function (id) { return document.getElementById(id); };
  var choice = View.read(location.hash, list), chosen = [], table;
  var LAST = 1e9; // sort position of a missing figure

  // The library receives numbers for sorting and elements for display, never text from a record: it parses some text as markup.
  function column(title, cell, key, more) {
    return Object.assign({
      title: title, data: null, type: "num", searchable: false,
      render: function (s, kind) { return kind === "display" ? cell(s) : kind === "sort" && key ? key(s) : 0; },
      orderable: Boolean(key),
      createdCell: function (td) { td.setAttribute("role", "cell"); if (title) td.dataset.label = title; }
    }, more);
  }
  var titles = new Map(Array.from(new Set(standings.map(function (s) { return s.title; }))).sort(function (x, y) {
    return x.localeCompare(y);
  }).map(function (title, at) { return [title, at]; }));
  function has(x) { return x === null ? LAST : x; }
  var TIERS = ["T0", "T1", "T1+", "T1s", "T2", "T3", "T4", "T5"];
  var columns = [
    { data: null, visible: false, searchable: false, render: function (s) { return place.get(s.group).at; }, type: "num" },
    column("Rank", Cells.rank, function (s) { return has(s.rank); }, { className: "rank", name: "rank" }),
    column("Defense", Cells.defense, function (s) { return titles.get(s.title); }, { className: "defense", name: "defense" }),
    column("Robust accuracy", Cells.robust, function (s) { return s.robust; }, { className: "robust", name: "robust" }),
    column("Clean", function (s) { return Dom.percent(s.clean); }, function (s) { return s.clean === null ? -1 : s.clean; }, { className: "n", name: "clean" }),
    column("Source clean", Cells.source, function (s) { return s.source_low === null ? -1 : s.source_low; }, { className: "n", name: "source" }),
    column("Adversaries", Cells.against, null, { className: "unsortable" }),
    column("Broken first by", function (s) { return s.first_break || "none"; }, function (s) { return s.first_break ? TIERS.indexOf(s.first_break) : LAST; }, { name: "break" }),
    column("Images", Cells.images, function (s) { return s.n * s.keys; }, { name: "images" }),
    column("Badges", Cells.badges, null, { className: "badged unsortable" }),
    column("Compare", pick, null, { className: "compare unsortable" })
  ];

  function pick(s) {
    if (!Dom.isRun(s.weakest_run)) return "no run";
    var box = Dom.make("input", { type: "checkbox", "aria-label": "Compare " + s.title + ", " + s.group, "data-run": s.weakest_run });
    box.checked = chosen.includes(s.weakest_run);
    return box;
  }
  function showChosen() {
    el("chosen").hidden = !chosen.length;
    el("chosen-text").textContent = chosen.length === 1 ? "1 run chosen; choose another to compare." : chosen.length + " runs chosen.";
    el("chosen-link").hidden = chosen.length !== 2;
    if (chosen.length === 2) el("chosen-link").href = "compare.html#a=" + chosen[0] + "&b=" + chosen[1];
    document.querySelectorAll("#board input[data-run]").forEach(function (box) {
      box.checked = chosen.includes(box.dataset.run);
    });
  }
  function headings() { // a heading before the first row of each group, where there are several
    var api = this.api(), last = null;
    if (one()) return;
    api.rows({ page: "current" }).every(function () {
      var name = this.data().group, row = this.node();
      if (name === last) return;
      last = name;
      row.before(Dom.make("tr", { class: "group", role: "row" }, [Dom.make("th", { colspan: 10, scope: "colgroup", role: "columnheader" }, [name])]));
    });
  }
  function one() { return new Set(shown().map(function (s) { return s.group; })).size < 2; }
  function shown() {
    var part = choice.q.trim().toLowerCase();
    return standings.filter(function (s) {
      return View.fits(s, choice) && (!part || (s.title + " " + s.defense).toLowerCase().includes(part));
    });
  }
  function order() {
    var parts = (choice.sort || "").split("-"), at = columns.findIndex(function (c) { return c.name && c.name === parts[0]; });
    return at < 0 ? [[1, "asc"]] : [[at, parts[1] === "desc" ? "desc" : "asc"]];
  }

  function fill() { // options with the number of lines that each would show
    View.NAMES.forEach(function (name) {
      var select = el("f-" + name), count = new Map(), all = 0;
      standings.forEach(function (s) {
        if (!View.fits(s, choice, name)) return;
        count.set(View.of(s, name), (count.get(View.of(s, name)) || 0) + 1);
        all += 1;
      });
      var options = View.values(standings, name).map(function (value) { return option(value, View.label(name, value), count.get(value) || 0); });
      select.replaceChildren(option(View.ALL, "all", all));
      select.append.apply(select, options);
      if (!options.some(function (o) { return o.value === choice[name]; })) choice[name] = View.ALL;
      select.value = choice[name];
    });
    el("f-q").value = choice.q;
  }
  function option(value, text, count) { return Dom.make("option", { value: value }, [text + " (" + count + ")"]); }

  function say(rows, moved) {
    var names = new Set(rows.map(function (s) { return s.group; })), text;
    if (!rows.length) text = "";
    else if (names.size === 1) text = (rows.length === 1 ? "1 line" : rows.length + " lines") + ", one ranking: " + rows[0].group + ".";
    else text = rows.length + " lines in " + names.size + " groups. Ranks are valid only within a group.";
    if (moved.length) text += " Also changed, because no line matched: " + moved.map(function (n) { return el("f-" + n).labels[0].firstChild.textContent.toLowerCase() + ", " + View.label(n, choice[n]); }).join("; ") + ".";
    el("summary").textContent = text;
    el("nothing").hidden = rows.length > 0;
    el("nothing").textContent = standings.length
      ? "No line matches these filters. Choose “all” in one of them, clear the search, or return to the first view."
      : "This board has no lines yet: there are no valid records and no published figures.";
    document.querySelector(".scroller").hidden = !rows.length;
  }
  function update(moved) {
    fill();
    var rows = shown();
    table.clear().rows.add(rows).order(order()).draw();
    say(rows, moved || []);
    remember();
  }
  function remember() { history.replaceState(null, "", View.write(choice)); }
  function start() {
    table = new DataTable("#board", {
      data: [], columns: columns, autoWidth: false, searching: false, pageLength: 50, orderFixed: { pre: [[0, "asc"]] }, order: order(),
      layout: { topStart: null, topEnd: null, bottomStart: "info", bottomEnd: "paging" }, orderMulti: false,
      language: { info: "Lines _START_ to _END_ of _TOTAL_", infoEmpty: "", emptyTable: " ", infoFiltered: "" },
      createdRow: function (row) { row.setAttribute("role", "row"); }, drawCallback: headings
    });
    el("board").setAttribute("role", "table");
    el("board").querySelectorAll("thead, tbody").forEach(function (part) { part.setAttribute("role", "rowgroup"); });
    el("board").querySelectorAll("thead tr").forEach(function (row) { row.setAttribute("role", "row"); });
    el("board").querySelectorAll("thead th").forEach(function (head) { head.setAttribute("role", "columnheader"); });
    el("filters").hidden = el("board").hidden = false;
    update();
    table.on("order", function () {
      var now = table.order()[0] || [1, "asc"], name = columns[now[0]].name;
      choice.sort = name && !(name === "rank" && now[1] === "asc") ? name + "-" + now[1] : null;
      remember();
    });
  }

  View.NAMES.forEach(function (name) {
    el("f-" + name).addEventListener("change", function (event) {
      choice[name] = event.target.value;
      update(View.settle(choice, name, list));
    });
  });
  el("f-q").addEventListener("input", function (event) { choice.q = event.target.value; update(); });
  el("filters").addEventListener("submit", function (event) { event.preventDefault(); });
  el("everything").addEventListener("click", function () {
    View.NAMES.forEach(function (name) { choice[name] = View.ALL; });
    choice.q = "";
    update();
  });
  el("reset").addEventListener("click", function () { choice = View.read("", list); update(); });
  el("chosen-clear").addEventListener("click", function () { chosen = []; showChosen(); el("board").querySelector("input")?.focus(); });
  el("board").addEventListener("change", function (event) {
    var run = event.target.dataset.run;
    if (!run) return;
    chosen = event.target.checked ? chosen.filter(function (r) { return r !== run; }).concat(run).slice(-2) : chosen.filter(function (r) { return r !== run; });
    showChosen();
  });
  window.addEventListener("hashchange", function () {
    if (location.hash === "#main") return;
    choice = View.read(location.hash, list);
    update();
  });
  start();
})();
