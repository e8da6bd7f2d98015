"use strict";
(() => {
  // Theme: the system's choice until the reader makes one.
  const root = document.documentElement;
  const button = document.getElementById("theme");
  const system = window.matchMedia("(prefers-color-scheme: dark)");
  const dark = () => (root.dataset.theme || (system.matches ? "dark" : "light")) === "dark";
  const name = () => { button.textContent = dark() ? "Light theme" : "Dark theme"; };
  button.hidden = false;
  button.addEventListener("click", () => { root.dataset.theme = dark() ? "light" : "dark"; name(); });
  system.addEventListener("change", name);
  name();

  // Matrix: single values of a limit fold away below the limit. Without script they are simply shown.
  for (const more of document.querySelectorAll("button.more")) {
    const rows = more.getAttribute("aria-controls").trim().split(/\s+/).map((id) => document.getElementById(id));
    const show = (open) => {
      more.setAttribute("aria-expanded", String(open));
      for (const row of rows) row.hidden = !open;
    };
    more.addEventListener("click", () => show(more.getAttribute("aria-expanded") !== "true"));
    show(false);
  }

  // Tables: every finding is a tbody (its numbers and its reason), so a sort moves whole findings.
  const key = (body, column) => body.rows[0].cells[column].dataset.sort || "";
  const order = (a, b) => {
    if (a === "" || b === "") return (a === "") - (b === "");
    const [x, y] = [Number(a), Number(b)];
    return Number.isNaN(x) || Number.isNaN(y) ? a.localeCompare(b, undefined, { numeric: true }) : x - y;
  };
  for (const table of document.querySelectorAll("table[data-sortable]")) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      head.querySelector("button").addEventListener("click", () => {
        const down = head.getAttribute("aria-sort") === "ascending";
        for (const other of heads) other.setAttribute("aria-sort", "none");
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        const bodies = [...table.tBodies];
        const known = bodies.filter((b) => key(b, column) !== "");
        const missing = bodies.filter((b) => key(b, column) === "");
        known.sort((a, b) => (down ? -1 : 1) * order(key(a, column), key(b, column)));
        table.append(...known, ...missing);
      });
    });
  }
})();
