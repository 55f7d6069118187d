"use strict";
// Tables are sorted by a click on a heading: numbers largest first, text from A to Z.
for (const table of document.querySelectorAll("table.sortable")) {
  const headings = [...table.tHead.rows[0].cells];
  headings.forEach((heading, column) => {
    heading.querySelector("button").addEventListener("click", () => {
      const numeric = heading.classList.contains("number");
      const first = numeric ? "descending" : "ascending";
      const second = numeric ? "ascending" : "descending";
      const direction = heading.getAttribute("aria-sort") === first ? second : first;
      headings.forEach((other) => other.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", direction);
      const sign = direction === "ascending" ? 1 : -1;
      const key = (row) => {
        const cell = row.cells[column];
        if (!numeric) return cell.textContent.trim();
        const value = Number(cell.dataset.value ?? "x");
        return Number.isNaN(value) ? null : value;
      };
      const rows = [...table.tBodies[0].rows].map((row) => [key(row), row]);
      rows.sort(([a], [b]) => {
        if (!numeric) return sign * a.localeCompare(b, undefined, { numeric: true });
        // Cells without a number stay at the end.
        if (a === null || b === null) return (a === null) - (b === null);
        return sign * (a - b);
      });
      table.tBodies[0].append(...rows.map(([, row]) => row));
    });
  });
}
