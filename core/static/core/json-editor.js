// Says under a JSON text area whether what stands in it is a JSON object, while one types.
"use strict";

(() => {
    const complaint = (text) => {
        if (!text.trim()) {
            return "";
        }
        try {
            const value = JSON.parse(text);
            const isObject = value !== null && typeof value === "object" && !Array.isArray(value);
            return isObject ? "" : "This is JSON, but not an object: it must start with {.";
        } catch (error) {
            return error.message;
        }
    };

    const equip = (area) => {
        const state = document.createElement("div");
        const words = document.createElement("span");
        const button = document.createElement("button");
        state.className = "mu-json-state";
        words.setAttribute("role", "status");
        button.type = "button";
        button.className = "mu-button mu-button--small";
        button.textContent = "Tidy up";
        state.append(words, button);
        area.after(state);

        const look = () => {
            const text = complaint(area.value);
            words.textContent = text || (area.value.trim() ? "Valid JSON" : "Empty, the same as {}");
            state.classList.toggle("mu-json-state--bad", Boolean(text));
            state.classList.toggle("mu-json-state--good", !text && Boolean(area.value.trim()));
            area.setAttribute("aria-invalid", text ? "true" : "false");
            button.disabled = Boolean(text) || !area.value.trim();
        };

        button.addEventListener("click", () => {
            area.value = JSON.stringify(JSON.parse(area.value), null, 2);
            look();
        });
        area.addEventListener("input", look);
        look();
    };

    document.addEventListener("DOMContentLoaded", () => {
        document.querySelectorAll("textarea.mu-json").forEach(equip);
    });
})();
