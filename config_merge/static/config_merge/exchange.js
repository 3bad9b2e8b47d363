// Follows an import until it is done, and selects all columns of an export or none.
"use strict";

document.addEventListener("DOMContentLoaded", () => {
    const panel = document.querySelector("[data-import-progress]");
    const EVERY = 700;

    const ask = async () => {
        try {
            const answer = await fetch(panel.dataset.importProgress, {headers: {Accept: "application/json"}, redirect: "error"});
            const now = answer.ok ? await answer.json() : {busy: false};
            if (!now.busy) {
                window.location.reload();
                return;
            }
            panel.querySelector("[data-import-done]").textContent = String(now.done);
            panel.querySelector("[data-import-bar]").value = now.done;
            window.setTimeout(ask, EVERY);
        } catch {
            window.setTimeout(ask, 5 * EVERY);
        }
    };

    if (panel) {
        window.setTimeout(ask, EVERY);
    }

    const form = document.querySelector("[data-columns]");
    const toggle = form?.querySelector("[data-columns-toggle]");
    if (toggle) {
        const boxes = [...form.querySelectorAll("input[type=checkbox]")];
        toggle.hidden = false;
        toggle.addEventListener("click", () => {
            const all = boxes.some((box) => !box.checked);
            boxes.forEach((box) => { box.checked = all; });
            toggle.textContent = all ? "Select none" : "Select all";
        });
    }
});
