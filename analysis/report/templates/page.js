// Tables are sorted in place: best first, then the other way round, then as they were.
"use strict";
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0], before = [...body.rows];
  const heads = [...table.tHead.rows[table.tHead.rows.length - 1].cells];
  const text = (row, column) => row.cells[column].textContent.trim();
  const none = value => value === "" || value === "-" || value.startsWith("(");
  const shape = /^(?:[\u2264\u2265] )?(-?[\d,]*\.?\d+)(?: \(.*\)| of \d+)?$/;
  const number = value => parseFloat((value.match(shape) || ["", ""])[1].replace(/,/g, ""));
  const sorted = (column, sign) => {
    const values = before.map(row => text(row, column));
    const numeric = values.every(value => none(value) || !isNaN(number(value)));
    return [...before].sort((first, second) => {
      const a = text(first, column), b = text(second, column);
      if (none(a) || none(b)) return none(a) - none(b);
      return sign * (numeric ? number(a) - number(b) : a.localeCompare(b, "en", {numeric: true}));
    });
  };
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    const best = button.textContent.includes("\u2191") ? "descending" : "ascending";
    const worst = best === "ascending" ? "descending" : "ascending";
    button.addEventListener("click", () => {
      const next = {[best]: worst, [worst]: null}[head.getAttribute("aria-sort")];
      const order = next === undefined ? best : next;
      heads.forEach(other => other.removeAttribute("aria-sort"));
      if (order) head.setAttribute("aria-sort", order);
      const rows = order ? sorted(column, order === "ascending" ? 1 : -1) : before;
      table.classList.toggle("resorted", order !== null);
      body.append(...rows);
    });
  });
}
