// Narrows the effective configuration: by words, by the layer that won, to what was overruled. Branches stay while
// something below them does.
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
});
