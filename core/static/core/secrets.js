// Masks secrets until one asks to see them, and copies texts.
"use strict";

(() => {
    const DOT = "\u2022";

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

    const toggle = (button) => {
        const box = button.closest("[data-secret]");
        const input = box.querySelector("input");
        const text = box.querySelector("[data-secret-text]");
        const show = button.textContent === "Show";
        button.textContent = show ? "Hide" : "Show";
        if (input) {
            input.classList.toggle("mu-masked", !show);
        } else if (text) {
            text.textContent = show ? text.dataset.secretText : DOT.repeat(Math.min(Math.max(text.dataset.secretText.length, 8), 32));
        }
    };

    document.addEventListener("click", (event) => {
        const button = event.target.closest("button");
        if (!button) {
            return;
        }
        if ("secretShow" in button.dataset) {
            toggle(button);
        } else if ("copyInput" in button.dataset) {
            copy(button.closest("[data-secret]").querySelector("input").value, button);
        } else if ("copyNext" in button.dataset) {
            copy(button.nextElementSibling.textContent, button);
        } else if ("copy" in button.dataset) {
            copy(button.dataset.copy, button);
        }
    });

    document.addEventListener("DOMContentLoaded", () => {
        document.querySelectorAll("[data-secret] input").forEach((input) => input.classList.add("mu-masked"));
    });
})();
