// The page of a metric: rows of filters, and a preview on real events beside the form.
"use strict";

function enableFilterRows(holder) {
  const listed = (name) => holder.dataset[name].split(" ");
  const update = (row) => {
    const operator = row.querySelector("select").value;
    const values = row.querySelector("input:last-of-type");
    // Emptied when it is sent, not now: the choice may be taken back.
    values.hidden = listed("chWithoutValue").includes(operator);
    values.placeholder = listed("chWithSeveral").includes(operator)
      ? "value, value"
      : listed("chWithNumber").includes(operator) ? "number" : "value";
  };
  const changed = () => holder.dispatchEvent(new Event("input", { bubbles: true }));
  holder.querySelectorAll(":scope > [data-ch-row]").forEach(update);
  holder.addEventListener("change", (event) => {
    const row = event.target.closest("[data-ch-row]");
    if (row) update(row);
  });
  holder.addEventListener("click", (event) => {
    const removed = event.target.closest("[data-ch-remove-row]");
    if (removed) {
      removed.closest("[data-ch-row]").remove();
      changed();
    }
    if (event.target.closest("[data-ch-add-row]")) {
      const template = holder.querySelector("template");
      const row = template.content.firstElementChild.cloneNode(true);
      template.before(row);
      update(row);
      row.querySelector("input").focus();
    }
  });
}

async function enablePreview(aside) {
  const form = document.getElementById("billablemetric_form");
  const url = aside.dataset.chPreviewUrl;
  const frame = await fetch(url);
  if (!frame.ok) {
    aside.remove();
    return;
  }
  aside.innerHTML = await frame.text();
  form.querySelector("[name=event_type]")?.setAttribute("list", "ch-event-types");
  const result = aside.querySelector("[data-ch-preview-result]");
  let asked = null;
  let timer = 0;

  const ask = async () => {
    asked?.abort();
    const mine = (asked = new AbortController());
    const sent = new FormData(form);
    aside.querySelectorAll("[data-ch-preview-input]").forEach((input) => sent.set(input.name, input.value));
    result.setAttribute("aria-busy", "true");
    try {
      const answer = await fetch(url, { method: "POST", body: sent, signal: mine.signal });
      result.innerHTML = answer.ok ? await answer.text() : "<p class='ch-notice'>The preview could not be made.</p>";
    } catch (error) {
      if (error.name === "AbortError") return;
      result.innerHTML = "<p class='ch-notice'>The preview could not be reached.</p>";
    }
    if (asked === mine) result.removeAttribute("aria-busy");
  };
  const askSoon = () => {
    clearTimeout(timer);
    timer = setTimeout(ask, 350);
  };
  for (const source of [form, aside]) {
    source.addEventListener("input", askSoon);
    source.addEventListener("change", askSoon);
  }
  ask();
}

document.addEventListener("DOMContentLoaded", () => {
  document.querySelectorAll("[data-ch-filter-rows]").forEach(enableFilterRows);
  document.querySelectorAll("[data-ch-preview-url]").forEach(enablePreview);
});
