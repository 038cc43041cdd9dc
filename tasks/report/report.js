"use strict";
// What a pointer reads off the pictures, and the buttons that copy. The page is whole without it.
(() => {
  const all = (selector, from = document) => [...from.querySelectorAll(selector)];
  const tip = document.getElementById("tip");
  const pieces = document.getElementById("permutation")?.textContent.split(",");

  function show(event, text) {
    tip.hidden = false;
    tip.textContent = text;
    const right = document.documentElement.clientWidth - tip.offsetWidth - 8;
    tip.style.left = `${Math.max(8, Math.min(event.clientX + 14, right))}px`;
    tip.style.top = `${event.clientY > 80 ? event.clientY - tip.offsetHeight - 12 : event.clientY + 20}px`;
  }

  function heatMap(svg) {
    const scores = new Uint16Array(Uint8Array.from(atob(svg.dataset.scores), c => c.charCodeAt(0)).buffer);
    const blocks = Math.sqrt(scores.length), least = Number(svg.dataset.least), greatest = Number(svg.dataset.greatest);
    return event => {
      const box = svg.getBoundingClientRect();
      const cell = part => Math.max(0, Math.min(blocks - 1, Math.floor(part * blocks)));
      const row = cell((event.clientY - box.top) / box.height), column = cell((event.clientX - box.left) / box.width);
      const score = least + scores[row * blocks + column] / 65535 * (greatest - least);
      const pair = pieces ? `inp piece ${pieces[2 * row]}, out piece ${pieces[2 * column + 1]}` : `inp ${row}, out ${column}`;
      return `${pair}: score ${score.toPrecision(3)}${pieces && row === column ? `, block ${row + 1} of the solution` : ""}`;
    };
  }

  function curves(svg) {
    const marks = all("[data-points]", svg).flatMap(curve => {
      const points = curve.dataset.points.split("\n");
      return all("use", curve).map((mark, k) => ({mark, text: `${curve.dataset.tip}: ${points[k]}`}));
    });
    return event => {
      const distance = ({mark}) => {
        const box = mark.getBoundingClientRect();
        return Math.hypot(box.x + box.width / 2 - event.clientX, box.y + box.height / 2 - event.clientY);
      };
      const nearest = marks.map(mark => [distance(mark), mark.text]).reduce((a, b) => b[0] < a[0] ? b : a);
      return nearest[0] < 40 ? nearest[1] : "";
    };
  }

  for (const title of all(".tip > title")) {  // a browser's own tip would cover this one
    title.parentNode.dataset.tip = title.textContent;
    title.remove();
  }
  for (const element of all("[title]")) {
    element.dataset.tip = element.title;
    element.removeAttribute("title");
  }
  const readers = new Map([
    ...all("svg[data-scores]").map(svg => [svg, heatMap(svg)]),
    ...all("svg:has([data-points])").map(svg => [svg, curves(svg)]),
  ]);
  for (const kind of ["pointermove", "pointerdown"]) {
    document.addEventListener(kind, event => {
      const reader = readers.get(event.target.closest("svg"));
      const text = reader ? reader(event) : event.target.closest("[data-tip]")?.dataset.tip;
      if (text) show(event, text);
      else tip.hidden = true;
    });
  }
  document.addEventListener("scroll", () => { tip.hidden = true; }, {passive: true});
  for (const button of all("button[data-copy]")) {
    button.hidden = false;
    button.addEventListener("click", async () => {
      const element = document.getElementById(button.dataset.copy);
      getSelection().selectAllChildren(element);
      try {
        await navigator.clipboard.writeText(element.textContent);
        button.textContent = "Copied";
      } catch {
        button.textContent = "Press Ctrl+C";  // it is selected
      }
    });
  }
})();
