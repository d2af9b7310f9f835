// Sets dark or light before the first paint: the reader's choice, or the system's setting.
(function () {
  "use strict";
  var root = document.documentElement;
  var system = window.matchMedia("(prefers-color-scheme: dark)");

  function kept() {
    try { return window.localStorage.getItem("theme"); } catch (error) { return null; }
  }
  function keep(theme) {
    try { window.localStorage.setItem("theme", theme); } catch (error) { /* for this page alone, then */ }
  }
  function present() {
    return root.getAttribute("data-theme") || (system.matches ? "dark" : "light");
  }

  var chosen = kept();
  if (chosen === "dark" || chosen === "light") root.setAttribute("data-theme", chosen);

  document.addEventListener("DOMContentLoaded", function () {
    var button = document.getElementById("theme");
    function say() {
      var other = present() === "dark" ? "Light" : "Dark";
      button.textContent = other;
      button.setAttribute("aria-label", other + " colours");
      document.dispatchEvent(new CustomEvent("theme"));
    }
    button.hidden = false;
    button.addEventListener("click", function () {
      var theme = present() === "dark" ? "light" : "dark";
      root.setAttribute("data-theme", theme);
      keep(theme);
      say();
    });
    system.addEventListener("change", say);
    var before = null; // paper is light; afterwards the reader's choice is back
    function dress(theme) {
      if (theme) root.setAttribute("data-theme", theme); else root.removeAttribute("data-theme");
      say();
    }
    window.addEventListener("beforeprint", function () { before = root.getAttribute("data-theme"); dress("light"); });
    window.addEventListener("afterprint", function () { dress(before); });
    say();
  });
})();
