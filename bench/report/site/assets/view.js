// The current view: a choice per filter, stored in the URL so that a view can be linked.
window.View = (function () {
  "use strict";
  var SCOPES = ["transfer", "sibling device", "queries", "leaked weights", "white-box"];
  var NAMES = ["kind", "profile", "protocol", "norm", "eps", "scope", "adversary", "n"]; // a change adjusts the others in this order
  var ALL = "all";

  function of(s, name) { return name === "n" ? s.images + (s.keys > 1 ? ", " + s.keys + " keys" : "") : s[name]; }
  function label(name, value) { return name === "adversary" && value === "" ? "worst case" : value; }
  var KINDS = ["measured", "stated", "reported"];

  // Groups in display order, the most informative first.
  function order(a, b) {
    return KINDS.indexOf(a.kind) - KINDS.indexOf(b.kind) || a.profile.localeCompare(b.profile) ||
      a.norm.localeCompare(b.norm) || a.eps_value - b.eps_value || (a.protocol === "strict" ? 0 : 1) - (b.protocol === "strict" ? 0 : 1) ||
      SCOPES.indexOf(a.scope) - SCOPES.indexOf(b.scope) || a.adversary.localeCompare(b.adversary) || a.n - b.n || a.images.localeCompare(b.images) || b.keys - a.keys;
  }
  function groups(standings) {
    var known = new Map();
    standings.forEach(function (s) {
      var group = known.get(s.group);
      if (!group) known.set(s.group, group = { name: s.group, one: s, size: 0, ranked: 0, at: 0 });
      group.size += 1;
      group.ranked += s.rank === null ? 0 : 1;
    });
    var list = Array.from(known.values()).sort(function (a, b) { return order(a.one, b.one); });
    list.forEach(function (group, at) { group.at = at; });
    return list;
  }
  // The group with the most ranks, then lines: measured, strict and non-white-box first.
  function best(list) {
    function merit(g) {
      return (g.one.kind === "measured" ? 4e6 : 0) + (g.one.protocol === "strict" ? 2e6 : 0) + (g.one.scope !== "white-box" ? 1e6 : 0) + 1e3 * g.ranked + g.size;
    }
    return list.reduce(function (top, g) { return !top || merit(g) > merit(top) ? g : top; }, null);
  }
  function first(list) {
    var top = best(list), choice = { q: "" };
    NAMES.forEach(function (name) { choice[name] = top ? of(top.one, name) : ALL; });
    return choice;
  }
  function fits(s, choice, without) {
    return NAMES.every(function (name) { return name === without || choice[name] === ALL || of(s, name) === choice[name]; });
  }
  // After a filter change, filters that now match nothing take the value of the largest remaining group.
  function settle(choice, changed, list) {
    var moved = [], left = list.filter(function (g) { return choice[changed] === ALL || of(g.one, changed) === choice[changed]; });
    NAMES.forEach(function (name) {
      if (name === changed || choice[name] === ALL) return;
      var same = left.filter(function (g) { return of(g.one, name) === choice[name]; });
      if (!same.length && left.length) {
        choice[name] = of(best(left).one, name);
        moved.push(name);
        same = left.filter(function (g) { return of(g.one, name) === choice[name]; });
      }
      left = same;
    });
    return moved;
  }
  function read(hash, list) {
    var choice = first(list), given = new URLSearchParams(hash.replace(/^#/, ""));
    NAMES.concat("q").forEach(function (name) { if (given.has(name)) choice[name] = given.get(name); });
    choice.sort = given.get("sort");
    return choice;
  }
  function write(choice) {
    var out = new URLSearchParams();
    NAMES.forEach(function (name) { out.set(name, choice[name]); });
    if (choice.q) out.set("q", choice.q);
    if (choice.sort) out.set("sort", choice.sort);
    return "#" + out.toString();
  }
  function values(standings, name) {
    var seen = new Map();
    standings.forEach(function (s) { if (!seen.has(of(s, name))) seen.set(of(s, name), s); });
    return Array.from(seen.keys()).sort(function (x, y) {
      var a = seen.get(x), b = seen.get(y);
      if (name === "eps") return a.eps_value - b.eps_value;
      if (name === "scope") return SCOPES.indexOf(x) - SCOPES.indexOf(y);
      if (name === "n") return a.n - b.n || x.localeCompare(y);
      if (name === "kind") return KINDS.indexOf(x) - KINDS.indexOf(y);
      return x.localeCompare(y);
    });
  }
  return { ALL: ALL, NAMES: NAMES, of: of, label: label, groups: groups, first: first, fits: fits, settle: settle, read: read, write: write, values: values };
})();
