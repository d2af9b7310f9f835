// A run's page: copy the command.
(function () {
  "use strict";
  var button = document.getElementById("copy"), said = document.getElementById("copied"), text = document.getElementById("command");

  function select() {
    var range = document.createRange();
    range.selectNodeContents(text);
    getSelection().removeAllRanges();
    getSelection().addRange(range);
  }
  function byHand() { // where there is no clipboard, such as in a page from a file in some browsers
    select();
    try { return document.execCommand("copy"); } catch (error) { return false; }
  }
  function tell(done) { said.textContent = done ? "Copied." : "Selected; copy it with your keyboard."; }

  button.hidden = false;
  button.addEventListener("click", function () {
    var clipboard = navigator.clipboard;
    if (!clipboard || !window.isSecureContext) return tell(byHand());
    clipboard.writeText(text.textContent).then(function () { tell(true); }, function () { tell(byHand()); });
  });
})();
