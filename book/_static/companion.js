// What scrolls sideways must be reachable by keyboard. The theme does this for code and tables;
// formulas get their width later, from MathJax.
const SCROLLING = "div.math > mjx-container, .cell_output .text_html, .cell_output figure";
function reachBoxes() {
  for (const box of document.querySelectorAll(SCROLLING)) {
    if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
    else box.removeAttribute("tabindex");
  }
}
addEventListener("load", async () => {
  await window.MathJax?.startup?.promise;
  reachBoxes();
  addEventListener("resize", reachBoxes);
});
