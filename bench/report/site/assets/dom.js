// Elements from data. Text from a record is always set as text, never parsed as markup.
window.Dom = (function () {
  "use strict";
  var SVG = "http://www.w3.org/2000/svg";

  function add(element, attributes, children) {
    Object.keys(attributes || {}).forEach(function (name) { element.setAttribute(name, attributes[name]); });
    (children || []).forEach(function (child) {
      if (child !== null && child !== undefined) element.append(child); // a string becomes a text node
    });
    return element;
  }
  function make(tag, attributes, children) { return add(document.createElement(tag), attributes, children); }
  function svg(tag, attributes, children) { return add(document.createElementNS(SVG, tag), attributes, children); }
  function percent(share) {
    return share === null || share === undefined ? "not known" : (100 * share).toFixed(1) + "%";
  }
  function limits(low, high) { return (100 * low).toFixed(1) + " to " + (100 * high).toFixed(1) + "%"; }
  function whole(number) { return number.toLocaleString("en-US"); }
  function isRun(text) { return /^[0-9a-f]{16}$/.test(text || ""); }

  return { make: make, svg: svg, percent: percent, limits: limits, whole: whole, isRun: isRun };
})();
