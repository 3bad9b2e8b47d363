// Shows what saving a form would do to the fleet: on demand, and as a question before saving when devices would change.
// What concerns too many devices to wait for is computed by a job, on demand only; its result holds until the form is edited.
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
    const bar = part("bar");
    const result = part("result");
    const dialog = part("dialog");
    let confirmed = false;
    let busy = false;

    const several = (count, word) => `${count.toLocaleString("en")} ${word}${count === 1 ? "" : "s"}`;

    const EVERY = 700;
    // Counts edits: what was asked before the last one is not shown any more.
    let edition = 0;
    let known = null;

    const pause = (time) => new Promise((done) => window.setTimeout(done, time));

    const said = async (url, options) => {
        const answer = await fetch(url, {redirect: "error", headers: {Accept: "application/json"}, ...options});
        if (!answer.ok) {
            throw new Error(String(answer.status));
        }
        return answer.json();
    };

    const followed = async (job, asked) => {
        let failures = 0;
        tell(result, job);
        while (asked === edition) {
            await pause(EVERY);
            try {
                const now = await said(job.progress);
                failures = 0;
                bar.max = Math.max(now.total, 1);
                bar.value = now.worked;
                elapsed.textContent = `${now.worked.toLocaleString("en")} of ${several(now.total, "device")}`;
                if (now.ended) {
                    return await said(job.result);
                }
            } catch (problem) {
                failures += 1;
                if (failures > 10) {
                    throw problem;
                }
            }
        }
        return null;
    };

    const computed = async ({background}) => {
        const begun = performance.now();
        const asked = edition;
        const tick = () => {
            const seconds = Math.round((performance.now() - begun) / 1000);
            elapsed.textContent = seconds < 2 ? "Computing…" : `Computing… ${seconds} s`;
        };
        tick();
        const timer = window.setInterval(tick, 500);
        busy = run.disabled = true;
        bar.removeAttribute("value");
        wait.hidden = false;
        try {
            const told = await said(`${panel.dataset.effect}${background ? "?background=yes" : ""}`, {
                method: "POST", body: new FormData(form),
            });
            if (told.outcome !== "job") {
                return told;
            }
            window.clearInterval(timer);
            busy = false;
            const found = await followed(told, asked);
            known = asked === edition ? found : null;
            return found;
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
        const asked = edition;
        const told = await computed({background: true});
        if (asked === edition) {
            tell(result, told);
        }
    });
    form.addEventListener("input", (event) => {
        if (event.target !== skip) {
            edition += 1;
            known = null;
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
        if (!known) {
            // Who saves does not wait for a job any more.
            edition += 1;
        }
        const told = known ?? (await computed({background: false}));
        const harmless = told && (told.outcome === "invalid" || (told.outcome === "ok" && !told.changed && !told.failed));
        if (harmless) {
            // What is invalid is explained by the form itself.
            submit(submitter);
        } else {
            ask(told, submitter);
        }
    }, true);
});
