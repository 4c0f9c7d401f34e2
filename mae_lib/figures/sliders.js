(() => {
  "use strict";
  const root = document.currentScript.closest(".mae-slider");
  const bar = root.querySelector(".mae-slider-bar");
  const input = bar.querySelector("input");
  const output = bar.querySelector("output");
  const frames = [...root.querySelectorAll("figure")];

  function show() {
    frames.forEach((frame, i) => frame.classList.toggle("chosen", i === Number(input.value)));
    const name = frames[input.value].dataset.value;
    const value = name.slice(bar.querySelector("span").textContent.length + 1);
    output.textContent = value;
    input.setAttribute("aria-valuetext", value);
  }

  input.addEventListener("input", show);
  bar.hidden = false;
  root.classList.add("live");
  show();
})();
