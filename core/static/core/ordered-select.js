// Turns a multiple select into a list with buttons. The select stays the truth: its chosen options are moved to the
// front in the order of the list, and a browser submits them in that order.
"use strict";

(() => {
    const button = (text, label, act) => {
        const made = document.createElement("button");
        made.type = "button";
        made.className = "mu-button mu-button--small";
        made.textContent = text;
        made.setAttribute("aria-label", label);
        made.title = label;
        made.addEventListener("click", act);
        return made;
    };

    const equip = (box) => {
        const select = box.querySelector("select");
        const list = document.createElement("ol");
        const adder = document.createElement("select");
        list.className = "mu-ordered__list";
        adder.className = select.className;
        adder.setAttribute("aria-label", "Add");
        adder.dataset.orderedAdd = "";

        const chosen = () => [...select.options].filter((option) => option.selected);

        const set = (options) => {
            [...select.options].forEach((option) => {
                option.selected = options.includes(option);
            });
            select.prepend(...options);
            draw();
            select.dispatchEvent(new Event("change", {bubbles: true}));
        };

        const move = (option, step) => {
            const options = chosen();
            const from = options.indexOf(option);
            const to = from + step;
            if (to < 0 || to >= options.length) {
                return;
            }
            options.splice(from, 1);
            options.splice(to, 0, option);
            set(options);
            const item = list.children[to];
            const wanted = item.querySelectorAll("button")[step < 0 ? 0 : 1];
            (wanted.disabled ? item.querySelectorAll("button")[step < 0 ? 1 : 0] : wanted).focus();
        };

        const item = (option, index, count) => {
            const line = document.createElement("li");
            const place = document.createElement("span");
            const name = document.createElement("span");
            line.className = "mu-ordered__item";
            line.dataset.value = option.value;
            place.className = "mu-ordered__place";
            place.textContent = `${index + 1}.`;
            name.className = "mu-ordered__name";
            name.textContent = option.text;
            const up = button("↑", `Move ${option.text} up`, () => move(option, -1));
            const down = button("↓", `Move ${option.text} down`, () => move(option, 1));
            const away = button("✕", `Remove ${option.text}`, () => set(chosen().filter((other) => other !== option)));
            up.disabled = index === 0;
            down.disabled = index === count - 1;
            line.append(place, name, up, down, away);
            return line;
        };

        const draw = () => {
            const options = chosen();
            list.replaceChildren(...options.map((option, index) => item(option, index, options.length)));
            const rest = [...select.options].filter((option) => !option.selected);
            rest.sort((one, other) => one.text.localeCompare(other.text));
            adder.replaceChildren(new Option("Add…", ""), ...rest.map((option) => new Option(option.text, option.value)));
            adder.hidden = rest.length === 0;
        };

        adder.addEventListener("change", () => {
            const option = [...select.options].find((other) => other.value === adder.value);
            if (option) {
                set([...chosen(), option]);
            }
        });
        select.hidden = true;
        select.tabIndex = -1;
        box.querySelector("[data-ordered-hint]").hidden = true;
        box.prepend(list, adder);
        const label = select.id && document.querySelector(`label[for="${select.id}"]`);
        if (label) {
            adder.id = `${select.id}_add`;
            label.htmlFor = adder.id;
        }
        draw();
    };

    document.addEventListener("DOMContentLoaded", () => {
        document.querySelectorAll("[data-ordered]").forEach(equip);
    });
})();
