// Turns a multiple select into a list one orders by dragging its handles (mouse, pen, finger) or with the arrow keys on
// them. The select stays the truth: its chosen options are moved to the front in the order of the list, and a browser
// submits them in that order. Whoever changes the options from outside dispatches "ordered:refresh" on the select.
"use strict";

(() => {
    const made = (tag, name, text = "") => {
        const element = document.createElement(tag);
        element.className = name;
        element.textContent = text;
        return element;
    };

    const button = (text, label, act) => {
        const element = made("button", "mu-button mu-button--small", text);
        element.type = "button";
        element.setAttribute("aria-label", label);
        element.title = label;
        element.addEventListener("click", act);
        return element;
    };

    const nameOf = (option) => option.dataset.name || option.text;

    const badges = (option) =>
        (option.dataset.badges || "")
            .split("|")
            .filter(Boolean)
            .map((badge) => {
                const cut = badge.lastIndexOf(":");
                return made("span", `mu-badge mu-badge--${badge.slice(cut + 1)}`, badge.slice(0, cut));
            });

    const equip = (box) => {
        const select = box.querySelector("select");
        const list = made("ol", "mu-ordered__list");
        const adder = made("select", select.className);
        const said = made("p", "mu-ordered__said");
        adder.setAttribute("aria-label", "Add");
        adder.dataset.orderedAdd = "";
        said.setAttribute("role", "status");

        const chosen = () => [...select.options].filter((option) => option.selected);
        const isLocked = (option) => "locked" in option.dataset;

        const set = (options, words = "") => {
            [...select.options].forEach((option) => {
                option.selected = options.includes(option);
            });
            select.prepend(...options);
            draw();
            said.textContent = words;
            select.dispatchEvent(new Event("change", {bubbles: true}));
        };

        const place = (option, to) => {
            const options = chosen();
            const from = options.indexOf(option);
            if (to < 0 || to >= options.length || from === to) {
                return false;
            }
            options.splice(from, 1);
            options.splice(to, 0, option);
            set(options, `${nameOf(option)} is number ${to + 1} of ${options.length}.`);
            return true;
        };

        const focus = (option, what) => {
            const item = [...list.children].find((line) => line.dataset.value === option.value);
            const wanted = item && item.querySelector(`[data-do="${what}"]`);
            (wanted && !wanted.disabled ? wanted : item && item.querySelector("[data-do=drag]"))?.focus();
        };

        const move = (option, step, what) => {
            if (place(option, chosen().indexOf(option) + step)) {
                focus(option, what);
            }
        };

        const drag = (option, line, handle) => {
            handle.addEventListener("pointerdown", (down) => {
                if (down.button !== 0) {
                    return;
                }
                down.preventDefault();
                handle.focus();
                line.classList.add("mu-ordered__item--dragged");
                const follow = (event) => {
                    const others = [...list.children].filter((other) => other !== line);
                    const before = others.find((other) => {
                        const {top, height} = other.getBoundingClientRect();
                        return event.clientY < top + height / 2;
                    });
                    if ((before || null) !== line.nextElementSibling) {
                        list.insertBefore(line, before || null);
                    }
                };
                const end = (event) => {
                    document.removeEventListener("pointermove", follow);
                    document.removeEventListener("pointerup", end);
                    document.removeEventListener("pointercancel", end);
                    line.classList.remove("mu-ordered__item--dragged");
                    const to = [...list.children].indexOf(line);
                    if (event.type === "pointercancel" || !place(option, to)) {
                        draw();
                    }
                    focus(option, "drag");
                };
                // A node that is moved loses a captured pointer: the whole page listens instead.
                document.addEventListener("pointermove", follow);
                document.addEventListener("pointerup", end);
                document.addEventListener("pointercancel", end);
            });
            handle.addEventListener("keydown", (event) => {
                const step = {ArrowUp: -1, ArrowDown: 1}[event.key];
                const end = {Home: 0, End: chosen().length - 1}[event.key];
                if (step === undefined && end === undefined) {
                    return;
                }
                event.preventDefault();
                move(option, step ?? end - chosen().indexOf(option), "drag");
            });
        };

        const item = (option, index, count) => {
            const line = made("li", "mu-ordered__item");
            const name = made("span", "mu-ordered__name");
            const handle = button("⠿", `Move ${nameOf(option)}: drag, or use the arrow keys`, () => {});
            line.dataset.value = option.value;
            handle.classList.add("mu-ordered__handle");
            handle.dataset.do = "drag";
            name.append(made("span", "mu-ordered__title", nameOf(option)), ...badges(option));
            const up = button("↑", `Move ${nameOf(option)} up`, () => move(option, -1, "up"));
            const down = button("↓", `Move ${nameOf(option)} down`, () => move(option, 1, "down"));
            const away = isLocked(option)
                ? made("span", "mu-ordered__lock material-symbols-outlined", "lock")
                : button("✕", `Remove ${nameOf(option)}`, () =>
                      set(
                          chosen().filter((other) => other !== option),
                          `${nameOf(option)} was removed.`,
                      ),
                  );
            if (isLocked(option)) {
                away.title = "Required: it cannot be removed";
                away.setAttribute("aria-label", away.title);
                away.setAttribute("role", "img");
            }
            [up, down].forEach((step) => step.classList.add("mu-ordered__step"));
            up.dataset.do = "up";
            down.dataset.do = "down";
            up.disabled = index === 0;
            down.disabled = index === count - 1;
            drag(option, line, handle);
            line.append(handle, made("span", "mu-ordered__place", `${index + 1}.`), name, up, down, away);
            return line;
        };

        const draw = () => {
            const options = chosen();
            list.replaceChildren(...options.map((option, index) => item(option, index, options.length)));
            const rest = [...select.options].filter((option) => !option.selected);
            rest.sort((one, other) => nameOf(one).localeCompare(nameOf(other)));
            const entry = (option) => {
                const words = (option.dataset.badges || "").split("|").map((badge) => badge.split(":")[0]);
                const notes = words.filter((word) => word === "shared" || word === "default");
                return new Option(notes.length ? `${nameOf(option)} (${notes.join(", ")})` : nameOf(option), option.value);
            };
            adder.replaceChildren(new Option("Add…", ""), ...rest.map(entry));
            adder.hidden = rest.length === 0;
        };

        adder.addEventListener("change", () => {
            const option = [...select.options].find((other) => other.value === adder.value);
            if (option) {
                set([...chosen(), option], `${nameOf(option)} was added.`);
            }
        });
        select.addEventListener("ordered:refresh", () => draw());
        select.hidden = true;
        select.tabIndex = -1;
        box.querySelector("[data-ordered-hint]").hidden = true;
        box.prepend(list, adder, said);
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
