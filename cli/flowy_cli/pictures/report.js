"use strict";
// All that comes from the run is in the page as text and attributes already; nothing here makes markup.

// At once: where a script can follow, a large picture begins without what is too small to be read or out of sight.
// Without one, and on paper, all of it is there.
document.documentElement.classList.add("scripted");

document.addEventListener("DOMContentLoaded", () => {
  const byId = (id) => document.getElementById(id);
  const search = byId("search"), filter = byId("filter"), count = byId("count"), keys = byId("keys");
  const tasks = [...document.querySelectorAll(".task")];
  const texts = new Map(tasks.map((task) => [task, task.firstElementChild.textContent.toLowerCase()]));
  const byCall = new Map(tasks.map((task) => [task.dataset.calls, task]));
  const marks = [...document.querySelectorAll("svg [data-calls]")].map((mark) => [mark, mark.dataset.calls.split(" ")]);
  const arrows = [...document.querySelectorAll("svg [data-from]")];
  let only = null; // the calls of a stack that was clicked

  // -- searching ----------------------------------------------------------------------------------------------------

  function apply() {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean), wanted = filter.value;
    const shown = new Set();
    for (const task of tasks) {
      const fits = words.every((word) => texts.get(task).includes(word))
        && (!wanted || task.dataset.standing === wanted) && (!only || only.has(task.dataset.calls));
      task.hidden = !fits;
      if (fits) shown.add(task.dataset.calls);
    }
    const all = shown.size === tasks.length;
    for (const [mark, calls] of marks) mark.classList.toggle("faded", !all && !calls.some((call) => shown.has(call)));
    count.textContent = all ? `${tasks.length} tasks` : `${shown.size} of ${tasks.length} tasks`;
  }

  function clear() {
    search.value = filter.value = "";
    only = null;
    apply();
  }

  // Once a frame, however fast somebody types: to fade a thousand nodes takes longer than the next letter.
  let isDue = false;
  search.addEventListener("input", () => {
    if (!isDue) requestAnimationFrame(() => { isDue = false; apply(); });
    isDue = true;
  });
  filter.addEventListener("change", apply);

  // -- choosing a task ----------------------------------------------------------------------------------------------

  let chosen = null;

  function choose(task, open) {
    if (chosen) chosen.classList.remove("chosen");
    chosen = task;
    task.classList.add("chosen");
    if (open) task.open = true;
    task.scrollIntoView({ block: "nearest" });
    task.firstElementChild.focus({ preventScroll: true });
    const nodes = new Set();
    for (const [mark, calls] of marks) {
      const is = calls.includes(task.dataset.calls);
      mark.classList.toggle("chosen", is);
      if (is && mark.id) nodes.add(mark.id);
    }
    for (const arrow of arrows) arrow.classList.toggle("chosen", nodes.has(arrow.dataset.from) || nodes.has(arrow.dataset.to));
    bringIntoView([...nodes].map(byId));
  }

  function move(step) {
    const seen = tasks.filter((task) => !task.hidden);
    if (!seen.length) return;
    const at = seen.indexOf(chosen);
    choose(seen[at < 0 ? 0 : Math.min(Math.max(at + step, 0), seen.length - 1)], false);
  }

  for (const [mark, calls] of marks) {
    mark.addEventListener("click", (event) => {
      if (dragged) return;
      event.stopPropagation();
      const known = calls.filter((call) => byCall.has(call));
      if (known.length > 1) {
        only = new Set(known);
        apply();
      }
      if (known.length) choose(byCall.get(known[0]), known.length === 1);
    });
  }
  for (const task of tasks) task.firstElementChild.addEventListener("click", () => choose(task, false));

  // -- the graph: zoom and pan --------------------------------------------------------------------------------------

  const viewport = byId("viewport"), graph = viewport && viewport.querySelector("svg");
  let dragged = false;
  let zoom = () => {}, fit = () => {}, bringIntoView = () => {};
  if (graph) {
    const whole = graph.viewBox.baseVal, size = { width: whole.width, height: whole.height };
    let view = null, wide = 0;
    // Of a large graph texts are drawn where they are seen and can be read.
    const nodes = graph.classList.contains("many") ? [...graph.querySelectorAll(".node")].map((node) => [node, middle(node)]) : [];
    function middle(node) {
      const at = (name) => Number(node.querySelector(".shape").getAttribute(name));
      return node.querySelector("ellipse") ? [at("cx"), at("cy"), at("rx"), at("ry")]
        : [at("x") + at("width") / 2, at("y") + at("height") / 2, at("width") / 2, at("height") / 2];
    }
    const show = () => {
      graph.setAttribute("viewBox", `${view.x} ${view.y} ${view.width} ${view.height}`);
      const readable = wide / view.width > 0.35;
      const x = view.x + view.width / 2, y = view.y + view.height / 2;
      for (const [node, [cx, cy, rx, ry]] of nodes) {
        const near = readable && Math.abs(cx - x) < view.width / 2 + rx + 40 && Math.abs(cy - y) < view.height / 2 + ry + 40;
        node.classList.toggle("near", near);
      }
    };
    bringIntoView = (chosen) => {
      const [node] = chosen;
      if (!node) return;
      const [cx, cy] = middle(node), tiny = nodes.length && wide / view.width < 0.35;
      if (!tiny && cx > view.x && cx < view.x + view.width && cy > view.y && cy < view.y + view.height) return;
      const width = tiny ? wide / 0.8 : view.width, height = view.height * (width / view.width);
      view = { x: cx - width / 2, y: cy - height / 2, width, height };
      show();
    };
    fit = () => {
      viewport.style.height = `${Math.max(200, Math.min(size.height + 10, window.innerHeight * 0.62))}px`;
      const box = viewport.getBoundingClientRect();
      wide = box.width;
      // Never larger than drawn: a graph of two nodes needs no more room than they do.
      const scale = Math.min(1, box.width / size.width, box.height / size.height);
      view = { width: box.width / scale, height: box.height / scale };
      view.x = (size.width - view.width) / 2;
      view.y = (size.height - view.height) / 2;
      show();
    };
    zoom = (factor, px, py) => {
      const box = viewport.getBoundingClientRect();
      const x = px === undefined ? 0.5 : (px - box.left) / box.width, y = py === undefined ? 0.5 : (py - box.top) / box.height;
      const width = Math.min(Math.max(view.width / factor, 80), size.width * 8 + box.width);
      const height = view.height * (width / view.width);
      view = { x: view.x + (view.width - width) * x, y: view.y + (view.height - height) * y, width, height };
      show();
    };
    graph.addEventListener("wheel", (event) => {
      if (!event.ctrlKey && !event.metaKey) return; // the page scrolls
      event.preventDefault();
      zoom(Math.exp(-event.deltaY / 300), event.clientX, event.clientY);
    }, { passive: false });
    graph.addEventListener("dblclick", (event) => zoom(1.6, event.clientX, event.clientY));
    let from = null;
    graph.addEventListener("pointerdown", (event) => {
      from = { x: event.clientX, y: event.clientY, view };
      dragged = false;
    });
    window.addEventListener("pointermove", (event) => {
      if (!from) return;
      const scale = view.width / viewport.clientWidth;
      const dx = event.clientX - from.x, dy = event.clientY - from.y;
      if (Math.abs(dx) + Math.abs(dy) > 4) dragged = true;
      viewport.classList.toggle("dragged", dragged);
      view = { ...view, x: from.view.x - dx * scale, y: from.view.y - dy * scale };
      show();
    });
    window.addEventListener("pointerup", () => {
      from = null;
      viewport.classList.remove("dragged");
    });
    byId("in").addEventListener("click", () => zoom(1.4));
    byId("out").addEventListener("click", () => zoom(1 / 1.4));
    byId("fit").addEventListener("click", fit);
    window.addEventListener("resize", fit);
    fit();
  }

  // -- the timeline: rows that are in sight --------------------------------------------------------------------------

  const groups = [...document.querySelectorAll(".timeline .rows")];
  const scroll = groups.length ? groups[0].closest(".scroll") : null;

  function rows() {
    const scale = scroll.scrollHeight / scroll.firstElementChild.viewBox.baseVal.height;
    const from = scroll.scrollTop / scale - 300, to = (scroll.scrollTop + scroll.clientHeight) / scale + 300;
    for (const group of groups) {
      group.classList.toggle("near", Number(group.dataset.top) < to && Number(group.dataset.bottom) > from);
    }
  }
  const every = () => groups.forEach((group) => group.classList.add("near"));
  if (scroll) {
    scroll.addEventListener("scroll", rows, { passive: true });
    window.addEventListener("resize", rows);
    window.addEventListener("beforeprint", every);
    rows();
  }

  // -- light and dark, keys -----------------------------------------------------------------------------------------

  function turn(theme) {
    document.documentElement.dataset.theme = theme;
    byId("theme").textContent = theme === "dark" ? "light" : "dark";
  }
  const other = () => (document.documentElement.dataset.theme === "dark" ? "light" : "dark");
  turn(matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  byId("theme").addEventListener("click", () => turn(other()));
  byId("help").addEventListener("click", () => keys.showModal());

  const actions = {
    "/": () => search.focus(), "?": () => keys.showModal(), j: () => move(1), k: () => move(-1), d: () => turn(other()),
    "+": () => zoom(1.4), "=": () => zoom(1.4), "-": () => zoom(1 / 1.4), 0: () => fit(), Escape: clear,
    f: () => { filter.value = filter.value === "failed" ? "" : "failed"; apply(); },
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || keys.open) return;
    if (event.target === search || event.target === filter) {
      if (event.key === "Escape") { clear(); search.blur(); }
      if (event.key === "Enter" && event.target === search) { apply(); search.blur(); move(0); }
      return;
    }
    const action = actions[event.key];
    if (action) {
      event.preventDefault();
      action();
    }
  });
  apply();
});
