// Two runs on the same images; agrees with bench/checks/statistics/paired.py.
window.Paired = (function () {
  "use strict";
  var Z = 1.959963984540054; // the normal quantile of 0.975

  // Bits of a string of base64: image i is bit 7 - i % 8 of byte floor(i / 8).
  function bits(text, n) {
    var bytes = atob(text), out = new Uint8Array(n);
    for (var i = 0; i < n; i++) out[i] = (bytes.charCodeAt(i >> 3) >> (7 - (i & 7))) & 1;
    return out;
  }
  function table(a, b) {
    var t = { both: 0, onlyA: 0, onlyB: 0, neither: 0, n: a.length };
    for (var i = 0; i < a.length; i++) t[a[i] ? (b[i] ? "both" : "onlyA") : (b[i] ? "onlyB" : "neither")] += 1;
    return t;
  }
  // Wilson, Journal of the American Statistical Association 22, 1927.
  function wilson(k, n) {
    var p = k / n, z2 = Z * Z, middle = (p + z2 / (2 * n)) / (1 + z2 / n);
    var half = Z / (1 + z2 / n) * Math.sqrt(p * (1 - p) / n + z2 / (4 * n * n));
    return [k === 0 ? 0 : middle - half, k === n ? 1 : middle + half];
  }
  // McNemar, Psychometrika 12, 1947: exact, two-sided; discordant pairs follow a fair binomial distribution.
  function mcnemar(t) {
    var n = t.onlyA + t.onlyB, k = Math.min(t.onlyA, t.onlyB), log = -n * Math.LN2, sum = 1, term = 1, i;
    if (t.onlyA === t.onlyB) return 1;
    for (i = 1; i <= k; i++) log += Math.log((n - k + i) / i);
    for (i = k; i > 0 && term > 1e-18; i--) { term *= i / (n - i + 1); sum += term; }
    return Math.min(1, 2 * sum * Math.exp(log));
  }
  function correlation(t) {
    var a = t.both + t.onlyA, b = t.both + t.onlyB, margins = a * (t.n - a) * b * (t.n - b);
    if (!margins) return 0;
    var excess = t.both * t.neither - t.onlyA * t.onlyB;
    if (excess > 0) excess = Math.max(excess - t.n / 2, 0);
    return excess / Math.sqrt(margins);
  }
  // Newcombe, Statistics in Medicine 17:2635, 1998, method 10.
  function newcombe(t) {
    var pa = (t.both + t.onlyA) / t.n, pb = (t.both + t.onlyB) / t.n, d = (t.onlyA - t.onlyB) / t.n;
    var a = wilson(t.both + t.onlyA, t.n), b = wilson(t.both + t.onlyB, t.n), phi = correlation(t);
    function leg(x, y) { return Math.sqrt(Math.max(x * x - 2 * phi * x * y + y * y, 0)); }
    return [Math.max(d - leg(pa - a[0], b[1] - pb), -1), Math.min(d + leg(a[1] - pa, pb - b[0]), 1)];
  }
  return { bits: bits, table: table, wilson: wilson, mcnemar: mcnemar, newcombe: newcombe };
})();
