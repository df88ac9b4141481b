// The page of a contract: the choice of a currency offers those of the chosen plan, and is hidden where there is one.
"use strict";

function enableCurrencyOfPlan(select) {
  const plan = document.querySelector(`[name=${select.dataset.chCurrencyOfPlan}]`);
  const row = select.closest(".field-line");
  if (!plan || !row) return;
  const [nothing, ...all] = [...select.options].map((option) => [option.value, option.text]);
  let asked = 0;

  const offer = (currencies) => {
    const chosen = select.value;
    const offered = all.filter(([code]) => currencies.includes(code));
    select.replaceChildren(...[nothing, ...offered].map(([code, text]) => new Option(text, code)));
    select.value = currencies.includes(chosen) ? chosen : "";
    row.hidden = currencies.length < 2;
  };
  const update = async () => {
    const mine = ++asked;
    if (!plan.value) return offer([]);
    const answer = await fetch(`${select.dataset.chCurrenciesUrl}?plan_version=${encodeURIComponent(plan.value)}`);
    if (mine !== asked) return undefined;
    return offer(answer.ok ? (await answer.json()).currencies : all.map(([code]) => code));
  };
  // The search field of the plan tells of a choice by jQuery's events only.
  window.django.jQuery(plan).on("change", update);
  update();
}

document.addEventListener("DOMContentLoaded", () => {
  document.querySelectorAll("[data-ch-currency-of-plan]").forEach(enableCurrencyOfPlan);
});
