// The cells of the board: converts a standing to elements.
window.Cells = (function () {
  "use strict";
  var make = Dom.make, svg = Dom.svg;

  function badge(text, kind) { return make("span", { class: "badge " + kind }, [text]); }

  function bar(s) {
    var wide = 120, x = function (share) { return (wide * share).toFixed(1); };
    return svg("svg", { class: "minibar", viewBox: "0 0 120 10", preserveAspectRatio: "none", "aria-hidden": "true", focusable: "false" }, [
      svg("rect", { class: "track", x: 0, y: 0, width: wide, height: 10 }),
      svg("rect", { class: "fill", x: 0, y: 0, width: x(s.robust), height: 10 }),
      svg("path", { class: "whisker", d: "M" + x(s.low) + " 5H" + x(s.high) + "M" + x(s.low) + " 1v8M" + x(s.high) + " 1v8" })
    ]);
  }
  function rank(s) {
    if (s.rank === null) return make("span", {}, ["–", make("span", { class: "sr" }, ["no rank"])]);
    var open = s.rank_low === s.rank_high ? "" : " " + s.rank_low + "–" + s.rank_high;
    return make("span", {}, [String(s.rank), open ? make("small", {}, [make("span", { class: "sr" }, [", between"]), open]) : null]);
  }
  function link(text, id) {
    return make("li", {}, [text, make("a", { href: "runs/" + id + ".html" }, [make("code", {}, [id])])]);
  }
  // Long lists are built when they are opened, to keep the table's page small.
  function more(s) {
    var title = s.runs.length ? s.runs.length + (s.runs.length === 1 ? " run" : " runs") : "source";
    if (s.against.length || s.missing.length) title += ", and why it has no rank";
    var details = make("details", {}, [make("summary", {}, [title])]);
    details.addEventListener("toggle", function () {
      if (!details.open || details.children.length > 1) return;
      var items = s.missing.map(function (what) { return make("li", {}, [word(s) + ": " + what]); });
      s.against.forEach(function (why) { items.push(make("li", {}, ["not eligible: " + why])); });
      if (s.keys > 1) items.push(make("li", {}, ["the worst key: ≤ " + Dom.percent(s.worst_key)]));
      if (s.source) items.push(make("li", {}, [s.source]));
      s.adversaries.forEach(function (name) { items.push(make("li", {}, [name])); });
      s.runs.filter(Dom.isRun).forEach(function (id) {
        items.push(link("run ", id));
      });
      s.aside.filter(Dom.isRun).forEach(function (id) { items.push(link("not in the figure: run ", id)); });
      details.append(make("ul", {}, items));
    });
    return details;
  }
  function defense(s) {
    var title = Dom.isRun(s.weakest_run) ? make("a", { href: "runs/" + s.weakest_run + ".html" }, [s.title]) : make("span", {}, [s.title]);
    return make("div", {}, [title, lacks(s), more(s)]);
  }
  function word(s) { return s.kind === "stated" ? "stated" : "incomplete"; }
  function lacks(s) {
    if (!s.missing.length) return null;
    var more = s.missing.length > 1 ? ", and " + (s.missing.length - 1) + " more" : "";
    return make("p", { class: "lacks" }, [word(s) + ": " + s.missing[0] + more]);
  }
  function robust(s) {
    var tries = s.tries === 1 ? "one attack" : "worst case of " + s.tries + " tries; best single attack ≤ " + Dom.percent(s.best_single);
    return make("div", {}, [make("strong", {}, ["≤ " + Dom.percent(s.robust)]), " ",
      make("small", { class: "n" }, [make("span", { class: "sr" }, ["95% interval "]), Dom.limits(s.low, s.high)]), bar(s),
      make("small", { class: "tries" }, [tries])]);
  }
  function source(s) {
    if (s.source_low === null) return "not known";
    if (s.source_low === s.source_high) return Dom.percent(s.source_low);
    return Dom.limits(s.source_low, s.source_high);
  }
  function against(s) {
    return make("div", {}, [s.scope, make("br"), make("small", {}, [s.tiers.join(", ")])]);
  }
  function images(s) {
    var keys = s.keys > 1 ? " × " + s.keys + " keys" : "";
    return make("span", { class: "n" }, [Dom.whole(s.n) + keys, make("br"), make("small", {}, [s.images])]);
  }
  function badges(s) {
    var audit = { pass: "good", warn: "warn", fail: "bad" }, list = [];
    if (s.verification === "reported") list.push(badge("reported", "plain"));
    else {
      list.push(badge((audit[s.audit] ? "quick audit: " : "audit: ") + s.audit, audit[s.audit] || "plain"));
      list.push(badge(s.verification, { confirmed: "good", stated: "warn" }[s.verification] || "plain"));
    }
    if (s.weak_source) list.push(badge("weak source", "warn"));
    if (s.missing.length && s.kind !== "stated") list.push(badge("incomplete", "warn"));
    if (!s.eligible) list.push(badge("not eligible", "bad"));
    return make("div", {}, list);
  }
  return { rank: rank, defense: defense, robust: robust, source: source, against: against, images: images, badges: badges };
})();
