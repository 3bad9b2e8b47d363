// Follows a job: asks once a second until it has ended, then shows the page with its results.
"use strict";

document.addEventListener("DOMContentLoaded", () => {
    const panel = document.querySelector("[data-job]");
    if (!panel || "ended" in panel.dataset) {
        return;
    }
    const text = panel.querySelector("[data-job-text]");
    const bar = panel.querySelector("[data-job-bar]");
    const EVERY = 1000;

    const ask = async () => {
        try {
            const answer = await fetch(panel.dataset.job, {headers: {Accept: "application/json"}, redirect: "error"});
            if (!answer.ok) {
                text.textContent = "progress unknown: reload the page";
                return;
            }
            const now = await answer.json();
            bar.max = Math.max(now.total, 1);
            bar.value = now.worked;
            text.textContent = `${now.done} done, ${now.failed} failed, ${now.skipped} skipped`;
            if (now.ended) {
                window.location.reload();
                return;
            }
            window.setTimeout(ask, EVERY);
        } catch {
            window.setTimeout(ask, 5 * EVERY);
        }
    };

    window.setTimeout(ask, EVERY);
});
