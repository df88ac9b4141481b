// The page of a price: tables of tiers and matrix rows, words by charge model, and the calculator beside the form.
// Nothing here computes an amount or judges an input; the server does both.
"use strict";

const priceForm = () => document.getElementById("priceversion_form");
const announce = (element) => element.dispatchEvent(new Event("input", { bubbles: true }));
const listed = (text) => text.split(" ");

// --- Columns, words and groups that go with the charge model ---------------------------------------------------------

function showForModel(model) {
  document.querySelectorAll("[data-ch-column-for]").forEach((cell) => {
    cell.hidden = !listed(cell.dataset.chColumnFor).includes(model);
    cell.querySelectorAll("input").forEach((input) => { input.disabled = cell.hidden; });
  });
  document.querySelectorAll("[data-ch-text-for]").forEach((text) => {
    text.hidden = !listed(text.dataset.chTextFor).includes(model);
  });
  document.querySelectorAll("[data-ch-words]").forEach((input) => {
    const line = input.closest(".field-line");
    const label = line?.querySelector("label");
    const help = line?.querySelector(".leading-relaxed");
    if (!label) return;
    const [title, text] = JSON.parse(input.dataset.chWords)[model] ?? JSON.parse(input.dataset.chUsualWords);
    label.firstChild.textContent = title;
    if (help) help.textContent = text;
  });
}

function hideEmptyGroups() {
  document.querySelectorAll("fieldset.module").forEach((group) => {
    const lines = [...group.querySelectorAll(".field-line")];
    group.hidden = lines.length > 0 && lines.every((line) => line.hidden);
  });
}

// --- Tables ----------------------------------------------------------------------------------------------------------

function addRow(table) {
  const row = table.querySelector("template").content.firstElementChild.cloneNode(true);
  table.querySelector("tbody").append(row);
  const model = priceForm().querySelector("[name=charge_model]").value;
  row.querySelectorAll("[data-ch-column-for]").forEach((cell) => {
    cell.hidden = !listed(cell.dataset.chColumnFor).includes(model);
    cell.querySelectorAll("input").forEach((input) => { input.disabled = cell.hidden; });
  });
  return row;
}

const inputsOf = (row) => [...row.querySelectorAll("input")].filter((input) => !input.closest("td").hidden);
const rowsOf = (table) => [...table.querySelectorAll("tbody > [data-ch-row]")];

// Cells of a spreadsheet, copied as lines with tabs, fill the table from the cell that they are pasted into.
function pasteCells(event, table) {
  const text = event.clipboardData.getData("text/plain").replace(/\r/g, "");
  if (!/[\t\n]/.test(text.trim())) return;
  event.preventDefault();
  const start = event.target.closest("[data-ch-row]");
  const column = inputsOf(start).indexOf(event.target);
  let at = rowsOf(table).indexOf(start);
  text.replace(/\n+$/, "").split("\n").forEach((line) => {
    const row = rowsOf(table)[at] ?? addRow(table);
    const inputs = inputsOf(row);
    line.split("\t").forEach((cell, offset) => {
      const input = inputs[column + offset];
      if (input) input.value = cell.trim();
    });
    at += 1;
  });
  announce(event.target);
}

function enableTable(table) {
  table.addEventListener("click", (event) => {
    const removed = event.target.closest("[data-ch-remove-row]");
    if (removed) {
      const row = removed.closest("[data-ch-row]");
      if (row.nextElementSibling?.classList.contains("ch-row-faults")) row.nextElementSibling.remove();
      row.remove();
      announce(table);
    }
    if (event.target.closest("[data-ch-add-row]")) inputsOf(addRow(table))[0]?.focus();
  });
  table.addEventListener("paste", (event) => {
    if (event.target.matches("input")) pasteCells(event, table);
  });
  table.addEventListener("keydown", (event) => {
    // Enter goes on to the next row instead of saving a price that is half typed.
    if (event.key !== "Enter" || !event.target.matches("input")) return;
    event.preventDefault();
    const rows = rowsOf(table);
    const row = event.target.closest("[data-ch-row]");
    const next = rows[rows.indexOf(row) + 1] ?? addRow(table);
    inputsOf(next)[inputsOf(row).indexOf(event.target)]?.focus();
  });
}

