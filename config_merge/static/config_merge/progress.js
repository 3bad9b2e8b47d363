// Follows a template's change through the fleet: asks once a second while devices wait to be computed.
"use strict";

document.addEventListener("DOMContentLoaded", () => {
    const panel = document.querySelector("[data-progress]");
    if (!panel) {
        return;
    }
    const text = panel.querySelector("[data-progress-text]");
    const bar = panel.querySelector("[data-progress-bar]");
    const EVERY = 1000;

    const show = ({devices, stale}) => {
        panel.dataset.stale = String(stale);
        bar.hidden = stale === 0;
        bar.max = Math.max(devices, 1);
        bar.value = devices - stale;
        text.textContent = stale ? `${stale} still being computed` : "all computed";
    };

    const ask = async () => {
        try {
            const answer = await fetch(panel.dataset.progress, {headers: {Accept: "application/json"}, redirect: "error"});
            if (!answer.ok) {
                text.textContent = "progress unknown: reload the page";
                return;
            }
            const now = await answer.json();
            show(now);
            if (now.stale > 0) {
                window.setTimeout(ask, EVERY);
            }
        } catch {
            window.setTimeout(ask, 5 * EVERY);
        }
    };

    if (Number(panel.dataset.stale) > 0) {
        window.setTimeout(ask, EVERY);
    }
});
