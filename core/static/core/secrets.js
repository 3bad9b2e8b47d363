// Shows and copies secrets. A page holds none: who may see one asks for it (a POST that is written down), and what comes
// back are the secrets by the marks that stand in their place.
"use strict";

(() => {
    const DOTS = "\u2022".repeat(12);
    const MARK = /redacted:[0-9a-f]{12}/g;

    const said = (button, text) => {
        const before = button.dataset.label || button.textContent;
        button.dataset.label = before;
        button.textContent = text;
        window.setTimeout(() => {
            button.textContent = before;
        }, 1500);
    };

    const copy = async (text, button) => {
        try {
            await navigator.clipboard.writeText(text);
            said(button, "Copied");
        } catch {
            said(button, "Not allowed");
        }
    };

    const ask = async (url, part) => {
        const token = document.querySelector("[name=csrfmiddlewaretoken]");
        const answer = await fetch(url, {
            method: "POST",
            redirect: "error",
            headers: {"X-CSRFToken": token ? token.value : "", Accept: "application/json"},
            body: new URLSearchParams({part}),
        });
        if (!answer.ok) {
            throw new Error(String(answer.status));
        }
        return (await answer.json()).secrets;
    };

    const asked = async (box) => Object.values(await ask(box.dataset.revealUrl, box.dataset.revealPart))[0] ?? "";

    const toggle = async (button) => {
        const box = button.closest("[data-secret]");
        const input = box.querySelector("input");
        const text = box.querySelector("[data-secret-text]");
        if (button.textContent === "Hide") {
            button.textContent = "Reveal";
            if (input && input.value === input.dataset.revealed) {
                input.value = "";
            } else if (text) {
                text.textContent = DOTS;
            }
            return;
        }
        const secret = await asked(box);
        button.textContent = "Hide";
        if (input) {
            input.value = secret;
            input.dataset.revealed = secret;
        } else {
            text.textContent = secret;
        }
    };

    const places = (root) => {
        const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
        const found = [];
        while (walker.nextNode()) {
            const node = walker.currentNode;
            if (node.nodeValue.includes("redacted:") && !node.parentElement.closest("textarea, script, style")) {
                found.push(node);
            }
        }
        return found;
    };

    const shown = new Map();

    const page = async (form) => {
        const button = form.querySelector("button");
        if (shown.size) {
            shown.forEach((text, node) => {
                node.nodeValue = text;
            });
            shown.clear();
            button.textContent = button.dataset.reveal;
            return;
        }
        const secrets = await ask(form.action, form.elements.part.value);
        places(document.body).forEach((node) => {
            shown.set(node, node.nodeValue);
            node.nodeValue = node.nodeValue.replace(MARK, (mark) => (mark in secrets ? String(secrets[mark]) : mark));
        });
        button.dataset.reveal = button.textContent;
        button.textContent = "Hide secrets";
    };

    // In JSON a mark is a whole text, or stands inside one.
    const inJson = (text, secrets) =>
        Object.entries(secrets).reduce(
            (result, [mark, secret]) =>
                result
                    .replaceAll(`"${mark}"`, () => JSON.stringify(secret))
                    .replaceAll(mark, () => JSON.stringify(String(secret)).slice(1, -1)),
            text,
        );

    const offer = (area) => {
        const button = document.createElement("button");
        button.type = "button";
        button.className = "mu-button mu-button--small mu-reveal";
        button.textContent = "Reveal secrets";
        button.addEventListener("click", async () => {
            try {
                const secrets = await ask(area.dataset.revealUrl, area.dataset.revealPart);
                area.value = inJson(area.value, secrets);
                area.dispatchEvent(new Event("input", {bubbles: true}));
                area.dispatchEvent(new CustomEvent("muster:replaced", {bubbles: true}));
                button.remove();
            } catch {
                said(button, "Not allowed");
            }
        });
        area.after(button);
    };

    document.addEventListener("click", async (event) => {
        const button = event.target.closest("button");
        if (!button) {
            return;
        }
        try {
            if ("secretShow" in button.dataset) {
                await toggle(button);
            } else if ("secretCopy" in button.dataset) {
                const box = button.closest("[data-secret]");
                await copy(box.querySelector("input")?.value || (await asked(box)), button);
            } else if ("copyNext" in button.dataset) {
                await copy(button.nextElementSibling.textContent, button);
            } else if ("copy" in button.dataset) {
                await copy(button.dataset.copy, button);
            }
        } catch {
            said(button, "Not allowed");
        }
    });

    document.addEventListener("submit", async (event) => {
        if (!event.target.matches("form[data-reveal-page]")) {
            return;
        }
        event.preventDefault();
        try {
            await page(event.target);
        } catch {
            said(event.target.querySelector("button"), "Not allowed");
        }
    });

    document.addEventListener("DOMContentLoaded", () => {
        document.querySelectorAll("textarea[data-reveal-url]").forEach(offer);
    });
})();
