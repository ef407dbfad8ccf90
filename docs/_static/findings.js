/* The filter of findings.html: shows the answers that have all the words and a chosen verdict. Without this script the
   page has all answers and no filter. */
document.addEventListener("DOMContentLoaded", () => {
  const table = document.querySelector("td .verdict")?.closest("table");
  if (!table) return;
  const rows = [...table.tBodies[0].rows];
  const isQuestion = (row) => row.cells.length === 1;
  const answers = rows.filter((row) => !isQuestion(row));
  const verdictOf = (row) => row.querySelector(".verdict").textContent;
  const count = (verdict) => answers.filter((row) => verdictOf(row) === verdict).length;
  const verdicts = ["supported", "refuted", "conditional", "unresolved"].filter(count);

  const form = document.createElement("form");
  form.className = "filter";
  form.innerHTML =
    '<input type="search" placeholder="words, for example: momentum" aria-label="words to be found">' +
    verdicts.map((verdict) =>
      `<label><input type="checkbox" name="${verdict}" checked>` +
      ` <strong class="verdict ${verdict}">${verdict}</strong> ${count(verdict)}</label>`).join("") +
    "<output></output>";
  const words = form.querySelector("input[type=search]"), told = form.querySelector("output");

  // A word of a study's question finds all answers to it.
  let question = "";
  const texts = new Map(rows.map((row) => {
    if (isQuestion(row)) question = row.textContent;
    return [row, `${question} ${row.textContent}`.toLowerCase()];
  }));

  const show = () => {
    const wanted = words.value.toLowerCase().split(/\s+/);
    let open, n = 0;
    for (const row of rows) {
      if (isQuestion(row)) {
        open = row;
        row.hidden = true;
      } else {
        row.hidden = !form.elements[verdictOf(row)].checked || !wanted.every((word) => texts.get(row).includes(word));
        if (!row.hidden) {
          n += 1;
          open.hidden = false;
        }
      }
    }
    told.textContent = n === answers.length ? "" : `${n} of ${answers.length} answers`;
  };
  form.addEventListener("input", show);
  form.addEventListener("submit", (event) => event.preventDefault());
  (table.closest(".table-wrapper") ?? table).before(form);
  show(); // a browser that goes back to the page keeps what was typed
});
