"use strict";

// The control of the threshold: counts are looked up, nothing is estimated.
(() => {
  const data = document.getElementById("data");
  if (!data) return;
  const { thresholds, above, reference, sizes, references, start } = JSON.parse(data.textContent);
  const element = (id) => document.getElementById(id);
  const slider = element("slider");
  const anomalies = sizes.seen + sizes.unseen;
  const share = (part, whole) => (whole ? (part / whole).toFixed(4) : "–");
  const digits = (value) => String(Number(value.toPrecision(6)));

  function count(at) {
    const tp = above.seen[at] + above.unseen[at];
    const fp = above.normal[at];
    return { tp, fp, fn: anomalies - tp, tn: sizes.normal - fp };
  }

  function show() {
    const at = Number(slider.value);
    const { tp, fp, fn, tn } = count(at);
    const texts = {
      tp, fp, fn, tn,
      shown: digits(thresholds[at]) + (at === start ? " (the model’s)" : ""),
      precision: tp + fp ? share(tp, tp + fp) : "0.0000",
      recall: share(tp, anomalies),
      "recall-seen": share(above.seen[at], sizes.seen),
      "recall-unseen": share(above.unseen[at], sizes.unseen),
      f1: share(2 * tp, 2 * tp + fp + fn),
      accuracy: share(tp + tn, tp + fp + fn + tn),
      fpr: share(fp, sizes.normal),
      reference: `${reference[at]} of ${references}`,
    };
    for (const [id, text] of Object.entries(texts)) element(id).textContent = text;
    slider.setAttribute(
      "aria-valuetext",
      `threshold ${texts.shown}: ${tp} of ${anomalies} anomalies found, ${fp} false alarms`,
    );
    move(thresholds[at], tp / anomalies, fp / sizes.normal, tp + fp ? tp / (tp + fp) : null);
  }

  function move(threshold, recall, fpr, precision) {
    for (const svg of document.querySelectorAll("svg[data-role]")) {
      const d = svg.dataset;
      const [from, to, bottom, top] = [d.start, d.end, d.bottom, d.top].map(Number);
      if (d.role === "histogram") {
        const [low, high] = [Number(d.low), Number(d.high)];
        const inside = Math.min(Math.max(threshold, low), high);
        const scale = d.log === "1" ? Math.log : (value) => value;
        const x = from + ((scale(inside) - scale(low)) / (scale(high) - scale(low))) * (to - from);
        const line = svg.querySelector(".rule.threshold");
        line.setAttribute("x1", x);
        line.setAttribute("x2", x);
      }
      const place = { roc: [fpr, recall], "precision-recall": [recall, precision] }[d.role];
      if (!place) continue;
      const ring = svg.querySelector(".ring");
      ring.toggleAttribute("hidden", place[1] === null);
      ring.setAttribute("cx", from + place[0] * (to - from));
      ring.setAttribute("cy", bottom + (place[1] ?? 0) * (top - bottom));
    }
  }

  slider.addEventListener("input", show);
  element("reset").addEventListener("click", () => {
    slider.value = start;
    show();
    element("live").textContent = slider.getAttribute("aria-valuetext");
  });
  slider.value = start; // a browser that reloads keeps where it was
  element("control").hidden = element("rates").hidden = false;
  show();
})();

// The decision space: what is pointed to, or reached by arrow keys, is told below the picture.
(() => {
  const svg = document.querySelector('svg[data-role="space"]');
  if (!svg) return;
  const dots = [...svg.querySelectorAll(".dot")];
  const told = document.getElementById("point");
  let at = -1;

  function show(next) {
    if (at >= 0) dots[at].classList.remove("on");
    at = next;
    dots[at].classList.add("on");
    told.textContent = dots[at].querySelector("title").textContent;
    if (thumb) draw();
  }

  // Images of rows: the tiles of the sheet are in the order of the points.
  const thumb = document.getElementById("thumb");
  const sheet = document.getElementById("sheet");
  function draw() {
    const [width, height, across] = ["width", "height", "across"].map((it) => Number(sheet.dataset[it]));
    const context = thumb.getContext("2d");
    context.imageSmoothingEnabled = false;
    const [left, top] = [(at % across) * width, Math.floor(at / across) * height];
    context.drawImage(sheet, left, top, width, height, 0, 0, thumb.width, thumb.height);
    thumb.setAttribute("aria-label", `the image of ${told.textContent}`);
  }

  // The nearest point within a finger's reach: a point alone is too small to be hit.
  function nearest(event) {
    const box = svg.getBoundingClientRect();
    const scale = svg.viewBox.baseVal.width / box.width;
    const x = (event.clientX - box.left) * scale;
    const y = (event.clientY - box.top) * scale;
    let best = -1;
    let least = 15 * 15;
    centres.forEach(([px, py], index) => {
      const distance = (px - x) ** 2 + (py - y) ** 2;
      if (distance < least) [best, least] = [index, distance];
    });
    if (best >= 0 && best !== at) show(best);
  }

  const centres = dots.map((dot) => {
    const box = dot.getBBox();
    return [box.x + box.width / 2, box.y + box.height / 2];
  });
  svg.tabIndex = 0;
  svg.addEventListener("pointermove", nearest);
  svg.addEventListener("pointerdown", nearest);
  svg.addEventListener("keydown", (event) => {
    const steps = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, PageUp: 50, PageDown: -50 };
    const ends = { Home: 0, End: dots.length - 1 };
    if (event.key in steps) show(Math.min(Math.max(at + steps[event.key], 0), dots.length - 1));
    else if (event.key in ends) show(ends[event.key]);
    else return;
    event.preventDefault();
  });
})();
