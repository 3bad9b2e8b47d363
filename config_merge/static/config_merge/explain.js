// Narrows the effective configuration: by words, by the layer that won, to what was overruled. Branches stay while
// something below them does. Branches fold; a value tells where it came from while one points at it, has the keyboard
// on it or has tapped it.
"use strict";

document.addEventListener("DOMContentLoaded", () => {
    const bar = document.querySelector("[data-explain]");
    if (!bar) {
        return;
    }
    const search = bar.querySelector("[data-explain-search]");
    const overruled = bar.querySelector("[data-explain-overruled]");
    const layers = [...bar.querySelectorAll("[data-explain-layer]")];
    const sections = [...document.querySelectorAll("[data-explain-section]")];
    const none = document.querySelector("[data-explain-none]");

    const matches = (row, words, wanted) =>
        (!words || row.dataset.search.includes(words)) &&
        (!wanted.length || wanted.includes(row.dataset.layer)) &&
        (!overruled.checked || "overruled" in row.dataset);

    const folds = [...document.querySelectorAll("[data-explain-fold]")];
    const isFolded = (row) => row.querySelector("[data-explain-fold]")?.getAttribute("aria-expanded") === "false";

    const narrow = () => {
        const words = search.value.trim().toLowerCase();
        const wanted = layers.filter((button) => button.ariaPressed === "true").map((button) => button.dataset.explainLayer);
        let total = 0;
        sections.forEach((section) => {
            const open = [];
            let shown = 0;
            section.querySelectorAll("[data-depth]").forEach((row) => {
                const depth = Number(row.dataset.depth);
                open.length = Math.min(open.length, depth);
                const isLeaf = "layer" in row.dataset;
                row.hidden = !(isLeaf && matches(row, words, wanted));
                if (!isLeaf) {
                    open[depth] = row;
                } else if (!row.hidden) {
                    shown += 1;
                    open.forEach((branch) => {
                        branch.hidden = false;
                    });
                }
            });
            // What is looked for is shown, folded or not; else what is below a folded branch is not.
            if (!words && !wanted.length && !overruled.checked) {
                let folded = Infinity;
                section.querySelectorAll("[data-depth]").forEach((row) => {
                    const depth = Number(row.dataset.depth);
                    if (depth <= folded) {
                        folded = isFolded(row) ? depth : Infinity;
                    } else {
                        row.hidden = true;
                    }
                });
            }
            section.hidden = shown === 0;
            total += shown;
        });
        none.hidden = total > 0;
    };

    layers.forEach((button) => {
        button.addEventListener("click", () => {
            button.ariaPressed = button.ariaPressed === "true" ? "false" : "true";
            narrow();
        });
    });
    search.addEventListener("input", narrow);
    overruled.addEventListener("change", narrow);

    const fold = (button, open) => button.setAttribute("aria-expanded", String(open));
    folds.forEach((button) => {
        button.addEventListener("click", () => {
            fold(button, button.getAttribute("aria-expanded") === "false");
            narrow();
        });
    });
    const all = (open) => {
        folds.forEach((button) => fold(button, open));
        sections.forEach((section) => {
            section.open = open;
        });
        narrow();
    };
    bar.querySelector("[data-explain-expand]").addEventListener("click", () => all(true));
    bar.querySelector("[data-explain-collapse]").addEventListener("click", () => all(false));

    let open = null;
    let pinned = false;
    const close = () => {
        if (open) {
            open.querySelector("[data-explain-note]").hidden = true;
            open.querySelector("[data-explain-why]").setAttribute("aria-expanded", "false");
        }
        open = null;
        pinned = false;
    };
    const tell = (row) => {
        if (open !== row) {
            close();
            open = row;
            const note = row.querySelector("[data-explain-note]");
            note.hidden = false;
            note.classList.remove("mu-why--above");
            note.classList.toggle("mu-why--above", note.getBoundingClientRect().bottom > window.innerHeight - 70);
            row.querySelector("[data-explain-why]").setAttribute("aria-expanded", "true");
        }
    };
    const rows = [...document.querySelectorAll("[data-explain-section] .mu-row")].filter((row) => row.querySelector("[data-explain-why]"));
    rows.forEach((row) => {
        const button = row.querySelector("[data-explain-why]");
        row.addEventListener("pointerenter", (event) => event.pointerType === "mouse" && !pinned && tell(row));
        row.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && !pinned && close());
        button.addEventListener("focus", () => button.matches(":focus-visible") && tell(row));
        row.addEventListener("focusout", (event) => !row.contains(event.relatedTarget) && open === row && close());
        button.addEventListener("click", () => {
            if (open === row && pinned) {
                close();
            } else {
                tell(row);
                pinned = true;
            }
        });
    });
    document.addEventListener("click", (event) => open && !open.contains(event.target) && close());
    document.addEventListener("keydown", (event) => {
        if (event.key === "Escape") {
            close();
        }
        const here = event.target.closest?.("[data-explain-why], [data-explain-fold]");
        if (!here) {
            return;
        }
        if (event.key === "ArrowDown" || event.key === "ArrowUp") {
            const stops = [...document.querySelectorAll("[data-explain-why], [data-explain-fold]")].filter((each) => each.offsetParent);
            const next = stops[stops.indexOf(here) + (event.key === "ArrowDown" ? 1 : -1)];
            if (next) {
                event.preventDefault();
                next.focus();
            }
        } else if ((event.key === "ArrowLeft" || event.key === "ArrowRight") && "explainFold" in here.dataset) {
            event.preventDefault();
            fold(here, event.key === "ArrowRight");
            narrow();
        }
    });
});
