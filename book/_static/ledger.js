// The form above the table of claims: each choice hides the rows that do not fit.
function filterLedger(root) {
  const form = root.querySelector(".ledger-filter");
  const count = form.querySelector(".ledger-count");
  const rows = [...root.querySelectorAll("tbody tr")];
  const words = rows.map((row) => row.textContent.toLowerCase());
  const fits = (row, name, value) => !value || row.dataset[name].split("|").includes(value);

  function show() {
    const { text, ...chosen } = Object.fromEntries(new FormData(form));
    const wanted = text.toLowerCase().split(/\s+/);
    rows.forEach((row, i) => {
      row.hidden = !(Object.entries(chosen).every(([name, value]) => fits(row, name, value)) &&
        wanted.every((word) => words[i].includes(word)));
    });
    const shown = rows.filter((row) => !row.hidden).length;
    count.textContent = shown ? `${shown} of ${rows.length} claims` : "No claim fits.";
  }

  form.addEventListener("input", show);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(show)); // after the fields are empty
  form.hidden = false;
  show(); // a browser may have kept the choices of an earlier visit
}
// Chapters show such tables without a form.
addEventListener("DOMContentLoaded", () => document.querySelectorAll(".ledger-filter")
  .forEach((form) => filterLedger(form.closest(".ledger"))));
