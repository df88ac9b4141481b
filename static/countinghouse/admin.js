// Small helpers of every admin page. Nothing here computes an amount.
"use strict";

// A column of figures has its header above the figures, not above the empty space beside them.
function alignFigureHeaders() {
  const table = document.getElementById("result_list");
  if (!table) return;
  table.querySelectorAll("tbody tr.data-row:first-child > *").forEach((cell) => {
    if (!cell.querySelector(":scope > .ch-number, :scope > a > .ch-number")) return;
    const column = [...cell.classList].find((name) => name.startsWith("field-"));
    if (!column) return;
    table.querySelector(`th.column-${column.slice("field-".length)}`)?.classList.add("ch-right");
  });
}

// Shows only the fields that the chosen kind of price or metric has; the form's own checks stay the judge.
// A select with data-ch-controls="model" rules the inputs with data-ch-shown-for-model="flat per_unit". An input that
// several selects rule is shown when it fits all of them.
function showFieldsForChoice() {
  const controls = [...document.querySelectorAll("[data-ch-controls]")];
  const fits = (input, control) => {
    const wanted = input.getAttribute(`data-ch-shown-for-${control.dataset.chControls}`);
    return wanted === null || wanted.split(" ").includes(control.value);
  };
  controls.forEach((control) => {
    const update = () => {
      document.querySelectorAll(`[data-ch-shown-for-${control.dataset.chControls}]`).forEach((input) => {
        const shown = controls.every((each) => fits(input, each));
        const row = input.closest(".field-line");
        if (row) row.hidden = !shown;
        // A hidden input keeps what was typed, in case the choice is taken back, but is not sent.
        input.disabled = !shown;
      });
    };
    control.addEventListener("change", update);
    update();
  });
}

// Under a long number that is typed without separators, the same number with them, so that zeros need no counting.
function showGroupedNumbers() {
  const show = (input) => {
    const match = /^(\d{5,})(\.\d+)?$/.exec(input.value.trim());
    let hint = input.nextElementSibling;
    if (!hint || !hint.classList.contains("ch-grouped")) {
      if (!match) return;
      hint = document.createElement("span");
      hint.className = "ch-grouped";
      input.after(hint);
    }
    hint.textContent = match ? match[1].replace(/\B(?=(\d{3})+$)/g, ",") + (match[2] || "") : "";
  };
  document.querySelectorAll("input.ch-amount").forEach(show);
  document.addEventListener("input", (event) => {
    if (event.target.matches("input.ch-amount")) show(event.target);
  });
}

// Rows of such a table stand as lists on a phone, where each figure needs the name of its column beside it.
function nameStackedCells() {
  document.querySelectorAll("table.ch-stack").forEach((table) => {
    const names = [...table.tHead.rows[0].cells].map((cell) => cell.textContent.trim());
    [...table.tBodies[0].rows].forEach((row) => {
      [...row.cells].forEach((cell, index) => { cell.dataset.label = names[index] || ""; });
    });
  });
}

// Buttons that copy the text of another element.
function enableCopyButtons() {
  document.querySelectorAll("[data-ch-copy]").forEach((button) => {
    button.addEventListener("click", async () => {
      const source = document.getElementById(button.dataset.chCopy);
      const text = "value" in source ? source.value : source.textContent;
      try {
        await navigator.clipboard.writeText(text);
        button.lastElementChild.textContent = "Copied";
      } catch {
        // Without HTTPS the clipboard is closed to scripts: select the text, so that Ctrl-C takes it.
        if ("select" in source) source.select();
        button.lastElementChild.textContent = "Press Ctrl-C";
      }
    });
  });
}

// After a page that answers a form and may be seen once, “Reload” must not send the form again.
function leaveTheForm() {
  const page = document.querySelector("[data-ch-replace-url]");
  if (page) history.replaceState(null, "", page.dataset.chReplaceUrl);
}

document.addEventListener("DOMContentLoaded", () => {
  leaveTheForm();
  alignFigureHeaders();
  showFieldsForChoice();
  showGroupedNumbers();
  nameStackedCells();
  enableCopyButtons();
});