// --- The dimensions of a matrix --------------------------------------------------------------------------------------

const dimensionsIn = (input) => [...new Set(input.value.split(",").map((name) => name.trim()).filter(Boolean))];

// One column for each dimension. A column that stays keeps what was typed in it.
function drawColumns(table, dimensions) {
  const shown = [...table.querySelectorAll("thead [data-ch-dimension]")].map((cell) => cell.dataset.chDimension);
  if (JSON.stringify(shown.slice(0, -1)) === JSON.stringify(dimensions)) return;
  const template = table.querySelector("template").content.firstElementChild;
  const lines = [table.querySelector("thead tr"), template, ...rowsOf(table)];
  lines.forEach((line) => {
    const cells = new Map([...line.querySelectorAll("[data-ch-dimension]")].map((cell) => [cell.dataset.chDimension, cell]));
    const price = cells.get("");
    cells.delete("");
    dimensions.forEach((name) => price.before(cells.get(name) ?? newCell(line, name)));
    cells.forEach((cell, name) => { if (!dimensions.includes(name)) cell.remove(); });
  });
}

function newCell(line, name) {
  const isHead = line.parentElement?.tagName === "THEAD";
  const cell = document.createElement(isHead ? "th" : "td");
  cell.dataset.chDimension = name;
  if (isHead) {
    cell.scope = "col";
    cell.textContent = name;
    return cell;
  }
  const input = document.createElement("input");
  Object.assign(input, { type: "text", name: `rows-value-${name}`, placeholder: "any", autocomplete: "off" });
  input.setAttribute("aria-label", name);
  cell.append(input);
  return cell;
}

// Buttons for the dimensions that the metric offers, in place of typing their names.
function offerDimensions(input, offered) {
  let holder = input.parentElement.querySelector(".ch-offered");
  if (!holder) {
    holder = document.createElement("div");
    holder.className = "ch-offered";
    input.after(holder);
    holder.addEventListener("click", (event) => {
      const name = event.target.closest("button")?.dataset.chName;
      if (name === undefined) return;
      const chosen = dimensionsIn(input);
      input.value = (chosen.includes(name) ? chosen.filter((one) => one !== name) : [...chosen, name]).join(", ");
      announce(input);
    });
  }
  const chosen = dimensionsIn(input);
  holder.replaceChildren(...offered.map((name) => {
    const button = document.createElement("button");
    Object.assign(button, { type: "button", className: "ch-chip", textContent: name });
    button.dataset.chName = name;
    button.setAttribute("aria-pressed", String(chosen.includes(name)));
    return button;
  }));
}

// --- The calculator --------------------------------------------------------------------------------------------------

