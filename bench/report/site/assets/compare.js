// Two runs side by side; paired figures only where both judged the same images.
(function () {
  "use strict";
  var runs = window.BENCH_RUNS, make = Dom.make, el = function (id) { return document.getElementById(id); };
  var pick = { a: el("run-a"), b: el("run-b") }, ids = Object.keys(runs).filter(Dom.isRun), turn = 0;
  ids.sort(function (x, y) { return runs[x].title.localeCompare(runs[y].title) || x.localeCompare(y); });

  function load(id) { // a classic script: a page from a file may not fetch
    return new Promise(function (done, failed) {
      if (window.BENCH_RUN && window.BENCH_RUN[id]) return done(window.BENCH_RUN[id]);
      var script = make("script", { src: "runs/" + id + ".js" });
      script.onload = function () { done(window.BENCH_RUN[id]); };
      script.onerror = function () { failed(new Error("The data of run " + id + " is missing next to this page.")); };
      document.head.append(script);
    });
  }
  function fromAddress() {
    var given = new URLSearchParams(location.hash.slice(1)), missing = [];
    ["a", "b"].forEach(function (side) {
      var id = given.get(side);
      if (id && !(Dom.isRun(id) && ids.includes(id))) missing.push("run " + side.toUpperCase());
      pick[side].value = ids.includes(id) ? id : "";
    });
    show(missing);
  }
  function say(text) { el("message").textContent = text; }

  function show(missing) {
    var a = pick.a.value, b = pick.b.value, now = turn += 1;
    el("paired").hidden = el("fields").hidden = true;
    if (missing && missing.length) return say("The URL refers to a run that is not on this board: " + missing.join(" and ") + ".");
    if (!a || !b) return say("Choose two runs.");
    if (a === b) return say("Both are the same run; choose a different one.");
    say("Loading both runs.");
    Promise.all([load(a), load(b)]).then(function (both) {
      if (now !== turn) return;
      say("A: " + both[0].title + ". B: " + both[1].title + ".");
      paired(both[0], both[1]);
      side(both[0], both[1]);
    }, function (error) { say(error.message); });
  }
  function row(head, cells) {
    return make("tr", {}, [make("th", { scope: "row" }, [head])].concat(cells.map(function (c) { return make("td", { class: "n" }, [c]); })));
  }
  function points(x) { return (x > 0 ? "+" : x < 0 ? "−" : "") + Math.abs(100 * x).toFixed(1); }
  function chance(p) { return p < 0.0001 ? "below 0.0001" : p.toFixed(4); }

  function paired(a, b) {
    var body = el("paired-body");
    el("paired").hidden = false;
    if (a.data !== b.data) {
      body.replaceChildren(make("p", { class: "note" }, ["The two runs judged different images (their data digests differ). " +
        "There is no paired comparison, because a difference could be due to the images."]));
      return;
    }
    var t = Paired.table(Paired.bits(a.outcomes, a.n), Paired.bits(b.outcomes, b.n)), ci = Paired.newcombe(t);
    body.replaceChildren(
      make("p", {}, ["A minus B: ", make("strong", {}, [points((t.onlyA - t.onlyB) / t.n) + " points"]), ", 95% interval " +
        points(ci[0]) + " to " + points(ci[1]) + " (Newcombe, paired); exact McNemar p ", make("strong", {}, [chance(Paired.mcnemar(t))]),
        ". Both figures are upper bounds, for the same " + Dom.whole(t.n) + " images under these two attacks."]),
      make("table", { class: "plain counts" }, [make("thead", {}, [make("tr", {}, ["Correct after the attack", "images", "share"].map(function (text) {
        return make("th", { scope: "col" }, [text]); }))]),
      make("tbody", {}, [["in both", t.both], ["only in A", t.onlyA], ["only in B", t.onlyB], ["in neither", t.neither]].map(function (pair) {
        return row(pair[0], [Dom.whole(pair[1]), Dom.percent(pair[1] / t.n)]); }))]));
  }
  function side(a, b) {
    var parts = [];
    a.sections.forEach(function (section) {
      var mine = new Map(section.rows), other = b.sections.find(function (s) { return s.title === section.title; });
      var theirs = new Map(other ? other.rows : []), names = Array.from(new Set(Array.from(mine.keys()).concat(Array.from(theirs.keys()))));
      parts.push(make("tr", { class: "section" }, [make("th", { colspan: 4, scope: "colgroup" }, [section.title])]));
      names.forEach(function (name) {
        var x = mine.has(name) ? mine.get(name) : "–", y = theirs.has(name) ? theirs.get(name) : "–", differs = x !== y;
        parts.push(make("tr", differs ? { class: "differs" } : { class: "same" }, [make("th", { scope: "row" }, [name]),
          make("td", {}, [x]), make("td", {}, [y]), make("td", {}, [differs ? "≠ differs" : ""])]));
      });
    });
    function heading(name, run) { return make("th", { scope: "col" }, [name + ": ", make("a", { href: "runs/" + run.id + ".html" }, [run.title])]); }
    el("side").replaceChildren(
      make("thead", {}, [make("tr", {}, [make("th", { scope: "col" }, ["Field"]), heading("A", a), heading("B", b), make("th", { scope: "col" }, ["Equal?"])])]),
      make("tbody", {}, parts));
    el("fields").hidden = false;
    only();
  }
  function only() {
    el("side").querySelectorAll("tr.same").forEach(function (line) { line.hidden = el("only").checked; });
    var heads = el("side").querySelectorAll("tr.section");
    heads.forEach(function (head) {
      var next = head.nextElementSibling, any = false;
      while (next && !next.classList.contains("section")) { any = any || !next.hidden; next = next.nextElementSibling; }
      head.hidden = !any;
    });
  }
  function remember() {
    history.replaceState(null, "", "#" + new URLSearchParams({ a: pick.a.value, b: pick.b.value }).toString());
    show();
  }

  [pick.a, pick.b].forEach(function (select) {
    select.append(make("option", { value: "" }, ["choose a run"]));
    ids.forEach(function (id) {
      select.append(make("option", { value: id }, [runs[id].title + ", ≤ " + Dom.percent(runs[id].robust) + " of " + Dom.whole(runs[id].n) + " (" + id.slice(0, 6) + ")"]));
    });
    select.addEventListener("change", remember);
  });
  el("swap").addEventListener("click", function () {
    var a = pick.a.value;
    pick.a.value = pick.b.value;
    pick.b.value = a;
    remember();
  });
  el("only").addEventListener("change", only);
  el("pick").addEventListener("submit", function (event) { event.preventDefault(); });
  el("pick").hidden = false;
  window.addEventListener("hashchange", function () { if (location.hash !== "#main") fromAddress(); });
  fromAddress();
})();
