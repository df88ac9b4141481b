// Keeps the progress of a running close run up to date, and shows the whole page anew once it has finished.
document.addEventListener("DOMContentLoaded", () => {
  const progress = document.getElementById("close-run-progress");
  if (!progress || !progress.dataset.progressUrl) {
    return;
  }
  const refresh = async () => {
    const response = await fetch(progress.dataset.progressUrl, { headers: { Accept: "application/json" } });
    if (!response.ok) {
      return;
    }
    const state = await response.json();
    progress.innerHTML = state.html;
    if (state.finished) {
      window.location.reload();
    } else {
      window.setTimeout(refresh, 1000);
    }
  };
  window.setTimeout(refresh, 1000);
});
