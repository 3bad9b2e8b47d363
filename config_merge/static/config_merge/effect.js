// Shows what saving a form would do to the fleet: on demand, and as a question before saving when devices would change.
"use strict";

document.addEventListener("DOMContentLoaded", () => {
    const panel = document.querySelector("[data-effect]");
    const form = panel?.closest("form");
    if (!form) {
        return;
    }
    const part = (name) => document.querySelector(`[data-effect-${name}]`);
    const run = part("run");
    const skip = part("skip");
    const wait = part("wait");
    const elapsed = part("elapsed");
    const result = part("result");
    const dialog = part("dialog");
    let confirmed = false;
    let busy = false;

    const several = (count, word) => `${count.toLocaleString("en")} ${word}${count === 1 ? "" : "s"}`;

    const computed = async () => {
        const begun = performance.now();
        const tick = () => {
            const seconds = Math.round((performance.now() - begun) / 1000);
            elapsed.textContent = seconds < 2 ? "Computing…" : `Computing… ${seconds} s`;
        };
        tick();
        const timer = window.setInterval(tick, 500);
        busy = run.disabled = true;
        wait.hidden = false;
        try {
            const answer = await fetch(panel.dataset.effect, {
                method: "POST", body: new FormData(form), redirect: "error", headers: {Accept: "application/json"},
            });
            return answer.ok ? await answer.json() : null;
        } catch {
            return null;
        } finally {
            window.clearInterval(timer);
            busy = run.disabled = false;
            wait.hidden = true;
        }
    };

    const unknown = () => {
        const line = document.createElement("p");
        line.className = "mu-effect__line mu-effect__line--bad";
        line.textContent = "The effect could not be computed: the server did not answer.";
        return line;
    };

    // The words are the server's own template, with everything in them escaped.
    const tell = (place, told) => {
        if (told) {
            place.innerHTML = told.html;
        } else {
            place.replaceChildren(unknown());
        }
    };

    run.addEventListener("click", async () => {
        result.replaceChildren();
        tell(result, await computed());
    });
    form.addEventListener("input", (event) => {
        if (event.target !== skip) {
            result.replaceChildren();
        }
    });

    const submit = (submitter) => {
        confirmed = true;
        form.requestSubmit(submitter);
        confirmed = false;
    };

    const ask = (told, submitter) => {
        tell(part("told"), told);
        const known = told && told.outcome === "ok";
        part("heading").textContent = known ? "Save and change the fleet?" : "Save without knowing the effect?";
        part("save").textContent = known ? `Save, and change ${several(told.changed, "device")}` : "Save anyway";
        part("save").onclick = () => {
            dialog.close();
            submit(submitter);
        };
        dialog.showModal();
    };
    part("back").addEventListener("click", () => dialog.close());

    // In the capturing phase: before a listener that believes the form is on its way.
    form.addEventListener("submit", async (event) => {
        if (confirmed || skip.checked) {
            return;
        }
        event.preventDefault();
        event.stopImmediatePropagation();
        if (busy) {
            return;
        }
        const {submitter} = event;
        const told = await computed();
        const harmless = told && (told.outcome === "invalid" || (told.outcome === "ok" && !told.changed && !told.failed));
        if (harmless) {
            // What is invalid is explained by the form itself.
            submit(submitter);
        } else {
            ask(told, submitter);
        }
    }, true);
});
