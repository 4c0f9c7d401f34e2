// What scrolls sideways must be reachable by keyboard. The theme does this for code and tables;
// formulas get their width later, from MathJax.
function reachFormulas() {
  for (const box of document.querySelectorAll("div.math > mjx-container, .cell_output .text_html")) {
    if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
    else box.removeAttribute("tabindex");
  }
}
addEventListener("load", async () => {
  await window.MathJax?.startup?.promise;
  reachFormulas();
  addEventListener("resize", reachFormulas);
});