function enableCalculator(aside) {
  const form = priceForm();
  const result = aside.querySelector("[data-ch-preview-result]");
  const typed = new Set();
  let asked = null;
  let timer = 0;

  const show = (html) => {
    const active = aside.contains(document.activeElement) ? document.activeElement : null;
    const place = active && [...aside.querySelectorAll("[data-ch-try]")].indexOf(active);
    const selection = active && [active.selectionStart, active.selectionEnd];
    const isOpen = aside.querySelector("details")?.open;
    result.innerHTML = html;
    if (isOpen && aside.querySelector("details")) aside.querySelector("details").open = true;
    const again = active && aside.querySelectorAll("[data-ch-try]")[place];
    if (again) {
      again.focus();
      again.setSelectionRange(...selection);
    }
    const told = result.querySelector("[data-ch-group-by]");
    const dimensions = form.querySelector("[name=dimensions]");
    if (told && dimensions) offerDimensions(dimensions, told.dataset.chGroupBy.split("\n").filter(Boolean));
    if (told) offerCurrencies(told.dataset.chCurrencies);
  };
  const offerCurrencies = (codes) => {
    const select = form.querySelector("select[name=currency]");
    if (!select || !codes) return;
    [...select.options].forEach((option) => { option.hidden = !listed(codes).includes(option.value); });
    if (select.selectedOptions[0]?.hidden) {
      select.value = listed(codes)[0];
      announce(select);
    }
  };
  const ask = async () => {
    asked?.abort();
    const mine = (asked = new AbortController());
    const sent = new FormData(form);
    aside.querySelectorAll("[data-ch-try]").forEach((input) => {
      if (typed.has(input.name)) sent.append(input.name, input.value);
    });
    result.setAttribute("aria-busy", "true");
    try {
      const answer = await fetch(aside.dataset.chCalculatorUrl, { method: "POST", body: sent, signal: mine.signal });
      const html = await answer.text();
      if (asked !== mine) return;
      show(answer.ok ? html : "<p class='ch-notice'>The price could not be calculated.</p>");
    } catch (error) {
      if (error.name === "AbortError") return;
      result.innerHTML = "<p class='ch-notice'>The calculator could not be reached.</p>";
    }
    if (asked === mine) result.removeAttribute("aria-busy");
  };
  const askSoon = (event) => {
    if (event.target.matches?.("[data-ch-try]")) typed.add(event.target.name);
    // An answer to what stood there before must not overwrite what is being typed.
    asked?.abort();
    clearTimeout(timer);
    timer = setTimeout(ask, 300);
  };
  for (const source of [form, aside]) {
    source.addEventListener("input", askSoon);
    source.addEventListener("change", askSoon);
  }
  // The searchable selects speak jQuery only.
  window.django?.jQuery(form).on("select2:select select2:clear", (event) => askSoon({ target: event.target }));
  ask();
}

// --- Scheduling ------------------------------------------------------------------------------------------------------

function enableImpact(holder) {
  const result = holder.querySelector("[data-ch-impact-result]");
  holder.querySelector("[data-ch-preview-impact]").addEventListener("click", async () => {
    result.setAttribute("aria-busy", "true");
    const sent = new FormData(priceForm());
    sent.set("price", holder.dataset.chImpactPrice);
    try {
      const answer = await fetch(holder.dataset.chImpactUrl, { method: "POST", body: sent });
      result.innerHTML = answer.ok ? await answer.text() : "<p class='ch-notice'>The impact could not be previewed.</p>";
    } catch {
      result.innerHTML = "<p class='ch-notice'>The impact could not be reached.</p>";
    }
    result.removeAttribute("aria-busy");
  });
}

// What is asked only for a day in the past.
function showForPastDay(input) {
  const day = document.querySelector("[name=effective_from]");
  const line = input.closest(".field-line");
  const update = () => { line.hidden = !(day.value && day.value < input.dataset.chShownBefore); };
  // The calendar sets the day without an event of its own; looking again when the field is left or clicked is enough.
  ["input", "change", "focus", "blur"].forEach((name) => day.addEventListener(name, update));
  document.addEventListener("click", () => setTimeout(update));
  update();
}

document.addEventListener("DOMContentLoaded", () => {
  const control = document.querySelector("[data-ch-controls=model]");
  if (!control) return;
  const update = () => {
    showForModel(control.value);
    hideEmptyGroups();
  };
  control.addEventListener("change", update);
  update();
  document.querySelectorAll("[data-ch-price-table]").forEach(enableTable);
  const dimensions = document.querySelector("[name=dimensions]");
  const matrix = document.querySelector("[data-ch-matrix]");
  if (dimensions && matrix) {
    const redraw = () => drawColumns(matrix, dimensionsIn(dimensions));
    dimensions.addEventListener("input", redraw);
    redraw();
  }
  document.querySelectorAll("[data-ch-calculator-url]").forEach(enableCalculator);
  document.querySelectorAll("[data-ch-impact-url]").forEach(enableImpact);
  document.querySelectorAll("[data-ch-shown-before]").forEach(showForPastDay);
});
