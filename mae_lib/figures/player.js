(async () => {
  "use strict";
  const root = document.currentScript.closest(".mae-player");
  const bar = root.querySelector(".mae-player-bar");
  const [button, input, output] = bar.querySelectorAll("button, input, output");
  const sheets = [...root.querySelectorAll("img")];
  const columns = Number(root.dataset.columns);
  const count = Number(input.max);
  const calm = matchMedia("(prefers-reduced-motion: reduce)");
  let wanted = !calm.matches; // what the button says; it runs only where it can be seen
  let seen = false;
  let timer;

  // A canvas of the size of a frame in place of the sheet of all frames.
  function screen(sheet) {
    const canvas = document.createElement("canvas");
    canvas.width = sheet.naturalWidth / columns;
    canvas.height = sheet.naturalHeight / Math.ceil(count / columns);
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", sheet.alt);
    sheet.after(canvas);
    return canvas;
  }

  function show() {
    const i = Number(input.value) - 1;
    screens.forEach(({ width, height }, k) => screens[k].getContext("2d").drawImage(sheets[k],
      (i % columns) * width, Math.floor(i / columns) * height, width, height,
      0, 0, width, height));
    output.textContent = `${input.value} of ${count}`;
    input.setAttribute("aria-valuetext", output.textContent);
  }

  function next() {
    input.value = (Number(input.value) % count) + 1;
    show();
  }

  function play(on) {
    wanted = on;
    button.textContent = on ? "Pause" : "Play";
    clearInterval(timer);
    if (wanted && seen) timer = setInterval(next, 1000 / root.dataset.rate);
  }

  await Promise.all(sheets.map((sheet) => sheet.decode()));
  const screens = sheets.map(screen);
  button.addEventListener("click", () => play(!wanted));
  input.addEventListener("input", () => { play(false); show(); });
  calm.addEventListener("change", () => play(wanted && !calm.matches));
  new IntersectionObserver((entries) => {
    seen = entries.at(-1).isIntersecting;
    play(wanted && (seen || !calm.matches)); // with less motion, nothing moves again unasked
  }).observe(root.querySelector(".mae-player-clips"));
  bar.hidden = false;
  root.classList.add("live");
  show();
})();
