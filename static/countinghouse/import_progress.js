// Keeps the progress of a running import up to date, and shows the whole page anew once it has ended.
document.addEventListener("DOMContentLoaded", () => {
  const progress = document.getElementById("import-progress");
  if (!progress || !progress.dataset.progressUrl) {
    return;
  }
  const refresh = async () => {
    try {
      const response = await fetch(progress.dataset.progressUrl, { headers: { Accept: "application/json" } });
      if (!response.ok) {
        return;
      }
      const state = await response.json();
      progress.innerHTML = state.html;
      if (state.finished) {
        window.location.reload();
        return;
      }
    } catch {
      // The site may be restarting; the next look tells.
    }
    window.setTimeout(refresh, 1000);
  };
  window.setTimeout(refresh, 1000);
});
